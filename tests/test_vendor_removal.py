"""A vendor that is removed by deleting its folder leaves a product that starts and passes the other tests: on a copy, for every vendor."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.connectors.declaration import vendors

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("config", "exceptions_queue", "integrations", "onboarding", "templates", "tests")
EVERYTHING = """
import importlib, os, pkgutil, sys
import django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()
for app in ("integrations", "onboarding", "exceptions_queue"):
    for each in pkgutil.walk_packages(importlib.import_module(app).__path__, f"{app}."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)
from integrations.sandbox.server import SandboxServer
from pathlib import Path
server = SandboxServer(0, Path(os.environ["DATA_DIR"]) / "sandbox.sqlite3")
server.server_close()
sys.exit(GONE in server.dialects)
"""
OTHER_TESTS = (
    "test_call_retention.py",
    "test_strict_json.py",
    "test_policy.py",
    "test_gate.py",
    "test_playbook.py",
    "test_dag.py",
)
"""A few of each app that need no vendor."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in COPIED:
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for file in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / file, root / file)
    return root


@pytest.mark.parametrize("vendor", sorted(vendors()))
def test_without_a_vendors_folder_everything_else_works(vendor: str, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "integrations" / "vendors" / vendor)

    def succeeds(*command: str) -> None:
        unset = ("DATABASE_URL", "REDIS_URL", "CONFIG_DIR", "DJANGO_SETTINGS_MODULE", "FIRSTVALUE_TEST_BACKEND")
        env = {name: value for name, value in os.environ.items() if name not in unset}
        env |= {"DATA_DIR": str(tmp_path / "data"), "FIRSTVALUE_TEST_BACKEND": "sqlite"}
        done = subprocess.run([sys.executable, *command], cwd=copy, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"

    succeeds("manage.py", "check")
    succeeds("manage.py", "makemigrations", "--check", "--dry-run")
    succeeds("-c", f"GONE = {vendor!r}\n{EVERYTHING}")
    selected = [str(path) for name in OTHER_TESTS for path in (copy / "tests").rglob(name)]
    assert len(selected) == len(OTHER_TESTS)
    succeeds("-m", "pytest", "-q", *selected)
