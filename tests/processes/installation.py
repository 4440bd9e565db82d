"""A whole installation as its operators run it: real processes, driven through its front door alone."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
import requests

from integrations.sandbox.control import SandboxControl
from integrations.vendors.asana.sandbox.dialect import TEAM_GID, TEMPLATE_GID

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = {
    "STEP_SECONDS": "4",
    "CALL_SECONDS": "2",
    "DB_BUSY_SECONDS": "5",
    "LEASE_MARGIN_SECONDS": "1",
    "RETRY_BASE_SECONDS": "0.2",
    "HOLD_SECONDS": "1",
    "SWEEP_SECONDS": "0.3",
    "CELERY_LOG_LEVEL": "WARNING",
}


def free_port() -> int:
    """A port whose two successors are free too: the sandbox and its mail catcher take those.

    Below the ports that systems give to outgoing connections (Linux from 32768, macOS and Windows from 49152): any of those may be
    taken by a neighbour's call before the installation has bound it.
    """
    while True:
        port = random.randrange(20_000, 32_000, 3)  # noqa: S311
        with socket.socket() as first, socket.socket() as second, socket.socket() as third, suppress(OSError):
            for offset, each in enumerate((first, second, third)):
                each.bind(("127.0.0.1", port + offset))
            return port


def wait_for(what: str, is_true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


class Installation:
    """``python -m config.run --sandbox`` in a folder, and on a database, of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.sandbox = SandboxControl(f"http://127.0.0.1:{self.port + 1}")
        own = {"DATA_DIR": str(folder), "PORT": str(self.port), "PUBLIC_URL": self.url, "HTTPS": "0", **QUICK}
        self.environment = {**os.environ, **_database(folder), **own, **environment}
        for name in ("BROKER_PUBLISH", "SANDBOX_ORIGINS"):
            self.environment.pop(name, None)
        self.environment |= environment
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log = (self.folder / "run.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.run", "--sandbox"],
            cwd=ROOT,
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for("the web answers", self._answers)
        except BaseException:
            self.__exit__()  # whoever cannot enter does not leave
            print((self.folder / "run.log").read_text())
            raise
        self.key = self.manage("create_api_key", "tests", "--scope", "operate").splitlines()[-1]
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(25)
            finally:
                self.process.kill()
                self.log.close()

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = json.dumps(body) if body is not None else None
        return requests.request(method, f"{self.url}/api/v1/{path}", data=data, headers=headers, timeout=20)

    def status_of(self, run_id: str) -> str:
        return str(self.call("GET", f"onboardings/{run_id}/").json()["status"])

    def pids(self, name: str) -> list[int]:
        """The processes of one child, by its command line."""
        pids = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if name in text and f"DATA_DIR={self.folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
        return pids

    def kill(self, name: str) -> None:
        for pid in self.pids(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def signal(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            os.kill(pid, number)

    def expired_leases(self) -> int:
        code = (
            "from onboarding.models import Step; from integrations import clock; "
            "print(Step.objects.filter(state='running', lease_until__lt=clock.now()).count())"
        )
        return int(self.manage("shell", "--verbosity", "0", "-c", code).splitlines()[-1])

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "run.log").read_text()
        try:
            return requests.get(f"{self.url}/readyz", timeout=2).ok and bool(self.sandbox.health())
        except requests.RequestException:
            return False

    def connect(self) -> None:
        for slug, system, path, options in (
            ("hubspot", "crm", "/hubspot", []),
            ("zendesk", "support", "/zendesk", []),
            ("asana", "delivery", "/asana/api/1.0", [f"template_gid={TEMPLATE_GID}", f"team_gid={TEAM_GID}"]),
        ):
            rest = [part for option in options for part in ("--option", option)]
            self.manage(
                *("connection", "set", slug, "--system", system, "--provider", slug, "--environment", "sandbox"),
                *("--base-url", self.sandbox.base_url + path, "--secret", f"token=sandbox-{slug}-token", *rest),
            )


def _database(folder: Path) -> dict[str, str]:
    """A database of its own on the server that the tests use; nothing for the embedded default."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        return {}
    name = f"install_{abs(hash(str(folder))) % 10**8}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    base, question, query = url.partition("?")
    return {"DATABASE_URL": f"{base.rpartition('/')[0]}/{name}{question}{query}"}
