"""The P1 clock: started with the run, met when it is provisioned, and one mail to the owner when it is at risk.

The clock belongs to the milestone, not to the ticket: a ticket opened at minute 22 has 8 minutes left.
"""

import logging
from datetime import datetime, timedelta

from django.db import transaction as db
from django.db.models import Exists, OuterRef

from exceptions_queue import alerts, tickets
from exceptions_queue.models import ClockState, SlaClock, covering, is_blocked
from integrations import clock
from onboarding import audit, services
from onboarding.engine.locks import lock_run, retried
from onboarding.models import OnboardingTransaction, Step
from onboarding.sla import p1_at_risk_from, p1_due
from onboarding.words import Category, StepState, WaitsFor

BATCH = 200
LONG_WAIT = timedelta(minutes=1)
log = logging.getLogger(__name__)


def start(run: OnboardingTransaction) -> None:
    at_risk, due = p1_at_risk_from(run), p1_due(run)
    SlaClock.objects.create(
        transaction=run, started_at=run.occurred_at, at_risk_at=at_risk, due_at=due, next_transition_at=at_risk
    )


def meet(run: OnboardingTransaction, *, at: datetime) -> None:
    """The run is provisioned. A clock that was due before is met late, also where nobody had noticed the breach yet."""
    for p1 in SlaClock.objects.filter(transaction=run, ended_at=None):
        if p1.state == ClockState.RUNNING and at > p1.due_at:
            p1.breach()
        if p1.state == ClockState.BREACHED:
            p1.meet_late(at=at)
        else:
            p1.meet(at=at)
        p1.save()
        audit.record(run, "exceptions.sla.met", data={"state": p1.state})


def tick() -> int:
    """Take every rung that is due; returns how many clocks were moved."""
    now = clock.now()
    for run_pk in _silent(now):
        try:
            _flag_silent_work(run_pk)
        except Exception:
            log.exception("The long wait of run %s could not be shown", run_pk)
    due = SlaClock.objects.filter(next_transition_at__lte=now).order_by("next_transition_at")
    pks = list(due.values_list("transaction_id", flat=True)[:BATCH])
    for run_pk in pks:
        try:
            _flag_silent_work(run_pk)
            _take_rung(run_pk)
        except Exception:
            # One clock that cannot be moved must hold up neither the others nor the work; the next tick tries it again.
            log.exception("The clock of run %s could not be moved", run_pk)
    return len(pks)


def _silent(now: datetime) -> list[int]:
    """Runs at risk or late, whose at-risk rung is behind them, that began a long wait which nobody was told of."""
    long = Step.objects.filter(
        transaction=OuterRef("pk"),
        state=StepState.WAITING,
        waits_for__in=(WaitsFor.RETRY, WaitsFor.SLOT),
        due_at__gt=now + LONG_WAIT,
    )
    late = OnboardingTransaction.objects.filter(p1_clock__at_risk_seen=True, p1_clock__ended_at=None)
    return list(late.filter(Exists(long)).exclude(is_blocked()).values_list("pk", flat=True)[:BATCH])


def _flag_silent_work(run_pk: int) -> None:
    """At risk and nobody was told yet: what is not done becomes a ticket, while its retries go on."""
    run = OnboardingTransaction.objects.get(pk=run_pk)
    if run.provisioned_at or covering(run).exists():
        return
    for step in run.steps.filter(finished_at=None, state=StepState.WAITING):
        reason = step.message or step.get_waits_for_display() or "unknown"
        category = _category(step.http_status) if step.message else Category.STALLED
        services.flag_slow_step(step.pk, f"Half of the 30 minutes is gone; the step waits: {reason}", category=category)


def _category(status: int | None) -> Category:
    return Category.RATE_LIMIT if status == 429 else Category.SERVER_ERROR  # noqa: PLR2004  (RFC 6585)


@retried
def _take_rung(run_pk: int) -> None:
    with db.atomic():
        run = lock_run(run_pk)
        p1 = SlaClock.objects.get(transaction=run)
        now = clock.now()
        if p1.next_transition_at is None or p1.next_transition_at > now:
            return
        if not p1.at_risk_seen:
            p1.at_risk_seen = True
            p1.next_transition_at = p1.due_at
            open_tickets = list(covering(run))
            if not open_tickets:
                message = "Half of the 30 minutes is gone and the run is still under way, with no failure known."
                open_tickets = [tickets.for_run(run, category=Category.STALLED, message=message, problems=[])]
            for ticket in open_tickets:
                alerts.queue_at_risk(p1, ticket)
            audit.record(run, "exceptions.sla.at-risk", data={"due": p1.due_at.isoformat()})
        if p1.due_at <= now:
            p1.breach()
            audit.record(run, "exceptions.sla.breached", data={"due": p1.due_at.isoformat()})
        p1.save()
