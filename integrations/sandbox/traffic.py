"""How many requests each vendor has in hand at once, from the last byte of a request to the last of its answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from integrations.sandbox.store import Json


class Traffic:
    """Kept in memory: it tells of this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    @contextmanager
    def request(self, vendor: str) -> Iterator[None]:
        with self._lock:
            self._now[vendor] += 1
            self._most[vendor] = max(self._most[vendor], self._now[vendor])
        try:
            yield
        finally:
            with self._lock:
                self._now[vendor] -= 1

    def shown(self) -> Json:
        with self._lock:
            return {vendor: {"now": self._now[vendor], "most": most} for vendor, most in self._most.items()}

    def forget(self) -> None:
        """Count the most anew, from what is in hand now."""
        with self._lock:
            self._most = Counter(self._now)
