"""An archive pass dies at every named place, and its command is run again: each row is in one place, once."""

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError
from django.db import connection

from integrations import clock
from integrations.failpoints import KILLED, NAMES
from onboarding.archive import archiving, files
from onboarding.archive.files import Writer
from onboarding.models import ArchiveBatch, ArchivedRun
from tests.onboarding.archive.conftest import LONG, Finished, archive, rows, verify
from tests.onboarding.archive.test_archive import files_in, lines_in

PASS = """
import sys
import django
from django.conf import settings
from django.core.management import CommandError
django.setup()
settings.DATABASES["default"]["NAME"] = sys.argv[1]
from datetime import timedelta
from django.core.management import call_command
from integrations import clock
clock.shift(timedelta(seconds=float(sys.argv[2])))
call_command("archive", "--batch", "1")
"""
POINTS = [name for name in NAMES if name.startswith("archive-")]


@pytest.fixture
def olds(finished: Finished) -> tuple[int, int, int]:
    """Two runs of long ago; how many rows they have."""
    finished("alpha")
    finished("beta")
    clock.shift(LONG)
    return rows()


def archived(folder: Path) -> tuple[int, int, int]:
    """Rows in the files; none stands there twice."""
    trail, calls = lines_in(folder, "trail"), lines_in(folder, "calls")
    kinds = {"entry": trail, "attempt": trail, "call": calls}
    pks = {kind: [line[kind]["id"] for line in lines if kind in line] for kind, lines in kinds.items()}
    assert not [found for found in pks.values() if max(Counter(found).values(), default=1) > 1]
    return len(pks["entry"]), len(pks["attempt"]), len(pks["call"])


def assert_all_is_archived(olds: tuple[int, int, int], folder: Path) -> None:
    archive("--batch", "1")
    assert (archived(folder), rows()) == (olds, (0, 0, 0))
    batches = ArchiveBatch.objects.filter(written_at__isnull=False)
    assert len(files_in(folder)) == 2 * batches.count() == 4
    assert ArchiveBatch.objects.count() == ArchivedRun.objects.count() == 2
    verify()


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_pass_that_is_killed_is_finished_by_the_next(
    olds: tuple[int, int, int], folder: Path, point: str, hit: int
) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ARCHIVE_DIR": str(folder),
        "FIRSTVALUE_FAILPOINT": f"{point}:{hit}",
    }
    offset = (clock.now() - datetime.now(UTC)).total_seconds()
    command = [sys.executable, "-c", PASS, str(connection.settings_dict["NAME"]), str(offset)]
    died = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert died.returncode == KILLED, died.stderr
    verify()
    assert_all_is_archived(olds, folder)


def test_a_disk_that_is_full_moves_nothing_and_leaves_nothing(
    olds: tuple[int, int, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "add", full)
        with pytest.raises(CommandError, match="No space left"):
            archive()
    assert rows() == olds
    assert files_in(folder) == []
    assert_all_is_archived(olds, folder)


def test_a_database_that_fails_while_rows_are_deleted_moves_nothing(
    olds: tuple[int, int, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_delete", refuse)
        with pytest.raises(RuntimeError, match="lost"):
            archive()
    assert rows() == olds
    assert files_in(folder) == []
    assert_all_is_archived(olds, folder)


def test_pass_taken_over_by_another_ends(
    olds: tuple[int, int, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another machine, with another folder: it takes our unfinished batch for one that was cut off."""

    def taken_over(name: str, about: str = "") -> None:
        if name == "archive-written":
            ArchiveBatch.objects.filter(written_at=None).delete()

    with monkeypatch.context() as patch:
        patch.setattr(archiving, "failpoint", taken_over)
        with pytest.raises(CommandError, match="only one may run at a time"):
            archive()
    assert rows() == olds
    assert files_in(folder) == []
    assert_all_is_archived(olds, folder)


def test_a_batch_is_left_alone_once_it_is_recorded(olds: tuple[int, int, int], folder: Path) -> None:
    """Whatever the process believes of its COMMIT: the files are the only copy then."""
    archive()
    batch = ArchiveBatch.objects.get()
    archiving._discard(ArchiveBatch(pk=batch.pk, name=batch.name))
    assert files.path_of(batch.trail_file).exists()
    verify()
