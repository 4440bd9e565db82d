"""Those that are measured: each started as it is run, and given onboardings from outside."""

import http.client
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import psutil
import psycopg

from tests import servers
from tests.bench.processes import Command, Unfinished, call, running, tree
from tests.bench.stub import Stub
from tests.processes.installation import free_port, wait_for

PYTHON = sys.executable
COMPANY = Path(__file__).parent / "company"
WORKERS = 2
DBOS_IN_ORDER = "dbos in order"
PEERS = ("bare", "canvas", DBOS_IN_ORDER, "dbos")
POST_SECONDS = 60.0
TRIES = 5
UNLIMITED = "10000/s"
"""Requests a key: what is measured is not the throttle."""
WEB_COMMAND = """
import json
from config.run import build_children
print(json.dumps(next(list(child.argv) for child in build_children(sandbox=False) if child.name == "web")))
"""
Groups = dict[str, list[psutil.Process]]


def content(name: str) -> dict[str, Any]:
    """The payload of one onboarding."""
    return {
        "onboarding_transaction_id": name,
        "event_source": "bench",
        "customer": {
            "legal_name": f"Bench {name}",
            "domain": f"{name}.io",
            "primary_contact": {"name": "Kim Doe", "email": address(name)},
        },
        "commercial": {"plan_sku": "bench", "term": "annual"},
        "ownership": {"crm_owner_id": "u_1", "implementation_owner_id": "u_2"},
        "kickoff": {"urgency": "normal", "start_date": "2026-12-01"},
    }


def address(name: str) -> str:
    return f"kim@{name}.io"


class Contender(Protocol):
    name: str

    def begin(self, name: str) -> None:
        """The onboarding ``name``; back once it is accepted."""

    def processes(self) -> Groups:
        """Its own, by what they are for; the database's are ``database``."""


@dataclass
class Engine:
    """``python -m config.run``, as operators run it."""

    port: int
    key: str
    pid: int = 0
    database: int = 0
    name: str = "ours"
    environment: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[int, float]] = field(default_factory=list)
    """Status and seconds of each post."""

    def begin(self, name: str) -> None:
        """Once more where the answer is an error of the server, as any sender does."""
        for _ in range(TRIES):
            began = time.monotonic()
            status = self.post(content(name))
            self.answers.append((status, time.monotonic() - began))
            if status < http.client.INTERNAL_SERVER_ERROR:
                break
        if status not in (http.client.CREATED, http.client.OK):
            raise Unfinished(f"The post of {name} was answered with {status}.")

    def post(self, body: dict[str, Any]) -> int:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=POST_SECONDS)
        try:
            connection.request("POST", "/api/v1/onboardings/", json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def manage(self, *arguments: str) -> str:
        return call([PYTHON, "manage.py", *arguments], self.environment)

    def processes(self) -> Groups:
        groups: Groups = {"workers": [], "web": [], "scheduler": [], "supervisor": []}
        for process in tree(self.pid):
            groups[_role(process)].append(process)
        return groups | ({"database": tree(self.database)} if self.database else {})

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def unfinished(self) -> int:
        """Runs that go on by themselves."""
        return self._count("queued", "provisioning", "ready-for-kickoff")

    def waiting_for_people(self) -> int:
        return self._count("awaiting-data", "rolling-back") + self._tickets()

    def _count(self, *statuses: str) -> int:
        listed = ", ".join(f"'{status}'" for status in statuses)
        return self.read(f"SELECT count(*) FROM onboarding_onboardingtransaction WHERE status IN ({listed})")  # noqa: S608

    def _tickets(self) -> int:
        return self.read("SELECT count(*) FROM exceptions_queue_ticket WHERE resolved_at IS NULL")

    def read(self, query: str) -> int:
        """Of the installation's own database."""
        if url := self.environment["DATABASE_URL"]:
            with psycopg.connect(url) as connection:
                row = connection.execute(query.encode()).fetchone()
        else:
            with closing(sqlite3.connect(Path(self.environment["DATA_DIR"]) / "db.sqlite3", timeout=60)) as connection:
                row = connection.execute(query).fetchone()
        assert row
        return int(row[0])


def _role(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    return next((role for mark, role in ROLES.items() if mark in line), "supervisor")


ROLES = {"-m celery": "workers", "-m gunicorn": "web", "manage.py scheduler": "scheduler"}


@contextmanager
def engine(started: servers.Servers, key: str, name: str, **env: str) -> Iterator[Engine]:
    """The installation, ready. ``name``: of its folder for logs."""
    port = free_port()
    folder = started.folder / name
    folder.mkdir(mode=0o700, exist_ok=True)
    mine = {
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "API_THROTTLE": UNLIMITED,
        **env,
    }
    environment = {**os.environ, **mine}
    database = started.processes[0][0].pid if environment.get("DATABASE_URL") else 0
    with running(started, {name: [PYTHON, "-m", "config.run"]}, mine) as (pid,):
        made = Engine(port, key, pid, database, environment=environment)
        wait_for("the installation is ready", made.is_ready)
        yield made


def prepare(vendor: Stub, **env: str) -> str:
    """Migrates and connects the installation. Returns its API key."""
    return call([PYTHON, "-m", "tests.bench.prepare", vendor.url], env).splitlines()[-1]


def limit(system: str, number: int) -> None:
    """Calls at once that the connection takes; 0 for no limit."""
    call([PYTHON, "-m", "tests.bench.prepare", "limit", system, str(number)])


@contextmanager
def web_alone(started: servers.Servers, key: str, name: str) -> Iterator[Engine]:
    """One web process of the installation and nothing else, with the options that ``config.run`` gives it."""
    port = free_port()
    folder = started.folder / name
    folder.mkdir(mode=0o700, exist_ok=True)
    mine = {"DATA_DIR": str(folder), "PORT": str(port), "API_THROTTLE": UNLIMITED}
    command = json.loads(call([PYTHON, "-c", WEB_COMMAND], mine).splitlines()[-1])
    command[command.index("--workers") + 1] = "1"
    with running(started, {name: command}, mine) as (pid,):
        made = Engine(port, key, pid, started.processes[0][0].pid, environment={**os.environ, **mine})
        wait_for("the web answers", made.is_ready)
        yield made


def celery(app: str) -> dict[str, Command]:
    """Worker processes as ``config.run`` starts ours."""
    options = ["-P", "threads", "-c", os.environ.get("WORKER_CONCURRENCY", "16"), "-l", "info"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [PYTHON, "-m", "celery", "--quiet", "-A", app, "worker", *options]
    return {f"{app}-{number}": [*command, "-n", f"{app}{number}@%h"] for number in range(1, WORKERS + 1)}


class Peer:
    """Worker processes that are told by their own library."""

    def __init__(self, name: str, pids: list[int], database: int = 0) -> None:
        self.name, self.pids, self.database = name, pids, database

    def processes(self) -> Groups:
        workers = [process for pid in self.pids for process in tree(pid)]
        return {"workers": workers} | ({"database": tree(self.database)} if self.database else {})


class Bare(Peer):
    def begin(self, name: str) -> None:
        from tests.bench import bare

        bare.onboard.delay(content(name))


class Canvas(Peer):
    def begin(self, name: str) -> None:
        from tests.bench import canvas

        canvas.onboarding(content(name)).apply_async()


class Durable(Peer):
    def __init__(self, name: str, pids: list[int], database: int, url: str) -> None:
        super().__init__(name, pids, database)
        from dbos import DBOSClient

        from tests.bench import durable

        self.client = DBOSClient(system_database_url=url, application_name=durable.APPLICATION)
        workflow = durable.IN_ORDER if name == DBOS_IN_ORDER else durable.BESIDE
        self.options: Any = {"queue_name": durable.QUEUE, "workflow_name": workflow}

    def begin(self, name: str) -> None:
        self.client.enqueue(self.options, content(name))


@contextmanager
def peer(started: servers.Servers, name: str) -> Iterator[Peer]:
    """One of ``PEERS``, running."""
    if name in ("bare", "canvas"):
        with running(started, celery(f"tests.bench.{name}")) as pids:
            yield (Bare if name == "bare" else Canvas)(name, pids)
        return
    url = {"BENCH_DBOS": _for_sqlalchemy(os.environ["DATABASE_URL"])}
    call([PYTHON, "-m", "tests.bench.durable", "prepare"], url)
    commands = {
        f"dbos-{number}": [PYTHON, "-m", "tests.bench.durable", str(number)] for number in range(1, WORKERS + 1)
    }
    with running(started, commands, url) as pids:
        yield Durable(name, pids, started.processes[0][0].pid, url["BENCH_DBOS"])


def _for_sqlalchemy(url: str) -> str:
    """The server of ``url`` with a database of its own; SQLAlchemy takes a socket's folder as a parameter."""
    parts = urlsplit(url)
    return f"postgresql+psycopg://{parts.username}@/dbos?host={unquote(parts.hostname or '')}"
