"""What an alert says, in plain text: the same by mail and in chat."""

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from exceptions_queue.models import Alert, AlertLevel, Milestone, SlaClock, Ticket
from exceptions_queue.sla import business_calendar
from exceptions_queue.tickets import catalogue
from integrations import clock
from onboarding.queues import QUEUES

_LABELS = {AlertLevel.AT_RISK: "At risk", AlertLevel.BREACHED: "Late", AlertLevel.FAILED: "Stopped"}


@dataclass(frozen=True)
class AlertText:
    subject: str
    first: str
    """What happened, in one sentence."""
    facts: tuple[str, ...]
    url: str
    """Of the ticket; of the console where there is none."""


def text_of(alert: Alert) -> AlertText:
    run, ticket = alert.clock.transaction, alert.ticket
    name = run.customer_name or run.onboarding_transaction_id
    subject, first = _MESSAGES[Milestone(alert.clock.milestone)](alert.clock, name)
    facts = [
        f"Cause: {ticket.message if ticket else 'unknown'}",
        *([f"What to do: {catalogue.story(ticket).todo}"] if ticket else []),
        f"Owned by: {_owned_by(ticket)}",
    ]
    label = _LABELS[AlertLevel(alert.level)]
    return AlertText(f"{label}: {subject}", first, tuple(facts), ticket.url if ticket else settings.PUBLIC_URL)


def _owned_by(ticket: Ticket | None) -> str:
    if ticket is None:
        return "nobody"
    return (ticket.owner.get_full_name() or ticket.owner.get_username()) if ticket.owner else QUEUES[ticket.queue]


def _p1(p1: SlaClock, name: str) -> tuple[str, str]:
    """The subject, and what happened in one sentence."""
    minutes = int((p1.due_at - clock.now()).total_seconds() // 60)
    left = f"{minutes} minutes are left" if minutes >= 0 else f"it was due {-minutes} minutes ago"
    return (
        f"{name} is not provisioned yet",
        f"{name} paid at {p1.started_at:%Y-%m-%d %H:%M} UTC and is not provisioned yet; {left} of the {p1.target_minutes}.",
    )


def _p2(p2: SlaClock, name: str) -> tuple[str, str]:
    subject, due = f"{name} is not scheduled for kickoff yet", f"{p2.due_at:%Y-%m-%d %H:%M} UTC"
    left = f"it is due at {due}"
    if (now := clock.now()) >= p2.due_at:
        left = f"it was due at {due}"
    elif (calendar := business_calendar.configured()).digest == p2.calendar:
        # Under another calendar than the clock's own the business time left would be a guess.
        minutes = round(calendar.business_between(now, p2.due_at))
        left = (
            f"{_business_time(minutes)} of business time are left of {_business_time(p2.target_minutes)}, until {due}"
        )
    return (
        subject,
        f"{name} has been set up since {p2.started_at:%Y-%m-%d %H:%M} UTC and is not scheduled for kickoff yet; {left}.",
    )


def _invoice(sla_clock: SlaClock, name: str) -> tuple[str, str]:
    began, due = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (sla_clock.started_at, sla_clock.due_at))
    return (
        f"the order of {name} cannot be invoiced yet",
        f"{name} has been set up since {began} and its order at the ERP cannot be invoiced yet; it is due at {due}.",
    )


def _business_time(minutes: int) -> str:
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _change(sla_clock: SlaClock, name: str) -> tuple[str, str]:
    began, due = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (sla_clock.started_at, sla_clock.due_at))
    return (
        f"a change for {name} is not done yet",
        f"A change of {name}'s data was asked for at {began} and is not done yet; it is due at {due}.",
    )


def _approval(sla_clock: SlaClock, name: str) -> tuple[str, str]:
    began, due = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (sla_clock.started_at, sla_clock.due_at))
    return (
        f"an approval for {name} is not decided yet",
        f"An approval for {name} was asked for at {began} and is not decided yet; it is due at {due}.",
    )


_MESSAGES: dict[Milestone, Callable[[SlaClock, str], tuple[str, str]]] = {
    Milestone.P1: _p1,
    Milestone.P2: _p2,
    Milestone.CHANGE: _change,
    Milestone.APPROVAL: _approval,
    Milestone.INVOICE: _invoice,
}
