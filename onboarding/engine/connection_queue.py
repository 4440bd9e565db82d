"""The queue of steps at a connection: which are due, which is next when a slot is free, and probing a stopped connection.

A connection with a limit is asked for no more than it takes: hundreds may wait, and waiting costs them nothing.
"""

import logging
from datetime import timedelta
from functools import partial

from django.db import DatabaseError
from django.db import connection as database
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from integrations import clock
from integrations.connections import breaker, concurrency
from integrations.connections import services as connections
from integrations.database.statements import ask
from integrations.enums import Breaker
from integrations.errors import ProviderError
from integrations.models import Connection
from onboarding.engine import dispatch
from onboarding.engine.locks import retried
from onboarding.engine.threads import timers
from onboarding.enums import LEASED, WaitsFor
from onboarding.models import Attempt, Step
from onboarding.steps.registry import HANDLERS
from onboarding.working_set import connections as kept_connections

SHORT_PAUSE_SECONDS = 10.0
"""Steps stay due during a pause no longer than this: each of them put off by itself would cost more than the wait."""
AFTER_PAUSE_SECONDS = 0.01
SOON_SECONDS = 10.0
"""Whoever records that a step is due again so soon has workers told at that time; later ones are the sweep's."""
MARGIN_SECONDS = 0.05
"""By so much, clocks of two processes do not differ."""
MOST_AT_ONCE = 100
"""Enqueued at once, where a connection takes as many as come."""
log = logging.getLogger(__name__)
STATUS_REPORTERS = [name for name, handler in HANDLERS.items() if handler.reports_run_status]


def on_hold() -> Q:
    """Steps of runs on hold, but for those that tell others so, once they have told them anything."""
    return Q(transaction__held_at__isnull=False) & ~Q(uses__in=STATUS_REPORTERS, written__gt="")


def due() -> QuerySet[Step]:
    """Due or abandoned steps, the oldest first. Those parked behind an open breaker stay where they are.

    One whose message led to no claim goes to the end: else it would be enqueued again and again, and keep the others from a slot.
    """
    now = clock.now()
    ready = Q(due_at__lte=now) | Q(lease_until__lt=now, state__in=LEASED)
    soon = now + timedelta(seconds=SHORT_PAUSE_SECONDS)
    steps = Step.objects.exclude(connection__breaker=Breaker.OPEN).exclude(on_hold())
    steps = steps.exclude(connection__paused_until__gt=now, connection__paused_until__lte=soon)
    return steps.filter(ready).order_by(Coalesce("enqueued_until", "due_at", "lease_until"), "pk")


def enqueued() -> QuerySet[Step]:
    """Those of them that are enqueued."""
    return due().filter(enqueued_until__gt=clock.now())


def not_enqueued() -> QuerySet[Step]:
    """Those that are not enqueued."""
    return due().exclude(enqueued_until__gt=clock.now())


def limited_connections() -> list[Connection]:
    """Connections with a concurrency limit now. One that is paused is not among them: its steps are told until when."""
    limited = Connection.objects.filter(Q(max_concurrency__isnull=False) | Q(concurrency_limit__isnull=False))
    return list(limited.exclude(paused_until__gt=clock.now()).exclude(breaker=Breaker.OPEN))


def free_capacity(connection: Connection) -> int:
    """How many more steps may be enqueued; 0 where those enqueued already fill it."""
    return max(0, (concurrency.free_slots(connection) or 0) - enqueued().filter(connection=connection).count())


def take_next(connection_pk: int, *, inline: bool) -> int | None:
    """Free slots go to the next in the connection queue: one step to the caller with ``inline``, the others to workers, by
    messages.

    Where the connection has no limit (any more), to all that are queued.
    """
    if not inline and not dispatch.accepts_messages():
        return None
    taken = _take(connection_pk, MOST_AT_ONCE if dispatch.accepts_messages() else 1)
    mine = taken.pop(0) if inline and taken else None
    for pk in taken:
        _publish(pk)
    return mine


def _take(connection_pk: int, most: int) -> list[int]:
    """The next in the connection queue, marked as enqueued: no more than there are slots. Asked with each slot that
    is released.
    """
    now = clock.now()
    if database.vendor == "postgresql":
        ready = [connection_pk, now, now, now, STATUS_REPORTERS_ARRAY]
        free = [most, now, now, now, now, connection_pk, Breaker.OPEN, now]
        rows = ask(TAKE, [now + dispatch.MESSAGE_LIFETIME, *ready, *free])
        return [pk for _, pk in sorted(rows)]
    connection = Connection.objects.get(pk=connection_pk)
    paused = connection.paused_until is not None and connection.paused_until > now
    if connection.breaker == Breaker.OPEN or paused:
        return []
    places = most if connection.limit is None else min(most, free_capacity(connection))
    steps = not_enqueued().filter(connection=connection).values_list("pk", flat=True)
    return [pk for pk in steps[:places] if _mark(pk)]


LEASED_STATES = ", ".join(f"'{state}'" for state in LEASED)
STATUS_REPORTERS_ARRAY = f"{{{','.join(STATUS_REPORTERS)}}}"
TAKE = f"""
UPDATE onboarding_step SET enqueued_until = %s WHERE id = ANY(ARRAY(
    SELECT next.id FROM onboarding_step next JOIN onboarding_onboardingtransaction run ON run.id = next.transaction_id
    WHERE next.connection_id = %s AND (next.due_at <= %s OR (next.lease_until < %s AND next.state IN ({LEASED_STATES})))
    AND (next.enqueued_until IS NULL OR next.enqueued_until <= %s)
    AND (run.held_at IS NULL OR (next.uses = ANY(%s) AND next.written > ''))
    ORDER BY COALESCE(next.enqueued_until, next.due_at, next.lease_until), next.id
    LIMIT COALESCE((
        SELECT GREATEST(0, LEAST(%s, LEAST(concurrency_limit, max_concurrency) - (
            SELECT count(*) FROM integrations_connectionslot
            WHERE connection_id = one.id AND holder <> '' AND leased_until >= %s
        ) - (
            SELECT count(*) FROM onboarding_step told
            WHERE told.connection_id = one.id AND told.enqueued_until > %s
            AND (told.due_at <= %s OR (told.lease_until < %s AND told.state IN ({LEASED_STATES})))
        )))
        FROM integrations_connection one
        WHERE id = %s AND breaker <> %s AND (paused_until IS NULL OR paused_until <= %s)
    ), 0)
    FOR UPDATE OF next SKIP LOCKED
)) RETURNING COALESCE(due_at, lease_until), id"""  # noqa: S608
"""As ``not_enqueued`` and ``free_capacity``, in one statement."""


def _publish(step_pk: int) -> None:
    if not dispatch.run_soon(step_pk):
        Step.objects.filter(pk=step_pk).update(enqueued_until=None)


def enqueue_next(connection_pk: int) -> None:
    """Enqueue those that may go on. Never fails its caller: the sweep enqueues them, too."""
    try:
        take_next(connection_pk, inline=False)
    except DatabaseError:
        log.exception("Nothing was enqueued for the free slots of connection %s; the sweep does it", connection_pk)


def is_queued(step: Step) -> bool:
    """It is enqueued once there is a slot, or once the pause is over, and not before."""
    paused = step.connection is not None and is_paused_for_a_moment(step.connection)
    return paused or step.waits_for == WaitsFor.SLOT


def enqueue_when_due(step: Step) -> None:
    """A step that waits, as it was written, and is due again within moments: it is enqueued right then."""
    if step.due_at is None or step.enqueued_until is not None or not dispatch.accepts_messages():
        return
    seconds = (step.due_at - clock.now()).total_seconds()
    if 0 < seconds <= SOON_SECONDS:
        timers.after(seconds + MARGIN_SECONDS, partial(_enqueue_if_due, step.pk, step.connection_id))


def _enqueue_if_due(step_pk: int, connection_pk: int | None) -> None:
    if connection_pk is not None:
        enqueue_next(connection_pk)
    elif Step.objects.filter(pk=step_pk, due_at__lte=clock.now()).exists() and _mark(step_pk):
        _publish(step_pk)


def is_paused_for_a_moment(connection: Connection) -> bool:
    now = clock.now()
    until = connection.paused_until
    return until is not None and now < until <= now + timedelta(seconds=SHORT_PAUSE_SECONDS)


def apply_backpressure(connection_pk: int, error: ProviderError) -> None:
    """As ``concurrency.apply_backpressure``, and at the end of a short pause the queued steps are enqueued; a longer one is
    the sweep's.
    """
    concurrency.apply_backpressure(connection_pk, error)
    if error.backpressure_applied:
        kept_connections.forget()  # what this process claims next is claimed under the lowered limit
    seconds = concurrency.pause_left(connection_pk) if error.backpressure_applied else 0.0
    if 0 < seconds <= SHORT_PAUSE_SECONDS and dispatch.accepts_messages():
        timers.after(seconds + AFTER_PAUSE_SECONDS, partial(enqueue_next, connection_pk))


def _mark(step_pk: int) -> bool:
    """Two who release slots at once must not both enqueue the same step."""
    now = clock.now()
    free = Step.objects.filter(Q(enqueued_until=None) | Q(enqueued_until__lte=now), pk=step_pk)
    return bool(free.update(enqueued_until=now + dispatch.MESSAGE_LIFETIME))


@retried
def reset_enqueued(connection_pk: int) -> None:
    """The connection takes steps again: messages from before it stopped led to no claim, and must not hold slots now."""
    now = clock.now()
    Step.objects.filter(connection_id=connection_pk, due_at__lte=now, enqueued_until__gt=now).update(
        enqueued_until=None
    )


def probe(connection_pk: int) -> None:
    """Try a stopped connection with a harmless call; where that passes, the next queued step shows whether it works."""
    seen = Connection.objects.get(pk=connection_pk)
    if not seen.is_stopped or seen.probe_at is None:
        return
    result = connections.probe(seen)
    now = clock.now()
    waiting = Step.objects.filter(Q(due_at__lte=now) | Q(state__in=LEASED), connection=seen).exclude(on_hold())
    if breaker.apply_probe_result(seen, result, waiting=waiting.exists()):
        reset_enqueued(connection_pk)
        take_next(connection_pk, inline=False)


def runs_waiting(connection: Connection) -> int:
    """Runs with a step that could go on at this connection if it were well."""
    return _ready(connection).values("transaction").distinct().count()


def runs_left(connection: Connection) -> int:
    """Of the runs that were parked when the breaker last closed: those which have not run yet."""
    if connection.released_at is None or connection.is_stopped:
        return 0
    went_on = Attempt.objects.filter(
        step__transaction=OuterRef("transaction"),
        step__connection=connection,
        started_at__gte=connection.released_at,
    )
    parked_then = _ready(connection).filter(transaction__created_at__lte=connection.released_at)
    left = parked_then.exclude(Exists(went_on)).values("transaction").distinct().count()
    return min(left, connection.release_total)


def _ready(connection: Connection) -> QuerySet[Step]:
    steps = Step.objects.unfinished().filter(connection=connection).exclude(on_hold())
    steps = steps.exclude(waits_for=WaitsFor.EVENT)
    return steps.filter(Q(due_at__isnull=False) | Q(state__in=LEASED))
