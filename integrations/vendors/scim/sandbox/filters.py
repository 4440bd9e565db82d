"""Filters (RFC 7644, 3.4.2.2), as far as servers commonly go: ``eq`` on a few attributes, joined by ``and``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from integrations.sandbox.store import Json
from integrations.vendors.scim.sandbox.schemas import EXACT, Invalid, canonical

_CLAUSE = re.compile(r'\s*([A-Za-z][\w.$-]*)\s+([A-Za-z]{2})\s+("(?:[^"\\]|\\.)*"|true|false)\s*')
_AND = re.compile(r"and\s", re.IGNORECASE)
Clause = tuple[str, str | bool]


def clauses(text: str, attributes: list[str]) -> list[Clause]:
    """(attribute, value) pairs that must all hold. Raises ``Invalid`` for what this server does not know."""
    found: list[Clause] = []
    at = 0
    while True:
        matched = _CLAUSE.match(text, at)
        if matched is None:
            raise Invalid("invalidFilter", f"The filter cannot be read at character {at + 1}")
        name, operator, literal = matched.groups()
        known = canonical(dict.fromkeys(attributes), name)
        if known is None or operator.lower() != "eq":
            raise Invalid("invalidFilter", f"The server cannot filter by {name} {operator}")
        try:
            found.append((known, json.loads(literal)))
        except ValueError:
            raise Invalid("invalidFilter", f"{literal} is no JSON string") from None
        at = matched.end()
        if at == len(text):
            return found
        if not _AND.match(text, at):
            raise Invalid("invalidFilter", f"The filter cannot be read at character {at + 1}")
        at += len("and")


def condition(wanted: list[Clause]) -> Callable[[Json], bool]:
    return lambda body: all(same(name, body.get(name), value) for name, value in wanted)


def same(attribute: str, held: object, wanted: object) -> bool:
    if isinstance(held, str) and isinstance(wanted, str) and attribute not in EXACT:
        return held.lower() == wanted.lower()
    return held is not None and held == wanted
