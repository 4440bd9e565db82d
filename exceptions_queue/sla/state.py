"""Where a clock stands now. ``at_risk`` is derived, and so is a breach that the sweep has not written down yet."""

from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, TextChoices

from exceptions_queue.models import ClockState, Milestone, SlaClock, Ticket
from onboarding.sla_targets import P1_AT_RISK


class SlaState(TextChoices):
    RUNNING = "running"
    AT_RISK = "at_risk"
    BREACHED = "breached"
    MET = "met"
    MET_LATE = "met_late"
    CANCELLED = "cancelled"


def clock_state(sla_clock: SlaClock | None, now: datetime) -> str | None:
    if sla_clock is None:
        return None
    if sla_clock.state != ClockState.RUNNING:
        return str(sla_clock.state)
    return _by_time(now, sla_clock.at_risk_at, sla_clock.due_at)


def ticket_state(ticket: Ticket, now: datetime) -> str | None:
    """The present clock of the ticket's run, or its change request's own; for a connection's that of the first run in need."""
    if ticket.change_request:
        return clock_state(getattr(ticket.change_request, "sla_clock", None), now)
    if ticket.transaction:
        return clock_state(getattr(ticket.transaction, "sla_clock", None), now)
    if ticket.sla_due is None:
        return None
    if ticket.resolved_at:
        return SlaState.MET if ticket.resolved_at <= ticket.sla_due else SlaState.MET_LATE
    return _by_time(now, ticket.sla_due - P1_AT_RISK, ticket.sla_due)


def clocks_in(states: list[str], now: datetime, prefix: str = "sla_clock__") -> Q:
    """The rows whose present clock is in one of these states, as ``clock_state`` tells them."""
    found = Q(pk__in=[])
    for state in states:
        found |= _clock_in(state, now, prefix)
    return found


def invoicing_in(states: list[str], now: datetime) -> Q:
    """The runs whose clock of invoice readiness is in one of these states."""
    own = SlaClock.objects.filter(clocks_in(states, now, ""), transaction=OuterRef("pk"), milestone=Milestone.INVOICE)
    return Q(Exists(own))


def tickets_in(states: list[str], now: datetime) -> Q:
    found = Q(change_request=None) & clocks_in(states, now, "transaction__sla_clock__")
    found |= Q(change_request__isnull=False) & clocks_in(states, now, "change_request__sla_clock__")
    for state in states:
        found |= Q(transaction=None, sla_due__isnull=False) & _connection_ticket_in(state, now)
    return found


def _by_time(now: datetime, at_risk: datetime, due: datetime) -> SlaState:
    if now >= due:
        return SlaState.BREACHED
    return SlaState.AT_RISK if now >= at_risk else SlaState.RUNNING


def _clock_in(state: str, now: datetime, prefix: str) -> Q:
    def clock(**conditions: Any) -> Q:
        return Q(**{f"{prefix}{name}": value for name, value in conditions.items()})

    match state:
        case SlaState.RUNNING:
            return clock(state=ClockState.RUNNING, ended_at=None, at_risk_at__gt=now, due_at__gt=now)
        case SlaState.AT_RISK:
            return clock(state=ClockState.RUNNING, ended_at=None, at_risk_at__lte=now, due_at__gt=now)
        case SlaState.BREACHED:
            breached = clock(state=ClockState.BREACHED) | clock(state=ClockState.RUNNING, due_at__lte=now)
            return clock(ended_at=None) & breached
    return clock(state=state)


def _connection_ticket_in(state: str, now: datetime) -> Q:
    match state:
        case SlaState.RUNNING:
            return Q(resolved_at=None, sla_due__gt=now + P1_AT_RISK)
        case SlaState.AT_RISK:
            return Q(resolved_at=None, sla_due__gt=now, sla_due__lte=now + P1_AT_RISK)
        case SlaState.BREACHED:
            return Q(resolved_at=None, sla_due__lte=now)
        case SlaState.MET:
            return Q(resolved_at__lte=F("sla_due"))
        case SlaState.MET_LATE:
            return Q(resolved_at__gt=F("sla_due"))
    return Q(pk__in=[])
