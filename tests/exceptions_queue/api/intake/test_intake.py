"""POST /api/v1/onboardings/: what is accepted, and how often."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from exceptions_queue.models import Ticket
from onboarding import services
from onboarding.api.authentication import new_key
from onboarding.enums import Scope
from onboarding.models import AuditEntry, OnboardingTransaction
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS

Post = Callable[[dict[str, Any]], Any]
Payload = Callable[..., dict[str, Any]]


def test_contract_payload_starts_a_run(intake: APIClient, payload: Payload) -> None:
    response = intake.post(RUNS, payload(), format="json")

    assert response.status_code == 201
    assert response.json()["onboarding_transaction_id"] == "pay_12345"
    assert response.json()["status"] == "provisioning"
    assert response["Location"].endswith("/api/v1/onboardings/pay_12345/")
    assert intake.get(response["Location"]).status_code == 200


def test_the_required_fields_are_enough(post: Post) -> None:
    response = post(MINIMAL)

    assert response.status_code == 201
    assert response.json()["status"] == "provisioning"
    assert response.json()["exceptions"] == []


def test_the_audit_names_the_key(intake: APIClient) -> None:
    intake.post(RUNS, MINIMAL, format="json")

    assert AuditEntry.objects.get(name="onboarding.run.accepted").actor == "key:intake tests"


def test_occurred_at_starts_the_clock(post: Post) -> None:
    body = post({**MINIMAL, "occurred_at": "2026-01-02T03:04:05+01:00"}).json()

    assert body["occurred_at"] == "2026-01-02T02:04:05Z"
    assert body["sla"]["due_at"] == "2026-01-02T02:34:05Z"
    assert body["sla"]["state"] == "breached"


def test_the_same_content_again_is_replayed(post: Post) -> None:
    first = post(MINIMAL)

    again = post(MINIMAL)

    assert again.status_code == 200
    assert again["Idempotent-Replayed"] == "true"
    assert "Location" not in again
    assert again.json() == first.json()
    assert OnboardingTransaction.objects.count() == 1


def test_empty_strings_and_nulls_are_absent_fields(post: Post) -> None:
    post(MINIMAL)

    again = post({**MINIMAL, "occurred_at": None, "security": {}, "first_value_target": {"milestone": ""}})

    assert again["Idempotent-Replayed"] == "true"


def test_other_content_makes_a_change_request(post: Post, payload: Payload) -> None:
    post(payload())

    response = post(payload(commercial__term="monthly"))

    assert response.status_code == 202
    request = response.json()["change_request"]
    assert (request["status"], request["paths"]) == ("open", ["commercial.term"])
    assert {"id", "created_at"} <= set(request)
    assert response.json()["payload"]["commercial"]["term"] == "annual"
    assert [known["id"] for known in response.json()["change_requests"]] == [request["id"]]


def test_the_same_other_content_makes_one_change_request(post: Post, payload: Payload) -> None:
    post(payload())

    first, second = (post(payload(commercial__term="monthly")).json() for _ in range(2))

    assert first["change_request"] == second["change_request"]


def test_an_applied_change_is_shown_and_outlives_a_replay_of_the_first_event(post: Post, payload: Payload) -> None:
    post(payload())
    request = post(payload(commercial__term="monthly")).json()["change_request"]
    services.apply_change(request["id"], actor="lee")

    again = post(payload())

    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert again.json()["payload"]["commercial"]["term"] == "monthly"
    (shown,) = again.json()["change_requests"]
    assert (shown["status"], bool(shown["decided_at"])) == ("applied", True)
    assert post(payload(commercial__term="monthly"))["Idempotent-Replayed"] == "true"


def test_change_request_of_another_source_contains_only_differing_fields(post: Post, payload: Payload) -> None:
    post(payload())

    response = post({**MINIMAL, "onboarding_transaction_id": "pay_12345", "event_source": "crm"})

    assert "event_source" not in response.json()["change_request"]["paths"]
    assert "kickoff.start_date" not in response.json()["change_request"]["paths"]


def test_missing_required_fields_are_accepted_and_asked_for(post: Post, payload: Payload) -> None:
    response = post(payload(commercial__plan_sku="TBD", customer__legal_name=""))

    assert response.status_code == 201
    assert (response.json()["status"], response.json()["blocked"]) == ("awaiting-data", True)
    ticket = Ticket.objects.get()
    assert {problem["path"] for problem in ticket.problems} == {"commercial.plan_sku", "customer.legal_name"}
    assert [shown["id"] for shown in response.json()["exceptions"]] == [ticket.pk]


def test_id_and_source_are_the_only_mandatory_fields(post: Post) -> None:
    response = post({"onboarding_transaction_id": "pay_bare", "event_source": "import"})

    assert (response.status_code, response.json()["status"]) == (201, "awaiting-data")


def test_content_that_only_fills_what_was_missing_is_taken(post: Post, payload: Payload) -> None:
    post(payload(commercial__term=None))

    response = post(payload())

    assert response.status_code == 200
    assert "Idempotent-Replayed" not in response
    assert response.json()["status"] == "provisioning"
    assert [snapshot["version"] for snapshot in response.json()["snapshots"]] == [1, 2]
    assert response.json()["exceptions"] == []


def test_unknown_fields_are_kept(post: Post) -> None:
    body = post({**MINIMAL, "campaign": {"code": "spring"}}).json()

    assert body["payload"]["campaign"] == {"code": "spring"}


def test_payment_system_ids_are_valid_transaction_ids(intake: APIClient) -> None:
    run_id = "evt.1:2@acme~x+y-z_9"

    response = intake.post(RUNS, {**MINIMAL, "onboarding_transaction_id": run_id}, format="json")

    assert response.status_code == 201
    assert intake.get(response["Location"]).json()["onboarding_transaction_id"] == run_id
    assert intake.get(f"{RUNS}{run_id}/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_two_identical_posts_at_once_make_one_run() -> None:
    key, _ = new_key("sender", Scope.INTAKE)
    gate = threading.Barrier(2)
    statuses = []

    def send() -> None:
        try:
            client = APIClient(headers={"Authorization": f"Bearer {key}"})
            gate.wait()
            statuses.append(client.post(RUNS, MINIMAL, format="json").status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 201]
    assert OnboardingTransaction.objects.count() == 1
