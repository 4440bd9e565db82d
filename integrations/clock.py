"""One clock decides what is due: the database's, so that workers with skewed clocks agree.

The database is asked at most once in ``RESYNC_SECONDS`` per process; in between its time is carried on by the monotonic clock.
"""

import time
from datetime import UTC, datetime, timedelta
from threading import Lock

from django.db import connection

RESYNC_SECONDS = 30.0

_lock = Lock()
_synced_at: float | None = None
_database_minus_monotonic = 0.0
_offset = timedelta(0)


def now() -> datetime:
    """The database's current time (aware, UTC), plus the offset that a test may have set."""
    return datetime.fromtimestamp(_carried(), UTC) + _offset


def shift(by: timedelta) -> None:
    """Move the clock by ``by`` (tests only)."""
    global _offset  # noqa: PLW0603
    _offset += by


def reset() -> None:
    global _offset  # noqa: PLW0603
    _offset = timedelta(0)


def _carried() -> float:
    global _synced_at, _database_minus_monotonic  # noqa: PLW0603
    tick = time.monotonic()
    if _synced_at is None or tick - _synced_at > RESYNC_SECONDS:
        database_time = _ask_database()
        answered = time.monotonic()
        with _lock:
            _synced_at = tick
            # It read its clock about half-way: two processes' clocks must not differ by what a slow answer took.
            _database_minus_monotonic = database_time - (tick + answered) / 2
        return answered + _database_minus_monotonic
    return tick + _database_minus_monotonic


def _ask_database() -> float:
    if connection.vendor != "postgresql":
        return time.time()  # SQLite's clock is this machine's
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])
