"""Which tickets cover which runs: asked from several places, written once."""

from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q

from exceptions_queue.models.clocks import Milestone, SlaClock
from exceptions_queue.models.tickets import Ticket, TicketQuerySet, TicketStatus, is_unresolved
from integrations import clock as clocks
from integrations.enums import STOPPED, Breaker
from onboarding.enums import WaitsFor
from onboarding.models import OnboardingTransaction, Step
from onboarding.sla_targets import INVOICE, KICKOFF


def open_tickets(run: OnboardingTransaction) -> TicketQuerySet:
    """Those that cover the run, and those that hold nothing up."""
    return _open_tickets(run, None)


def covering(run: OnboardingTransaction, steps: models.QuerySet[Step] | None = None) -> TicketQuerySet:
    """The open tickets that cover a run: its own, its steps', those of connections that it is parked behind, and those of the
    steps of other runs that hold a reservation it waits for. ``steps``: only those of the run's steps count.
    """
    return _open_tickets(run, steps).holding_up()


def _open_tickets(run: OnboardingTransaction, steps: models.QuerySet[Step] | None) -> TicketQuerySet:
    own = Q(transaction=run) if steps is None else Q(transaction=run, step=None) | Q(step__in=steps)
    steps = run.steps.all() if steps is None else steps
    parked = steps.filter(connection__breaker__in=STOPPED, finished_at=None).values("connection")
    ahead = steps.filter(waits_for=WaitsFor.RESERVATION).values("waits_on")
    return Ticket.objects.filter(own | Q(connection__in=parked) | Q(step__in=ahead)).unresolved()


def steps_towards(clock: SlaClock) -> models.QuerySet[Step]:
    """The run's steps that this clock waits for: P2 for the kickoff and what must be done before it, invoice readiness for its
    step likewise, P1 for all but these two.
    """
    steps = clock.transaction.steps.all()
    if clock.milestone == Milestone.CHANGE:
        return steps.none()
    if clock.approval is not None:
        return steps.filter(pk=clock.approval.step_id)
    if clock.milestone == Milestone.P1:
        return steps.exclude(uses__in=(KICKOFF, INVOICE))
    reached_by = INVOICE if clock.milestone == Milestone.INVOICE else KICKOFF
    after = dict(steps.values_list("key", "after"))
    keys: set[str] = set()
    found = set(steps.filter(uses=reached_by).values_list("key", flat=True))
    while found:
        keys |= found
        found = {before for key in found for before in after.get(key, ())} - keys
    return steps.filter(key__in=keys)


def is_blocked() -> Q:
    """The same as a condition on runs: an open ticket covers them."""
    own = Ticket.objects.filter(transaction=OuterRef("pk")).holding_up().unresolved()
    steps = Step.objects.filter(transaction=OuterRef("pk"), finished_at=None)
    parked = steps.filter(is_unresolved("connection__tickets"), connection__breaker__in=STOPPED)
    ahead = steps.filter(is_unresolved("waits_on__tickets"), waits_for=WaitsFor.RESERVATION)
    return Q(Exists(own)) | Q(Exists(parked)) | Q(Exists(ahead))


def blocked_runs() -> models.QuerySet[Any]:
    """The same as primary keys of runs, found from the open tickets: without a look at every run."""
    tickets = Ticket.objects.unresolved()
    steps = Step.objects.filter(finished_at=None)
    own = tickets.holding_up().filter(transaction__isnull=False).values("transaction")
    parked = steps.filter(
        connection__breaker__in=STOPPED, connection__in=tickets.filter(connection__isnull=False).values("connection")
    ).values("transaction")
    ahead = steps.filter(
        waits_for=WaitsFor.RESERVATION, waits_on__in=tickets.filter(step__isnull=False).values("step")
    ).values("transaction")
    return own.order_by().union(parked.order_by(), ahead.order_by())


def needs_no_action() -> Q:
    """Open tickets on which nobody need do anything now: tried again just now, kept back by a connection, or put aside."""
    kept_back = Q(step__connection__breaker=Breaker.OPEN, step__due_at__isnull=False)
    snoozed = Q(snoozed_until__isnull=False, snoozed_until__gt=clocks.now())
    return Q(status=TicketStatus.RETRYING) | kept_back | Q(connection__breaker=Breaker.HALF_OPEN) | snoozed
