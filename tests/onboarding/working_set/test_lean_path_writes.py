"""What a transition on the lean path writes, tells and leaves behind: all of it once, or nothing."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

from exceptions_queue import scheduling
from integrations import clock
from integrations.errors import Kind, ProviderError
from integrations.http import recording
from integrations.models import ApiCall, Connection
from onboarding import audit
from onboarding.engine import claiming, dispatch
from onboarding.engine import execution as engine
from onboarding.engine.locks import locked_run
from onboarding.engine.outcomes import Failed
from onboarding.engine.recording import record
from onboarding.enums import RunEventType, StepState, UnmatchedState, WaitsFor
from onboarding.intake import unmatched
from onboarding.intake.service import Receipt, Verdict
from onboarding.intake.service import accept as take
from onboarding.models import Attempt, AuditEntry, Intent, OnboardingTransaction, Reservation, Step, UnmatchedEvent
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Payload
from tests.onboarding.conftest import Accept, customer, step_of
from tests.support.meanwhile import Meanwhile, inside, meanwhile, written

__all__ = ["inside", "meanwhile", "written"]

pytestmark = [
    pytest.mark.skipif(database.vendor != "postgresql", reason="the lean path is for PostgreSQL alone"),
    pytest.mark.usefixtures("connections"),
]
CLAIMING, RECORDING, ACCEPTING = "before-intent", "result-recorded", "accepting"
PAUSE = 0.01


@pytest.fixture
def run(accept: Accept) -> OnboardingTransaction:
    return accept()


@pytest.fixture
def account(run: OnboardingTransaction) -> Step:
    return step_of(run, "crm.account")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[tuple[int, bool]]:
    """Steps that workers were told of, and whether the step was due by then for everybody to see."""
    told: list[tuple[int, bool]] = []

    def publish(_: str, pk: int) -> bool:
        told.append((pk, Step.objects.filter(pk=pk, due_at__isnull=False).exists() and not database.in_atomic_block))
        return True

    settings.BROKER_PUBLISH = True
    monkeypatch.setattr(dispatch, "publish", publish)
    return told


def fresh(step: Step) -> Step:
    return Step.objects.get(pk=step.pk)


# --- What is told ---------------------------------------------------------------------------------------------------


def test_steps_are_enqueued_after_commit(
    run: OnboardingTransaction, account: Step, told: list[tuple[int, bool]], written: list[str]
) -> None:
    current = claiming.claim(account.pk)
    assert current is not None
    record(current, engine.perform(current), inline=False)
    assert written == ["written"] * 2
    assert sorted(told) == [(step.pk, True) for step in run.steps.order_by("pk") if step.after == ["crm.account"]]


def test_retried_transition_enqueues_once(
    run: OnboardingTransaction, account: Step, told: list[tuple[int, bool]], meanwhile: Meanwhile, written: list[str]
) -> None:
    current = claiming.claim(account.pk)
    assert current is not None
    outcome = engine.perform(current)
    meanwhile(RECORDING, lambda: record_nothing(run))
    record(current, outcome, inline=False)
    assert written == ["written", "Stale", "written"]
    assert sorted(told) == [(step.pk, True) for step in run.steps.order_by("pk") if step.after == ["crm.account"]]


def record_nothing(run: OnboardingTransaction) -> None:
    """Another worker's audit entry."""
    with locked_run(run.pk) as locked:
        audit.record(locked, "onboarding.step.late-result", data={"step": "crm.note", "token": 1, "result": ""})


def test_steps_waiting_for_a_shared_object_are_enqueued_when_it_exists(
    accept: Accept, account: Step, told: list[tuple[int, bool]], written: list[str]
) -> None:
    other = step_of(accept(onboarding_transaction_id="pay_2"), "crm.account")
    current = claiming.claim(account.pk)
    assert current is not None
    assert claiming.claim(other.pk) is None
    assert fresh(other).waits_on_id == account.pk
    del written[:], told[:]
    record(current, engine.perform(current), inline=False)
    assert written == ["written"]
    assert (other.pk, True) in told


def test_concurrent_enqueue_mark_does_not_survive_the_claim(
    run: OnboardingTransaction, account: Step, written: list[str]
) -> None:
    current = claiming.claim(account.pk)
    assert current is not None
    later: list[int] = []
    following = record(current, engine.perform(current), inline=True, later=later)
    assert following is not None
    # The rows in this worker's hands say nothing of it, and the sweep changes nothing else.
    Step.objects.filter(pk=later[0]).update(enqueued_until=clock.now() + timedelta(seconds=10))
    second = claiming.claim(later[0], following.run)
    assert second is not None
    assert written == ["written"] * 3
    record(second, Failed(ProviderError(Kind.SERVER, "No.", http_status=503)), inline=False)
    waiting = Step.objects.get(pk=later[0])
    assert (waiting.waits_for, waiting.enqueued_until) == (WaitsFor.RETRY, None)


# --- Queries inside -------------------------------------------------------------------------------------------------


def test_a_query_inside_a_lean_transition_leads_to_the_general_path(
    account: Step, inside: Meanwhile, written: list[str]
) -> None:
    counts: list[int] = []
    inside(CLAIMING, lambda: counts.append(Step.objects.count()))
    assert claiming.claim(account.pk) is not None
    assert written == [], "it did not come to its end there"
    assert counts == [4]
    assert Attempt.objects.count() == 1


def test_refused_query_is_detected_even_if_its_exception_is_swallowed(
    account: Step, inside: Meanwhile, written: list[str]
) -> None:
    counts: list[int | None] = []

    def count() -> None:
        counts.append(None)
        with suppress(Exception):  # what careless code does
            counts[-1] = Step.objects.count()

    inside(CLAIMING, count)
    assert claiming.claim(account.pk) is not None
    assert counts == [None, 4]
    assert written == ["NeedsLock"]
    assert Attempt.objects.count() == 1


def test_refused_write_during_intake_is_detected_even_if_swallowed(accept: Accept, inside: Meanwhile) -> None:
    done: list[int | None] = []

    def write() -> None:
        done.append(None)
        with suppress(Exception):
            done[-1] = Connection.objects.update(refusals=0)

    accept(**customer("first"))
    inside(ACCEPTING, write)
    run = accept()
    assert done == [None, 3]
    assert OnboardingTransaction.objects.latest("pk") == run


def test_fault_inside_a_transition_rolls_everything_back(account: Step, inside: Meanwhile) -> None:
    def fail() -> None:
        raise ValueError("no")

    inside(CLAIMING, fail)
    with pytest.raises(ValueError, match="no"):
        claiming.claim(account.pk)
    assert not Attempt.objects.exists()
    assert not Intent.objects.exists()
    assert not Reservation.objects.exists()
    assert not AuditEntry.objects.filter(name="onboarding.step.claimed").exists()
    assert fresh(account).state == StepState.PENDING


# --- Records of calls -----------------------------------------------------------------------------------------------


def test_write_call_is_recorded_before_its_result(account: Step, inside: Meanwhile) -> None:
    """A worker that dies before it records the result leaves that evidence."""
    kept: list[list[str]] = []
    inside("before-result", lambda: kept.append(list(ApiCall.objects.order_by("pk").values_list("path", flat=True))))
    engine.run_step(account.pk)
    assert kept[0][-1].endswith("/batch/upsert")
    assert len(kept[0]) == 3, "with what was read before it"


def test_records_of_calls_are_stored_as_they_are(connections: dict[str, Connection]) -> None:
    facts = {
        "connection_id": connections["hubspot"].pk,
        "subject": "step:1",
        "method": "POST",
        "path": "/a%20b",
        "status": None,
        "error": "100 % “lost”",
        "request": {"json": {"name": "Zoë", "at": [None, True, 1.5]}},
        "response": None,
        "duration_ms": 3,
        "at": clock.now(),
    }
    calls = [ApiCall(**facts), ApiCall(**facts | {"method": "GET", "status": 200})]
    recording._store(calls)
    assert calls == []
    stored = list(ApiCall.objects.order_by("pk"))
    assert [(each.method, each.status) for each in stored] == [("POST", None), ("GET", 200)]
    assert {name: getattr(stored[0], name) for name in facts} == facts
    assert ApiCall.objects.filter(response__isnull=True).count() == 2


def test_a_record_that_cannot_be_stored_is_lost_and_the_call_is_not(
    connections: dict[str, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    lost = ApiCall(connection_id=0, subject="", method="GET", path="\0", duration_ms=1, at=clock.now())
    recording._store([lost])
    assert "The record of 1 calls was lost" in caplog.text
    assert not ApiCall.objects.exists()


# --- A new run ------------------------------------------------------------------------------------------------------


@pytest.fixture
def arrive(accept: Accept, payload: Payload) -> Callable[[], Receipt]:
    """Takes in a payment. It is not the first of its playbook, which is pinned on the general path."""
    accept(**customer("first"))
    content = OnboardingPayload.model_validate(payload()).content()
    return lambda: take(content, actor="tests")


def made() -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(onboarding_transaction_id="pay_12345")


def keep_refund() -> None:
    unmatched.receive(
        "pay_12345",
        kind=RunEventType.PAYMENT_REFUNDED,
        event_id="re_1",
        occurred_at=clock.now(),
        data={},
        actor="billing",
    )


def test_a_payment_that_another_request_took_in_meanwhile_is_that_run(
    arrive: Callable[[], Receipt], meanwhile: Meanwhile
) -> None:
    first: list[Receipt] = []
    meanwhile(ACCEPTING, lambda: first.append(arrive()))
    second = arrive()
    assert [each.verdict for each in (*first, second)] == [Verdict.CREATED, Verdict.REPLAYED]
    assert first[0].run == second.run == made()
    assert made().steps.count() == 4


def test_a_refund_that_was_kept_while_the_run_was_made_is_applied(
    arrive: Callable[[], Receipt], meanwhile: Meanwhile
) -> None:
    meanwhile(ACCEPTING, keep_refund)
    arrive()
    assert UnmatchedEvent.objects.get().state == UnmatchedState.APPLIED
    assert made().held_at is not None


def test_orphaned_early_refund_is_applied_by_the_scheduler(
    arrive: Callable[[], Receipt], meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(ACCEPTING, keep_refund)
    with monkeypatch.context() as lost:
        lost.setattr(unmatched, "apply_late", lambda *_: None)
        arrive()
    assert UnmatchedEvent.objects.get().state == UnmatchedState.WAITING
    clock.shift(2 * unmatched.FORGOTTEN)
    scheduling.one_pass(publish=False)
    assert UnmatchedEvent.objects.get().state == UnmatchedState.APPLIED
    assert made().held_at is not None


def test_a_refund_that_is_being_kept_while_the_run_is_written_is_waited_for(
    arrive: Callable[[], Receipt], meanwhile: Meanwhile
) -> None:
    began = Event()
    waited: list[bool] = []

    def keep_slowly() -> None:
        try:
            with transaction.atomic():
                keep_refund()
                began.set()
                waited.append(somebody_waits())
        finally:
            began.set()
            database.close()

    keeper = Thread(target=keep_slowly)

    def begin() -> None:
        keeper.start()
        assert began.wait(10)

    meanwhile(ACCEPTING, begin)
    arrive()
    keeper.join(10)
    assert waited == [True], "the run was written while somebody still kept an event of it"
    assert UnmatchedEvent.objects.get().state == UnmatchedState.APPLIED
    assert made().held_at is not None


def somebody_waits() -> bool:
    """Whether another connection comes to wait for an advisory lock, within five seconds."""
    pause = Event()
    for _ in range(500):
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if cursor.fetchone()[0]:
                return True
        pause.wait(PAUSE)
    return False
