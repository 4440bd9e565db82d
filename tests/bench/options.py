"""What ``make bench`` is asked to measure, from the environment (see docs/performance.md)."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.bench.contenders import PEERS

GROUPS = ("rates", "latency", "limited", "parked", "idle", "duplicates", "enterprise", "alone", "intake", "sqlite")


@dataclass(frozen=True)
class Options:
    only: frozenset[str] = frozenset(GROUPS)
    peers: tuple[str, ...] = PEERS
    batch: int = 100
    repeats: int = 3
    large: int = 1000
    faulty: int = 200
    limited: int = 400
    """Enough that the last ones' waits of a second each are not most of the time."""
    parked: int = 500
    seconds: float = 60.0
    """No batch is made so large that it takes longer at the rate seen before; those asked for by name are."""
    latency_seconds: float = 12.0
    intake_seconds: float = 4.0
    idle_seconds: float = 30.0
    history: int = 0
    soak: int = 0
    asked: frozenset[str] = field(default_factory=frozenset)
    out: Path | None = None
    docs: bool = False

    @classmethod
    def from_environment(cls) -> Self:
        """Raises ``SystemExit`` in plain words."""
        given = {
            name.lower().removeprefix("bench_"): value
            for name, value in os.environ.items()
            if "BENCH_" in name and value
        }
        only = _names(given, "only", GROUPS)
        peers = () if given.get("peers") == "none" else _names(given, "peers", PEERS)
        numbers = {
            name: _number(name, given[name])
            for name in ("batch", "repeats", "large", "faulty", "limited", "parked", "history", "soak", "idle_seconds")
            if name in given
        }
        out = Path(given["out"]) if "out" in given else None
        return cls(
            only=frozenset(only),
            peers=tuple(peers),
            asked=frozenset(numbers),
            out=out,
            docs=given.get("docs", "0") != "0",
            **numbers,
        )

    def size(self, name: str, per_second: float) -> int:
        """How many onboardings that measure takes, where so many a second were seen."""
        wanted: int = getattr(self, name)
        return wanted if name in self.asked else max(20, min(wanted, int(per_second * self.seconds)))


def _names(given: dict[str, str], option: str, known: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in given.get(option, "").split(",") if name.strip()] or list(known)
    if unknown := set(names) - set(known):
        raise SystemExit(
            f"BENCH_{option.upper()} does not know {', '.join(sorted(unknown))}; it knows {', '.join(known)}."
        )
    return names


def _number(name: str, value: str) -> int:
    if not value.isdigit():
        raise SystemExit(f"BENCH_{name.upper()} must be a whole number.")
    return int(value)
