"""Connections as this process last read them. What is decided by one is written only if its row still says so (``unchanged``)."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from integrations import clock
from integrations.kept import Kept
from integrations.models import Connection
from integrations.rows import copied
from integrations.statements import Table, ask

SECONDS = 1.0
"""How long the list counts, which tells what a system's default connection is."""
MOVING = (
    "failures",
    "failures_of",
    "pace",
    "pace_changed_at",
    "lowered_at",
    "refusals",
    "paused_until",
    "ramping",
    "max_concurrency",
)
"""What calls and their answers change: read again with each claim."""
TABLE = Table(Connection)
MOVING_COLUMNS = ", ".join(f'"{name}"' for name in MOVING)
_read: Kept[str, tuple[float, dict[int, Connection]]] = Kept(1)
"""When (monotonic), and what, by primary key."""


def everyone() -> dict[int, Connection]:
    """All connections, by primary key and in its order. Shared: nobody changes them."""
    known = _read.get("")
    if known is None or time.monotonic() - known[0] > SECONDS:
        rows = ask(f"SELECT {TABLE.columns} FROM {TABLE.name} ORDER BY id")  # noqa: S608
        known = time.monotonic(), {one.pk: one for one in TABLE.instances(rows)}
        _read.put("", known)
    return known[1]


def known(pk: int) -> Connection | None:
    """An instance of one's own."""
    found = everyone().get(pk)
    return copied(found) if found else None


def forget() -> None:
    """Something that was known proved wrong."""
    _read.clear()


def unchanged(connection: Connection) -> tuple[str, list[Any]]:
    """A condition: calls may be made through it, and its vendor, credentials and options are those of this instance.

    Where the instance has no limit it still has none; a limit itself may move (``take_slot``).
    """
    unlimited = " AND pace IS NULL AND max_concurrency IS NULL" if connection.limit is None else ""
    sql = (
        f" AND EXISTS (SELECT 1 FROM {TABLE.name} WHERE id = %s AND updated_at = %s AND credentials_version = %s"  # noqa: S608
        " AND breaker = %s AND breaker_changed_at IS NOT DISTINCT FROM %s"
        f" AND (paused_until IS NULL OR paused_until <= %s){unlimited})"
    )
    seen = connection
    return sql, [seen.pk, seen.updated_at, seen.credentials_version, seen.breaker, seen.breaker_changed_at, clock.now()]


TAKE_SLOT = """
UPDATE integrations_connectionslot SET holder = %s, leased_until = %s
WHERE EXISTS (SELECT 1 FROM locked) AND id = (
    SELECT free.id FROM integrations_connectionslot free
    WHERE free.connection_id = %s AND (free.holder = '' OR free.leased_until < %s)
    AND free.number + 1 + (
        SELECT count(*) FROM integrations_connectionslot held
        WHERE held.connection_id = free.connection_id AND held.number > free.number
        AND held.holder <> '' AND held.leased_until >= %s
    ) <= (SELECT LEAST(pace, max_concurrency) FROM integrations_connection WHERE id = free.connection_id)
    ORDER BY free.number LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING 1"""
"""By the rule of ``pace.acquire``: places above this one that are held count, too. Only rows that are there already."""


def take_slot(connection: Connection, holder: str, until: datetime) -> tuple[str, list[Any]]:
    now = clock.now()
    return TAKE_SLOT, [holder, until, connection.pk, now, now]


def refresh(connection: Connection, moving: Sequence[Any]) -> None:
    connection.__dict__.update(zip(MOVING, moving, strict=True))
