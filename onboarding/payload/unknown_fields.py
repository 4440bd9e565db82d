"""Fields of a payload that nothing reads: kept, and told to whoever sent them, as a misspelt name is otherwise seen by nobody."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, get_args

from integrations.declarative.mapping import mappings
from onboarding.payload.schema import OnboardingPayload, Part

MOST = 20
LONGEST_NAME = 64
ALIKE = 0.7


@dataclass(frozen=True)
class UnknownField:
    """``nearest``: the path that may have been meant; empty where none is alike."""

    path: str
    nearest: str

    @property
    def detail(self) -> str:
        meant = f" Did you mean {self.nearest}?" if self.nearest else ""
        return f"is no field that Firstvalue knows; it is kept and has no effect.{meant}"


def unknown_fields(content: dict[str, Any]) -> list[UnknownField]:
    """The first of them, in the order in which they were sent. What a declarative provider declares as its own is known."""
    own = frozenset(path for made in mappings().values() for path in made.fields)
    return list(islice(_unknown(content, OnboardingPayload, "", own), MOST))


def _unknown(content: dict[str, Any], part: type[Part], prefix: str, own: frozenset[str]) -> Iterator[UnknownField]:
    for name, value in content.items():
        path = f"{prefix}{name}"
        if name in part.model_fields:
            if inner := _part(part.model_fields[name].annotation):
                for where, each in _parts(value, path):
                    yield from _unknown(each, inner, f"{where}.", own)
        elif not any(f"{declared}.".startswith(f"{path}.") or path.startswith(f"{declared}.") for declared in own):
            nearest = difflib.get_close_matches(name[:LONGEST_NAME].casefold(), part.model_fields, 1, ALIKE)
            yield UnknownField(path, f"{prefix}{nearest[0]}" if nearest else "")


def _part(annotation: Any) -> type[Part] | None:
    """The part that a field holds, or each item of its list."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, Part):
            return each
    return None


def _parts(value: Any, path: str) -> Iterable[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        return [(path, value)]
    listed = value if isinstance(value, list) else []
    return [(f"{path}.{number}", each) for number, each in enumerate(listed) if isinstance(each, dict)]
