"""What a page states is the case: after a rollback, while something keeps a retry back, and when a clock was called off."""

from typing import Any

import pytest

from exceptions_queue.models import ClockState, SlaClock, Ticket
from integrations.enums import Breaker
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Status, StepState
from onboarding.models import ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import QUEUE, RUNS, As, Pay, act, page, text
from tests.exceptions_queue.sla.test_kickoff_clock import FRIDAY_NOON, go_to, to_be_scheduled

pytestmark = pytest.mark.one_database("postgres")
REASON = "The customer withdrew"


def run_page(client: Any, run: OnboardingTransaction) -> str:
    return text(client.get(f"{RUNS}{run.pk}/change/"))


def line_of(shown: str, title: str) -> str:
    """What the list of steps says after the step's name."""
    return shown.partition("The same as a list")[2].partition(title)[2][:120]


@pytest.mark.usefixtures("whole_playbook")
def test_after_a_rollback_the_mail_was_sent_and_what_was_found_is_kept(
    pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], smtp: Connection, as_: As, drain: Drain
) -> None:
    sandbox.seed("hubspot", "companies", [{"name": "Beta Works", "domain": "beta-works.com"}])
    run = pay("beta")
    drain()
    assert ObjectMapping.objects.filter(step__key="welcome.mail").exists()
    services.rollback(run.pk, actor="lead", reason=REASON)
    drain()
    assert OnboardingTransaction.objects.get(pk=run.pk).status == Status.ROLLED_BACK

    shown = run_page(as_("lead"), run)

    assert line_of(shown, "Send the welcome mail").strip().startswith("was sent and cannot be undone")
    assert (
        line_of(shown, "Find or create the CRM account").strip().startswith("kept, as others use it or this run only")
    )
    assert line_of(shown, "Create the delivery project").strip().startswith("removed")
    assert "Everything that this run made is removed" not in shown
    assert "kickoff skipped" not in shown


def test_a_step_that_a_rollback_ended_has_not_passed(support_ticket: Ticket, as_: As, drain: Drain) -> None:
    services.rollback(support_ticket.transaction_id, actor="lead", reason=REASON)
    drain()
    shown = text(as_("support").get(page(support_ticket)))
    assert "The run is rolled back." in shown
    assert "The step has passed" not in shown
    assert "The run was cancelled" not in shown
    assert "nothing was created, so there is nothing to remove" in run_page(as_("lead"), support_ticket.transaction)


def test_skipped_kickoff_cancels_its_clock(pay: Pay, as_: As) -> None:
    go_to(FRIDAY_NOON)
    run = to_be_scheduled(pay("beta"))
    services.skip_step(run.steps.get(key="kickoff").pk, actor="kim", reason="They need none")
    assert SlaClock.objects.get(transaction=run, milestone="P2").state == ClockState.CANCELLED
    names = set(run.audit.filter(data__milestone="P2").values_list("name", flat=True))
    assert "exceptions.sla.cancelled" in names
    assert "exceptions.sla.met" not in names
    shown = run_page(as_("lead"), run)
    assert "Provisioned to kickoff timer_off kickoff skipped" in shown


def test_a_rolled_back_runs_kickoff_was_not_skipped(pay: Pay, connections: dict[str, Connection], as_: As) -> None:
    go_to(FRIDAY_NOON)
    run = to_be_scheduled(pay("beta"))
    services.rollback(run.pk, actor="lead", reason=REASON)
    shown = text(as_("lead").get(RUNS))
    assert "cancelled" in shown
    assert "kickoff skipped" not in shown


HELD_UP = {
    "connection": "Resumes when Zendesk is reconnected.",
    "one step first": "Zendesk answers again and is tried with one step first; this one is next.",
    "hold": "The run is on hold: it continues when somebody resumes the run.",
    "another run": "Waiting for another run of this customer.",
}


@pytest.mark.parametrize("why", HELD_UP)
def test_reason_a_retry_is_delayed_is_shown_wherever_the_ticket_is(support_ticket: Ticket, as_: As, why: str) -> None:
    support = as_("support")
    step = support_ticket.step
    assert step
    Ticket.objects.filter(pk=support_ticket.pk).update(category="server-error")
    match why:
        case "connection":
            Connection.objects.filter(slug="zendesk").update(breaker=Breaker.OPEN)
        case "one step first":
            Connection.objects.filter(slug="zendesk").update(breaker=Breaker.HALF_OPEN)
        case "hold":
            services.hold(support_ticket.transaction_id, actor="lead", reason="They asked us to wait")
    answer = text(support.post(act(support_ticket, "retry"), follow=True))
    if why == "another run":
        type(step).objects.filter(pk=step.pk).update(state=StepState.WAITING, waits_for="reservation")
        answer = text(support.get(page(support_ticket)))

    bulk = text(support.post(f"{QUEUE}bulk/retry/", {"ticket": [support_ticket.pk]}))

    for shown in (answer, text(support.get("/admin/")), *([bulk] if why != "another run" else [])):
        assert HELD_UP[why] in shown
        assert "retried now" not in shown
    listed = text(support.get(QUEUE))
    assert "any moment now" not in listed
    assert "Delayed" in listed if why != "another run" else True


def test_fix_of_a_held_run_says_that_it_stays_on_hold(missing: Ticket, as_: As) -> None:
    services.hold(missing.transaction_id, actor="lead", reason="They asked us to wait")
    answer = as_("sales").post(act(missing, "fix"), {"customer.domain": "beta-works.com"}, follow=True)
    assert "The data is complete; the run is on hold until somebody resumes it." in text(answer)


def test_complete_data_does_not_resolve_a_missing_playbook(missing: Ticket) -> None:
    Ticket.objects.filter(pk=missing.pk).update(category="not-configured")
    services.fix(missing.transaction_id, {"customer.domain": "beta-works.com"}, actor="kim")
    assert Ticket.objects.get(pk=missing.pk).resolution == "A playbook serves this customer now."
