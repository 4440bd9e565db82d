"""The scheduler's pass: messages are bounded, and one failure does not delay the rest."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from celery import current_app

from exceptions_queue import scheduling
from exceptions_queue.notifications import alerts
from integrations import clock
from integrations.models import Connection, InboundEvent
from onboarding import services
from onboarding.engine import claiming, dispatch
from onboarding.engine.periodic import sweep
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction, Step
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, shown, status_of, step_of, ticket_of

LIFETIME = dispatch.MESSAGE_LIFETIME
Messages = Counter[str]


@pytest.fixture
def messages(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Messages:
    """A broker that takes every message, counted here by task, and has no worker."""
    settings.BROKER_PUBLISH = True
    taken: Messages = Counter()
    broker = type(current_app._get_current_object())
    monkeypatch.setattr(broker, "send_task", lambda _, name, **__: taken.update([name]))
    return taken


def due_events(count: int) -> None:
    now, connection = clock.now(), Connection.objects.get(slug="hubspot")
    InboundEvent.objects.bulk_create(
        InboundEvent(connection=connection, external_id=f"e{n}", type="t", body="", received_at=now, due_at=now)
        for n in range(count)
    )


def due_steps(count: int, run: OnboardingTransaction) -> None:
    Step.objects.bulk_create(
        Step(transaction=run, key=f"s{n}", uses="crm.account", system="crm", position=n, due_at=clock.now())
        for n in range(count)
    )


@pytest.fixture(params=["events", "steps"])
def three_hundred_due(
    request: pytest.FixtureRequest, connections: Any, accept: Accept, messages: Messages
) -> Callable[[], int]:
    """300 due events, or steps; returns the count of messages for them so far."""
    if request.param == "events":
        due_events(300)
        task = dispatch.PROCESS_EVENT
    else:
        run = accept()
        run.steps.update(due_at=None)
        due_steps(300, run)
        task = dispatch.RUN_STEP
    messages.clear()
    return lambda: messages[task]


# --- Messages ----------------------------------------------------------------------------------------------------------


def test_unanswered_messages_are_repeated_with_backoff(three_hundred_due: Callable[[], int]) -> None:
    began, counted = clock.now(), [0]
    at: list[float] = []
    for _ in range(62):
        sweep.publish(sweep.sweep())
        counted.append(three_hundred_due())
        if counted[-1] > counted[-2]:
            at.append((clock.now() - began).total_seconds())
        clock.shift(timedelta(seconds=5.01))
    pauses = [round((late - early) / 10) * 10 for early, late in pairwise(at)]
    assert pauses[:4] == [10, 20, 40, 80]
    assert set(pauses[4:]) == {80}
    assert counted[-1] == 300 * len(at)


def test_outstanding_messages_are_bounded(connections: Any, messages: Messages) -> None:
    due_events(sweep.MAX_OUTSTANDING_MESSAGES + 20)
    for _ in range(4):
        sweep.publish(sweep.sweep())
        clock.shift(timedelta(seconds=2))
    assert messages[dispatch.PROCESS_EVENT] == sweep.MAX_OUTSTANDING_MESSAGES


def test_released_work_is_due_at_once(three_hundred_due: Callable[[], int]) -> None:
    due = sweep.sweep()
    assert len(due.steps) + len(due.events) == 300
    assert not sweep.sweep()
    sweep.release(due)
    assert sweep.sweep() == due


def test_claim_clears_the_enqueue_mark(connections: Any, accept: Accept, messages: Messages) -> None:
    step = step_of(accept(), "crm.account")
    assert messages[dispatch.RUN_STEP] == 1
    assert step.enqueued_until is not None
    assert claiming.claim(step.pk) is not None
    assert Step.objects.get(pk=step.pk).enqueued_until is None


def test_a_pass_does_no_more_than_its_share_and_leaves_the_rest_due(connections: Any, accept: Accept) -> None:
    runs = [accept(**customer(f"share{number}")) for number in range(5)]
    assert scheduling.one_pass(publish=False, most=2).steps == 2
    assert Step.objects.filter(key="crm.account", finished_at=None, enqueued_until=None).count() == 3
    for _ in range(2):
        scheduling.one_pass(publish=False, most=2)
    assert all(step_of(run, "crm.account").is_done for run in runs)


# --- One trouble holds up nothing else ------------------------------------------------------------------------------


def test_run_that_cannot_be_resumed_delays_no_other(
    connections: Any, accept: Accept, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, stalled = accept(), accept(**customer("stalled"))
    Step.objects.update(due_at=None)
    clock.shift(timedelta(minutes=2))
    healthy = accept(**customer("healthy"))
    advance = sweep.advance_or_roll_back

    def fails(run: OnboardingTransaction) -> Step | None:
        if run.pk == poisoned.pk:
            raise LookupError("a defect")
        return advance(run)

    monkeypatch.setattr(sweep, "advance_or_roll_back", fails)
    drain()
    assert [status_of(run) for run in (stalled, healthy)] == [Status.COMPLETE] * 2, shown(stalled)
    assert status_of(poisoned) == Status.PROVISIONING
    assert "LookupError" in ticket_of(poisoned).message


def test_unclaimable_step_does_not_hold_the_only_slot(connections: Any, accept: Accept, hubspot: Connection) -> None:
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=1)
    abandoned = accept()
    services.cancel(abandoned.pk, actor="kim", reason="They withdrew.")
    # A defect, as there should be none: due, and nobody may claim it.
    abandoned.steps.filter(key="crm.account").update(due_at=clock.now())
    clock.shift(timedelta(seconds=1))
    other = accept(**customer("other"))
    scheduling.one_pass(publish=False)
    assert not step_of(other, "crm.account").is_done
    clock.shift(LIFETIME + timedelta(seconds=1))
    scheduling.one_pass(publish=False)
    assert step_of(other, "crm.account").is_done


def test_a_mail_server_that_hangs_holds_up_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, answered, stop = threading.Event(), threading.Event(), threading.Event()
    passes: list[bool] = []

    def hang() -> int:
        hanging.set()
        answered.wait(30)
        return 0

    def work(**asked: Any) -> None:
        assert hanging.wait(10)
        passes.append(asked["mail"])
        if len(passes) == 3:
            stop.set()
            answered.set()

    monkeypatch.setattr(alerts, "deliver", hang)
    monkeypatch.setattr(scheduling, "one_pass", work)
    monkeypatch.setattr(scheduling.retention, "delete_old_calls", lambda _: 0)
    monkeypatch.setattr(scheduling.execution.stopping, "set", lambda: None)
    scheduling.run_forever(stop, every=0)
    assert passes == [False] * 3
