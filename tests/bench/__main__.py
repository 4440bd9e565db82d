"""``make bench``: how fast the engine is here, beside a bare Celery task that does the same calls, and what faults of the
vendors cost it. ``BENCH_OUT=path`` also writes JSON.

It fails where an onboarding made other than its 14 calls, an object was made twice, a call came inside the Retry-After of a 429
or an onboarding did not end, and where faults cost more than half of the undisturbed rate.

A PostgreSQL that waits for its disk and a Valkey are started for it, with two worker processes and the scheduler.
``BENCH_SECONDS`` (15): for how long onboardings are begun, ``BENCH_IN_FLIGHT`` (16): how many are under way at once.
``BENCH_PROFILE=path`` writes a cProfile of a few onboardings done by one thread.
"""

import cProfile
import json
import logging
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import requests

from tests import servers
from tests.bench.keyless import without_keys
from tests.processes.installation import free_port, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
COMPANY = Path(__file__).parent / "company"
SECONDS = float(os.environ.get("BENCH_SECONDS", "15"))
IN_FLIGHT = int(os.environ.get("BENCH_IN_FLIGHT", "16"))
WARM_UP = IN_FLIGHT
CALLS = 14
PROFILED = 15
WORKERS = 2
DRAIN_SECONDS = 60.0
DISTURBED = 100
DISTURBED_SECONDS = 300.0
"""Onboardings begun at once under each kind of fault."""
LEAST_SHARE = 0.5
TOO_MANY = {"too_many": 0.05, "retry_after": 1.0}
FAULTS = {
    False: ("5 % 429", TOO_MANY),
    True: ("5 % 429, 5 % 500 after the write", {**TOO_MANY, "error_after": 0.05}),
}
"""Shares of the answers (``vendor.Faults``), by whether the vendors are those without idempotency keys."""
SHOWN = {
    "ended": "ended",
    "a second": "per_second",
    "of sound": "share",
    "p95 (s)": "p95",
    "429": "refused",
    "500": "failed",
    "twice": "twice",
    "early": "early",
}
"""Columns of the table of faults, by their names in the report."""
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SYSTEMS = ("crm", "erp", "delivery", "support", "product", "email")
PYTHON = sys.executable
Command = list[str]


class Unfinished(Exception):
    """What was begun did not end in time."""


def main() -> int:
    for name in ("DATABASE_URL", "REDIS_URL", "BROKER_PUBLISH"):
        os.environ.pop(name, None)
    servers.POSTGRES_SETTINGS.update(DURABLE)
    started = servers.Servers()
    try:
        servers.prepare("postgres", started)
        report = measure(started)
    finally:
        started.stop()
    print_table(report)
    if out := os.environ.get("BENCH_OUT"):
        Path(out).write_text(json.dumps(report, indent=2) + "\n")
    wrong = [name for name in ("firstvalue", "bare task") if not report[name]["calls_are_right"]]
    if wrong:
        print(f"Not every onboarding of {' and '.join(wrong)} made exactly {CALLS} calls.", file=sys.stderr)
    for name, seen in report["faults"].items():
        if found := faults_found(seen):
            wrong.append(name)
            print(f"{name}: {', '.join(found)}.", file=sys.stderr)
    return 1 if wrong else 0


def faults_found(seen: dict[str, Any]) -> list[str]:
    """What must not be under faults of the vendors."""
    return [
        *([f"{DISTURBED - seen['ended']} of {DISTURBED} did not end"] if seen["ended"] < DISTURBED else []),
        *([f"{seen['twice']} objects were made twice"] if seen["twice"] else []),
        *([f"{seen['early']} calls came inside a Retry-After"] if seen["early"] else []),
        *([f"{seen['share']} of the undisturbed rate"] if seen["share"] < LEAST_SHARE else []),
    ]


def measure(started: servers.Servers) -> dict[str, Any]:
    port = free_port()
    vendor = f"http://127.0.0.1:{port}"
    own = {"CONFIG_DIR": str(COMPANY), "BENCH_VENDOR": vendor, "DJANGO_SETTINGS_MODULE": "config.settings"}
    os.environ.update(own)
    import django

    django.setup()
    logging.disable(logging.INFO)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    database = started.processes[0][0].pid
    with running(started, {"vendor": [PYTHON, "-m", "tests.bench.vendor", str(port)]}):
        wait_for("the vendor answers", lambda: counts(vendor) is not None)
        connect(vendor)
        with running(started, workers("tests.bench.bare")) as pids:
            bare = drive(Bare(), vendor, {"workers": pids})
        scheduler = {"scheduler": [PYTHON, "manage.py", "scheduler"]}
        with running(started, {**workers("config"), **scheduler}) as pids:
            engine = drive(Engine(), vendor, {"workers": pids, "database": [database], "intake": [os.getpid()]})
        engine |= round_trips()
        faults = {}
        for keyless, (name, shares) in FAULTS.items():
            who = f"vendors {'without' if keyless else 'with'} keys"
            sound = faults[who] = disturb(started, vendor, {}, keyless)
            failing = faults[f"  {name}"] = disturb(started, vendor, shares, keyless)
            failing["share"] = round(failing["per_second"] / sound["per_second"], 2)
    load = [round(each, 1) for each in os.getloadavg()]
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": load}
    return {
        **machine,
        "in_flight": IN_FLIGHT,
        "seconds": SECONDS,
        "firstvalue": engine,
        "bare task": bare,
        "faults": faults,
    }


# --- Processes ------------------------------------------------------------------------------------------------------


def workers(app: str) -> dict[str, Command]:
    """As ``config.run`` starts them."""
    options = ["-P", "threads", "-c", os.environ.get("WORKER_CONCURRENCY", "16"), "-l", "info"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    celery = [PYTHON, "-m", "celery", "--quiet", "-A", app, "worker", *options]
    return {f"{app}-{number}": [*celery, "-n", f"{app}{number}@%h"] for number in range(1, WORKERS + 1)}


@contextmanager
def running(started: servers.Servers, commands: dict[str, Command], **env: str) -> Iterator[list[int]]:
    """The processes, stopped at the end; the guard stops them should this process be killed."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with (started.folder / f"{name}.log").open("wb") as log:
                options = {"cwd": ROOT, "stdout": log, "stderr": subprocess.STDOUT, "env": {**os.environ, **env}}
                processes.append(started.guard.start(command, signal.SIGTERM, **options))
        yield [process.pid for process in processes]
    except Unfinished as problem:
        logs = [(started.folder / f"{name}.log").read_text(errors="replace")[-1500:] for name in commands]
        raise SystemExit("\n".join([str(problem), *logs])) from None
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            started.guard.drop(process.pid)


def cpu_seconds(pids: list[int]) -> float:
    """Of these processes and all that they started."""
    seconds = 0.0
    for process in map(psutil.Process, pids):
        seconds += sum(process.cpu_times()[:4])
        seconds += sum(
            sum(child.cpu_times()[:2]) for child in process.children(recursive=True) if pids != [os.getpid()]
        )
    return seconds


def counts(vendor: str) -> dict[str, int] | None:
    try:
        return dict(requests.get(f"{vendor}/counts", timeout=2).json())
    except requests.RequestException:
        return None


# --- What is driven -------------------------------------------------------------------------------------------------


def content(name: str) -> dict[str, Any]:
    from onboarding.payload.schema import OnboardingPayload

    given = {
        "onboarding_transaction_id": name,
        "event_source": "bench",
        "customer": {
            "legal_name": f"Bench {name}",
            "domain": f"{name}.io",
            "primary_contact": {"name": "Kim Doe", "email": f"kim@{name}.io"},
        },
        "commercial": {"plan_sku": "bench", "term": "annual"},
        "ownership": {"crm_owner_id": "u_1", "implementation_owner_id": "u_2"},
        "kickoff": {"urgency": "normal", "start_date": "2026-12-01"},
    }
    return OnboardingPayload.model_validate(given).content()


def connect(vendor: str) -> None:
    from integrations.connections import set_connection

    for system in SYSTEMS:
        set_connection(
            system,
            system=system,
            provider=f"bench-{system}",
            base_url=f"{vendor}/{system}",
            environment="sandbox",
            secrets={"token": ["bench"]},
            actor="bench",
        )


class Engine:
    """Paid through the intake, complete as its row says."""

    def __init__(self) -> None:
        from onboarding.models import OnboardingTransaction
        from onboarding.words import Status

        self.complete = OnboardingTransaction.objects.filter(status=Status.COMPLETE)
        self.under_way = OnboardingTransaction.objects.exclude(status=Status.COMPLETE)

    def begin(self, name: str) -> None:
        from onboarding.intake import service

        service.accept(content(name), actor="bench")

    def finished(self) -> int:
        return int(self.complete.count())

    def times(self) -> list[float]:
        rows = self.complete.order_by("completed_at").values_list("created_at", "completed_at")
        return [(complete - paid).total_seconds() for paid, complete in rows]


class Bare:
    """The same calls in one task."""

    def __init__(self) -> None:
        from tests.bench import bare

        self.task, self.redis, self.key = bare.onboard, bare.client(), bare.FINISHED

    def begin(self, name: str) -> None:
        self.task.delay(content(f"bare-{name}"), time.time())

    def finished(self) -> int:
        return int(self.redis.llen(self.key))

    def times(self) -> list[float]:
        return [float(each) for each in self.redis.lrange(self.key, 0, -1)]


def drive(what: Engine | Bare, vendor: str, groups: dict[str, list[int]]) -> dict[str, Any]:
    """Keep so many under way for a while, and wait for the last; after a warm-up that does not count."""
    numbers = count(1)
    with ThreadPoolExecutor(4) as pool:
        keep_busy(what, pool, numbers, lambda begun: begun < WARM_UP)
        before = counts(vendor) or {}
        cpu = {name: cpu_seconds(pids) for name, pids in groups.items()}
        warm, began = what.finished(), time.monotonic()
        keep_busy(what, pool, numbers, lambda _: time.monotonic() < began + SECONDS)
        seconds, done = time.monotonic() - began, what.finished() - warm
        cpu = {name: cpu_seconds(pids) - cpu[name] for name, pids in groups.items()}
    after = counts(vendor) or {}
    times = sorted(what.times()[warm:])
    return {
        "onboardings": done,
        "per_second": round(done / seconds, 1),
        "p50": round(statistics.median(times), 3),
        "p95": round(times[int(len(times) * 0.95)], 3),
        "cpu": {name: round(spent / done, 4) for name, spent in cpu.items()},
        "calls_are_right": after["calls"] - before["calls"] == CALLS * done and after["twice"] == 0,
    }


def disturb(started: servers.Servers, vendor: str, faults: dict[str, float], keyless: bool) -> dict[str, Any]:
    """So many onboardings at once under these faults, with workers and a scheduler of their own; without any, the measure."""
    requests.post(f"{vendor}/faults", json=faults, timeout=2).raise_for_status()
    company = without_keys(COMPANY, started.folder) if keyless else COMPANY
    name = f"{'keyless' if keyless else 'keyed'}-{'failing' if faults else 'sound'}"
    before, engine = counts(vendor) or {}, Engine()
    scheduler = {"scheduler": [PYTHON, "manage.py", "scheduler"]}
    warm = engine.finished()
    with running(started, {**workers("config"), **scheduler}, CONFIG_DIR=str(company)), ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        list(pool.map(engine.begin, [f"{name}-{number}" for number in range(DISTURBED)]))
        while (ended := engine.finished() - warm) < DISTURBED and time.monotonic() < began + DISTURBED_SECONDS:
            time.sleep(0.1)
        seconds = time.monotonic() - began
    after = counts(vendor) or {}
    requests.post(f"{vendor}/faults", json={}, timeout=2).raise_for_status()
    times = engine.times()[warm:]
    return {
        "ended": ended,
        "per_second": round(ended / seconds, 2),
        "share": 1.0,
        "p95": round(sorted(times)[int(len(times) * 0.95)], 1) if times else None,
        **{name: after[name] - before[name] for name in ("calls", "refused", "failed", "twice", "early")},
    }


def keep_busy(
    what: Engine | Bare, pool: ThreadPoolExecutor, numbers: Iterator[int], more: Callable[[int], bool]
) -> None:
    before, begun, deadline = what.finished(), 0, time.monotonic() + SECONDS + DRAIN_SECONDS
    while True:
        finished = what.finished() - before
        room = IN_FLIGHT - (begun - finished) if more(begun) else 0
        if begun == finished and not room:
            return
        if time.monotonic() > deadline:
            raise Unfinished(f"{begun - finished} of {begun} onboardings did not end.")
        list(pool.map(what.begin, [f"customer-{next(numbers)}" for _ in range(room)]))
        begun += room
        time.sleep(0.02)


def round_trips() -> dict[str, Any]:
    """Of one onboarding, done by this thread alone; BEGIN and COMMIT count, health checks of connections do not."""
    from django.conf import settings
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from onboarding.models import Step

    settings.BROKER_PUBLISH = False
    engine = Engine()
    with CaptureQueriesContext(connection) as intake:
        engine.begin("counted")
    with CaptureQueriesContext(connection) as work:
        run_alone(engine)
    steps = Step.objects.filter(transaction__onboarding_transaction_id="counted").count()
    if profile := os.environ.get("BENCH_PROFILE"):
        for number in range(PROFILED):
            engine.begin(f"profiled-{number}")
        with cProfile.Profile() as watching:
            run_alone(engine)
        watching.dump_stats(profile)
    return {
        "steps": steps,
        "round_trips_per_step": round(len(work) / steps, 1),
        "round_trips_of_intake": len(intake),
    }


def run_alone(engine: Engine) -> None:
    """Whatever is due, in this thread; the sweep among it."""
    from onboarding.engine import run, sweep

    while engine.under_way.exists():
        for pk in sweep.sweep().steps:
            run.run_step(pk)


def print_table(report: dict[str, Any]) -> None:
    ours, bare = report["firstvalue"], report["bare task"]
    print(
        f"\n{CALLS} calls an onboarding, {report['in_flight']} under way, {WORKERS} worker processes; "
        f"{report['cores']} cores, load {report['load'][0]}, Python {report['python']}\n"
    )
    rows = [
        ("onboardings/s", ours["per_second"], bare["per_second"]),
        ("p50, paid to complete (s)", ours["p50"], bare["p50"]),
        ("p95, paid to complete (s)", ours["p95"], bare["p95"]),
        ("CPU s an onboarding", round(sum(ours["cpu"].values()), 3), round(sum(bare["cpu"].values()), 3)),
        *((f"  of these {name}", round(spent, 3), bare["cpu"].get(name, "")) for name, spent in ours["cpu"].items()),
        (f"round trips a step ({ours['steps']} steps)", ours["round_trips_per_step"], ""),
        ("round trips of the intake", ours["round_trips_of_intake"], ""),
        ("onboardings measured", ours["onboardings"], bare["onboardings"]),
    ]
    print(f"{'':<32} {'firstvalue':>12} {'bare task':>12}")
    for name, mine, theirs in rows:
        print(f"{name:<32} {mine:>12} {theirs:>12}")
    print(f"\n{DISTURBED} onboardings at once while the vendors fail:")
    print(f"{'':<44}" + "".join(f"{name:>10}" for name in SHOWN))
    for name, seen in report["faults"].items():
        print(f"{name:<44}" + "".join(f"{seen[key]:>10}" for key in SHOWN.values()))


if __name__ == "__main__":
    sys.exit(main())
