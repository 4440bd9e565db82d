"""A vendor that is removed by deleting its folder leaves a product that starts and passes other tests, on a copy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.connectors.declaration import vendors

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("config", "exceptions_queue", "integrations", "onboarding", "templates", "tests")
START = """
import os, pkgutil, sys
from importlib import import_module
from pathlib import Path

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
call_command("check")
call_command("makemigrations", check_changes=True, dry_run=True)
for app in ("integrations", "onboarding", "exceptions_queue"):
    for each in pkgutil.walk_packages(import_module(app).__path__, f"{app}."):
        if not each.name.endswith("__main__"):
            import_module(each.name)

from integrations.connectors.registry import PROVIDERS
from integrations.sandbox.server import SandboxServer

server = SandboxServer(0, Path(os.environ["DATA_DIR"]) / "sandbox.sqlite3")
server.server_close()
assert GONE not in PROVIDERS and GONE not in server.dialects
"""
OTHER_TESTS = ("test_strict_json.py", "test_policy.py", "test_gate.py", "test_business_calendar.py")
"""Some of each app, none of which needs a vendor."""


def copied(folder: Path, *left_out: str) -> Path:
    """A copy of the product and its tests."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", *left_out))
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def without(vendor: str, folder: Path) -> Path:
    """A copy of the product without that vendor's folder."""
    copied(folder, vendors()[vendor].folder)
    assert not (folder / "integrations" / "vendors" / vendors()[vendor].folder).exists()
    return folder


def succeeds(root: Path, data: Path, *arguments: str) -> None:
    """Python, with nothing configured."""
    own = ("DATABASE_URL", "REDIS_URL", "CONFIG_DIR", "DJANGO_SETTINGS_MODULE")
    env = {name: value for name, value in os.environ.items() if name not in own}
    env |= {"DATA_DIR": str(data), "FIRSTVALUE_TEST_BACKEND": "sqlite"}
    done = subprocess.run([sys.executable, *arguments], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("vendor", sorted(vendors()))
def test_the_product_starts_without_it(vendor: str, tmp_path: Path) -> None:
    root = without(vendor, tmp_path / "copy")
    succeeds(root, tmp_path / "data", "-c", f"GONE = {vendor!r}\n{START}")


def test_other_tests_pass_without_the_vendor_that_most_steps_use(tmp_path: Path) -> None:
    root = without("hubspot", tmp_path / "copy")
    selected = [str(path) for name in OTHER_TESTS for path in (root / "tests").rglob(name)]
    assert len(selected) == len(OTHER_TESTS)
    succeeds(root, tmp_path / "data", "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected)
