"""The Zendesk stand-in keeps Zendesk's manners."""

import base64
from typing import Any

import pytest
import requests

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor


def organization(zendesk: Vendor, path: str = "/organizations", **fields: Any) -> requests.Response:
    return zendesk.post(path, {"organization": fields})


def upsert(zendesk: Vendor, **fields: Any) -> requests.Response:
    return organization(zendesk, "/organizations/create_or_update", **fields)


def is_duplicate(answer: requests.Response) -> bool:
    body = answer.json()
    return (
        answer.status_code == 422
        and body["error"] == "RecordInvalid"
        and body["details"]["name"][0]["error"] == "DuplicateValue"
    )


def test_an_organization_name_is_unique(zendesk: Vendor):
    assert organization(zendesk, name="Acme").status_code == 201
    assert is_duplicate(organization(zendesk, name="ACME"))


def test_an_upsert_goes_by_external_id(zendesk: Vendor):
    first = upsert(zendesk, name="Acme", external_id="ref-1")
    second = upsert(zendesk, name="Acme Logistics", external_id="ref-1")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["organization"]["id"] == second.json()["organization"]["id"]
    assert second.json()["organization"]["name"] == "Acme Logistics"


def test_an_upsert_never_goes_by_name(zendesk: Vendor):
    organization(zendesk, name="Acme")
    assert is_duplicate(upsert(zendesk, name="Acme", external_id="ref-1"))


def test_an_organization_is_found_by_external_id_and_by_name(zendesk: Vendor):
    given = organization(zendesk, name="Acme", external_id="ref-1").json()["organization"]["id"]
    for query in ({"external_id": "ref-1"}, {"name": "acme"}):
        found = zendesk.get("/organizations/search.json", **query).json()
        assert ([each["id"] for each in found["organizations"]], found["count"]) == ([given], 1)
    assert zendesk.get("/organizations/search", external_id="other").json()["count"] == 0


def test_an_organization_changes_and_goes(zendesk: Vendor):
    given = organization(zendesk, name="Acme").json()["organization"]["id"]
    changed = zendesk("PUT", f"/organizations/{given}", {"organization": {"notes": "Paid"}})
    assert (changed.status_code, changed.json()["organization"]["notes"]) == (200, "Paid")
    assert zendesk("DELETE", f"/organizations/{given}").status_code == 204
    assert zendesk.get(f"/organizations/{given}").status_code == 404
    assert organization(zendesk, name="Acme").status_code == 201


def test_a_user_upsert_goes_by_email(zendesk: Vendor):
    acme = organization(zendesk, name="Acme").json()["organization"]["id"]
    user = {"name": "Jordan", "email": "jordan@acme.com", "organization_id": acme, "skip_verify_email": True}
    first, second = (zendesk.post("/users/create_or_update", {"user": user}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["user"]["id"] == second.json()["user"]["id"]
    found = zendesk.get("/users/search", query="email:jordan@acme.com").json()
    assert [each["id"] for each in found["users"]] == [first.json()["user"]["id"]]
    assert zendesk("DELETE", f"/users/{first.json()['user']['id']}").status_code == 200
    assert zendesk.get("/users/search", query="jordan@acme.com").json()["count"] == 0


def test_a_user_of_an_unknown_organization_is_refused(zendesk: Vendor):
    user = {"name": "Jordan", "email": "jordan@acme.com", "organization_id": 404}
    assert zendesk.post("/users/create_or_update", {"user": user}).status_code == 422


def test_a_ticket_is_made_once_a_key(zendesk: Vendor, control: SandboxControl):
    body = {"ticket": {"subject": "Welcome", "comment": {"body": "Hello"}}}
    first, second = (zendesk.post("/tickets", body, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert (first.headers["X-Idempotency-Lookup"], second.headers["X-Idempotency-Lookup"]) == ("miss", "hit")
    assert control.counts()["vendors"]["zendesk"]["tickets"]["total"] == 1


def test_a_key_with_another_body_is_refused(zendesk: Vendor):
    body = {"ticket": {"subject": "Welcome", "comment": {"body": "Hello"}}}
    zendesk.post("/tickets", body, **{"Idempotency-Key": "k1"})
    body["ticket"]["subject"] = "Goodbye"
    assert zendesk.post("/tickets", body, **{"Idempotency-Key": "k1"}).status_code == 400


def test_without_a_key_every_post_is_a_ticket(zendesk: Vendor):
    body = {"ticket": {"subject": "Welcome", "comment": {"body": "Hello"}}}
    one, two = (zendesk.post("/tickets", body).json()["ticket"]["id"] for _ in range(2))
    assert one != two
    assert zendesk.get(f"/tickets/{one}.json").json()["ticket"]["subject"] == "Welcome"
    assert zendesk("DELETE", f"/tickets/{one}").status_code == 204
    assert zendesk.get(f"/tickets/{one}").status_code == 404


def test_the_probe_answers_with_and_without_suffix(zendesk: Vendor):
    assert zendesk.get("/users/me").json() == zendesk.get("/users/me.json").json()


def test_rate_limit_answer_has_retry_after(zendesk: Vendor, control: SandboxControl):
    control.configure("zendesk", rate_limit={"requests": 1, "seconds": 30})
    first, second = zendesk.get("/users/me"), zendesk.get("/users/me")
    assert (first.headers["X-Rate-Limit"], first.headers["X-Rate-Limit-Remaining"]) == ("1", "0")
    assert second.status_code == 429
    assert 1 <= int(second.headers["Retry-After"]) <= 30


def test_a_wrong_token_is_zendesks_own_401(zendesk: Vendor, control: SandboxControl):
    control.set_tokens("zendesk", ["another"])
    answer = zendesk.get("/users/me")
    assert (answer.status_code, answer.json()) == (401, {"error": "Couldn't authenticate you"})


def test_a_user_changes_and_keeps_to_the_rules(zendesk: Vendor):
    acme = organization(zendesk, name="Acme").json()["organization"]["id"]
    made = zendesk.post("/users/create_or_update", {"user": {"name": "Jordan", "email": "jordan@acme.com"}}).json()[
        "user"
    ]
    assert (made["organization_id"], made["role"]) == (None, "end-user")
    changed = zendesk("PUT", f"/users/{made['id']}", {"user": {"organization_id": acme}})
    assert (changed.status_code, changed.json()["user"]["organization_id"]) == (200, acme)
    for wrong in ({"role": "boss"}, {"email": "nonsense"}, {"organization_id": 404}):
        answer = zendesk("PUT", f"/users/{made['id']}", {"user": wrong})
        assert (answer.status_code, answer.json()["error"]) == (422, "RecordInvalid")


def test_a_second_user_of_one_email_is_a_duplicate(zendesk: Vendor, control: SandboxControl):
    zendesk.post("/users/create_or_update", {"user": {"name": "Jordan", "email": "jordan@acme.com"}})
    assert control.duplicates() == 0
    control.seed("zendesk", "users", [{"name": "Jordan", "email": "JORDAN@acme.com"}])
    assert control.duplicates() == 1


def as_login(email: str, token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{email}:{token}".encode()).decode()}


def test_an_api_token_signs_in_with_the_email_of_its_user(zendesk: Vendor, control: SandboxControl):
    control.seed("zendesk", "users", [{"name": "Ines", "email": "ines@sandbox.example", "role": "agent"}])
    control.seed("zendesk", "users", [{"name": "Jordan", "email": "jordan@acme.com", "role": "end-user"}])
    good, token = "firstvalue@sandbox.example/token", "sandbox-zendesk-token"
    for login in (good, "ines@sandbox.example/token"):
        assert zendesk("GET", "/users/me", headers=as_login(login, token)).status_code == 200
    for login, secret in (
        (good, "wrong"),
        ("firstvalue@sandbox.example", token),
        ("nobody@sandbox.example/token", token),
        ("jordan@acme.com/token", token),
    ):
        assert zendesk("GET", "/users/me", headers=as_login(login, secret)).status_code == 401
    assert zendesk("GET", "/users/me", headers={"Authorization": "Basic %%"}).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_write_declares_json(zendesk: Vendor, method: str):
    given = organization(zendesk, name="Acme").json()["organization"]["id"]
    path = "/organizations" if method == "POST" else f"/organizations/{given}"
    answer = zendesk.session.request(
        method, zendesk.base + path, data="{}", headers={"Content-Type": "text/plain"}, timeout=10
    )
    assert answer.status_code == 415


def test_a_conflict_of_its_database_is_zendesks_own_409(zendesk: Vendor, control: SandboxControl):
    control.add_fault("zendesk", "error_before", status=409, count=1)
    answer = organization(zendesk, name="Acme")
    assert (answer.status_code, answer.json()["error"]) == (409, "DatabaseConflict")
    assert organization(zendesk, name="Acme").status_code == 201


def test_a_busy_database_says_how_long_to_wait(zendesk: Vendor, control: SandboxControl):
    control.add_fault("zendesk", "error_before", status=503, retry_after=7, count=1)
    answer = zendesk.get("/users/me")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_what_is_not_documented_is_passed_over(zendesk: Vendor):
    made = organization(zendesk, name="  Acme ", Notes="Paid", status="gold").json()["organization"]
    assert made["name"] == "Acme"
    assert made["notes"] == ""
    assert "status" not in made
    assert is_duplicate(organization(zendesk, name="acme  "))


def test_organizations_are_searched_by_one_key(zendesk: Vendor):
    assert zendesk.get("/organizations/search", name="Acme", external_id="ref-1").status_code == 400
    assert zendesk.get("/organizations/search").status_code == 400


def test_a_suspended_user_says_so_and_asks_for_nothing(zendesk: Vendor, control: SandboxControl):
    control.seed("zendesk", "users", [{"name": "Jordan", "email": "jordan@acme.com", "suspended": True}])
    user = {"name": "Jordan Lee", "email": "jordan@acme.com"}
    made = zendesk.post("/users/create_or_update", {"user": user})
    assert (made.status_code, made.json()["user"]["suspended"]) == (200, True)
    (found,) = zendesk.get("/users/search", query="email:jordan@acme.com").json()["users"]
    assert found["suspended"] is True
    ticket = {"subject": "Welcome", "comment": {"body": "Hello"}, "requester_id": found["id"]}
    refused = zendesk.post("/tickets", {"ticket": ticket})
    assert refused.status_code == 422
    assert "suspended" in refused.json()["details"]["requester"][0]["description"]


def test_a_second_address_comes_beside_the_first(zendesk: Vendor):
    path = "/users/create_or_update"
    made = zendesk.post(path, {"user": {"name": "Jordan", "email": "jordan@acme.com"}}).json()["user"]
    changed = zendesk("PUT", f"/users/{made['id']}", {"user": {"email": "lee@acme.com"}}).json()["user"]
    assert changed["email"] == "jordan@acme.com"
    again = zendesk.post(path, {"user": {"name": "Jordan", "email": "lee@acme.com"}})
    assert (again.status_code, again.json()["user"]["id"]) == (200, made["id"])
    listed = zendesk.get(f"/users/{made['id']}/identities").json()["identities"]
    assert [(each["value"], each["primary"]) for each in listed] == [
        ("jordan@acme.com", True),
        ("lee@acme.com", False),
    ]
    zendesk("PUT", f"/users/{made['id']}/identities/{listed[1]['id']}/make_primary", {})
    assert zendesk.get(f"/users/{made['id']}").json()["user"]["email"] == "lee@acme.com"


def test_a_list_has_pages(zendesk: Vendor):
    for number in range(3):
        user = {"name": f"Jordan {number}", "email": f"jordan{number}@acme.com"}
        zendesk.post("/users/create_or_update", {"user": user})
    first = zendesk.get("/users/search", query="jordan", per_page=2).json()
    second = zendesk.session.get(first["next_page"], timeout=10).json()
    assert [len(each["users"]) for each in (first, second)] == [2, 1]
    assert (first["count"], second["next_page"]) == (3, None)


def test_a_ticket_shows_its_first_comment_as_its_description(zendesk: Vendor):
    body = {"ticket": {"subject": "Welcome", "comment": {"body": "Hello"}}}
    made = zendesk.post("/tickets", body).json()["ticket"]
    assert made["description"] == "Hello"
    assert "comment" not in made
    zendesk("PUT", f"/tickets/{made['id']}", {"ticket": {"status": "closed"}})
    refused = zendesk("PUT", f"/tickets/{made['id']}", {"ticket": {"subject": "Again"}})
    assert refused.status_code == 422
