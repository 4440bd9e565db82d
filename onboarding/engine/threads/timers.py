"""Work of this process at a given time, by one thread: what is due in a moment need not wait for the sweep.

Nothing depends on it: alarms are lost with the process, and what they were to tell of is due in rows.
"""

import heapq
import logging
import time
from collections.abc import Callable
from itertools import count
from threading import Condition, Thread

from django.db import connection as database

MOST = 1000
"""So many at once; the others are the sweep's."""

log = logging.getLogger(__name__)
_changed = Condition()
_waiting: list[tuple[float, int, Callable[[], None]]] = []
_numbers = count()
_thread: Thread | None = None


def after(seconds: float, work: Callable[[], None]) -> bool:
    """Does ``work`` in so many seconds, or later where other work takes its time. False where too much waits already."""
    global _thread  # noqa: PLW0603
    with _changed:
        if len(_waiting) >= MOST:
            return False
        heapq.heappush(_waiting, (time.monotonic() + seconds, next(_numbers), work))
        if _thread is None:
            _thread = Thread(target=_run, name="alarms", daemon=True)
            _thread.start()
        _changed.notify()
    return True


def thread() -> Thread | None:
    """Whichever waits for the next one's time (tests only)."""
    return _thread


def forget() -> None:
    """All that wait, as if the process had ended (tests only)."""
    with _changed:
        _waiting.clear()
        _changed.notify()


def _run() -> None:
    """Until nothing waits: its database connection is closed then."""
    while (work := _next()) is not None:
        try:
            work()
        except Exception:
            log.exception("An alarm came to nothing; the sweep does what it was for")
            database.close()


def _next() -> Callable[[], None] | None:
    """Waits for the next one's time. None where nothing waits any more."""
    global _thread  # noqa: PLW0603
    with _changed:
        while _waiting:
            left = _waiting[0][0] - time.monotonic()
            if left <= 0:
                return heapq.heappop(_waiting)[2]
            _changed.wait(left)
        _thread = None
        database.close()
        return None
