"""The one lock order: the run first, then everything else; and whole transactions tried again when a database refuses."""

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection
from django.db import transaction as db

from integrations import clock
from onboarding import audit, working_set
from onboarding.engine import dispatch
from onboarding.log_context import about_run, set_run
from onboarding.models import AuditEntry, OnboardingTransaction
from onboarding.working_set import DraftRows, LeanRows, NeedsLock, Stale, TryAgain

P = ParamSpec("P")
R = TypeVar("R")
TRIES = 6
CHECK_EVERY_SECONDS = 5.0
"""How long a thread's connection counts as alive. One that died meanwhile fails its next statement, which is tried again."""
_checked = threading.local()


class _Path(Enum):
    """How a ``retried`` function does its transaction, from the first try to the last."""

    KEPT = "with the rows that are kept in memory"
    READ = "with rows read again"
    GENERAL = "under the run's lock"


_path: ContextVar[_Path] = ContextVar("path", default=_Path.KEPT)
_is_lean: ContextVar[bool] = ContextVar("is_lean", default=False)
"""Inside a transaction on the lean path."""
_locked: ContextVar[tuple[OnboardingTransaction, ...]] = ContextVar("locked", default=())
"""The runs that are locked and will be saved, outermost first."""

log = logging.getLogger(__name__)


@contextmanager
def locked_run(
    pk: int, *, lean: bool = False, known: OnboardingTransaction | None = None
) -> Iterator[OnboardingTransaction]:
    """One database transaction (or a part of the caller's) that holds a run locked: the one way to change a run.

    What changed of the run is saved at the end, with its audit entries; nothing is where an exception leaves it. Inside another
    one of the same run the same instance is given, and saved with that one. Raises ``OnboardingTransaction.DoesNotExist``.

    With ``lean`` it is done without a lock where that can be, for the whole of a ``retried`` function (``working_set.lean``).
    ``known``: the run as the worker's last transaction left it, whose rows need not be read again.
    """
    if lean and (rows := _lean_rows(working_set.of_run, pk, known)):
        with _lean_transaction(rows):
            yield rows.run
        return
    if run := next((run for run in _locked.get() if run.pk == pk), None):
        with db.atomic(savepoint=False):  # what is undone here cannot be told from what the outer one changed
            yield run
        return
    with db.atomic():
        run = _lock(pk)
        with _saved(run):
            yield run


@contextmanager
def locked_run_of(
    step_pk: int, *, lean: bool = False, known: OnboardingTransaction | None = None
) -> Iterator[OnboardingTransaction]:
    """As ``locked_run``, for the run of a step. For a transaction of its own."""
    if lean and (rows := _lean_rows(working_set.of_step, step_pk, known)):
        with _lean_transaction(rows):
            yield rows.run
        return
    with db.atomic():
        run = _lock_of(step_pk)
        with _saved(run):
            yield run


@contextmanager
def locked_run_if_any(pk: int | None) -> Iterator[OnboardingTransaction | None]:
    """As ``locked_run``; without a run just the database transaction."""
    if pk is None:
        with db.atomic():
            yield None
        return
    with locked_run(pk) as run:
        yield run


@contextmanager
def new_run(run: OnboardingTransaction) -> Iterator[None]:
    """One database transaction that makes a run, with what is inserted through ``working_set.of(run)`` and its audit entries."""
    if _path.get() is _Path.KEPT and settings.LEAN_TRANSITIONS and working_set.usable():
        with _lean_transaction(DraftRows(run)):
            yield
        return
    with db.atomic():
        run.save(force_insert=True)
        with _saved(run):
            yield


def _lock(pk: int) -> OnboardingTransaction:
    """The run, locked until the transaction ends. ``no_key``: children may be inserted meanwhile by others."""
    set_run(pk)
    return OnboardingTransaction.objects.select_for_update(no_key=True).get(pk=pk)


def _lock_of(step_pk: int) -> OnboardingTransaction:
    run = OnboardingTransaction.objects.select_for_update(no_key=True, of=("self",)).get(steps=step_pk)
    set_run(run.pk)
    return run


@contextmanager
def _saved(run: OnboardingTransaction) -> Iterator[None]:
    """At the end its audit entries are written, and the fields saved that changed, its audit chain's head among them."""
    before = _values(run)
    token = _locked.set((*_locked.get(), run))
    try:
        with audit.batched(run):
            yield
    finally:
        _locked.reset(token)
    changed = {name for name, value in _values(run).items() if value != before[name]}
    if changed:
        run.save(update_fields={*changed, "updated_at"})


def _values(run: OnboardingTransaction) -> dict[str, object]:
    return {field.name: getattr(run, field.attname) for field in run._meta.concrete_fields}


def _lean_rows(read: Callable[[int], LeanRows | None], pk: int, known: OnboardingTransaction | None) -> LeanRows | None:
    """None: the general path."""
    path = _path.get()
    if path is _Path.GENERAL or not settings.LEAN_TRANSITIONS or not working_set.usable():
        return None
    if path is _Path.KEPT and known is not None and (rows := working_set.kept(known)):
        return rows
    return read(pk)


@contextmanager
def _lean_transaction(rows: LeanRows | DraftRows) -> Iterator[None]:
    set_run(rows.run.pk)
    clock.now()  # asks the database now and then, which is refused inside
    waiting: list[int] = []

    def write(entries: list[AuditEntry]) -> None:
        waiting.extend(rows.write(entries))

    token = _is_lean.set(True)
    try:
        with dispatch.deferred_messages() as messages, rows.transition(), audit.batched(rows.run, write):
            yield
    finally:
        _is_lean.reset(token)
    messages += waiting
    for step_pk in messages:
        dispatch.enqueue_step(step_pk)


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that is one whole database transaction, again after a deadlock, a lock timeout or a lost insert race.

    Inside an outer transaction nothing can be tried again: the error goes to whoever opened that one.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block or _is_lean.get():
            return function(*args, **kwargs)
        path, failures = _Path.KEPT, 0
        while True:
            _close_if_dead()
            token = _path.set(path)
            try:
                with about_run():
                    return function(*args, **kwargs)
            except Stale:
                path = _Path.READ if path is _Path.KEPT else _Path.GENERAL
            except NeedsLock:
                path = _Path.GENERAL
            except (OperationalError, InterfaceError, IntegrityError, TryAgain) as error:
                path, failures = _Path.GENERAL, failures + 1
                if failures == TRIES:
                    raise
                again = type(error).__name__
                log.info("%s: trying the transaction again (%d) after %s", function.__qualname__, failures, again)
                time.sleep(random.uniform(0, 0.05 * 2**failures))  # noqa: S311  (jitter)
            finally:
                _path.reset(token)

    return wrapper


def _close_if_dead() -> None:
    """Django's own check costs a round trip (``CONN_HEALTH_CHECKS``): too much before every transaction."""
    now = time.monotonic()
    if connection.errors_occurred or now - getattr(_checked, "at", 0.0) > CHECK_EVERY_SECONDS:
        close_old_connections()
        _checked.at = now
