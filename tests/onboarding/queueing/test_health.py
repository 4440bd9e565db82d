"""``/readyz`` fails when due work lies there, and says why."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from integrations import clock
from integrations.models import Connection, InboundEvent
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine.periodic import sweep
from onboarding.engine.periodic.health import stall_reason
from onboarding.models import OnboardingTransaction, Step
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, step_of

pytestmark = pytest.mark.usefixtures("connections")


@pytest.fixture
def waiting(accept: Accept) -> OnboardingTransaction:
    """A run whose first step has been due for two minutes, and nobody comes."""
    run = accept()
    clock.shift(timedelta(minutes=2))
    return run


def test_due_work_without_a_scheduler_is_reported_as_stalled(waiting: OnboardingTransaction, client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["work"] == "stalled"
    assert "1 due since" in answer.json()["title"] + answer.json().get("detail", "")
    assert "no scheduler sweeps" in stall_reason()


def test_enqueued_work_without_workers_is_reported_as_stalled(waiting: OnboardingTransaction) -> None:
    sweep.sweep()
    assert "no worker takes it" in stall_reason()


def test_progress_is_not_reported_as_stalled(waiting: OnboardingTransaction, accept: Accept) -> None:
    other = accept(**customer("other"))
    assert claiming.claim(step_of(other, "crm.account").pk)
    assert stall_reason() == ""


def test_an_abandoned_step_counts(accept: Accept, settings: Any) -> None:
    run = accept()
    assert claiming.claim(step_of(run, "crm.account").pk)
    clock.shift(timedelta(seconds=settings.LEASE_SECONDS + settings.READY_LAG_SECONDS + 1))
    assert "1 due since" in stall_reason()


def test_a_stored_event_that_nobody_processes_counts(hubspot: Connection, client: Client) -> None:
    now = clock.now()
    InboundEvent.objects.create(connection=hubspot, external_id="e1", body="", received_at=now, due_at=now)
    assert client.get("/readyz").status_code == 200
    clock.shift(timedelta(minutes=2))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["work"]) == (503, "stalled")
    assert "no scheduler sweeps" in answer.json()["detail"]


def test_connection_queue_counts_as_due_work(waiting: OnboardingTransaction, hubspot: Connection, drain: Drain) -> None:
    hubspot.open_breaker(reason="500", at=clock.now())
    hubspot.half_open(at=clock.now(), probe_at=clock.now())
    hubspot.save()
    assert "1 due since" in stall_reason()
    drain()
    assert stall_reason() == ""


def test_what_is_on_hold_or_parked_is_not_due(waiting: OnboardingTransaction, hubspot: Connection) -> None:
    services.hold(waiting.pk, actor="kim", reason="because")
    assert stall_reason() == ""
    services.resume(waiting.pk, actor="kim")
    assert stall_reason() != ""
    hubspot.open_breaker(reason="401", at=clock.now())
    hubspot.save()
    assert stall_reason() == ""


def test_finished_work_is_not_stalled(waiting: OnboardingTransaction, drain: Drain) -> None:
    drain()
    clock.shift(timedelta(hours=1))
    assert stall_reason() == ""
    assert not Step.objects.filter(due_at__isnull=False).exists()
