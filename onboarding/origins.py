"""Where a run, a version of its data or one field came from: a kind of our own, a name of ours, and the sender's label."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from onboarding.enums import OriginKind


class HasOrigin(Protocol):
    """A row that keeps an origin in three columns."""

    origin: str
    origin_name: str
    source: str


@dataclass(frozen=True)
class Origin:
    """``name`` is ours: the connection's slug, the API key's name, the username, the path that a value was derived from.

    ``label`` is the sender's own text (``event_source``): shown, and never interpreted.
    """

    kind: OriginKind
    name: str = ""
    label: str = ""

    @classmethod
    def of(cls, row: HasOrigin) -> "Origin":
        return cls(OriginKind(row.origin), row.origin_name, row.source)

    @classmethod
    def stored(cls, value: Any) -> "Origin | None":
        """From ``as_dict``; None for what is not one."""
        if not isinstance(value, dict) or value.get("kind") not in OriginKind.values:
            return None
        return cls(OriginKind(value["kind"]), str(value.get("name", "")), str(value.get("label", "")))

    def as_dict(self) -> dict[str, str]:
        parts = {"kind": str(self.kind), "name": self.name, "label": self.label}
        return {key: value for key, value in parts.items() if value}


@dataclass(frozen=True)
class Sender:
    """Who sends content about runs, as we know it: a connection, an API key, a person."""

    kind: OriginKind
    name: str
    fills: frozenset[str] = field(default_factory=frozenset)
    """Names of other sources (connections, API keys) whose runs it was set up to fill in."""
    acts_for_people: bool = False
    """It may do whatever a person may, such as a key with the scope operate."""

    def origin(self, label: str = "") -> Origin:
        return Origin(self.kind, self.name, label)

    def may_fill(self, origin: str, name: str) -> bool:
        """Whether it fills in, by itself, what a run that came from ``origin`` and ``name`` still lacks."""
        if self.acts_for_people or self.kind in (OriginKind.PERSON, OriginKind.IMPORT):
            return True
        return (self.kind, self.name) == (origin, name) or name in self.fills
