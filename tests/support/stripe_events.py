"""Delivering Stripe's events to the intake, without HTTP and without a worker."""

from datetime import timedelta
from typing import Any

import pytest

from integrations import clock, crypto
from integrations.connections.services import set_connection
from integrations.models import Connection, InboundEvent
from integrations.vendors.stripe.sample_events import ACACIA, BASIL, Payment, encode
from onboarding.intake import events
from onboarding.models import OnboardingTransaction

SHAPES = pytest.mark.parametrize(
    ("version", "linked"), [(ACACIA, True), (BASIL, True), (BASIL, False)], ids=["acacia", "basil", "basil-unlinked"]
)
HOLD = timedelta(seconds=61)
COMPLETE = {"legal_name": "Acme Logistics", "contact_name": "Jordan Lee", "crm_owner_id": "u_1", "plan_sku": "pro"}


def connect(environment: str = "sandbox", options: dict[str, str] | None = None) -> Connection:
    kind = {"system": "billing", "provider": "stripe", "environment": environment}
    return set_connection("stripe", **kind, secrets={}, options=options, actor="tests")


def bought(**changes: Any) -> Payment:
    return Payment(created=int(clock.now().timestamp()), **changes)


def store(event: dict[str, Any]) -> InboundEvent:
    now = clock.now()
    return InboundEvent.objects.create(
        connection=Connection.objects.get(slug="stripe"),
        external_id=event["id"],
        type=event["type"],
        body=crypto.encrypt(encode(event).decode()),
        received_at=now,
        due_at=now,
    )


def deliver(event: dict[str, Any]) -> InboundEvent:
    stored = store(event)
    events.process_event(stored.pk)
    return reread(stored)


def reread(event: InboundEvent) -> InboundEvent:
    return InboundEvent.objects.get(pk=event.pk)


def settle() -> None:
    """Process what is due, as the sweep does."""
    for pk in InboundEvent.objects.filter(due_at__lte=clock.now()).order_by("due_at").values_list("pk", flat=True):
        events.process_event(pk)


def wait(by: timedelta = HOLD) -> None:
    clock.shift(by)
    settle()


def only_run() -> OnboardingTransaction:
    return OnboardingTransaction.objects.get()
