"""Several at once: customers, claims, zombies, and workers that are lost."""

from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import covering, is_blocked
from integrations import clock
from integrations.errors import DeadlinePassed
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.hubspot.connector import HubSpot
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.claiming import Claim
from onboarding.engine.outcomes import Ensured, Failed
from onboarding.engine.policy import ATTEMPTS_BEFORE_TICKET
from onboarding.engine.recording import record
from onboarding.enums import Category, IntentState, Status, StepState, WaitsFor
from onboarding.models import Attempt, AuditEntry, Intent, OnboardingTransaction, Step
from onboarding.steps.crm.records import Account
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import CREATED, created
from tests.support.threads import together

pytestmark = pytest.mark.usefixtures("connections")


@pytest.fixture
def run(accept: Accept) -> OnboardingTransaction:
    return accept()


@pytest.fixture
def account(run: OnboardingTransaction) -> Step:
    return step_of(run, "crm.account")


def claimed(step: Step) -> Claim:
    current = claiming.claim(step.pk)
    assert current is not None
    return current


def lose(step: Step) -> None:
    """The worker that holds the step is gone, and its lease has run out."""
    step = Step.objects.get(pk=step.pk)
    assert step.lease_until is not None
    clock.shift(step.lease_until - clock.now() + timedelta(seconds=1))


# --- Two runs of one customer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"reference_property": "", "search_lag": "20"}], ids=["unique", "neither"])
def test_runs_of_one_customer_share_all_objects_except_the_project(
    options: dict[str, str],
    connections: dict[str, Connection],
    accept: Accept,
    drain: Drain,
    sandbox: SandboxControl,
    settled: Settled,
) -> None:
    Connection.objects.filter(slug="hubspot").update(options=options)
    runs = [accept(), accept(onboarding_transaction_id="pay_2")]
    steps = [step_of(each, "crm.account").pk for each in runs]
    together([lambda pk=pk: engine.run_step(pk) for pk in steps])
    drain()
    assert [status_of(each) for each in runs] == [Status.COMPLETE, Status.COMPLETE]
    assert created(sandbox) == CREATED | {"projects": 2}
    settled()


def test_waiting_for_a_reservation_uses_no_attempt(accept: Accept, account: Step) -> None:
    claimed(account)
    other = step_of(accept(onboarding_transaction_id="pay_2"), "crm.account")
    for _ in range(3):
        assert claiming.claim(other.pk) is None
    other = Step.objects.get(pk=other.pk)
    assert (other.waits_for, other.attempts, other.attempt_rows.count()) == (WaitsFor.RESERVATION, 0, 0)


def test_reservation_is_released_after_a_definite_failure(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert", status=400, count=1)
    first = accept()
    drain()
    assert ticket_of(first, "crm.account").category == Category.VALIDATION_ERROR
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(second) == Status.COMPLETE, shown(second)
    settled()


def test_waiting_for_a_reservation_is_covered_by_the_holders_ticket(
    accept: Accept, drain: Drain, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    first = accept()
    with monkeypatch.context() as broken:
        broken.setattr(Account, "keys", lambda *_: 1 / 0)
        scheduling.one_pass(publish=False)
    ticket = ticket_of(first, "crm.account")
    waiting = accept(onboarding_transaction_id="pay_2", customer__legal_name=None)
    clock.shift(timedelta(minutes=40))
    drain()
    services.fix(waiting.pk, {"customer.legal_name": "Acme Logistics"}, actor="kim")
    for _ in range(6):
        scheduling.one_pass(publish=False)
        clock.shift(timedelta(minutes=30))
    assert step_of(waiting, "crm.account").waits_for == WaitsFor.RESERVATION
    assert list(covering(waiting)) == [ticket]
    assert OnboardingTransaction.objects.filter(is_blocked()).count() == 2
    settled()
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert [status_of(run) for run in (first, waiting)] == [Status.COMPLETE] * 2, shown(waiting)
    assert not OnboardingTransaction.objects.filter(is_blocked()).exists()
    assert step_of(waiting, "crm.account").waits_on is None
    settled()


# --- One step, several workers --------------------------------------------------------------------------------------


def test_eight_workers_claim_a_step_and_one_holds_it(account: Step, settled: Settled) -> None:
    held = together([lambda: claiming.claim(account.pk)] * 8)
    assert len([claim for claim in held if claim]) == 1
    assert Attempt.objects.filter(step=account).count() == 1
    assert Step.objects.get(pk=account.pk).token == 1


def test_eight_workers_run_a_step_and_one_create_is_sent(
    run: OnboardingTransaction, account: Step, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    together([lambda: engine.run_step(account.pk)] * 8)
    drain()
    assert sum(request["path"].endswith("/batch/upsert") for request in sandbox.requests("hubspot")) == 1
    assert status_of(run) == Status.COMPLETE
    settled()


def test_two_schedulers_do_the_work_once(
    run: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    together([lambda: scheduling.one_pass(publish=False)] * 2)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED
    settled()


def test_late_result_is_recorded_as_evidence_only(
    run: OnboardingTransaction, account: Step, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    zombie = claimed(account)
    lose(account)
    current = claimed(account)
    record(current, engine.perform(current), inline=False)
    mine = run.mappings.get(step=account).external_id
    assert record(zombie, Ensured("999", "", "created"), inline=True) is None
    assert run.mappings.get(step=account).external_id == mine
    late = Attempt.objects.get(step=account, token=zombie.token)
    assert (late.outcome, late.message) == ("late", "created 999")
    assert run.audit.filter(name="onboarding.step.late-result").count() == 1
    drain()
    settled()


def test_a_zombie_that_created_in_time_is_found_by_its_reference(
    run: OnboardingTransaction, account: Step, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    zombie = claimed(account)
    made = engine.perform(zombie)
    assert isinstance(made, Ensured)
    lose(account)
    current = claimed(account)
    record(current, engine.perform(current), inline=False)
    record(zombie, made, inline=True)
    assert run.mappings.get(step=account).external_id == made.external_id
    drain()
    assert created(sandbox) == CREATED
    settled()


def test_late_failure_does_not_block_the_new_holders_result(
    run: OnboardingTransaction, account: Step, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    zombie = claimed(account)
    sandbox.add_fault("hubspot", "error_before", count=1, method="POST", path="*/batch/upsert")
    failed = engine.perform(zombie)
    lose(account)
    current = claimed(account)
    record(current, engine.perform(current), inline=False)
    record(zombie, failed, inline=True)
    assert step_of(run, "crm.account").state == StepState.SUCCEEDED
    drain()
    assert status_of(run) == Status.COMPLETE
    settled()


def test_nothing_is_sent_after_send_by(
    run: OnboardingTransaction, account: Step, sandbox: SandboxControl, settings: Any
) -> None:
    settings.STEP_SECONDS = -1.0
    current = claimed(account)
    outcome = engine.perform(current)
    assert isinstance(outcome, Failed)
    assert not outcome.sent
    assert sandbox.requests("hubspot") == []
    record(current, outcome, inline=False)
    assert Intent.objects.get(step=account).state == IntentState.NO_EFFECT


def test_write_after_send_by_is_not_sent(
    account: Step, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(_: Claim) -> None:
        raise DeadlinePassed

    monkeypatch.setattr("onboarding.engine.objects.claimed_work._check_time", too_late)
    assert isinstance(engine.perform(claimed(account)), Failed)
    assert [request["method"] for request in sandbox.requests("hubspot")] == ["GET", "POST"]  # the look-ups
    assert created(sandbox) == {}


def test_object_created_before_send_by_is_kept(
    run: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    associate, over = HubSpot.associate, [True]

    def too_late(*args: Any) -> None:
        if over and over.pop():
            raise DeadlinePassed
        associate(*args)

    monkeypatch.setattr(HubSpot, "associate", too_late)
    drain()
    assert run.mappings.get(kind="contact").how == "created"
    assert status_of(run) == Status.COMPLETE
    settled()


# --- Lost workers ---------------------------------------------------------------------------------------------------


def test_a_lease_that_runs_out_counts_as_an_attempt(account: Step) -> None:
    claimed(account)
    assert claiming.claim(account.pk) is None
    lose(account)
    claimed(account)
    account = Step.objects.get(pk=account.pk)
    assert (account.attempts, account.token) == (1, 2)
    assert Attempt.objects.get(step=account, token=1).outcome == "lease-expired"


def test_step_that_lost_five_workers_gets_an_owned_stalled_ticket(
    run: OnboardingTransaction, account: Step, drain: Drain, settled: Settled
) -> None:
    for _ in range(ATTEMPTS_BEFORE_TICKET):
        claimed(account)
        lose(account)
    assert claiming.claim(account.pk) is None
    ticket = ticket_of(run, "crm.account")
    assert (ticket.category, ticket.queue) == (Category.STALLED, "revenue-operations")
    assert Step.objects.get(pk=account.pk).state == StepState.BLOCKED
    drain()
    settled()
    services.retry_step(account.pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


def test_new_holder_creates_only_after_send_by_and_search_lag(account: Step, sandbox: SandboxControl) -> None:
    Connection.objects.filter(slug="hubspot").update(options={"reference_property": "", "search_lag": "300"})
    claimed(account)
    lose(account)
    engine.run_step(account.pk)
    account = Step.objects.get(pk=account.pk)
    intent = Intent.objects.get(step=account)
    assert account.waits_for == WaitsFor.HOLD_OFF
    assert account.due_at is not None
    assert intent.indeterminate_since is not None
    assert account.due_at > intent.indeterminate_since + timedelta(seconds=300)
    assert created(sandbox) == {}


def test_run_without_due_steps_is_resumed_by_the_sweep(run: OnboardingTransaction, drain: Drain) -> None:
    run.steps.update(due_at=None)
    scheduling.one_pass(publish=False)
    assert not Attempt.objects.exists()
    clock.shift(timedelta(minutes=2))
    drain()
    assert status_of(run) == Status.COMPLETE


def test_run_that_cannot_be_resumed_gets_a_ticket(
    run: OnboardingTransaction, account: Step, drain: Drain, settled: Settled
) -> None:
    run.steps.filter(pk=account.pk).update(state=StepState.WAITING, due_at=None)
    clock.shift(timedelta(minutes=2))
    drain()
    assert ticket_of(run).category == Category.STALLED
    settled()


def test_stalled_ticket_names_the_last_finished_step(
    run: OnboardingTransaction, account: Step, settled: Settled
) -> None:
    current = claimed(account)
    record(current, engine.perform(current), inline=False)
    run.steps.exclude(pk=account.pk).filter(due_at__isnull=False).update(state=StepState.WAITING, due_at=None)
    scheduling.one_pass(publish=False)
    assert not covering(run).exists(), "it may only just have happened"
    for _ in range(3):
        clock.shift(timedelta(minutes=2))
        scheduling.one_pass(publish=False)
    ticket = ticket_of(run)
    assert not AuditEntry.objects.filter(name="exceptions.ticket.renewed").exists(), "that it still stands is no news"
    assert (ticket.category, ticket.queue) == (Category.STALLED, "revenue-operations")
    assert ticket.message == "No step is due or running in this run; its last finished step is crm.account."
    settled()


def test_parameters_stay_frozen_while_the_outcome_is_indeterminate(
    run: OnboardingTransaction, account: Step, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert", count=1)
    engine.run_step(account.pk)
    services.fix(run.pk, {"customer.country": "FR"}, actor="kim")
    drain()
    sent = [r["body"] for r in sandbox.requests("hubspot") if r["path"].endswith("/batch/upsert")]
    assert len(sent) == 2
    assert sent[0] == sent[1]


def test_parameters_may_change_after_a_definite_failure(
    run: OnboardingTransaction, account: Step, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert", status=400, count=1)
    engine.run_step(account.pk)
    services.fix(run.pk, {"customer.country": "FR"}, actor="kim", step_pk=account.pk)
    drain()
    sent = [r["body"] for r in sandbox.requests("hubspot") if r["path"].endswith("/batch/upsert")]
    assert '"FR"' in sent[1]
    assert status_of(run) == Status.COMPLETE
