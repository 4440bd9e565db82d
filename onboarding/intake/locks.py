"""Letting one transaction at a time decide about something that has no row yet."""

import hashlib
from collections.abc import Iterable

from django.db import connection


def lock_names(names: Iterable[str]) -> None:
    """Hold these names, in one order, until the transaction ends.

    SQLite's IMMEDIATE transactions are one at a time anyway.
    """
    numbers = sorted({number_of(name) for name in names})
    if not numbers or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(n) FROM unnest(%s::bigint[]) AS n", [numbers])


def number_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
