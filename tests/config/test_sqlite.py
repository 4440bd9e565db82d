"""Writers of SQLite who wait for each other."""

import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from integrations.models import Connection

pytestmark = [
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="of SQLite alone"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def writer() -> Iterator[sqlite3.Connection]:
    """Another connection that may be used in any thread."""
    made = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None, check_same_thread=False)
    yield made
    made.close()


def test_closing_a_waiting_connections_cursor_does_not_block_the_writer(writer: sqlite3.Connection) -> None:
    """As the garbage collector does, in whichever thread it runs."""
    cursors: list[Any] = []
    waits, failed = threading.Event(), []

    def wait_for_a_turn() -> None:
        try:
            cursors.append(connection.cursor().cursor)
            cursors[0].execute("SELECT 1 UNION SELECT 2")
            connection.connection.set_trace_callback(lambda statement: waits.set() if "BEGIN" in statement else None)
            with transaction.atomic():
                Connection.objects.create(slug="waited", system="crm", provider="http")
        except OperationalError as error:
            failed.append(error)
        finally:
            waits.set()
            connection.close()

    writer.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=wait_for_a_turn)
    waiting.start()
    waits.wait()
    cursors.clear()
    writer.execute("COMMIT")
    waiting.join()
    assert failed == []
    assert Connection.objects.filter(slug="waited").exists()


def test_writer_times_out(writer: sqlite3.Connection, settings: Any) -> None:
    settings.DB_BUSY_SECONDS = 0.02
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        Connection.objects.create(slug="waited", system="crm", provider="http")
    writer.execute("ROLLBACK")
    Connection.objects.create(slug="waited", system="crm", provider="http")
