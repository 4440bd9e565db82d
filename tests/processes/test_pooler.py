"""Behind PgBouncer in transaction mode, where each transaction may be another session of PostgreSQL."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

from integrations import checks
from tests import servers
from tests.processes.installation import ROOT, Installation, wait_for
from tests.processes.test_installation import all_complete, assert_once, paid

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ON_POSTGRES = os.environ.get("FIRSTVALUE_TEST_BACKEND") == "postgres"
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not ON_POSTGRES, reason="a pooler stands before PostgreSQL"),
    pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed"),
]
Payload = Callable[..., dict[str, Any]]
Pooler = Callable[..., str]
FORGETFUL = {"server_reset_query": "DISCARD ALL", "server_reset_query_always": "1", "default_pool_size": "4"}
"""After each transaction everything is gone that lives in a session: what needed it fails at once, not now and then."""
ONE_SESSION = {"default_pool_size": "1", "max_prepared_statements": "100"}
KNOWS_PREPARED = (1, 21)


def version() -> tuple[int, ...]:
    shown = subprocess.run([str(PROGRAM), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", shown)
    assert found
    return tuple(map(int, found.groups()))


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    """``pooler(url, name=value)``: the same database's address, through a PgBouncer with these settings."""
    started = servers.Servers()

    def start(url: str, **options: str) -> str:
        if version() < KNOWS_PREPARED:
            options.pop("max_prepared_statements", None)  # it would refuse to start
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        folder = started.make_folder("pooler", user)
        server = conninfo_to_dict(url)
        target = " ".join(f"{name}={server[name]}" for name in ("host", "port", "user", "password") if name in server)
        settings = {
            "listen_port": "6432",
            "unix_socket_dir": folder,
            "auth_type": "any",
            "pool_mode": "transaction",
            **options,
        }
        config = folder / "pgbouncer.ini"
        lines = [
            "[databases]",
            f"* = {target}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        config.write_text("\n".join(lines) + "\n")
        config.chmod(0o644)
        through = f"postgres://{server.get('user', 'postgres')}@{quote(str(folder), safe='')}:6432/{server['dbname']}"

        def is_up() -> bool:
            try:
                psycopg.connect(through, prepare_threshold=None).close()
            except psycopg.OperationalError:
                return False
            return True

        started.launch([str(PROGRAM), str(config)], started.folder / "pooler.log", SIGINT, is_up, user)
        return through

    try:
        yield start
    finally:
        started.stop()


def test_everything_works_where_no_session_lasts(tmp_path: Path, payload: Payload, pooler: Pooler) -> None:
    installation = Installation(tmp_path, DATABASE_POOLER="1")
    installation.environment["DATABASE_URL"] = pooler(installation.environment["DATABASE_URL"], **FORGETFUL)
    with installation as running:
        payments = paid(payload, 4)
        for one in payments:
            assert running.call("POST", "onboardings/", one).status_code == 201
        wait_for("every run is complete", all_complete(running, payments), 90)
        assert_once(running, payments)  # the audit trail is read by cursors


def test_prepared_statements_need_a_pooler_that_knows_them(tmp_path: Path, pooler: Pooler) -> None:
    """One session for two clients that number their statements alike."""
    url = pooler(os.environ["DATABASE_URL"], **ONE_SESSION)

    def ask(table: str, prepared: str) -> subprocess.CompletedProcess[str]:
        query = f"ask('SELECT %s FROM {table} LIMIT 1', [number])"  # noqa: S608 (our own words)
        code = f"from integrations.database.statements import ask\nfor number in range(3):\n    {query}"
        own = {"DATABASE_URL": url, "DATABASE_POOLER": "1", "PREPARED_STATEMENTS": prepared}
        return subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", code],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(tmp_path), **own},
            capture_output=True,
            text=True,
            check=False,
        )

    assert [ask(table, "0").returncode for table in ("pg_class", "pg_type")] == [0, 0]
    ask("pg_class", "1")
    second = ask("pg_type", "1")
    if version() < KNOWS_PREPARED:
        assert "prepared statement" in second.stderr
    else:
        assert second.returncode == 0, second.stderr


@pytest.mark.django_db
def test_a_role_without_a_limit_on_waiting_for_locks_is_warned_of() -> None:
    assert checks.locks_are_not_waited_for_without_end(None, databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")
    found = checks.locks_are_not_waited_for_without_end(None, databases=["default"])
    assert [each.id for each in found] == ["integrations.W001"]
