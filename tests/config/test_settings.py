"""Settings that cannot be used: one plain line, naming the variable, never its value."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def manage(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "DEBUG": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WORKER_CONCURRENCY", "many", "WORKER_CONCURRENCY must be a whole number."),
        ("HOLD_SECONDS", "soon", "HOLD_SECONDS must be a number."),
        ("HTTPS", "perhaps", "HTTPS must be 1 or 0."),
        ("DATABASE_URL", "postgresq://u:hidden@h/d", "DATABASE_URL must be a database's address such as postgres://"),
        ("REDIS_URL", "localhost:6379", "REDIS_URL must begin with redis:// or rediss:// or redis+socket://."),
        ("EMAIL_URL", "smpt://u:hidden@h", "EMAIL_URL must begin with smtp:// or"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, name: str, value: str, expected: str
) -> None:
    done = manage(tmp_path, **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"Not started: {expected}")
    assert len(done.stderr.splitlines()) == 1
    assert "hidden" not in done.stderr + done.stdout


def test_a_config_dir_that_is_not_there_is_an_error_at_start_up(tmp_path: Path) -> None:
    done = manage(tmp_path, CONFIG_DIR=str(tmp_path / "confg"))
    assert done.returncode == 1
    assert f"CONFIG_DIR: {tmp_path / 'confg'} does not exist." in done.stderr
