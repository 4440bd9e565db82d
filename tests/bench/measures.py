"""What is measured, one function a group of figures. Each returns what goes into the report."""

import json
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests import servers
from tests.bench import drivers
from tests.bench.contenders import BENCH, ENTERPRISE, Contender, Engine, limit
from tests.bench.drivers import CALLS, ENTERPRISE_CALLS, Batch, batch, median, percentile
from tests.bench.options import Options
from tests.bench.processes import Unfinished, call, cpu_seconds, tree
from tests.bench.stub_vendor.client import Stub

WARM_UP = 16
SLOW = 0.05
"""Seconds of a call where it takes as long as vendors' do."""
STEADY = 2.0
"""Onboardings a second, for the time from post to last call."""
LIMITED = {"too_many": 0.05, "retry_after": 1.0}
FAILING = {"error_after": 0.05}
PARKED_SYSTEM = "email"
"""Of the last call, so that one call a run is left to do when it takes steps again."""
PARKED_LIMIT = 4
PARKED_SECONDS = 0.1
SETTLE_SECONDS = 5.0
SOAK_BATCH = 1000
SQLITE_BATCH = 100
WRITE_EVERY = 0.05
WRITER_SECONDS = 60.0
POST_EVERY = 0.5
JUDGED = ("ours", "dbos")
"""Ours must be so many times as fast as the other."""
Found = dict[str, Any]


def rates(contender: Contender, stub: Stub, options: Options) -> Found:
    """At 0 and at 50 ms the batch several times, for the median, where a verdict depends on it. Ours also a large one."""
    batch(contender, stub, f"{_slug(contender)}-warm", WARM_UP)
    fast = _repeated(contender, stub, options, "fast")
    found: Found = {
        "size": options.batch,
        "rate": median([each.per_second for each in fast]),
        "cpu": {group: median([each.cpu[group] for each in fast]) for group in fast[0].cpu},
        "mb": fast[-1].mb,
        "batches": [each.as_json() for each in fast],
    }
    if isinstance(contender, Engine):
        found |= _large(contender, stub, options, found)
    with stub.behaving(answer_seconds=SLOW):
        slow = _repeated(contender, stub, options, "slow")
    return found | {
        "slow_rate": median([each.per_second for each in slow]),
        "slow_batches": [each.as_json() for each in slow],
    }


def _repeated(contender: Contender, stub: Stub, options: Options, name: str) -> list[Batch]:
    times = options.repeats if contender.name in JUDGED else 1
    return [batch(contender, stub, f"{_slug(contender)}-{name}{number}", options.batch) for number in range(times)]


def _large(engine: Engine, stub: Stub, options: Options, found: Found) -> Found:
    size = options.size("large", found["rate"])
    large = batch(engine, stub, "ours-large", size)
    grown = [max(found["mb"]["workers"]), max(large.mb["workers"])]
    runs = size
    for number in range(options.soak // SOAK_BATCH):
        grown.append(max(batch(engine, stub, f"ours-soak{number}", SOAK_BATCH).mb["workers"]))
        runs += SOAK_BATCH
    return {
        "large_size": size,
        "large_rate": large.per_second,
        "large": large.as_json(),
        "worker_mb": grown,
        "worker_mb_runs": runs,
    }


def latency(contender: Contender, stub: Stub, options: Options) -> Found:
    with stub.behaving(answer_seconds=SLOW):
        batch(contender, stub, f"{_slug(contender)}-warm-slow", WARM_UP)
        times = drivers.steadily(contender, stub, f"{_slug(contender)}-steady", STEADY, options.latency_seconds)
    return {"p50": median(times), "p95": percentile(times, 0.95), "onboardings": len(times)}


def undisturbed(engine: Engine, stub: Stub, options: Options) -> float:
    """Onboardings a second without faults, where ``rates`` was not asked for."""
    batch(engine, stub, "undisturbed-warm", WARM_UP)
    return batch(engine, stub, "undisturbed", options.batch).per_second


def limited(engine: Engine, stub: Stub, options: Options, undisturbed: float) -> Found:
    """Some calls are answered with a 429 that names a second."""
    before = stub.counts()
    with stub.behaving(**LIMITED):
        done = batch(engine, stub, "ours-limited", options.size("limited", undisturbed), is_sound=False)
    after = stub.counts()
    return {
        "size": done.onboardings,
        "share": done.per_second / undisturbed,
        "refused": after["limited"] - before["limited"],
        "early": after["early"] - before["early"],
        "twice": done.twice,
        "unfinished": engine.unfinished() + engine.waiting_for_people(),
        "batch": done.as_json(),
    }


def duplicates(engine: Engine, stub: Stub, options: Options) -> Found:
    """Vendors without idempotency keys carry some writes out and answer them with a 500."""
    batch(engine, stub, "keyless-warm", WARM_UP, is_sound=False)
    first = batch(engine, stub, "keyless-first", options.batch, is_sound=False)
    size = options.size("faulty", first.per_second)
    sound = batch(engine, stub, "keyless-sound", size, is_sound=False)
    before = stub.counts()
    with stub.behaving(**FAILING):
        done = batch(engine, stub, "keyless-failing", size, is_sound=False)
    return {
        "size": size,
        "share": done.per_second / sound.per_second,
        "failed": stub.counts()["failed"] - before["failed"],
        "twice": done.twice,
        "unfinished": engine.unfinished() + engine.waiting_for_people(),
        "sound": sound.as_json(),
        "batch": done.as_json(),
    }


def doubled(contender: Contender, stub: Stub, options: Options) -> Found:
    """As ``duplicates``, of one that repeats a call whose answer was an error."""
    with stub.behaving(**FAILING):
        done = batch(contender, stub, f"{_slug(contender)}-failing", options.faulty, is_sound=False)
    return {"size": options.faulty, "twice": done.twice, "batch": done.as_json()}


def parked(engine: Engine, stub: Stub, options: Options, undisturbed: float) -> Found:
    """Runs wait behind refused credentials; once these work again, the connection's limit alone holds them back."""
    size = options.size("parked", undisturbed)
    limit(PARKED_SYSTEM, PARKED_LIMIT)
    before = stub.counts()
    stub.behave(refused=PARKED_SYSTEM)
    names = [f"parked-{number}" for number in range(size)]
    drivers.give(engine, names)
    drivers.until(stub, lambda counts: counts["by_kind"]["kickoffs"] >= before["by_kind"].get("kickoffs", 0) + size)
    time.sleep(SETTLE_SECONDS)
    stub.behave(answer_seconds=PARKED_SECONDS)
    engine.manage("connection", "check", PARKED_SYSTEM)
    drivers.until(stub, lambda counts: counts["finished"] >= before["finished"] + size)
    drivers.until(stub, lambda _: engine.unfinished() == 0)
    after = stub.counts()
    stub.behave()
    limit(PARKED_SYSTEM, 0)
    ends = drivers.ends(stub, names)
    per_second = (size - 1) / (max(ends) - min(ends))
    return {
        "size": size,
        "limit": PARKED_LIMIT,
        "call_seconds": PARKED_SECONDS,
        "per_second": per_second,
        "share": per_second / (PARKED_LIMIT / PARKED_SECONDS),
        "most_at_once": after["most_at_once"][PARKED_SYSTEM],
        "beyond": max(0, after["most_at_once"][PARKED_SYSTEM] - PARKED_LIMIT),
        "twice": after["twice"] - before["twice"],
        "wrong_calls": abs(after["calls"] - before["calls"] - CALLS * size),
    }


def idle(engine: Engine, started: servers.Servers, options: Options) -> Found:
    """CPU of the whole installation, database and broker among it, in per cent of one core."""
    time.sleep(SETTLE_SECONDS)
    groups = engine.processes() | {"broker": tree(started.processes[1][0].pid)}
    before = {group: cpu_seconds(processes) for group, processes in groups.items()}
    began = time.monotonic()
    time.sleep(options.idle_seconds)
    seconds = time.monotonic() - began
    spent = {group: 100 * (cpu_seconds(groups[group]) - was) / seconds for group, was in before.items()}
    return {"percent": sum(spent.values()), "by_group": spent, "seconds": seconds}


def intake(web: Engine, options: Options) -> Found:
    """One web process, with nobody to do the work that it takes in."""
    seconds = options.intake_seconds
    drivers.posts_a_second(web, "intake-warm", 1.0, 201)
    stored, posted = drivers.posts_a_second(web, "intake", seconds, 201)
    repeated, _ = drivers.posts_a_second(web, "intake", seconds, 200, again=posted)
    times = drivers.answer_seconds(web, "intake-half", stored / 2, 2 * seconds)
    return {
        "stored": stored,
        "deduplicated": repeated,
        "p50_ms": 1000 * median(times),
        "p99_ms": 1000 * percentile(times, 0.99),
        "at": stored / 2,
        "posts": len(times),
    }


def sqlite(engine: Engine, stub: Stub) -> Found:
    """The embedded default, while others write and post, too."""
    batch(engine, stub, "sqlite-warm", WARM_UP)
    database = Path(engine.environment["DATA_DIR"]) / "db.sqlite3"
    waits: list[float] = []
    stop = threading.Event()
    others = [
        threading.Thread(target=_write, args=(database, stop, waits)),
        threading.Thread(target=_post, args=(engine, stop)),
    ]
    engine.answers.clear()
    before, found = stub.counts(), Found()
    for each in others:
        each.start()
    try:
        done = batch(engine, stub, "sqlite", SQLITE_BATCH, is_sound=False, until_recorded=False)
        finished = stub.counts()["finished"] - before["finished"]
        found = {"per_second": finished / done.seconds, "onboardings": finished, "batch": done.as_json()}
    except Unfinished as problem:
        found["problem"] = str(problem)
    finally:
        stop.set()
        for each in others:
            each.join()
    with suppress(Unfinished):
        drivers.until(stub, lambda _: engine.unfinished() == 0)
    errors = sum(status >= HTTPStatus.INTERNAL_SERVER_ERROR for status, _ in engine.answers)
    return found | {
        "twice": stub.counts()["twice"] - before["twice"],
        "unfinished": engine.unfinished() + engine.waiting_for_people(),
        "errors": errors,
        "longest_answer": max(seconds for _, seconds in engine.answers),
        "posts": len(engine.answers),
        "longest_wait": max(waits),
        "writes": len(waits),
    }


def _write(database: Path, stop: threading.Event, waits: list[float]) -> None:
    """How long a writer waits for its turn, asking for it as ours do; one that gives up has waited so long."""
    with closing(sqlite3.connect(database, timeout=0.005, isolation_level=None)) as connection:
        while not stop.wait(WRITE_EVERY):
            began = time.monotonic()
            while not _has_turn(connection) and time.monotonic() < began + WRITER_SECONDS:
                time.sleep(0.005)
            waits.append(time.monotonic() - began)


def _has_turn(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    connection.execute("ROLLBACK")
    return True


def _post(engine: Engine, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(POST_EVERY):
        with suppress(Unfinished):  # its answers are counted
            engine.begin(f"sqlite-meanwhile-{number}")
        number += 1


def enterprise(engine: Engine, stub: Stub, options: Options) -> Found:
    """The enterprise playbook's runs; which share of their transitions is lean is told by ``alone``."""
    engine.plan = ENTERPRISE
    try:
        batch(engine, stub, "enterprise-warm", WARM_UP, calls=ENTERPRISE_CALLS)
        found = [
            batch(engine, stub, f"enterprise{number}", options.batch, calls=ENTERPRISE_CALLS)
            for number in range(options.repeats)
        ]
    finally:
        engine.plan = BENCH
    return {
        "size": options.batch,
        "rate": median([each.per_second for each in found]),
        "cpu": {group: median([each.cpu[group] for each in found]) for group in found[0].cpu},
        "twice": sum(each.twice for each in found),
        "unfinished": engine.unfinished() + engine.waiting_for_people(),
        "batches": [each.as_json() for each in found],
    }


def lean_share() -> Found:
    """Of an enterprise's run, by one thread in a process of its own."""
    return dict(json.loads(call([sys.executable, "-m", "tests.bench.alone", "lean"]).splitlines()[-1]))


def alone() -> Found:
    """One thread, in a process of its own (see ``alone``)."""
    return dict(json.loads(call([sys.executable, "-m", "tests.bench.alone"]).splitlines()[-1]))


def _slug(contender: Contender) -> str:
    return contender.name.replace(" ", "-")
