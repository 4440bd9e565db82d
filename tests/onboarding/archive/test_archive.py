"""``manage.py archive``: what finished runs did goes into files, and nothing is lost, doubled or unverifiable on the way."""

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import DatabaseError, connection, transaction

from exceptions_queue.models import Alert, SlaClock
from integrations import clock
from integrations.models import ApiCall
from onboarding import audit, services
from onboarding.archive import files
from onboarding.archive.history import archived_history
from onboarding.enums import RunEventType, Status
from onboarding.intake import service
from onboarding.models import ArchiveBatch, ArchivedRun, Attempt, AuditEntry, OnboardingTransaction, Step
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Drain, Payload
from tests.onboarding.archive.conftest import LONG, Finished, archive, rows, verify
from tests.onboarding.conftest import Accept, customer
from tests.support.threads import together


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("**/*.gz*"))


def lines_in(folder: Path, ending: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob(f"*/*.{ending}.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]


def stays(said: str, reason: str) -> bool:
    return f"Left alone: 1 run with {reason}." in said and not ArchivedRun.objects.exists()


# --- What moves


def test_a_run_that_ended_long_ago_moves_into_files_of_its_month(old: OnboardingTransaction, folder: Path) -> None:
    entries, attempts, calls = rows()
    assert min(entries, attempts, calls) > 0
    said = archive()
    assert f"Moved 1 runs, {entries} audit entries, {attempts} attempts, {calls} calls." in said
    assert rows() == (0, 0, 0)
    assert len(names := files_in(folder)) == 2
    assert all(name.startswith(f"{old.completed_at:%Y-%m}/") for name in names)
    trail, made = lines_in(folder, "trail"), lines_in(folder, "calls")
    assert trail[0]["run"]["onboarding_transaction_id"] == str(old)
    assert [each["entry"]["sequence"] for each in trail if "entry" in each] == list(range(1, entries + 1))
    assert sum("attempt" in each for each in trail) == attempts
    assert sum("call" in each for each in made) == calls
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*/*.gz")} == {0o600}


def test_archived_chains_verify_with_their_anchors_and_the_command_says_that_it_read_them(
    old: OnboardingTransaction,
) -> None:
    archive()
    said = verify()
    assert "The audit trail is whole: 0 entries of 1 runs" in said
    assert f"Read from the archive, 1 batches in {files.path_of('')}: {old.audit_sequence} entries of 1 runs." in said


def test_a_second_pass_finds_nothing_to_move(old: OnboardingTransaction, folder: Path) -> None:
    archive()
    before = files_in(folder)
    assert "Nothing to move." in archive()
    assert files_in(folder) == before


def test_each_month_and_batch_has_files_of_its_own(finished: Finished, folder: Path) -> None:
    months = []
    for name in ("alpha", "beta", "gamma"):
        run = finished(name)
        months.append(f"{run.completed_at:%Y-%m}")
        if name == "beta":
            clock.shift(timedelta(days=32))
    clock.shift(LONG)
    archive("--batch", "1")
    assert sorted(ArchiveBatch.objects.values_list("month", flat=True)) == months
    assert len(set(months)) == 2
    assert len(files_in(folder)) == 6
    verify()


def test_only_whole_months_that_are_over_for_long_enough_move(finished: Finished, settings: Any) -> None:
    run = finished()
    month_ends = (run.completed_at.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0)
    clock.shift(month_ends + timedelta(days=settings.ARCHIVE_AFTER_DAYS - 1) - clock.now())
    assert "Nothing to move." in archive()
    clock.shift(timedelta(days=2))
    assert "Moved 1 runs" in archive()


def test_a_month_may_be_named(finished: Finished) -> None:
    run = finished()
    clock.shift(timedelta(days=32))
    assert "Nothing to move." in archive("--before", f"{run.completed_at:%Y-%m}")
    assert "Moved 1 runs" in archive("--before", f"{clock.now():%Y-%m}")


def test_a_month_that_has_not_begun_or_is_none_is_refused(old: OnboardingTransaction) -> None:
    with pytest.raises(CommandError, match="has not begun"):
        archive("--before", f"{clock.now() + timedelta(days=40):%Y-%m}")
    with pytest.raises(CommandError, match="must be a month"):
        archive("--before", "august")


def test_a_dry_run_says_what_would_move_and_writes_nothing(old: OnboardingTransaction, folder: Path) -> None:
    entries, attempts, calls = before = rows()
    said = archive("--dry-run")
    month = f"{old.completed_at:%Y-%m}"
    assert f"{month}: 1 runs, {entries} audit entries, {attempts} attempts, {calls} calls would be moved." in said
    assert rows() == before
    assert not folder.exists()
    assert not ArchiveBatch.objects.exists()


def test_a_cancelled_and_a_rolled_back_run_move_too(finished: Finished, accept: Accept, drain: Drain) -> None:
    services.cancel(accept(**customer("beta"), commercial__plan_sku=None).pk, actor="lead", reason="test")
    back = finished("gamma")
    services.rollback(back.pk, actor="lead", reason="test")
    drain()
    back.refresh_from_db(fields=["domain"])
    assert OnboardingTransaction.objects.get(pk=back.pk).status == Status.ROLLED_BACK
    clock.shift(LONG)
    assert "Moved 2 runs" in archive()
    verify()


# --- What stays


def test_a_run_that_is_not_over_stays(transactional_db: None, accept: Accept) -> None:
    accept(commercial__plan_sku=None)
    clock.shift(LONG)
    assert "Nothing to move." in archive()


def test_a_run_with_an_open_ticket_stays(old: OnboardingTransaction) -> None:
    services.receive_event(
        old.pk,
        kind=RunEventType.PAYMENT_REFUNDED,
        event_id="evt",
        occurred_at=clock.now(),
        data={},
        actor="tests",
    )
    clock.shift(LONG)
    assert stays(archive(), "an open ticket")


def test_a_run_with_an_open_change_request_stays(old: OnboardingTransaction, payload: Payload) -> None:
    content = payload(**(customer("acme") | {"customer__legal_name": "Another"}))
    changed = service.accept(OnboardingPayload.model_validate(content).content(), actor="tests").change_request
    assert changed
    changed.tickets.update(status="resolved", resolved_at=clock.now())
    clock.shift(LONG)
    assert stays(archive(), "an open change request")


def test_a_run_with_a_running_clock_stays(old: OnboardingTransaction) -> None:
    SlaClock.objects.filter(transaction=old).update(state="running", ended_at=None)
    assert stays(archive(), "a running clock")


def test_a_run_with_an_alert_to_be_sent_stays(old: OnboardingTransaction) -> None:
    Alert.objects.create(clock=old.clocks.get(), recipient="a@b.c", created_at=clock.now(), due_at=clock.now())
    assert stays(archive(), "an alert to be sent")


@pytest.mark.parametrize("column", ["due_at", "lease_until"])
def test_a_run_with_a_step_due_or_leased_stays(old: OnboardingTransaction, column: str) -> None:
    Step.objects.filter(pk=old.steps.first().pk).update(**{column: clock.now()})  # type: ignore[union-attr]
    assert stays(archive(), "a step at work or due")


def test_run_changed_later_stays(old: OnboardingTransaction) -> None:
    services.receive_event(
        old.pk, kind=RunEventType.KICKOFF_SCHEDULED, event_id="e", occurred_at=clock.now(), data={}, actor="tests"
    )
    assert stays(archive(), "something that happened later")


def test_a_run_whose_chain_does_not_verify_stays_where_it_is(old: OnboardingTransaction, folder: Path) -> None:
    OnboardingTransaction.objects.filter(pk=old.pk).update(audit_head="f" * 64)
    before = rows()
    with pytest.raises(CommandError, match="Not every audit chain verifies"):
        archive()
    assert rows() == before
    assert files_in(folder) == []


def test_a_run_that_changes_while_its_files_are_written_stays(
    old: OnboardingTransaction, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refund(name: str, about: str = "") -> None:
        if name == "archive-written":
            services.receive_event(
                old.pk,
                kind=RunEventType.PAYMENT_REFUNDED,
                event_id="e",
                occurred_at=clock.now(),
                data={},
                actor="tests",
            )

    monkeypatch.setattr("onboarding.archive.archiving.failpoint", refund)
    assert stays(archive(), "a change just now")
    assert files_in(folder) == []
    assert not ArchiveBatch.objects.exists()
    verify()


# --- What comes later


def test_a_late_event_continues_the_chain_and_both_parts_verify(old: OnboardingTransaction, drain: Drain) -> None:
    archive()
    services.rollback(old.pk, actor="lead", reason="refund")
    drain()
    assert OnboardingTransaction.objects.get(pk=old.pk).status == Status.ROLLED_BACK
    first = AuditEntry.objects.filter(transaction=old).earliest("sequence")
    part = old.archived.get()
    assert (first.sequence, first.previous_hash) == (part.last_sequence + 1, part.head)
    verify()
    clock.shift(LONG)
    assert "Moved 1 runs" in archive()
    later = old.archived.latest("pk")
    assert later.first_sequence == part.last_sequence + 1
    verify()
    story = archived_history(OnboardingTransaction.objects.get(pk=old.pk))
    assert [entry.sequence for entry in story.entries] == list(range(1, later.last_sequence + 1))


def test_an_archived_run_may_be_replayed(old: OnboardingTransaction, drain: Drain) -> None:
    archive()
    services.replay(old.pk, "crm.account", actor="lead")
    drain()
    assert OnboardingTransaction.objects.get(pk=old.pk).status == Status.COMPLETE
    verify()


# --- The narrow way


def test_database_refuses_other_deletes(finished: Finished) -> None:
    finished("alpha")
    clock.shift(LONG)
    archive()
    finished("beta")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.exclude(transaction=None).delete()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.filter(transaction=None).delete()


def test_later_entries_of_an_archived_run_are_append_only(old: OnboardingTransaction) -> None:
    archive()
    services.receive_event(
        old.pk, kind=RunEventType.PAYMENT_REFUNDED, event_id="e", occurred_at=clock.now(), data={}, actor="tests"
    )
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        old.audit.all().delete()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        old.audit.update(actor="nobody")


def test_concurrent_archive_passes_are_excluded(old: OnboardingTransaction) -> None:
    def attempt() -> str:
        try:
            return archive()
        except CommandError as error:
            return str(error)
        finally:
            connection.close()

    with files.exclusively(), pytest.raises(CommandError, match="Another pass"):
        archive()
    said = together([attempt, attempt])
    assert sum("Moved 1 runs" in text for text in said) == 1
    assert Attempt.objects.count() == 0
    verify()


# --- What is wrong with files


@pytest.fixture
def archived(old: OnboardingTransaction) -> ArchiveBatch:
    archive()
    return ArchiveBatch.objects.get()


@pytest.mark.parametrize("name", ["trail_file", "calls_file"])
def test_missing_file_is_detected(archived: ArchiveBatch, name: str) -> None:
    files.path_of(getattr(archived, name)).unlink()
    with pytest.raises(CommandError, match=f"archive: {getattr(archived, name)} is missing in"):
        verify()


@pytest.mark.parametrize("name", ["trail_file", "calls_file"])
def test_file_with_one_flipped_bit_is_detected(archived: ArchiveBatch, name: str) -> None:
    path = files.path_of(getattr(archived, name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CommandError, match=f"archive: {getattr(archived, name)} was changed"):
        verify()


def rewritten(batch: ArchiveBatch) -> str:
    """Somebody rewrites an entry in the file, and compresses it again; returns the file's hash now."""
    path = files.path_of(batch.trail_file)
    path.write_bytes(
        gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"actor":"system"', b'"actor":"nobody"', 1))
    )
    ArchivedRun.objects.filter(batch=batch).update(length=path.stat().st_size)
    return files.sha256_of(batch.trail_file)


def test_rewritten_file_is_detected_by_its_chain(archived: ArchiveBatch) -> None:
    rewritten(archived)
    with pytest.raises(CommandError, match=r"pay_acme, in .*: entry \d+ \(audit row \d+\) was changed"):
        verify()


def test_a_manifest_that_was_changed_with_it_is_found_by_the_audit_trail(archived: ArchiveBatch) -> None:
    ArchiveBatch.objects.update(trail_sha256=rewritten(archived))
    with pytest.raises(CommandError, match="the manifest holds another hash than the audit entry"):
        verify()


def test_an_archived_chain_that_was_recomputed_as_a_whole_is_found_by_an_anchor(
    archived: ArchiveBatch, old: OnboardingTransaction
) -> None:
    """With its head, the manifest and the run."""
    path, head = files.path_of(archived.trail_file), ""
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for entry in files.rows(lines, "entry", AuditEntry):
        entry.actor, entry.previous_hash = "nobody", head
        entry.hash = head = audit.entry_hash(entry)
        lines[entry.sequence] = files.line("entry", entry)
    path.unlink()
    with files.writing(archived.trail_file) as (writer, written):
        writer.add(lines)
    ArchivedRun.objects.update(head=head, length=written.bytes)
    ArchiveBatch.objects.update(trail_sha256=written.sha256)
    OnboardingTransaction.objects.filter(pk=old.pk).update(audit_head=head)
    found = list(audit.broken_links())
    assert len(found) == 2
    assert "the manifest holds another hash than the audit entry" in found[0]
    assert "is another one now; anchor 1 holds its hash. The chain was rewritten" in found[1]


def test_a_run_that_the_manifest_has_lost_is_found(archived: ArchiveBatch) -> None:
    ArchivedRun.objects.all().delete()
    with pytest.raises(
        CommandError, match=r"(?s)pay_acme: entry 1 to \d+ are missing at the end.*names 0 of its 1 runs"
    ):
        verify()


def test_a_batch_that_the_manifest_has_lost_is_found(archived: ArchiveBatch) -> None:
    ArchivedRun.objects.all().delete()
    ArchiveBatch.objects.all().delete()
    with pytest.raises(CommandError, match=f"{archived.trail_file} was written, and the manifest names it no more"):
        verify()


def test_a_head_that_was_set_back_below_what_is_archived_is_found(
    archived: ArchiveBatch, old: OnboardingTransaction
) -> None:
    OnboardingTransaction.objects.filter(pk=old.pk).update(audit_sequence=1, audit_head="")
    with pytest.raises(
        CommandError, match=r"pay_acme: entry \d+, which is archived, is not the one that the chain's head"
    ):
        verify()


def test_file_of_another_database_is_reported_and_left_alone(old: OnboardingTransaction, folder: Path) -> None:
    archive()
    (folder / "2020-01").mkdir()
    stray = folder / "2020-01" / "left.trail.jsonl.gz"
    stray.write_bytes(b"")
    assert "1 files belong to no batch of this database, such as 2020-01/left.trail.jsonl.gz." in archive()
    assert stray.exists()


# --- Retention of what is archived


def test_archived_calls_are_deleted_when_they_are_old_enough_and_the_trail_stays(
    archived: ArchiveBatch, settings: Any, folder: Path
) -> None:
    settings.CALL_RETENTION_DAYS = 100
    assert "1 files with calls older than 100 days were deleted." in archive()
    assert files_in(folder) == [archived.trail_file]
    assert "Read from the archive" in verify()
    assert "deleted" not in archive()
    assert ApiCall.objects.filter(subject__startswith="step:").count() == 0
