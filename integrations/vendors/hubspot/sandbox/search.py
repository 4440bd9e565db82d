"""HubSpot's CRM search: its filters, its limits, and what its index shows.

Limits: developers.hubspot.com/docs/api-reference/search/guide. Five filter groups of at most six filters, eighteen in all; 200
results a page; 10,000 a query. The values of IN are compared as they are, so that one with a capital matches no text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt

from integrations.sandbox.dialect import iso
from integrations.sandbox.store import Json, Row, Tx, term
from integrations.vendors.hubspot.sandbox import properties

KEYS = ("filterGroups", "properties", "limit", "after", "sorts")
MOST_GROUPS, MOST_FILTERS, MOST_IN_ALL = 5, 6, 18
LARGEST_PAGE = 200
MOST_RESULTS = 10_000
_TOKEN = re.compile(r"[\w.]+")
_WORD = re.compile(r"[^\s;,]+")


@dataclass(frozen=True)
class Filter:
    name: str
    operator: str
    values: tuple[str, ...]

    def fits(self, body: Json) -> bool:
        return _OPERATORS[self.operator](term(body.get(self.name) or ""), self.values)


@dataclass(frozen=True)
class Search:
    #: any group fits whose filters all do
    groups: tuple[tuple[Filter, ...], ...]
    properties: tuple[str, ...]
    limit: int
    after: int
    sort: tuple[str, bool] | None

    def found(self, tx: Tx, kind: str, lag: float) -> list[tuple[Row, Json]]:
        """Each row beside the body that the index shows of it."""
        found: dict[int, tuple[Row, Json]] = {}
        for group in self.groups or ((),):
            for row in _pool(tx, kind, group):
                shown = tx.searchable(row, lag)
                if shown is not None:
                    shown = {**shown, "hs_lastmodifieddate": iso(row.updated_at)}
                if shown is not None and all(each.fits(shown) for each in group):
                    found[row.seq] = (row, shown)
        ordered = [found[seq] for seq in sorted(found)]
        if self.sort is not None:
            name, backwards = self.sort
            ordered.sort(key=lambda each: term(each[1].get(name) or ""), reverse=backwards)
        return ordered


def parsed(tx: Tx, kind: str, body: Json) -> Search:
    """Raises ValueError, in HubSpot's words where they are known, for a search that HubSpot refuses."""
    if missing := [key for key in KEYS if key not in body]:
        raise ValueError(f"Invalid input JSON: some required fields were not set: {missing}")
    groups = tuple(tuple(map(_filter, group["filters"])) for group in body["filterGroups"])
    total = sum(map(len, groups))
    if len(groups) > MOST_GROUPS or total > MOST_IN_ALL or any(len(group) > MOST_FILTERS for group in groups):
        raise ValueError(f"Too many filters: {MOST_GROUPS} groups of {MOST_FILTERS}, {MOST_IN_ALL} in all")
    known = properties.names(tx, kind)
    if unknown := [each.name for group in groups for each in group if each.name not in known]:
        raise ValueError(f"There was a problem with the request. Unknown properties: {unknown}")
    limit, after = body["limit"], str(body["after"] or "0")
    if type(limit) is not int or not 0 < limit <= LARGEST_PAGE or not after.isdecimal():
        raise ValueError(f"limit must be 1 to {LARGEST_PAGE}, after a number in a string")
    if int(after) + limit > MOST_RESULTS:
        raise ValueError(f"A search shows {MOST_RESULTS} results at most")
    if body.get("query"):
        raise ValueError("This stand-in knows no query")
    return Search(groups, tuple(map(str, body["properties"])), limit, int(after), _sort(body["sorts"]))


def _filter(given: Json) -> Filter:
    match given:
        case {"propertyName": str(name), "operator": "IN" | "NOT_IN" as operator, "values": [*values]} if values:
            return Filter(name, str(operator), tuple(map(str, values)))
        case {"propertyName": str(name), "operator": "HAS_PROPERTY" | "NOT_HAS_PROPERTY" as operator}:
            return Filter(name, str(operator), ())
        case {"propertyName": str(name), "operator": str(operator), "value": str() | int() | float() as value} if (
            operator in _OPERATORS and not operator.endswith(("IN", "PROPERTY"))
        ):
            return Filter(name, operator, (str(value),))
        case _:
            raise ValueError(f"There was a problem with the request: invalid filter {given!r}")


def _sort(given: list[str | Json]) -> tuple[str, bool] | None:
    """(property, descending)"""
    match given:
        case []:
            return None
        case [str(name)]:
            return name.removeprefix("-"), name.startswith("-")
        case [{"propertyName": str(name), **rest}]:
            return name, rest.get("direction") == "DESCENDING"
        case _:
            raise ValueError("Only one sort is supported")


def _pool(tx: Tx, kind: str, group: tuple[Filter, ...]) -> Iterable[Row]:
    """The rows that may fit, and as few others as the index allows."""
    for each in group:
        if each.operator in ("EQ", "IN"):
            return [row for value in each.values for row in tx.candidates("hubspot", kind, each.name, value)]
        if each.operator in ("CONTAINS_TOKEN", "HAS_PROPERTY"):
            return tx.holders("hubspot", kind, each.name)
    return tx.rows("hubspot", kind)


def _contains(held: str, value: str) -> bool:
    """The value's tokens stand side by side in the text, so that it may be a part of what is meant; ``*`` completes a word."""
    if "*" in value:
        return any(fnmatchcase(word, term(value)) for word in _WORD.findall(held))
    wanted, tokens = _TOKEN.findall(term(value)), _TOKEN.findall(held)
    starts = range(len(tokens) - len(wanted) + 1)
    return bool(wanted) and any(tokens[start : start + len(wanted)] == wanted for start in starts)


def _compared(held: str, value: str, how: Callable[[float, float], bool]) -> bool:
    """Numbers; and times, which are held as text and asked for in milliseconds since 1970."""
    there = _number(held)
    if not value.lstrip("-").replace(".", "", 1).isdecimal():
        raise ValueError(f"There was a problem with the request: {value!r} is no number")
    return there is not None and how(there, float(value))


def _number(held: str) -> float | None:
    try:
        return float(held)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(held.upper()).timestamp() * 1000
    except ValueError:
        return None


_OPERATORS: dict[str, Callable[[str, tuple[str, ...]], bool]] = {
    "EQ": lambda held, values: held == term(values[0]),
    "NEQ": lambda held, values: held != term(values[0]),
    "IN": lambda held, values: held in values,
    "NOT_IN": lambda held, values: held not in values,
    "CONTAINS_TOKEN": lambda held, values: _contains(held, values[0]),
    "NOT_CONTAINS_TOKEN": lambda held, values: not _contains(held, values[0]),
    "GT": lambda held, values: _compared(held, values[0], gt),
    "GTE": lambda held, values: _compared(held, values[0], ge),
    "LT": lambda held, values: _compared(held, values[0], lt),
    "LTE": lambda held, values: _compared(held, values[0], le),
    "HAS_PROPERTY": lambda held, _: bool(held),
    "NOT_HAS_PROPERTY": lambda held, _: not held,
}
