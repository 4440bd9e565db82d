"""The deal at the CRM is told its run's status: on hold, cancelled, complete, fixed."""

from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.periodic.health import stall_reason
from onboarding.engine.recording import record
from onboarding.enums import Scope, Status
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, status_of, step_of, ticket_of
from tests.onboarding.playbooks.test_standard import kickoff_is_scheduled
from tests.onboarding.services.test_run_edge_cases import in_hand, open_tickets

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
BY = {"actor": "kim", "reason": "because"}
MINUTE = timedelta(minutes=1)


def deal_status(sandbox: SandboxControl) -> str:
    (deal,) = sandbox.objects("hubspot", "deals")
    return str(deal["body"].get("firstvalue_onboarding_status", ""))


# --- The deal that is never told ---------------------------------------------------------------------------------------


def test_a_cancel_reaches_the_deal_though_its_last_update_was_refused(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    sandbox.add_fault("hubspot", "error_before", method="PATCH", path="*/deals/*", status=400, count=1)
    services.hold(run.pk, **BY)
    drain()
    assert ticket_of(run, "crm.deal-status")
    services.cancel(run.pk, **BY)
    drain()
    clock.shift(timedelta(hours=1))
    drain()
    assert deal_status(sandbox) == "cancelled" or open_tickets(run), shown(run)


def test_a_cancel_in_the_middle_of_a_replay_reaches_the_deal(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    services.replay(run.pk, "crm.account", actor="kim")
    services.cancel(run.pk, **BY)
    drain()
    clock.shift(timedelta(hours=1))
    drain()
    assert deal_status(sandbox) == "cancelled", shown(run)


def test_cancel_during_the_first_status_update_reaches_the_deal(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    claim = in_hand(run, "crm.deal-status")
    outcome = engine.perform(claim)
    services.cancel(run.pk, **BY)
    record(claim, outcome, inline=True)
    drain()
    assert deal_status(sandbox) in ("cancelled", ""), shown(run)


@pytest.mark.parametrize("ending", ["complete", "cancelled"])
def test_a_ticket_about_a_run_that_is_over_can_be_closed(
    accept: Accept, drain: Drain, sandbox: SandboxControl, ending: str
) -> None:
    """The deal was deleted at the vendor, say: no retry will ever succeed."""
    run = accept()
    drain()
    sandbox.add_fault("hubspot", "error_before", method="PATCH", path="*/deals/*", status=404)
    if ending == "complete":
        kickoff_is_scheduled(run)
    else:
        services.cancel(run.pk, **BY)
    drain()
    assert status_of(run) == ending
    ticket = ticket_of(run, "crm.deal-status")
    actions.perform(ticket.pk, "skip", Actor("kim", Scope.OPERATE), reason="The deal is gone.")
    drain()
    assert open_tickets(run) == []


# --- Hold --------------------------------------------------------------------------------------------------------------


def test_run_held_before_its_deal_status_is_not_stalled(accept: Accept, sandbox: SandboxControl, settings: Any) -> None:
    run = accept()
    while not (step := step_of(run, "crm.deal-status")).due_at:
        for each in run.steps.exclude(due_at=None).exclude(key="crm.deal-status"):
            if claimed := claiming.claim(each.pk):
                record(claimed, engine.perform(claimed), inline=False)
        clock.shift(timedelta(seconds=1))
    services.hold(run.pk, **BY)
    assert claiming.claim(step.pk) is None  # rightly: it may not be done
    clock.shift(timedelta(seconds=settings.READY_LAG_SECONDS + 60))
    assert stall_reason() == ""


def test_completing_a_held_run_updates_the_deal_status(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    services.hold(run.pk, **BY)
    kickoff_is_scheduled(run)
    drain()
    if status_of(run) != Status.COMPLETE:
        services.resume(run.pk, actor="kim")
        drain()
    assert (status_of(run), deal_status(sandbox)) == (Status.COMPLETE, "complete")
    assert OnboardingTransaction.objects.get(pk=run.pk).held_at is None


def test_hold_during_a_replay_updates_the_deal_status(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    services.replay(run.pk, "crm.account", actor="kim")
    services.hold(run.pk, **BY)
    drain()
    assert deal_status(sandbox) == "on-hold"
    services.resume(run.pk, actor="kim")
    drain()
    assert deal_status(sandbox) == "ready-for-kickoff"


def test_corrected_owner_updates_the_deal(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    services.fix(run.pk, {"ownership.implementation_owner_id": "u_7"}, actor="kim")
    drain()
    (deal,) = sandbox.objects("hubspot", "deals")
    assert deal["body"]["firstvalue_implementation_owner"] == "u_7"
