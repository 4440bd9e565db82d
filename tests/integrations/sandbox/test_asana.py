"""The Asana stand-in keeps Asana's manners."""

from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor, until

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


def test_a_strict_instantiation_needs_every_date(asana: Vendor, control: SandboxControl):
    dates = [{"gid": "1", "name": "Start Date"}, {"gid": "2", "name": "Due Date"}]
    (template,) = control.seed("asana", "project_templates", [{"name": "Two dates", "requested_dates": dates}])
    assert instantiate(asana, template=template).status_code == 422
    made = instantiate(asana, template=template, is_strict=False).json()["data"]["gid"]
    gid = asana.get(f"/jobs/{made}").json()["data"]["new_project"]["gid"]
    project = asana.get(f"/projects/{gid}").json()["data"]
    assert project["start_on"] == "2026-12-01"
    assert project["due_on"]  # the day of the instantiation, where none is given


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_dated_template_is_not_instantiated_without_dates(asana: Vendor, control: SandboxControl, is_strict: bool):
    for given in ({"requested_dates": []}, {"requested_dates": None}):
        answer = instantiate(asana, is_strict=is_strict, **given)
        assert answer.status_code in (400, 422)
        assert answer.json()["errors"][0]["message"].startswith("requested_dates:")
    assert instantiate(asana, requested_dates=[{"gid": "1", "value": "soon"}]).status_code == 400
    assert total(control) == 0


def test_a_template_without_dates_wants_none(asana: Vendor, control: SandboxControl):
    (template,) = control.seed("asana", "project_templates", [{"name": "Plain"}])
    assert instantiate(asana, template=template, requested_dates=[]).status_code == 201
    assert instantiate(asana, template=template).status_code == 400


def test_the_template_names_its_dates(asana: Vendor):
    template = asana.get(f"/project_templates/{TEMPLATE}").json()["data"]
    assert [(each["gid"], each["name"]) for each in template["requested_dates"]] == [("1", "Start Date")]
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


def test_pages_have_limits_and_only_tokens_that_were_given_out(asana: Vendor):
    project(asana)
    for wrong in ({"limit": 0}, {"limit": 101}, {"limit": "all"}, {"limit": 1, "offset": "1"}):
        assert asana.get("/projects", team=TEAM, **wrong).status_code == 400
    assert "next_page" not in asana.get("/projects", team=TEAM).json()


def test_lists_are_compact_and_single_objects_complete(asana: Vendor):
    gid = project(asana)
    body = {"name": "Kickoff", "notes": "Hello", "projects": [gid], "assignee": "me"}
    made = asana.post("/tasks", {"data": body}).json()["data"]
    assert {"notes", "completed", "assignee", "projects", "permalink_url"} <= set(made)
    (task,) = asana.get("/tasks", project=gid).json()["data"]
    (shown,) = asana.get("/projects", team=TEAM).json()["data"]
    assert task == {
        "gid": made["gid"],
        "resource_type": "task",
        "resource_subtype": "default_task",
        "name": "Kickoff",
    }
    assert shown == {"gid": gid, "resource_type": "project", "name": "Acme"}


def test_what_is_asked_for_is_all_that_is_answered(asana: Vendor):
    gid = project(asana)
    body = {"name": "Kickoff", "notes": "Hello", "projects": [gid], "assignee": "me"}
    task = asana.post("/tasks", {"data": body}).json()["data"]["gid"]
    path = f"/tasks/{task}"
    assert asana.get(path, opt_fields="name").json()["data"] == {"gid": task, "name": "Kickoff"}
    asked = asana.get(path, opt_fields="assignee,projects.name,unknown").json()["data"]
    me = asana.get("/users/me").json()["data"]["gid"]
    assert asked == {"gid": task, "assignee": {"gid": me}, "projects": [{"gid": gid, "name": "Acme"}]}
    assert asana.get("/tasks", project=gid, opt_fields="notes").json()["data"] == [{"gid": task, "notes": "Hello"}]
    changed = asana("PUT", path, {"data": {"completed": True}, "options": {"fields": ["completed"]}})
    assert changed.json()["data"] == {"gid": task, "completed": True}


def test_what_is_opt_in_is_not_there_until_it_is_asked_for(asana: Vendor):
    gid = project(asana)
    assert "created_from_template" not in asana.get(f"/projects/{gid}").json()["data"]
    asked = asana.get(f"/projects/{gid}", opt_fields="created_from_template").json()["data"]
    assert asked["created_from_template"] == {"gid": TEMPLATE}


def test_the_projects_of_a_team_are_its_memberships(asana: Vendor):
    gid, query = project(asana), {"member": TEAM, "resource_subtype": "project_membership", "limit": 100}
    (plain,) = asana.get("/memberships", **query).json()["data"]
    assert (plain["resource_subtype"], plain["member"]["gid"]) == ("project_membership", TEAM)
    assert "parent" not in plain
    (asked,) = asana.get("/memberships", opt_fields="parent.name", **query).json()["data"]
    assert asked["parent"] == {"gid": gid, "name": "Acme"}
    for missing in ("limit", "resource_subtype"):
        wrong = {name: value for name, value in query.items() if name != missing}
        assert asana.get("/memberships", **wrong).status_code == 400
    assert asana.get("/memberships", **{**query, "member": "404"}).status_code == 404


def test_the_old_filter_says_that_it_is_deprecated(asana: Vendor):
    assert "affected=true" in asana.get("/projects", team=TEAM).headers["Asana-Change"]


def test_an_archived_project_is_listed_and_says_so(asana: Vendor):
    gid = project(asana)
    assert asana("PUT", f"/projects/{gid}", {"data": {"archived": True}}).json()["data"]["archived"] is True
    assert asana.get("/projects", team=TEAM, archived="false").json()["data"] == []
    assert [each["gid"] for each in asana.get("/projects", team=TEAM, archived="true").json()["data"]] == [gid]


def test_what_is_not_documented_is_refused(asana: Vendor):
    gid = project(asana)
    assert asana.get("/projects", team=TEAM, name="Acme").status_code == 400
    assert asana("PUT", f"/projects/{gid}", {"data": {"colour": "red"}}).status_code == 400
    task = {"name": "Kickoff", "projects": [gid]}
    for unknown in ({"reference": "x"}, {"created_at": "2026-12-01T00:00:00Z"}, {"due_on": "1 December"}):
        assert asana.post("/tasks", {"data": {**task, **unknown}}).status_code == 400
    made = asana.post("/tasks", {"data": task}).json()["data"]["gid"]
    assert asana("PUT", f"/tasks/{made}", {"data": {"projects": [gid]}}).status_code == 400
    assert asana.get("/projects/our-project").status_code == 400
    plain = asana.session.post(asana.base + "/tasks", data="{}", headers={"Content-Type": "text/plain"}, timeout=10)
    assert plain.status_code == 415


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
    answer = asana.post("/tasks", {"data": {"name": "Invite the users", "projects": [gid]}})
    task = answer.json()["data"]["gid"]
    assert answer.status_code == 201
    assert asana.get(f"/tasks/{task}").json()["data"]["projects"][0]["gid"] == gid
    assert [each["gid"] for each in asana.get("/tasks", project=gid).json()["data"]] == [task]
    assert asana("DELETE", f"/tasks/{task}").json() == {"data": {}}
    assert asana.get(f"/tasks/{task}").status_code == 404


def test_external_data_needs_oauth(asana: Vendor):
    body = {"name": "Invite", "projects": [project(asana)], "external": {"gid": "ref-1"}}
    assert asana.post("/tasks", {"data": body}).status_code == 403
    assert asana.get("/tasks/external:ref-1").status_code == 403


@pytest.mark.parametrize("body", [[], {"data": 1}, {"data": {"name": {}}}, {"data": {"name": "A", "projects": 7}}])
def test_a_body_of_another_shape_is_a_400(asana: Vendor, body: Any):
    answer = asana.post("/tasks", body)
    assert answer.status_code == 400
    assert answer.json()["errors"]


def test_a_task_needs_a_project_that_exists(asana: Vendor):
    assert asana.post("/tasks", {"data": {"name": "Invite"}}).status_code == 400
    assert asana.post("/tasks", {"data": {"name": "Invite", "projects": ["404"]}}).status_code == 400


def test_rate_limit_answer_has_retry_after(asana: Vendor, control: SandboxControl):
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
    for gid, notes in ((one, "Ours [x]\n\nReference: [pay_1]"), (other, "Reference: [pay_1]"), (one, "Manual")):
        asana.post("/tasks", {"data": {"name": "Kickoff", "notes": notes, "projects": [gid]}})
    assert control.duplicates() == 0
    asana.post("/tasks", {"data": {"name": "Kick-off", "notes": "Changed\nReference: [pay_1]", "projects": [one]}})
    assert control.duplicates() == 1
