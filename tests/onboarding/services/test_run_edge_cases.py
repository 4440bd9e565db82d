"""Runs at their edges: cancelled or held in a worker's hands, replayed, unlinked, or fixed while something is under way."""

from datetime import timedelta
from typing import Any

import pytest
import requests
from django.test import Client
from django.urls import reverse

from exceptions_queue.models import ClockState, Milestone, SlaClock, Ticket
from exceptions_queue.sla import clocks as sla
from integrations import clock
from integrations.enums import Breaker
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, RunEventType, Status, StepState
from onboarding.models import ObjectMapping, OnboardingTransaction
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created
from tests.onboarding.playbooks.test_standard import USERS, kickoff_is_scheduled

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
BY = {"actor": "kim", "reason": "because"}
MINUTE = timedelta(minutes=1)


def open_tickets(run: OnboardingTransaction) -> list[str]:
    return [f"{t.step and t.step.key}: {t.category}" for t in Ticket.objects.filter(transaction=run, resolved_at=None)]


def in_hand(run: OnboardingTransaction, key: str) -> claiming.Claim:
    """Every step before ``key`` is done, and a worker holds ``key``."""
    for _ in range(60):
        step = step_of(run, key)
        if step.due_at and (claimed := claiming.claim(step.pk)):
            return claimed
        for other in run.steps.exclude(due_at=None).exclude(key=key):
            if claimed := claiming.claim(other.pk):
                record(claimed, engine.perform(claimed), inline=False)
        clock.shift(timedelta(seconds=1))
    raise AssertionError(shown(run))


# --- Turns that nobody gives back --------------------------------------------------------------------------------------


def test_cancelling_a_running_step_releases_its_reservation(accept: Accept, drain: Drain) -> None:
    first = accept()
    claim = claiming.claim(step_of(first, "crm.account").pk)
    assert claim
    services.cancel(first.pk, **BY)
    record(claim, engine.perform(claim), inline=True)
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(second) == Status.READY_FOR_KICKOFF, shown(second)


def test_skipping_a_step_releases_its_reservation(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", "error_after", method="POST", path="*/organizations*", count=1)
    first = accept()
    in_hand_claim = in_hand(first, "support.organization")
    record(in_hand_claim, engine.perform(in_hand_claim), inline=False)
    assert step_of(first, "support.organization").state == StepState.WAITING
    services.skip_step(step_of(first, "support.organization").pk, **BY, with_dependents=True)
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(second) == Status.READY_FOR_KICKOFF, shown(second)


# --- The kickoff that is awaited ---------------------------------------------------------------------------------------


def test_a_ticket_about_the_kickoff_closes_once_its_cause_is_gone(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    claim = in_hand(run, "kickoff.task")
    sandbox.add_fault("asana", "error_before", method="POST", path="*/tasks", status=400, count=1)
    record(claim, engine.perform(claim), inline=False)
    assert ticket_of(run, "kickoff.task").category == Category.VALIDATION_ERROR
    services.retry_step(step_of(run, "kickoff.task").pk, actor="kim")
    drain()
    assert ObjectMapping.objects.filter(step__key="kickoff.task").exists()
    step = step_of(run, "kickoff.task")
    assert (step.state, open_tickets(run)) == (StepState.WAITING, [])


def test_two_transient_failures_an_hour_apart_open_no_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settings: Any
) -> None:
    run = accept()
    drain()
    for _ in range(2):
        sandbox.add_fault("asana", "error_before", method="GET", path="*/tasks/*", status=503, count=1)
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        drain()
        clock.shift(timedelta(hours=1))
        drain()
    assert (open_tickets(run), step_of(run, "kickoff.task").attempts) == ([], 0)


def test_the_kickoffs_event_counts_while_delivery_is_parked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, asana: Connection, settings: Any
) -> None:
    run = accept()
    drain()
    sandbox.set_tokens("asana", ["another"])
    clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
    drain()
    assert Connection.objects.get(pk=asana.pk).breaker == Breaker.OPEN
    kickoff_is_scheduled(run)
    drain()
    assert step_of(run, "kickoff.task").state == StepState.SUCCEEDED, shown(run)


def test_the_kickoff_counts_from_when_it_was_fixed(accept: Accept, drain: Drain) -> None:
    """Its event was delivered late; ``signals.kickoff_scheduled``: ``at`` is when that was fixed."""
    run = accept()
    drain()
    fixed = clock.now() + timedelta(minutes=5)
    clock.shift(timedelta(days=7))
    services.receive_event(
        run.pk, kind=RunEventType.KICKOFF_SCHEDULED, event_id="evt", occurred_at=fixed, data={}, actor="tests"
    )
    assert SlaClock.objects.get(transaction=run, milestone=Milestone.P2).state == ClockState.MET


def test_nobody_is_asked_to_schedule_a_kickoff_that_was_skipped(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("mail", "reset_after", count=1)
    run = accept()
    drain()
    services.skip_step(step_of(run, "kickoff.task").pk, **BY)
    drain()
    clock.shift(timedelta(days=7))
    sla.tick()
    assert open_tickets(run) == ["welcome.mail: unknown-outcome"]


# --- Items -------------------------------------------------------------------------------------------------------------


def test_user_added_before_the_current_one_is_created(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(users=USERS)
    claim = in_hand(run, "support.users")  # the contact
    record(claim, engine.perform(claim), inline=False)
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/users/create_or_update", status=422, count=1)
    drain()
    step = step_of(run, "support.users")
    assert step.category == Category.VALIDATION_ERROR
    added = {"name": "Ann Poe", "email": "ann@acme-logistics.com", "role": "user"}
    services.fix(run.pk, {"users": [added, USERS[0]]}, actor="kim", step_pk=step.pk)
    drain()
    assert step_of(run, "support.users").state == StepState.SUCCEEDED
    emails = {user["body"]["email"] for user in sandbox.objects("zendesk", "users")}
    assert added["email"] in emails


def test_a_replay_is_previewed_before_any_user_was_begun(
    accept: Accept, drain: Drain, sandbox: SandboxControl, api_key: Any, client: Client
) -> None:
    """The most usual ticket there is: the first step was refused."""
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/companies/*", status=400, count=1)
    run = accept()
    drain()
    ticket = ticket_of(run, "crm.account")
    bearer = {"Authorization": f"Bearer {api_key('operate')}"}
    answer = client.get(f"/api/v1/exceptions/{ticket.pk}/preview/?action=replay", headers=bearer)
    assert answer.status_code == 200
    assert "support.users" in [effect["step"] for effect in answer.json()]


def test_unlinking_a_user_who_is_no_longer_listed(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("zendesk", "users", [{"name": "Sam", "email": "sam@acme-logistics.com"}])
    run = accept(users=USERS)
    drain()
    step = step_of(run, "support.users")
    if step.category == Category.AMBIGUOUS_MATCH:
        services.choose_match(step.pk, external_id=step.candidates[0]["external_id"], actor="kim")
        drain()
    mapping = ObjectMapping.objects.get(step=step, created_by_us=False)
    other = {"name": "Ann Poe", "email": "ann@acme-logistics.com", "role": "user"}
    services.fix(run.pk, {"users": [other]}, actor="kim")
    services.unlink(step.pk, **BY, item=mapping.item)
    assert not ObjectMapping.objects.filter(pk=mapping.pk).exists()


def test_choice_is_independent_of_other_runs_payloads(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    """The other run's user in question was taken out of its payload, and its step not yet tried again."""
    (org,) = sandbox.seed("zendesk", "organizations", [{"name": "Other Co"}])
    for name in ("sam", "eve"):
        sandbox.seed(
            "zendesk", "users", [{"name": name, "email": f"{name}@acme-logistics.com", "organization_id": int(org)}]
        )
    first = accept(users=USERS)
    drain()
    eve = {"name": "Eve", "email": "eve@acme-logistics.com", "role": ""}
    second = accept(onboarding_transaction_id="pay_2", users=[eve])
    drain()
    assert step_of(first, "support.users").category == Category.AMBIGUOUS_MATCH
    step = step_of(second, "support.users")
    assert step.category == Category.AMBIGUOUS_MATCH, shown(second)
    other = {"name": "Ann Poe", "email": "ann@acme-logistics.com", "role": "user"}
    services.fix(first.pk, {"users": [other]}, actor="kim")
    services.choose_match(step.pk, external_id=step.candidates[0]["external_id"], actor="kim")


def test_user_added_during_the_last_item_is_created(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    claim = in_hand(run, "support.users")  # the contact, the only one
    outcome = engine.perform(claim)
    services.fix(run.pk, {"users": [USERS[0]]}, actor="kim")
    record(claim, outcome, inline=False)
    drain()
    emails = {user["body"]["email"] for user in sandbox.objects("zendesk", "users")}
    assert "sam@acme-logistics.com" in emails, shown(run)


# --- Again -------------------------------------------------------------------------------------------------------------


def test_confirmed_welcome_can_be_sent_again(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("mail", "reset_after", count=1)
    run = accept()
    drain()
    (sent,) = sandbox.objects("mail")
    step = step_of(run, "welcome.mail")
    services.choose_match(step.pk, external_id=sent["body"]["message_id"].strip("<>"), actor="kim")
    drain()
    assert step_of(run, "welcome.mail").state == StepState.SUCCEEDED
    services.resend(step.pk, actor="kim")
    drain()
    assert created(sandbox)["messages"] == 2


def test_a_step_whose_needs_were_skipped_is_not_replayed(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("asana", "error_before", method="POST", path="*/instantiateProject", status=422, count=1)
    run = accept()
    drain()
    services.skip_step(step_of(run, "delivery.project").pk, **BY, with_dependents=True)
    drain()
    assert step_of(run, "kickoff.task").state == StepState.SKIPPED
    with pytest.raises(Refused):
        services.replay(run.pk, "kickoff.task", actor="kim")
    drain()
    assert open_tickets(run) == []


def test_the_brief_does_not_stay_at_the_wrong_customers_account(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    (wrong,) = sandbox.seed("hubspot", "companies", [{"name": "Somebody else", "domain": "acme-logistics.com"}])
    run = accept()
    drain()
    services.unlink(step_of(run, "crm.account").pk, **BY)
    drain()
    right = ObjectMapping.objects.get(kind="company").external_id
    assert right != wrong
    assert step_of(run, "crm.note").state == StepState.SUCCEEDED
    note = ObjectMapping.objects.get(kind="note").external_id
    url = f"{sandbox.base_url}/hubspot/crm/v4/objects/notes/{note}/associations/companies"
    answer = requests.get(url, headers={"Authorization": "Bearer sandbox-hubspot-token"}, timeout=10)
    answer.raise_for_status()
    tied = {str(each["toObjectId"]) for each in answer.json()["results"]}
    assert right in tied, tied


def test_unlinked_match_is_questioned_in_other_runs_of_the_customer(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    (wrong,) = sandbox.seed("hubspot", "companies", [{"name": "Somebody else", "domain": "acme-logistics.com"}])
    first = accept()
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    claim = claiming.claim(step_of(second, "crm.account").pk)
    assert claim
    services.unlink(step_of(first, "crm.account").pk, **BY)
    record(claim, engine.perform(claim), inline=True)
    drain()
    of_account = ObjectMapping.objects.filter(kind="company")
    assert wrong not in of_account.values_list("external_id", flat=True)


def test_a_match_rejected_before_is_linked_where_a_person_chooses_it_after_all(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    pair = [{"name": name, "domain": "acme-logistics.com"} for name in ("One", "Two")]
    one, _ = sandbox.seed("hubspot", "companies", pair)
    run = accept()
    drain()
    for _ in range(2):
        services.choose_match(step_of(run, "crm.account").pk, external_id=one, actor="kim")
        drain()
        assert ObjectMapping.objects.get(kind="company").external_id == one
        services.unlink(step_of(run, "crm.account").pk, **BY)
        drain()


def test_replay_does_not_wait_for_a_lost_worker(accept: Accept, drain: Drain) -> None:
    run = accept()
    assert claiming.claim(step_of(run, "crm.account").pk)
    services.hold(run.pk, **BY)
    with pytest.raises(Refused, match="in progress"):
        services.replay(run.pk, "crm.account", actor="kim")
    clock.shift(timedelta(minutes=10))
    services.replay(run.pk, "crm.account", actor="kim")
    services.resume(run.pk, actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)


def test_unlink_does_not_resolve_an_indeterminate_outcome(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    """A project that a person linked vanished; making it anew may have worked: that stays unknown."""
    sandbox.add_fault("asana", "error_before", method="POST", path="*/instantiateProject", status=422, count=1)
    run = accept()
    drain()
    (linked,) = sandbox.seed("asana", "projects", [{"name": "Made by hand"}])
    step = step_of(run, "delivery.project")
    services.choose_match(step.pk, external_id=linked, actor="kim")
    drain()
    assert ObjectMapping.objects.get(step=step).external_id == linked
    requests.delete(
        f"{sandbox.base_url}/asana/api/1.0/projects/{linked}",
        headers={"Authorization": "Bearer sandbox-asana-token"},
        timeout=10,
    ).raise_for_status()
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    services.replay(run.pk, "delivery.project", actor="kim")
    drain()
    assert step_of(run, "delivery.project").category == Category.UNKNOWN_OUTCOME, shown(run)
    services.unlink(step.pk, **BY)
    drain()
    assert created(sandbox)["projects"] == 1


# --- The ticket's page -------------------------------------------------------------------------------------------------


def test_the_page_of_the_first_steps_ticket_opens(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any, client: Client
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/companies/*", status=400, count=1)
    run = accept()
    drain()
    client.force_login(people["admin"])
    assert client.get(reverse("ticket", args=[ticket_of(run, "crm.account").pk]), follow=True).status_code == 200


def test_the_page_of_a_cancelled_runs_ticket_opens(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any, client: Client
) -> None:
    run = accept()
    drain()
    sandbox.add_fault("hubspot", "error_before", method="PATCH", path="*/deals/*", status=404)
    services.cancel(run.pk, **BY)
    drain()
    client.force_login(people["admin"])
    assert client.get(reverse("ticket", args=[ticket_of(run, "crm.deal-status").pk]), follow=True).status_code == 200


def test_ticket_page_opens_while_a_worker_runs_the_step(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any, client: Client
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/companies/*", status=400, count=1)
    run = accept()
    drain()
    ticket = ticket_of(run, "crm.account")
    services.retry_step(step_of(run, "crm.account").pk, actor="kim")
    assert claiming.claim(step_of(run, "crm.account").pk)
    client.force_login(people["admin"])
    assert client.get(reverse("ticket", args=[ticket.pk]), follow=True).status_code == 200
