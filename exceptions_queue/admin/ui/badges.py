"""How things look in lists and pages: badges, times in words, the SLA. Text always stands beside a colour."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils.html import format_html
from django.utils.safestring import SafeString

from exceptions_queue.models import Milestone, SlaClock, Ticket
from exceptions_queue.sla.state import SlaState, clock_state
from exceptions_queue.tickets import catalogue
from exceptions_queue.tickets.catalogue_entry import TONES
from integrations import clock
from integrations.enums import System
from integrations.models import ApiCall
from onboarding.enums import WITHDRAWN, Status, StepState
from onboarding.models import OnboardingTransaction
from onboarding.sla_targets import INVOICE, P1_AT_RISK

OK, RISK, BAD, MUTED, INFO = TONES
STATUS_TONES = {
    Status.COMPLETE: OK,
    Status.READY_FOR_KICKOFF: OK,
    Status.AWAITING_DATA: RISK,
    Status.CANCELLED: MUTED,
    Status.ROLLED_BACK: MUTED,
}
"""With the run its clocks are called off, whatever they were for."""
STEP_BADGES = {
    StepState.PENDING: ("radio_button_unchecked", MUTED),
    StepState.RUNNING: ("progress_activity", INFO),
    StepState.WAITING: ("hourglass_top", INFO),
    StepState.BLOCKED: ("error", BAD),
    StepState.SUCCEEDED: ("check_circle", OK),
    StepState.SKIPPED: ("remove_circle", MUTED),
    StepState.COMPENSATING: ("undo", INFO),
    StepState.COMPENSATED: ("settings_backup_restore", MUTED),
}


@dataclass(frozen=True)
class Sla:
    """``tone`` is one of the tones above; ``text`` says the same in words."""

    tone: str
    text: str
    icon: str

    @property
    def html(self) -> SafeString:
        return badge(self.text, self.tone, self.icon)


def badge(text: object, tone: str = MUTED, icon: str = "") -> SafeString:
    symbol = (
        format_html('<span class="material-symbols-outlined" aria-hidden="true">{}</span>', icon)
        if icon
        else SafeString("")
    )
    return format_html('<span class="fv-badge fv-badge--{}">{}{}</span>', tone, symbol, text)


def two_lines(first: object, second: object = "") -> SafeString:
    below = format_html('<span class="fv-line fv-line--sub">{}</span>', second) if second else SafeString("")
    return format_html('<span class="fv-cell"><span class="fv-line">{}</span>{}</span>', first, below)


def span(length: timedelta) -> str:
    """A length of time in a few words, such as ``12 min``."""
    seconds = int(abs(length.total_seconds()))
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:  # noqa: PLR2004
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004


def when(at: datetime | None) -> str:
    """``3 min ago``, ``in 20 s``; an empty string for None."""
    if at is None:
        return ""
    gap = at - clock.now()
    return f"in {span(gap)}" if gap > timedelta(0) else f"{span(gap)} ago"


def soon(at: datetime | None) -> str:
    """When something happens by itself: what is due already happens any moment."""
    return when(at) if at is None or at > clock.now() else "any moment now"


def moment(at: datetime | None) -> SafeString | str:
    """The instant in UTC, with its distance in words as the text that people read first."""
    if at is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", when(at)
    )


def readable(value: Any) -> Any:
    """A vendor's timestamp (ISO 8601 with a time) as people read it, in UTC; anything else as it is."""
    if not isinstance(value, str) or "T" not in value:
        return value
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else value


def ticket_sla(ticket: Ticket) -> Sla:
    run = ticket.transaction
    if ticket.change_request and (own := getattr(ticket.change_request, "sla_clock", None)):
        return clock_sla(own)
    if run and ticket.step and ticket.step.uses == INVOICE and (invoicing := invoice_clock(run)):
        return clock_sla(invoicing)
    if run:
        return run_sla(run)  # the clock is the run's, whether or not this ticket is resolved
    if ticket.sla_due is None:
        return Sla(MUTED, "no clock", "timer_off")
    end = clock.now() if ticket.is_open or ticket.resolved_at is None else ticket.resolved_at
    if not ticket.is_open:
        late = end > ticket.sla_due
        return Sla(BAD, "was breached", "timer_off") if late else Sla(OK, "in time", "check")
    return _left(ticket.sla_due - P1_AT_RISK, ticket.sla_due, end)


def run_sla(run: OnboardingTransaction) -> Sla:
    """The run's present clock: P1 until it is provisioned, then P2 where it has a kickoff."""
    current = getattr(run, "sla_clock", None)
    if current is None:
        return Sla(MUTED, "no clock", "timer_off")
    current.transaction = run  # here already
    return clock_sla(current)


def invoice_clock(run: OnboardingTransaction) -> SlaClock | None:
    """That of invoice readiness, which runs beside the run's present one; None where its playbook has no step for it."""
    found = next((each for each in run.clocks.all() if each.milestone == Milestone.INVOICE), None)
    if found is not None:
        found.transaction = run  # here already
    return found


def clock_sla(sla_clock: SlaClock, *, named: bool = True) -> Sla:
    """``named``: a P2 clock says that it is about the kickoff, and that of invoice readiness about the invoice."""
    if named and sla_clock.milestone == Milestone.INVOICE:
        plain = clock_sla(sla_clock, named=False)
        return replace(plain, text=f"invoicing {plain.text}")
    kickoff = named and sla_clock.milestone == Milestone.P2
    took = span((sla_clock.ended_at or clock.now()) - sla_clock.started_at)
    match clock_state(sla_clock, clock.now()):
        case SlaState.MET:
            return Sla(OK, f"kickoff scheduled after {took}" if kickoff else f"met after {took}", "check")
        case SlaState.MET_LATE:
            return Sla(BAD, f"kickoff late, after {took}" if kickoff else f"met late, after {took}", "timer_off")
        case SlaState.CANCELLED if (
            sla_clock.milestone == Milestone.P2 and sla_clock.transaction.status not in WITHDRAWN
        ):
            return Sla(MUTED, "kickoff skipped", "timer_off")
        case SlaState.CANCELLED:
            return Sla(MUTED, "cancelled", "timer_off")
    left = _left(sla_clock.at_risk_at, sla_clock.due_at, clock.now())
    if not kickoff:
        return left
    text = f"{span(clock.now() - sla_clock.due_at)} late" if left.tone == BAD else left.text
    return replace(left, text=f"kickoff {text}")


def _left(at_risk: datetime, due: datetime, now: datetime) -> Sla:
    if due <= now:
        return Sla(BAD, f"breached {span(now - due)} ago", "timer_off")
    if at_risk <= now:
        return Sla(RISK, f"at risk, {span(due - now)} left", "timer")
    return Sla(OK, f"{span(due - now)} left", "schedule")


def category(ticket: Ticket) -> SafeString:
    entry = catalogue.of(ticket)
    return badge(entry.label, entry.tone)


def safe_action(ticket: Ticket) -> str:
    return catalogue.safe_action(ticket).label


def system(name: str) -> str:
    return System(name).label if name in System.values else name


def person(user: User | None) -> str:
    return (user.get_full_name() or user.get_username()) if user else ""


def short(text: str, limit: int = 90) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def calls(some: Iterable[ApiCall]) -> list[dict[str, Any]]:
    """Recorded calls as the pages show them; they were redacted when they were stored. The newest that failed is unfolded."""
    shown = list(some)
    failed = max((call.pk for call in shown if call.error), default=None)
    return [
        {
            "call": call,
            "request": pretty(call.request),
            "response": pretty(call.response),
            "unfolded": call.pk == failed,
        }
        for call in shown
    ]


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
