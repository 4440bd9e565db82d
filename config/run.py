"""``python -m config.run``: migrates, then keeps web, worker and scheduler (``--sandbox``: and the sandbox) running."""

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from config.startup import require_settings
from config.supervisor import Child, Supervisor

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

ROOT = Path(__file__).resolve().parent.parent
WEB_THREADS = 8
START_SECONDS = 60
WEB_STALL_SECONDS = 300
"""A web process whose loop does not turn for so long is replaced. Loading the application takes a minute on a busy machine."""
MOST_WORKER_THREADS = 64
"""Over all worker processes of one machine: with the web's, below PostgreSQL's default limit of 100 connections."""


def host() -> str:
    return os.environ.get("HOST") or "127.0.0.1"


def sandbox_port(port: int) -> int:
    return port + 1


def mail_port(port: int) -> int:
    """Where the sandbox catches mails."""
    return port + 2


def is_busy(address: str, port: int) -> bool:
    """Whether another process listens there: one of its own kind (bind fails) or on a wildcard address (it answers)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as knock:
        knock.settimeout(1)
        if knock.connect_ex((address, port)) == 0:
            return True
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def busy_ports(*, sandbox: bool) -> list[str]:
    """One sentence for each port that is needed and taken."""
    from django.conf import settings

    needed = [("PORT", host(), settings.PORT)]
    if sandbox:
        needed.append(("PORT+1, the sandbox", "127.0.0.1", sandbox_port(settings.PORT)))
        needed.append(("PORT+2, its mail catcher", "127.0.0.1", mail_port(settings.PORT)))
    return [
        f"Port {port} on {address} ({what}) is in use by another process. Stop it, or set another PORT."
        for what, address, port in needed
        if is_busy(address, port)
    ]


def web_answers(address: str, port: int) -> bool:
    """Whether the web answers with anything at all: the socket listens before the application is loaded."""
    try:
        connection = http.client.HTTPConnection(
            {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address),  # noqa: S104 (compared, not bound)
            port,
            timeout=2,
        )
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def child_environment() -> dict[str, str]:
    """What every child gets. Temporary files stay in DATA_DIR: a copy of the project leaves nothing elsewhere.

    Memory: with glibc each thread keeps an arena of its own, unless there may be but a few; Django's checks, which ``migrate`` has
    run before, load all pages into a worker that shows none.
    """
    from django.conf import settings

    temporary = settings.DATA_DIR / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    lean = {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"), "CELERY_SKIP_CHECKS": "1"}
    return {"TMPDIR": str(temporary), "DATA_DIR": str(settings.DATA_DIR), "PYTHONUNBUFFERED": "1", **lean}


def build_children(*, sandbox: bool) -> list[Child]:
    """The processes of one machine, for the configured databases."""
    from django.conf import settings

    environment = child_environment()
    if sandbox:
        environment["SANDBOX_URL"] = f"http://127.0.0.1:{sandbox_port(settings.PORT)}"
    child = partial(Child, env=environment)
    port, address = settings.PORT, host()
    bind = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    web = [
        *(sys.executable, "-m", "gunicorn", "config.wsgi:application", "--bind", bind),
        *("--worker-class", "config.buffered_worker.BufferedWorker", "--threads", str(WEB_THREADS)),
        *("--workers", "1" if settings.EMBEDDED else "2"),
        *(
            "--graceful-timeout",
            "10",
            "--timeout",
            str(WEB_STALL_SECONDS),
            "--no-control-socket",
            "--log-level",
            "warning",
        ),
    ]
    children = [child("web", web, ready=partial(web_answers, address, port))]

    # A worker process uses one core; with the filesystem broker one process takes all there is to take.
    threads = settings.WORKER_CONCURRENCY
    processes = min(cores(), max(1, MOST_WORKER_THREADS // threads)) if settings.REDIS_URL else 1
    for number in range(1, processes + 1):
        name = "worker" if processes == 1 else f"worker{number}"
        worker = [
            *(sys.executable, "-m", "celery", "--quiet", "-A", "config", "worker", "-P", "threads"),
            *("-c", str(threads), "-l", "info", "-n", f"{name}@%h"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
        children.append(child(name, worker))

    children.append(child("scheduler", [sys.executable, "manage.py", "scheduler"]))
    if sandbox:
        ready = partial(web_answers, "127.0.0.1", sandbox_port(port))
        children.append(child("sandbox", [sys.executable, "manage.py", "sandbox"], ready=ready))
    return children


def migrate() -> int:
    """Brings the database up to date. Returns the command's exit status."""
    environment = {**os.environ, **child_environment()}
    command = [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603 (fixed)


def guide(address: str, *, sandbox: bool) -> str:
    """What runs here and where, and what to do first. Names no secret: passwords stand in ``DATABASE_URL`` and ``REDIS_URL``."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    where = database["NAME"] if settings.EMBEDDED else f"{database['NAME']} on {database.get('HOST') or 'this machine'}"
    redis = urlsplit(settings.REDIS_URL)
    lines = [
        "Firstvalue runs (Ctrl-C stops all of it):",
        f"  console    {address}/admin/",
        f"  REST       {address}/api/v1/onboardings/ and more: {address}/api/docs/",
        f"  webhooks   {address}/webhooks/CONNECTION/",
        f"  health     {address}/healthz and {address}/readyz",
        f"  database   {where} ({'SQLite' if settings.EMBEDDED else database['ENGINE'].rpartition('.')[2]})",
        f"  broker     {f'Redis on {redis.hostname or redis.path}' if redis.scheme else settings.DATA_DIR / 'broker'}",
        f"  logs       {settings.DATA_DIR / 'logs'}",
    ]
    if sandbox:
        port = sandbox_port(settings.PORT)
        lines.append(
            f"  sandbox    http://127.0.0.1:{port} (its tokens and ids are above; {settings.DATA_DIR / 'logs' / 'sandbox.log'})"
        )
    command = os.path.relpath(sys.executable)
    lines += [
        "First:",
        f"  {command} manage.py createsuperuser                        your login",
        f"  {command} manage.py connection set --help                  accounts at vendors; `doctor` checks them",
        f"  {command} manage.py create_api_key NAME --scope intake     a key for what posts payments",
    ]
    return "\n".join(lines)


def build_supervisor(children: list[Child], *, echo: bool = True) -> Supervisor:
    from django.conf import settings

    return Supervisor(children, data_dir=settings.DATA_DIR, cwd=ROOT, echo=echo)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 after an ordinary stop, 1 if the settings or the database refuse, 2 if a port is taken."""
    parser = argparse.ArgumentParser(prog="python -m config.run", description=__doc__)
    parser.add_argument("--sandbox", action="store_true", help="also run the vendors' local stand-ins")
    options = parser.parse_args(arguments)

    require_settings()
    from django.conf import settings

    address = settings.PUBLIC_URL
    if busy := busy_ports(sandbox=options.sandbox):
        print("\n".join(busy), file=sys.stderr)
        return 2
    # subprocess.run ends the migration with us only if an exception says so.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if migrate() != 0:
        return 1

    with suppress(KeyboardInterrupt), build_supervisor(build_children(sandbox=options.sandbox)) as supervisor:
        late = supervisor.wait_ready(START_SECONDS)
        if late:
            print(
                f"Not ready after {START_SECONDS} s: {', '.join(late)}. What each says is above, and in the logs.",
                flush=True,
            )
        print(guide(address, sandbox=options.sandbox), flush=True)
        supervisor.wait()
    print("Stopped.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
