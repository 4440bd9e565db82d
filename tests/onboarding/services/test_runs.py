"""What people do to a run: hold, resume, cancel, replay, skip, unlink."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.engine import claiming
from onboarding.enums import Category, Status, StepState
from onboarding.models import Attempt, MatchChoice, ObjectMapping, OnboardingTransaction
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import CREATED, created

pytestmark = pytest.mark.usefixtures("connections")
BY = {"actor": "kim", "reason": "because"}


def fresh(run: OnboardingTransaction) -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(pk=run.pk)


def verdicts(run: OnboardingTransaction, key: str) -> dict[str, str]:
    return {effect.step: effect.verdict for effect in services.replay_preview(run.pk, key)}


# --- Hold and resume ---------------------------------------------------------------------------------------------------


def test_nothing_begins_while_a_run_is_on_hold(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    services.hold(run.pk, **BY)
    drain()
    assert created(sandbox) == {}
    assert (fresh(run).held_by, fresh(run).hold_reason) == ("kim", "because")
    services.resume(run.pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED


def test_what_is_under_way_ends_and_is_kept(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    from onboarding.engine.execution import perform
    from onboarding.engine.recording import record

    run = accept()
    claim = claiming.claim(step_of(run, "crm.account").pk)
    assert claim
    services.hold(run.pk, **BY)
    assert record(claim, perform(claim), inline=True) is None
    assert step_of(run, "crm.account").state == StepState.SUCCEEDED
    drain()
    assert created(sandbox) == {"companies": 1}
    services.resume(run.pk, actor="kim")
    drain()
    assert created(sandbox) == CREATED


def test_held_run_at_risk_opens_a_ticket(accept: Accept, drain: Drain) -> None:
    run = accept()
    services.hold(run.pk, **BY)
    clock.shift(timedelta(minutes=16))
    drain()
    assert Ticket.objects.get(transaction=run).category == Category.STALLED


# --- Cancel ------------------------------------------------------------------------------------------------------------


def test_cancelled_run_stops_and_closes_its_tickets(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("asana", "error_before", method="POST", status=422)
    run = accept()
    drain()
    assert ticket_of(run, "delivery.project")
    services.cancel(run.pk, **BY)
    drain()
    assert status_of(run) == Status.CANCELLED
    assert not Ticket.objects.filter(transaction=run, resolved_at=None).exists()
    assert step_of(run, "delivery.project").state == StepState.SKIPPED
    assert list(audit.broken_links()) == []


def test_result_after_a_cancel_is_recorded_as_evidence(accept: Accept, drain: Drain) -> None:
    from onboarding.engine.execution import perform
    from onboarding.engine.recording import record

    run = accept()
    claim = claiming.claim(step_of(run, "crm.account").pk)
    assert claim
    outcome = perform(claim)
    services.cancel(run.pk, **BY)
    assert record(claim, outcome, inline=True) is None
    late = Attempt.objects.get(step=claim.step)
    assert (late.outcome, late.message.split()[0]) == ("late", "created")
    drain()
    assert status_of(run) == Status.CANCELLED


# --- Replay ------------------------------------------------------------------------------------------------------------


def test_replay_creates_no_duplicates(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    run = accept()
    drain()
    ids = set(ObjectMapping.objects.values_list("external_id", flat=True))
    assert verdicts(run, "crm.account") == dict.fromkeys(
        ["crm.account", "crm.contact", "delivery.project", "support.organization"], "skip"
    )
    services.replay(run.pk, "crm.account", actor="kim")
    assert status_of(run) == Status.PROVISIONING
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED
    assert set(ObjectMapping.objects.values_list("external_id", flat=True)) == ids
    settled()


def test_a_replay_begins_at_its_step_and_leaves_the_others(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    before = step_of(run, "crm.contact").token
    services.replay(run.pk, "delivery.project", actor="kim")
    drain()
    assert (step_of(run, "crm.contact").token, step_of(run, "delivery.project").token > 1) == (before, True)


def test_replay_recreates_deleted_objects(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    import requests

    run = accept()
    drain()
    gone = ObjectMapping.objects.get(kind="organization").external_id
    headers = {"Authorization": "Bearer sandbox-zendesk-token", "Content-Type": "application/json"}
    url = f"{sandbox.base_url}/zendesk/api/v2/organizations/{gone}"
    requests.delete(url, headers=headers, timeout=10).raise_for_status()
    services.replay(run.pk, "support.organization", actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert ObjectMapping.objects.get(kind="organization").external_id != gone


def test_preview_shows_indeterminate_creates(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("asana", "error_before", method="POST", status=422, count=1)
    run = accept()
    drain()
    assert verdicts(run, "delivery.project") == {"delivery.project": "look-up"}
    services.replay(run.pk, "delivery.project", actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE


def test_running_step_is_not_replayed(accept: Accept) -> None:
    run = accept()
    assert claiming.claim(step_of(run, "crm.account").pk)
    with pytest.raises(Refused, match="in progress right now"):
        services.replay(run.pk, "crm.account", actor="kim")
    with pytest.raises(Refused, match="no step nonsense"):
        services.replay_preview(run.pk, "nonsense")


# --- Skip --------------------------------------------------------------------------------------------------------------


def test_a_skipped_step_is_left_out_and_the_run_goes_on(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", "error_before", method="POST", status=422)
    run = accept()
    drain()
    services.skip_step(step_of(run, "support.organization").pk, **BY)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.filter(resolved_at=None).exists()
    assert step_of(run, "support.organization").skip_reason == "because"
    services.replay(run.pk, "crm.account", actor="kim")
    drain()
    assert step_of(run, "support.organization").state == StepState.SKIPPED


def test_step_with_dependents_is_not_skipped_alone(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", status=400)
    run = accept()
    drain()
    with pytest.raises(Refused, match=r"crm\.contact, delivery\.project cannot do without it"):
        services.skip_step(step_of(run, "crm.account").pk, **BY)


def test_dependents_are_skipped_along(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/companies/*", status=400)
    run = accept()
    drain()
    assert [effect.step for effect in services.skip_preview(step_of(run, "crm.account").pk)] == [
        "crm.account",
        "crm.contact",
        "delivery.project",
    ]
    services.skip_step(step_of(run, "crm.account").pk, **BY, with_dependents=True)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == {"organizations": 1}
    assert "Needs crm.account" in step_of(run, "delivery.project").skip_reason


@pytest.mark.parametrize("answer", ["link", "create", "skip"])
def test_indeterminate_outcome_is_linked_created_or_skipped(
    accept: Accept, drain: Drain, sandbox: SandboxControl, answer: str
) -> None:
    """Asana lists nothing and may have made the project: a person says what is so."""
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    run = accept()
    drain()
    step = step_of(run, "delivery.project")
    assert step.category == Category.UNKNOWN_OUTCOME
    (made,) = sandbox.objects("asana", "projects")
    if answer == "skip":
        services.skip_step(step.pk, **BY)
    else:
        services.choose_match(step.pk, external_id=made["id"] if answer == "link" else "", actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert len(sandbox.objects("asana", "projects")) == (2 if answer == "create" else 1)
    assert ObjectMapping.objects.filter(kind="project").exists() == (answer != "skip")


# --- Unlink ------------------------------------------------------------------------------------------------------------


def test_a_wrong_match_is_never_linked_again(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    (wrong,) = sandbox.seed("hubspot", "companies", [{"name": "Somebody else", "domain": "acme-logistics.com"}])
    run = accept()
    drain()
    assert ObjectMapping.objects.get(kind="company").external_id == wrong
    services.unlink(step_of(run, "crm.account").pk, **BY)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    right = ObjectMapping.objects.get(kind="company")
    assert (right.external_id != wrong, right.created_by_us) == (True, True)
    # Nor by the customer's next run.
    again = accept(onboarding_transaction_id="pay_2")
    drain()
    assert ObjectMapping.objects.get(transaction=again, kind="company").external_id == right.external_id


def test_an_unlinked_choice_is_no_choice_any_more(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    pair = [{"name": name, "domain": "acme-logistics.com"} for name in ("One", "Two")]
    one, two = sandbox.seed("hubspot", "companies", pair)
    run = accept()
    drain()
    services.choose_match(step_of(run, "crm.account").pk, external_id=one, actor="kim")
    drain()
    services.unlink(step_of(run, "crm.account").pk, **BY)
    drain()
    # Nor is the other one taken unasked.
    asked = ticket_of(run, "crm.account")
    assert (asked.category, [found["external_id"] for found in asked.candidates]) == (Category.AMBIGUOUS_MATCH, [two])
    assert not MatchChoice.objects.exists()
    services.choose_match(step_of(run, "crm.account").pk, external_id=two, actor="kim")
    drain()
    assert ObjectMapping.objects.get(kind="company").external_id == two


def test_what_the_run_created_is_not_unlinked(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    with pytest.raises(Refused, match="created that object"):
        services.unlink(step_of(run, "crm.account").pk, **BY)


# --- What makes no sense -----------------------------------------------------------------------------------------------

ON_COMPLETE: dict[str, Callable[[OnboardingTransaction], Any]] = {
    "hold": lambda run: services.hold(run.pk, **BY),
    "resume": lambda run: services.resume(run.pk, actor="kim"),
    "cancel": lambda run: services.cancel(run.pk, **BY),
    "skip": lambda run: services.skip_step(step_of(run, "crm.contact").pk, **BY),
    "resend": lambda run: services.resend(step_of(run, "crm.contact").pk, actor="kim"),
    "retry": lambda run: services.retry_step(step_of(run, "crm.contact").pk, actor="kim"),
}


@pytest.mark.parametrize("name", ON_COMPLETE)
def test_a_complete_run_refuses(accept: Accept, drain: Drain, name: str) -> None:
    run = accept()
    drain()
    with pytest.raises(Refused):
        ON_COMPLETE[name](run)
    assert status_of(run) == Status.COMPLETE


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 501])
def test_a_reason_is_needed(accept: Accept, reason: str) -> None:
    run = accept(**customer("other"))
    with pytest.raises(Refused, match="Give a reason"):
        services.hold(run.pk, actor="kim", reason=reason)
    assert fresh(run).held_at is None
