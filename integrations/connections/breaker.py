"""The circuit breaker of a vendor that fails: it opens on failures in a row, tries again by itself, and closes.

Counted on the connection, by one conditional UPDATE each and never inside a run's transaction. A call's news counts only where
the breaker still stands as it did when the call was claimed: late answers, from before it opened or closed, change nothing.
Refused credentials have no counting and no trying (``services.record_auth_failure``, ``close_after_probe``).
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Least

from integrations import clock, signals
from integrations.connections import concurrency
from integrations.connections import services as connections
from integrations.connections.services import BREAKER_FIELDS, ProbeResult
from integrations.database.statements import note
from integrations.enums import STOPPED, Breaker, BreakerCause
from integrations.errors import Kind, ProviderError
from integrations.http.redaction import redact_text
from integrations.models import Connection

ANSWERS = (Kind.FORBIDDEN, Kind.INVALID, Kind.CONFLICT, Kind.NOT_FOUND, Kind.JOB_FAILED)
"""Failures that show that the vendor works."""
FAILURES_TO_OPEN = 5
MOST_COUNTED = 1000
"""Where opening itself fails, counting stays within its column."""
COOL_DOWN = timedelta(seconds=10)
LONGEST_COOL_DOWN = timedelta(minutes=5)
TRIAL_LEASE = timedelta(minutes=1)
"""A half-open breaker that no step has closed or opened by then is looked at again."""
ACTOR = "system"
_REFUSED = (Kind.AUTH, Kind.FORBIDDEN)


def cool_down(failed_probes: int) -> timedelta:
    """The wait before the next probe: 10 s, doubling with each that failed, at most 5 min."""
    return min(COOL_DOWN * 2.0 ** min(failed_probes, 10), LONGEST_COOL_DOWN)


def _try_again(now: datetime, failed_probes: int, retry_after: float | None) -> datetime:
    """Never before the time that the vendor asked for."""
    return now + max(cool_down(failed_probes), timedelta(seconds=retry_after or 0.0))


def count(seen: Connection, error: ProviderError | None, *, subject: str) -> None:
    """What a call said of whether the vendor works. ``error``: None where it went well; a refusal is an answer, too."""
    if error is None or (error.kind in ANSWERS and not error.ours):
        succeeded(seen)
    elif error.kind is Kind.SERVER and not (error.ours or error.of_object):
        failed(seen, subject=subject, error=error)


def succeeded(seen: Connection) -> None:
    """The vendor answered a step that was claimed under ``seen``.

    Costs nothing where nothing had failed by then: what failed meanwhile is not undone by a call that began before, nor does
    one that began before a 429 raise what that has lowered.
    """
    if not (seen.is_stopped or seen.failures or seen.concurrency_limit is not None):
        return
    if seen.breaker == Breaker.CLOSED:
        _count_success(seen)
        return
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=seen.pk)
        if _is_as_seen(locked, seen):
            locked.failures, locked.failures_of = 0, ""
            connections.close(locked, actor=ACTOR)
            # The step that closed it was the first of the release.
            Connection.objects.filter(pk=seen.pk).update(**concurrency.after_success(clock.now()))


def _count_success(seen: Connection) -> None:
    """By one statement, that writes nothing where there is nothing to change: under a lowered limit it comes with each step."""
    if database.vendor == "postgresql":
        same = [seen.lowered_at]
        values = [
            *same * 4,
            clock.now(),
            seen.pk,
            seen.breaker,
            seen.breaker_changed_at,
            seen.credentials_version,
            *same,
        ]
        note(COUNT_SUCCESS, values)
    else:
        _count_success_portably(seen)


def _count_success_portably(seen: Connection) -> None:
    well = {"failures": 0, "failures_of": ""}
    if not as_seen(seen).filter(lowered_at=seen.lowered_at).update(**well, **concurrency.after_success(clock.now())):
        as_seen(seen).update(**well)


IS_SAME = "lowered_at IS NOT DISTINCT FROM %s"
IS_LAST = f"concurrency_limit >= COALESCE(max_concurrency, {concurrency.UNLIMITED}) - 1"
COUNT_SUCCESS = f"""
UPDATE integrations_connection SET failures = 0, failures_of = '',
    refusals = CASE WHEN {IS_SAME} THEN 0 ELSE refusals END,
    slow_start = slow_start AND NOT COALESCE({IS_SAME} AND {IS_LAST}, FALSE),
    concurrency_limit = CASE WHEN NOT {IS_SAME} THEN concurrency_limit WHEN {IS_LAST} THEN NULL ELSE concurrency_limit + 1 END,
    concurrency_changed_at = CASE WHEN {IS_SAME} AND concurrency_limit IS NOT NULL THEN %s ELSE concurrency_changed_at END
WHERE id = %s AND breaker = %s AND breaker_changed_at IS NOT DISTINCT FROM %s AND credentials_version = %s
    AND (failures > 0 OR ({IS_SAME} AND (concurrency_limit IS NOT NULL OR refusals > 0)))"""  # noqa: S608
"""As ``concurrency.after_success``, where the connection was lowered no more since. Lost with the server, the next one counts."""


def failed(seen: Connection, *, subject: str, error: ProviderError) -> None:
    """A 5xx, a timeout or a broken connection met ``subject``, a step that was claimed under ``seen``.

    Opens the breaker at the fifth in a row. Where one step alone had them all, that step may be the trouble: then the probe
    decides. Half-open, one failure is enough, and closes the door to all others. Only one of the step that alone had the
    failures before says no more than was known: where the probe passes, the next queued step is the trial in its place.
    """
    of = Case(When(Q(failures=0) | Q(failures_of=subject), then=Value(subject)), default=Value(""))
    if not as_seen(seen).update(failures=Least(F("failures") + 1, MOST_COUNTED), failures_of=of):
        return
    there = Connection.objects.get(pk=seen.pk)
    if not _is_as_seen(there, seen) or there.failures < FAILURES_TO_OPEN:
        return
    if there.failures_of == subject and connections.probe(there).ok:
        spared = {"failures": FAILURES_TO_OPEN - 1} if there.is_stopped else {"failures": 0, "failures_of": ""}
        as_seen(seen).filter(failures_of=subject).update(**spared)
        return
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=seen.pk)
        if _is_as_seen(locked, seen) and locked.failures >= FAILURES_TO_OPEN:
            again = locked.breaker == Breaker.HALF_OPEN
            suspect = subject if again else locked.failures_of
            met = ProbeResult(False, str(error), error.http_status, error.kind, error.retry_after)
            _open(locked, met, suspect=suspect, again=again)


def _open(locked: Connection, met: ProbeResult, *, suspect: str, again: bool) -> None:
    """``suspect``: the one step whose failures opened it; empty where several had them. ``again``: its trial ended badly."""
    now = clock.now()
    locked.failed_probes += again
    due = _try_again(now, locked.failed_probes, met.retry_after)
    locked.open_breaker(reason=redact_text(met.message), at=now, cause=BreakerCause.SERVER, probe_at=due)
    locked.failures, locked.failures_of, locked.probed_at = FAILURES_TO_OPEN, suspect, now if again else None
    locked.slow_start = False
    locked.save(update_fields=BREAKER_FIELDS)
    signals.breaker_opened.send(Connection, connection=locked, status=met.status)


def take_due_probes(now: datetime) -> list[int]:
    """Connections to try again, each handed out once: whoever took it and is lost is followed after the lease."""
    lease = timedelta(seconds=settings.LEASE_SECONDS)
    due = Connection.objects.filter(breaker__in=STOPPED, enabled=True, probe_at__lte=now)
    return [
        pk
        for pk, at in due.values_list("pk", "probe_at")
        if Connection.objects.filter(pk=pk, probe_at=at).update(probe_at=now + lease)
    ]


def probe_soon(connection_pk: int) -> bool:
    """A person wants it tried now: the next sweep does. False where it is not one that tries by itself."""
    waiting = Connection.objects.filter(pk=connection_pk, breaker=Breaker.OPEN, probe_at__isnull=False)
    return bool(waiting.update(probe_at=clock.now()))


def apply_probe_result(seen: Connection, result: ProbeResult, *, waiting: bool) -> bool:
    """What follows from a probe of ``seen``. ``waiting``: a step is due there, whose passing then decides; else it closes.

    True if steps may go through it now.
    """
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=seen.pk)
        if not _is_as_seen(locked, seen) or not locked.is_stopped:
            return False
        now = clock.now()
        locked.probed_at = now
        if result.kind in _REFUSED:
            locked.open_breaker(reason=redact_text(result.message), at=now)
            locked.save(update_fields=BREAKER_FIELDS)
            signals.breaker_opened.send(Connection, connection=locked, status=result.status)
        elif not result.ok and locked.breaker == Breaker.HALF_OPEN:
            _open(locked, result, suspect="", again=True)
        elif not result.ok:
            locked.failed_probes += 1
            locked.probe_at = _try_again(now, locked.failed_probes, result.retry_after)
            locked.save(update_fields=BREAKER_FIELDS)
        elif not waiting:
            # Nothing was shown but that the probe passes: the first failure opens it again.
            locked.failures = FAILURES_TO_OPEN - 1
            connections.close(locked, actor=ACTOR)
        else:
            if locked.breaker == Breaker.OPEN:
                locked.half_open(at=now, probe_at=now + TRIAL_LEASE)
                concurrency.limit_to_one(locked)
            locked.probe_at = now + TRIAL_LEASE
            locked.save(update_fields=BREAKER_FIELDS)
    return result.ok


def as_seen(seen: Connection) -> QuerySet[Connection]:
    """The connection's row, if its breaker and its credentials are still those of ``seen``."""
    return Connection.objects.filter(
        pk=seen.pk,
        breaker=seen.breaker,
        breaker_changed_at=seen.breaker_changed_at,
        credentials_version=seen.credentials_version,
    )


def _is_as_seen(there: Connection, seen: Connection) -> bool:
    return (there.breaker, there.breaker_changed_at, there.credentials_version) == (
        seen.breaker,
        seen.breaker_changed_at,
        seen.credentials_version,
    )
