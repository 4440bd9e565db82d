"""The lean path's fences about SLA clocks and tickets, where a run reaches a milestone."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database

from exceptions_queue.models import ClockState, Milestone, SlaClock, Ticket
from exceptions_queue.sla import clocks as sla
from integrations import clock
from integrations.connectors.objects import DeliveryTask
from integrations.models import Connection
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, Status, WaitsFor
from onboarding.models import (
    OnboardingTransaction,
    Step,
)
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, shown, status_of, step_of
from tests.onboarding.working_set.test_lean_path import AGAIN, RECORDING, account, all_but_one, crm, run
from tests.support.meanwhile import Meanwhile, inside, meanwhile, written

__all__ = ["account", "crm", "inside", "meanwhile", "run", "written"]  # fixtures

pytestmark = [
    pytest.mark.skipif(database.vendor != "postgresql", reason="the lean path is for PostgreSQL alone"),
    pytest.mark.usefixtures("connections"),
]


def p1(run: OnboardingTransaction) -> SlaClock:
    return SlaClock.objects.get(transaction=run, milestone=Milestone.P1)


def met(run: OnboardingTransaction) -> int:
    return run.audit.filter(name="exceptions.sla.met").count()


def test_a_run_that_is_set_up_in_time_meets_its_clock_with_the_same_statement(
    run: OnboardingTransaction, written: list[str]
) -> None:
    last, outcome = all_but_one(run)
    record(last, outcome, inline=False)
    assert set(written) == {"written"}
    assert status_of(run) == Status.COMPLETE
    assert (p1(run).state, met(run)) == (ClockState.MET, 1)
    assert p1(run).ended_at is not None


def test_a_breach_that_nobody_has_noticed_yet_stays_one(run: OnboardingTransaction) -> None:
    last, outcome = all_but_one(run)
    clock.shift(timedelta(minutes=31))
    record(last, outcome, inline=False)
    assert status_of(run) == Status.COMPLETE
    assert p1(run).state == ClockState.MET_LATE


def test_a_breach_that_was_noticed_meanwhile_stays_one(run: OnboardingTransaction, meanwhile: Meanwhile) -> None:
    last, outcome = all_but_one(run)

    def breach() -> None:
        clock.shift(timedelta(minutes=31))
        sla.tick()

    meanwhile(RECORDING, breach)
    record(last, outcome, inline=False)
    assert status_of(run) == Status.COMPLETE
    assert p1(run).state == ClockState.MET_LATE


def test_a_clock_that_was_met_is_not_met_again(run: OnboardingTransaction) -> None:
    last, outcome = all_but_one(run)
    ended = clock.now() - AGAIN  # it was set up before, and some of it is done again
    SlaClock.objects.update(state=ClockState.MET, ended_at=ended, next_transition_at=None)
    record(last, outcome, inline=False)
    assert status_of(run) == Status.COMPLETE
    assert (p1(run).ended_at, met(run)) == (ended, 0)


def test_clock_ended_before_its_start_ends_at_its_start(run: OnboardingTransaction) -> None:
    last, outcome = all_but_one(run)
    SlaClock.objects.update(started_at=clock.now() + AGAIN)
    record(last, outcome, inline=False)
    assert p1(run).ended_at == p1(run).started_at


def test_a_stalled_ticket_that_was_opened_meanwhile_is_resolved(
    run: OnboardingTransaction, meanwhile: Meanwhile
) -> None:
    last, outcome = all_but_one(run)

    def flag() -> None:
        clock.shift(timedelta(minutes=16))
        sla.tick()

    flag()
    assert Ticket.objects.get().category == Category.STALLED
    record(last, outcome, inline=False)
    assert status_of(run) == Status.COMPLETE
    assert Ticket.objects.get().resolved_at is not None


@pytest.mark.usefixtures("whole_playbook", "smtp")
def test_a_kickoff_that_is_looked_up_meets_the_clock_that_runs_for_it(
    accept: Accept, drain: Drain, connections: dict[str, Connection], settings: Any
) -> None:
    from tests.integrations.vendors.asana.test_connector import delivery

    run = accept(**customer("beta"))
    drain()
    kickoff = step_of(run, "kickoff.task")
    assert kickoff.waits_for == WaitsFor.EVENT, shown(run)
    p2 = SlaClock.objects.get(transaction=run, milestone=Milestone.P2)
    delivery(connections["asana"]).update(kickoff.mappings.get().external_id, DeliveryTask(completed=True))
    Step.objects.filter(pk=kickoff.pk).update(due_at=clock.now())
    engine.run_step(kickoff.pk)
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert SlaClock.objects.get(pk=p2.pk).state == ClockState.MET
