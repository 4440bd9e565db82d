"""Somebody with the database's own keys: the audit trail's triggers are off for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from onboarding.models import AuditAnchor, AuditEntry

TABLES = (AuditEntry._meta.db_table, AuditAnchor._meta.db_table)


@contextmanager
def tampering() -> Iterator[None]:
    if connection.vendor == "postgresql":
        off = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in TABLES]
        on = [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in TABLES]
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit_%'")
            triggers = cursor.fetchall()
        off, on = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
    _execute(off)
    try:
        yield
    finally:
        _execute(on)


def _execute(statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
