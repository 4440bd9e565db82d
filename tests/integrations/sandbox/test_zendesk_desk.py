"""The Zendesk stand-in's jobs, custom fields and tickets keep Zendesk's manners."""

from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor


@pytest.fixture(autouse=True)
def at_once(control: SandboxControl) -> None:
    control.configure("zendesk", job_seconds=0)


def users(*names: str) -> dict[str, Any]:
    return {"users": [{"name": each, "email": f"{each}@acme.com", "external_id": f"ref-{each}"} for each in names]}


def job_of(zendesk: Vendor, given: dict[str, Any]) -> dict[str, Any]:
    accepted = zendesk.post("/users/create_or_update_many", given).json()["job_status"]
    return dict(zendesk.get(f"/job_statuses/{accepted['id']}").json()["job_status"])


def acme(zendesk: Vendor, **fields: Any) -> Any:
    return zendesk.post(
        "/organizations/create_or_update", {"organization": {"name": "Acme", "external_id": "ref", **fields}}
    )


def test_a_job_tells_of_each_user_in_their_order(zendesk: Vendor) -> None:
    zendesk.post("/users/create_or_update", {"user": {"name": "Lou", "email": "lou@acme.com"}})
    given = users("jo", "lou")
    given["users"].append({"name": "Bo", "email": "nonsense"})
    job = job_of(zendesk, given)
    assert (job["status"], job["total"], job["progress"]) == ("completed", 3, 3)
    assert [each["status"] for each in job["results"]] == ["Created", "Updated", "Failed"]
    assert job["results"][2]["id"] == 2
    assert "is not properly formatted" in job["results"][2]["details"]
    assert zendesk.get(f"/users/{job['results'][0]['id']}").json()["user"]["email"] == "jo@acme.com"


def test_a_job_takes_its_time_and_is_forgotten(zendesk: Vendor, control: SandboxControl) -> None:
    control.configure("zendesk", job_seconds=3600)
    job = job_of(zendesk, users("jo"))
    assert (job["status"], job["results"]) == ("queued", None)
    assert zendesk.get("/job_statuses/404").status_code == 404


def test_a_job_takes_a_hundred_users_at_most(zendesk: Vendor) -> None:
    for given in ({"users": []}, users(*(f"u{number}" for number in range(101))), {}):
        assert zendesk.post("/users/create_or_update_many", given).status_code == 400
    assert len(job_of(zendesk, users(*(f"u{number}" for number in range(100))))["results"]) == 100


def test_only_thirty_jobs_are_queued(zendesk: Vendor, control: SandboxControl) -> None:
    control.configure("zendesk", job_seconds=3600)
    for number in range(30):
        assert zendesk.post("/users/create_or_update_many", users(f"u{number}")).status_code == 200
    refused = zendesk.post("/users/create_or_update_many", users("jo"))
    assert (refused.status_code, refused.json()["error"]) == (429, "TooManyJobs")


def test_an_account_may_not_import_in_bulk(zendesk: Vendor, control: SandboxControl) -> None:
    control.configure("zendesk", bulk_imports=False)
    assert zendesk.post("/users/create_or_update_many", users("jo")).status_code == 403


def test_many_users_are_shown_by_id_or_external_id(zendesk: Vendor) -> None:
    made = [each["id"] for each in job_of(zendesk, users("jo", "lou"))["results"]]
    by_id = zendesk.get("/users/show_many", ids=f"{made[0]},404,{made[1]}").json()["users"]
    by_reference = zendesk.get("/users/show_many", external_ids="ref-lou,ref-nobody").json()["users"]
    assert ({each["id"] for each in by_id}, [each["id"] for each in by_reference]) == (set(made), [made[1]])
    assert zendesk.get("/users/show_many", ids=",".join(["1"] * 101)).status_code == 400
    assert zendesk.get("/users/show_many").status_code == 400


def test_an_organization_shows_every_custom_field_and_takes_no_other(zendesk: Vendor) -> None:
    made = acme(zendesk, organization_fields={"support_plan": "Premier", "mood": "good"}).json()["organization"]
    assert made["organization_fields"] == {"sla_tier": None, "support_plan": "Premier"}
    field = {
        "key": "mood",
        "title": "Mood",
        "type": "dropdown",
        "custom_field_options": [{"name": "Good", "value": "good"}],
    }
    assert zendesk.post("/organization_fields", {"organization_field": field}).status_code == 201
    changed = acme(zendesk, organization_fields={"mood": "good"}).json()["organization"]
    assert changed["organization_fields"] == {"sla_tier": None, "support_plan": "Premier", "mood": "good"}
    assert acme(zendesk, organization_fields={"mood": "bad"}).status_code == 422
    for wrong in (
        field,
        {**field, "key": "12"},
        {**field, "key": "a b"},
        {"key": "x"},
        {"key": "x", "title": "X", "type": "y"},
    ):
        assert zendesk.post("/organization_fields", {"organization_field": wrong}).status_code == 422


def test_tags_are_the_whole_list_in_lower_case(zendesk: Vendor) -> None:
    acme(zendesk, tags=["One", "two"])
    assert acme(zendesk, tags=["Three"]).json()["organization"]["tags"] == ["three"]


def test_a_tickets_organization_is_its_requesters(zendesk: Vendor) -> None:
    within = acme(zendesk).json()["organization"]["id"]
    other = zendesk.post("/organizations", {"organization": {"name": "Other"}}).json()["organization"]["id"]
    zendesk.post("/users/create_or_update", {"user": {"name": "Jo", "email": "jo@acme.com", "organization_id": within}})
    body = {"subject": "Welcome", "comment": {"body": "Hello", "public": False}, "requester": {"email": "jo@acme.com"}}
    made = zendesk.post("/tickets", {"ticket": {**body, "organization_id": within}}).json()["ticket"]
    assert (made["organization_id"], made["is_public"]) == (within, False)
    assert "requester" not in made
    for wrong in ({"organization_id": other}, {"requester": {"email": "new@acme.com"}}):
        assert zendesk.post("/tickets", {"ticket": {**body, **wrong}}).status_code == 422
    new = {"requester": {"name": "New", "email": "new@acme.com"}}
    made = zendesk.post("/tickets", {"ticket": {**body, **new}}).json()["ticket"]
    assert zendesk.get(f"/users/{made['requester_id']}").json()["user"]["email"] == "new@acme.com"
