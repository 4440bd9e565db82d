"""Verifying what is archived: each file against the manifest and the audit trail, and each run's part of its chain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from onboarding.archive import files
from onboarding.archive.files import Unreadable
from onboarding.audit.chains import START, Head, breaks
from onboarding.audit.entries import entry_hash
from onboarding.models import ArchiveBatch, ArchivedRun, AuditEntry

WRITTEN = "onboarding.archive.written"
"""The entry, of no run, that holds a batch's hashes: whoever changes a file and the manifest is betrayed by it."""
AT_ONCE = 500


def ends(runs: Iterable[int]) -> dict[int, Head]:
    """Where the archived part of each run's chain ends; none for a run of which nothing is archived."""
    parts = ArchivedRun.objects.filter(transaction__in=list(runs)).order_by("last_sequence")
    return {run: (sequence, head) for run, sequence, head in parts.values_list("transaction", "last_sequence", "head")}


def hashes(wanted: list[list[Any]]) -> tuple[dict[tuple[int, int], tuple[str, int]], set[int]]:
    """((run, sequence) -> (hash, audit row) of those that are archived, the runs whose files cannot be read)."""
    parts: dict[int, list[ArchivedRun]] = {}
    runs = {run for run, _ in wanted if run is not None}
    for part in ArchivedRun.objects.filter(transaction__in=runs).select_related("batch"):
        parts.setdefault(part.transaction_id, []).append(part)
    found: dict[tuple[int, int], tuple[str, int]] = {}
    unreadable: set[int] = set()
    for run, sequence in wanted:
        for part in parts.get(run, ()):
            if part.first_sequence <= sequence <= part.last_sequence:
                try:
                    lines = files.lines_of(part.batch.trail_file, part.offset, part.length)
                except Unreadable:
                    unreadable.add(run)
                    continue
                entries = (line["entry"] for line in lines if "entry" in line)
                found |= {(run, each["sequence"]): (each["hash"], each["id"]) for each in entries}
    return found, unreadable


@dataclass
class ArchiveVerification:
    """One pass over the archive. The counts are complete once ``findings`` is exhausted."""

    batches: int = 0
    runs: int = 0
    entries: int = 0
    _recorded: dict[str, dict[str, Any]] = field(default_factory=dict)

    def findings(self) -> Iterator[str]:
        about = AuditEntry.objects.filter(transaction=None, name=WRITTEN).values_list("data", flat=True)
        self._recorded = {str(data.get("file")): data for data in about.iterator(AT_ONCE)}
        for batch in ArchiveBatch.objects.filter(written_at__isnull=False).order_by("pk").iterator(AT_ONCE):
            self.batches += 1
            for text in self._of(batch):
                yield f"archive: {text}"
        for name in self._recorded:
            yield f"archive: {name} was written, and the manifest names it no more"

    def _of(self, batch: ArchiveBatch) -> Iterator[str]:
        recorded = self._recorded.pop(batch.trail_file, None)
        if recorded is None:
            yield f"{batch.trail_file}: no audit entry says that it was written"
        elif (recorded.get("sha256"), recorded.get("calls_sha256")) != (batch.trail_sha256, batch.calls_sha256):
            yield f"{batch.trail_file}: the manifest holds another hash than the audit entry"
        if batch.calls_sha256 and batch.calls_removed_at is None:
            yield from _changed(batch.calls_file, batch.calls_sha256)
        try:
            yield from _changed(batch.trail_file, batch.trail_sha256, missing=False)
        except Unreadable as error:
            yield f"{error} ({batch.entries} audit entries of {batch.runs} runs)"
            return
        yield from self._parts(batch)

    def _parts(self, batch: ArchiveBatch) -> Iterator[str]:
        counted = 0
        parts = batch.parts.select_related("transaction").order_by("offset")
        for part in parts.iterator(AT_ONCE):
            counted += 1
            self.runs += 1
            try:
                lines = files.lines_of(batch.trail_file, part.offset, part.length)
                entries = files.rows(lines, "entry", AuditEntry)
            except Unreadable as error:
                yield f"{part.transaction}: {error}"
                continue
            self.entries += len(entries)
            head = (part.last_sequence, part.head)
            for text in breaks(entries, head, entry_hash, after=_before(part)):
                yield f"{part.transaction}, in {batch.trail_file}: {text}"
        if counted != batch.runs:
            yield f"{batch.trail_file}: the manifest names {counted} of its {batch.runs} runs"


def _changed(name: str, expected: str, *, missing: bool = True) -> Iterator[str]:
    """Raises ``Unreadable`` where it is not there and ``missing`` is false."""
    try:
        found = files.sha256_of(name)
    except Unreadable as error:
        if not missing:
            raise
        yield str(error)
        return
    if found != expected:
        yield f"{name} was changed: its SHA-256 is {found}, and was {expected}"


def _before(part: ArchivedRun) -> Head:
    """Where the part before it ends."""
    if part.first_sequence == 1:
        return START
    before = ArchivedRun.objects.filter(transaction=part.transaction_id, last_sequence=part.first_sequence - 1)
    return before.values_list("last_sequence", "head").first() or START
