"""``manage.py archive``: what finished runs did, out of the hot tables into files, by month."""

import argparse
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError

from exceptions_queue import archive_guard
from integrations import clock
from onboarding.archive import archiving as moving
from onboarding.archive import files
from onboarding.archive.archiving import Archiving
from onboarding.models import ArchiveBatch

COUNTED = {"runs": "runs", "entries": "audit entries", "attempts": "attempts", "calls": "calls"}
AGAIN = "What was moved so far is safe; run the same command again."
MEGABYTE = 1_000_000


def _month(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a month, such as 2026-08") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


class Command(BaseCommand):
    help = (
        "Moves attempts, calls and audit entries of runs that ended (complete, cancelled, rolled back) into files in ARCHIVE_DIR, "
        "by the month in which they ended, once that month is over for ARCHIVE_AFTER_DAYS. May be stopped and run again at any "
        "time. Runs about which something is still to be done are left alone. Also deletes archived calls after "
        "CALL_RETENTION_DAYS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--before",
            metavar="MONTH",
            type=_month,
            help="Runs that ended before this month, such as 2026-08, in place of ARCHIVE_AFTER_DAYS.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would be moved, and write nothing.")
        parser.add_argument(
            "--batch",
            metavar="RUNS",
            type=_positive,
            default=moving.RUNS_AT_ONCE,
            help=f"Runs in one file and one database transaction ({moving.RUNS_AT_ONCE}).",
        )

    def handle(self, *_: Any, before: datetime | None, dry_run: bool, batch: int, **__: Any) -> None:
        now = clock.now()
        if before and before > now:
            raise CommandError("That month has not begun.")
        archiving_pass = Archiving(before or moving.due_before(now), archive_guard.reasons(), batch)
        self.stdout.write(f"Runs that ended before {archiving_pass.before:%Y-%m-%d}, into {settings.ARCHIVE_DIR}:")
        if dry_run:
            self._plan(archiving_pass)
            return
        try:
            with files.exclusively():
                self._move(archiving_pass, now)
        except files.Busy:
            raise CommandError("Another pass is at work in this folder.") from None
        except moving.TakenOver as error:
            raise CommandError(str(error)) from None
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database did not answer ({type(error).__name__}). {AGAIN}") from None
        except OSError as error:
            raise CommandError(f"{error}. {AGAIN}") from None

    def _plan(self, archiving_pass: Archiving) -> None:
        for month, counts in archiving_pass.planned().items():
            self.stdout.write(f"{month}: {_counts(counts)} would be moved.")
        self._tell_left(archiving_pass)
        self.stdout.write("Nothing was written.")

    def _move(self, archiving_pass: Archiving, now: datetime) -> None:
        total: Counter[str] = Counter()
        for made in archiving_pass.batches():
            counts = _counts_of(made)
            total.update(counts)
            size = (made.trail_bytes + made.calls_bytes) / MEGABYTE
            self.stdout.write(f"{made.name}: {_counts(counts)}, {size:.1f} MB")
        self.stdout.write(f"Moved {_counts(total)}." if total else "Nothing to move.")
        self._tell_left(archiving_pass)
        if removed := moving.remove_old_calls(now):
            self.stdout.write(
                f"{removed} files with calls older than {settings.CALL_RETENTION_DAYS} days were deleted."
            )
        if strays := moving.strays():
            self.stderr.write(f"{len(strays)} files belong to no batch of this database, such as {strays[0]}.")
        if archiving_pass.left[moving.DAMAGED]:
            raise CommandError("Not every audit chain verifies: manage.py audit verify says where.")

    def _tell_left(self, archiving_pass: Archiving) -> None:
        for reason, count in archiving_pass.left.most_common():
            self.stdout.write(f"Left alone: {count} run{'s' if count != 1 else ''} with {reason}.")


def _counts_of(batch: ArchiveBatch) -> Counter[str]:
    return Counter({name: getattr(batch, name) for name in COUNTED})


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]:,} {words}" for name, words in COUNTED.items())
