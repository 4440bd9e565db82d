"""The project's own words follow docs/glossary.md: private words that were replaced do not come back."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("old_words.txt")
EXEMPT = (
    *("CHANGELOG.md", "docs/glossary.md", "tests/old_words.txt", "tests/test_words.py"),
    "tests/onboarding/test_standard_terms_migration.py",
)
"""History may say what things were called, its migration's test too, and the glossary says what not to call them."""


def old_words() -> list[re.Pattern[str]]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def product_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.decode().split("\0") if name and name not in EXEMPT]
    # Migrations keep the names of their time; images and locks are no text of ours.
    return [
        ROOT / name for name in names if "/migrations/" not in name and not name.endswith((".png", ".svg", ".lock"))
    ]


def test_replaced_words_do_not_come_back() -> None:
    words = old_words()
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group(0)}"
        for path in product_files()
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in (word.search(line) for word in words)
        if match
    ]
    assert not found, "see docs/glossary.md:\n" + "\n".join(found)
