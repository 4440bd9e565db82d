"""A step that somebody has to approve, one that waits for an event, and rollout modes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue.models import ClockState, Milestone, SlaClock, Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets.actions import NotAllowed, available, perform
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import ApprovalState, Category, RunEventType, Status, StepState, Topic, WaitsFor
from onboarding.models import Approval, OnboardingTransaction, Step
from onboarding.playbooks.playbook import playbooks
from onboarding.services import Outdated, Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created

pytestmark = pytest.mark.usefixtures("connections")

TERMS = {"commercial__plan_sku": "conditional", "commercial__nonstandard_terms": True, "customer__country": "DE"}
Person = Callable[..., Any]


def decide(run: OnboardingTransaction, *, approved: bool = True, actor: str = "kim", **given: Any) -> None:
    step = step_of(run, "terms")
    services.decide_approval(step.pk, approved=approved, actor=actor, reason="As agreed.", **given)


def report(run: OnboardingTransaction, kind: RunEventType, event_id: str = "evt_1") -> None:
    services.receive_event(run.pk, kind=kind, event_id=event_id, occurred_at=clock.now(), data={}, actor="key:legal")


def test_nothing_is_made_before_somebody_has_approved(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**TERMS)
    drain()
    ticket = ticket_of(run, "terms")
    assert (ticket.category, ticket.topic, ticket.queue) == (Category.APPROVAL_OVERDUE, Topic.APPROVAL, "finance")
    assert created(sandbox) == {}
    settled()

    decide(run)
    drain()
    assert Ticket.objects.get(pk=ticket.pk).resolution == "kim has approved it."
    assert step_of(run, "terms").state == StepState.SUCCEEDED
    assert created(sandbox) == {"companies": 1, "organizations": 1, "users": 1}
    approval = Approval.objects.get()
    assert (approval.state, approval.decided_by, approval.reason) == (ApprovalState.APPROVED, "kim", "As agreed.")
    assert SlaClock.objects.get(approval=approval).state == ClockState.MET


def test_whoever_gave_the_data_may_reject_it_and_not_approve_it(accept: Accept, drain: Drain) -> None:
    run = accept(**TERMS | {"customer__country": ""})
    services.fix(run.pk, {"customer.country": "DE", "commercial.payment_terms": "net 90"}, actor="sam")
    drain()
    assert Approval.objects.get().requested_by == ["sam", "tests"]
    with pytest.raises(Refused, match="somebody else has to decide"):
        decide(run, actor="sam")
    decide(run, actor="sam", approved=False)
    assert Approval.objects.get().state == ApprovalState.REJECTED


def test_a_rejected_step_stays_blocked_until_it_is_asked_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**TERMS)
    drain()
    decide(run, approved=False)
    drain()
    ticket = ticket_of(run, "terms")
    assert ticket.message == "Are the nonstandard terms acceptable? kim has rejected it: As agreed."
    assert step_of(run, "terms").state == StepState.BLOCKED
    with pytest.raises(Refused, match="Nobody is asked to approve"):
        decide(run)
    settled()

    services.retry_step(step_of(run, "terms").pk, actor="kim")
    drain()
    assert [each.state for each in Approval.objects.all()] == [ApprovalState.REJECTED, ApprovalState.OPEN]
    assert ticket_of(run, "terms").pk == ticket.pk
    decide(run)
    drain()
    assert created(sandbox)["companies"] == 1


def test_retrying_what_is_asked_does_not_pass_it(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(**TERMS)
    drain()
    services.retry_step(step_of(run, "terms").pk, actor="kim")
    drain()
    assert (Approval.objects.count(), created(sandbox)) == (1, {})
    with pytest.raises(Refused, match="given or rejected"):
        services.skip_step(step_of(run, "terms").pk, actor="kim", reason="no time")


def test_other_data_is_asked_about_anew(accept: Accept, drain: Drain) -> None:
    run = accept(**TERMS)
    drain()
    shown_then = Approval.objects.get().subject
    request = services.request_change(run.pk, {"commercial.amount": 99000}, actor="sam")
    services.apply_change(request.pk, actor="kim")
    drain()
    first, second = Approval.objects.all()
    assert (first.state, second.state, second.requested_by) == (
        ApprovalState.WITHDRAWN,
        ApprovalState.OPEN,
        ["sam", "tests"],
    )
    assert {each.approval_id: each.state for each in SlaClock.objects.filter(milestone=Milestone.APPROVAL)} == {
        first.pk: ClockState.CANCELLED,
        second.pk: ClockState.RUNNING,
    }
    with pytest.raises(Outdated):
        decide(run, seen=shown_then)
    decide(run, seen=second.subject)


def test_an_event_approves_in_place_of_a_person(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(**TERMS)
    drain()
    report(run, RunEventType.SECURITY_APPROVED)
    drain()
    assert created(sandbox) == {}
    report(run, RunEventType.CONTRACT_APPROVED, "evt_2")
    drain()
    assert Approval.objects.get().decided_by == "key:legal"
    assert created(sandbox)["companies"] == 1


def test_the_event_may_come_before_it_is_asked(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(**TERMS)
    report(run, RunEventType.CONTRACT_APPROVED)
    drain()
    assert created(sandbox)["companies"] == 1
    assert Approval.objects.get().reason == "Reported as contract.approved before it was asked."
    assert not Ticket.objects.filter(step__key="terms").exists()


def test_an_approval_that_nobody_decides_is_told_of_in_business_time(
    accept: Accept, drain: Drain, mailoutbox: list[Any], settings: Any
) -> None:
    run = accept(**TERMS)
    drain()
    running = SlaClock.objects.get(milestone=Milestone.APPROVAL)
    assert running.target_minutes == 4 * 60
    assert running.due_at - running.started_at >= timedelta(hours=4)
    assert ticket_of(run, "terms").step == running.approval.step


@pytest.mark.parametrize("end", ["cancel", "rollback"])
def test_nobody_is_asked_any_more_once_the_run_is_over(accept: Accept, drain: Drain, end: str) -> None:
    run = accept(**TERMS)
    drain()
    getattr(services, end)(run.pk, actor="kim", reason="The order was withdrawn.")
    drain()
    assert Approval.objects.get().state == ApprovalState.WITHDRAWN
    assert not Ticket.objects.filter(resolved_at=None).exists()
    assert not SlaClock.objects.filter(ended_at=None).exists()


def test_replaying_asks_only_about_other_data(accept: Accept, drain: Drain) -> None:
    run = accept(**TERMS)
    drain()
    decide(run)
    drain()
    services.replay(run.pk, "terms", actor="kim")
    drain()
    assert Approval.objects.count() == 1
    assert step_of(run, "terms").state == StepState.SUCCEEDED


def test_who_may_approve_follows_the_queue(accept: Accept, drain: Drain, people: dict[str, Any]) -> None:
    run = accept(**TERMS)
    drain()
    ticket = ticket_of(run, "terms")
    assert {"approve", "reject"} <= {each.name for each in available(ticket, Actor.of(people["finance"]))}
    with pytest.raises(NotAllowed):
        perform(ticket.pk, "approve", Actor.of(people["support"]), reason="Fine.")
    perform(ticket.pk, "approve", Actor.of(people["finance"]), reason="Fine.")
    assert Approval.objects.get().state == ApprovalState.APPROVED


# --- Events


def test_a_step_waits_for_its_event(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    run = accept(**TERMS | {"commercial__nonstandard_terms": False})
    drain()
    project = step_of(run, "project")
    assert (project.state, project.waits_for, project.due_at) == (StepState.WAITING, WaitsFor.REPORT, None)
    services.retry_step(project.pk, actor="kim")
    drain()
    assert "projects" not in created(sandbox)
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert created(sandbox)["projects"] == 1
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


def test_the_awaited_event_may_come_first(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(**TERMS | {"commercial__nonstandard_terms": False})
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert created(sandbox)["projects"] == 1
    assert status_of(run) == Status.COMPLETE


def test_a_wait_without_its_event_becomes_a_ticket_while_the_clock_can_still_be_met(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    from exceptions_queue.sla import clocks

    run = accept(**TERMS | {"commercial__nonstandard_terms": False})
    drain()
    clock.shift(timedelta(minutes=16))
    clocks.tick()
    ticket = ticket_of(run, "project")
    assert ticket.category == Category.STALLED
    assert ticket.message.endswith("the step waits until other systems report tenant.provisioned.")
    settled()
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert created(sandbox)["projects"] == 1
    assert not Ticket.objects.filter(resolved_at=None).exists()


# --- Rollout modes


@pytest.fixture
def mode(request: pytest.FixtureRequest, tmp_path: Any, settings: Any) -> Any:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "rollout.toml").write_text(
        f'name = "rollout"\nversion = "1"\nowner = "leads"\nplans = ["rollout"]\nmode = "{request.param}"\n'
        '[[steps]]\nkey = "account"\nuses = "crm.account"\n'
        '[[steps]]\nkey = "organization"\nuses = "support.organization"\nafter = ["account"]\nmode = "automate"\n'
    )
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield request.param
    playbooks.cache_clear()


@pytest.mark.parametrize("mode", ["observe"], indirect=True)
def test_an_observed_step_writes_nothing_and_says_what_it_would(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, mode: str
) -> None:
    run = accept(commercial__plan_sku="rollout")
    drain()
    account = step_of(run, "account")
    assert account.state == StepState.SKIPPED
    assert account.skip_reason.startswith("Observed only: ")
    assert created(sandbox) == {"organizations": 1}
    assert sandbox.requests(hubspot.slug) == []
    assert status_of(run) == Status.COMPLETE


@pytest.mark.parametrize("mode", ["assist"], indirect=True)
def test_an_assisted_step_is_done_once_somebody_has_approved_it(
    accept: Accept, drain: Drain, sandbox: SandboxControl, mode: str, settled: Settled
) -> None:
    run = accept(commercial__plan_sku="rollout")
    drain()
    assert created(sandbox) == {}
    ticket = ticket_of(run, "account")
    assert ticket.message == "May Firstvalue find or create the CRM account?"
    services.decide_approval(step_of(run, "account").pk, approved=True, actor="kim", reason="Looks right.")
    drain()
    assert created(sandbox) == {"companies": 1, "organizations": 1}
    assert Step.objects.filter(state=StepState.SUCCEEDED).count() == 2
    settled()


# --- What must not get past an approval


def change(run: OnboardingTransaction, **fields: Any) -> None:
    given = {path.replace("__", "."): value for path, value in fields.items()}
    services.apply_change(services.request_change(run.pk, given, actor="sam").pk, actor="kim")


def test_what_was_approved_is_asked_again_for_other_data(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**TERMS)
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    decide(run)
    drain()
    assert status_of(run) == Status.COMPLETE
    change(run, commercial__payment_terms="net 90")
    drain()
    assert step_of(run, "terms").state == StepState.BLOCKED
    assert ticket_of(run, "terms").topic == Topic.APPROVAL
    decide(run)
    drain()
    assert status_of(run) == Status.COMPLETE
    settled()


def test_an_event_approves_the_data_of_its_time_alone(accept: Accept, drain: Drain) -> None:
    run = accept(**TERMS)
    report(run, RunEventType.CONTRACT_APPROVED)
    drain()
    assert Approval.objects.get().decided_by == "key:legal"
    change(run, commercial__payment_terms="net 90")
    drain()
    assert step_of(run, "terms").state == StepState.BLOCKED


def test_a_blocked_step_waits_for_an_approval_that_is_added_before_it(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "forbidden", path="*/companies/*", count=1)
    run = accept(**TERMS | {"commercial__nonstandard_terms": False})
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    account = step_of(run, "account")
    assert account.state == StepState.BLOCKED, shown(run)
    services.fix(run.pk, {"commercial.nonstandard_terms": True}, actor="sam", step_pk=account.pk)
    drain()
    assert created(sandbox) == {}
    assert step_of(run, "account").state == StepState.PENDING
    assert not Ticket.objects.filter(step=account, resolved_at=None).exists()
    decide(run)
    drain()
    assert created(sandbox)["companies"] == 1
    settled()


@pytest.mark.parametrize("mode", ["observe"], indirect=True)
def test_an_observed_playbook_asks_for_its_approvals(
    accept: Accept, drain: Drain, sandbox: SandboxControl, mode: str, tmp_path: Any
) -> None:
    (tmp_path / "playbooks" / "rollout.toml").write_text(
        'name = "rollout"\nversion = "2"\nowner = "leads"\nplans = ["rollout"]\nmode = "observe"\n'
        '[[steps]]\nkey = "terms"\nuses = "approval"\nwith = { question = "Fine?" }\n'
        '[[steps]]\nkey = "account"\nuses = "crm.account"\nafter = ["terms"]\nmode = "automate"\n'
    )
    playbooks.cache_clear()
    run = accept(commercial__plan_sku="rollout")
    drain()
    assert created(sandbox) == {}
    assert ticket_of(run, "terms").message == "Fine?"


def test_a_key_that_gave_the_data_does_not_approve_it(accept: Accept, drain: Drain) -> None:
    run = accept(**TERMS)
    OnboardingTransaction.objects.filter(pk=run.pk).update(origin="rest", origin_name="billing")
    drain()
    with pytest.raises(Refused, match="somebody else has to decide"):
        decide(run, actor="key:billing")


def test_a_key_does_not_report_the_approval_of_its_own_data(accept: Accept, drain: Drain) -> None:
    run = accept(**TERMS)
    OnboardingTransaction.objects.filter(pk=run.pk).update(origin="rest", origin_name="legal")
    drain()
    with pytest.raises(Refused, match=r"key:legal gave the data that contract\.approved would approve"):
        report(run, RunEventType.CONTRACT_APPROVED)
    report(run, RunEventType.SECURITY_APPROVED)  # which approves nothing of this run
    assert Approval.objects.get().state == ApprovalState.OPEN
    OnboardingTransaction.objects.filter(pk=run.pk).update(origin_name="billing")
    Approval.objects.update(requested_by=["key:billing"])
    report(run, RunEventType.CONTRACT_APPROVED, "evt_2")
    assert Approval.objects.get().decided_by == "key:legal"


def test_an_early_report_by_the_key_that_gave_the_data_leaves_the_question(accept: Accept, drain: Drain) -> None:
    """Before its steps are known the event is only kept: who reported it is looked at when it would approve."""
    run = accept(**TERMS | {"customer__country": "", "customer__legal_name": ""})
    OnboardingTransaction.objects.filter(pk=run.pk).update(origin="rest", origin_name="legal")
    report(run, RunEventType.CONTRACT_APPROVED)
    services.fix(run.pk, {"customer.country": "DE", "customer.legal_name": "Acme Logistics"}, actor="sam")
    drain()
    approval = Approval.objects.get()
    assert approval.state == ApprovalState.OPEN
    assert "key:legal" in approval.requested_by


def test_waiting_for_a_report_is_no_stall(accept: Accept, drain: Drain) -> None:
    from onboarding.engine.periodic.sweep import sweep

    run = accept(**TERMS | {"commercial__nonstandard_terms": False})
    drain()
    clock.shift(timedelta(minutes=3))
    sweep()
    assert not Ticket.objects.filter(transaction=run).exists()
