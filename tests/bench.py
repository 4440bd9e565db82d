"""``make bench``: how fast the intake and the engine are here. Nothing is asserted; ``BENCH_OUT=path`` also writes JSON.

Runs on the database that is configured (SQLite in a temporary folder where none is), against a sandbox of its own.
"""

import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

RUNS = int(os.environ.get("BENCH_RUNS", "60"))
THREADS = (1, 8)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="firstvalue-bench-") as folder:
        os.environ.setdefault("DATA_DIR", folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        os.environ["BROKER_PUBLISH"] = "0"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        report = {
            "python": platform.python_version(),
            "database": _database(),
            "runs": RUNS,
            "results": measure(Path(folder)),
        }
    _print(report)
    if out := os.environ.get("BENCH_OUT"):
        Path(out).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def measure(folder: Path) -> list[dict[str, Any]]:
    import logging

    from integrations.sandbox.control import start_sandbox

    logging.disable(logging.WARNING)
    with start_sandbox(folder / "sandbox.sqlite3") as sandbox:
        connect(sandbox)
        sandbox.control.configure("asana", job_seconds=0)
        sandbox.control.configure("hubspot", search_lag=0)
        results = [_intake(), _replays()]
        results += [_engine(threads, start) for start, threads in enumerate(THREADS, start=1)]
        duplicates = sandbox.control.duplicates()
    results.append({"name": "duplicates at the vendors", "value": duplicates, "unit": "objects"})
    unit = 1024**2 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB here
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    results.append({"name": "peak memory of this process", "value": peak, "unit": "MiB"})
    return results


def connect(sandbox: Any) -> None:
    from integrations.connections import set_connection
    from integrations.sandbox.asana import TEAM_GID, TEMPLATE_GID

    for slug, system, path, options in (
        ("hubspot", "crm", "/hubspot", {}),
        ("asana", "delivery", "/asana/api/1.0", {"template_gid": TEMPLATE_GID, "team_gid": TEAM_GID}),
        ("zendesk", "support", "/zendesk", {}),
    ):
        set_connection(
            slug,
            system=system,
            provider=slug,
            base_url=sandbox.base_url + path,
            environment="sandbox",
            secrets={"token": [f"sandbox-{slug}-token"]},
            options=options,
            actor="bench",
        )


def content(name: str) -> dict[str, Any]:
    from onboarding.payload.schema import OnboardingPayload

    return OnboardingPayload.model_validate(
        {
            "onboarding_transaction_id": name,
            "event_source": "bench",
            "customer": {
                "legal_name": f"Bench {name}",
                "domain": f"{name}.io",
                "primary_contact": {"name": "Kim Doe", "email": f"kim@{name}.io"},
            },
            "commercial": {"plan_sku": "pro", "term": "annual"},
            "ownership": {"crm_owner_id": "u_1"},
            "kickoff": {"urgency": "normal"},
        }
    ).content()


def _intake() -> dict[str, Any]:
    from onboarding.intake import service

    return _timed(
        "intake of a new payload",
        [lambda n=n: service.accept(content(f"intake-{n}"), actor="bench") for n in range(RUNS)],
    )


def _replays() -> dict[str, Any]:
    from onboarding.intake import service

    return _timed("replay of a known payload", [partial(service.accept, content("intake-0"), actor="bench")] * RUNS)


def _engine(threads: int, batch: int) -> dict[str, Any]:
    """Whole runs (four steps at three vendors, about nine calls) a second, with so many worker threads."""
    from django.db import connection

    from onboarding.engine import run, sweep
    from onboarding.intake import service
    from onboarding.models import OnboardingTransaction, Step
    from onboarding.words import Status

    names = [f"engine{batch}-{n}" for n in range(RUNS)]
    for name in names:
        service.accept(content(name), actor="bench")
    mine = OnboardingTransaction.objects.filter(onboarding_transaction_id__in=names)

    def work(pk: int) -> None:
        try:
            run.run_step(pk)
        finally:
            connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        while mine.exclude(status=Status.COMPLETE).exists():
            due = [pk for pk in sweep.sweep().steps if Step.objects.filter(pk=pk, transaction__in=mine).exists()]
            list(pool.map(work, due))
            if not due:
                time.sleep(0.05)
    seconds = time.perf_counter() - began
    return {
        "name": f"whole runs, {threads} threads",
        "value": round(RUNS / seconds, 1),
        "unit": "runs/s",
        "seconds": round(seconds, 2),
    }


def _timed(name: str, calls: list[Callable[[], Any]]) -> dict[str, Any]:
    times = []
    for call in calls:
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    ordered = sorted(times)
    return {
        "name": name,
        "value": round(statistics.median(times), 2),
        "unit": "ms median",
        "p95": round(ordered[int(len(ordered) * 0.95)], 2),
        "per_second": round(1000 * len(times) / sum(times), 1),
    }


def _database() -> str:
    from django.db import connection

    return connection.vendor


def _print(report: dict[str, Any]) -> None:
    print(f"\n{report['database']}, Python {report['python']}, {report['runs']} runs each\n")
    for row in report["results"]:
        rest = ", ".join(f"{key} {row[key]}" for key in ("p95", "per_second", "seconds") if key in row)
        print(f"  {row['name']:<32} {row['value']:>10} {row['unit']:<10} {rest}")


if __name__ == "__main__":
    sys.exit(main())
