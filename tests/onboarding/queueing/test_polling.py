"""Whether somebody has done what a step awaits is looked at now and then; a look that finds nothing new is no attempt."""

from datetime import timedelta
from threading import Event
from time import monotonic
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.connectors.objects import DeliveryTask
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine.periodic import polling
from onboarding.engine.runs import waits
from onboarding.enums import Category, Status, StepState, WaitsFor
from onboarding.models import Attempt, AuditEntry, ObjectMapping, OnboardingTransaction, Step, StepPoll
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, shown, status_of, step_of, ticket_of
from tests.support.threads import together

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
LOOKS = 5


@pytest.fixture
def awaited(accept: Accept, drain: Drain) -> OnboardingTransaction:
    """Everything is provisioned, and the kickoff task is there."""
    run = accept()
    drain()
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT, shown(run)
    return run


def look(times: int = 1, *, settings: Any) -> None:
    for _ in range(times):
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        scheduling.one_pass(publish=False)


def kept() -> dict[str, Any]:
    """What a run's history is made of."""
    return {
        "attempts": Attempt.objects.count(),
        "audit": AuditEntry.objects.filter(name__startswith="onboarding.step").count(),
        "calls": ApiCall.objects.count(),
        "runs": list(OnboardingTransaction.objects.values("pk", "audit_sequence", "updated_at")),
        "steps": list(Step.objects.order_by("pk").values()),
    }


def looked_at(sandbox: SandboxControl) -> int:
    return sum("/tasks/" in each["path"] and each["method"] == "GET" for each in sandbox.requests("asana"))


def test_polls_without_news_leave_no_history(
    awaited: OnboardingTransaction, sandbox: SandboxControl, settings: Any
) -> None:
    before, asked = kept(), looked_at(sandbox)
    look(LOOKS, settings=settings)
    assert looked_at(sandbox) == asked + LOOKS
    assert kept() == before
    poll = StepPoll.objects.get()
    assert (poll.step, poll.count) == (step_of(awaited, "kickoff.task"), LOOKS)
    assert poll.last_at is not None
    assert poll.due_at is not None
    assert poll.last_at <= clock.now() < poll.due_at


def test_poll_that_finds_it_done_completes_the_run(
    awaited: OnboardingTransaction, asana: Connection, drain: Drain, settings: Any
) -> None:
    from tests.integrations.vendors.asana.test_connector import delivery

    look(LOOKS, settings=settings)
    task = ObjectMapping.objects.get(step__key="kickoff.task").external_id
    delivery(asana).update(task, DeliveryTask(completed=True))
    look(settings=settings)
    drain()
    assert status_of(awaited) == Status.COMPLETE
    before = looked_at_count(awaited)
    look(2, settings=settings)
    assert looked_at_count(awaited) == before == LOOKS
    # Else every sweep would pass over the polls of all runs that ever were.
    assert StepPoll.objects.get().due_at is None


def looked_at_count(run: OnboardingTransaction) -> int:
    return int(StepPoll.objects.get(step__transaction=run).count)


def test_held_run_is_not_polled(
    awaited: OnboardingTransaction, sandbox: SandboxControl, drain: Drain, settings: Any
) -> None:
    services.hold(awaited.pk, actor="kim", reason="The customer asked")
    drain()
    asked = looked_at(sandbox)
    look(settings=settings)
    assert looked_at(sandbox) == asked
    services.resume(awaited.pk, actor="kim")
    scheduling.one_pass(publish=False)
    assert looked_at(sandbox) == asked + 1


def test_failed_poll_becomes_an_attempt(awaited: OnboardingTransaction, sandbox: SandboxControl, settings: Any) -> None:
    attempts = Attempt.objects.count()
    sandbox.add_fault("asana", "error_before", method="GET", path="*/tasks/*", count=2)
    look(settings=settings)
    step = step_of(awaited, "kickoff.task")
    assert (step.state, step.waits_for, step.attempts) == (StepState.WAITING, WaitsFor.RETRY, 1)
    assert Attempt.objects.count() == attempts + 1
    clock.shift(timedelta(seconds=60))
    scheduling.one_pass(publish=False)
    step = step_of(awaited, "kickoff.task")
    assert (step.waits_for, step.due_at, step.attempts) == (WaitsFor.EVENT, None, 0)
    look(settings=settings)
    assert looked_at_count(awaited) == 1


def test_poll_honours_retry_after(
    awaited: OnboardingTransaction, sandbox: SandboxControl, asana: Connection, settings: Any
) -> None:
    before = kept()
    sandbox.add_fault("asana", "rate_limit", method="GET", path="*/tasks/*", retry_after=900, count=1)
    look(settings=settings)
    asked = looked_at(sandbox)
    look(2, settings=settings)
    assert looked_at(sandbox) == asked
    look(settings=settings)
    assert looked_at(sandbox) == asked + 1
    assert kept()["attempts"] == before["attempts"]
    assert Connection.objects.get(pk=asana.pk).lowered_at is not None


def test_late_kickoff_ticket_does_not_end_polling(
    awaited: OnboardingTransaction, asana: Connection, drain: Drain, settings: Any
) -> None:
    from tests.integrations.vendors.asana.test_connector import delivery

    assert services.flag_slow_step(step_of(awaited, "kickoff.task").pk, "The kickoff is late.")
    look(LOOKS, settings=settings)
    assert ticket_of(awaited, "kickoff.task").category == Category.STALLED
    assert looked_at_count(awaited) == LOOKS
    task = ObjectMapping.objects.get(step__key="kickoff.task").external_id
    delivery(asana).update(task, DeliveryTask(completed=True))
    look(settings=settings)
    drain()
    assert status_of(awaited) == Status.COMPLETE
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_run_awaiting_an_event_is_not_stalled(awaited: OnboardingTransaction, settings: Any) -> None:
    clock.shift(timedelta(hours=2))
    scheduling.one_pass(publish=False)
    assert not Ticket.objects.filter(category=Category.STALLED, step=None).exists()


def test_several_steps_are_polled_and_rescheduled(accept: Accept, drain: Drain, settings: Any) -> None:
    for number in range(3):
        accept(**customer(f"n{number}"))
    drain()
    look(2, settings=settings)
    assert list(StepPoll.objects.values_list("count", flat=True)) == [2, 2, 2]


def test_job_polling_backs_off(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("asana", job_seconds=3600)
    run = accept()
    drain()
    assert ticket_of(run, "delivery.project").category == Category.UNKNOWN_OUTCOME, "timed out after minutes"
    assert step_of(run, "delivery.project").attempt_rows.count() < 20


@pytest.mark.skipif(database.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_a_wait_that_begins_while_polls_are_forgotten_is_polled(awaited: OnboardingTransaction, settings: Any) -> None:
    step = step_of(awaited, "kickoff.task")
    clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
    Step.objects.filter(pk=step.pk).update(waits_for=WaitsFor.RETRY)
    has_begun = Event()

    def begin() -> None:
        with transaction.atomic():
            Step.objects.filter(pk=step.pk).update(waits_for=WaitsFor.EVENT)
            waits.begin(step, clock.now())
            has_begun.set()
            until_somebody_waits_for_a_lock()

    def forget() -> None:
        assert has_begun.wait(timeout=10)
        polling.forget(clock.now())

    together([begin, forget])
    due = StepPoll.objects.get().due_at
    assert due is not None
    assert due > clock.now()


def until_somebody_waits_for_a_lock() -> None:
    asked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')"
    given_up_at = monotonic() + 10
    with database.cursor() as cursor:
        while True:
            cursor.execute(asked)
            if cursor.fetchone()[0]:
                return
            assert monotonic() < given_up_at, "nobody waits"
