"""What a step costs the database: a ceiling, so that waste does not creep in, and no growth with what is stored."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations import clock
from onboarding.engine import run as engine
from onboarding.engine import sweep
from onboarding.models import Attempt, OnboardingTransaction
from onboarding.words import Status
from tests.conftest import drain_engine, next_due
from tests.engine.conftest import Accept, customer, shown, status_of

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
CEILING = 27
"""Statements a claimed step on average, BEGIN and COMMIT among them. Lower it when you save one."""


def round_trips(run: OnboardingTransaction) -> float:
    """A claim, on average over the whole playbook. In this thread alone, as others have connections of their own."""
    spent = 0
    while (due := next_due()) is not None:
        clock.shift(max(due - clock.now() + timedelta(milliseconds=1), timedelta(0)))
        for pk in sweep.sweep().steps:
            with CaptureQueriesContext(connection) as work:
                engine.run_step(pk)
            # The clock asks the database every now and then, whatever is done meanwhile; a slow call looks for a pause.
            now_and_then = ("clock_timestamp", 'SELECT "integrations_connection"."paused_until"')
            asked = [query["sql"] for query in work.captured_queries]
            spent += sum(not any(each in sql for each in now_and_then) for sql in asked)
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    return spent / Attempt.objects.filter(step__transaction=run).count()


def test_a_step_stays_below_a_ceiling_of_round_trips(accept: Accept) -> None:
    spent = round_trips(accept())
    assert 0 < spent <= CEILING


def test_a_step_costs_the_same_however_many_runs_there_are(accept: Accept) -> None:
    alone = round_trips(accept())
    for number in range(4):
        accept(**customer(f"other{number}"))
    drain_engine()
    assert round_trips(accept(**customer("last"))) == pytest.approx(alone, abs=0.5)
