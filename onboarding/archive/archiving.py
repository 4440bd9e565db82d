"""Moving what finished runs did out of the hot tables into the archive, a batch of runs in one database transaction.

A batch goes: its row (so that what is cut off is known) -> its files, whole and on the disk -> one transaction that locks the
runs, looks whether they are still what was written, records the batch and deletes the rows. Killed before that transaction
has committed, nothing has moved, and the next pass removes the files; after it, all has.
"""

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import transaction as db
from django.db.models import Case, CharField, Exists, F, Min, OuterRef, Q, QuerySet, Value, When

from integrations import clock
from integrations.failpoints import failpoint
from integrations.models import ApiCall
from onboarding import audit
from onboarding.archive import files
from onboarding.audit import archived
from onboarding.audit.chains import START, breaks
from onboarding.audit.verification import findings_of
from onboarding.enums import OVER, Status, StepState
from onboarding.models import ArchiveBatch, ArchivedRun, Attempt, AuditEntry, ChangeRequest, OnboardingTransaction, Step

RUNS_AT_ONCE = 250
"""A batch: some 25,000 rows in one transaction."""
CANDIDATES_AT_ONCE = 500
CALLS_REMOVED = "onboarding.archive.calls-removed"
DAMAGED = "an audit chain that does not verify"
ENDED = {Status.COMPLETE: "completed_at", Status.CANCELLED: "cancelled_at", Status.ROLLED_BACK: "rollback_at"}
Reasons = Sequence[tuple[str, Q]]
Candidate = tuple[int, datetime, str]


class Moved(Exception):
    """A run was changed since its rows were read: it stays where it is."""

    def __init__(self, runs: set[int]) -> None:
        super().__init__(f"{len(runs)} runs were changed meanwhile")
        self.runs = runs


class TakenOver(Exception):
    """Another pass, from another machine, has removed the batch that this one was writing."""


@dataclass
class ArchivableRun:
    """What is to be archived of one run."""

    run: OnboardingTransaction
    before: tuple[int, str]
    entries: list[AuditEntry]
    attempts: list[Attempt]
    calls: list[ApiCall]


@dataclass
class Archiving:
    """One pass. ``reasons``: why runs are not touched, besides those that are known here, each with its condition on runs."""

    before: datetime
    """Runs that ended, and were left in peace, since before this."""
    reasons: Reasons = ()
    size: int = RUNS_AT_ONCE
    left: Counter[str] = field(default_factory=Counter)
    """Runs that stay for now, by why."""

    def batches(self) -> Iterator[ArchiveBatch]:
        """Each batch once it is archived, until nothing is left to move. The caller holds ``files.exclusively()``.

        Raises ``OSError`` where a file cannot be written; what was moved before that stays moved.
        """
        discard_unfinished()
        waiting: dict[str, list[int]] = {}
        for pk, ended, reason in self._candidates():
            if reason:
                self.left[reason] += 1
                continue
            runs = waiting.setdefault(f"{ended:%Y-%m}", [])
            runs.append(pk)
            if len(runs) >= self.size:
                yield from self._move(f"{ended:%Y-%m}", waiting.pop(f"{ended:%Y-%m}"))
        for month in sorted(waiting):
            yield from self._move(month, waiting[month])

    def planned(self) -> dict[str, Counter[str]]:
        """What a pass would move now, by month: runs, entries, attempts and calls. Writes nothing."""
        months: dict[str, list[int]] = {}
        for pk, ended, reason in self._candidates():
            if reason:
                self.left[reason] += 1
            else:
                months.setdefault(f"{ended:%Y-%m}", []).append(pk)
        return {month: _counted(runs) for month, runs in sorted(months.items())}

    def _candidates(self) -> Iterator[Candidate]:
        """Runs with something to move, in the order of their primary keys, and why one is to stay."""
        oldest = AuditEntry.objects.filter(transaction__isnull=False).aggregate(first=Min("transaction"))["first"]
        if oldest is None:
            return
        ripe, after = self._ripe(), oldest - 1
        while found := list(ripe.filter(pk__gt=after).order_by("pk")[:CANDIDATES_AT_ONCE]):
            yield from found
            after = found[-1][0]

    def _ripe(self) -> QuerySet[OnboardingTransaction, Candidate]:
        stays = Case(
            *(When(condition, then=Value(reason)) for reason, condition in (*_reasons(self.before), *self.reasons)),
            default=Value(""),
            output_field=CharField(),
        )
        runs = _ended_before(self.before).filter(Exists(AuditEntry.objects.filter(transaction=OuterRef("pk"))))
        return runs.annotate(stays=stays).values_list("pk", "ended", "stays")

    def _move(self, month: str, runs: list[int]) -> Iterator[ArchiveBatch]:
        while runs:
            batch = ArchiveBatch.objects.create(name=f"{month}/{secrets.token_hex(8)}", month=month)
            failpoint("archive-begun")
            try:
                if self._archive(batch, runs):
                    yield batch
                runs = []
            except Moved as change:
                runs = [run for run in runs if run not in change.runs]
                self.left["a change just now"] += len(change.runs)
            finally:
                _discard(batch)

    def _archive(self, batch: ArchiveBatch, runs: list[int]) -> bool:
        """Whether any of the runs could be moved. Raises ``Moved`` and ``TakenOver``; then none was."""
        stories = [story for story in _stories(runs) if self._is_whole(story)]
        if stories:
            written = _write(batch, stories)
            failpoint("archive-written")
            self._replace(batch, stories, written)
            failpoint("archive-moved")
        return bool(stories)

    def _is_whole(self, story: ArchivableRun) -> bool:
        """A chain that does not verify is evidence: it stays, to be found where it is."""
        head = (story.run.audit_sequence, story.run.audit_head)
        if not any(True for _ in breaks(story.entries, head, audit.entry_hash, after=story.before)):
            return True
        self.left[DAMAGED if any(True for _ in findings_of(story.run.pk)) else "a change just now"] += 1
        return False

    def _replace(
        self, batch: ArchiveBatch, stories: list[ArchivableRun], written: tuple[files.Written, files.Written]
    ) -> None:
        """Record the batch and delete its rows. Raises ``Moved`` and ``TakenOver``; then nothing was done."""
        with db.atomic():
            self._lock(stories)
            parts = ArchivedRun.objects.bulk_create(_parts(batch, stories, *written))
            _fill(batch, stories, *written)
            mine = ArchiveBatch.objects.filter(pk=batch.pk, written_at=None)
            if not mine.update(**{name: getattr(batch, name) for name in FILLED}):
                raise TakenOver(
                    "Another archive pass, with another ARCHIVE_DIR, took over; only one may run at a time."
                )
            _delete(parts, stories)
            audit.record_global(archived.WRITTEN, actor=audit.SYSTEM, data=_recorded(batch))
            failpoint("archive-moving")

    def _lock(self, stories: list[ArchivableRun]) -> None:
        """The runs, as they were read and still to be archived. Raises ``Moved``."""
        were = {story.run.pk: (story.run.audit_sequence, story.run.audit_head) for story in stories}
        locked = OnboardingTransaction.objects.select_for_update(no_key=True).filter(pk__in=were).order_by("pk")
        are = {pk: (sequence, head) for pk, sequence, head in locked.values_list("pk", "audit_sequence", "audit_head")}
        ripe = {pk for pk, _, stays in self._ripe().filter(pk__in=were) if not stays}
        if changed := {pk for pk in were if were[pk] != are.get(pk) or pk not in ripe}:
            raise Moved(changed)


FILLED = (
    *("runs", "entries", "attempts", "calls", "trail_sha256", "trail_bytes", "calls_sha256", "calls_bytes"),
    *("newest_call_at", "written_at"),
)


def due_before(now: datetime) -> datetime:
    """The first of the month that is over for ``ARCHIVE_AFTER_DAYS``, so that a month is archived at once."""
    last = now - timedelta(days=settings.ARCHIVE_AFTER_DAYS)
    return datetime(last.year, last.month, 1, tzinfo=UTC)


def discard_unfinished() -> int:
    """Remove what passes that were cut off have left; returns how many batches. The caller holds ``files.exclusively()``."""
    left = list(ArchiveBatch.objects.filter(written_at=None))
    for batch in left:
        _discard(batch)
    return len(left)


def remove_old_calls(now: datetime) -> int:
    """Delete files with calls that are all older than ``CALL_RETENTION_DAYS``; returns how many."""
    for batch in ArchiveBatch.objects.filter(calls_removed_at__isnull=False):
        files.remove(batch.calls_file)  # of a pass that was cut off in between
    if not settings.CALL_RETENTION_DAYS:
        return 0
    newest = now - timedelta(days=settings.CALL_RETENTION_DAYS)
    old = list(ArchiveBatch.objects.filter(newest_call_at__lt=newest, calls_removed_at=None, written_at__isnull=False))
    for batch in old:
        with db.atomic():
            ArchiveBatch.objects.filter(pk=batch.pk).update(calls_removed_at=now)
            data = {"file": batch.calls_file, "calls": batch.calls}
            audit.record_global(CALLS_REMOVED, actor=audit.SYSTEM, data=data)
        files.remove(batch.calls_file)
    return len(old)


def strays() -> list[str]:
    """Files in the folder that no batch of this database stands for, such as those of a database that was restored."""
    batches = ArchiveBatch.objects.all()
    return files.strays({name for batch in batches for name in (batch.trail_file, batch.calls_file)})


def _discard(batch: ArchiveBatch) -> None:
    """The row and files of a batch, unless it is archived: the database alone knows that, whatever became of our COMMIT."""
    with db.atomic():
        gone, _ = ArchiveBatch.objects.filter(pk=batch.pk, written_at=None).delete()
        if gone or not ArchiveBatch.objects.filter(pk=batch.pk).exists():
            files.remove(batch.trail_file)
            files.remove(batch.calls_file)


# --- Which runs


def _ended_before(before: datetime) -> QuerySet[OnboardingTransaction]:
    ended = Case(*(When(status=status, then=F(column)) for status, column in ENDED.items()))
    return OnboardingTransaction.objects.annotate(ended=ended).filter(status__in=ENDED, ended__lt=before)


def _reasons(before: datetime) -> Reasons:
    steps = Step.objects.unfinished().filter(transaction=OuterRef("pk")).exclude(state=StepState.PENDING)
    busy = Q(due_at__isnull=False) | Q(lease_until__isnull=False) | Q(poll__due_at__isnull=False)
    all_steps = Step.objects.filter(transaction=OuterRef("pk"))
    changes = ChangeRequest.objects.open().filter(transaction=OuterRef("pk"))
    later = AuditEntry.objects.filter(transaction=OuterRef("pk"), at__gte=before)
    return (
        ("a step at work or due", Q(Exists(all_steps.filter(busy))) | Q(Exists(steps.exclude(state__in=OVER)))),
        ("an open change request", Q(Exists(changes))),
        ("something that happened later", Q(Exists(later))),
    )


# --- What is written of them


def _stories(runs: list[int]) -> list[ArchivableRun]:
    found = list(OnboardingTransaction.objects.filter(pk__in=runs).order_by("pk"))
    ends = archived.ends(runs)
    steps = dict(Step.objects.filter(transaction__in=runs).values_list("pk", "transaction_id"))
    entries = _by_run(AuditEntry.objects.filter(transaction__in=runs).order_by("transaction_id", "sequence", "pk"))
    attempts: dict[int, list[Attempt]] = {}
    for attempt in Attempt.objects.filter(step__in=steps).order_by("pk"):
        attempts.setdefault(steps[attempt.step_id], []).append(attempt)
    calls: dict[int, list[ApiCall]] = {}
    for call in ApiCall.objects.filter(subject__in=_subjects(steps)).order_by("pk"):
        calls.setdefault(steps[int(call.subject.partition(":")[2])], []).append(call)
    return [
        ArchivableRun(
            run, ends.get(run.pk, START), entries.get(run.pk, []), attempts.get(run.pk, []), calls.get(run.pk, [])
        )
        for run in found
    ]


def _by_run(entries: QuerySet[AuditEntry]) -> dict[int, list[AuditEntry]]:
    return {run or 0: list(chain) for run, chain in groupby(entries, lambda entry: entry.transaction_id)}


def _subjects(steps: Mapping[int, int]) -> list[str]:
    return [f"step:{step}" for step in steps]


def _write(batch: ArchiveBatch, stories: list[ArchivableRun]) -> tuple[files.Written, files.Written]:
    with files.writing(batch.trail_file) as (trail, trail_written):
        for story in stories:
            rows = [("entry", row) for row in story.entries] + [("attempt", row) for row in story.attempts]
            trail.add([_about(story.run), *(files.line(kind, row) for kind, row in rows)])
    if not any(story.calls for story in stories):
        return trail_written, files.Written()
    with files.writing(batch.calls_file) as (calls, calls_written):
        for story in stories:
            calls.add([_about(story.run), *(files.line("call", row) for row in story.calls)])
    return trail_written, calls_written


def _about(run: OnboardingTransaction) -> files.Line:
    names = ("id", "onboarding_transaction_id", "status", "audit_sequence", "audit_head")
    return {"run": {name: getattr(run, name) for name in names}}


# --- What stands in the database for it


def _parts(
    batch: ArchiveBatch, stories: list[ArchivableRun], trail: files.Written, calls: files.Written
) -> Iterator[ArchivedRun]:
    call_members = calls.members or [(0, 0)] * len(stories)
    for story, (offset, length), (calls_offset, calls_length) in zip(stories, trail.members, call_members, strict=True):
        yield ArchivedRun(
            transaction=story.run,
            batch=batch,
            first_sequence=story.before[0] + 1,
            last_sequence=story.run.audit_sequence,
            head=story.run.audit_head,
            attempts=len(story.attempts),
            calls=len(story.calls),
            offset=offset,
            length=length,
            calls_offset=calls_offset,
            calls_length=calls_length if story.calls else 0,
        )


def _fill(batch: ArchiveBatch, stories: list[ArchivableRun], trail: files.Written, calls: files.Written) -> None:
    batch.runs = len(stories)
    batch.entries = sum(len(story.entries) for story in stories)
    batch.attempts = sum(len(story.attempts) for story in stories)
    batch.calls = sum(len(story.calls) for story in stories)
    batch.trail_sha256, batch.trail_bytes = trail.sha256, trail.bytes
    batch.calls_sha256, batch.calls_bytes = calls.sha256, calls.bytes
    batch.newest_call_at = max((call.at for story in stories for call in story.calls), default=None)
    batch.written_at = clock.now()


def _recorded(batch: ArchiveBatch) -> dict[str, Any]:
    return {
        "file": batch.trail_file,
        "sha256": batch.trail_sha256,
        "calls_sha256": batch.calls_sha256,
        **{name: getattr(batch, name) for name in ("runs", "entries", "attempts", "calls")},
    }


def _delete(parts: list[ArchivedRun], stories: list[ArchivableRun]) -> None:
    """What was written, and nothing else. Raises ``Moved`` where there is more or less than that."""
    runs = [part.transaction_id for part in parts]
    steps = dict(Step.objects.filter(transaction__in=runs).values_list("pk", "transaction_id"))
    for rows, written in (
        (AuditEntry.objects.filter(transaction__in=runs), [len(story.entries) for story in stories]),
        (Attempt.objects.filter(step__in=steps), [len(story.attempts) for story in stories]),
        (ApiCall.objects.filter(subject__in=_subjects(steps)), [len(story.calls) for story in stories]),
    ):
        deleted, _ = rows.delete()
        if deleted != sum(written):
            raise Moved(set(runs))


def _counted(runs: list[int]) -> Counter[str]:
    counts = Counter(runs=len(runs))
    for start in range(0, len(runs), RUNS_AT_ONCE):
        some = runs[start : start + RUNS_AT_ONCE]
        steps = dict(Step.objects.filter(transaction__in=some).values_list("pk", "transaction_id"))
        counts["entries"] += AuditEntry.objects.filter(transaction__in=some).count()
        counts["attempts"] += Attempt.objects.filter(step__in=steps).count()
        counts["calls"] += ApiCall.objects.filter(subject__in=_subjects(steps)).count()
    return counts
