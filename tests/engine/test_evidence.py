"""Snapshots and the audit trail: what was, stays."""

from collections import Counter
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from exceptions_queue import actions
from exceptions_queue.actions import Actor
from integrations.connections import set_connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit
from onboarding.models import AuditEntry, OnboardingTransaction, PayloadSnapshot
from onboarding.payload.snapshots import write_snapshot
from onboarding.words import Status
from tests.conftest import Drain
from tests.engine.conftest import Accept, customer, status_of, ticket_of


@pytest.fixture
def run(transactional_db: None, accept: Accept) -> OnboardingTransaction:
    return accept()


def test_a_snapshot_is_never_changed(run: OnboardingTransaction) -> None:
    snapshot = run.snapshot
    snapshot.content = {}
    with pytest.raises(TypeError, match="immutable"):
        snapshot.save()


def test_the_next_snapshot_stands_beside_the_first(run: OnboardingTransaction) -> None:
    first = run.payload
    with transaction.atomic():
        write_snapshot(run, {**first, "extra": 1}, source="person:kim", actor="kim", changed=["extra"])
        run.save()
    assert [each.version for each in run.snapshots.all()] == [1, 2]
    assert PayloadSnapshot.objects.get(version=1).content == first
    assert run.snapshot.provenance["extra"] == "person:kim"
    assert run.snapshot.provenance["customer.domain"] == "billing"


def test_the_trail_of_a_complete_run_verifies(connections: Any, accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    names = set(run.audit.values_list("name", flat=True))
    assert {"onboarding.run.accepted", "onboarding.object.created", "onboarding.run.complete"} <= names
    assert list(audit.broken_links()) == []


def test_waits_renewals_retries_and_a_met_clock_leave_evidence(
    connections: Any, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.configure("asana", job_seconds=0.2)
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*create_or_update", status=400, count=2)
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    for _ in range(2):
        actions.perform(ticket.pk, "retry", Actor("kim"))
        drain()
    assert status_of(run) == Status.COMPLETE
    trail = Counter(run.audit.values_list("name", flat=True))
    assert trail["onboarding.step.waiting"] >= 1
    assert trail["onboarding.step.retry-requested"] == 2
    assert trail["exceptions.ticket.opened"] == 1
    assert trail["exceptions.ticket.retrying"] == 2
    assert trail["exceptions.ticket.renewed"] == 1
    assert trail["exceptions.ticket.resolved"] == 1
    assert trail["exceptions.sla.met"] == 1
    assert run.audit.get(name="exceptions.sla.met").data == {"milestone": "P1", "state": "met"}
    assert {entry.actor for entry in run.audit.filter(name="onboarding.step.retry-requested")} == {"kim"}
    assert list(audit.broken_links()) == []


def test_who_set_a_connection_leaves_evidence_without_its_secrets(transactional_db: None) -> None:
    given = {"slug": "hubspot", "system": "crm", "provider": "hubspot"}
    set_connection(**given, secrets={"token": ["first"]}, actor="kim")
    set_connection(**given, base_url="https://api-eu1.hubapi.com", secrets={"token": ["second"]}, actor="lee")
    made, moved = AuditEntry.objects.filter(name="integrations.connection.set").order_by("pk")
    assert (made.actor, made.data) == ("kim", {"connection": "hubspot", "secrets": ["token"], "voided": False})
    assert (moved.actor, moved.data["voided"]) == ("lee", True)


def test_no_entry_carries_a_value(connections: Any, accept: Accept, drain: Drain) -> None:
    accept()
    drain()
    written = " ".join(str(entry.data) for entry in AuditEntry.objects.all())
    assert "Jordan" not in written
    assert "jordan@" not in written


@pytest.mark.parametrize("statement", ["UPDATE {table} SET actor = 'nobody'", "DELETE FROM {table}"])
def test_the_database_itself_refuses_to_change_the_trail(run: OnboardingTransaction, statement: str) -> None:
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(table=AuditEntry._meta.db_table))


class _Tampering:
    """Somebody with the database's own keys: the triggers are off for a while."""

    OFF = {
        "sqlite": ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"],
        "postgresql": ["ALTER TABLE onboarding_auditentry DISABLE TRIGGER audit_append_only"],
    }
    ON = {"postgresql": ["ALTER TABLE onboarding_auditentry ENABLE TRIGGER audit_append_only"]}

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit_no_%'")
                self.ON = {"sqlite": [row[0] for row in cursor.fetchall()]}
            for statement in self.OFF[connection.vendor]:
                cursor.execute(statement)

    def __exit__(self, *_: object) -> None:
        with connection.cursor() as cursor:
            for statement in self.ON[connection.vendor]:
                cursor.execute(statement)


def test_a_changed_entry_is_found(run: OnboardingTransaction) -> None:
    with _Tampering():
        run.audit.filter(sequence=2).update(actor="nobody")
    assert list(audit.broken_links()) == ["pay_12345: entry 2 does not follow from its predecessor"]


def test_a_missing_entry_is_found(run: OnboardingTransaction) -> None:
    with _Tampering():
        run.audit.filter(sequence=2).delete()
    assert list(audit.broken_links()) == ["pay_12345: entry 3 does not follow from its predecessor"]


def test_a_trail_cut_at_its_end_is_found(run: OnboardingTransaction) -> None:
    last = run.audit.count()
    with _Tampering():
        run.audit.filter(sequence=last).delete()
    assert list(audit.broken_links()) == [f"pay_12345: the trail ends at {last - 1}, its run says {last}"]


def test_a_rewritten_entry_with_a_fitting_hash_is_found_by_the_next_one(run: OnboardingTransaction) -> None:
    entry = run.audit.get(sequence=1)
    entry.actor = "nobody"
    with _Tampering():
        run.audit.filter(sequence=1).update(actor="nobody", hash=audit.entry_hash(entry))
    assert list(audit.broken_links()) == ["pay_12345: entry 2 does not follow from its predecessor"]


def test_an_entry_of_no_run_verifies_by_itself(run: OnboardingTransaction) -> None:
    audit.record_elsewhere("integrations.breaker.opened", actor="system", data={"connection": "hubspot"})
    assert list(audit.broken_links()) == []
    with _Tampering():
        AuditEntry.objects.filter(transaction=None).update(actor="nobody")
    assert len(list(audit.broken_links())) == 1


def test_runs_have_chains_of_their_own(run: OnboardingTransaction, accept: Accept) -> None:
    other = accept(**customer("beta"))
    assert run.audit.first().sequence == other.audit.first().sequence == 1
    assert list(audit.broken_links()) == []
