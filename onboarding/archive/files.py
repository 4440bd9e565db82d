"""The archive's files: JSON lines, gzip-compressed, one gzip member a run, so that one run is read without the others.

``zcat`` shows a whole file. The first line of a member says which run it is (``{"run": …}``); each of the others is one row,
under the name of its table (``entry``, ``attempt``, ``call``) with its columns as they were. Paths are relative to
``ARCHIVE_DIR``, which may be moved as a whole.
"""

import fcntl
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from django.conf import settings
from django.db import models

UNFINISHED = ".unfinished"
COMPRESSION = 6
CHUNK = 1 << 20
LOCK = ".lock"
Row = TypeVar("Row", bound=models.Model)
Line = dict[str, dict[str, Any]]


class Unreadable(Exception):
    """A file of the archive is missing, or does not hold what it should. The text names it."""


class Busy(Exception):
    """Somebody else writes into the archive."""


@contextmanager
def exclusively() -> Iterator[None]:
    """One pass at a time in one folder. Raises ``Busy``, and ``OSError`` where the folder cannot be written to."""
    folder = path_of("")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        yield


@dataclass
class Written:
    """A file as it was written."""

    sha256: str = ""
    bytes: int = 0
    members: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of each member, in the order in which they were added."""


class Writer:
    def __init__(self, file: IO[bytes], written: Written) -> None:
        self._file, self._written, self._digest = file, written, hashlib.sha256()

    def add(self, lines: Iterable[Line]) -> None:
        """One member. Raises ``OSError``, for instance where the disk is full."""
        text = "".join(json.dumps(line, separators=(",", ":"), default=_as_json) + "\n" for line in lines)
        member = gzip.compress(text.encode(), COMPRESSION, mtime=0)
        self._file.write(member)
        self._digest.update(member)
        self._written.members.append((self._written.bytes, len(member)))
        self._written.bytes += len(member)
        self._written.sha256 = self._digest.hexdigest()


@contextmanager
def writing(name: str) -> Iterator[tuple[Writer, Written]]:
    """A new file. It has its name once all of it is on the disk, and what an exception leaves goes away."""
    path = path_of(name)
    unfinished = path.with_name(path.name + UNFINISHED)
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync_folder(path.parent.parent)
    written = Written()
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield Writer(file, written), written
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove(name: str) -> None:
    """The file, and one of that name that was cut off."""
    path = path_of(name)
    path.unlink(missing_ok=True)
    path.with_name(path.name + UNFINISHED).unlink(missing_ok=True)


def path_of(name: str) -> Path:
    path: Path = settings.ARCHIVE_DIR / name
    return path


def sha256_of(name: str) -> str:
    """Raises ``Unreadable``."""
    digest = hashlib.sha256()
    try:
        with path_of(name).open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise Unreadable(_because(name, error)) from error
    return digest.hexdigest()


def lines_of(name: str, offset: int, length: int) -> list[Line]:
    """Those of one member. Raises ``Unreadable``."""
    try:
        with path_of(name).open("rb") as file:
            file.seek(offset)
            text = gzip.decompress(file.read(length)).decode()
        return [json.loads(line) for line in text.splitlines()]
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise Unreadable(f"{name} was changed") from error
    except OSError as error:
        raise Unreadable(_because(name, error)) from error


def line(kind: str, row: models.Model) -> Line:
    return {kind: {one.attname: one.value_from_object(row) for one in row._meta.concrete_fields}}


def rows(lines: Iterable[Line], kind: str, model: type[Row]) -> list[Row]:
    """Instances as they were, not in the database. Columns that the table has no more are left out. Raises ``Unreadable``."""
    columns = {one.attname: one for one in model._meta.concrete_fields}
    found = []
    for each in lines:
        if kind not in each:
            continue
        try:
            values = {name: _from_json(columns[name], value) for name, value in each[kind].items() if name in columns}
            found.append(model(**values))
        except (AttributeError, TypeError, ValueError) as error:
            raise Unreadable(f"a line is no {kind}") from error
    return found


def strays(known: set[str]) -> list[str]:
    """Names of files in the folder that are not among ``known``."""
    folder = path_of("")
    found = (str(path.relative_to(folder)) for path in folder.glob("*/*.jsonl.gz*"))
    return sorted(name for name in found if name not in known)


def _as_json(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    raise TypeError(f"{type(value).__name__} has no JSON")


def _from_json(column: Any, value: Any) -> Any:
    return datetime.fromisoformat(value) if value and isinstance(column, models.DateTimeField) else value


def _sync_folder(path: Path) -> None:
    """A new name is on the disk once its folder is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _because(name: str, error: OSError) -> str:
    missing = isinstance(error, FileNotFoundError)
    return f"{name} is missing in {settings.ARCHIVE_DIR}" if missing else f"{name} cannot be read: {error.strerror}"
