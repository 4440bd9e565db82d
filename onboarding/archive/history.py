"""One run's archived part, read back for people."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from integrations.models import ApiCall
from onboarding.archive import files
from onboarding.archive.files import Unreadable
from onboarding.models import ArchivedRun, Attempt, AuditEntry, OnboardingTransaction, Step


@dataclass
class ArchivedHistory:
    """Rows as they were, oldest first. What could not be read here is missing, and ``unreadable`` says why."""

    parts: list[ArchivedRun] = field(default_factory=list)
    entries: list[AuditEntry] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[ApiCall] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    """By the part's primary key."""

    @property
    def notes(self) -> list[dict[str, Any]]:
        """For each part: what, since when, where; and why it cannot be shown, if so."""
        return [
            {"part": part, "batch": part.batch, "unreadable": self.unreadable.get(part.pk, "")} for part in self.parts
        ]


def archived_history(run: OnboardingTransaction) -> ArchivedHistory:
    """Kept on the instance: a page asks for it more than once."""
    kept: ArchivedHistory | None = run.__dict__.get("_archived_story")
    if kept is None:
        kept = run.__dict__["_archived_story"] = _read(run)
    return kept


def named(run: OnboardingTransaction, *names: str) -> list[AuditEntry]:
    """The run's audit entries of these names, oldest first, archived ones too."""
    archived = [entry for entry in archived_history(run).entries if entry.name in names]
    return [*archived, *run.audit.filter(name__in=names).order_by("sequence")]


def attempts_of(run: OnboardingTransaction, step: Step) -> list[Attempt]:
    """All of a step's, oldest first, archived ones too."""
    archived = [attempt for attempt in archived_history(run).attempts if attempt.step_id == step.pk]
    return [*archived, *step.attempt_rows.order_by("pk")]


def calls_of(run: OnboardingTransaction, subjects: Collection[str], most: int) -> list[ApiCall]:
    """The latest of those that were made for these subjects, such as ``step:12``, newest first, archived ones too."""
    found = list(ApiCall.objects.filter(subject__in=subjects).order_by("-pk")[:most])
    archived = [call for call in archived_history(run).calls if call.subject in subjects]
    return [*found, *reversed(archived)][:most]


def entries_of(run: OnboardingTransaction, most: int) -> list[AuditEntry]:
    """The latest audit entries, newest first, archived ones too: the archive is looked into only where these are too few."""
    found = list(run.audit.order_by("-sequence")[:most])
    if found and found[-1].sequence == 1:
        run.__dict__["_archived_story"] = ArchivedHistory()  # nothing is: whoever asks next need not look
    elif len(found) < most:
        found += reversed(archived_history(run).entries[-(most - len(found)) :])
    return found


def _read(run: OnboardingTransaction) -> ArchivedHistory:
    story = ArchivedHistory(list(run.archived.select_related("batch").order_by("last_sequence")))
    for part in story.parts:
        batch = part.batch
        try:
            lines = files.lines_of(batch.trail_file, part.offset, part.length)
            story.entries += files.rows(lines, "entry", AuditEntry)
            story.attempts += files.rows(lines, "attempt", Attempt)
            if part.calls and batch.calls_removed_at is None:
                calls = files.lines_of(batch.calls_file, part.calls_offset, part.calls_length)
                story.calls += files.rows(calls, "call", ApiCall)
        except Unreadable as error:
            story.unreadable[part.pk] = str(error)
    return story
