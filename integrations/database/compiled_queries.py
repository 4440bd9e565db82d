"""Querysets compiled once a process: what is asked with every request is not put into SQL every time.

Django makes the SQL of a queryset anew each time that it is evaluated, which costs some ten times as much as to send it. Here it is
made with stand-ins for the values; sent are that SQL and the values in the stand-ins' places. The rows are made as Django's own
iterables make them.

On PostgreSQL it is sent as a prepared statement with the values as text, as in ``integrations.database.statements``;
the constants are written into it, as a partial index is used only where its condition can be read in the statement. It
goes through Django's wrapper of cursors, so that whoever refuses or counts statements sees it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from django.core.exceptions import EmptyResultSet
from django.db import connection, connections
from django.db.models import QuerySet
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesListIterable,
    get_related_populators,
)
from psycopg.sql import Literal

R = TypeVar("R")
_PLACES = re.compile("%(.)", re.DOTALL)


class NotCompilable(Exception):
    """This queryset cannot be sent again with other values, or not with values like these."""


class Compiled(Generic[R]):
    """``build(*values)`` makes the queryset: all instances, or a ``values_list``; call this for its rows with given values.

    Each value is a text or an integer that goes into the statement as it is, which is checked: nothing in ``build`` may change it
    or look at it. Whatever else ``build`` puts into the queryset is taken as constant while the process runs. Values that mean
    other SQL (``None``) are refused. Raises ``NotCompilable``, or Django's database errors.
    """

    def __init__(self, build: Callable[..., QuerySet[Any, R]]) -> None:
        self.build = build
        self._texts: dict[tuple[Any, ...], _Text] = {}

    def __call__(self, *values: str | int) -> list[R]:
        kinds = tuple(_kind(value) for value in values)
        key = connection.vendor, kinds
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _compiled(self.build, kinds)
        return text.rows(values)


class PreparedCursor(psycopg.RawCursor[Any]):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, prepare=True, **options)


@dataclass(frozen=True)
class _Text:
    """A compiled queryset."""

    sql: str
    """With Django's placeholders, all of ``params``: constants, and the places of the values."""
    params: list[Any]
    places: list[tuple[int, int]]
    """Which parameter is which value."""
    numbered: str
    """PostgreSQL's: with ``$1`` and so on for the values, in the order of ``places``."""
    made: Callable[[Iterable[Sequence[Any]]], list[Any]]
    """The rows as the queryset gives them, from those of the database."""

    def rows(self, values: Sequence[str | int]) -> list[Any]:
        database = connections[connection.alias]
        if self.numbered and not database.queries_logged:  # Django could not show such a statement with its values
            database.ensure_connection()
            with database.wrap_database_errors:
                cursor: Any = PreparedCursor(database.connection)
            with database.make_cursor(cursor) as wrapped:
                wrapped.execute(self.numbered, [str(values[which]) for _, which in self.places])
                return self.made(wrapped.fetchall())
        params = list(self.params)
        for place, which in self.places:
            params[place] = _kind(values[which])(values[which])
        with database.cursor() as plain:
            plain.execute(self.sql, params)
            return self.made(plain.fetchall())


def _kind(value: Any) -> type[str] | type[int]:
    if isinstance(value, str):
        return str
    if isinstance(value, int) and not isinstance(value, bool):
        return int
    raise NotCompilable(f"{type(value).__name__} is neither a text nor an integer")


def _compiled(build: Callable[..., QuerySet[Any, Any]], kinds: Sequence[type]) -> _Text:
    """Compiled twice, with other stand-ins: what differs is a value, and must be exactly the value that was given."""
    first, second = _stand_ins(kinds, 0), _stand_ins(kinds, len(kinds))
    unconnected = connection.copy()  # what is kept of a compiler keeps its connection, too: no thread's
    try:
        queryset = build(*first)
        sql, params, compiler = _sql_of(queryset, unconnected)
        sql_again, params_again, _ = _sql_of(build(*second), unconnected)
        maker = _maker(queryset, compiler)
    finally:
        unconnected.close()
    if sql != sql_again or len(params) != len(params_again):
        raise NotCompilable("its SQL depends on the values")
    places = []
    for place, (one, other) in enumerate(zip(params, params_again, strict=True)):
        if type(one) is type(other) and one == other:
            continue
        found = [which for which, kind in enumerate(kinds) if isinstance(one, kind) and one == first[which]]
        if not found or not isinstance(other, kinds[found[0]]) or other != second[found[0]]:
            raise NotCompilable(f"parameter {place} of its SQL is made from the values and is none of them")
        places.append((place, found[0]))
    if missing := set(range(len(kinds))) - {which for _, which in places}:
        raise NotCompilable(f"its SQL does not have the values {sorted(missing)}")
    numbered = _numbered(sql, params, places) if connection.vendor == "postgresql" else ""
    return _Text(sql, params, places, numbered, maker)


def _stand_ins(kinds: Sequence[type], start: int) -> list[Any]:
    """Texts that no change of case, form or white space and no escaping leaves as they are."""
    numbers = range(start, start + len(kinds))
    texts = {
        number: f" Stand-in {number} \N{FULLWIDTH LATIN CAPITAL LETTER A}A\u030a 100%_'\"\\ " for number in numbers
    }
    return [texts[number] if kind is str else 1_000_003 + number for number, kind in zip(numbers, kinds, strict=True)]


def _sql_of(queryset: QuerySet[Any, Any], database: Any) -> tuple[str, list[Any], Any]:
    query = queryset.query
    if queryset._prefetch_related_lookups or queryset._known_related_objects or query.select_for_update:  # type: ignore[attr-defined]
        raise NotCompilable("only plain reads: nothing is prefetched, related to a known instance, or locked")
    compiler = query.get_compiler(connection=database)
    try:
        sql, params = compiler.as_sql()
    except EmptyResultSet:
        raise NotCompilable("it never has a row") from None
    return sql, list(params), compiler


def _numbered(sql: str, params: Sequence[Any], places: Sequence[tuple[int, int]]) -> str:
    connection.ensure_connection()
    numbers = {place: f"${number}" for number, (place, _) in enumerate(places, start=1)}
    rest = iter(enumerate(params))

    def replaced(found: "re.Match[str]") -> str:
        match found[1]:
            case "%":
                return "%"
            case "s":
                place, value = next(rest)
                return numbers.get(place) or Literal(value).as_string(connection.connection)
        raise NotCompilable(f"its SQL has a placeholder that is not known: {found[0]}")

    return _PLACES.sub(replaced, sql)


def _maker(queryset: QuerySet[Any, Any], compiler: Any) -> Callable[[Iterable[Sequence[Any]]], list[Any]]:
    """As ``django.db.models.query.ModelIterable`` and its kin make the rows, with what they find out each time kept."""
    fields = [column[0] for column in compiler.select[: compiler.col_count]]
    if compiler.has_composite_fields(fields):
        raise NotCompilable("it has a composite column")
    converters = compiler.get_converters(fields)

    def converted(rows: Iterable[Sequence[Any]]) -> Iterable[Sequence[Any]]:
        found: Iterable[Sequence[Any]] = compiler.apply_converters(rows, converters) if converters else rows
        return found

    iterable = queryset._iterable_class
    if iterable is FlatValuesListIterable:
        return lambda rows: [row[0] for row in converted(rows)]
    if iterable is ValuesListIterable:
        return lambda rows: [tuple(row) for row in converted(rows)]
    if iterable is not ModelIterable:
        raise NotCompilable("it gives neither instances nor tuples")
    info = compiler.klass_info
    model, selected = info["model"], info["select_fields"]
    start, end = selected[0], selected[-1] + 1
    names = [column[0].target.attname for column in compiler.select[start:end]]
    related = get_related_populators(info, compiler.select, connection.alias)  # type: ignore[call-arg]  # stubs of a newer one
    annotations = list((compiler.annotation_col_map or {}).items())

    def instances(rows: Iterable[Sequence[Any]]) -> list[Any]:
        made = []
        for row in converted(rows):
            one = model.from_db(connection.alias, names, row[start:end])
            for populator in related:
                populator.populate(row, one)
            for name, place in annotations:
                setattr(one, name, row[place])
            made.append(one)
        return made

    return instances
