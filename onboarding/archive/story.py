"""One run's archived part, read back for people."""

from dataclasses import dataclass, field

from integrations.models import ApiCall
from onboarding.archive import files
from onboarding.archive.files import Unreadable
from onboarding.models import ArchivedRun, Attempt, AuditEntry, OnboardingTransaction


@dataclass
class ArchivedStory:
    """Rows as they were, oldest first. What could not be read here is missing, and ``unreadable`` says why."""

    parts: list[ArchivedRun] = field(default_factory=list)
    entries: list[AuditEntry] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[ApiCall] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def archived_story(run: OnboardingTransaction) -> ArchivedStory:
    """Kept on the instance: a page asks for it more than once."""
    kept: ArchivedStory | None = run.__dict__.get("_archived_story")
    if kept is None:
        kept = run.__dict__["_archived_story"] = _read(run)
    return kept


def entries_of(run: OnboardingTransaction, most: int) -> list[AuditEntry]:
    """The latest audit entries, newest first, archived ones too: the archive is looked into only where these are too few."""
    found = list(run.audit.order_by("-sequence")[:most])
    if len(found) < most and (found[-1].sequence if found else 0) != 1:
        found += reversed(archived_story(run).entries[-(most - len(found)) :])
    return found


def _read(run: OnboardingTransaction) -> ArchivedStory:
    story = ArchivedStory(list(run.archived.select_related("batch").order_by("last_sequence")))
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
            story.unreadable.append(str(error))
    return story
