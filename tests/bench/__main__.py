"""``make bench``: what the engine does and costs, beside a bare Celery task, a Celery canvas and DBOS that make the same calls.

One table with what is to be reached. It fails where an outcome is wrong (an object made twice, a call inside a Retry-After, an
onboarding that did not end) and where a figure without which a release is none is missed; each is named. How to read it, how it
is measured and what it can be asked for: docs/performance.md.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests import servers
from tests.bench import contenders, measures
from tests.bench.options import Options
from tests.bench.processes import ROOT, Unfinished, call, running
from tests.bench.report import documentation, table
from tests.bench.stub_vendor.client import Stub
from tests.bench.stub_vendor.keyless import without_keys
from tests.processes.installation import free_port

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
NEWEST = 20_000
"""Runs of a history with attempts, calls and audit entries; the older ones' are archived."""
PYTHON = sys.executable


class Bench:
    def __init__(self, options: Options, started: servers.Servers, stub: Stub) -> None:
        self.options, self.started, self.stub = options, started, stub
        self.measured: dict[str, Any] = {}
        self.problems: list[str] = []

    def run(self) -> None:
        self.key = self._key()
        for name in self.options.peers:
            if self._wants("rates", "latency") or (self._wants("duplicates") and name == "dbos"):
                with self._guarded(name), contenders.peer(self.started, name, self.key) as peer:
                    self._compare(peer)
        if self._wants("rates", "latency", "limited", "parked", "idle"):
            with self._guarded("ours"), contenders.engine(self.started, self.key, "ours") as engine:
                self._engine(engine)
        if self._wants("duplicates"):
            company = without_keys(contenders.COMPANY, self.started.folder)
            keyless = contenders.engine(self.started, self.key, "keyless", CONFIG_DIR=str(company))
            with self._guarded("duplicates"), keyless as engine:
                self._keep("duplicates", engine, measures.duplicates)
        if self._wants("enterprise"):
            with self._guarded("enterprise"):
                self._enterprise()
        if self._wants("alone"):
            with self._guarded("alone"):
                self.measured["alone"] = measures.alone()
        if self._wants("intake"):
            # Nobody does what it takes in: nothing that measures the workers may come after it.
            with self._guarded("intake"), contenders.web_alone(self.started, self.key, "intake") as web:
                self.measured["intake"] = measures.intake(web, self.options)
        if self._wants("sqlite"):
            with self._guarded("sqlite"):
                self._sqlite()

    def _key(self) -> str:
        """Of the installation, whose database is filled first."""
        key = contenders.prepare(self.stub)
        if runs := self.options.history:
            _say(f"{runs:,} finished runs are made")
            call([PYTHON, "-m", "tests.support.history", str(runs), str(min(runs, NEWEST))])
        return key

    def _compare(self, contender: contenders.Contender) -> None:
        if self._wants("rates"):
            self._keep("rates", contender, measures.rates)
        if self._wants("latency"):
            self._keep("latency", contender, measures.latency)
        if self._wants("duplicates") and contender.name == "dbos":
            self._keep("duplicates", contender, measures.doubled)

    def _keep(self, group: str, contender: Any, measure: Callable[[Any, Stub, Options], dict[str, Any]]) -> None:
        self.measured.setdefault(group, {})[contender.name] = measure(contender, self.stub, self.options)

    def _engine(self, engine: contenders.Engine) -> None:
        self._compare(engine)
        if self._wants("limited", "parked"):
            rate = self.measured.get("rates", {}).get("ours", {}).get("rate")
            if rate is None:
                rate = measures.undisturbed(engine, self.stub, self.options)
            for group, measure in (("limited", measures.limited), ("parked", measures.parked)):
                if self._wants(group):
                    _say(group)
                    self.measured[group] = measure(engine, self.stub, self.options, rate)
        if self._wants("idle"):
            _say("idle")
            self.measured["idle"] = measures.idle(engine, self.started, self.options)

    def _enterprise(self) -> None:
        with contenders.engine(self.started, self.key, "enterprise") as engine:
            found = measures.enterprise(engine, self.stub, self.options)
        # Once nobody else does what is due.
        self.measured["enterprise"] = found | measures.lean_share()

    def _sqlite(self) -> None:
        folder = self.started.make_folder("sqlite")
        embedded = {"DATABASE_URL": "", "REDIS_URL": "", "DATA_DIR": str(folder)}
        key = contenders.prepare(self.stub, **embedded)
        with contenders.engine(self.started, key, "sqlite", **embedded) as engine:
            self.measured["sqlite"] = measures.sqlite(engine, self.stub)

    def _wants(self, *groups: str) -> bool:
        return bool(self.options.only & set(groups))

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """One that fails keeps the others' figures."""
        _say(what)
        began = time.monotonic()
        try:
            yield
        except (Unfinished, AssertionError) as problem:
            self.problems.append(f"{what}: {problem}")
            self.stub.behave()
        _say(f"{what}: {time.monotonic() - began:.0f} s")


def main() -> int:
    options = Options.from_environment()
    # Celery takes it for a sign to load Django, into workers of the peers, too; ours set it themselves.
    for name in ("DATABASE_URL", "REDIS_URL", "BROKER_PUBLISH", "DJANGO_SETTINGS_MODULE"):
        os.environ.pop(name, None)
    servers.POSTGRES_SETTINGS.update(DURABLE)
    started, stub = servers.Servers(), Stub(free_port())
    load = round(os.getloadavg()[0], 1)
    try:
        servers.prepare("postgres", started)
        os.environ |= {"BENCH_VENDOR": stub.url, "CONFIG_DIR": str(contenders.COMPANY)}
        bench = Bench(options, started, stub)
        with running(started, {"vendor": [PYTHON, "-m", "tests.bench.stub_vendor.server", str(stub.port)]}):
            stub.wait()
            bench.run()
    finally:
        started.stop()
    report = {**about(load, options), "measured": bench.measured, "problems": bench.problems}
    return tell(report, options)


def about(load: float, options: Options) -> dict[str, Any]:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": load,
        "history": options.history,
    }


def tell(report: dict[str, Any], options: Options) -> int:
    rows = table.rows(report["measured"])
    report["rows"] = [
        {"measure": row.measure.strip(), "to_reach": row.to_reach, "values": row.values, "reached": row.verdict.value}
        for row in rows
    ]
    print(f"\n{documentation.caption(report)}\n\n{table.as_text(rows)}")
    if options.out:
        options.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if options.docs:
        documentation.write(report, rows)
    wrong = [*report["problems"], *table.failures(rows)]
    for sentence in wrong:
        print(f"Failed: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def _say(what: str) -> None:
    """What is going on, in place of silence for minutes."""
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
