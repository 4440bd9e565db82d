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
from onboarding.engine.periodic.health import standstill
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


def test_without_a_scheduler_due_work_is_a_standstill(waiting: OnboardingTransaction, client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["work"] == "standing still"
    assert "1 due since" in answer.json()["title"] + answer.json().get("detail", "")
    assert "no scheduler sweeps" in standstill()


def test_hints_that_no_worker_takes_are_one_too(waiting: OnboardingTransaction) -> None:
    sweep.sweep()
    assert "no worker takes it" in standstill()


def test_while_something_is_begun_it_is_only_slow(waiting: OnboardingTransaction, accept: Accept) -> None:
    other = accept(**customer("other"))
    assert claiming.claim(step_of(other, "crm.account").pk)
    assert standstill() == ""


def test_an_abandoned_step_counts(accept: Accept, settings: Any) -> None:
    run = accept()
    assert claiming.claim(step_of(run, "crm.account").pk)
    clock.shift(timedelta(seconds=settings.LEASE_SECONDS + settings.READY_LAG_SECONDS + 1))
    assert "1 due since" in standstill()


def test_a_stored_event_that_nobody_processes_counts(hubspot: Connection, client: Client) -> None:
    now = clock.now()
    InboundEvent.objects.create(connection=hubspot, external_id="e1", body="", received_at=now, due_at=now)
    assert client.get("/readyz").status_code == 200
    clock.shift(timedelta(minutes=2))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["work"]) == (503, "standing still")
    assert "no scheduler sweeps" in answer.json()["detail"]


def test_a_line_at_a_connection_that_is_tried_again_counts(
    waiting: OnboardingTransaction, hubspot: Connection, drain: Drain
) -> None:
    hubspot.open_breaker(reason="500", at=clock.now())
    hubspot.try_one(at=clock.now(), probe_at=clock.now())
    hubspot.save()
    assert "1 due since" in standstill()
    drain()
    assert standstill() == ""


def test_what_is_on_hold_or_parked_is_not_due(waiting: OnboardingTransaction, hubspot: Connection) -> None:
    services.hold(waiting.pk, actor="kim", reason="because")
    assert standstill() == ""
    services.resume(waiting.pk, actor="kim")
    assert standstill() != ""
    hubspot.open_breaker(reason="401", at=clock.now())
    hubspot.save()
    assert standstill() == ""


def test_work_that_is_done_is_no_standstill(waiting: OnboardingTransaction, drain: Drain) -> None:
    drain()
    clock.shift(timedelta(hours=1))
    assert standstill() == ""
    assert not Step.objects.filter(due_at__isnull=False).exists()
