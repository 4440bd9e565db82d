"""Snapshots and the audit trail: what was, stays."""

from collections import Counter
from typing import Any

import pytest
from django.db import transaction

from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations.connections.services import set_connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit
from onboarding.enums import OriginKind, Scope, Status
from onboarding.models import AuditEntry, OnboardingTransaction, PayloadSnapshot
from onboarding.origins import Origin
from onboarding.payload.snapshots import write_snapshot
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, status_of, ticket_of

KIM = Origin(OriginKind.PERSON, "kim")


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
        write_snapshot(run, {**first, "extra": 1}, origin=KIM, actor="kim", changed=["extra"])
        run.save()
    assert [each.version for each in run.snapshots.all()] == [1, 2]
    assert PayloadSnapshot.objects.get(version=1).content == first
    assert run.snapshot.provenance["extra"] == KIM.as_dict()
    assert run.snapshot.provenance["customer.domain"]["label"] == "billing"


def test_the_trail_of_a_complete_run_verifies(connections: Any, accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    names = set(run.audit.values_list("name", flat=True))
    assert {"onboarding.run.accepted", "onboarding.object.created", "onboarding.run.complete"} <= names
    assert list(audit.broken_links()) == []


def test_waits_renewals_retries_and_met_clocks_are_audited(
    connections: Any, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.configure("asana", job_seconds=0.2)
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*create_or_update", status=400, count=2)
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    for _ in range(2):
        actions.perform(ticket.pk, "retry", Actor("kim", Scope.OPERATE))
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


def test_connection_change_is_audited_without_secrets(transactional_db: None) -> None:
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
