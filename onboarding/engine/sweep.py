"""The sweep: everything that is due, found in rows. Messages may all be lost and nothing is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction as db
from django.db.models import Exists, OuterRef, Q

from integrations import clock, pace
from integrations.models import InboundEvent
from integrations.words import Breaker
from onboarding.engine import dispatch, entry
from onboarding.engine.advance import advance
from onboarding.engine.locks import lock_run, retried
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import run_blocked
from onboarding.words import Category, Status, StepState

OUTSTANDING_HINTS = 300
HINT_LIFETIME = timedelta(seconds=10)
"""A hint that led to no claim for this long is taken for lost."""
UNDER_WAY = (Status.QUEUED, Status.PROVISIONING, Status.READY_FOR_KICKOFF)
STALLED_AFTER = timedelta(minutes=1)


@dataclass
class Due:
    """Primary keys of what may be worked on now, most urgent first."""

    steps: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.steps or self.events)


def sweep() -> Due:
    """One pass: recover paces, wake stalled runs, and find what is due and not already hinted."""
    now = clock.now()
    pace.recover(now)
    for run_pk in [*_gathered(now), *_stalled(now)]:
        wake(run_pk)
    return Due(steps=_due_steps(now), events=_due_events(now))


def publish(due: Due) -> Due:
    """Hint workers at what is due; returns what no broker took."""
    return Due(
        steps=[pk for pk in due.steps if not dispatch.publish(dispatch.RUN_STEP, pk)],
        events=[pk for pk in due.events if not dispatch.publish(dispatch.PROCESS_EVENT, pk)],
    )


def _due_steps(now: datetime) -> list[int]:
    """Due or abandoned steps that no fresh hint stands for, marked as hinted. Parked ones stay where they are."""
    recently = Q(dispatched_at__gt=now - HINT_LIFETIME)
    waiting = Step.objects.filter(recently, due_at__lte=now).exclude(connection__breaker=Breaker.OPEN).count()
    due = (
        Step.objects.filter(Q(due_at__lte=now) | Q(lease_until__lt=now, state=StepState.RUNNING))
        .exclude(connection__breaker=Breaker.OPEN)
        .exclude(recently)
        .order_by("due_at", "pk")
        .values_list("pk", flat=True)[: max(0, OUTSTANDING_HINTS - waiting)]
    )
    return _mark(list(due), now)


@retried
def _mark(pks: list[int], now: datetime) -> list[int]:
    # dispatched_at is no state: it only spares the broker from a hint per sweep, so no run is locked for it.
    Step.objects.filter(pk__in=pks).update(dispatched_at=now)
    return pks


def _due_events(now: datetime) -> list[int]:
    due = InboundEvent.objects.filter(due_at__lte=now).order_by("due_at", "pk")
    return list(due.values_list("pk", flat=True)[:OUTSTANDING_HINTS])


def _gathered(now: datetime) -> Iterable[int]:
    """Runs whose payment's other events have had their time."""
    return OnboardingTransaction.objects.filter(gathers_until__lte=now).values_list("pk", flat=True)[:50]


def _stalled(now: datetime) -> Iterable[int]:
    """Runs under way in which nothing is due, nothing runs and nobody was asked. There should be none."""
    alive = Step.objects.filter(transaction=OuterRef("pk")).filter(
        Q(due_at__isnull=False) | Q(lease_until__isnull=False) | Q(state=StepState.BLOCKED)
    )
    return OnboardingTransaction.objects.filter(
        ~Exists(alive),
        status__in=UNDER_WAY,
        gathers_until=None,
        updated_at__lt=now - STALLED_AFTER,
    ).values_list("pk", flat=True)[:50]


@retried
def wake(run_pk: int) -> None:
    """Let a run that stands still go on; where nothing becomes ready, a person is told."""
    with db.atomic():
        run = lock_run(run_pk)
        run.gathers_until = None
        entry.admit(run)
        advance(run)
        moving = run.steps.filter(Q(due_at__isnull=False) | Q(lease_until__isnull=False) | Q(state=StepState.BLOCKED))
        # One that still waits at the gate has its ticket from there (no playbook serves it, say).
        if run.status in UNDER_WAY and run.status != Status.QUEUED and not moving.exists():
            last = run.steps.exclude(finished_at=None).order_by("-finished_at").first()
            message = f"Nothing is under way in this run; its last finished step is {last.key if last else 'none'}."
            run_blocked.send(OnboardingTransaction, run=run, category=Category.STALLED, message=message, problems=[])
        run.save()
