"""Alerts: an outbox, decided from the open state at the moment of sending."""

import logging
import time
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.mail import EmailMessage
from django.db.models import Q

from exceptions_queue.models import Alert, AlertChannel, AlertLevel, AlertState, Queue, SlaClock, Ticket, steps_towards
from exceptions_queue.notifications import chat
from exceptions_queue.notifications.texts import text_of
from integrations import clock
from integrations.domains import ascii_address
from integrations.http.redaction import redact_text
from onboarding.enums import Topic

SENDING_TAKES = timedelta(minutes=5)
TRIES = 5
AGAIN = timedelta(minutes=1)
log = logging.getLogger(__name__)


def queue_at_risk(sla_clock: SlaClock, ticket: Ticket) -> None:
    """One mail for each person who owns something that holds this run up, and one message for each chat."""
    for recipient in recipients(ticket):
        _queue(sla_clock, ticket, AlertLevel.AT_RISK, AlertChannel.EMAIL, recipient)
    for slug in chat.slugs():
        _queue(sla_clock, ticket, AlertLevel.AT_RISK, AlertChannel.CHAT, slug)


def queue_breach(sla_clock: SlaClock) -> None:
    """The team learns of it in chat. Its owner was mailed when the clock was at risk, and sees it in the queue."""
    about = sla_clock.alerts.order_by("-pk").first()
    for slug in chat.slugs():
        _queue(sla_clock, about.ticket if about else None, AlertLevel.BREACHED, AlertChannel.CHAT, slug)


def queue_failure(ticket: Ticket) -> None:
    """The team learns in chat at once that a step of a run has failed for good: of the first one while a clock runs."""
    slugs = chat.slugs() if ticket.step_id and ticket.topic != Topic.APPROVAL else []
    current = SlaClock.objects.filter(current_of=ticket.transaction_id, ended_at=None).first() if slugs else None
    if current is not None:
        for slug in slugs:
            _queue(current, ticket, AlertLevel.FAILED, AlertChannel.CHAT, slug)


def _queue(
    sla_clock: SlaClock, ticket: Ticket | None, level: AlertLevel, channel: AlertChannel, recipient: str
) -> None:
    now = clock.now()
    Alert.objects.get_or_create(
        clock=sla_clock,
        level=level,
        channel=channel,
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
    """Send what is due; returns how many alerts went out. One is claimed before it is sent, so two schedulers send it once.

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
    if before.channel == AlertChannel.CHAT and chat.is_stopped(before.recipient):
        claimable.filter(state=AlertState.PENDING).update(due_at=now + AGAIN)
        return False
    if not claimable.update(state=AlertState.SENDING, due_at=now + SENDING_TAKES, attempts=before.attempts + 1):
        return False
    alert = Alert.objects.select_related("clock__transaction", "ticket__step__connection").get(pk=pk)
    if not _still_needed(alert):
        _end(alert, AlertState.NOT_NEEDED)
        return False
    try:
        _send(alert, perhaps_again=before.state == AlertState.SENDING)
    except chat.Indeterminate as error:
        alert.error = redact_text(str(error), 300)
        _end(alert, AlertState.INDETERMINATE)
        return False
    except Exception as error:  # noqa: BLE001  (servers fail in many ways; the row says so and is tried again)
        alert.error = redact_text(f"{type(error).__name__}: {error}", 300)
        log.warning("Alert %s: %s", pk, alert.error)
        if alert.attempts >= TRIES:
            _end(alert, AlertState.FAILED)
        else:
            alert.state, alert.due_at = AlertState.PENDING, now + max(AGAIN, chat.wait_of(error))
            alert.save()
        return False
    _end(alert, AlertState.SENT)
    return True


def _send(alert: Alert, *, perhaps_again: bool) -> None:
    if alert.channel == AlertChannel.CHAT:
        chat.post(alert, perhaps_again=perhaps_again)
    else:
        _message(alert, perhaps_again=perhaps_again).send()


def _still_needed(alert: Alert) -> bool:
    return alert.clock.ended_at is None and (alert.ticket is None or alert.ticket.is_open)


def _end(alert: Alert, state: AlertState) -> None:
    alert.state, alert.due_at = state, None
    alert.sent_at = clock.now() if state == AlertState.SENT else None
    alert.save()


def _message(alert: Alert, *, perhaps_again: bool) -> EmailMessage:
    text = text_of(alert)
    lines = [text.first, "", *text.facts, "", text.url]
    if perhaps_again:
        lines += ["", "You may have received this mail before: sending it was interrupted."]
    return EmailMessage(
        subject=text.subject,
        body="\n".join(lines),
        to=[ascii_address(alert.recipient)],
        from_email=ascii_address(settings.DEFAULT_FROM_EMAIL),
    )
