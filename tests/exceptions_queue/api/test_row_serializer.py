"""What is shown of a row is what DRF's own serializer shows of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework import serializers
from rest_framework.test import APIClient

from exceptions_queue.models import TicketNote
from integrations import clock
from onboarding.api.serializers import RowSerializer
from onboarding.models import OnboardingTransaction, StepPoll, UnmatchedEvent
from tests.conftest import Payload
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, TICKETS, Blocked


@pytest.mark.parametrize("scope", ["operate", "read", "intake"])
def test_every_representation(
    caller: Callable[[str], APIClient],
    payload: Payload,
    blocked: Blocked,
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
) -> None:
    """Runs with tickets, polls, changes and a CRM, and one that only waits; lists, single ones and receipts."""
    operate, client = caller("operate"), caller(scope)
    ticket = blocked("pay_blocked")
    assert ticket.step
    StepPoll.objects.create(step=ticket.step, count=2, last_at=clock.now())
    TicketNote.objects.create(ticket=ticket, author="ops", text="jo@acme.com called", at=clock.now())
    operate.post(RUNS, payload(onboarding_transaction_id="pay_blocked", customer__domain="other.io"), format="json")
    operate.post(RUNS, {**MINIMAL, "commercial": {}}, format="json")
    event = {"type": "payment.refunded", "event_id": "e1", "occurred_at": "2026-11-22T10:00:00Z"}
    paths = [RUNS, TICKETS, f"{TICKETS}{ticket.pk}/", *(f"{RUNS}{run}/" for run in OnboardingTransaction.objects.all())]

    def answers() -> list[Any]:
        UnmatchedEvent.objects.all().delete()
        kept = client.post(f"{RUNS}pay_unborn/events/", event, format="json").json()
        kept.pop("expires_at", None)
        found = [client.get(path) for path in paths]
        return [json.dumps(kept), *((answer.status_code, answer.content) for answer in found)]

    shown = answers()
    monkeypatch.setattr(RowSerializer, "to_representation", serializers.ModelSerializer.to_representation)

    assert shown == answers()


def test_value_missing_on_the_instance_is_fetched() -> None:
    class Serializer(RowSerializer[OnboardingTransaction]):
        is_over = serializers.BooleanField()
        name = serializers.CharField(source="__str__")
        nothing = serializers.CharField(default="a default")
        left_out = serializers.CharField(required=False)
        played = serializers.CharField(source="playbook.name", default=None)

        class Meta:
            model = OnboardingTransaction
            fields = ["is_over", "name", "nothing", "left_out", "played", "playbook", "status"]

    run = OnboardingTransaction(onboarding_transaction_id="pay_1")
    expected = serializers.ModelSerializer.to_representation(Serializer(), run)

    assert Serializer().to_representation(run) == expected
    assert expected == {
        "is_over": False,
        "name": "pay_1",
        "nothing": "a default",
        "played": None,
        "playbook": None,
        "status": "queued",
    }
