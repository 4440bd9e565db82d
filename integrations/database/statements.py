"""Statements on one model's table, each written once and kept: what is sent with every step is not compiled every time.

PostgreSQL's own placeholders, and all values as text: a prepared statement is told by its text alone, not also by the types that
the values happen to have. ``NULL`` stays what it is; the server reads each text as its column's type.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from psycopg.pq import ExecStatus

from integrations.database.instances import instance_of

M = TypeVar("M", bound=models.Model)


class Statement:
    """SQL with ``$1`` and so on, put together from parts that bring their own values."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._values: list[str | None] = []

    def add(self, sql: str, values: Iterable[Any] = ()) -> None:
        """``sql`` has one ``%s`` for each of ``values`` and no other per cent sign."""
        self._parts.append(sql)
        self._values += [text_of(value) for value in values]

    def send(self) -> list[tuple[Any, ...]]:
        """The rows that it gives, if any. Raises Django's database errors. Outside a transaction it is one by itself."""
        sql = "".join(self._parts)
        query = _numbered.get(sql)
        if query is None:
            if len(_numbered) >= _MOST_TEXTS:
                _numbered.clear()
            query = _numbered[sql] = _with_numbers(sql)
        database = connections[DEFAULT_DB_ALIAS]
        database.ensure_connection()
        with database.wrap_database_errors:
            cursor = psycopg.RawCursor(database.connection)
            cursor.execute(query, self._values, prepare=True)
            # Not ``description``, which makes an object for each column.
            has_rows = cursor.pgresult is not None and cursor.pgresult.status == ExecStatus.TUPLES_OK
            return cursor.fetchall() if has_rows else []


_MOST_TEXTS = 4096
_numbered: dict[str, bytes] = {}


def ask(sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """One statement by itself."""
    statement = Statement()
    statement.add(sql, values)
    return statement.send()


UNFLUSHED = "set_config('synchronous_commit', 'off', TRUE)"
"""In the ``RETURNING`` of a statement by itself, what it writes may be lost if the server crashes: its commit does not wait for the
disk, and its row is locked no longer than it takes. Any later commit that waits brings it to the disk, too.
"""


def note(sql: str, values: Iterable[Any] = ()) -> None:
    """An ``UPDATE`` of what may be lost if the server crashes. Inside a transaction it is as durable as that."""
    ask(sql if connection.in_atomic_block else f"{sql} RETURNING {UNFLUSHED}", values)


def text_of(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "t" if value else "f"
        case str():
            return value
        case datetime():
            return value.isoformat()
        case list() | dict():
            return json.dumps(value)
    return str(value)


class Table(Generic[M]):
    """One model's table: its statements, and its rows as instances."""

    def __init__(self, model: type[M]) -> None:
        self.model = model
        self.name = f'"{model._meta.db_table}"'
        fields = {field.attname: field for field in model._meta.concrete_fields}
        self._fields = fields
        self._columns = {name: f'"{field.column}"' for name, field in fields.items()}
        self._names = tuple(name for name, field in fields.items() if not field.primary_key)
        self._attnames = list(fields)
        self._read = [(name, field) for name, field in fields.items() if hasattr(field, "from_db_value")]
        self._json = frozenset(name for name, field in fields.items() if isinstance(field, models.JSONField))
        self._inserts: dict[tuple[int, bool, bool], str] = {}
        self._set_when_saved = [field for field in fields.values() if _is_set_when_saved(field)]
        self.columns = ", ".join(f"{self.name}.{column}" for column in self._columns.values())

    def instances(self, rows: Iterable[Sequence[Any]]) -> list[M]:
        """Of rows that have ``columns``."""
        return [self._instance(row) for row in rows]

    def _instance(self, row: Sequence[Any]) -> M:
        values = dict(zip(self._attnames, row, strict=True))
        for name, field in self._read:
            values[name] = field.from_db_value(values[name], None, connection)
        return instance_of(self.model, values, is_new=False)

    def insert(self, rows: Sequence[M], *, fenced: bool = False) -> tuple[str, list[Any]]:
        """All of them, with their primary keys where they have some. ``fenced``: if there is a row in ``fence``."""
        for row in rows:
            for field in self._set_when_saved:
                field.pre_save(row, True)
        keyed = rows[0].pk is not None
        names = self._attnames if keyed else self._names
        sql = self._inserts.get((len(rows), keyed, fenced))
        if sql is None:
            # Without lengths: a cast would cut a text that is too long, where the column refuses it.
            kinds = [(self._fields[name].db_type(connection) or "").partition("(")[0] for name in names]
            first = ", ".join(f"%s::{kind}" for kind in kinds)
            others = f", ({', '.join(['%s'] * len(kinds))})" * (len(rows) - 1)
            into = ", ".join(self._columns[name] for name in names)
            source = f"{'fence, ' if fenced else ''}(VALUES ({first}){others}) v"
            sql = f"INSERT INTO {self.name} ({into}) SELECT v.* FROM {source}"  # noqa: S608
            self._inserts[len(rows), keyed, fenced] = sql
        return sql, [self._param(row.__dict__, name) for row in rows for name in names]

    def keys(self, number: int) -> list[int]:
        """So many primary keys that nobody else gets, rising."""
        sql = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s) ORDER BY 1"
        return [key for (key,) in ask(sql, [self.name, number])]

    def values(self, row: M) -> Mapping[str, Any]:
        """As it stands, to be compared with later (``changed``)."""
        return {name: row.__dict__[name] for name in self._names}

    def changed(self, row: M, before: Mapping[str, Any]) -> list[str]:
        kept = row.__dict__
        return [name for name, was in before.items() if kept[name] is not was and kept[name] != was]

    def sets(self, values: Mapping[str, Any], names: Iterable[str]) -> tuple[str, list[Any]]:
        """What comes after ``SET``. ``values``: by name, as a row's ``__dict__`` has them."""
        names = list(names)
        return ", ".join([f"{self._columns[name]} = %s" for name in names]), [
            self._param(values, name) for name in names
        ]

    def _param(self, kept: Mapping[str, Any], name: str) -> Any:
        value = kept[name]
        return json.dumps(value) if name in self._json and value is not None else value


def _is_set_when_saved(field: "models.Field[Any, Any]") -> bool:
    if isinstance(field, models.DateField):
        return field.auto_now or field.auto_now_add
    return type(field).pre_save is not models.Field.pre_save


def _with_numbers(sql: str) -> bytes:
    first, *rest = sql.split("%s")
    return (first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))).encode()
