"""The audit trail is refused to whoever would change it, and tells what was changed by force."""

import io
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from integrations import clock
from onboarding import audit, services
from onboarding.audit import anchors
from onboarding.models import AuditAnchor, AuditEntry, AuditHead, OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer
from tests.support.tampering import TABLES, tampering
from tests.support.threads import together


@pytest.fixture
def run(transactional_db: None, accept: Accept) -> OnboardingTransaction:
    return accept()


def anchored() -> AuditAnchor:
    """What the sweep writes once it is time again."""
    clock.shift(timedelta(seconds=301))
    made = anchors.append_if_due()
    assert made
    return made


def broken() -> list[str]:
    return list(audit.broken_links())


def verify(*options: str) -> str:
    """What the command says; where it refuses, it raises with all of it."""
    out = io.StringIO()
    try:
        call_command("audit", "verify", *options, stdout=out, stderr=out)
    except CommandError as error:
        raise CommandError(f"{out.getvalue()}{error}") from None
    return out.getvalue()


def row(run: OnboardingTransaction, sequence: int) -> int:
    return run.audit.get(sequence=sequence).pk


def rechained(entries: Iterable[AuditEntry], head: str = "") -> tuple[int, str]:
    """Somebody recomputes every hash of a chain."""
    last = 0
    for last, entry in enumerate(entries, start=1):
        entry.sequence, entry.previous_hash = last, head
        entry.hash = head = audit.entry_hash(entry)
        entry.save()
    return last, head


def rewrite(run: OnboardingTransaction) -> None:
    """The whole chain of a run, its head included: nothing in the run itself betrays it."""
    with tampering():
        run.audit.filter(sequence=1).update(actor="nobody")
        sequence, head = rechained(list(run.audit.order_by("sequence")))
        OnboardingTransaction.objects.filter(pk=run.pk).update(audit_sequence=sequence, audit_head=head)


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET hash = ''", "DELETE FROM {}"])
def test_the_database_refuses_to_change_the_trail(run: OnboardingTransaction, table: str, statement: str) -> None:
    anchored()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


@pytest.mark.parametrize("table", TABLES)
def test_database_refuses_truncating_the_trail(run: OnboardingTransaction, table: str) -> None:
    """TRUNCATE on PostgreSQL, INSERT OR REPLACE on SQLite."""
    anchored()
    ways = {"postgresql": "TRUNCATE {0} CASCADE", "sqlite": "INSERT OR REPLACE INTO {0} SELECT * FROM {0}"}
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ways[connection.vendor].format(table))


# --- Found in a chain ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_changed_entry_is_named(run: OnboardingTransaction, which: str) -> None:
    number = 1 if which == "first" else run.audit.count()
    with tampering():
        run.audit.filter(sequence=number).update(actor="nobody")
    assert broken() == [f"pay_12345: entry {number} (audit row {row(run, number)}) was changed"]


def test_a_removed_entry_is_named(run: OnboardingTransaction) -> None:
    after = row(run, 3)
    with tampering():
        run.audit.filter(sequence=2).delete()
    assert broken() == [f"pay_12345: entry 2 is missing before entry 3 (audit row {after})"]


def test_removed_last_entries_are_named(run: OnboardingTransaction) -> None:
    count = run.audit.count()
    with tampering():
        run.audit.filter(sequence=count).delete()
    assert broken() == [f"pay_12345: entry {count} is missing at the end"]
    with tampering():
        run.audit.all().delete()
    assert broken() == [f"pay_12345: entry 1 to {count} are missing at the end"]


def test_an_entry_inserted_at_the_end_is_named(run: OnboardingTransaction) -> None:
    """An INSERT is no change to a trigger: this needs no force at all."""
    last = run.audit.get(sequence=run.audit.count())
    made = AuditEntry(transaction=run, sequence=last.sequence + 1, name="x", actor="kim", at=clock.now())
    made.previous_hash = last.hash
    made.hash = audit.entry_hash(made)
    made.save()
    head = last.sequence
    assert broken() == [
        f"pay_12345: entry {head + 1} (audit row {made.pk}) was inserted: the chain's head is entry {head}"
    ]


def test_forged_entry_is_detected_by_its_successor(run: OnboardingTransaction) -> None:
    entry = run.audit.get(sequence=1)
    entry.actor = "nobody"
    with tampering():
        run.audit.filter(sequence=1).update(actor="nobody", hash=audit.entry_hash(entry))
    assert broken() == [
        (
            f"pay_12345: entry 2 (audit row {row(run, 2)}) does not follow from entry 1 (audit row {entry.pk}): "
            "one of them was rewritten"
        )
    ]


def test_forged_last_entry_is_detected_by_the_runs_head(run: OnboardingTransaction) -> None:
    entry = run.audit.get(sequence=run.audit.count())
    entry.actor = "nobody"
    with tampering():
        run.audit.filter(pk=entry.pk).update(actor="nobody", hash=audit.entry_hash(entry))
    named = f"entry {entry.sequence} (audit row {entry.pk})"
    assert broken() == [f"pay_12345: {named} is not the one that the chain's head says"]


def test_runs_have_chains_of_their_own(run: OnboardingTransaction, accept: Accept) -> None:
    other = accept(**customer("beta"))
    assert run.audit.first().sequence == other.audit.first().sequence == 1
    assert broken() == []
    with tampering():
        other.audit.filter(sequence=2).update(name="onboarding.run.complete")
    assert broken() == [f"pay_beta: entry 2 (audit row {row(other, 2)}) was changed"]


def test_global_entries_form_one_chain(transactional_db: None) -> None:
    made = [audit.record_global("integrations.breaker.opened", actor="system", data={"n": n}) for n in range(4)]
    assert [entry.sequence for entry in made] == [1, 2, 3, 4]
    assert broken() == []
    with tampering():
        AuditEntry.objects.filter(pk=made[0].pk).update(actor="nobody")
        AuditEntry.objects.filter(pk__in=[made[1].pk, made[3].pk]).delete()
    assert broken() == [
        f"outside runs: entry 1 (audit row {made[0].pk}) was changed",
        f"outside runs: entry 2 is missing before entry 3 (audit row {made[2].pk})",
        "outside runs: entry 4 is missing at the end",
    ]


def test_concurrent_global_entries_form_one_chain(transactional_db: None) -> None:
    def write() -> None:
        audit.record_global("integrations.breaker.opened", actor="system", data={})

    together([write] * 6)
    sequences = AuditEntry.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == [1, 2, 3, 4, 5, 6]
    assert broken() == []


# --- Anchors ---------------------------------------------------------------------------------------------------------


def test_anchor_contains_only_chains_that_moved(run: OnboardingTransaction, accept: Accept) -> None:
    audit.record_global("integrations.breaker.opened", actor="system", data={})
    first = anchored()
    run.refresh_from_db(fields=["audit_sequence", "audit_head"])
    assert first.heads == [
        [run.pk, run.audit_sequence, run.audit_head],
        [None, 1, AuditHead.objects.get(chain="elsewhere").hash],
    ]
    other = accept(**customer("beta"))
    second = anchored()
    assert [head[0] for head in second.heads] == [other.pk]
    assert (second.sequence, second.previous_hash) == (2, first.hash)
    assert broken() == []


def test_nothing_is_anchored_where_nothing_moved(run: OnboardingTransaction) -> None:
    anchored()
    clock.shift(timedelta(hours=1))
    assert anchors.append_if_due() is None


def test_an_anchor_waits_for_its_time(run: OnboardingTransaction) -> None:
    anchored()
    services.hold(run.pk, actor="kim", reason="Wait")
    clock.shift(timedelta(seconds=299))
    assert anchors.append_if_due() is None
    clock.shift(timedelta(seconds=2))
    assert anchors.append_if_due()


def test_a_full_anchor_is_followed_by_the_next_at_once(
    run: OnboardingTransaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "WINDOW", 2)
    first = anchored()
    assert first.entries == 2
    while anchors.append_if_due():
        pass
    assert sum(AuditAnchor.objects.values_list("entries", flat=True)) == AuditEntry.objects.count() > 2


def test_the_sweep_anchors(connections: Any, accept: Accept, drain: Drain) -> None:
    accept()
    drain()
    clock.shift(timedelta(seconds=301))
    drain()
    last = AuditAnchor.objects.latest("sequence")
    assert last.through == AuditEntry.objects.latest("pk").pk
    assert last.hash in verify()


def test_concurrent_schedulers_do_not_fork_the_anchors(run: OnboardingTransaction) -> None:
    clock.shift(timedelta(seconds=301))
    made = together([anchors.append_if_due] * 4)
    assert len([anchor for anchor in made if anchor]) == 1
    assert broken() == []


def test_a_chain_rewritten_as_a_whole_is_named_by_its_anchor(run: OnboardingTransaction, accept: Accept) -> None:
    accept(**customer("beta"))
    sequence = run.audit.count()
    anchored()
    services.hold(run.pk, actor="kim", reason="Wait")
    rewrite(run)
    assert broken() == [
        (
            f"pay_12345: entry {sequence} (audit row {row(run, sequence)}) is another one now; "
            "anchor 1 holds its hash. The chain was rewritten"
        )
    ]


def test_a_chain_shortened_as_a_whole_is_named_by_its_anchor(run: OnboardingTransaction) -> None:
    sequence = run.audit.count()
    anchored()
    with tampering():
        run.audit.filter(sequence=sequence).delete()
        last = run.audit.get(sequence=sequence - 1)
        OnboardingTransaction.objects.filter(pk=run.pk).update(audit_sequence=last.sequence, audit_head=last.hash)
    assert broken() == [f"pay_12345: entry {sequence} is gone; anchor 1 holds its hash. The chain was rewritten"]


def test_global_chain_is_anchored(transactional_db: None) -> None:
    for _ in range(2):
        audit.record_global("integrations.breaker.opened", actor="system", data={})
    anchored()
    with tampering():
        AuditEntry.objects.filter(sequence=1).update(actor="nobody")
        sequence, head = rechained(list(AuditEntry.objects.order_by("sequence")))
        AuditHead.objects.filter(chain="elsewhere").update(sequence=sequence, hash=head)
    assert [text.partition(" (")[0] for text in broken()] == ["outside runs: entry 2"]


def test_changed_and_removed_anchors_are_named(run: OnboardingTransaction) -> None:
    first = anchored()
    services.hold(run.pk, actor="kim", reason="Wait")
    anchored()
    with tampering():
        AuditAnchor.objects.filter(sequence=1).update(heads=[])
        AuditAnchor.objects.filter(sequence=2).delete()
    assert broken() == [
        f"anchors: anchor 1 (row {first.pk}) was changed",
        "anchors: anchor 2 is missing at the end",
    ]


# --- The command -----------------------------------------------------------------------------------------------------


def test_externally_kept_hash_detects_rewritten_anchors(run: OnboardingTransaction) -> None:
    kept = anchored().hash
    assert verify(f"--expect={kept}").splitlines()[-1] == kept
    with tampering():
        AuditAnchor.objects.all().delete()
        AuditHead.objects.all().delete()
    rewrite(run)
    anchored()
    assert "whole" in verify()
    with pytest.raises(CommandError, match=kept):
        verify(f"--expect={kept}")


def test_the_command_names_all_that_is_broken_and_fails(run: OnboardingTransaction, accept: Accept) -> None:
    other = accept(**customer("beta"))
    with tampering():
        AuditEntry.objects.filter(sequence=2).update(actor="nobody")
    with pytest.raises(CommandError) as refused:
        verify()
    said = str(refused.value)
    assert f"pay_12345: entry 2 (audit row {row(run, 2)}) was changed" in said
    assert f"pay_beta: entry 2 (audit row {row(other, 2)}) was changed" in said
    assert "findings: 2" in said


def test_the_command_counts_what_it_verified(run: OnboardingTransaction) -> None:
    audit.record_global("integrations.breaker.opened", actor="system", data={})
    count = run.audit.count()
    assert f"{count} entries of 1 runs, 1 outside runs, 0 anchors" in verify()


def test_an_expected_hash_must_be_one() -> None:
    with pytest.raises(CommandError, match="64 hexadecimal digits"):
        call_command("audit", "verify", "--expect", "abc")
