"""Connections as this process last read them. What is decided by one is written only if its row still says so (``unchanged``)."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from integrations import clock
from integrations.database.instances import copied
from integrations.database.process_cache import ProcessCache
from integrations.database.statements import UNFLUSHED, Table, ask
from integrations.models import Connection

SECONDS = 1.0
"""How long the list counts, which tells what a system's default connection is."""
MOVING = (
    "failures",
    "failures_of",
    "concurrency_limit",
    "concurrency_changed_at",
    "lowered_at",
    "refusals",
    "paused_until",
    "slow_start",
    "max_concurrency",
)
"""What calls and their answers change: read again with each claim."""
TABLE = Table(Connection)
MOVING_COLUMNS = ", ".join(f'"{name}"' for name in MOVING)
_read: ProcessCache[str, tuple[float, dict[int, Connection]]] = ProcessCache(1)
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


def unchanged(connection: Connection, *, is_paused: bool) -> tuple[str, list[Any]]:
    """A condition: calls may be made through it, and its vendor, credentials and options are those of this instance.

    Where the instance has no limit it still has none; a limit itself may move (``claim_slot``). Where it is paused nothing may be
    claimed, and whether it is still paused does not matter.
    """
    seen = connection
    at = [seen.updated_at, seen.enabled, seen.credentials_version, seen.breaker, seen.breaker_changed_at]
    return UNCHANGED, [seen.pk, *at, is_paused, clock.now(), seen.limit is not None]


UNCHANGED = f"""
 AND EXISTS (SELECT 1 FROM {TABLE.name} WHERE id = %s AND updated_at = %s AND enabled = %s AND credentials_version = %s
 AND breaker = %s AND breaker_changed_at IS NOT DISTINCT FROM %s
 AND (%s OR ((paused_until IS NULL OR paused_until <= %s) AND (%s OR (concurrency_limit IS NULL AND max_concurrency IS NULL)))))"""  # noqa: S608
"""One text for all cases: each is planned once by each connection to the database."""


def is_paused(connection: Connection, now: datetime) -> bool:
    return connection.paused_until is not None and connection.paused_until > now


CLAIM_SLOT = f"""
WITH mine AS (
    UPDATE integrations_connectionslot SET holder = %s, leased_until = %s WHERE id = (
        SELECT free.id FROM integrations_connectionslot free
        WHERE free.connection_id = %s AND (free.holder = '' OR free.leased_until < %s)
        AND free.number + 1 + (
            SELECT count(*) FROM integrations_connectionslot held
            WHERE held.connection_id = free.connection_id AND held.number > free.number
            AND held.holder <> '' AND held.leased_until >= %s
        ) <= (SELECT LEAST(concurrency_limit, max_concurrency) FROM integrations_connection WHERE id = free.connection_id)
        ORDER BY free.number LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING {UNFLUSHED}
)
SELECT EXISTS (SELECT 1 FROM mine), LEAST(concurrency_limit, max_concurrency) IS NULL,
    LEAST(concurrency_limit, max_concurrency) > (SELECT count(*) FROM integrations_connectionslot WHERE connection_id = %s)
FROM integrations_connection WHERE id = %s"""  # noqa: S608
"""By the rule of ``concurrency.acquire``: places above this one that are held count, too. Whether one was taken, whether there is
no limit any more, and whether rows for places are lacking."""
CREATE_SLOTS = """
INSERT INTO integrations_connectionslot (connection_id, number, holder)
SELECT id, generate_series(0, LEAST(concurrency_limit, max_concurrency) - 1), '' FROM integrations_connection WHERE id = %s
ON CONFLICT DO NOTHING"""


def claim_slot(connection: Connection, holder: str, until: datetime) -> bool:
    """A place until ``until``; False where none is free. True where there is no limit any more, which the instance then
    says, too.

    At once, by a statement of its own: whoever then does not need it gives it back (``concurrency.release``).
    """
    now, pk = clock.now(), connection.pk
    values = [holder, until, pk, now, now, pk, pk]
    taken, unlimited, lacking = ask(CLAIM_SLOT, values)[0]
    if lacking and not taken:
        ask(CREATE_SLOTS, [pk])
        taken, unlimited, _ = ask(CLAIM_SLOT, values)[0]
    if unlimited:
        connection.concurrency_limit = connection.max_concurrency = None
    return bool(taken or unlimited)


def refresh(connection: Connection, moving: Sequence[Any]) -> None:
    """With what was just read of it; who asks for it next gets it so, too."""
    connection.__dict__.update(zip(MOVING, moving, strict=True))
    known = _read.get("")
    if known is not None and connection.pk in known[1]:
        known[1][connection.pk] = copied(connection)
