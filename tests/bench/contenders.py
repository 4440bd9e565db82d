"""Those that are measured: each started as it is run, and given onboardings from outside."""

import http.client
import json
import os
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import psycopg

from tests import servers
from tests.bench.processes import Command, Unfinished, call, running, tree
from tests.bench.stub_vendor.client import Stub
from tests.processes.installation import free_port, wait_for

PYTHON = sys.executable
COMPANY = Path(__file__).parent / "company"
DBOS_IN_ORDER = "dbos in order"
PEERS = ("bare", "canvas", DBOS_IN_ORDER, "dbos")
POST_SECONDS = 60.0
READY_SECONDS = 2.0
UNANSWERED = 599
TRIES = 5
UNLIMITED = "10000/s"
"""Requests a key: what is measured is not the throttle."""
CHILDREN = """
import json
from config.run import build_children
print(json.dumps({child.name: list(child.argv) for child in build_children(sandbox=False)}))
"""
OURS, DOOR = "config.wsgi:application", "tests.bench.peers.web:application"
Groups = dict[str, list[psutil.Process]]


BENCH, ENTERPRISE = "bench", "bench-enterprise"
"""Plans, each with a playbook of its name."""


def content(name: str, plan: str = BENCH) -> dict[str, Any]:
    """The payload of one onboarding."""
    return _content(name) | (_enterprise(name) if plan == ENTERPRISE else {})


def _enterprise(name: str) -> dict[str, Any]:
    """What its playbook asks for and checks; the tax id is a valid example."""
    customer = _content(name)["customer"] | {"segment": "enterprise", "country": "DE", "tax_id": "DE136695976"}
    terms = {"plan_sku": ENTERPRISE, "term": "annual", "amount": 50_000, "currency": "EUR"}
    return {"customer": customer, "commercial": terms}


def _content(name: str) -> dict[str, Any]:
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


@dataclass(kw_only=True)
class Contender(ABC):
    """Whoever is given onboardings by REST."""

    name: str
    port: int
    key: str
    database: int = 0
    """The process id of PostgreSQL; 0 where there is none."""
    plan: str = BENCH
    """Of what is begun."""
    answers: list[tuple[int, float]] = field(default_factory=list)
    """Status and seconds of each post; ``UNANSWERED`` where none came in time."""

    @abstractmethod
    def processes(self) -> Groups:
        """Its own, by what they are for; the database's are ``database``."""

    def begin(self, name: str) -> None:
        """The onboarding ``name``; back once it is accepted.

        Once more where the answer is an error of the server, as any sender does.
        """
        for _ in range(TRIES):
            began = time.monotonic()
            status = self.post(content(name, self.plan))
            self.answers.append((status, time.monotonic() - began))
            if status < http.client.INTERNAL_SERVER_ERROR:
                break
        if status not in (http.client.CREATED, http.client.OK):
            raise Unfinished(f"The post of {name} was answered with {status}.")

    def post(self, body: dict[str, Any]) -> int:
        """The answer's status."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with suppress(OSError, http.client.HTTPException), closing(self._web(POST_SECONDS)) as connection:
            connection.request("POST", "/api/v1/onboardings/", json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        return UNANSWERED

    def is_ready(self) -> bool:
        with suppress(OSError, http.client.HTTPException), closing(self._web(READY_SECONDS)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        return False

    def _web(self, seconds: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def database_processes(self) -> Groups:
        return {"database": tree(self.database)} if self.database else {}


@dataclass(kw_only=True)
class Engine(Contender):
    """``python -m config.run``, as operators run it."""

    name: str = "ours"
    pid: int
    environment: dict[str, str]

    def manage(self, *arguments: str) -> str:
        return call([PYTHON, "manage.py", *arguments], self.environment)

    def processes(self) -> Groups:
        groups: Groups = {"workers": [], "web": [], "scheduler": [], "supervisor": []}
        for process in tree(self.pid):
            groups[_role(process)].append(process)
        return groups | self.database_processes()

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
        made = Engine(port=port, key=key, pid=pid, database=database, environment=environment)
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
    command = children(mine)["web"]
    command[command.index("--workers") + 1] = "1"
    with running(started, {name: command}, mine) as (pid,):
        database = started.processes[0][0].pid
        made = Engine(port=port, key=key, pid=pid, database=database, environment={**os.environ, **mine})
        wait_for("the web answers", made.is_ready)
        yield made


def children(env: Mapping[str, str]) -> dict[str, Command]:
    """What ``config.run`` starts for the installation in ``env``, by name."""
    return dict(json.loads(call([PYTHON, "-c", CHILDREN], env).splitlines()[-1]))


def celery(app: str) -> Command:
    """A worker process as ``config.run`` starts ours, but for its name."""
    options = ["-P", "threads", "-c", os.environ.get("WORKER_CONCURRENCY", "16"), "-l", "info"]
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [PYTHON, "-m", "celery", "--quiet", "-A", app, "worker", *options]


@dataclass(kw_only=True)
class Peer(Contender):
    """Worker processes behind a web of the same kind as ours, which tells them by their own library (see ``door``)."""

    workers: list[int]
    web: int

    def processes(self) -> Groups:
        workers = [process for pid in self.workers for process in tree(pid)]
        return {"workers": workers, "web": tree(self.web)} | self.database_processes()


def door(ours: Mapping[str, Command]) -> Command:
    """The web of a peer: the command of ours, with another application. ``ours``: see ``children``."""
    return [DOOR if part == OURS else part for part in ours["web"]]


@contextmanager
def peer(started: servers.Servers, name: str, key: str) -> Iterator[Peer]:
    """One of ``PEERS``, ready, in as many processes as ours. ``key``: of the installation, in whose table its web looks it up."""
    port = free_port()
    ours = children({"PORT": str(port)})
    numbers = range(1, sum(child.startswith("worker") for child in ours) + 1)
    if name in ("bare", "canvas"):
        mine, worker = {"BENCH_PEER": name}, celery(f"tests.bench.peers.{name}")
        workers = {f"{name}-{number}": [*worker, "-n", f"{name}{number}@%h"] for number in numbers}
    else:
        mine, worker = _dbos(name)
        workers = {f"dbos-{number}": [*worker, str(number)] for number in numbers}
    with running(started, {**workers, f"{_slug(name)}-web": door(ours)}, mine) as (*pids, web):
        made = Peer(name=name, port=port, key=key, database=started.processes[0][0].pid, workers=pids, web=web)
        wait_for(f"the web of {name} is ready", made.is_ready)
        yield made


def _dbos(name: str) -> tuple[dict[str, str], Command]:
    """The environment of DBOS' processes and a worker's command, but for its name. Makes the tables."""
    from tests.bench.peers import durable

    mine = {
        "BENCH_DBOS": _for_sqlalchemy(os.environ["DATABASE_URL"], _slug(name).replace("-", "_")),
        "BENCH_PEER": durable.IN_ORDER if name == DBOS_IN_ORDER else durable.BESIDE,
    }
    worker = [PYTHON, "-m", "tests.bench.peers.durable"]
    call([*worker, durable.PREPARE], mine)
    return mine, worker


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _for_sqlalchemy(url: str, database: str) -> str:
    """The server of ``url`` with a database of its own: it would go on with what is left there of another's work.

    SQLAlchemy takes a socket's folder as a parameter.
    """
    parts = urlsplit(url)
    return f"postgresql+psycopg://{parts.username}@/{database}?host={unquote(parts.hostname or '')}"
