"""The part of SOQL that an integration needs, checked as strictly as Salesforce checks it.

From developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl: SELECT fields FROM object WHERE comparisons joined by
AND, ORDER BY one field, LIMIT; the operators =, !=, <, <=, >, >=, LIKE and IN; the characters that a backslash may stand before;
times, which stand without quotes (sforce_api_calls_soql_select_dateformats.htm).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any

from integrations.sandbox.store import Json
from integrations.vendors.salesforce.sandbox.errors import refuse

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)"
_TOKEN = re.compile(rf"\s*('(?:[^'\\]|\\.)*'|[A-Za-z_][\w.]*|{_TIME}|\d+|!=|<=|>=|[=<>(),])", re.DOTALL)
_ESCAPES = {
    "n": "\n", "N": "\n", "r": "\r", "R": "\r", "t": "\t", "T": "\t", "b": "\b", "B": "\b", "f": "\f", "F": "\f",
    '"': '"', "'": "'", "\\": "\\",
}  # fmt: skip
_ORDERED = {"<": lt, "<=": le, ">": gt, ">=": ge}
_WORDS = {"null": None, "true": True, "false": False}
#: stand for the escaped and the bare wildcards of a LIKE until it is compiled
_ANY, _ONE = "\ue000", "\ue001"


@dataclass(frozen=True)
class Comparison:
    field: str
    operator: str
    value: Any

    def holds(self, body: Json) -> bool:
        there = body.get(self.field)
        match self.operator:
            case "=":
                return bool(_plain(there) == _plain(self.value))
            case "!=":
                return bool(_plain(there) != _plain(self.value))
            case "IN":
                return _plain(there) in [_plain(each) for each in self.value]
            case "<" | "<=" | ">" | ">=":
                return there is not None and _ORDERED[self.operator](datetime.fromisoformat(str(there)), self.value)
        return there is not None and self.value.fullmatch(str(there)) is not None


@dataclass(frozen=True)
class Query:
    fields: list[str]
    type: str
    where: list[Comparison]
    order: tuple[str, bool] | None
    """(field, descending)"""
    limit: int | None

    @property
    def names(self) -> list[str]:
        return [*self.fields, *(each.field for each in self.where), *([self.order[0]] if self.order else [])]

    def ordered(self, found: list[Json]) -> list[Json]:
        if self.order is None:
            return found
        field, backwards = self.order
        return sorted(found, key=lambda each: str(each.get(field) or ""), reverse=backwards)

    def holds(self, body: Json) -> bool:
        return all(each.holds(body) for each in self.where)


def parsed(text: str) -> Query:
    """Raises ``Refused``: MALFORMED_QUERY."""
    return _Parser(_tokens(text)).query()


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text.rstrip()):
        token = _TOKEN.match(text, at)
        if token is None:
            raise refuse("MALFORMED_QUERY", f"unexpected token: {text[at : at + 20]!r}")
        found.append(token[1])
        at = token.end()
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._left = tokens[::-1]

    def query(self) -> Query:
        self._word("SELECT")
        fields = [self._name()]
        while self._takes(","):
            fields.append(self._name())
        self._word("FROM")
        kind, where = self._name(), []
        if self._takes("WHERE"):
            where.append(self._comparison())
            while self._takes("AND"):
                where.append(self._comparison())
        order = self._order() if self._takes("ORDER") else None
        limit = int(self._next()) if self._takes("LIMIT") else None
        if self._left:
            raise refuse("MALFORMED_QUERY", f"unexpected token: {self._left[-1]!r}")
        if len(set(fields)) < len(fields):
            raise refuse("INVALID_FIELD", "duplicate field selected")
        return Query(fields, kind, where, order, limit)

    def _order(self) -> tuple[str, bool]:
        self._word("BY")
        name = self._name()
        is_descending = self._takes("DESC")
        if not is_descending:
            self._takes("ASC")
        return name, is_descending

    def _comparison(self) -> Comparison:
        field, operator = self._name(), self._next().upper()
        match operator:
            case "=" | "!=":
                return Comparison(field, operator, self._value())
            case "<" | "<=" | ">" | ">=":
                return Comparison(field, operator, self._time())
            case "LIKE":
                return Comparison(field, operator, _pattern(self._text()))
            case "IN":
                self._word("(")
                values = [self._value()]
                while self._takes(","):
                    values.append(self._value())
                self._word(")")
                return Comparison(field, operator, values)
        raise refuse("MALFORMED_QUERY", f"unknown operator: {operator!r}")

    def _value(self) -> Any:
        if self._left and self._left[-1].lower() in _WORDS:
            return _WORDS[self._next().lower()]
        return _unescaped(self._text(), like=False)

    def _time(self) -> datetime:
        """The one type that this stand-in orders by. Salesforce refuses a time in quotes."""
        token = self._next()
        if not re.fullmatch(_TIME, token):
            raise refuse(
                "INVALID_FIELD",
                f"value of filter criterion must be of type datetime and not be enclosed in quotes: {token}",
            )
        return datetime.fromisoformat(token)

    def _text(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise refuse("MALFORMED_QUERY", f"unexpected token: {token!r}")
        return token[1:-1]

    def _name(self) -> str:
        token = self._next()
        if not re.fullmatch(r"[A-Za-z_][\w.]*", token):
            raise refuse("MALFORMED_QUERY", f"unexpected token: {token!r}")
        return token

    def _word(self, wanted: str) -> None:
        if not self._takes(wanted):
            raise refuse("MALFORMED_QUERY", f"expecting {wanted}")

    def _takes(self, wanted: str) -> bool:
        if self._left and self._left[-1].upper() == wanted:
            self._left.pop()
            return True
        return False

    def _next(self) -> str:
        if not self._left:
            raise refuse("MALFORMED_QUERY", "unexpected end of query")
        return self._left.pop()


def _unescaped(text: str, *, like: bool) -> str:
    out, at = "", 0
    while at < len(text):
        if text[at] != "\\":
            out += {"%": _ANY, "_": _ONE}.get(text[at], text[at]) if like else text[at]
            at += 1
            continue
        escaped = text[at + 1]
        if escaped == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", text[at + 2 : at + 6]):
            out, at = out + chr(int(text[at + 2 : at + 6], 16)), at + 6
            continue
        if escaped not in _ESCAPES and not (like and escaped in "%_"):
            raise refuse("MALFORMED_QUERY", f"Illegal escape sequence: \\{escaped}")
        out, at = out + _ESCAPES.get(escaped, escaped), at + 2
    return out


def _pattern(text: str) -> re.Pattern[str]:
    body = re.escape(_unescaped(text, like=True)).replace(_ANY, ".*").replace(_ONE, ".")
    return re.compile(body, re.IGNORECASE | re.DOTALL)


def _plain(value: Any) -> Any:
    """Text is compared without regard to case; an empty text is null."""
    return (value.lower() or None) if isinstance(value, str) else value
