"""A worker does a run's branches itself: beside each other while it has idle threads, else one after the other."""

from collections.abc import Iterator
from threading import Barrier, get_ident

import pytest
from django.db import connection as database

from onboarding.engine import dispatch
from onboarding.engine import execution as engine
from onboarding.engine.claiming import Claim
from onboarding.engine.outcomes import Outcome
from onboarding.engine.threads import branches
from onboarding.enums import StepState
from onboarding.models import OnboardingTransaction
from tests.onboarding.conftest import Accept, shown

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Those that have done a step. Their connections to the database are closed at the end."""
    seen: set[int] = set()
    perform = engine.perform

    def watch(claim: Claim) -> Outcome:
        seen.add(get_ident())
        return perform(claim)

    monkeypatch.setattr(engine, "perform", watch)
    branches._threads.cache_clear()
    yield seen
    pool, _ = branches._threads()
    together = Barrier(pool._max_workers)

    def close() -> None:
        database.close()
        together.wait(10)

    for done in [pool.submit(close) for _ in range(pool._max_workers)]:
        done.result()
    pool.shutdown()
    branches._threads.cache_clear()


@pytest.fixture
def slow_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step counts as one that waits for its vendor."""
    monkeypatch.setattr(branches, "WORTH_SECONDS", 0.0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that other processes were told of."""
    pks: list[int] = []
    monkeypatch.setattr(dispatch, "publish", lambda _, pk: pks.append(pk) or True)
    return pks


def run_by_one_message(run: OnboardingTransaction, told: list[int]) -> None:
    (first,) = told
    engine.run_step(first, with_branches=True)
    assert told == [first]
    ready = run.steps.filter(state=StepState.PENDING).exclude(due_at=None)
    assert not ready.exists(), shown(run)
    done = set(run.steps.filter(state=StepState.SUCCEEDED).values_list("key", flat=True))
    assert {"crm.deal", "crm.note", "support.organization"} <= done


@pytest.mark.usefixtures("slow_vendors")
def test_one_message_runs_all_branches_in_parallel(accept: Accept, threads: set[int], told: list[int]) -> None:
    run_by_one_message(accept(), told)
    assert len(threads) > 1


def test_branches_run_sequentially_when_vendors_are_quick(
    accept: Accept, threads: set[int], told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branches, "WORTH_SECONDS", 60.0)
    run_by_one_message(accept(), told)
    assert threads == {get_ident()}


@pytest.mark.usefixtures("slow_vendors")
def test_branches_run_sequentially_on_a_busy_worker(
    accept: Accept, threads: set[int], told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "is_busy", lambda: True)
    run_by_one_message(accept(), told)
    assert threads == {get_ident()}


@pytest.mark.usefixtures("slow_vendors")
def test_branches_run_sequentially_without_an_idle_thread(
    accept: Accept, threads: set[int], told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branches, "start", lambda *_: None)
    run_by_one_message(accept(), told)
    assert threads == {get_ident()}


def test_stopping_worker_enqueues_its_remaining_branches(
    accept: Accept, threads: set[int], told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = accept()
    monkeypatch.setattr(dispatch, "is_busy", lambda: True)
    perform = engine.perform

    def stop_before_the_branches(claim: Claim) -> Outcome:
        outcome = perform(claim)
        if claim.step.key == "crm.deal":
            engine.stopping.set()
        return outcome

    monkeypatch.setattr(engine, "perform", stop_before_the_branches)
    try:
        engine.run_step(told.pop(), with_branches=True)
    finally:
        engine.stopping.clear()
    due = set(run.steps.filter(state=StepState.PENDING).exclude(due_at=None).values_list("pk", flat=True))
    assert due
    assert due <= set(told)
