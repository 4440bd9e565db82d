"""The lean path: a run's rows are kept in memory between a worker's transactions, and a transition is one statement.

The run's audit sequence is the version of all its rows, as whatever changes a run is audited (docs/engine.md). While it is
the one that they were read at, they need neither be read again nor be locked first. The statement's first part, the
*fence*, moves
the sequence on from the known one, under conditions on whatever else was taken for true; all its other parts write only if the
fence has found the run so. Else nothing is written, and the whole transition is done anew: once with the rows read again, then
on the general path.

The engine's code is the same on both paths. Whatever it asks for that is not at hand is a query, and a query here ends the lean
path (``NeedsLock``): nothing is guessed. For PostgreSQL alone.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, models
from django.db import connection as database
from django.utils import timezone

from integrations import clock
from integrations.connections import concurrency
from integrations.connections.services import default_connections
from integrations.database.instances import instance_of
from integrations.database.statements import Statement, Table, ask
from integrations.enums import Breaker
from integrations.models import ApiCall, Connection
from onboarding.models import (
    Attempt,
    AuditEntry,
    Intent,
    MatchChoice,
    ObjectMapping,
    OnboardingTransaction,
    PayloadSnapshot,
    Reservation,
    RunEvent,
    Step,
)
from onboarding.working_set import connections
from onboarding.working_set.general import ReservationClaim, Rows, TryAgain

M = TypeVar("M", bound=models.Model)
RUNS = Table(OnboardingTransaction)
STEPS = Table(Step)
ATTEMPTS = Table(Attempt)
INTENTS = Table(Intent)
MAPPINGS = Table(ObjectMapping)
ENTRIES = Table(AuditEntry)
SNAPSHOTS = Table(PayloadSnapshot)
EVENTS = Table(RunEvent)
RESERVATIONS = Table(Reservation)
CALLS = Table(ApiCall)
OF_STEP = "(SELECT transaction_id FROM onboarding_step WHERE id = %s)"
UNDECIDED = (
    " AND NOT EXISTS (SELECT 1 FROM onboarding_rejectedmatch WHERE connection_id = %s AND kind = %s AND match_key = %s)"
    " AND NOT EXISTS (SELECT 1 FROM onboarding_matchchoice WHERE connection_id = %s AND kind = %s AND match_key = %s)"
)
NO_ABANDONED_CREATE = (
    " AND NOT EXISTS (SELECT 1 FROM onboarding_intent"
    " WHERE reference = %s AND state IN ('indeterminate', 'accepted') AND step_id <> %s)"
)
NOT_RESERVED = (
    " AND NOT EXISTS (SELECT 1 FROM onboarding_reservation WHERE connection_id = %s AND kind = %s AND match_key = %s"
    " AND NOT (holder_id = %s AND external_id = ''))"
)
NOT_RESERVED_BY_US = (
    " WHERE NOT EXISTS (SELECT 1 FROM onboarding_reservation"
    " WHERE connection_id = %s AND kind = %s AND match_key = %s AND holder_id = %s)"
)
COMPLETE_RESERVATION = (
    "UPDATE onboarding_reservation SET external_id = %s, url = %s FROM fence"
    " WHERE holder_id = %s AND kind = %s AND match_key = %s"
)
RELEASE_OTHER_RESERVATIONS = (
    "DELETE FROM onboarding_reservation USING fence"
    " WHERE holder_id = %s AND external_id = '' AND NOT (kind = %s AND match_key = %s)"
)
WAITING = "ARRAY(SELECT id FROM onboarding_step WHERE waits_on_id = %s AND waits_for = 'reservation' LIMIT 50)"

log = logging.getLogger(__name__)

SCHEDULING = ("due_at", "enqueued_until", "waits_on_id")
"""What others set without an audit entry (when a worker is told of a step): written with each change of it, whatever was read."""


class NeedsLock(TryAgain):
    """More is to be done than the rows at hand allow: on the general path, under the run's lock."""


class Stale(TryAgain):
    """The rows have changed since they were read, or something that was taken for true beside them."""


def usable() -> bool:
    """Whether this database and this moment allow the lean path."""
    return database.vendor == "postgresql" and not database.in_atomic_block


def of_step(step_pk: int) -> "LeanRows | None":
    """Read the rows of a step's run. None where there is no such step."""
    return _read(OF_STEP, step_pk)


def of_run(run_pk: int) -> "LeanRows | None":
    return _read("%s", run_pk)


def _read(where: str, pk: int) -> "LeanRows | None":
    # The run before all else: what changes while the rest is read moves its sequence, and the fence finds out.
    runs = RUNS.instances(ask(f"SELECT {RUNS.columns} FROM {RUNS.name} WHERE id = {where}", [pk]))  # noqa: S608
    return LeanRows(runs[0]) if runs else None


def _of_run(table: Table[M], run: OnboardingTransaction, rest: str = "") -> list[M]:
    sql = f"SELECT {table.columns} FROM {table.name} WHERE transaction_id = %s{rest}"  # noqa: S608
    return table.instances(ask(sql, [run.pk]))


@contextmanager
def on_the_general_path() -> Iterator[None]:
    """Whatever goes wrong inside is tried there, where the code has the transaction that it expects; a fault shows
    itself again.
    """
    try:
        yield
    except (TryAgain, OperationalError, InterfaceError, IntegrityError):
        raise
    except Exception as error:
        raise NeedsLock from error


class LeanRows(Rows):
    """A run's rows, and what of them is yet to be written.

    One worker's, and good for one transition after the other for as long as each is written.
    """

    is_lean = True

    def __init__(self, run: OnboardingTransaction) -> None:
        super().__init__(run)
        self.is_fresh = True
        """Nothing was written since they were read."""
        self._steps = {one.pk: one for one in _of_run(STEPS, run, " ORDER BY position")}
        self._intents = {(one.step_id, one.item): one for one in _of_run(INTENTS, run)}
        self._events = _of_run(EVENTS, run, " ORDER BY id")
        mappings = _of_run(MAPPINGS, run)
        latest = _of_run(SNAPSHOTS, run, " ORDER BY version DESC LIMIT 1")
        for step in self._steps.values():
            step._state.fields_cache["transaction"] = run
        run.__dict__["_mapped"] = [(self._steps[one.step_id].uses, one) for one in mappings]
        if latest and latest[0].version == run.snapshot_version:
            run.keep_snapshot(latest[0])
        self.is_open, self.is_good = False, True
        run.__dict__["_rows"] = self
        self._as_read: dict[int, Mapping[str, Any]] = {}
        self._note(self._steps)

    def _note(self, moved: Mapping[int, Step]) -> None:
        """All of it is as the database has it. ``moved``: the steps that were not noted so before."""
        self._version = self.run.audit_sequence
        self._run_as_read = RUNS.values(self.run)
        for pk, step in moved.items():
            self._as_read[pk] = STEPS.values(step)
        self._conditions: list[tuple[str, list[Any]]] = []
        self._others: list[tuple[str, list[Any]]] = []
        self._dirty: dict[int, Step] = {}
        self._attempts: list[Attempt] = []
        self._moved: dict[tuple[int, str], Intent] = {}
        self._mapped: list[ObjectMapping] = []
        self._calls: list[ApiCall] = []
        self._turns: list[tuple[str, list[Any]]] = []
        self._place: tuple[int, str] | None = None
        self._waited_for: int | None = None
        self._claimed: Connection | None = None
        self._is_paused = False
        for step in self._steps.values():
            step._state.fields_cache.pop("connection", None)

    # --- Reading ----------------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        return list(self._steps.values())

    def step(self, pk: int) -> Step:
        if pk not in self._steps:
            raise Stale
        return self._steps[pk]

    def events(self, event_types: Collection[str]) -> list[RunEvent]:
        return [event for event in self._events if event.type in event_types]

    def intent(self, step: Step, item: str) -> Intent | None:
        return self._intents.get((step.pk, item))

    def fresh_connection(self, step: Step) -> Connection | None:
        if step.connection_id is None:
            return None
        found = connections.known(step.connection_id)
        if found is None or found.breaker != Breaker.CLOSED:
            raise NeedsLock
        step.connection = self._claimed = found
        self._is_paused = connections.is_paused(found, clock.now())
        self._conditions.append(connections.unchanged(found, is_paused=self._is_paused))
        return found

    def default_connections(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Connection | None]:
        found = default_connections(wanted, list(connections.everyone().values()))
        if None in found.values():
            raise NeedsLock
        return found

    def breaker_of(self, step: Step) -> str:
        rows = ask("SELECT breaker FROM integrations_connection WHERE id = %s", [step.connection_id])
        return str(rows[0][0]) if rows else ""

    # --- What is taken for true ---------------------------------------------------------------------------------------

    def require(self, condition: str, values: Sequence[Any]) -> None:
        """Nothing is written unless this holds, too: SQL that begins with ``AND``."""
        self._conditions.append((f" {condition.strip()}", list(values)))

    def decided(self, connection: Connection, kind: str, match_key: str) -> tuple[frozenset[str], MatchChoice | None]:
        self._conditions.append((UNDECIDED, [connection.pk, kind, match_key] * 2))
        return frozenset(), None

    def abandoned_create(self, step: Step, reference: str) -> Intent | None:
        self._conditions.append((NO_ABANDONED_CREATE, [reference, step.pk]))
        return None

    # --- Writing ------------------------------------------------------------------------------------------------------

    def also(self, sql: str, values: Sequence[Any]) -> None:
        """One more statement, that writes ``FROM fence``."""
        self._others.append((sql, list(values)))

    def save(self, step: Step) -> None:
        if self._steps.get(step.pk) is not step:
            raise NeedsLock
        self._dirty[step.pk] = step

    def begin_attempt(self, step: Step, at: datetime) -> None:
        self._attempts.append(instance_of(Attempt, {"step_id": step.pk, "token": step.token, "started_at": at}))

    def end_attempt(self, step: Step, token: int, **ended: Any) -> None:
        sets, values = ATTEMPTS.sets(ended, ended)
        sql = f"UPDATE {ATTEMPTS.name} SET {sets} FROM fence WHERE step_id = %s AND token = %s"  # noqa: S608
        self.also(sql, [*values, step.pk, token])

    def save_intent(self, intent: Intent) -> None:
        key = intent.step_id, intent.item
        self._intents[key] = self._moved[key] = intent

    def save_mapping(self, mapping: ObjectMapping) -> None:
        if mapping.pk is not None:
            raise NeedsLock
        self._mapped.append(mapping)

    def claim_reservation(
        self, connection: Connection, kind: str, match_key: str, step: Step, now: datetime
    ) -> ReservationClaim:
        about = [connection.pk, kind, match_key, step.pk]
        self._conditions.append((NOT_RESERVED, about))
        values = {"connection_id": connection.pk, "kind": kind, "match_key": match_key, "holder_id": step.pk}
        reservation = instance_of(Reservation, {**values, "created_at": now})
        sql, params = RESERVATIONS.insert([reservation], fenced=True)
        # One that waited for a place has it already.
        self._turns.append((sql + NOT_RESERVED_BY_US, [*params, *about]))
        return reservation, None

    def complete_reservation(
        self, step: Step, kind: str, match_key: str, *, external_id: str, url: str, was_other_data: bool
    ) -> list[int]:
        if was_other_data:
            raise NeedsLock  # two reservations change their holder
        self.also(COMPLETE_RESERVATION, [external_id, url, step.pk, kind, match_key])
        self.also(RELEASE_OTHER_RESERVATIONS, [step.pk, kind, match_key])
        self._waited_for = step.pk
        return []

    def take_slot(self, connection: Connection, holder: str, until: datetime) -> bool:
        if self._is_paused:
            return False  # also where the pause has just ended: what the fence does not look at then may be otherwise
        if connection.limit is None:
            return True
        self._place = connection.pk, holder
        has_place = connections.claim_slot(connection, holder, until)
        if connection.limit is None:  # as was just read
            self._conditions.append(connections.unchanged(connection, is_paused=False))
        return has_place

    def release_reservations(self, step: Step) -> None:
        self.also("DELETE FROM onboarding_reservation USING fence WHERE holder_id = %s AND external_id = ''", [step.pk])

    def save_calls(self, calls: Sequence[ApiCall]) -> None:
        self._calls = list(calls)

    @contextmanager
    def transition(self) -> Iterator[None]:
        """Queries inside are refused, whoever swallows that."""
        self.is_open, self.is_good, self._was_refused = True, False, False

        def refuse(*_: Any) -> Any:
            self._was_refused = True
            raise NeedsLock

        try:
            with on_the_general_path(), database.execute_wrapper(refuse):
                yield
        except BaseException:
            self._release_slot()
            raise
        finally:
            self.is_open = False
        self.is_good = True  # else what was changed in memory is not what the database has

    def _release_slot(self) -> None:
        """Nothing is done with it after all. One that cannot be given back runs out by itself."""
        if self._place is None:
            return
        try:
            concurrency.release(*self._place)
        except DatabaseError:
            log.exception("The place of %s could not be given back", self._place[1])

    def write(self, entries: Sequence[AuditEntry]) -> list[int]:
        """All of it, or ``TryAgain`` with nothing written. Steps of other runs that wait for what was made."""
        if self._was_refused:
            raise NeedsLock  # somebody has swallowed that
        if not entries:
            if self._moved or self._others or self._attempts or self._calls:
                raise NeedsLock  # whatever changes a run is audited, but for a wait that goes on
            if self._dirty:
                return self._schedule()
            if not self.is_fresh:
                raise Stale  # nothing was to be done, judging by rows that nothing has proved to be true
            return []
        statement = Statement()
        self._add_fence(statement)
        made = list(self._add_writes(statement, entries))
        self._add_answer(statement, made)
        (found, *rest) = statement.send()[0]
        if not found:
            connections.forget()
            raise Stale
        return self._take(made, rest)

    def _schedule(self) -> list[int]:
        """A wait that goes on: when it is due and told of is all that changes, and no version moves.

        What the step would have needed to begin (a reservation) is taken once it does.
        """
        ((pk, step),) = self._dirty.items() if len(self._dirty) == 1 else ((0, None),)
        if step is None or not set(STEPS.changed(step, self._as_read[pk])) <= set(SCHEDULING):
            raise NeedsLock
        sets, values = STEPS.sets(step.__dict__, SCHEDULING)
        sql = (
            f"UPDATE {STEPS.name} SET {sets} WHERE id = %s"  # noqa: S608
            f" AND EXISTS (SELECT 1 FROM {RUNS.name} WHERE id = %s AND audit_sequence = %s) RETURNING 1"
        )
        if not ask(sql, [*values, pk, self.run.pk, self._version]):
            raise Stale
        self._note(self._dirty)
        return []

    def _add_fence(self, statement: Statement) -> None:
        self.run.updated_at = timezone.now()
        sets, values = RUNS.sets(self.run.__dict__, RUNS.changed(self.run, self._run_as_read))
        statement.add(f"WITH fence AS (UPDATE {RUNS.name} SET {sets} WHERE", values)  # noqa: S608
        self._add_conditions(statement)
        statement.add(" RETURNING 1)")

    def _add_conditions(self, statement: Statement) -> None:
        statement.add(" id = %s AND audit_sequence = %s", [self.run.pk, self._version])
        for condition, values in self._conditions:
            statement.add(condition, values)

    def _add_writes(self, statement: Statement, entries: Sequence[AuditEntry]) -> Iterator[tuple[str, list[Any]]]:
        """Gives the parts whose rows get their keys: their names and the rows."""
        number = 0

        def add(sql: str, values: Sequence[Any], ending: str = "") -> str:
            nonlocal number
            number += 1
            statement.add(f", p{number} AS ({sql}{ending})", values)
            return f"p{number}"

        add(*ENTRIES.insert(entries, fenced=True))
        for pk, step in self._dirty.items():
            if changed := STEPS.changed(step, self._as_read[pk]):
                add(*_update(STEPS, step, [*(name for name in changed if name not in SCHEDULING), *SCHEDULING]))
        if self._attempts:
            add(*ATTEMPTS.insert(self._attempts, fenced=True))
        for intent in self._moved.values():
            if intent.pk is not None:
                add(*_update(INTENTS, intent, _INTENT_MOVES))
        new = [intent for intent in self._moved.values() if intent.pk is None]
        if new:
            yield add(*INTENTS.insert(new, fenced=True), " RETURNING id"), new
        if self._mapped:
            yield add(*MAPPINGS.insert(self._mapped, fenced=True), " RETURNING id"), self._mapped
        if self._calls:
            add(*CALLS.insert(self._calls, fenced=True))
        for sql, values in (*self._turns, *self._others):
            add(sql, values)

    def _add_answer(self, statement: Statement, made: list[tuple[str, list[Any]]]) -> None:
        statement.add(" SELECT EXISTS (SELECT 1 FROM fence)")
        for part, _ in made:
            statement.add(f", ARRAY(SELECT id FROM {part} ORDER BY id)")  # noqa: S608
        if self._waited_for is not None:
            statement.add(f", {WAITING}", [self._waited_for])
        if self._claimed is not None:
            statement.add(
                f", {connections.MOVING_COLUMNS} FROM (SELECT 1) one LEFT JOIN {connections.TABLE.name} ON id = %s",
                [self._claimed.pk],
            )

    def _take(self, made: list[tuple[str, list[Any]]], answer: list[Any]) -> list[int]:
        for _, rows in made:
            for row, pk in zip(rows, answer.pop(0), strict=True):
                row.pk, row._state.adding, row._state.db = pk, False, database.alias
        waiting = answer.pop(0) if self._waited_for is not None else []
        if self._claimed is not None:
            connections.refresh(self._claimed, answer)
        self._note(self._dirty)
        self.is_fresh = False
        return list(waiting)


_INTENT_MOVES = tuple(
    field.attname
    for field in Intent._meta.concrete_fields
    if field.attname not in ("id", "transaction_id", "step_id", "item")
)


def _update(table: Table[Any], row: models.Model, names: Sequence[str]) -> tuple[str, list[Any]]:
    sets, values = table.sets(row.__dict__, names)
    return f"UPDATE {table.name} SET {sets} FROM fence WHERE {table.name}.id = %s", [*values, row.pk]  # noqa: S608
