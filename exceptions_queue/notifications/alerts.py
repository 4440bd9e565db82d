"""Alerts: an outbox, decided from the open state at the moment of sending."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.mail import EmailMessage
from django.db.models import Q

from exceptions_queue.models import Alert, AlertState, Milestone, Queue, SlaClock, Ticket, steps_towards
from exceptions_queue.sla import business_calendar
from exceptions_queue.tickets import catalogue
from integrations import clock
from integrations.domains import ascii_address
from integrations.http.redaction import redact_text
from onboarding.queues import QUEUES

SENDING_TAKES = timedelta(minutes=5)
TRIES = 5
log = logging.getLogger(__name__)


def queue_at_risk(sla_clock: SlaClock, ticket: Ticket) -> None:
    """One mail for each person who owns something that holds this run up."""
    now = clock.now()
    for recipient in recipients(ticket):
        Alert.objects.get_or_create(
            clock=sla_clock,
            level="at-risk",
            channel="email",
            recipient=recipient,
            defaults={"ticket": ticket, "created_at": now, "due_at": now},
        )


def queue_late(ticket: Ticket) -> None:
    """A ticket that opens, or changes hands, when its run's clock is at risk already: its owner learns of it too."""
    if ticket.transaction is None:
        return
    for late in ticket.transaction.clocks.filter(at_risk_seen=True, ended_at=None):
        if late.change_request_id != ticket.change_request_id or (late.approval_id and ticket.step is None):
            continue
        if ticket.step is None or steps_towards(late).filter(key=ticket.step.key).exists():
            queue_at_risk(late, ticket)


def recipients(ticket: Ticket) -> list[str]:
    """The owner's address; without an owner the queue's, else its members', else the leads'."""
    if ticket.owner and ticket.owner.email:
        return [ticket.owner.email]
    queue = Queue.objects.filter(slug=ticket.queue).exclude(email="").first()
    if queue:
        return [queue.email]
    for name in (ticket.queue, "leads"):
        if found := _members(name):
            return found
    log.error("Ticket %s is at risk and nobody in %s or leads has an address.", ticket.pk, ticket.queue)
    return []


def _members(group: str) -> list[str]:
    members = User.objects.filter(groups__in=Group.objects.filter(name=group), is_active=True).exclude(email="")
    return sorted(set(members.values_list("email", flat=True)))


def deliver(within: float = 20.0) -> int:
    """Send what is due; returns how many mails went out. A mail is claimed before it is sent, so two schedulers send it once.

    A slow mail server costs ``within`` seconds and one mail's time-out at most; the rest stays due.
    """
    sent, ends = 0, time.monotonic() + within
    for pk in list(Alert.objects.filter(due_at__lte=clock.now()).values_list("pk", flat=True)[:100]):
        if time.monotonic() > ends:
            break
        sent += _deliver(pk)
    return sent


def _deliver(pk: int) -> bool:
    now = clock.now()
    claimable = Alert.objects.filter(Q(state=AlertState.PENDING) | Q(state=AlertState.SENDING), pk=pk, due_at__lte=now)
    before = Alert.objects.get(pk=pk)
    if not claimable.update(state=AlertState.SENDING, due_at=now + SENDING_TAKES, attempts=before.attempts + 1):
        return False
    alert = Alert.objects.select_related("clock__transaction", "ticket__step__connection").get(pk=pk)
    if not _still_needed(alert):
        _end(alert, AlertState.NOT_NEEDED)
        return False
    try:
        _message(alert, perhaps_again=before.state == AlertState.SENDING).send()
    except Exception as error:  # noqa: BLE001  (mail servers fail in many ways; the row says so and is tried again)
        alert.error = redact_text(f"{type(error).__name__}: {error}", 300)
        log.warning("Alert %s: %s", pk, alert.error)
        if alert.attempts >= TRIES:
            _end(alert, AlertState.FAILED)
        else:
            alert.state, alert.due_at = AlertState.PENDING, now + timedelta(minutes=1)
            alert.save()
        return False
    _end(alert, AlertState.SENT)
    return True


def _still_needed(alert: Alert) -> bool:
    return alert.clock.ended_at is None and (alert.ticket is None or alert.ticket.is_open)


def _end(alert: Alert, state: AlertState) -> None:
    alert.state, alert.due_at = state, None
    alert.sent_at = clock.now() if state == AlertState.SENT else None
    alert.save()


def _message(alert: Alert, *, perhaps_again: bool) -> EmailMessage:
    run, ticket = alert.clock.transaction, alert.ticket
    name = run.customer_name or run.onboarding_transaction_id
    subject, first = _MESSAGES[Milestone(alert.clock.milestone)](alert.clock, name)
    lines = [
        first,
        "",
        f"Cause: {ticket.message if ticket else 'unknown'}",
        *([f"What to do: {catalogue.story(ticket).todo}"] if ticket else []),
        f"Owned by: {_owned_by(ticket)}",
        "",
        ticket.url if ticket else settings.PUBLIC_URL,
    ]
    if perhaps_again:
        lines += ["", "You may have received this mail before: sending it was interrupted."]
    return EmailMessage(
        subject=f"At risk: {subject}",
        body="\n".join(lines),
        to=[ascii_address(alert.recipient)],
        from_email=ascii_address(settings.DEFAULT_FROM_EMAIL),
    )


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
}
