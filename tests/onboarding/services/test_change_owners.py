"""A change request has an owner, a clock and an alert; what no step can write is a person's to do, who says so."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage

from exceptions_queue import scheduling
from exceptions_queue.models import (
    UNRESOLVED,
    ClockState,
    CrmOwner,
    Milestone,
    SlaClock,
    Ticket,
    covering,
    open_tickets,
)
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from exceptions_queue.tickets.catalogue import safe_action
from integrations import clock
from onboarding import services
from onboarding.enums import Category, SafeAction, Scope
from onboarding.intake import service
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.services.test_changes import writes
from tests.onboarding.services.test_changes_declarative import complete
from tests.onboarding.steps.test_declarative import begin, vendors

__all__ = ["begin", "complete", "vendors", "writes"]  # fixtures
KIM = Actor("kim", Scope.OPERATE)


@pytest.fixture
def asked(complete: OnboardingTransaction, people: Any) -> ChangeRequest:
    """A change of what no step writes; its field is sales operations' to know."""
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    return services.request_change(complete.pk, {"customer.legal_name": "Acme Freight"}, actor="kim")


def ticket_about(request: ChangeRequest) -> Ticket:
    return Ticket.objects.get(change_request=request, status__in=UNRESOLVED)


def clock_of(request: ChangeRequest) -> SlaClock:
    return SlaClock.objects.get(change_request=request)


def test_an_open_change_request_has_an_owned_ticket_and_a_clock(asked: ChangeRequest, people: Any) -> None:
    ticket, running = ticket_about(asked), clock_of(asked)
    assert (ticket.category, ticket.queue, ticket.owner) == (Category.APPROVAL_OVERDUE, "sales-ops", people["sales"])
    assert "Legal name" in ticket.message
    assert (running.milestone, running.state) == (Milestone.CHANGE, ClockState.RUNNING)
    assert ticket.sla_due == running.due_at > clock.now()
    assert {action.name for action in actions.available(ticket, KIM)} == {"assign", "note", "snooze"}
    run = asked.transaction
    assert ticket in open_tickets(run)
    assert not covering(run).exists(), "it holds nothing up"


def test_its_owner_is_alerted_before_the_business_day_is_over(
    asked: ChangeRequest, people: Any, mailoutbox: list[EmailMessage]
) -> None:
    clock.shift(clock_of(asked).at_risk_at - clock.now() + timedelta(seconds=1))
    scheduling.one_pass(publish=False)
    (mail,) = [each for each in mailoutbox if "a change for" in each.subject]
    assert mail.to == [people["sales"].email]
    assert "Legal name" in mail.body
    assert ticket_about(asked).url in mail.body
    clock.shift(clock_of(asked).due_at - clock.now() + timedelta(seconds=1))
    scheduling.one_pass(publish=False)
    assert clock_of(asked).state == ClockState.BREACHED


def test_a_rejected_change_closes_its_ticket_and_its_clock(asked: ChangeRequest) -> None:
    services.reject_change(asked.pk, actor="lee", reason="A mistake.")
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()
    assert clock_of(asked).state == ClockState.MET


def test_superseded_change_closes_its_ticket(complete: OnboardingTransaction) -> None:
    def tell(name: str) -> ChangeRequest:
        content = {**complete.payload, "customer": {**complete.payload["customer"], "legal_name": name}}
        request = service.accept(OnboardingPayload.model_validate(content).content(), actor="tests").change_request
        assert request
        return request

    first, second = tell("Acme Freight"), tell("Acme Cargo")
    assert not Ticket.objects.filter(change_request=first, status__in=UNRESOLVED).exists()
    assert ticket_about(second).retry_of is None
    assert [clock_of(each).state for each in (first, second)] == [ClockState.MET, ClockState.RUNNING]


def test_an_applied_change_that_no_step_writes_is_a_task_for_a_person(
    asked: ChangeRequest, drain: Drain, writes: Callable[[], list[str]]
) -> None:
    writes()
    services.apply_change(asked.pk, actor="lee")
    drain()
    ticket = ticket_about(asked)
    assert (ticket.category, safe_action(ticket), ticket.is_by_hand) == (
        Category.VALIDATION_ERROR,
        SafeAction.MANUAL_FIX,
        True,
    )
    for mapping in asked.transaction.mappings.filter(step__key__in=("workspace", "widget")):
        assert f"{mapping.kind} {mapping.external_id}" in ticket.message, "what is to be done where"
    assert "Change “Legal name” in Keyed" in ticket.message
    assert writes() == []
    assert clock_of(asked).state == ClockState.RUNNING, "it goes on until it is done"


def test_a_person_closes_it_with_a_note(asked: ChangeRequest, drain: Drain) -> None:
    services.apply_change(asked.pk, actor="lee")
    drain()
    ticket = ticket_about(asked)
    assert {action.name for action in actions.available(ticket, KIM)} == {"done", "assign", "note", "snooze"}
    with pytest.raises(Refused, match="Say what was done"):
        actions.perform(ticket.pk, "done", KIM, text=" ")
    closed = actions.perform(ticket.pk, "done", KIM, text="Renamed it in Keyed.")
    assert (closed.is_open, closed.resolution) == (False, "kim did it manually.")
    assert [(note.author, note.text) for note in closed.notes.all()] == [("kim", "Renamed it in Keyed.")]
    assert clock_of(asked).state == ClockState.MET
    assert asked.transaction.audit.filter(name="exceptions.ticket.resolved").exists()


def test_change_written_by_steps_leaves_no_manual_task(complete: OnboardingTransaction, drain: Drain) -> None:
    request = services.request_change(complete.pk, {"ownership.implementation_owner_id": "u_9"}, actor="kim")
    services.apply_change(request.pk, actor="lee")
    drain()
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()
    assert clock_of(request).state == ClockState.MET


def test_change_requests_from_before_there_were_tickets_get_an_owner(asked: ChangeRequest) -> None:
    Ticket.objects.all().delete()
    SlaClock.objects.filter(change_request=asked).delete()
    scheduling.one_pass(publish=False)
    assert ticket_about(asked).sla_due == clock_of(asked).due_at


def test_cancelling_a_run_closes_its_change_tickets(complete: OnboardingTransaction, asked: ChangeRequest) -> None:
    OnboardingTransaction.objects.filter(pk=complete.pk).update(status="ready-for-kickoff")
    services.cancel(complete.pk, actor="kim", reason="The customer withdrew")
    scheduling.one_pass(publish=False)
    assert not Ticket.objects.filter(change_request=asked, status__in=UNRESOLVED).exists()
