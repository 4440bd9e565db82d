"""Rolling back leaves at the vendors exactly what the run did not create, whatever is lost on the way."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests

from exceptions_queue.models import ClockState, SlaClock, Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets.actions import perform
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, RunEventType, Scope, Status, StepState, WaitsFor
from onboarding.models import ObjectMapping, OnboardingTransaction
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, shown, status_of, step_of, ticket_of

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
BY = {"actor": "kim", "reason": "The customer withdrew"}
USERS = [{"name": "Sam Roe", "email": "sam@acme-logistics.com", "role": "admin"}]


def left(sandbox: SandboxControl) -> dict[str, int]:
    """What is at the vendors, but for the mails, which nobody can unsend."""
    vendors = sandbox.counts()["vendors"].values()
    found = {kind: count["total"] for kinds in vendors for kind, count in kinds.items() if count["total"]}
    found.pop("messages", None)
    return found


def roll_back(run: OnboardingTransaction, drain: Drain) -> None:
    services.rollback(run.pk, **BY)
    drain()


def test_rollback_removes_everything(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(users=USERS)
    drain()
    assert left(sandbox)["tasks"] == 6
    roll_back(run, drain)
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}
    assert {step.state for step in run.steps.all()} == {StepState.COMPENSATED}
    assert not Ticket.objects.filter(resolved_at=None).exists()
    assert SlaClock.objects.get(transaction=run, milestone="P2").state == ClockState.CANCELLED
    assert list(audit.broken_links()) == []


def test_compensations_go_in_reverse_order(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    roll_back(run, drain)
    done = [entry.data["step"] for entry in run.audit.filter(name="onboarding.step.compensated").order_by("sequence")]
    for step in run.steps.filter(key__in=done):
        assert all(done.index(step.key) < done.index(before) for before in step.after if before in done)


def test_matched_and_shared_objects_are_kept(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    (account,) = sandbox.seed("hubspot", "companies", [{"name": "Acme", "domain": "acme-logistics.com"}])
    first = accept()
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    roll_back(first, drain)
    assert status_of(first) == Status.ROLLED_BACK
    kept = {mapping.external_id for mapping in second.mappings.all() if mapping.kind != "message"}
    there = {item["id"] for item in sandbox.objects() if item["kind"] != "messages"}
    assert there == kept
    assert account in there
    # The last one takes what it did not create with it no more than the first.
    roll_back(second, drain)
    assert account in {item["id"] for item in sandbox.objects()}


def test_matched_deal_gets_the_final_status(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme"}])
    run = accept(commercial__deal_id=deal)
    drain()
    roll_back(run, drain)
    (kept,) = sandbox.objects("hubspot", "deals")
    assert (kept["id"], kept["body"]["firstvalue_onboarding_status"]) == (deal, "rolled-back")


def test_matched_deal_gets_the_final_status_after_an_outage(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme"}])
    run = accept(commercial__deal_id=deal)
    drain()
    sandbox.add_fault("hubspot", "error_before", method="PATCH", count=1)
    services.hold(run.pk, **BY)
    engine.run_step(step_of(run, "crm.deal-status").pk)
    assert step_of(run, "crm.deal-status").state == StepState.WAITING
    roll_back(run, drain)
    (kept,) = sandbox.objects("hubspot", "deals")
    assert kept["body"]["firstvalue_onboarding_status"] == "rolled-back"


def test_next_run_after_a_rollback_starts_afresh(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    roll_back(accept(), drain)
    run = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    assert left(sandbox)["companies"] == 1


def lose_a_worker(run: OnboardingTransaction, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roll back, up to where a worker is lost after the so-manieth compensation, before we know that it was done."""
    hits, perform = 0, engine.perform

    class Lost(BaseException):
        pass

    def crash(claim: Any) -> Any:
        nonlocal hits
        outcome = perform(claim)
        hits += claim.plan is not None
        if hits == moment:
            raise Lost
        return outcome

    monkeypatch.setattr(engine, "perform", crash)
    services.rollback(run.pk, **BY)
    while run.steps.filter(due_at__isnull=False).exists() and hits < moment:
        for step in run.steps.filter(due_at__isnull=False):
            try:
                engine.run_step(step.pk)
            except Lost:
                break
    monkeypatch.undo()


@pytest.mark.parametrize("moment", range(1, 14))
def test_a_crash_at_any_compensation_changes_nothing(
    accept: Accept, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The worker is lost after the vendor took the object back and before we know it."""
    run = accept(users=USERS)
    drain()
    lose_a_worker(run, moment, monkeypatch)
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


@pytest.mark.parametrize("kind", ["error_after", "reset_after", "error_before"])
def test_a_delete_whose_answer_is_lost_is_repeated(
    accept: Accept, drain: Drain, sandbox: SandboxControl, kind: str
) -> None:
    run = accept()
    drain()
    sandbox.add_fault("*", kind, method="DELETE", count=3)
    roll_back(run, drain)
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def test_object_of_an_interrupted_worker_is_found_and_removed(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    claim = claiming.claim(step_of(run, "crm.account").pk)
    assert claim
    services.rollback(run.pk, **BY)
    engine.perform(claim)  # it was in the middle of the call
    assert left(sandbox) == {"companies": 1}
    clock.shift(timedelta(minutes=2))
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def test_running_job_is_awaited_and_its_object_removed(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    for _ in range(3):
        for step in run.steps.filter(due_at__isnull=False, key__in=("crm.account", "delivery.project")):
            engine.run_step(step.pk)
        if run.intents.filter(state="accepted").exists():
            break
    assert run.intents.filter(state="accepted").exists()
    roll_back(run, drain)
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def test_object_that_cannot_be_found_is_decided_by_a_person(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    drain()
    services.rollback(run.pk, **BY)
    drain()
    asked = ticket_of(run, "delivery.project")
    assert asked.category == Category.UNKNOWN_OUTCOME
    (project,) = sandbox.objects("asana", "projects")
    services.choose_match(step_of(run, "delivery.project").pk, external_id=project["id"], actor="kim")
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def test_a_person_cannot_name_what_another_run_uses(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    other, run = accept(**customer("other")), accept()
    sandbox.configure("asana", search_lag="never")
    drain()
    project = ObjectMapping.objects.get(transaction=other, kind="project").external_id
    lose_project(run)
    services.rollback(run.pk, **BY)
    drain()
    services.choose_match(step_of(run, "delivery.project").pk, external_id=project, actor="kim")
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert project in {found["id"] for found in sandbox.objects("asana", "projects")}


def lose_project(run: OnboardingTransaction) -> None:
    """As if its create's answer had been lost."""
    run.mappings.filter(kind="project").delete()
    run.intents.filter(step__key="delivery.project").update(
        state="indeterminate", job_id="", indeterminate_since=clock.now()
    )


def test_object_linked_by_a_person_is_kept(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    """Linked while the run went on it is the customer's object, also where the step did not come to it any more."""
    (theirs,) = sandbox.seed("asana", "projects", [{"name": "Acme, by hand"}])
    run = accept()
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    drain()
    services.choose_match(step_of(run, "delivery.project").pk, external_id=theirs, actor="kim")
    roll_back(run, drain)
    assert theirs in {found["id"] for found in sandbox.objects("asana", "projects")}


def test_indeterminate_create_adopted_by_another_run_is_left_to_it(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    """The given-up create made the account, and the customer's next run has just found it when the first is rolled back."""
    sandbox.add_fault("hubspot", "error_after", method="POST", path="*/companies/batch/upsert", count=1)
    first, second = accept(), accept(onboarding_transaction_id="pay_2")
    engine.run_step(step_of(first, "crm.account").pk)
    services.cancel(first.pk, **BY)
    claim = claiming.claim(step_of(second, "crm.account").pk)
    assert claim
    found = engine.perform(claim)
    services.rollback(first.pk, **BY)
    clock.shift(timedelta(seconds=30))
    engine.run_step(step_of(first, "crm.account").pk)
    waiting = step_of(first, "crm.account")
    assert (waiting.waits_for, waiting.waits_on) == (WaitsFor.RESERVATION, step_of(second, "crm.account"))
    record(claim, found, inline=False)
    drain()
    assert (status_of(first), status_of(second)) == (Status.ROLLED_BACK, Status.READY_FOR_KICKOFF), shown(second)
    assert left(sandbox)["companies"] == 1


def test_object_changed_since_asks_a_person(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    project = ObjectMapping.objects.get(kind="project").external_id
    OnboardingTransaction.objects.filter(pk=run.pk)
    run.steps.update(finished_at=clock.now() - timedelta(hours=1))
    put(sandbox, f"/asana/api/1.0/projects/{project}", {"data": {"notes": "Ours now"}}, "asana")
    verdicts = {verdict.step: verdict.verdict for verdict in services.rollback_preview(run.pk)}
    assert verdicts["delivery.project"] == "changed-since"
    assert verdicts["welcome.mail"] == "cannot-be-undone"
    roll_back(run, drain)
    stuck = Ticket.objects.filter(transaction=run, category=Category.ROLLBACK_FAILED, resolved_at=None)
    assert stuck.exists()
    for _ in range(20):
        for ticket in stuck.all():
            perform(ticket.pk, "rollback", Actor("kim", Scope.OPERATE))
        drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def put(sandbox: SandboxControl, path: str, body: dict[str, Any], vendor: str) -> None:
    token = {"Authorization": f"Bearer sandbox-{vendor}-token"}
    requests.put(f"{sandbox.base_url}{path}", json=body, headers=token, timeout=10).raise_for_status()


def test_a_refused_delete_is_a_ticket_of_its_own_and_may_be_left(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    sandbox.add_fault("zendesk", "error_before", method="DELETE", path="*/organizations/*", status=422)
    roll_back(run, drain)
    assert ticket_of(run, "support.organization").category == Category.ROLLBACK_FAILED
    with pytest.raises(Refused):
        services.skip_step(step_of(run, "welcome.mail").pk, **BY)  # nothing of it is left
    services.skip_step(step_of(run, "support.organization").pk, **BY)
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {"organizations": 1}


def test_a_connection_that_refuses_us_parks_the_rollback(
    accept: Accept, drain: Drain, sandbox: SandboxControl, zendesk: Connection
) -> None:
    run = accept()
    drain()
    sandbox.set_tokens("zendesk", ["another"])
    roll_back(run, drain)
    assert status_of(run) == Status.ROLLING_BACK
    assert Ticket.objects.get(resolved_at=None).connection == zendesk


# --- Refunds -----------------------------------------------------------------------------------------------------------


def refunded(run: OnboardingTransaction, event_id: str = "re_1") -> None:
    services.receive_event(
        run.pk,
        kind=RunEventType.PAYMENT_REFUNDED,
        event_id=event_id,
        occurred_at=clock.now(),
        data={},
        actor="billing",
    )


def test_a_refund_holds_the_run_and_asks_finance(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    refunded(run)
    drain()
    assert left(sandbox) == {}
    asked = ticket_of(run)
    assert (asked.category, asked.queue) == (Category.APPROVAL_OVERDUE, "finance")
    perform(asked.pk, "skip", Actor("fay", Scope.OPERATE), reason="A mistake of the bank")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_refund_question_survives_the_missing_data_ticket(accept: Accept, drain: Drain) -> None:
    """Both questions are open at once, and each is answered for itself."""
    run = accept(commercial__plan_sku="", customer__legal_name="")
    refunded(run)
    services.fix(run.pk, {"customer.legal_name": "Acme Logistics"}, actor="kim")
    both = Ticket.objects.filter(transaction=run, resolved_at=None)
    assert {ticket.category for ticket in both} == {Category.APPROVAL_OVERDUE, Category.MISSING_DATA}
    asked = both.get(category=Category.APPROVAL_OVERDUE)
    perform(asked.pk, "skip", Actor("fay", Scope.OPERATE), reason="A mistake of the bank")
    assert ticket_of(run).category == Category.MISSING_DATA
    refunded(run, "re_2")
    services.fix(run.pk, {"commercial.plan_sku": "pro"}, actor="kim")
    assert ticket_of(run).category == Category.APPROVAL_OVERDUE


@pytest.mark.parametrize("finished", [True, False])
def test_after_a_refund_the_run_is_rolled_back(
    accept: Accept, drain: Drain, sandbox: SandboxControl, finished: bool
) -> None:
    run = accept()
    drain()
    if finished:
        services.receive_event(
            run.pk,
            kind=RunEventType.KICKOFF_SCHEDULED,
            event_id="evt",
            occurred_at=clock.now(),
            data={},
            actor="tests",
        )
        drain()
    refunded(run)
    perform(ticket_of(run).pk, "rollback", Actor("fay", Scope.OPERATE))
    drain()
    assert status_of(run) == Status.ROLLED_BACK
    assert left(sandbox) == {}
    assert not Ticket.objects.filter(resolved_at=None).exists()


REFUSED: dict[str, Callable[[OnboardingTransaction], Any]] = {
    "hold": lambda run: services.hold(run.pk, **BY),
    "cancel": lambda run: services.cancel(run.pk, **BY),
    "replay": lambda run: services.replay(run.pk, "crm.account", actor="kim"),
    "resend": lambda run: services.resend(step_of(run, "welcome.mail").pk, actor="kim"),
    "fix": lambda run: services.fix(run.pk, {"customer.country": "FR"}, actor="kim"),
    "rollback": lambda run: services.rollback(run.pk, **BY),
    "preview": lambda run: services.rollback_preview(run.pk),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rolled_back_run_refuses_further_actions(accept: Accept, drain: Drain, name: str) -> None:
    run = accept(**customer("other"))
    drain()
    roll_back(run, drain)
    with pytest.raises(Refused):
        REFUSED[name](run)
    assert status_of(run) == Status.ROLLED_BACK


def test_rollback_of_an_unstarted_run_ends_at_once(accept: Accept, drain: Drain) -> None:
    run = accept(commercial__plan_sku="")
    drain()
    roll_back(run, drain)
    assert status_of(run) == Status.ROLLED_BACK
    assert not Ticket.objects.filter(resolved_at=None).exists()
