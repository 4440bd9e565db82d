"""A vendor that fails stops its connection, not its runs one by one; it is tried again by itself, and let go on slowly."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket, TicketStatus, covering
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.connections import breaker
from integrations.connections import services as service
from integrations.enums import Breaker, BreakerCause
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.engine import claiming, connection_queue
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, Scope, Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of

pytestmark = pytest.mark.usefixtures("connections")
DOWN = {"vendor": "hubspot", "kind": "error_before"}
WRITES_FAIL = {**DOWN, "method": "POST", "path": "*/batch/upsert"}
KIM = Actor("kim", Scope.OPERATE)


def fresh(connection: Connection) -> Connection:
    return Connection.objects.get(pk=connection.pk)


def accept_many(accept: Accept, count: int) -> list[OnboardingTransaction]:
    return [accept(**customer(f"n{number}")) for number in range(count)]


def wait_for_probe(connection: Connection) -> None:
    """Moves the clock to when the breaker tries by itself, and lets the sweep do what is due then."""
    due = fresh(connection).probe_at
    assert due is not None
    clock.shift(due - clock.now() + timedelta(milliseconds=1))
    scheduling.one_pass(publish=False)


def tried(sandbox: SandboxControl) -> int:
    return len([each for each in sandbox.requests("hubspot") if each["path"].endswith("/batch/upsert")])


# --- Opening --------------------------------------------------------------------------------------------------------------


def test_five_consecutive_failures_open_the_breaker_with_one_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault(**DOWN)
    runs = accept_many(accept, 8)
    drain()
    stopped, ticket = fresh(hubspot), Ticket.objects.get()
    assert (stopped.breaker, stopped.breaker_cause) == (Breaker.OPEN, BreakerCause.SERVER)
    assert (ticket.connection, ticket.category, ticket.http_status) == (hubspot, Category.SERVER_ERROR, 500)
    assert all(list(covering(run)) == [ticket] for run in runs)
    assert all(step_of(run, "crm.account").attempts <= 1 for run in runs)
    assert ticket.next_retry == stopped.probe_at
    settled()


def test_undecryptable_token_opens_the_breaker_with_one_ticket(
    accept: Accept, drain: Drain, hubspot: Connection, settings: Any, settled: Settled
) -> None:
    runs = accept_many(accept, 3)
    kept, settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS, [Fernet.generate_key().decode()]
    drain()
    ticket = Ticket.objects.get()
    assert (ticket.connection, ticket.category) == (hubspot, Category.AUTH_ERROR)
    assert "FIELD_ENCRYPTION_KEYS does not hold the key" in ticket.message
    assert all(list(covering(run)) == [ticket] for run in runs)
    settings.FIELD_ENCRYPTION_KEYS = kept
    assert service.close_after_probe(hubspot.pk, "kim").ok
    drain()
    assert not Ticket.objects.get().is_open
    assert all(step_of(run, "crm.account").state == StepState.SUCCEEDED for run in runs)
    settled()


def test_nothing_is_sent_during_a_503_retry_after(accept: Accept, sandbox: SandboxControl, hubspot: Connection) -> None:
    """A 503's Retry-After is about the whole service: other runs wait too, and use no attempt."""
    sandbox.add_fault(**WRITES_FAIL, status=503, retry_after=60, count=1)
    first, second = accept_many(accept, 2)
    engine.run_step(step_of(first, "crm.account").pk)
    engine.run_step(step_of(second, "crm.account").pk)
    due = step_of(first, "crm.account").due_at
    assert due is not None
    assert due >= clock.now() + timedelta(seconds=59)
    assert (step_of(second, "crm.account").waits_for, step_of(second, "crm.account").attempts) == (WaitsFor.SLOT, 0)
    clock.shift(timedelta(seconds=58))
    scheduling.one_pass(publish=False)
    assert tried(sandbox) == 1
    assert (fresh(hubspot).concurrency_limit, fresh(hubspot).breaker) == (None, Breaker.CLOSED), (
        "away, not asked too often"
    )
    clock.shift(timedelta(seconds=3))
    scheduling.one_pass(publish=False)
    assert tried(sandbox) == 3


def test_locked_record_delays_only_its_own_step(accept: Accept, sandbox: SandboxControl, hubspot: Connection) -> None:
    sandbox.add_fault(**WRITES_FAIL, status=423, retry_after=60, count=1)
    first, second = accept_many(accept, 2)
    engine.run_step(step_of(first, "crm.account").pk)
    engine.run_step(step_of(second, "crm.account").pk)
    due = step_of(first, "crm.account").due_at
    assert due is not None
    assert due >= clock.now() + timedelta(seconds=59)
    assert step_of(second, "crm.account").state == StepState.SUCCEEDED
    assert fresh(hubspot).failures == 0
    assert not Ticket.objects.exists(), "nobody need fix their data"


def test_a_stopped_connection_is_not_tried_before_the_time_that_the_vendor_asked_for(
    accept: Accept, sandbox: SandboxControl, hubspot: Connection
) -> None:
    sandbox.add_fault(**DOWN, status=503, retry_after=120)
    for run in accept_many(accept, 5):
        engine.run_step(step_of(run, "crm.account").pk)
        clock.shift(timedelta(seconds=121))
    stopped = fresh(hubspot)
    assert stopped.breaker == Breaker.OPEN
    assert stopped.probe_at is not None
    assert stopped.breaker_changed_at is not None
    assert stopped.probe_at >= stopped.breaker_changed_at + timedelta(seconds=119)
    wait_for_probe(hubspot)
    again = fresh(hubspot).probe_at
    assert again is not None
    assert again >= clock.now() + timedelta(seconds=119)


def test_parked_steps_are_not_tried_and_use_no_attempts(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    sandbox.add_fault(**WRITES_FAIL)
    runs = accept_many(accept, 8)
    drain()
    sent, attempts = tried(sandbox), [step_of(run, "crm.account").attempts for run in runs]
    late = accept(**customer("late"))
    drain()
    clock.shift(timedelta(seconds=9))
    scheduling.one_pass(publish=False)
    assert tried(sandbox) == sent
    assert [step_of(run, "crm.account").attempts for run in (*runs, late)] == [*attempts, 0]


def test_other_branches_continue(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    sandbox.add_fault("zendesk", "timeout_before", delay=0.01)
    runs = accept_many(accept, 6)
    drain()
    assert Ticket.objects.get().connection.slug == "zendesk"
    assert {step_of(run, "delivery.project").state for run in runs} == {StepState.SUCCEEDED}
    settled()


def test_success_resets_the_failure_count(accept: Accept, hubspot: Connection, sandbox: SandboxControl) -> None:
    for number in range(3):
        sandbox.add_fault(**WRITES_FAIL, count=4)
        for each in range(5):
            engine.run_step(step_of(accept(**customer(f"r{number}a{each}")), "crm.account").pk)
        assert (fresh(hubspot).failures, fresh(hubspot).breaker) == (0, Breaker.CLOSED)


def test_one_failing_step_does_not_open_the_breaker_while_probes_pass(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault(**WRITES_FAIL)
    run = accept()
    drain()
    assert ticket_of(run, "crm.account").category == Category.SERVER_ERROR
    assert fresh(hubspot).breaker == Breaker.CLOSED
    settled()


def test_late_answers_from_before_opening_are_ignored(
    accept: Accept, sandbox: SandboxControl, hubspot: Connection
) -> None:
    early = claiming.claim(step_of(accept(**customer("early")), "crm.account").pk)
    assert early is not None
    sandbox.add_fault(**WRITES_FAIL, count=5)
    for run in accept_many(accept, 5):
        engine.run_step(step_of(run, "crm.account").pk)
    opened = fresh(hubspot)
    assert opened.breaker == Breaker.OPEN
    record(early, engine.perform(early), inline=False)
    assert step_of(early.run, "crm.account").state == StepState.SUCCEEDED
    assert (fresh(hubspot).breaker, fresh(hubspot).failures) == (Breaker.OPEN, opened.failures)


def test_late_failure_does_not_reopen_the_breaker(accept: Accept, sandbox: SandboxControl, hubspot: Connection) -> None:
    early = claiming.claim(step_of(accept(**customer("early")), "crm.account").pk)
    assert early is not None
    service.record_auth_failure(hubspot.pk, credentials_version=hubspot.credentials_version, status=401, reason="no")
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    Connection.objects.filter(pk=hubspot.pk).update(failures=breaker.FAILURES_TO_OPEN - 1)
    sandbox.add_fault(**WRITES_FAIL, count=1)
    record(early, engine.perform(early), inline=False)
    assert fresh(hubspot).breaker == Breaker.CLOSED


# --- Trying again ---------------------------------------------------------------------------------------------------------


def test_probes_back_off(accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection) -> None:
    sandbox.add_fault(**DOWN)
    accept_many(accept, 5)
    drain()
    waits = []
    for _ in range(7):
        before = len(sandbox.requests("hubspot"))
        wait_for_probe(hubspot)
        stopped = fresh(hubspot)
        assert stopped.probe_at is not None
        assert stopped.probed_at is not None
        waits.append(round((stopped.probe_at - stopped.probed_at).total_seconds()))
        assert len(sandbox.requests("hubspot")) == before + 1
    assert waits == [20, 40, 80, 160, 300, 300, 300]
    assert Ticket.objects.get().status == TicketStatus.OPEN


def test_recovery_closes_the_breaker_and_its_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault(**DOWN)
    runs = accept_many(accept, 8)
    drain()
    sandbox.clear_faults()
    drain(probes=True)
    assert [status_of(run) for run in runs] == [Status.COMPLETE] * 8, shown(runs[0])
    ticket = Ticket.objects.get()
    assert (ticket.status, ticket.resolution) == (TicketStatus.RESOLVED, "The vendor works again.")
    fixed = fresh(hubspot)
    assert (fixed.breaker, fixed.failures, fixed.concurrency_limit, fixed.probe_at) == (Breaker.CLOSED, 0, None, None)
    settled()


def test_a_passing_probe_lets_one_real_step_through_whose_failure_opens_it_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault(**WRITES_FAIL)  # the probe reads, and passes
    runs = accept_many(accept, 8)
    drain()
    sent = tried(sandbox)
    wait_for_probe(hubspot)
    assert fresh(hubspot).breaker == Breaker.HALF_OPEN
    assert all(covering(run).exists() for run in runs)
    scheduling.one_pass(publish=False)
    assert (fresh(hubspot).breaker, tried(sandbox)) == (Breaker.OPEN, sent + 1)
    assert fresh(hubspot).failed_probes == 1
    assert Ticket.objects.count() == 1
    assert Ticket.objects.get().is_open
    sandbox.clear_faults()
    drain(probes=True)
    assert {status_of(run) for run in runs} == {Status.COMPLETE}
    assert Ticket.objects.count() == 1
    settled()


def test_sole_failing_step_is_followed_by_one_other_trial(
    accept: Accept, sandbox: SandboxControl, hubspot: Connection
) -> None:
    sandbox.add_fault(**DOWN)
    suspect, *others = accept_many(accept, 4)
    for _ in range(breaker.FAILURES_TO_OPEN):
        engine.run_step(step_of(suspect, "crm.account").pk)
        clock.shift(timedelta(seconds=70))
    assert fresh(hubspot).breaker == Breaker.OPEN
    sandbox.clear_faults()
    sandbox.add_fault(**WRITES_FAIL)
    wait_for_probe(hubspot)
    sent, account = tried(sandbox), step_of(suspect, "crm.account")
    engine.run_step(account.pk)
    # That it fails once more was to be expected; whether the vendor works, the next queued step has just shown.
    assert (fresh(hubspot).breaker, tried(sandbox)) == (Breaker.OPEN, sent + 2)
    assert step_of(others[0], "crm.account").waits_for == WaitsFor.CONNECTION
    assert {step_of(run, "crm.account").state for run in others[1:]} == {StepState.PENDING}


def test_read_only_step_does_not_close_the_breaker(
    accept: Accept, sandbox: SandboxControl, hubspot: Connection
) -> None:
    Connection.objects.filter(pk=hubspot.pk).update(options={"reference_property": "", "search_lag": "300"})
    sandbox.add_fault(**DOWN, method="POST", path="*/objects/companies")
    runs = accept_many(accept, 5)
    for run in runs:
        engine.run_step(step_of(run, "crm.account").pk)
    assert fresh(hubspot).breaker == Breaker.OPEN
    clock.shift(timedelta(seconds=30))  # the retries of those that were not parked are due as well
    wait_for_probe(hubspot)
    scheduling.one_pass(publish=False)
    assert {step_of(run, "crm.account").waits_for for run in runs} == {WaitsFor.HOLD_OFF}
    assert fresh(hubspot).breaker == Breaker.HALF_OPEN
    assert fresh(hubspot).failed_probes == 0


def test_passing_probe_closes_the_breaker_when_nothing_is_queued(hubspot: Connection, sandbox: SandboxControl) -> None:
    error = breaker.ProviderError(breaker.Kind.SERVER, "HubSpot failed", 503)
    for number in range(5):
        breaker.failed(hubspot, subject=f"step:{number}", error=error)
    assert fresh(hubspot).breaker == Breaker.OPEN
    wait_for_probe(hubspot)
    assert fresh(hubspot).breaker == Breaker.CLOSED
    assert not Ticket.objects.get().is_open


def test_refused_probe_changes_the_cause_to_credentials(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    sandbox.add_fault(**DOWN)
    accept_many(accept, 5)
    drain()
    sandbox.clear_faults()
    sandbox.set_tokens("hubspot", ["another"])
    wait_for_probe(hubspot)
    stopped = fresh(hubspot)
    assert (stopped.breaker_cause, stopped.probe_at) == (BreakerCause.AUTH, None)
    assert Ticket.objects.get().category == Category.AUTH_ERROR


def test_person_can_request_a_probe(accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection) -> None:
    sandbox.add_fault(**DOWN)
    runs = accept_many(accept, 5)
    drain()
    sandbox.clear_faults()
    actions.perform(Ticket.objects.get().pk, "retry", KIM)
    drain()
    assert {status_of(run) for run in runs} == {Status.COMPLETE}


def test_lost_prober_is_replaced(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settings: Any
) -> None:
    sandbox.add_fault(**DOWN)
    accept_many(accept, 5)
    drain()
    clock.shift(breaker.COOL_DOWN)
    assert breaker.take_due_probes(clock.now()) == [hubspot.pk]
    assert breaker.take_due_probes(clock.now()) == []
    clock.shift(timedelta(seconds=settings.LEASE_SECONDS))
    assert breaker.take_due_probes(clock.now()) == [hubspot.pk]


# --- Going on slowly ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "expected"), [(None, [1, 2, 4, 5]), (3, [1, 2, 3, 3, 3])])
def test_release_starts_with_one_and_doubles(
    limit: int | None, expected: list[int], accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=limit)
    sandbox.set_tokens("hubspot", ["another"])
    runs = accept_many(accept, 12)
    drain()
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token"])
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    assert connection_queue.runs_left(fresh(hubspot)) == fresh(hubspot).release_total == 12
    rounds, left = [], []
    while connection_queue.runs_left(fresh(hubspot)):
        ids = [step_of(run, "crm.account").pk for run in runs]
        held = [claim for pk in ids if (claim := claiming.claim(pk))]
        rounds.append(len(held))
        for claim in held:
            record(claim, engine.perform(claim), inline=False)
        left.append(connection_queue.runs_left(fresh(hubspot)))
        clock.shift(claiming.SLOT_WAIT * 2)
    assert rounds == expected
    assert left == [12 - sum(expected[: number + 1]) for number in range(len(expected))]


def test_refused_trial_step_reopens_the_breaker(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.set_tokens("hubspot", ["another"])
    runs = accept_many(accept, 6)
    drain()
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token"])
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    sandbox.set_tokens("hubspot", ["another"])
    asked = len(sandbox.requests("hubspot"))
    drain()
    assert len(sandbox.requests("hubspot")) == asked + 1
    assert fresh(hubspot).breaker == Breaker.OPEN
    assert [ticket.is_open for ticket in Ticket.objects.order_by("pk")] == [False, True]
    assert all(covering(run).exists() for run in runs)
    settled()


def test_429_ends_the_slow_start_and_successes_raise_the_limit(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    service.record_auth_failure(hubspot.pk, credentials_version=hubspot.credentials_version, status=401, reason="no")
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    Connection.objects.filter(pk=hubspot.pk).update(concurrency_limit=6)
    sandbox.add_fault("hubspot", "rate_limit", retry_after=30, count=1)
    engine.run_step(step_of(accept(), "crm.account").pk)
    slowed = fresh(hubspot)
    assert (slowed.concurrency_limit, slowed.slow_start) == (3, False)
    drain()
    assert (fresh(hubspot).concurrency_limit, fresh(hubspot).slow_start) == (5, False), "account and contact"
