"""The SLA clocks. P1 starts with the run and is met when it is provisioned; then P2 starts, met when the kickoff is scheduled, and
beside it that of invoice readiness, met when the order can be invoiced.

The clock belongs to the milestone, not to the ticket: a ticket opened at minute 22 has 8 minutes left. What a clock promises (its
target, its at-risk share, its calendar) is fixed when it starts; a calendar changed later moves no clock that is under way.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from exceptions_queue.models import (
    ClockState,
    Milestone,
    SlaClock,
    Ticket,
    covering,
    is_blocked,
    steps_towards,
)
from exceptions_queue.notifications import alerts
from exceptions_queue.sla import business_calendar
from exceptions_queue.tickets import lifecycle
from integrations import clock
from integrations.enums import STOPPED
from onboarding import audit, services, working_set
from onboarding.engine.locks import locked_run, retried
from onboarding.enums import ApprovalState, Category, ChangeStatus, StepState, Topic, WaitsFor
from onboarding.models import Approval, ChangeRequest, OnboardingTransaction, Step
from onboarding.sla_targets import (
    INVOICE,
    INVOICE_TARGET,
    KICKOFF,
    P1_AT_RISK_PERCENT,
    P1_TARGET,
    P2_AT_RISK_PERCENT,
    P2_TARGET,
    p1_at_risk_from,
    p1_due,
)
from onboarding.working_set import LeanRows

BATCH = 200
LONG_WAIT = timedelta(minutes=1)
MINUTE = timedelta(minutes=1)
EVENT = "event"
"""What a step waits for that somebody must do elsewhere, such as scheduling the kickoff."""
GONE = {
    Milestone.P1: "Half of the 30 minutes has passed",
    Milestone.P2: "Three quarters of the business day have passed and the kickoff is not scheduled yet",
    Milestone.INVOICE: "Three quarters of the business day have passed and the order cannot be invoiced yet",
}
NONE_RUNS = (
    "AND NOT EXISTS (SELECT 1 FROM exceptions_queue_slaclock"
    " WHERE transaction_id = %s AND milestone = %s AND ended_at IS NULL)"
)
IN_TIME = (
    "AND EXISTS (SELECT 1 FROM exceptions_queue_slaclock WHERE transaction_id = %s AND milestone = 'P1'"
    " AND state = 'running' AND started_at <= %s AND due_at >= %s)"
)
MEET = (
    "UPDATE exceptions_queue_slaclock SET state = 'met', ended_at = %s, next_transition_at = NULL FROM fence"
    " WHERE transaction_id = %s AND milestone = 'P1'"
)
log = logging.getLogger(__name__)


def start_p1(run: OnboardingTransaction) -> None:
    at_risk, due = p1_at_risk_from(run), p1_due(run)
    started = SlaClock(
        transaction=run,
        milestone=Milestone.P1,
        current_of=run,
        target_minutes=P1_TARGET // MINUTE,
        at_risk_percent=P1_AT_RISK_PERCENT,
        started_at=run.occurred_at,
        at_risk_at=at_risk,
        due_at=due,
        next_transition_at=at_risk,
    )
    working_set.of(run).insert(started)
    run.note_made("clocks", started)


def start_p2(run: OnboardingTransaction, *, at: datetime) -> None:
    """The run is provisioned. One that has no kickoff to wait for gets no clock, and one that is provisioned again no second."""
    if not any(step.uses == KICKOFF and step.finished_at is None for step in working_set.of(run).steps()):
        return
    if SlaClock.objects.filter(transaction=run, milestone=Milestone.P2).exists():
        return
    SlaClock.objects.filter(current_of=run).update(current_of=None)
    due = _start_business(run, Milestone.P2, at=at, current_of=run).due_at
    Ticket.objects.filter(transaction=run).holding_up().unresolved().update(sla_due=due)


def start_invoice(run: OnboardingTransaction, *, at: datetime) -> None:
    """The run is provisioned. One whose playbook has no step for it gets no clock, and none that can be invoiced already."""
    if not any(step.uses == INVOICE and step.finished_at is None for step in working_set.of(run).steps()):
        return
    if SlaClock.objects.filter(transaction=run, milestone=Milestone.INVOICE).exists():
        return
    started = _start_business(run, Milestone.INVOICE, at=at, target=INVOICE_TARGET // MINUTE)
    Ticket.objects.filter(step__transaction=run, step__uses=INVOICE).unresolved().update(sla_due=started.due_at)


def start_change(request: ChangeRequest, *, by_hand: list[str] | None = None) -> None:
    """A change request has an owner and a clock: a business day for the decision, and for what is then done ``by_hand``."""
    running = SlaClock.objects.filter(change_request=request).first()
    if running is None:
        running = _start_business(request.transaction, Milestone.CHANGE, at=clock.now(), change_request=request)
    lifecycle.for_change(request, by_hand=by_hand or [], due=running.due_at)


def meet_change(request: ChangeRequest, *, at: datetime) -> None:
    """It was decided, and nothing is left to be done."""
    _meet(request.transaction, SlaClock.objects.filter(change_request=request, ended_at=None), at=at)


def start_approval(approval: Approval) -> None:
    """Somebody has to decide within the business time that the playbook gives them."""
    minutes = approval.business_minutes
    _start_business(approval.transaction, Milestone.APPROVAL, at=approval.asked_at, target=minutes, approval=approval)


def end_approval(approval: Approval) -> None:
    """It was decided, or need not be any more."""
    clocks = SlaClock.objects.filter(approval=approval, ended_at=None)
    at = approval.decided_at or clock.now()
    if approval.state == ApprovalState.WITHDRAWN:
        _cancel(approval.transaction, clocks, at=at)
    else:
        _meet(approval.transaction, clocks, at=at)


def _start_business(
    run: OnboardingTransaction,
    milestone: Milestone,
    *,
    at: datetime,
    target: int = P2_TARGET // MINUTE,
    **subject: Any,
) -> SlaClock:
    """``target``: minutes of business time."""
    calendar = business_calendar.configured()
    at_risk = calendar.add_business(at, target * P2_AT_RISK_PERCENT / 100)
    started = SlaClock.objects.create(
        transaction=run,
        milestone=milestone,
        target_minutes=target,
        at_risk_percent=P2_AT_RISK_PERCENT,
        calendar=calendar.digest,
        started_at=at,
        at_risk_at=at_risk,
        due_at=calendar.add_business(at, target),
        next_transition_at=at_risk,
        **subject,
    )
    facts = {"milestone": milestone, "due": started.due_at.isoformat()}
    audit.record(run, "exceptions.sla.started", data=facts)
    return started


def meet(run: OnboardingTransaction, milestone: Milestone, *, at: datetime) -> None:
    """The milestone was reached ``at``. A clock that was due before is met late, also where nobody had noticed the breach yet."""
    if rows := working_set.lean_of(run):
        _meet_in_time(rows, run, milestone, at=min(at, clock.now()))
        return
    _meet(run, SlaClock.objects.filter(transaction=run, milestone=milestone, ended_at=None), at=at)


def _meet_in_time(rows: LeanRows, run: OnboardingTransaction, milestone: Milestone, *, at: datetime) -> None:
    """What most runs have: a P1 that runs and is not due yet, and no P2. Anything else is not taken for it."""
    if milestone != Milestone.P1:
        rows.require(NONE_RUNS, [run.pk, milestone])
        return
    rows.require(IN_TIME, [run.pk, at, at])
    rows.also(MEET, [at, run.pk])
    audit.record(run, "exceptions.sla.met", data={"milestone": milestone, "state": ClockState.MET})


def _meet(run: OnboardingTransaction, clocks: QuerySet[SlaClock], *, at: datetime) -> None:
    for running in clocks:
        # A sender's clock may be wrong, and a kickoff may have been fixed before the clock for it started.
        ended = max(running.started_at, min(at, clock.now()))
        if running.state == ClockState.RUNNING and ended > running.due_at:
            running.breach()
        if running.state == ClockState.BREACHED:
            running.meet_late(at=ended)
        else:
            running.meet(at=ended)
        running.save()
        audit.record(run, "exceptions.sla.met", data={"milestone": running.milestone, "state": running.state})


def cancel(run: OnboardingTransaction, *, at: datetime, milestones: Sequence[Milestone] = tuple(Milestone)) -> None:
    """These are cancelled. A breach that was, also one that nobody had noticed yet, stays on record."""
    _cancel(run, SlaClock.objects.filter(transaction=run, ended_at=None, milestone__in=milestones), at=at)


def _cancel(run: OnboardingTransaction, clocks: QuerySet[SlaClock], *, at: datetime) -> None:
    for running in clocks:
        if running.state == ClockState.RUNNING and at > running.due_at:
            running.breach()
        running.cancel(at=at)
        running.save()
        audit.record(run, "exceptions.sla.cancelled", data={"milestone": running.milestone})


def tick() -> int:
    """Apply every transition that is due; returns how many clocks were moved."""
    now = clock.now()
    for request in _unowned():
        try:
            _own(request)
        except Exception:
            log.exception("Change request %s could not be given an owner", request)
    for pk in _silent(now):
        try:
            _flag_silent_work(pk)
        except Exception:
            log.exception("The long wait behind clock %s could not be shown", pk)
    due = SlaClock.objects.filter(next_transition_at__lte=now).order_by("next_transition_at")
    pks = list(due.values_list("pk", flat=True)[:BATCH])
    for pk in pks:
        try:
            _flag_silent_work(pk)
            _apply_transition(pk)
        except Exception:
            # One clock that cannot be moved must hold up neither the others nor the work; the next tick tries it again.
            log.exception("Clock %s could not be moved", pk)
    return len(pks)


def _unowned() -> list[int]:
    """Open change requests without a ticket, such as those from before there were any."""
    told = Ticket.objects.filter(change_request=OuterRef("pk")).unresolved()
    waiting = ChangeRequest.objects.decidable().filter(~Exists(told))
    return list(waiting.values_list("pk", flat=True)[:BATCH])


@retried
def _own(request_pk: int) -> None:
    with locked_run(ChangeRequest.objects.values_list("transaction_id", flat=True).get(pk=request_pk)) as run:
        request = ChangeRequest.objects.get(pk=request_pk)
        request.transaction = run
        if request.status == ChangeStatus.OPEN:
            start_change(request)


def _silent(now: datetime) -> list[int]:
    """Clocks at risk or late, whose at-risk transition was applied, whose run began a wait without a ticket."""
    steps = Step.objects.filter(transaction=OuterRef("transaction"), state=StepState.WAITING)
    late = SlaClock.objects.filter(at_risk_seen=True, ended_at=None)

    long = steps.filter(waits_for__in=(WaitsFor.RETRY, WaitsFor.SLOT), due_at__gt=now + LONG_WAIT)
    long |= steps.filter(waits_for=WaitsFor.REPORT)
    free = OnboardingTransaction.objects.exclude(is_blocked()).filter(pk=OuterRef("transaction"))
    p1 = late.filter(Exists(long), Exists(free), milestone=Milestone.P1)

    # Vendors' failures have their tickets by then, after five attempts; what may begin late and in silence is the kickoff itself.
    kickoff = steps.filter(uses=KICKOFF, waits_for=EVENT, category="").exclude(connection__breaker__in=STOPPED)
    kickoff |= steps.filter(waits_for=WaitsFor.REPORT, category="")
    told = Ticket.objects.of_run_itself().unresolved().filter(transaction=OuterRef("transaction"))
    invoice = steps.filter(uses=INVOICE, waits_for=EVENT, category="").exclude(connection__breaker__in=STOPPED)
    of_people = Q(Exists(kickoff), milestone=Milestone.P2) | Q(Exists(invoice), milestone=Milestone.INVOICE)
    p2 = late.filter(of_people, ~Exists(told))
    return [pk for found in (p1, p2) for pk in found.values_list("pk", flat=True)[:BATCH]]


def _flag_silent_work(pk: int) -> None:
    """At risk and nobody was told yet: what is not done becomes a ticket, while its retries and looks go on."""
    sla_clock = SlaClock.objects.select_related("transaction").get(pk=pk)
    steps = steps_towards(sla_clock)
    if (
        sla_clock.ended_at
        or sla_clock.change_request_id
        or sla_clock.approval_id
        or covering(sla_clock.transaction, steps).exists()
    ):
        return
    for step in steps.filter(finished_at=None, state=StepState.WAITING):
        message, category = _why(step, Milestone(sla_clock.milestone))
        services.flag_slow_step(step.pk, message, category=category)


def _why(step: Step, milestone: Milestone) -> tuple[str, Category]:
    if step.uses in (KICKOFF, INVOICE) and step.waits_for == EVENT:
        return f"{GONE[milestone]}.", Category.STALLED
    if step.waits_for == WaitsFor.REPORT:
        return f"{GONE[milestone]}; the step waits until other systems report {step.awaits}.", Category.STALLED
    reason = step.message or step.get_waits_for_display() or "unknown"
    category = _category(step.http_status) if step.message else Category.STALLED
    return f"{GONE[milestone]}; the step waits: {reason}", category


def _category(status: int | None) -> Category:
    return Category.RATE_LIMIT if status == 429 else Category.SERVER_ERROR  # noqa: PLR2004  (RFC 6585)


@retried
def _apply_transition(pk: int) -> None:
    with locked_run(SlaClock.objects.values_list("transaction_id", flat=True).get(pk=pk)) as run:
        sla_clock = SlaClock.objects.select_related("transaction").get(pk=pk)
        now = clock.now()
        if sla_clock.next_transition_at is None or sla_clock.next_transition_at > now:
            return
        facts = {"milestone": sla_clock.milestone, "due": sla_clock.due_at.isoformat()}
        if not sla_clock.at_risk_seen:
            sla_clock.at_risk_seen = True
            sla_clock.next_transition_at = sla_clock.due_at
            for ticket in _held_up_by(run, sla_clock):
                alerts.queue_at_risk(sla_clock, ticket)
            audit.record(run, "exceptions.sla.at-risk", data=facts)
        if sla_clock.due_at <= now:
            sla_clock.breach()
            alerts.queue_breach(sla_clock)
            audit.record(run, "exceptions.sla.breached", data=facts)
        sla_clock.save()


def _held_up_by(run: OnboardingTransaction, sla_clock: SlaClock) -> list[Ticket]:
    """The open tickets that keep the clock going; where there is none, a new one of the run."""
    if sla_clock.change_request_id:
        return list(Ticket.objects.filter(change_request=sla_clock.change_request_id).unresolved())
    if sla_clock.approval is not None:
        return list(Ticket.objects.filter(step=sla_clock.approval.step_id, topic=Topic.APPROVAL).unresolved())
    found = list(covering(run, steps_towards(sla_clock)))
    if found:
        return found
    message = f"{GONE[Milestone(sla_clock.milestone)]}; the run is still in progress, with no known failure."
    return [lifecycle.for_run(run, category=Category.STALLED, message=message, problems=[])]
