"""Actions that leave the cause alone: who works on a ticket, when, and what they noted."""

from datetime import timedelta

from django.contrib.auth.models import User

from exceptions_queue.models import Ticket, TicketNote
from exceptions_queue.notifications import alerts
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import forms
from exceptions_queue.tickets.declaration import Action, Data, DoneMessage, Permission, Place, Shown
from exceptions_queue.tickets.forms import LONGEST_SNOOZE, MAX_NOTE
from integrations import clock
from onboarding import audit, services
from onboarding.engine.locks import locked_run_if_any, retried
from onboarding.models import OnboardingTransaction
from onboarding.payload.gate import Problem
from onboarding.queues import QUEUES
from onboarding.services import Outdated, Refused

ALL_GROUPS = frozenset(QUEUES)
NOTE_TICKET = Permission("note_ticket", "Can write notes", ALL_GROUPS)


def assigned_as(ticket: Ticket) -> str:
    return f"{ticket.queue}:{ticket.owner_id or ''}"


@retried
def assign(ticket: Ticket, actor: Actor, data: Data) -> None:
    """Give the ticket to a queue, a person or both. What is not named stays; an empty ``owner`` means nobody in particular.

    An owner who has left (an inactive user) does not stay.
    """
    queue = data.get("queue") or ticket.queue
    if queue not in QUEUES:
        raise Refused(f"There is no queue {queue}.", [Problem("queue", "does not exist")])
    user = ticket.owner if ticket.owner and ticket.owner.is_active else None
    if "owner" in data:
        name = data["owner"]
        user = User.objects.filter(username=name, is_active=True).first() if name else None
        if name and user is None:
            raise Refused(f"There is no active user {name}.", [Problem("owner", "does not exist")])
    with locked_run_if_any(ticket.transaction_id) as run:
        fresh = Ticket.objects.select_for_update(no_key=True).get(pk=ticket.pk)
        if data.get("shown_as") not in (None, assigned_as(fresh)):
            raise Outdated("somebody assigned it since you opened it.")
        fresh.queue, fresh.owner = queue, user
        fresh.save()
        alerts.queue_late(fresh)
        record(
            run, "exceptions.ticket.assigned", actor, {"ticket": ticket.pk, "queue": queue, "owner": str(user or "")}
        )


@retried
def write_note(ticket: Ticket, actor: Actor, data: Data) -> None:
    text = given_text(data, "Give a text of")
    with locked_run_if_any(ticket.transaction_id) as run:
        add_note(ticket, actor, run, text)


def given_text(data: Data, ask: str) -> str:
    text = data.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_NOTE or "\x00" in text:
        raise Refused(f"{ask} 1 to {MAX_NOTE} characters.", [Problem("text", "must be a text")])
    return text.strip()


def add_note(ticket: Ticket, actor: Actor, run: OnboardingTransaction | None, text: str) -> None:
    """The caller holds the run locked, where there is one."""
    note = TicketNote.objects.create(ticket=ticket, author=actor.name, text=text, at=clock.now())
    record(run, "exceptions.ticket.noted", actor, {"ticket": ticket.pk, "note": note.pk})


@retried
def snooze(ticket: Ticket, actor: Actor, data: Data) -> None:
    """Snooze the ticket for some minutes, at the longest until its clock is due; 0 ends the snooze."""
    minutes = data.get("minutes")
    if isinstance(minutes, bool) or not isinstance(minutes, int) or not 0 <= minutes <= LONGEST_SNOOZE:
        raise Refused(f"Give 0 to {LONGEST_SNOOZE} minutes.", [Problem("minutes", f"must be 0 to {LONGEST_SNOOZE}")])
    reason = services.given_reason(str(data.get("reason") or "")) if minutes else ""
    with locked_run_if_any(ticket.transaction_id) as run:
        fresh = Ticket.objects.select_for_update(no_key=True).get(pk=ticket.pk)
        if not fresh.is_open:
            raise Refused("This ticket is resolved already.")
        now = clock.now()
        fresh.unsnooze()
        if minutes:
            until = now + timedelta(minutes=minutes)
            if fresh.sla_due and now < fresh.sla_due < until:
                until = fresh.sla_due
            fresh.snoozed_until, fresh.snoozed_by, fresh.snooze_reason = until, actor.name[:150], reason
        fresh.save()
        name = "exceptions.ticket.snoozed" if minutes else "exceptions.ticket.woken"
        record(run, name, actor, {"ticket": ticket.pk, **({"minutes": minutes} if minutes else {})})


def record(run: OnboardingTransaction | None, name: str, actor: Actor, facts: Data) -> None:
    """An audit entry of the run, or of no run."""
    if run:
        audit.record(run, name, actor=actor.name, data=facts)
    else:
        audit.record_global(name, actor=actor.name, data=facts)


def _assigned(ticket: Ticket) -> DoneMessage:
    owner = (ticket.owner.get_full_name() or ticket.owner.get_username()) if ticket.owner else ""
    return DoneMessage(f"Assigned to {', '.join(filter(None, (ticket.get_queue_display(), owner)))}.")


def _snoozed(ticket: Ticket) -> DoneMessage:
    if ticket.snoozed_until is None:
        return DoneMessage("The snooze is ended.")
    return DoneMessage(f"Snoozed until {ticket.snoozed_until:%H:%M} UTC.")


ASSIGN = Action(
    "assign",
    "Assign",
    Permission("assign_ticket", "Can assign", frozenset({"revenue-operations", "leads"})),
    assign,
    form=forms.ASSIGN,
    summary="Assign to a queue or a person",
    example={"queue": "sales-ops", "owner": "kim"},
    place=Place.SIDE,
    shown=(Shown("shown_as", lambda ticket, _: assigned_as(ticket)),),
    initial=lambda ticket: {"queue": ticket.queue, "owner": ticket.owner.username if ticket.owner else ""},
    done_message=_assigned,
)
SNOOZE = Action(
    "snooze",
    "Snooze",
    Permission("snooze_ticket", "Can snooze", ALL_GROUPS),
    snooze,
    form=forms.SNOOZE,
    summary="Snooze or unsnooze",
    example={"minutes": 60, "reason": "The customer answers after lunch."},
    place=Place.SIDE,
    direct={"minutes": 0},
    done_message=_snoozed,
)
NOTE = Action(
    "note",
    "Add a note",
    NOTE_TICKET,
    write_note,
    form=forms.NOTE,
    summary="Write a note",
    example={"text": "Asked the customer for their domain."},
    when_resolved=True,
    place=Place.SIDE,
    done_message=lambda _: DoneMessage("The note is saved."),
)
HANDLING = (ASSIGN, SNOOZE, NOTE)
