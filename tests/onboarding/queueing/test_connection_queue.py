"""Steps queued at a connection that takes only so many: which are enqueued, when, and that nobody is forgotten."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import OperationalError
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from integrations import clock
from integrations.connections import breaker, concurrency
from integrations.enums import Breaker
from integrations.errors import Kind, ProviderError
from integrations.models import Connection, ConnectionSlot
from onboarding import services
from onboarding.engine import claiming, connection_queue, dispatch
from onboarding.engine import execution as engine
from onboarding.engine.claiming import Claim
from onboarding.engine.outcomes import Failed
from onboarding.engine.recording import record
from onboarding.engine.threads import branches, timers
from onboarding.enums import StepState, WaitsFor
from onboarding.models import OnboardingTransaction, Step
from tests.machines.budget import budget
from tests.onboarding.conftest import Accept, customer, shown, step_of
from tests.one_database import sized

pytestmark = pytest.mark.usefixtures("connections")
HOUR = timedelta(hours=1)
Alarms = list[tuple[float, Callable[[], None]]]


@pytest.fixture
def told(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that workers were told of."""
    told: list[int] = []
    settings.BROKER_PUBLISH = True
    monkeypatch.setattr(dispatch, "publish", lambda _, pk: told.append(pk) or True)
    return told


@pytest.fixture
def set_alarms(monkeypatch: pytest.MonkeyPatch) -> Alarms:
    """In how many seconds, and what then."""
    made: Alarms = []
    monkeypatch.setattr(timers, "after", lambda seconds, work: made.append((seconds, work)))
    return made


@pytest.fixture
def run(accept: Accept) -> OnboardingTransaction:
    return accept()


def accounts(accept: Accept, number: int) -> list[Step]:
    return [step_of(accept(**customer(f"line{each}")), "crm.account") for each in range(number)]


def claimed(step: Step) -> Claim:
    current = claiming.claim(step.pk)
    assert current is not None, shown(step.transaction)
    return current


def limit(hubspot: Connection, places: int | None) -> None:
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=places)


# --- Places ---------------------------------------------------------------------------------------------------------


def test_released_slot_enqueues_the_next_step(
    accept: Accept, hubspot: Connection, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "is_busy", lambda: True)  # one step after the other, in this thread
    first, second = accounts(accept, 2)
    current = claimed(first)
    record(current, engine.perform(current), inline=False)
    limit(hubspot, 1)
    contact, project = (step_of(first.transaction, key) for key in ("crm.contact", "delivery.project"))
    current = claimed(contact)
    assert claiming.claim(second.pk) is None
    del told[:]
    following = engine._do(current, engine._Chain(time.monotonic(), [project.pk]))
    assert following is not None
    assert following.step.key == "delivery.project"
    assert told == [second.pk]


def test_lifting_the_limit_enqueues_all_queued_steps(accept: Accept, hubspot: Connection, told: list[int]) -> None:
    first, *others = accounts(accept, 4)
    limit(hubspot, 1)
    claimed(first)
    assert [claiming.claim(step.pk) for step in others] == [None] * 3
    del told[:]
    limit(hubspot, None)
    connection_queue.enqueue_next(hubspot.pk)
    assert sorted(told) == [step.pk for step in others]


def test_slot_freed_before_queueing_is_not_missed(
    run: OnboardingTransaction, hubspot: Connection, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    current = claimed(step_of(run, "crm.account"))
    outcome = engine.perform(current)
    limit(hubspot, 1)
    assert concurrency.acquire(Connection.objects.get(pk=hubspot.pk), "another", clock.now() + HOUR)
    tell = connection_queue.enqueue_next

    def give_back_and_tell(connection_pk: int) -> None:
        concurrency.release(hubspot.pk, "another")
        tell(connection_pk)

    monkeypatch.setattr(connection_queue, "enqueue_next", give_back_and_tell)
    later: list[int] = []
    record(current, outcome, inline=True, later=later)
    contact = step_of(run, "crm.contact")
    assert contact.waits_for == WaitsFor.SLOT
    assert told == [contact.pk]


def test_step_without_a_slot_is_enqueued_when_one_is_free(
    run: OnboardingTransaction, hubspot: Connection, told: list[int]
) -> None:
    current = claimed(step_of(run, "crm.account"))
    outcome = engine.perform(current)
    limit(hubspot, 1)
    assert concurrency.acquire(Connection.objects.get(pk=hubspot.pk), "another", clock.now() + HOUR)
    record(current, outcome, inline=True, later=[])
    contact = step_of(run, "crm.contact")
    assert (contact.waits_for, contact.pk in told) == (WaitsFor.SLOT, False)
    concurrency.release(hubspot.pk, "another")
    connection_queue.enqueue_next(hubspot.pk)
    assert contact.pk in told


def test_claimed_step_runs_even_if_enqueueing_failed(
    accept: Accept, hubspot: Connection, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(hubspot, 2)
    done, following = map(claimed, accounts(accept, 2))

    def fail(*_: object) -> list[int]:
        raise OperationalError

    monkeypatch.setattr(connection_queue, "_take", fail)
    assert engine._run_next_queued(done, following, time.monotonic()) is following


@pytest.mark.parametrize("is_worker", [True, False])
def test_waited_step_runs_before_queued_messages_and_only_in_a_worker(
    is_worker: bool, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[int] = []
    monkeypatch.setattr(dispatch, "_is_worker", is_worker)
    monkeypatch.setattr(branches, "start", lambda _, pk: here.append(pk))  # None: no thread is idle
    assert dispatch.run_soon(1)
    assert (here, told) == ([1] if is_worker else [], [1])
    monkeypatch.setattr(branches, "start", lambda _, pk: here.append(pk) or Future())
    assert dispatch.run_soon(2)
    assert (here, told) == ([1, 2], [1]) if is_worker else ([], [1, 2])


def test_failure_of_an_inline_step_is_logged(run: OnboardingTransaction, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: int) -> None:
        raise OperationalError

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(current_app.tasks, dispatch.RUN_STEP, fail)
        dispatch._run_on_idle_thread(1)
    assert "Step 1 failed; the sweep tries it again" in caplog.text


# --- Times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [1.0, 9.0])
def test_briefly_refused_call_is_enqueued_when_due(
    asked: float, run: OnboardingTransaction, told: list[int], set_alarms: Alarms
) -> None:
    account = step_of(run, "crm.account")
    refuse(account, asked)
    due = [(seconds, work) for seconds, work in set_alarms if work.args == (account.pk, account.connection_id)]  # type: ignore[attr-defined]
    ((seconds, work),) = due
    assert asked <= seconds + 1.0 <= asked + 1.0 + 2 * connection_queue.MARGIN_SECONDS
    del told[:]
    work()
    assert told == [], "not before its time"
    clock.shift(timedelta(seconds=asked + 1))
    work()
    work()
    assert told == [account.pk], "once"


def test_sweep_enqueues_steps_due_later(run: OnboardingTransaction, told: list[int], set_alarms: Alarms) -> None:
    refuse(step_of(run, "crm.account"), connection_queue.SOON_SECONDS + 1)
    assert set_alarms == []


def test_without_a_broker_no_alarm_is_set(run: OnboardingTransaction, set_alarms: Alarms) -> None:
    refuse(step_of(run, "crm.account"), 1.0)
    assert set_alarms == []


def test_call_due_again_waits_in_the_connection_queue(
    accept: Accept, hubspot: Connection, told: list[int], set_alarms: Alarms
) -> None:
    refused, other = accounts(accept, 2)
    refuse(refused, 1.0)
    work = set_alarms[-1][1]
    clock.shift(timedelta(seconds=2))
    limit(hubspot, 1)
    claimed(other)
    del told[:]
    work()
    assert told == [], "no place is free"
    concurrency.release(hubspot.pk, ConnectionSlot.objects.get().holder)
    work()
    assert told == [refused.pk]


def refuse(step: Step, retry_after: float) -> None:
    current = claimed(step)
    error = ProviderError(Kind.RATE_LIMIT, "Slow down", http_status=429, retry_after=retry_after)
    record(current, Failed(error), inline=False)
    assert Step.objects.get(pk=step.pk).waits_for == WaitsFor.RETRY


# --- The same rule on both databases ----------------------------------------------------------------------------------

AT = st.sampled_from([None, -2, -1, 1])
"""Minutes from now."""
STEPS = st.lists(
    st.tuples(AT, AT, AT, st.sampled_from([StepState.WAITING, StepState.RUNNING]), st.booleans(), st.booleans()),
    min_size=4,
    max_size=4,
)


@pytest.mark.skipif(database.vendor != "postgresql", reason="there is one way on SQLite")
def test_connection_queue_picks_the_same_steps_as_the_sweep(
    accept: Accept, hubspot: Connection, told: list[int]
) -> None:
    steps = accounts(accept, 4)
    followers = {step.pk: connection_queue.STATUS_REPORTERS[0] for step in steps}
    assert followers

    @given(
        steps=STEPS,
        limits=st.tuples(st.none() | st.integers(1, 4), st.none() | st.integers(1, 4)),
        held=st.lists(AT, min_size=2, max_size=2),
        state=st.sampled_from([Breaker.CLOSED, Breaker.HALF_OPEN, Breaker.OPEN]),
        paused=AT,
    )
    @budget(sized(80, 20))
    def same(steps: Any, limits: Any, held: Any, state: Breaker, paused: int | None) -> None:
        now = clock.now()

        def at(minutes: int | None) -> Any:
            return now + timedelta(minutes=minutes) if minutes is not None else None

        paced = {
            "concurrency_limit": limits[0],
            "max_concurrency": limits[1],
            "breaker": state,
            "paused_until": at(paused),
        }
        Connection.objects.filter(pk=hubspot.pk).update(**paced)
        ConnectionSlot.objects.all().delete()
        for number, until in enumerate(held):
            holder = "" if until is None else "somebody"
            ConnectionSlot.objects.create(connection=hubspot, number=number, holder=holder, leased_until=at(until))
        pks = list(Step.objects.filter(key="crm.account").order_by("pk").values_list("pk", flat=True))
        for pk, (due, lease, enqueued, step_state, is_held, follows) in zip(pks, steps, strict=True):
            when = {"due_at": at(due), "lease_until": at(lease), "enqueued_until": at(enqueued)}
            uses = (
                {"uses": connection_queue.STATUS_REPORTERS[0], "written": "x"}
                if follows
                else {"uses": "crm.account", "written": ""}
            )
            Step.objects.filter(pk=pk).update(**when, **uses, state=step_state, connection=hubspot)
            OnboardingTransaction.objects.filter(steps=pk).update(held_at=now if is_held else None)
        connection = Connection.objects.get(pk=hubspot.pk)
        is_going = state != Breaker.OPEN and not (paused is not None and paused > 0)
        most = (
            0
            if not is_going
            else connection_queue.MOST_AT_ONCE
            if connection.limit is None
            else connection_queue.free_capacity(connection)
        )
        expected = set(
            connection_queue.not_enqueued().filter(connection=connection).values_list("pk", flat=True)[:most]
        )
        del told[:]
        connection_queue.enqueue_next(hubspot.pk)
        assert set(told) == expected

    same()


@pytest.mark.skipif(database.vendor != "postgresql", reason="there is one way on SQLite")
def test_a_success_counts_alike_on_both_databases(hubspot: Connection) -> None:
    then = clock.now() - HOUR

    @given(
        limits=st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(1, 9)),
        counted=st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()),
        lowered=st.sampled_from([None, then]),
        since=st.sampled_from(["nothing", "lowered", "opened", "other credentials", "other breaker time"]),
    )
    @budget(sized(80, 20))
    def same(limits: Any, counted: Any, lowered: Any, since: str) -> None:
        failures, refusals, slow_start = counted
        state = {"breaker": Breaker.CLOSED, "breaker_changed_at": None, "credentials_version": 1}
        state |= {
            "concurrency_limit": limits[0],
            "max_concurrency": limits[1],
            "lowered_at": lowered,
            "concurrency_changed_at": lowered,
        }
        state |= {"failures": failures, "failures_of": "x" * failures, "refusals": refusals, "slow_start": slow_start}
        changes: dict[str, dict[str, Any]] = {
            "nothing": {},
            "lowered": {"lowered_at": clock.now()},
            "opened": {"breaker": Breaker.OPEN},
            "other credentials": {"credentials_version": 2},
            "other breaker time": {"breaker_changed_at": then},
        }
        rows = Connection.objects.filter(pk=hubspot.pk)
        ends = []
        for way in (breaker._count_success, breaker._count_success_portably):
            rows.update(**state)
            seen = rows.get()
            rows.update(**changes[since])
            way(seen)
            now = rows.values().get()
            now["concurrency_changed_at"] = now["concurrency_changed_at"] == lowered
            now["lowered_at"] = now["lowered_at"] == lowered
            ends.append(now)
        assert ends[0] == ends[1]

    same()


def test_step_of_a_held_run_is_not_enqueued(accept: Accept, hubspot: Connection, told: list[int]) -> None:
    first, second = accounts(accept, 2)
    limit(hubspot, 1)
    current = claimed(first)
    assert claiming.claim(second.pk) is None
    services.hold(second.transaction_id, actor="kim", reason="Wait.")
    concurrency.release(hubspot.pk, current.slot_holder)
    del told[:]
    connection_queue.enqueue_next(hubspot.pk)
    assert told == []
