"""The two answers to an approval. Whoever gave the data may reject it, and not approve it."""

from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import forms
from exceptions_queue.tickets.declaration import Action, Card, Data, DoneMessage, Permission, Shown
from exceptions_queue.tickets.handling import ALL_GROUPS
from onboarding import services
from onboarding.models import Approval

APPROVE_STEP = Permission("approve_step", "Can approve or reject a step", ALL_GROUPS)
"""Of a ticket in one's own queue: the playbook names the queue of an approval."""


def open_approval(ticket: Ticket) -> Approval | None:
    return ticket.step.approvals.open().first() if ticket.step else None


def _subject(ticket: Ticket) -> str:
    asked = open_approval(ticket)
    return asked.subject if asked else ""


def _decide(ticket: Ticket, actor: Actor, data: Data, *, approved: bool) -> None:
    assert ticket.step_id  # noqa: S101  (offered only then)
    services.decide_approval(
        ticket.step_id, approved=approved, actor=actor.name, reason=data["reason"], seen=data.get("seen")
    )


def approve(ticket: Ticket, actor: Actor, data: Data) -> None:
    _decide(ticket, actor, data, approved=True)


def reject(ticket: Ticket, actor: Actor, data: Data) -> None:
    _decide(ticket, actor, data, approved=False)


def _is_asked(ticket: Ticket) -> bool:
    return open_approval(ticket) is not None


SUBJECT = Shown("seen", lambda ticket, _: _subject(ticket))
APPROVE = Action(
    "approve",
    "Approve",
    APPROVE_STEP,
    approve,
    _is_asked,
    forms.DECISION,
    is_remedy=True,
    summary="Approve the step; not possible for whoever gave the data",
    example={"reason": "The discount is within what we grant for three years."},
    card=Card("Approve", "What waits for this continues at once.", "Approve", is_primary=True),
    shown=(SUBJECT,),
    done_message=lambda _: DoneMessage("Approved. What waited for it continues."),
)
REJECT = Action(
    "reject",
    "Reject",
    APPROVE_STEP,
    reject,
    _is_asked,
    forms.DECISION,
    is_remedy=True,
    summary="Reject the step, which stays blocked",
    example={"reason": "The terms need a signature first."},
    card=Card("Reject", "The onboarding stays blocked here until the data is changed and it is asked again.", "Reject"),
    shown=(SUBJECT,),
    done_message=lambda _: DoneMessage(
        "Rejected. The ticket stays open until it is decided what to do.", finished=False
    ),
)
APPROVING = (APPROVE, REJECT)
