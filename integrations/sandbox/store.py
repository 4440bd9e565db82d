"""The sandbox's durable truth: one SQLite file that survives kill -9.

Everything a vendor request does (the rule that fires, the write, the ledger row) commits in one short transaction, so
an observer never sees an object without the request that made it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

LEDGER_ROWS = 20_000
LEDGER_BODY_CHARS = 16_384
TERM_CHARS = 512
LOCK_SECONDS = 20.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, vendor TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
    body TEXT NOT NULL, seen TEXT, seeded INTEGER NOT NULL, archived INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, visible_at REAL NOT NULL, UNIQUE (vendor, kind, id));
CREATE TABLE IF NOT EXISTS terms (
    vendor TEXT NOT NULL, kind TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (vendor, kind, field, value, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS terms_seq ON terms (seq);
CREATE TABLE IF NOT EXISTS links (
    vendor TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, to_kind TEXT NOT NULL, to_id TEXT NOT NULL,
    PRIMARY KEY (vendor, kind, id, to_kind, to_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
    vendor TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, fingerprint TEXT NOT NULL, status INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (vendor, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (vendor TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (vendor TEXT PRIMARY KEY, start REAL NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, vendor TEXT NOT NULL, method TEXT, path TEXT, kind TEXT NOT NULL,
    probability REAL NOT NULL, remaining INTEGER, delay REAL, retry_after REAL, status INTEGER,
    hits INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, vendor TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, idempotency_key TEXT, status INTEGER, fault TEXT, body TEXT, user_agent TEXT);
CREATE INDEX IF NOT EXISTS ledger_vendor ON ledger (vendor, seq);
"""


@dataclass(frozen=True)
class Row:
    seq: int
    vendor: str
    kind: str
    id: str
    body: Json
    #: what search still shows while the last write has not reached the index; None: nothing yet
    seen: Json | None
    seeded: bool
    created_at: float
    updated_at: float
    visible_at: float


class Tx:
    """One open transaction; ``now`` is the same for everything in it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.db = connection
        self.now = time.time()

    # -- objects -------------------------------------------------------------------------------------------------

    def new_id(self, vendor: str, kind: str, base: int) -> str:
        """A number that was never given out before, not even before a reset."""
        while True:
            self.db.execute("INSERT INTO counter VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET n = n + 1")
            candidate = str(base + int(self.db.execute("SELECT n FROM counter").fetchone()[0]))
            taken = self.db.execute(
                "SELECT 1 FROM objects WHERE vendor = ? AND kind = ? AND id = ?", (vendor, kind, candidate)
            ).fetchone()
            if taken is None:
                return candidate

    def insert(self, vendor: str, kind: str, row_id: str, body: Json, *, lag: float, seeded: bool = False) -> Row:
        """``lag``: seconds until indexes show it. Seeded objects are there already."""
        visible_at = 0.0 if seeded else self.now + lag
        cursor = self.db.execute(
            "INSERT INTO objects (vendor, kind, id, body, seeded, created_at, updated_at, visible_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (vendor, kind, row_id, json.dumps(body), seeded, self.now, self.now, visible_at),
        )
        seq = int(cursor.lastrowid or 0)
        self._index(seq, vendor, kind, (body,))
        return Row(seq, vendor, kind, row_id, body, None, seeded, self.now, self.now, visible_at)

    def update(self, row: Row, body: Json, *, lag: float) -> Row:
        seen = self.searchable(row, lag)
        self.db.execute(
            "UPDATE objects SET body = ?, seen = ?, updated_at = ?, visible_at = ? WHERE seq = ?",
            (json.dumps(body), None if seen is None else json.dumps(seen), self.now, self.now + lag, row.seq),
        )
        self.db.execute("DELETE FROM terms WHERE seq = ?", (row.seq,))
        self._index(row.seq, row.vendor, row.kind, (body, seen or {}))
        return Row(
            row.seq, row.vendor, row.kind, row.id, body, seen, row.seeded, row.created_at, self.now, self.now + lag
        )

    def touch(self, row: Row) -> None:
        """Changed, but in nothing that an index would have to learn."""
        self.db.execute("UPDATE objects SET updated_at = ? WHERE seq = ?", (self.now, row.seq))

    def archive(self, row: Row) -> None:
        self.db.execute("UPDATE objects SET archived = 1, updated_at = ? WHERE seq = ?", (self.now, row.seq))
        self.db.execute("DELETE FROM terms WHERE seq = ?", (row.seq,))
        for statement in (
            "DELETE FROM links WHERE vendor = ? AND kind = ? AND id = ?",
            "DELETE FROM links WHERE vendor = ? AND to_kind = ? AND to_id = ?",
        ):
            self.db.execute(statement, (row.vendor, row.kind, row.id))

    def get(self, vendor: str, kind: str, row_id: str) -> Row | None:
        found = self.db.execute(
            "SELECT * FROM objects WHERE vendor = ? AND kind = ? AND id = ? AND NOT archived", (vendor, kind, row_id)
        ).fetchone()
        return None if found is None else _row(found)

    def archived(self, vendor: str, kind: str, row_id: str) -> Row | None:
        found = self.db.execute(
            "SELECT * FROM objects WHERE vendor = ? AND kind = ? AND id = ? AND archived", (vendor, kind, row_id)
        ).fetchone()
        return None if found is None else _row(found)

    def rows(self, vendor: str, kind: str) -> list[Row]:
        found = self.db.execute(
            "SELECT * FROM objects WHERE vendor = ? AND kind = ? AND NOT archived ORDER BY seq", (vendor, kind)
        )
        return [_row(each) for each in found]

    def candidates(self, vendor: str, kind: str, field: str, value: object) -> list[Row]:
        """Objects that carry, or carried when search last looked, this value; compare again before you believe it."""
        found = self.db.execute(
            "SELECT o.* FROM terms t JOIN objects o ON o.seq = t.seq"
            " WHERE t.vendor = ? AND t.kind = ? AND t.field = ? AND t.value = ? ORDER BY o.seq",
            (vendor, kind, field, term(value)),
        )
        return [_row(each) for each in found]

    def holders(self, vendor: str, kind: str, field: str) -> list[Row]:
        """Objects that have, or had when search last looked, any value in this field."""
        found = self.db.execute(
            "SELECT * FROM objects WHERE seq IN"
            " (SELECT seq FROM terms WHERE vendor = ? AND kind = ? AND field = ?) ORDER BY seq",
            (vendor, kind, field),
        )
        return [_row(each) for each in found]

    def find(self, vendor: str, kind: str, field: str, value: object) -> list[Row]:
        """The strongly consistent read: what the objects say now, whatever search shows."""
        return [row for row in self.candidates(vendor, kind, field, value) if matches(row.body, field, value)]

    def page(
        self, vendor: str, kind: str, field: str, value: object, *, lag: float, limit: int, after: int
    ) -> list[Row]:
        """What search shows under this value beyond row ``after``; a listing of thousands stays cheap."""
        found = self.db.execute(
            "SELECT o.* FROM terms t JOIN objects o ON o.seq = t.seq"
            " WHERE t.vendor = ? AND t.kind = ? AND t.field = ? AND t.value = ? AND t.seq > ?"
            " AND (min(o.visible_at, o.updated_at + ?) <= ? OR o.seen IS NOT NULL) ORDER BY t.seq LIMIT ?",
            (vendor, kind, field, term(value), after, lag, self.now, limit),
        )
        return [_row(each) for each in found]

    def searchable(self, row: Row, lag: float) -> Json | None:
        """The object as search shows it. A lag lowered since the write counts at once, a raised one does not."""
        return row.body if self.now >= min(row.visible_at, row.updated_at + lag) else row.seen

    def _index(self, seq: int, vendor: str, kind: str, bodies: Iterable[Json]) -> None:
        for body in bodies:
            self.db.executemany(
                "INSERT OR IGNORE INTO terms VALUES (?, ?, ?, ?, ?)",
                [(vendor, kind, field, value, seq) for field, value in _terms(body)],
            )

    # -- associations, settings, ledger --------------------------------------------------------------------------

    def link(self, vendor: str, kind: str, row_id: str, to_kind: str, to_id: str) -> None:
        for values in ((vendor, kind, row_id, to_kind, to_id), (vendor, to_kind, to_id, kind, row_id)):
            self.db.execute("INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?, ?)", values)

    def unlink(self, vendor: str, kind: str, row_id: str, to_kind: str, to_id: str) -> None:
        for values in ((vendor, kind, row_id, to_kind, to_id), (vendor, to_kind, to_id, kind, row_id)):
            self.db.execute(
                "DELETE FROM links WHERE vendor = ? AND kind = ? AND id = ? AND to_kind = ? AND to_id = ?", values
            )

    def linked(self, vendor: str, kind: str, row_id: str, to_kind: str) -> list[str]:
        found = self.db.execute(
            "SELECT to_id FROM links WHERE vendor = ? AND kind = ? AND id = ? AND to_kind = ?",
            (vendor, kind, row_id, to_kind),
        )
        return [str(each[0]) for each in found]

    def settings(self, vendor: str) -> Json:
        found = self.db.execute("SELECT value FROM settings WHERE vendor = ?", (vendor,)).fetchone()
        return {} if found is None else dict(json.loads(found[0]))

    def change_settings(self, vendor: str, changes: Json) -> None:
        value = json.dumps({**self.settings(vendor), **changes})
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (vendor, value))

    def spend(self, vendor: str, seconds: float) -> tuple[int, float]:
        """Count one request in the vendor's current window: (requests so far, seconds until the window ends)."""
        found = self.db.execute("SELECT start, used FROM windows WHERE vendor = ?", (vendor,)).fetchone()
        start, used = (float(found[0]), int(found[1])) if found else (self.now, 0)
        if not 0 <= self.now - start < seconds:
            start, used = self.now, 0
        self.db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?)", (vendor, start, used + 1))
        return used + 1, start + seconds - self.now

    def record(self, values: Json) -> None:
        self.db.execute(
            "INSERT INTO ledger (at, vendor, method, path, idempotency_key, status, fault, body, user_agent)"
            " VALUES (:at, :vendor, :method, :path, :idempotency_key, :status, :fault, :body, :user_agent)",
            {**values, "at": self.now, "body": values["body"][:LEDGER_BODY_CHARS]},
        )
        self.db.execute("DELETE FROM ledger WHERE seq <= (SELECT MAX(seq) FROM ledger) - ?", (LEDGER_ROWS,))

    def ledger(self, vendor: str | None, since: int, last: int | None = None) -> list[Json]:
        """Oldest first; ``last``: only so many, the newest."""
        found = self.db.execute(
            "SELECT * FROM ledger WHERE (:vendor IS NULL OR vendor = :vendor) AND seq > :since"
            " ORDER BY seq DESC LIMIT :last",
            {"vendor": vendor, "since": since, "last": -1 if last is None else last},
        )
        return [dict(each) for each in found][::-1]

    def clear(self) -> None:
        """Empty everything but the counters: a number is never given out twice."""
        for statement in (
            "DELETE FROM objects", "DELETE FROM terms", "DELETE FROM links", "DELETE FROM replies",
            "DELETE FROM settings", "DELETE FROM windows", "DELETE FROM faults", "DELETE FROM ledger",
        ):  # fmt: skip
            self.db.execute(statement)


class Store:
    """Opens one connection per thread; a lock in front of SQLite's own keeps waiting threads off its busy sleeps."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        with closing(self._open()) as connection:
            # WAL without a sync per commit: safe against the death of this process, which is what is promised.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
        with self._lock:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Tx(connection)
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def seal(self) -> None:
        """Wait for the open transaction and let no other begin, ever."""
        self._lock.acquire(timeout=LOCK_SECONDS)

    def close_thread(self) -> None:
        """Close the calling thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            connection.close()


def term(value: object) -> str:
    """Values as indexes compare them: text, trimmed, in lower case."""
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return text.strip().lower()[:TERM_CHARS]


def matches(body: Json, field: str, value: object) -> bool:
    return (field, term(value)) in set(_terms(body))


def _terms(body: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in body.items():
        if isinstance(value, dict):
            if not prefix:
                yield from _terms(value, f"{name}.")
            continue
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, str | int | float) and term(each):
                yield prefix + name, term(each)


def _row(found: sqlite3.Row) -> Row:
    return Row(
        seq=found["seq"],
        vendor=found["vendor"],
        kind=found["kind"],
        id=found["id"],
        body=json.loads(found["body"]),
        seen=None if found["seen"] is None else json.loads(found["seen"]),
        seeded=bool(found["seeded"]),
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        visible_at=found["visible_at"],
    )
