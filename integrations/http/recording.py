"""What every way out shares, whatever it speaks: on whose behalf, until when, right before a write, and the record."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection as database

from integrations import clock
from integrations.database.instances import instance_of
from integrations.database.statements import Statement, Table
from integrations.enums import vendor_name
from integrations.errors import DeadlinePassed, ProviderError
from integrations.http.redaction import redact, redact_text
from integrations.models import ApiCall, Connection

_CALLS = Table(ApiCall)
log = logging.getLogger(__name__)
_reads: ContextVar[list[ApiCall] | None] = ContextVar("reads", default=None)


@contextmanager
def reads_together(kept: list[ApiCall] | None = None) -> Iterator[list[ApiCall]]:
    """Records of calls that only read wait inside for the next call that writes, or for the end: one statement for all.

    Gives the list of those that wait. With ``kept`` that is the list, and whoever has it writes down what is left in it.
    """
    waiting: list[ApiCall] = [] if kept is None else kept
    before = _reads.set(waiting)
    try:
        yield waiting
    finally:
        _reads.reset(before)
        if kept is None:
            _store(waiting)


def _store(calls: list[ApiCall]) -> None:
    """Best effort: a call that worked does not fail because its record did."""
    try:
        if calls and database.vendor == "postgresql":
            statement = Statement()
            statement.add(*_CALLS.insert(calls))
            statement.send()
        elif calls:
            ApiCall.objects.bulk_create(calls)
    except Exception:
        log.exception("The record of %d calls was lost", len(calls))
    calls.clear()


class Outbound:
    """Calls on behalf of one ``subject`` (such as ``step:12``) on one connection.

    ``deadline`` (monotonic seconds) ends them all. ``before_write`` is called right before each write and raises
    ``DeadlinePassed`` once the holder may not write any more.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        subject: str,
        deadline: float,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        self.connection = connection
        self._subject = subject
        self._deadline = deadline
        self._before_write = before_write or (lambda: None)

    @property
    def _vendor(self) -> str:
        return vendor_name(self.connection.provider)

    def _refuse_in_transaction(self) -> None:
        """Raises ``RuntimeError`` inside a database transaction: a vendor's slowness must never hold our locks."""
        if database.in_atomic_block:
            raise RuntimeError("a vendor is never called inside a database transaction")

    def _seconds_left(self, most: float) -> float:
        """At most ``most``. Raises ``DeadlinePassed`` where none are left."""
        left = min(most, self._deadline - time.monotonic())
        if left <= 0:
            raise DeadlinePassed(f"no time left to call {self._vendor}")
        return left

    def _record(
        self,
        method: str,
        path: str,
        *,
        started: float,
        request: Any = None,
        response: Any = None,
        status: int | None = None,
        error: ProviderError | None = None,
        writes: bool = True,
    ) -> None:
        """Redacted, and best effort."""
        shown = redact_text(path)
        took = round((time.monotonic() - started) * 1000)
        # What worked is on record in any case: a line for each would be most of the log, and the dearest part of it.
        level = logging.WARNING if error else logging.DEBUG
        log.log(level, "%s %s %s: %s in %d ms", self.connection.slug, method, shown, error or status, took)
        try:
            about = {
                "connection_id": self.connection.pk,
                "subject": self._subject[:100],
                "method": method,
                "path": shown,
            }
            said = {"request": redact(request) or None, "response": redact(response)}
            failed = redact_text(str(error)) if error else ""
            came = {"status": status, "error": failed, "duration_ms": took, "at": clock.now()}
            call = instance_of(ApiCall, {**about, **said, **came})
        except Exception:
            log.exception("%s: the record of a call was lost", self.connection.slug)
            return
        calls = _reads.get()
        if calls is None:
            _store([call])
            return
        calls.append(call)
        if writes:
            _store(calls)
