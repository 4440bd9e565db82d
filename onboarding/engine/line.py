"""Steps in line at a connection: who is due there, who goes next when a place is free, and trying a stopped connection.

A connection with a limit is asked for no more than it takes: hundreds may wait, and waiting costs them nothing.
"""

import logging
import threading
from datetime import timedelta

from django.db import connection as database
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from integrations import breaker, clock, connections, pace
from integrations.errors import ProviderError
from integrations.models import Connection
from integrations.words import Breaker
from onboarding.engine import dispatch
from onboarding.engine.locks import retried
from onboarding.models import Attempt, Step
from onboarding.steps.base import UpdateHandler
from onboarding.steps.registry import HANDLERS
from onboarding.words import LEASED, WaitsFor

SHORT_PAUSE_SECONDS = 10.0
"""Steps stay due during a pause no longer than this: each of them put off by itself would cost more than the wait."""
AFTER_PAUSE_SECONDS = 0.01
log = logging.getLogger(__name__)
FOLLOWERS = [name for name, handler in HANDLERS.items() if isinstance(handler, UpdateHandler) and handler.follows_run]


def on_hold() -> Q:
    """Steps of runs on hold, but for those that tell others so, once they have told them anything."""
    return Q(transaction__held_at__isnull=False) & ~Q(uses__in=FOLLOWERS, written__gt="")


def due() -> QuerySet[Step]:
    """Due or abandoned steps, the oldest first. Those parked behind an open breaker stay where they are.

    One whose hint came to nothing goes to the end: else it would be told again and again, and keep the others from a place.
    """
    now = clock.now()
    ready = Q(due_at__lte=now) | Q(lease_until__lt=now, state__in=LEASED)
    soon = now + timedelta(seconds=SHORT_PAUSE_SECONDS)
    steps = Step.objects.exclude(connection__breaker=Breaker.OPEN).exclude(on_hold())
    steps = steps.exclude(connection__paused_until__gt=now, connection__paused_until__lte=soon)
    return steps.filter(ready).order_by(Coalesce("hinted_until", "due_at", "lease_until"), "pk")


def hinted() -> QuerySet[Step]:
    """Those of them that a fresh hint stands for."""
    return due().filter(hinted_until__gt=clock.now())


def unhinted() -> QuerySet[Step]:
    """Those that nobody was told of."""
    return due().exclude(hinted_until__gt=clock.now())


def paced() -> list[Connection]:
    """Connections that take only so many at once now. One that is paused is not among them: its steps are told until when."""
    limited = Connection.objects.filter(Q(max_concurrency__isnull=False) | Q(pace__isnull=False))
    return list(limited.exclude(paused_until__gt=clock.now()).exclude(breaker=Breaker.OPEN))


def room(connection: Connection) -> int:
    """How many more steps may be told to try; 0 where those told already fill it."""
    return max(0, (pace.places(connection) or 0) - hinted().filter(connection=connection).count())


def take_next(connection_pk: int, *, inline: bool) -> int | None:
    """Free places go to the next in line: one step to the caller with ``inline``, the others to workers, by hints."""
    connection = Connection.objects.get(pk=connection_pk)
    paused = connection.paused_until is not None and connection.paused_until > clock.now()
    if connection.limit is None or connection.breaker == Breaker.OPEN or paused:
        return None
    mine: int | None = None
    for pk in unhinted().filter(connection=connection).values_list("pk", flat=True)[: room(connection)]:
        if inline and mine is None:
            mine = pk if _mark(pk) else None
        elif dispatch.takes_hints() and _mark(pk) and not dispatch.publish(dispatch.RUN_STEP, pk):
            Step.objects.filter(pk=pk).update(hinted_until=None)
    return mine


def is_paused_for_a_moment(connection: Connection) -> bool:
    now = clock.now()
    until = connection.paused_until
    return until is not None and now < until <= now + timedelta(seconds=SHORT_PAUSE_SECONDS)


def heed(connection_pk: int, error: ProviderError) -> None:
    """As ``pace.heed``, and at the end of a short pause the steps in line are hinted at; a longer one is the sweep's."""
    pace.heed(connection_pk, error)
    seconds = pace.pause_left(connection_pk) if error.heeded else 0.0
    if not 0 < seconds <= SHORT_PAUSE_SECONDS or not dispatch.takes_hints():
        return
    timer = threading.Timer(seconds + AFTER_PAUSE_SECONDS, _after_pause, [connection_pk])
    timer.daemon = True
    timer.start()


def _after_pause(connection_pk: int) -> None:
    try:
        take_next(connection_pk, inline=False)
    except Exception:
        log.exception("Nobody was told that connection %s goes on; the sweep does it", connection_pk)
    finally:
        database.close()


def _mark(step_pk: int) -> bool:
    """Two who give back places at once must not both turn to the same step."""
    now = clock.now()
    free = Step.objects.filter(Q(hinted_until=None) | Q(hinted_until__lte=now), pk=step_pk)
    return bool(free.update(hinted_until=now + dispatch.HINT_LIFETIME))


@retried
def begin(connection_pk: int) -> None:
    """The connection takes steps again: hints from before it stopped came to nothing, and must not hold places now."""
    now = clock.now()
    Step.objects.filter(connection_id=connection_pk, due_at__lte=now, hinted_until__gt=now).update(hinted_until=None)


def probe(connection_pk: int) -> None:
    """Try a stopped connection with a harmless call; where that passes, the next step in line shows whether it works."""
    seen = Connection.objects.get(pk=connection_pk)
    if not seen.is_stopped or seen.probe_at is None:
        return
    result = connections.probe(seen)
    now = clock.now()
    waiting = Step.objects.filter(Q(due_at__lte=now) | Q(state__in=LEASED), connection=seen).exclude(on_hold())
    if breaker.settle_probe(seen, result, waiting=waiting.exists()):
        begin(connection_pk)
        take_next(connection_pk, inline=False)


def runs_waiting(connection: Connection) -> int:
    """Runs with a step that could go on at this connection if it were well."""
    return _ready(connection).values("transaction").distinct().count()


def runs_left(connection: Connection) -> int:
    """Of the runs that were parked when the breaker last closed: those which have not had their turn yet."""
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
    steps = Step.objects.filter(connection=connection, finished_at=None).exclude(on_hold())
    steps = steps.exclude(waits_for=WaitsFor.EVENT)
    return steps.filter(Q(due_at__isnull=False) | Q(state__in=LEASED))
