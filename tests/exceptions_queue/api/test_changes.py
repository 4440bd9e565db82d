"""Change requests over REST: asked for or told, looked at, applied or rejected, by those who may."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from onboarding.models import ChangeRequest, OnboardingTransaction
from tests.conftest import Drain, Payload
from tests.exceptions_queue.api.conftest import RUNS, Caller

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
Post = Callable[..., Any]
CHANGES = f"{RUNS}pay_12345/change-requests/"
KIM = {"name": "Kim Sato", "email": "kim@acme-logistics.com"}


@pytest.fixture
def told(post: Post, payload: Payload, drain: Drain) -> str:
    """The address of the request that other content of a known id made."""
    post(payload())
    drain()
    response = post(payload(commercial__plan_sku="enterprise", customer__primary_contact=KIM))
    assert response.status_code == 202
    return f"{CHANGES}{response.json()['change_request']['id']}/"


def test_a_change_request_shows_its_diff_and_each_affected_step(told: str, operate: APIClient) -> None:
    shown = operate.get(told).json()
    assert (shown["status"], shown["source"]) == ("open", "billing")
    assert {"path": "commercial.plan_sku", "label": "Plan", "now": "pro", "proposed": "enterprise"} in shown[
        "differences"
    ]
    assert {step["step"]: step["verdict"] for step in shown["steps"]} == {
        "crm.contact": "another", "crm.deal": "update", "crm.note": "update", "delivery.handover": "send-again",
        "support.users": "look-up", "welcome.mail": "cannot-be-undone",
    }  # fmt: skip


def test_personal_data_in_a_diff_is_masked_without_permission(told: str, read: APIClient) -> None:
    response = read.get(told)
    assert {each["path"] for each in response.json()["differences"]} >= {"customer.primary_contact.email"}
    assert "kim@" not in response.content.decode()
    assert "Kim" not in response.content.decode()


def test_applying_a_change_updates_the_affected_objects(told: str, operate: APIClient, drain: Drain) -> None:
    applied = operate.post(f"{told}apply/", {}, format="json")
    assert (applied.status_code, applied.json()["status"], applied.json()["steps"]) == (200, "applied", [])
    assert applied.json()["decided_by"].startswith("key:")
    drain()
    assert OnboardingTransaction.objects.get().plan_sku == "enterprise"
    again = operate.post(f"{told}apply/", {}, format="json")
    assert again.status_code == 409
    assert "applied already" in again.json()["detail"]


def test_a_rejection_needs_a_reason(told: str, operate: APIClient) -> None:
    assert operate.post(f"{told}reject/", {}, format="json").status_code == 400
    rejected = operate.post(f"{told}reject/", {"reason": "A mistake in billing."}, format="json")
    assert (rejected.status_code, rejected.json()["status"]) == (200, "rejected")
    assert rejected.json()["reason"] == "A mistake in billing."
    assert OnboardingTransaction.objects.get().plan_sku == "pro"


def test_an_operator_asks_for_a_change(told: str, operate: APIClient) -> None:
    response = operate.post(CHANGES, {"fields": {"customer.country": "AT", "customer.segment": None}}, format="json")
    assert response.status_code == 201
    assert [step["step"] for step in response.json()["steps"]] == ["crm.account", "crm.note", "delivery.handover"]
    assert operate.get(response["Location"]).json()["id"] == response.json()["id"]
    assert ChangeRequest.objects.filter(status="open").count() == 2


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"customer.shoe_size": 44}, 400), ({"customer.country": "DE"}, 409), ({}, 400), ({"customer.domain": None}, 400)],
)
def test_invalid_change_is_refused(told: str, operate: APIClient, fields: dict[str, Any], status: int) -> None:
    assert operate.post(CHANGES, {"fields": fields}, format="json").status_code == status
    assert ChangeRequest.objects.count() == 1


@pytest.mark.parametrize(("scope", "may_look"), [("read", True), ("intake", False)])
def test_other_scopes_cannot_decide(told: str, caller: Caller, scope: str, may_look: bool) -> None:
    client = caller(scope)
    assert client.get(told).status_code == (200 if may_look else 403)
    assert client.post(f"{told}apply/", {}, format="json").status_code == 403
    assert client.post(f"{told}reject/", {"reason": "no"}, format="json").status_code == 403
    assert client.post(CHANGES, {"fields": {"customer.country": "AT"}}, format="json").status_code == 403
    assert ChangeRequest.objects.get().status == "open"


def test_a_request_belongs_to_its_run(told: str, post: Post, payload: Payload, operate: APIClient) -> None:
    post(payload(onboarding_transaction_id="pay_2"))
    elsewhere = told.replace("pay_12345", "pay_2")
    assert operate.get(elsewhere).status_code == 404
    assert operate.post(f"{elsewhere}apply/", {}, format="json").status_code == 404
    assert operate.get(f"{CHANGES}999/").status_code == 404


def test_the_list_shows_what_was_asked_to_change_newest_first(
    told: str, read: APIClient, post: Post, payload: Payload
) -> None:
    second = post(payload(customer__country="AT")).json()["change_request"]["id"]
    listed = read.get(CHANGES)
    assert listed.status_code == 200
    body = listed.json()
    assert (body["count"], body["next"], body["previous"]) == (2, None, None)
    assert [each["id"] for each in body["results"]] == [second, second - 1]
    assert [each["status"] for each in body["results"]] == ["open", "superseded"]
    assert read.get(CHANGES, {"page_size": 1}).json()["results"] == body["results"][:1]
    assert read.get(f"{RUNS}nobody/change-requests/").status_code == 404


def test_manual_change_exception_can_be_closed_over_the_api(
    post: Post, payload: Payload, operate: APIClient, drain: Drain
) -> None:
    post(payload())
    drain()
    asked = operate.post(CHANGES, {"fields": {"customer.domain": "acme-freight.com"}}, format="json").json()
    listed = operate.get("/api/v1/exceptions/", {"onboarding_transaction_id": "pay_12345", "status": "open"}).json()
    (waiting,) = [each for each in listed["results"] if each["change_request"] == asked["id"]]
    assert (waiting["category"], waiting["sla_state"]) == ("approval-overdue", "running")
    assert waiting["id"] in [each["id"] for each in operate.get(f"{RUNS}pay_12345/").json()["exceptions"]]
    operate.post(f"{CHANGES}{asked['id']}/reject/", {"reason": "A mistake."}, format="json")
    done = operate.get(f"/api/v1/exceptions/{waiting['id']}/").json()
    assert (done["status"], done["sla_state"]) == ("resolved", "met")
    late = operate.post(f"/api/v1/exceptions/{waiting['id']}/done/", {"text": "Renamed it."}, format="json")
    assert late.status_code == 409


def test_misspelt_field_is_kept_and_reported_to_the_sender(post: Post, payload: Payload, read: APIClient) -> None:
    sent = payload(custmer={"domain": "acme.com"}, customer__legal_nmae="Acme", customer__mother="Group")
    answer = post(sent)
    assert answer.status_code == 201
    assert {each["path"]: each["nearest"] for each in answer.json()["warnings"]} == {
        "custmer": "customer",
        "customer.legal_nmae": "customer.legal_name",
        "customer.mother": "",
    }
    assert "Did you mean customer.legal_name?" in str(answer.json()["warnings"])
    assert read.get(f"{RUNS}pay_12345/").json()["payload"]["customer"]["mother"]
    assert post(sent).json()["warnings"] == answer.json()["warnings"], "on a replay too"


def test_payload_with_known_fields_has_no_warnings(post: Post, payload: Payload) -> None:
    users = [{"name": "Sam", "email": "sam@acme-logistics.com", "role": "admin"}]
    sent = payload(users=users, handover__stakeholders={"Sponsor": "Lee"}, commercial__lines=[{"sku": "x"}])
    assert post(sent).json()["warnings"] == []
