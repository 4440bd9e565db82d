"""``import_events FILE.jsonl``: one canonical payload a line, through the intake that every source uses."""

import argparse
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import DataError, InterfaceError, OperationalError, reset_queries

from integrations.http.strict_json import BadJson, check_storable, parse_object
from onboarding.intake import service
from onboarding.intake.service import Verdict
from onboarding.payload.reading import Event, Unreadable, read
from onboarding.playbooks.requirements import problems

MAX_ACTOR = 150
"""As long as the audit trail's column."""
BOM = b"\xef\xbb\xbf"
TOLD_EVERY = 1_000
"""Lines between two counts where nobody watches a bar."""
DRAWN_EVERY = 0.1
"""Seconds between two drawings of the bar."""
BAR_WIDTH = 30
INTERRUPTED = 130
"""As shells have it: 128 and the number of SIGINT."""
REFUSED, READABLE, WAITING = "refused", "readable", "waiting"
WORDS = {
    Verdict.CREATED.value: "created",
    Verdict.REPLAYED.value: "replayed",
    Verdict.FILLED.value: "filled",
    Verdict.CHANGE_REQUESTED.value: "change requests",
    REFUSED: "refused",
}


class Refused(Exception):
    """This line is not taken; the text says why and repeats none of its values."""


def _actor(text: str) -> str:
    if not 0 < len(text.strip()) <= MAX_ACTOR or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_ACTOR} printable characters")
    return text.strip()


class Command(BaseCommand):
    help = (
        "Take paid events from a file of JSON lines, one canonical payload each. Safe to repeat: what is known already is "
        "not started again. A line's occurred_at starts its SLA clocks. Ends with 1 where a line was refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The file; - reads standard input.")
        parser.add_argument("--dry-run", action="store_true", help="Check every line and write nothing.")
        parser.add_argument("--actor", type=_actor, default="import", help="Who it was, for the audit trail.")

    def handle(self, *_: Any, file: str, dry_run: bool, actor: str, **__: Any) -> None:
        name = "standard input" if file == "-" else file
        counts: Counter[str] = Counter()
        number = 0
        with _opened(file) as stream:
            progress = Progress(self.stderr, _size(stream))
            try:
                for number, (line, read_so_far) in enumerate(_lines(stream), start=1):
                    try:
                        if (verdict := _take(line, number, actor, dry_run=dry_run)) is not None:
                            counts.update(verdict)
                    except Refused as refusal:
                        counts[REFUSED] += 1
                        progress.clear()
                        self.stderr.write(f"{name}:{number}: {refusal}")
                    reset_queries()  # kept for ever under DEBUG
                    progress.show(number, read_so_far, counts)
            except (OperationalError, InterfaceError) as error:
                raise CommandError(
                    f"{name}:{number}: the database did not answer ({type(error).__name__}). Run the same command again: "
                    "what was taken is not started twice."
                ) from error
            except KeyboardInterrupt:
                sys.exit(INTERRUPTED)
            finally:
                progress.clear()
                self.stdout.write(_summary(counts, dry_run=dry_run))
        if counts[REFUSED]:
            sys.exit(1)


def _take(line: bytes | None, number: int, actor: str, *, dry_run: bool) -> list[str] | None:
    """What to count for this line; None for an empty one. Raises ``Refused``."""
    if line is None:
        raise Refused(f"The line is longer than {settings.MAX_BODY_BYTES} bytes.")
    line = (line.removeprefix(BOM) if number == 1 else line).strip()
    if not line:
        return None
    event = _event(line)
    if dry_run:
        return [READABLE, WAITING] if problems(event.content) else [READABLE]
    try:
        receipt = service.accept(event.content, actor=actor, occurred_at=event.occurred_at)
    except DataError:
        raise Refused("A value is too long or out of range.") from None
    return [receipt.verdict.value]


def _event(line: bytes) -> Event:
    try:
        data = parse_object(line, called="The line")
        check_storable(data)
        return read(data)
    except (BadJson, Unreadable) as error:
        raise Refused(str(error)) from None


def _summary(counts: Counter[str], *, dry_run: bool) -> str:
    if dry_run:
        return (
            f"Nothing was written. {counts[READABLE]} can be taken, {counts[WAITING]} of them without all required data; "
            f"{counts[REFUSED]} refused."
        )
    return ", ".join(f"{counts[key]} {word}" for key, word in WORDS.items()) + "."


# --- Reading


def _opened(file: str) -> AbstractContextManager[IO[bytes]]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None


def _size(stream: IO[bytes]) -> int:
    """In bytes; 0 where it is not known, such as of a pipe."""
    try:
        return os.fstat(stream.fileno()).st_size
    except (OSError, io.UnsupportedOperation):
        return 0


def _lines(stream: IO[bytes]) -> Iterator[tuple[bytes | None, int]]:
    """Each line with how many bytes were read up to its end. None for a line over the limit, which is never held whole."""
    limit = settings.MAX_BODY_BYTES
    so_far = 0
    while chunk := stream.readline(limit + 2):  # and its end, of one or two bytes
        so_far += len(chunk)
        line: bytes | None = chunk if len(chunk.rstrip(b"\r\n")) <= limit else None
        while not chunk.endswith(b"\n") and (chunk := stream.readline(limit)):
            so_far += len(chunk)
            line = line if line is not None and not chunk.strip(b"\r\n") else None
        yield line, so_far


# --- Telling


class Progress:
    """A bar on a terminal, else a plain count every so often. ``size``: bytes in all, 0 where that is not known."""

    def __init__(self, out: OutputWrapper, size: int) -> None:
        self.out, self.size = out, size
        self.is_bar = out.isatty()
        self.drawn_at = 0.0
        self.drawn = False

    def show(self, lines: int, read_so_far: int, counts: Counter[str]) -> None:
        if not self.is_bar:
            if lines % TOLD_EVERY == 0:
                self._write(f"{lines} lines, {counts[REFUSED]} refused\n")
            return
        now = time.monotonic()
        if now - self.drawn_at < DRAWN_EVERY and read_so_far != self.size:
            return
        self.drawn_at, self.drawn = now, True
        self._write(f"\r{self._bar(read_so_far)}{lines} lines, {counts[REFUSED]} refused\x1b[K")

    def _bar(self, read_so_far: int) -> str:
        if not self.size:
            return ""
        share = min(read_so_far / self.size, 1.0)
        full = int(share * BAR_WIDTH)
        return f"{'█' * full}{'░' * (BAR_WIDTH - full)} {share:4.0%}  "

    def clear(self) -> None:
        """Take the bar away: something else is written, or it is over."""
        if self.drawn:
            self._write("\r\x1b[K")
            self.drawn = False

    def _write(self, text: str) -> None:
        self.out.write(text, str, "")  # neither red nor on a line of its own
        self.out.flush()
