"""The concurrency limit of a connection: leased slots, lowered by 429 answers and after a breaker, raised by successes.

Additive increase, multiplicative decrease (RFC 5681, 3.1): halved by a 429, once in the time that it asks for, and raised by one
with each step that succeeds after it.

Places are taken by conditional UPDATE on rows: counting first and claiming then would let too many through. A connection
without a limit writes nothing.
"""

from datetime import datetime, timedelta

from django.db import connection as database
from django.db import transaction
from django.db.models import BooleanField, Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from integrations import clock
from integrations.database.statements import note
from integrations.enums import STOPPED
from integrations.errors import Kind, ProviderError
from integrations.models import Connection, ConnectionSlot

_paused: dict[int, datetime] = {}
"""Until when, by connection: what this process was told, which a call that is about to be sent need not ask the database for."""

UNLIMITED = 8
"""Where to start lowering a connection that has no limit, and where to lift the lowering again."""
PAUSE_SECONDS = 1.0
"""The pause after a 429 that names none."""
OWN_SECONDS = 2.0
"""A ``Retry-After`` no longer than this is about the call that was refused, until others are refused too."""
CONSECUTIVE_REFUSALS = 3
"""So many 429 answers without a success between them are about the whole account, however short they ask to wait."""
MIN_LIMIT = 2
"""429 answers lower a connection no further: one call at a time would starve it."""
WINDOW = timedelta(seconds=1)
"""So long at least, further 429 answers are about the same excess."""
RAISE_INTERVAL = timedelta(seconds=2)
"""Where nothing succeeds that could raise it, a lowered limit doubles so often after the pause."""
SLOW_START_INTERVAL = timedelta(minutes=1)
"""After a breaker only successes show that the vendor works: without any it rises by one so often."""


def acquire(connection: Connection, holder: str, until: datetime) -> bool:
    """Takes a place until ``until`` for ``holder``, who may have it already. False while paused or full.

    Judges the pause and the limit by the instance given: fetch it freshly.
    """
    now = clock.now()
    if connection.paused_until and connection.paused_until > now:
        return False
    if (limit := connection.limit) is None:
        return True
    slots = ConnectionSlot.objects.filter(connection=connection)
    # One that has run out may have been counted as free by others: its holder comes anew.
    if slots.filter(holder=holder, leased_until__gte=now).update(leased_until=until):
        return True
    free = _free(now)
    is_free = dict(slots.annotate(is_free=Case(When(free, then=True), default=False)).values_list("number", "is_free"))
    if missing := set(range(limit)) - is_free.keys():
        rows = [ConnectionSlot(connection=connection, number=number) for number in sorted(missing)]
        ConnectionSlot.objects.bulk_create(rows, ignore_conflicts=True)
    held = [number for number, one in is_free.items() if not one]
    for number in range(_open(limit, held)):
        if number not in held and slots.filter(free, number=number).update(holder=holder, leased_until=until):
            return True
    return False


def _open(limit: int, held: list[int]) -> int:
    """So many of the lowest places may be taken: all of them together with those held above them stay within the limit.

    Places above a limit that was lowered under their holders count until they are given back. Counted by numbers, as several may
    take one at the same moment.
    """
    return next(n for n in range(limit, -1, -1) if n == 0 or n + sum(number >= n for number in held) <= limit)


def free_slots(connection: Connection) -> int | None:
    """How many more steps it takes now; None for no limit. Only a guide for whom to ask: ``acquire`` decides."""
    if connection.limit is None:
        return None
    slots = ConnectionSlot.objects.filter(connection=connection)
    return max(0, connection.limit - slots.exclude(_free(clock.now())).count())


def _free(now: datetime) -> Q:
    return Q(holder="") | Q(leased_until__lt=now)


def release(connection_id: int, holder: str) -> None:
    """Gives back what ``holder`` has, if anything: an expired place may be another's by now."""
    if database.vendor == "postgresql":
        note(RELEASE, [connection_id, holder])
        return
    ConnectionSlot.objects.filter(connection_id=connection_id, holder=holder).update(holder="", leased_until=None)


RELEASE = (
    "UPDATE integrations_connectionslot SET holder = '', leased_until = NULL WHERE connection_id = %s AND holder = %s"
)
"""Lost with the server, the place runs out by itself."""


def slow_down(connection_pk: int, retry_after: float | None) -> None:
    """After a 429: halves the connection's concurrency limit, down to ``FLOOR``, and pauses it for ``retry_after`` seconds.

    Halved once per pause: calls that were under way when it began are refused in a bunch, which is one signal. A short wait that
    one call alone was asked for is that call's own (the policy keeps it): stopping all the others for it would cost more than the
    vendor asks.
    """
    now = clock.now()
    seconds = PAUSE_SECONDS if retry_after is None else retry_after
    until = now + timedelta(seconds=seconds)
    if seconds > OWN_SECONDS:
        _remember(connection_pk, max(until, _paused.get(connection_pk, until)))
    with transaction.atomic():
        connection = Connection.objects.select_for_update(no_key=True).get(pk=connection_pk)
        ends = max(connection.paused_until or now, (connection.lowered_at or now - WINDOW) + WINDOW)
        if connection.concurrency_limit is None or connection.lowered_at is None or ends <= now:
            limit = connection.limit or UNLIMITED
            connection.concurrency_limit = max(min(MIN_LIMIT, limit), limit // 2)
            connection.concurrency_changed_at = connection.lowered_at = now
        connection.slow_start, connection.refusals = False, min(connection.refusals + 1, CONSECUTIVE_REFUSALS)
        if seconds > OWN_SECONDS or connection.refusals >= CONSECUTIVE_REFUSALS:
            connection.paused_until = max(until, connection.paused_until or until)
            _remember(connection_pk, connection.paused_until)
        changed = [
            "concurrency_limit",
            "concurrency_changed_at",
            "lowered_at",
            "refusals",
            "paused_until",
            "slow_start",
        ]
        connection.save(update_fields=changed)


def apply_backpressure(connection_pk: int, error: ProviderError) -> None:
    """What a failure means for the whole connection, once: fewer calls after a 429, none while the vendor says it is away."""
    if error.backpressure_applied:
        return
    if error.kind is Kind.RATE_LIMIT:
        slow_down(connection_pk, error.retry_after)
        error.backpressure_applied = True
    elif error.whole_account and error.retry_after:
        hold(connection_pk, error.retry_after)
        error.backpressure_applied = True


def pause_left(connection_pk: int) -> float:
    """Seconds, as far as this process knows without asking the database; 0 for none."""
    until = _paused.get(connection_pk)
    return max(0.0, (until - clock.now()).total_seconds()) if until else 0.0


def read_pause(connection_pk: int) -> float:
    """As ``pause_left``, of whichever process was told to wait."""
    until = Connection.objects.filter(pk=connection_pk).values_list("paused_until", flat=True).first()
    _remember(connection_pk, until)
    return pause_left(connection_pk)


def forget_pauses() -> None:
    """What this process knows of them (tests only)."""
    _paused.clear()


def _remember(connection_pk: int, until: datetime | None) -> None:
    if until and until > clock.now():
        _paused[connection_pk] = until
    else:
        _paused.pop(connection_pk, None)


def hold(connection_pk: int, seconds: float) -> None:
    """Pauses the connection at least that long, and leaves its concurrency limit: the vendor says that it is away, not
    that it is asked
    too often.
    """
    until = clock.now() + timedelta(seconds=seconds)
    _remember(connection_pk, max(until, _paused.get(connection_pk, until)))
    sooner = Connection.objects.filter(Q(paused_until=None) | Q(paused_until__lt=until), pk=connection_pk)
    sooner.update(paused_until=until)


def recover(now: datetime) -> None:
    """For the sweep: raises each lowered limit that nothing has changed for a while, until the limit itself rules again."""
    still = Q(slow_start=False, concurrency_changed_at__lte=now - RAISE_INTERVAL) | Q(
        concurrency_changed_at__lte=now - SLOW_START_INTERVAL
    )
    lowered = Connection.objects.filter(still, concurrency_limit__isnull=False).exclude(breaker__in=STOPPED)
    for connection in lowered.exclude(paused_until__gt=now - RAISE_INTERVAL):
        lower = connection.concurrency_limit or 0
        raised = lower + 1 if connection.slow_start else 2 * lower
        limit = None if raised >= (connection.max_concurrency or UNLIMITED) else raised
        # A 429 may come in between: it keeps what it wrote.
        unchanged = Connection.objects.filter(
            pk=connection.pk,
            concurrency_limit=connection.concurrency_limit,
            concurrency_changed_at=connection.concurrency_changed_at,
        )
        unchanged.update(
            concurrency_limit=limit, concurrency_changed_at=now, slow_start=connection.slow_start and limit is not None
        )


def limit_to_one(connection: Connection) -> None:
    """On a connection that the caller holds locked and saves."""
    connection.concurrency_limit, connection.concurrency_changed_at, connection.slow_start = 1, clock.now(), False


def begin_slow_start(connection: Connection) -> None:
    """After a breaker: one step at a time, and one more with each success. The caller holds it locked and saves it."""
    limit_to_one(connection)
    connection.slow_start, connection.released_at = True, connection.concurrency_changed_at


def after_success(now: datetime) -> dict[str, Case | Value]:
    """What one success does to a lowered concurrency_limit, as columns of a conditional UPDATE: 1, 2, 4, 8 a round,
    up to the maximum.
    """
    last = Q(concurrency_limit__gte=Coalesce("max_concurrency", UNLIMITED) - 1)
    return {
        "concurrency_limit": Case(When(last, then=Value(None)), default=F("concurrency_limit") + 1),
        "concurrency_changed_at": Case(
            When(concurrency_limit=None, then=F("concurrency_changed_at")), default=Value(now)
        ),
        "slow_start": Case(When(last, then=False), default=F("slow_start"), output_field=BooleanField()),
        "refusals": Value(0),
    }
