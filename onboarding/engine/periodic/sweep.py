"""The sweep: everything that is due, found in rows. Messages may all be lost and nothing is."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError
from django.db import transaction as db
from django.db.models import Exists, OuterRef, Q

from integrations import clock
from integrations.connections import breaker, concurrency
from integrations.failpoints import failpoint
from integrations.models import InboundEvent
from onboarding.audit import anchors
from onboarding.engine import connection_queue, dispatch
from onboarding.engine.compensation import go_on
from onboarding.engine.dispatch import HINT_LIFETIME
from onboarding.engine.locks import lock_run, retried
from onboarding.engine.periodic import polling
from onboarding.engine.runs import gate_evaluation
from onboarding.enums import ADVANCED_BY_ENGINE, Category, Status, StepState, Topic, WaitsFor
from onboarding.models import OnboardingTransaction, Step, StepPoll
from onboarding.signals import run_blocked

OUTSTANDING_HINTS = 300
MOST_DOUBLINGS = 3  # 80 s: what a wiped broker costs at most
ALIVE = (
    Q(due_at__isnull=False) | Q(lease_until__isnull=False) | Q(state=StepState.BLOCKED) | Q(waits_for=WaitsFor.EVENT)
)
STALLED_AFTER = timedelta(minutes=1)
log = logging.getLogger(__name__)


@dataclass
class Due:
    """Primary keys of what may be worked on now, most urgent first (at paced connections after the others)."""

    steps: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    probes: list[int] = field(default_factory=list)
    """Connections whose open breaker is to be tried again."""
    polls: list[int] = field(default_factory=list)
    """Steps that await somebody, to be looked at."""

    def __bool__(self) -> bool:
        return bool(self.steps or self.events or self.probes or self.polls)


def sweep() -> Due:
    """One pass: recover paces, anchor the audit trail, wake stalled runs, and find what is due and not already hinted."""
    now = clock.now()
    concurrency.recover(now)
    _anchor()
    for run_pk in [*_gathered(now), *_stalled(now)]:
        _wake_or_tell(run_pk)
    due = Due(_due_steps(now), _due_events(now), breaker.take_due_probes(now), _due_polls(now))
    if due:
        failpoint("marked-due")
    return due


def _anchor() -> None:
    try:
        retried(anchors.append_if_due)()
    except Exception:
        # Work goes on without; the next pass tries again.
        log.exception("The audit trail could not be anchored")


def publish(due: Due) -> Due:
    """Hint workers at what is due; returns what no broker took."""
    return Due(
        steps=[pk for pk in due.steps if not dispatch.publish(dispatch.RUN_STEP, pk)],
        events=[pk for pk in due.events if not dispatch.publish(dispatch.PROCESS_EVENT, pk)],
        probes=[pk for pk in due.probes if not dispatch.publish(dispatch.PROBE, pk)],
        polls=[pk for pk in due.polls if not dispatch.publish(dispatch.POLL_STEP, pk)],
    )


def release(due: Due) -> None:
    """Nobody took these after all: let the next sweep see them at once."""
    Step.objects.filter(pk__in=due.steps).update(hinted_until=None)
    InboundEvent.objects.filter(pk__in=due.events).update(hinted_until=None)
    StepPoll.objects.filter(pk__in=due.polls).update(hinted_until=None)


def _due_steps(now: datetime) -> list[int]:
    """Due or abandoned steps that no fresh hint stands for, marked as hinted: at a paced connection as many as it takes."""
    paced = connection_queue.paced()
    free = max(0, OUTSTANDING_HINTS - connection_queue.hinted().exclude(connection__in=paced).count())
    steps = connection_queue.unhinted().only("pk", "due_at", "lease_until")
    due = _mark(Step, list(steps.exclude(connection__in=paced)[:free]), now)
    for connection in paced:
        # A lost hint holds one of few places: however long the step has waited, for no longer than a young one's.
        due += _mark(
            Step, list(steps.filter(connection=connection)[: connection_queue.room(connection)]), now, HINT_LIFETIME
        )
    return due


def _due_events(now: datetime) -> list[int]:
    waiting = InboundEvent.objects.filter(hinted_until__gt=now, due_at__lte=now).count()
    due = InboundEvent.objects.filter(due_at__lte=now).exclude(hinted_until__gt=now).order_by("due_at", "pk")
    return _mark(InboundEvent, list(due.only("pk", "due_at")[: max(0, OUTSTANDING_HINTS - waiting)]), now)


def _due_polls(now: datetime) -> list[int]:
    polling.forget(now)
    return _mark(StepPoll, list(polling.due(now)[: polling.MOST_AT_ONCE]), now)


@retried
def _mark(
    model: type[Step] | type[InboundEvent] | type[StepPoll],
    rows: Sequence[Step | InboundEvent | StepPoll],
    now: datetime,
    most: timedelta | None = None,
) -> list[int]:
    # hinted_until is no state: it only spares the broker, so no run is locked for it.
    by_lifetime: dict[timedelta, list[int]] = {}
    for row in rows:
        by_lifetime.setdefault(most or hint_lifetime(row, now), []).append(row.pk)
    for lifetime, pks in by_lifetime.items():
        model._default_manager.filter(pk__in=pks).update(hinted_until=now + lifetime)
    return [row.pk for row in rows]


def hint_lifetime(row: Step | InboundEvent | StepPoll, now: datetime) -> timedelta:
    """How long a hint may stay unanswered: doubling, so that a broker without workers does not fill up."""
    since = row.due_at or getattr(row, "lease_until", None) or now
    doublings = int((now - since) / HINT_LIFETIME).bit_length()
    return HINT_LIFETIME * float(2 ** min(doublings, MOST_DOUBLINGS))


def _gathered(now: datetime) -> Iterable[int]:
    """Runs whose payment's other events have had their time."""
    return OnboardingTransaction.objects.filter(gathers_until__lte=now).values_list("pk", flat=True)[:50]


def _stalled(now: datetime) -> Iterable[int]:
    """Runs under way in which nothing is due, nothing runs and nobody was asked. There should be none."""
    alive = Step.objects.filter(transaction=OuterRef("pk")).filter(ALIVE)
    return (
        OnboardingTransaction.objects.advanced_by_engine()
        .filter(
            ~Exists(alive),
            gathers_until=None,
            held_at=None,
            updated_at__lt=now - STALLED_AFTER,
        )
        .values_list("pk", flat=True)[:50]
    )


def _wake_or_tell(run_pk: int) -> None:
    """One run that cannot be woken must not hold up the others, nor stay unseen itself."""
    try:
        wake(run_pk)
    except (OperationalError, InterfaceError):
        log.warning("Run %s could not be woken: the database does not answer", run_pk)
    except Exception as error:
        log.exception("Run %s could not be woken", run_pk)
        try:
            _tell(run_pk, f"{type(error).__name__} while Firstvalue tried to go on with it")
        except Exception:
            log.exception("Nobody could be told of run %s", run_pk)


@retried
def wake(run_pk: int) -> None:
    """Let a run that stands still go on; where nothing becomes ready, a person is told."""
    with db.atomic():
        run = lock_run(run_pk)
        run.gathers_until = None
        gate_evaluation.admit(run)
        go_on(run)
        moving = run.steps.filter(ALIVE)
        # One that still waits at the gate has its ticket from there (no playbook serves it, say).
        if run.status in ADVANCED_BY_ENGINE and run.status != Status.QUEUED and not moving.exists():
            _block(run, "Nothing is under way in this run")
        run.save()


@retried
def _tell(run_pk: int, why: str) -> None:
    with db.atomic():
        run = lock_run(run_pk)
        run.gathers_until = None  # from now on it is looked at once a minute, as one that stands still
        _block(run, why)
        run.save()


def _block(run: OnboardingTransaction, why: str) -> None:
    last = run.steps.exclude(finished_at=None).order_by("-finished_at").first()
    message = f"{why}; its last finished step is {last.key if last else 'none'}."
    run_blocked.send(
        OnboardingTransaction, run=run, category=Category.STALLED, topic=Topic.NONE, message=message, problems=[]
    )
