"""A new run on the lean path: its rows are gathered in memory, and go into the database with one statement.

Reading is allowed meanwhile. Whoever wants to write anything that is not gathered here ends the lean path (``NeedsLock``). That
somebody else has made a run of the same id is an ``IntegrityError``, with nothing written.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection as database
from django.db.models import Model

from integrations.connections.services import default_connections
from integrations.database.statements import Statement, Table
from integrations.models import Connection
from onboarding.models import AuditEntry, OnboardingTransaction, Step
from onboarding.working_set import connections
from onboarding.working_set.general import Rows
from onboarding.working_set.lean import ENTRIES, RUNS, STEPS, NeedsLock, on_the_general_path

_tables: dict[type[Model], Table[Any]] = {OnboardingTransaction: RUNS, Step: STEPS, AuditEntry: ENTRIES}


class DraftRows(Rows):
    """Of a run that is not written yet."""

    def __init__(self, run: OnboardingTransaction) -> None:
        super().__init__(run)
        (run.pk,) = RUNS.keys(1)
        run.__dict__["_rows"] = self
        self._rows: dict[type[Model], list[Model]] = {}
        self._names: list[int] = []
        self._others: list[tuple[str, list[Any]]] = []
        self.insert(run)

    def insert(self, *rows: Model) -> None:
        if isinstance(rows[0], Step):
            for row, key in zip(rows, STEPS.keys(len(rows)), strict=True):
                row.pk = key
        for row in rows:
            row._state.adding, row._state.db = False, database.alias
        self._rows.setdefault(type(rows[0]), []).extend(rows)

    def also(self, sql: str, values: Sequence[Any]) -> None:
        """One more statement that writes, with the rows."""
        self._others.append((sql, list(values)))

    def steps(self) -> list[Step]:
        return [row for row in self._rows.get(Step, ()) if isinstance(row, Step)]

    def save(self, step: Step) -> None:
        """It is written as it stands at the end."""

    def default_connections(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Connection | None]:
        return default_connections(wanted, list(connections.everyone().values()))

    def hold(self, names: Sequence[int]) -> None:
        """Advisory locks: held from before it is written until that is committed."""
        self._names += names

    @contextmanager
    def transition(self) -> Iterator[None]:
        """What writes inside is refused."""

        def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if not sql.startswith("SELECT") or " UPDATE" in sql:
                self._was_refused = True
                raise NeedsLock
            return execute(sql, params, many, context)

        self._was_refused = False
        try:
            with on_the_general_path(), database.execute_wrapper(refuse):
                yield
        finally:
            self.is_open = False

    def write(self, entries: Sequence[AuditEntry]) -> list[int]:
        if self._was_refused:
            raise NeedsLock  # somebody has swallowed that
        statement = Statement()
        groups: dict[type[Model], list[Model]] = {**self._rows, AuditEntry: list(entries)}
        names = f"{{{','.join(map(str, sorted(self._names)))}}}"
        statement.add("WITH held AS (SELECT pg_advisory_xact_lock(n) FROM unnest(%s::bigint[]) n)", [names])
        for number, (model, rows) in enumerate(groups.items()):
            table = _tables.get(model) or _tables.setdefault(model, Table(model))
            sql, values = table.insert(rows)
            statement.add(f", p{number} AS ({sql})", values)
        for number, (sql, values) in enumerate(self._others):
            statement.add(f", o{number} AS ({sql})", values)
        statement.add(" SELECT count(*) FROM held")
        statement.send()
        return []
