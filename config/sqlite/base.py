"""Django's SQLite backend, whose connections wait for their turn to write in Python in place of inside SQLite.

Inside SQLite a waiting connection keeps its mutex for all of ``timeout``. Python's garbage collector runs in whichever thread it
likes, and closing a cursor that was part of a reference cycle (a caught error's traceback is enough) takes the mutex of that
cursor's connection: where the thread that collects is the one that writes, it waits for the connection that waits for it, and
nothing is written until that one gives up.
"""

import random
import sqlite3
import time
from typing import Any, cast

from django.conf import settings
from django.db.backends.sqlite3 import base

INSIDE_MS = 5
"""How long SQLite itself waits, which is how long the mutex may be kept."""
PAUSE_SECONDS = (0.001, 0.01)
"""Between two tries; by chance, so that those who wait do not all try at once."""


class WaitingCursor(base.SQLiteCursorWrapper):
    def execute(self, query: str, params: Any = None) -> Any:
        """Tries a statement that another writer keeps from beginning again, for ``DB_BUSY_SECONDS``.

        Within a transaction it fails at once: the write lock was taken with BEGIN, so that waiting would help nothing.
        """
        until: float | None = None
        while True:
            try:
                return super().execute(query, params)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or self.connection.in_transaction:
                    raise
                now = time.monotonic()
                until = now + settings.DB_BUSY_SECONDS if until is None else until
                if now >= until:
                    raise
            time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 (no secret)


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        """The first statements, which switch to WAL, wait as ``timeout`` says."""
        connection = cast("sqlite3.Connection", super().get_new_connection(conn_params))
        connection.execute(f"PRAGMA busy_timeout = {INSIDE_MS}")
        return connection

    def create_cursor(self, name: str | None = None) -> WaitingCursor:  # noqa: ARG002 (Django's signature)
        return cast("sqlite3.Connection", self.connection).cursor(factory=WaitingCursor)
