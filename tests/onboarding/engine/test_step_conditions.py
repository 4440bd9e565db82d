"""Steps that belong to a run only where the payload says so, also when it says so later or no more."""

import pytest

from exceptions_queue.models import Ticket
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import RunEventType, Status, StepState
from onboarding.models import Approval, OnboardingTransaction
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_approvals import report
from tests.onboarding.engine.test_flow import created

pytestmark = pytest.mark.usefixtures("connections")

PLAN = {"commercial__plan_sku": "conditional", "customer__country": "DE"}


def keys(run: OnboardingTransaction) -> list[str]:
    return list(run.steps.order_by("position").values_list("key", flat=True))


def change(run: OnboardingTransaction, **fields: object) -> list[str]:
    """Verdicts of the preview, by step; then the change is applied."""
    given = {path.replace("__", "."): value for path, value in fields.items()}
    request = services.request_change(run.pk, given, actor="sam")
    told = [f"{each.step}: {each.verdict}" for each in services.change_preview(request.pk)]
    services.apply_change(request.pk, actor="kim")
    return told


def test_only_what_the_payload_asks_for_is_done(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**PLAN, commercial__amount=4000)
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert keys(run) == ["account", "project"]
    assert step_of(run, "project").after == ["account"]
    assert created(sandbox) == {"companies": 1, "projects": 1}
    assert status_of(run) == Status.COMPLETE
    settled()


def test_a_change_adds_the_steps_that_it_asks_for(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**PLAN, commercial__amount=4000)
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    told = change(run, commercial__amount=9000)
    assert "organization: look-up" in told
    assert "users: look-up" in told
    drain()
    assert keys(run) == ["account", "organization", "users", "project"]
    assert step_of(run, "project").after == ["users", "account"]
    assert created(sandbox) == {"companies": 1, "projects": 1, "organizations": 1, "users": 1}
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


def test_what_was_made_stays_and_a_person_is_told(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**PLAN, commercial__amount=9000)
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    told = change(run, commercial__amount=4000)
    assert {"organization: keep", "users: keep"} <= set(told)
    drain()
    assert step_of(run, "organization").state == StepState.SUCCEEDED
    by_hand = Ticket.objects.get(transaction=run, resolved_at=None)
    assert "Only where Amount is at least 5,000." in by_hand.message
    assert created(sandbox)["organizations"] == 1


def test_a_step_that_was_not_begun_is_left_out_and_comes_back(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**PLAN, commercial__amount=4000, commercial__nonstandard_terms=True)
    drain()
    assert created(sandbox) == {}
    assert "terms: skip" in change(run, commercial__nonstandard_terms=False)
    drain()
    terms = step_of(run, "terms")
    assert (terms.state, terms.skip_reason) == (StepState.SKIPPED, "Only where Nonstandard terms is set.")
    assert not Ticket.objects.filter(step=terms, resolved_at=None).exists()
    assert not Approval.objects.open().exists()
    assert created(sandbox) == {"companies": 1}

    change(run, commercial__nonstandard_terms=True)
    drain()
    assert step_of(run, "terms").state == StepState.BLOCKED
    assert ticket_of(run, "terms").queue == "finance"
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert created(sandbox) == {"companies": 1}  # what comes after the approval waits for it
    services.decide_approval(step_of(run, "terms").pk, approved=True, actor="kim", reason="Fine.")
    drain()
    assert created(sandbox) == {"companies": 1, "projects": 1}
    settled()


def test_the_gate_asks_for_what_the_playbook_requires(accept: Accept, drain: Drain) -> None:
    run = accept(**PLAN | {"customer__country": ""}, commercial__amount=None)
    drain()
    assert status_of(run) == Status.AWAITING_DATA
    assert {each["path"] for each in ticket_of(run).problems} == {"customer.country", "commercial.amount"}
    services.fix(run.pk, {"customer.country": "DE", "commercial.amount": 4000}, actor="sam")
    drain()
    assert "account" in keys(run)
    with pytest.raises(Refused, match="required fields would be missing"):
        services.request_change(run.pk, {"customer.country": None}, actor="sam")


def test_another_plan_requires_no_more_than_every_run(accept: Accept, drain: Drain) -> None:
    run = accept(customer__country="")
    drain()
    assert status_of(run) == Status.COMPLETE
