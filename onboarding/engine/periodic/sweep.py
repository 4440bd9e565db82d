"""The sweep: everything that is due, found in rows. Messages may all be lost and nothing is."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError
from django.db.models import Exists, OuterRef, Q

from integrations import clock
from integrations.connections import breaker, concurrency
from integrations.failpoints import failpoint
from integrations.models import InboundEvent
from onboarding.audit import anchors
from onboarding.engine import connection_queue, dispatch
from onboarding.engine.compensation import advance_or_roll_back
from onboarding.engine.dispatch import MESSAGE_LIFETIME
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.periodic import polling
from onboarding.engine.runs import gate_evaluation
from onboarding.enums import ADVANCED_BY_ENGINE, Category, Status, StepState, Topic, WaitsFor
from onboarding.models import OnboardingTransaction, Step, StepPoll
from onboarding.signals import run_blocked

MAX_OUTSTANDING_MESSAGES = 300
MOST_DOUBLINGS = 3  # 80 s: what a wiped broker costs at most
ALIVE = (
    Q(due_at__isnull=False)
    | Q(lease_until__isnull=False)
    | Q(state=StepState.BLOCKED)
    | Q(waits_for__in=(WaitsFor.EVENT, WaitsFor.REPORT))
)
STALLED_AFTER = timedelta(minutes=1)
log = logging.getLogger(__name__)


@dataclass
class Due:
    """Primary keys of what may be worked on now, most urgent first (at limited connections after the others)."""

    steps: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    probes: list[int] = field(default_factory=list)
    """Connections whose open breaker is to be tried again."""
    polls: list[int] = field(default_factory=list)
    """Steps that await somebody, to be looked at."""

    def __bool__(self) -> bool:
        return bool(self.steps or self.events or self.probes or self.polls)


def sweep() -> Due:
    """One pass: recover concurrency limits, anchor the audit trail, resume stalled runs, and find what is due and
    not already enqueued.
    """
    now = clock.now()
    concurrency.recover(now)
    _anchor()
    for run_pk in [*_gathered(now), *_stalled(now)]:
        _resume_or_notify(run_pk)
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
    """Enqueue what is due; returns what no broker took."""
    return Due(
        steps=[pk for pk in due.steps if not dispatch.publish(dispatch.RUN_STEP, pk)],
        events=[pk for pk in due.events if not dispatch.publish(dispatch.PROCESS_EVENT, pk)],
        probes=[pk for pk in due.probes if not dispatch.publish(dispatch.PROBE, pk)],
        polls=[pk for pk in due.polls if not dispatch.publish(dispatch.POLL_STEP, pk)],
    )


def release(due: Due) -> None:
    """Nobody took these after all: let the next sweep see them at once."""
    Step.objects.filter(pk__in=due.steps).update(enqueued_until=None)
    InboundEvent.objects.filter(pk__in=due.events).update(enqueued_until=None)
    StepPoll.objects.filter(pk__in=due.polls).update(enqueued_until=None)


def _due_steps(now: datetime) -> list[int]:
    """Due or abandoned steps that are not enqueued, marked as enqueued: at a limited connection as many as it takes."""
    paced = connection_queue.limited_connections()
    free = max(0, MAX_OUTSTANDING_MESSAGES - connection_queue.enqueued().exclude(connection__in=paced).count())
    steps = connection_queue.not_enqueued().only("pk", "due_at", "lease_until")
    due = _mark(Step, list(steps.exclude(connection__in=paced)[:free]), now)
    for connection in paced:
        # A lost message holds one of few slots: however long the step has waited, for no longer than a young one's.
        due += _mark(
            Step,
            list(steps.filter(connection=connection)[: connection_queue.free_capacity(connection)]),
            now,
            MESSAGE_LIFETIME,
        )
    return due


def _due_events(now: datetime) -> list[int]:
    waiting = InboundEvent.objects.filter(enqueued_until__gt=now, due_at__lte=now).count()
    due = InboundEvent.objects.filter(due_at__lte=now).exclude(enqueued_until__gt=now).order_by("due_at", "pk")
    return _mark(InboundEvent, list(due.only("pk", "due_at")[: max(0, MAX_OUTSTANDING_MESSAGES - waiting)]), now)


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
    # enqueued_until is no state: it only spares the broker, so no run is locked for it.
    by_lifetime: dict[timedelta, list[int]] = {}
    for row in rows:
        by_lifetime.setdefault(most or message_lifetime(row, now), []).append(row.pk)
    for lifetime, pks in by_lifetime.items():
        model._default_manager.filter(pk__in=pks).update(enqueued_until=now + lifetime)
    return [row.pk for row in rows]


def message_lifetime(row: Step | InboundEvent | StepPoll, now: datetime) -> timedelta:
    """How long a message may stay unanswered: doubling, so that a broker without workers does not fill up."""
    since = row.due_at or getattr(row, "lease_until", None) or now
    doublings = int((now - since) / MESSAGE_LIFETIME).bit_length()
    return MESSAGE_LIFETIME * float(2 ** min(doublings, MOST_DOUBLINGS))


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


def _resume_or_notify(run_pk: int) -> None:
    """One run that cannot be resumed must not delay the others, and is reported itself."""
    try:
        resume_stalled(run_pk)
    except (OperationalError, InterfaceError):
        log.warning("Run %s could not be resumed: the database does not answer", run_pk)
    except Exception as error:
        log.exception("Run %s could not be resumed", run_pk)
        try:
            _notify(run_pk, f"{type(error).__name__} while Firstvalue tried to resume it")
        except Exception:
            log.exception("No ticket could be opened for run %s", run_pk)


@retried
def resume_stalled(run_pk: int) -> None:
    """Resume a stalled run; where nothing becomes ready, a ticket is opened."""
    with locked_run(run_pk) as run:
        run.gathers_until = None
        run.updated_at = clock.now()  # looked at: not again before ``STALLED_AFTER``, where nothing of it changes
        gate_evaluation.evaluate_gate(run)
        advance_or_roll_back(run)
        moving = run.steps.filter(ALIVE)
        # One that still waits at the gate has its ticket from there (no playbook serves it, say).
        if run.status in ADVANCED_BY_ENGINE and run.status != Status.QUEUED and not moving.exists():
            _block(run, "No step is due or running in this run")


@retried
def _notify(run_pk: int, why: str) -> None:
    with locked_run(run_pk) as run:
        run.gathers_until = None  # from now on it is looked at once a minute, as one that stands still
        run.updated_at = clock.now()
        _block(run, why)


def _block(run: OnboardingTransaction, why: str) -> None:
    last = run.steps.exclude(finished_at=None).order_by("-finished_at").first()
    message = f"{why}; its last finished step is {last.key if last else 'none'}."
    run_blocked.send(
        OnboardingTransaction, run=run, category=Category.STALLED, topic=Topic.NONE, message=message, problems=[]
    )
