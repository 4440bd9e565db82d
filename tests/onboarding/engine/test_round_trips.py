"""What a step costs the database: a ceiling, so that waste does not creep in, and no growth with what is stored."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations import clock
from integrations.database.statements import Statement
from onboarding.engine import execution as engine
from onboarding.engine.periodic import sweep
from onboarding.enums import Status
from onboarding.models import Attempt, OnboardingTransaction
from tests.conftest import drain_engine, next_due
from tests.onboarding.conftest import Accept, customer, shown, status_of

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
CEILING = {"sqlite": 27, "postgresql": 13}
"""Statements a claimed step on average, BEGIN and COMMIT among them. Lower it when you save one."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that go around the ORM."""
    seen: list[str] = []
    send = Statement.send

    def count(statement: Statement) -> list[tuple[Any, ...]]:
        seen.append("")
        return send(statement)

    monkeypatch.setattr(Statement, "send", count)
    return seen


def round_trips(run: OnboardingTransaction, sent: list[str]) -> float:
    """A claim, on average over the whole playbook. In this thread alone, as others have connections of their own."""
    spent = 0
    while (due := next_due()) is not None:
        clock.shift(max(due - clock.now() + timedelta(milliseconds=1), timedelta(0)))
        for pk in sweep.sweep().steps:
            before = len(sent)
            with CaptureQueriesContext(connection) as work:
                engine.run_step(pk)
            spent += len(sent) - before
            # The clock asks the database every now and then, whatever is done meanwhile; a slow call looks for a pause.
            now_and_then = ("clock_timestamp", 'SELECT "integrations_connection"."paused_until"')
            asked = [query["sql"] for query in work.captured_queries if query["sql"]]  # else it was refused
            spent += sum(not any(each in sql for each in now_and_then) for sql in asked)
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    return spent / Attempt.objects.filter(step__transaction=run).count()


def test_a_step_stays_below_a_ceiling_of_round_trips(accept: Accept, sent: list[str]) -> None:
    spent = round_trips(accept(), sent)
    assert 0 < spent <= CEILING[connection.vendor]


def test_a_step_costs_the_same_however_many_runs_there_are(accept: Accept, sent: list[str]) -> None:
    round_trips(accept(), sent)  # places, reservations and what the process keeps are there from now on
    alone = round_trips(accept(**customer("second")), sent)
    for number in range(4):
        accept(**customer(f"other{number}"))
    drain_engine()
    assert round_trips(accept(**customer("last")), sent) == pytest.approx(alone, abs=0.5)
