"""Later events by REST that come before their run: kept, visible, and applied once when it opens."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from exceptions_queue import scheduling
from integrations import clock
from integrations.models import ApiCall
from onboarding.enums import RunEventType, Status, UnmatchedState
from onboarding.intake import unmatched
from onboarding.models import OnboardingTransaction, RunEvent, UnmatchedEvent
from tests.conftest import Drain, Payload
from tests.exceptions_queue.api.conftest import RUNS
from tests.support.stripe_events import only_run

pytestmark = pytest.mark.django_db(transaction=True)


def post(api: APIClient, run_id: str, kind: RunEventType, event_id: str, **more: Any) -> Any:
    return api.post(f"{RUNS}{run_id}/events/", {"type": kind, "event_id": event_id, **more}, format="json")


def open_run(api: APIClient, body: dict[str, Any]) -> OnboardingTransaction:
    assert api.post(RUNS, body, format="json").status_code == 201
    return only_run()


@pytest.mark.parametrize("kind", list(RunEventType))
def test_an_event_of_an_unknown_id_is_kept_and_applied_when_the_run_opens(
    intake: APIClient, payload: Payload, kind: RunEventType
) -> None:
    answer = post(intake, "pay_12345", kind, "evt_1", occurred_at="2026-11-24T10:00:00Z")
    assert answer.status_code == 202
    assert answer.json()["status"] == "waiting"
    assert post(intake, "pay_12345", kind, "evt_1").json() == answer.json()
    open_run(intake, payload())
    assert RunEvent.objects.get().type == kind
    assert bool(only_run().held_at) is (kind == RunEventType.PAYMENT_REFUNDED)
    assert post(intake, "pay_12345", kind, "evt_1").status_code == 200
    assert RunEvent.objects.count() == 1


def test_several_are_applied_in_the_order_in_which_they_occurred(intake: APIClient, payload: Payload) -> None:
    for number, day in ((1, 25), (2, 23), (3, 24)):
        at = f"2026-11-{day}T10:00:00Z"
        post(intake, "pay_12345", RunEventType.KICKOFF_SCHEDULED, f"evt_{number}", occurred_at=at)
    open_run(intake, payload())
    assert list(RunEvent.objects.order_by("pk").values_list("event_id", flat=True)) == ["evt_2", "evt_3", "evt_1"]


@pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
def test_kickoff_event_stored_before_its_run_completes_the_step_at_once(
    intake: APIClient, payload: Payload, drain: Drain
) -> None:
    post(intake, "pay_12345", RunEventType.KICKOFF_SCHEDULED, "evt_1")
    open_run(intake, payload())
    drain()
    assert only_run().status == Status.COMPLETE


@pytest.mark.usefixtures("connections")
def test_refund_stored_before_its_run_prevents_vendor_calls(intake: APIClient, payload: Payload, drain: Drain) -> None:
    post(intake, "pay_12345", RunEventType.PAYMENT_REFUNDED, "evt_1")
    open_run(intake, payload(ownership__crm_owner_id=None))
    drain()
    assert only_run().held_at
    assert not ApiCall.objects.exists()


def test_the_same_id_for_another_type_is_refused(intake: APIClient) -> None:
    post(intake, "pay_1", RunEventType.KICKOFF_SCHEDULED, "evt_1")
    assert post(intake, "pay_1", RunEventType.PAYMENT_REFUNDED, "evt_1").status_code == 409


def test_early_events_of_one_id_are_capped(intake: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmatched, "MOST_WAITING", 2)
    for number in range(2):
        assert post(intake, "pay_1", RunEventType.KICKOFF_SCHEDULED, f"evt_{number}").status_code == 202
    assert post(intake, "pay_1", RunEventType.KICKOFF_SCHEDULED, "evt_2").status_code == 409
    assert post(intake, "pay_1", RunEventType.KICKOFF_SCHEDULED, "evt_1").status_code == 202


def test_early_event_without_a_run_expires(intake: APIClient, client: Client, admin_user: Any) -> None:
    post(intake, "pay_1", RunEventType.KICKOFF_SCHEDULED, "evt_1")
    clock.shift(unmatched.WAIT + timedelta(seconds=1))
    scheduling.one_pass(publish=False, mail=False)
    assert UnmatchedEvent.objects.get().state == UnmatchedState.EXPIRED
    assert post(intake, "pay_1", RunEventType.KICKOFF_SCHEDULED, "evt_1").json()["status"] == "expired"
    client.force_login(admin_user)
    assert "Its run never came" in client.get("/admin/onboarding/unmatchedevent/").content.decode()
