"""What an installation stands on goes away and comes back; seen from outside, on real processes of its own."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import Row
from tests.processes.installation import ROOT, Installation, wait_for
from tests.servers import Servers, start_postgres, start_valkey

pytestmark = pytest.mark.processes
ON_POSTGRES = os.environ["FIRSTVALUE_TEST_BACKEND"] == "postgres"
Trouble = Callable[[Installation, "OwnServers"], None]


class OwnServers(Servers):
    """Servers of this test alone, which may be restarted."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[tuple[Any, ...]] = []

    def launch(self, *arguments: Any) -> None:
        super().launch(*arguments)
        self.launched.append(arguments)

    def restart(self, program: str, stop_signal: signal.Signals) -> None:
        """Ends it so, and starts it again on what it left behind."""
        index = next(i for i, (command, *_) in enumerate(self.launched) if Path(command[0]).name == program)
        process, _ = self.processes.pop(index)
        process.send_signal(stop_signal)
        process.wait(60)
        self.guard.drop(process.pid)
        self.launch(*self.launched.pop(index))


@pytest.fixture
def servers() -> Iterator[OwnServers]:
    made = OwnServers()
    try:
        yield made
    finally:
        made.stop()


def redis_restarted(_: Installation, servers: OwnServers) -> None:
    servers.restart("valkey-server", signal.SIGKILL)


def postgresql_restarted(_: Installation, servers: OwnServers) -> None:
    servers.restart("postgres", signal.SIGINT)


def sqlite_locked(running: Installation, _: OwnServers) -> None:
    """Somebody, such as a backup, holds the database for longer than anybody waits for it."""
    log = running.folder / "run.log"
    with closing(sqlite3.connect(running.folder / "db.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        wait_for(
            "somebody has waited until the timeout", lambda: "OperationalError" in log.read_text(errors="replace"), 120
        )
        other.execute("ROLLBACK")


def second_scheduler(running: Installation, _: OwnServers) -> None:
    """Started by mistake, while the first one works."""
    command = [sys.executable, "manage.py", "scheduler"]
    with (running.folder / "scheduler2.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=running.environment, stdout=log, stderr=log)
    try:
        wait_for("every run is complete", lambda: complete(running, 8), 240)
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(60)


TROUBLES: dict[str, Trouble] = {
    "redis restarted": redis_restarted,
    "postgresql restarted": postgresql_restarted,
    "sqlite locked": sqlite_locked,
    "two schedulers": second_scheduler,
}


def environment_of(row: Row, servers: OwnServers) -> dict[str, str]:
    match row.name:
        case "redis restarted":
            return {"REDIS_URL": start_valkey(servers)}
        case "postgresql restarted":
            return {"DATABASE_URL": start_postgres(servers)}
        case "two schedulers":  # which then do all the work
            return {"BROKER_PUBLISH": "0", **({"REDIS_URL": "redis://127.0.0.1:1/0"} if ON_POSTGRES else {})}
    return {}


def complete(running: Installation, count: int) -> bool:
    answer = running.call("GET", "onboardings/?status=complete&page_size=200")
    return answer.ok and len(answer.json()["results"]) == count


def pay(running: Installation, number: int) -> bool:
    """True once it was taken; a sender tries again where it was not."""
    return running.call("POST", "onboardings/", payload_of(f"c{number}")).status_code in (200, 201)


@pytest.mark.parametrize("row", matrix.rows("infrastructure"), ids=lambda row: row.id)
def test_outage_of_a_component_delays_but_loses_nothing(row: Row, servers: OwnServers, tmp_path: Path) -> None:
    with Installation(tmp_path, **environment_of(row, servers)) as running:
        running.sandbox.add_fault("*", "error_after", method="POST", probability=0.1)
        for number in range(4):
            assert pay(running, number)
        if row.name == "two schedulers":
            for number in range(4, 8):
                assert pay(running, number)
        TROUBLES[row.name](running, servers)
        running.sandbox.clear_faults()
        for number in range(4, 8):
            wait_for("the payment is taken", lambda number=number: pay(running, number), 120)
        wait_for("every run is complete or somebody was asked", lambda: settled(running), 240)
        counts = running.sandbox.counts()
        assert counts["duplicates"] == 0, counts["duplicate_keys"]
        assert counts["vendors"]["asana"]["projects"]["total"] <= 8
        assert counts["vendors"]["hubspot"]["companies"]["total"] <= 8
        running.manage("audit", "verify")
        assert "inside a database transaction" not in (tmp_path / "run.log").read_text(errors="replace")


def settled(running: Installation) -> bool:
    """Where a vendor made something unseen (its 500 after an effect) a person may have been asked; nothing else is left."""
    answer = running.call("GET", "onboardings/?page_size=200")
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:  # while the database is not back for every process
        return False
    runs = answer.json()["results"]
    return len(runs) == 8 and all(run["status"] == "complete" or run["blocked"] for run in runs)
