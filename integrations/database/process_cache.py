"""What a process keeps of rows and texts that cost more to read or to parse than to hold.

A value is used only together with the version that it was made from (``credentials_version``, a content's hash), which is read
from a row that is fetched anyway: what another process has changed is noticed. Each is bounded, the oldest entry goes first.
"""

from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_all: "list[ProcessCache]" = []  # type: ignore[type-arg]  # of whatever types


class ProcessCache(Generic[K, V]):
    """At most ``most`` values by key, shared by all threads of the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, V] = {}
        self._lock = Lock()
        _all.append(self)

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = value
            if len(self._values) > self._most:
                del self._values[next(iter(self._values))]

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


def clear_all_caches() -> None:
    """All caches of this process are empty afterwards (tests, whose databases and keys change under it)."""
    for each in _all:
        each.clear()
