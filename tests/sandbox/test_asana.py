"""The Asana stand-in keeps Asana's manners."""

from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl

from .conftest import Vendor, until

TEMPLATE, TEAM = "1200000000000001", "1100000000000001"


def instantiate(asana: Vendor, name: str = "Acme", template: str = TEMPLATE, **data: Any):
    body = {"name": name, "team": TEAM, "requested_dates": [{"gid": "1", "value": "2026-12-01"}], "is_strict": True}
    return asana.post(f"/project_templates/{template}/instantiateProject", {"data": {**body, **data}})


def project(asana: Vendor, name: str = "Acme") -> str:
    job = instantiate(asana, name).json()["data"]["gid"]
    return str(asana.get(f"/jobs/{job}").json()["data"]["new_project"]["gid"])


def listed(asana: Vendor, **query: Any) -> list[str]:
    return [each["name"] for each in asana.get("/projects", team=TEAM, **query).json()["data"]]


def total(control: SandboxControl) -> int:
    return int(control.counts()["vendors"]["asana"]["projects"]["total"])


def test_a_project_comes_from_a_job(asana: Vendor, control: SandboxControl):
    control.configure("asana", job_seconds=0.3)
    answer = instantiate(asana)
    job = answer.json()["data"]
    assert answer.status_code == 201
    assert (job["resource_type"], job["status"], job["new_project"]) == ("job", "in_progress", None)
    assert total(control) == 1
    assert listed(asana) == []
    done = until(
        lambda: (now := asana.get(f"/jobs/{job['gid']}").json()["data"])["status"] == "succeeded" and now, seconds=5
    )
    assert asana.get(f"/projects/{done['new_project']['gid']}").json()["data"]["name"] == "Acme"
    assert listed(asana) == ["Acme"]


def test_a_job_can_fail_and_leaves_nothing(asana: Vendor, control: SandboxControl):
    control.configure("asana", job_outcome="failed")
    job = instantiate(asana).json()["data"]["gid"]
    assert asana.get(f"/jobs/{job}").json()["data"]["status"] == "failed"
    assert total(control) == 0


def test_nothing_is_idempotent(asana: Vendor, control: SandboxControl):
    assert project(asana) != project(asana)
    assert control.duplicates() == 1


def test_an_unknown_template_is_404(asana: Vendor):
    answer = instantiate(asana, template="404")
    assert answer.status_code == 404
    assert set(answer.json()["errors"][0]) >= {"message", "help"}


def test_an_unknown_team_is_400(asana: Vendor):
    answer = instantiate(asana, team="404")
    assert answer.status_code == 400
    assert "team" in answer.json()["errors"][0]["message"]


def test_a_strict_instantiation_needs_every_date(asana: Vendor):
    assert instantiate(asana, requested_dates=[]).status_code == 422
    assert instantiate(asana, requested_dates=[], is_strict=False).status_code == 201


def test_the_template_names_its_dates(asana: Vendor):
    template = asana.get(f"/project_templates/{TEMPLATE}", opt_fields="requested_dates").json()["data"]
    assert [each["gid"] for each in template["requested_dates"]] == ["1"]
    assert asana.get(f"/teams/{TEAM}").json()["data"]["gid"] == TEAM
    assert asana.get("/users/me").status_code == 200


def test_projects_page(asana: Vendor):
    for name in ("A", "B", "C"):
        project(asana, name)
    first = asana.get("/projects", team=TEAM, limit=2).json()
    following = first["next_page"]
    second = asana.get(following["path"]).json()
    assert following["uri"].endswith(following["path"])
    assert [each["name"] for each in first["data"] + second["data"]] == ["A", "B", "C"]
    assert second["next_page"] is None


def test_a_listing_can_lag_behind_its_job(asana: Vendor, control: SandboxControl):
    control.configure("asana", search_lag="never")
    gid = project(asana)
    assert asana.get(f"/projects/{gid}").status_code == 200
    assert listed(asana) == []
    control.configure("asana", search_lag=0)
    assert listed(asana) == ["Acme"]


def test_a_deleted_project_is_gone(asana: Vendor, control: SandboxControl):
    gid = project(asana)
    deleted = asana("DELETE", f"/projects/{gid}")
    assert (deleted.status_code, deleted.json()) == (200, {"data": {}})
    assert asana.get(f"/projects/{gid}").status_code == 404
    assert total(control) == 0


def test_a_task_lives_in_its_project(asana: Vendor):
    gid = project(asana)
    body = {"name": "Invite the users", "projects": [gid], "external": {"gid": "ref-1", "data": "x"}}
    answer = asana.post("/tasks", {"data": body})
    task = answer.json()["data"]["gid"]
    assert answer.status_code == 201
    assert asana.get(f"/tasks/{task}").json()["data"]["projects"][0]["gid"] == gid
    assert asana.get("/tasks/external:ref-1").json()["data"]["gid"] == task
    assert [each["gid"] for each in asana.get("/tasks", project=gid).json()["data"]] == [task]
    assert asana("DELETE", f"/tasks/{task}").json() == {"data": {}}
    assert asana.get(f"/tasks/{task}").status_code == 404


@pytest.mark.parametrize("body", [[], {"data": 1}, {"data": {"name": {}}}, {"data": {"name": "A", "projects": 7}}])
def test_a_body_of_another_shape_is_a_400(asana: Vendor, body: Any):
    answer = asana.post("/tasks", body)
    assert answer.status_code == 400
    assert answer.json()["errors"]


def test_a_task_needs_a_project_that_exists(asana: Vendor):
    assert asana.post("/tasks", {"data": {"name": "Invite"}}).status_code == 400
    assert asana.post("/tasks", {"data": {"name": "Invite", "projects": ["404"]}}).status_code == 400


def test_beyond_the_pace_it_says_how_long_to_wait(asana: Vendor, control: SandboxControl):
    control.configure("asana", rate_limit={"requests": 1, "seconds": 30})
    assert asana.get("/users/me").status_code == 200
    refused = asana.get("/users/me")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 30


def test_a_wrong_token_is_asanas_own_401(asana: Vendor, control: SandboxControl):
    control.set_tokens("asana", [])
    answer = asana.get("/users/me")
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["message"] == "Not Authorized"


def test_a_task_takes_only_known_people_and_real_dates(asana: Vendor):
    gid = project(asana)
    for wrong, field in (({"assignee": "404"}, "assignee"), ({"due_on": "soon"}, "due_on")):
        answer = asana.post("/tasks", {"data": {"name": "Kickoff", "projects": [gid], **wrong}})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["message"].startswith(f"{field}:")
    for known, name in (("me", "Firstvalue"), ("u_456", "Kim Sato"), ("ines@sandbox.example", "Ines Ortega")):
        answer = asana.post("/tasks", {"data": {"name": "Kickoff", "projects": [gid], "assignee": known}})
        assert answer.json()["data"]["assignee"]["name"] == name
    assert asana.get("/users/u_456").json()["data"]["email"] == "kim@sandbox.example"


def test_a_task_remembers_when_it_was_completed(asana: Vendor):
    body = {"data": {"name": "Kickoff", "projects": [project(asana)]}}
    task = asana.post("/tasks", body).json()["data"]["gid"]
    first, again, undone = (
        asana("PUT", f"/tasks/{task}", {"data": {"completed": done}}).json()["data"] for done in (True, True, False)
    )
    assert first["completed_at"]
    assert again["completed_at"] == first["completed_at"]
    assert (undone["completed"], undone["completed_at"]) == (False, None)


def test_two_tasks_of_one_reference_in_one_project_are_duplicates(asana: Vendor, control: SandboxControl):
    one, other = project(asana, "A"), project(asana, "B")
    for gid, notes in ((one, "Ours [x]\n\nReference: [pay_1]"), (other, "Reference: [pay_1]"), (one, "By hand")):
        asana.post("/tasks", {"data": {"name": "Kickoff", "notes": notes, "projects": [gid]}})
    assert control.duplicates() == 0
    asana.post("/tasks", {"data": {"name": "Kick-off", "notes": "Changed\nReference: [pay_1]", "projects": [one]}})
    assert control.duplicates() == 1
