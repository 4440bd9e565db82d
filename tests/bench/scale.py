"""``python -m tests.bench.scale``: many workers against one PostgreSQL, and what of it runs out first.

For each size (``SCALE_SIZES``, worker processes x threads: ``2x1,2x4,2x16,7x16``) it gives ``SCALE_RUNS`` (100) onboardings at
once to an installation whose vendors take ``SCALE_ANSWER`` (0.2) seconds an answer, so that threads wait and the database has
the work, and reads from PostgreSQL what it cost. The last of the sizes asks for more connections than PostgreSQL gives
(``SCALE_CONNECTIONS``, 100, its own default). ``SCALE_OUT=path`` also writes JSON. How to read it: docs/scale.md.

It fails where an onboarding did not end or an object was made twice.
"""

import json
import os
import platform
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from tests import servers
from tests.bench import contenders, drivers
from tests.bench.__main__ import DURABLE
from tests.bench.processes import Command, Unfinished, cpu_seconds, running, tree
from tests.bench.stub_vendor.client import Stub
from tests.processes.installation import free_port

OWN_WORKERS = 2
"""Worker processes that ``config.run`` starts on two cores; those beyond are started here."""
SAMPLE_SECONDS = 0.02
FLUSHED_SECONDS = 11.0
"""Until a backend that rests has told what it did."""
STATEMENTS = "pg_stat_statements"
WATCHED = {"shared_preload_libraries": STATEMENTS, "track_activity_query_size": "16384"}
"""Whole statements, to know which of them wait."""
REFUSED = "too many clients already"
PER_RUN = {
    "transactions": "transactions",
    "statements": "statements",
    "wal": "WAL (KB)",
    "rows": "rows written",
    "database": "database's CPU (ms)",
    "workers": "workers' CPU (ms)",
}


@dataclass
class Sampled:
    """What ``pg_stat_activity`` and ``pg_locks`` showed, looked at all the time."""

    connections: int = 0
    """The most at once."""
    looks: int = 0
    active: int = 0
    """Sum over all looks, like those that follow."""
    waiting_for_locks: int = 0
    waiting_for_disk: int = 0
    longest_lock_wait: float = 0.0
    waited: Counter[str] = field(default_factory=Counter)
    """Statements that were seen waiting for a lock, by kind and table."""

    def mean(self, total: int) -> float:
        return round(total / max(1, self.looks), 2)


@dataclass
class Size:
    processes: int
    threads: int
    onboardings: int = 0
    per_second: float = 0.0
    refused: int = 0
    """Connections that PostgreSQL refused."""
    deadlocks: int = 0
    per_run: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, float]] = field(default_factory=dict)
    """Rows and bytes a run, by table."""
    sampled: Sampled = field(default_factory=Sampled)


class Database:
    """The PostgreSQL, seen from a connection of its own that is there from the beginning."""

    def __init__(self, url: str, log: Path) -> None:
        self.connection, self.log = psycopg.connect(url, autocommit=True), log
        self.connection.execute(f"CREATE EXTENSION IF NOT EXISTS {STATEMENTS}")
        self.watcher = psycopg.connect(url, autocommit=True)

    def totals(self) -> Counter[str]:
        one = self._one(
            f"""SELECT xact_commit + xact_rollback, deadlocks, pg_current_wal_lsn() - '0/0'::pg_lsn,
                (SELECT sum(calls) FROM {STATEMENTS}), (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables)
            FROM pg_stat_database WHERE datname = current_database()"""  # noqa: S608
        )
        names = ("transactions", "deadlocks", "wal", "statements", "rows")
        return Counter({name: int(value) for name, value in zip(names, one, strict=True)})

    def tables(self) -> dict[str, Counter[str]]:
        rows = self.connection.execute(
            """SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, pg_total_relation_size(relid) FROM pg_stat_user_tables"""
        )
        names = ("inserted", "updated", "deleted", "bytes")
        return {row[0]: Counter(dict(zip(names, map(int, row[1:]), strict=True))) for row in rows}

    def under_way(self) -> int:
        return int(
            self._one(
                "SELECT count(*) FROM onboarding_onboardingtransaction WHERE status NOT IN ('complete', 'cancelled')"
            )[0]
        )

    def refused(self) -> int:
        return self.log.read_text(errors="replace").count(REFUSED)

    @contextmanager
    def watched(self) -> Iterator[Sampled]:
        seen, stop = Sampled(), threading.Event()
        thread = threading.Thread(target=self._watch, args=(seen, stop), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()

    def _watch(self, seen: Sampled, stop: threading.Event) -> None:
        while not stop.wait(SAMPLE_SECONDS):
            row = self.watcher.execute(
                """SELECT count(*), count(*) FILTER (WHERE state = 'active'),
                    count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Lock'),
                    count(*) FILTER (WHERE state = 'active' AND wait_event_type IN ('IO', 'LWLock')),
                    (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - waitstart)), 0) FROM pg_locks WHERE NOT granted),
                    array_agg(query) FILTER (WHERE state = 'active' AND wait_event_type = 'Lock')
                FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""
            ).fetchone()
            assert row
            seen.looks += 1
            seen.connections = max(seen.connections, row[0])
            seen.active += row[1]
            seen.waiting_for_locks += row[2]
            seen.waiting_for_disk += row[3]
            seen.longest_lock_wait = max(seen.longest_lock_wait, float(row[4]))
            seen.waited.update(_shape(statement) for statement in row[5] or ())

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self.connection.execute(query.encode()).fetchone()
        assert row
        return row


def _shape(statement: str) -> str:
    """``SELECT … FOR UPDATE onboarding_step`` of such a statement."""
    table = re.search(r'(?:FROM|UPDATE|INTO)\s+"?(\w+)', statement)
    locks = re.search(r"FOR (NO KEY )?UPDATE", statement)
    return " ".join([statement.split(maxsplit=1)[0], *([locks[0]] if locks else []), table[1] if table else ""])


def measure(size: Size, database: Database, engine: contenders.Engine, stub: Stub, more: list[int], runs: int) -> None:
    name = f"scale-{size.processes}x{size.threads}"
    drivers.give(engine, [f"{name}-warm-{number}" for number in range(4)])
    _until_done(database)
    time.sleep(FLUSHED_SECONDS)
    totals, tables, refused = database.totals(), database.tables(), database.refused()
    cpu = _cpu(engine, more)
    before, began = stub.counts(), time.monotonic()
    with database.watched() as size.sampled:
        drivers.give(engine, [f"{name}-{number}" for number in range(runs)])
        _until_done(database)
        seconds = time.monotonic() - began
    spent = {group: each - cpu[group] for group, each in _cpu(engine, more).items()}
    after = stub.counts()
    if (after["calls"] - before["calls"], after["twice"]) != (drivers.CALLS * runs, before["twice"]):
        raise Unfinished(f"{name}: {after['calls'] - before['calls']} calls of {runs} onboardings.")
    time.sleep(FLUSHED_SECONDS)
    grown = database.totals()
    grown.subtract(totals)
    size.onboardings, size.per_second = runs, round(runs / seconds, 2)
    size.refused, size.deadlocks = database.refused() - refused, grown.pop("deadlocks")
    size.per_run = {each: round(grown[each] / runs, 1) for each in grown}
    size.per_run["wal"] = round(grown["wal"] / runs / 1000, 1)
    size.per_run |= {group: round(1000 * each / runs, 1) for group, each in spent.items()}
    for table, counts in database.tables().items():
        counts.subtract(tables[table])
        if any(counts.values()):
            size.tables[table] = {each: round(value / runs, 2) for each, value in counts.items()}


def _cpu(engine: contenders.Engine, more: list[int]) -> dict[str, float]:
    groups = engine.processes()
    workers = cpu_seconds([*groups["workers"], *(process for pid in more for process in tree(pid))])
    return {"workers": workers, "database": cpu_seconds(groups["database"])}


def _until_done(database: Database) -> None:
    deadline = time.monotonic() + drivers.LONGEST_SECONDS
    while left := database.under_way():
        if time.monotonic() > deadline:
            raise Unfinished(f"{left} onboardings did not end.")
        time.sleep(drivers.LOOK_EVERY)


def _more_workers(size: Size) -> dict[str, Command]:
    """Like ``config.run``'s own."""
    options = ["-P", "threads", "-c", str(size.threads), "-l", "info"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "config", "worker", *options]
    numbers = range(OWN_WORKERS + 1, size.processes + 1)
    return {f"more-{number}": [*celery, "-n", f"more{number}@%h"] for number in numbers}


def sizes() -> list[Size]:
    asked = os.environ.get("SCALE_SIZES", "2x1,2x4,2x16,7x16").split(",")
    return [Size(*map(int, each.split("x"))) for each in asked]


def main() -> int:
    for name in ("DATABASE_URL", "REDIS_URL", "BROKER_PUBLISH", "DJANGO_SETTINGS_MODULE"):
        os.environ.pop(name, None)
    most, runs = os.environ.get("SCALE_CONNECTIONS", "100"), int(os.environ.get("SCALE_RUNS", "100"))
    answer = float(os.environ.get("SCALE_ANSWER", "0.2"))
    servers.POSTGRES_SETTINGS.update({**DURABLE, **WATCHED, "max_connections": most})
    started, stub, measured = servers.Servers(), Stub(free_port()), sizes()
    try:
        servers.prepare("postgres", started)
        os.environ |= {"BENCH_VENDOR": stub.url, "CONFIG_DIR": str(contenders.COMPANY)}
        with ExitStack() as stack:
            stack.enter_context(
                running(started, {"vendor": [sys.executable, "-m", "tests.bench.stub_vendor.server", str(stub.port)]})
            )
            stub.wait()
            stub.behave(answer_seconds=answer)
            key = contenders.prepare(stub)
            database = Database(os.environ["DATABASE_URL"], started.folder / "postgres.log")
            for size in measured:
                folder, env = f"scale-{size.processes}x{size.threads}", {"WORKER_CONCURRENCY": str(size.threads)}
                with (
                    contenders.engine(started, key, folder, **env) as engine,
                    running(started, _more_workers(size)) as more,
                ):
                    measure(size, database, engine, stub, more, runs)
                print(f"{folder}: {size.per_second} onboardings/s", file=sys.stderr, flush=True)
    finally:
        started.stop()
    show(measured, most, answer)
    if out := os.environ.get("SCALE_OUT"):
        about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count()}
        about |= {"python": platform.python_version(), "max_connections": int(most), "answer_seconds": answer}
        Path(out).write_text(json.dumps(about | {"sizes": [asdict(size) for size in measured]}, indent=2) + "\n")
    return 0


def show(measured: list[Size], most: str, answer: float) -> None:
    print(f"\n{measured[0].onboardings} onboardings at once, {answer:g} s an answer, max_connections {most}\n")
    rows: list[tuple[str, list[Any]]] = [
        ("worker processes x threads", [f"{size.processes}x{size.threads}" for size in measured]),
        ("onboardings/s", [size.per_second for size in measured]),
        ("connections, the most", [size.sampled.connections for size in measured]),
        ("connections refused", [size.refused for size in measured]),
        ("backends at work, mean", [size.sampled.mean(size.sampled.active) for size in measured]),
        ("  waiting for locks", [size.sampled.mean(size.sampled.waiting_for_locks) for size in measured]),
        ("  waiting for disk or memory", [size.sampled.mean(size.sampled.waiting_for_disk) for size in measured]),
        ("longest wait for a lock (ms)", [round(1000 * size.sampled.longest_lock_wait) for size in measured]),
        ("deadlocks", [size.deadlocks for size in measured]),
        *((f"{words} a run", [size.per_run[name] for size in measured]) for name, words in PER_RUN.items()),
    ]
    for words, values in rows:
        print(f"{words:<32}" + "".join(f"{value:>10}" for value in values))
    print(
        "\nwaited for a lock, in the last size: "
        + ", ".join(f"{name} ({n})" for name, n in measured[-1].sampled.waited.most_common(5))
    )
    print(f"\n{'a run, by table':<40}{'inserted':>10}{'updated':>10}{'deleted':>10}{'bytes':>10}")
    for table, counts in sorted(measured[-1].tables.items(), key=lambda each: -each[1]["bytes"]):
        print(
            f"{table:<40}" + "".join(f"{counts[name]:>10.1f}" for name in ("inserted", "updated", "deleted", "bytes"))
        )


if __name__ == "__main__":
    sys.exit(main())
