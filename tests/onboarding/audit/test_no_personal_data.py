"""No entry of the audit trail holds personal data, whatever people and systems do and whatever they write."""

import json
from typing import Any

import pytest

from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.connections.services import set_connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.enums import RunEventType, Scope, Status
from onboarding.intake import service
from onboarding.models import AuditEntry, OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload, declared
from tests.conftest import Drain, Payload
from tests.onboarding.conftest import Accept, shown, status_of, step_of, ticket_of

PERSONAL = {
    "customer__legal_name": "Zyxwall Kontor GmbH",
    "customer__primary_contact": {"name": "Quirina Vexborough", "email": "quirina@zyxwall.com", "phone": "+49 30 7777"},
    "customer__brother": {"Ignaz Vexborough": True},
    "commercial__billing_email": "paymaster@zyxwall.com",
    "users": [{"name": "Tamsin Oakthorpe", "email": "tamsin@zyxwall.com", "role": "admin"}],
    "handover__stakeholders": {"Balthasar Hume": "decides", "mail of balthasar": "hume@zyxwall.com"},
    "handover__why_they_bought": ["Ottoline asked for it"],
}
SECRETS = (
    "zyxwall kontor", "quirina", "vexborough", "7777", "ignaz", "brother", "paymaster", "tamsin", "oakthorpe", "balthasar",
    "hume", "ottoline", "wilhelmina", "crispin",
)  # fmt: skip
REASON = "Wilhelmina Crispin (wilhelmina@zyxwall.com) asked"


def written() -> str:
    rows = AuditEntry.objects.values_list("name", "actor", "request_id", "data")
    return json.dumps([list(row) for row in rows], ensure_ascii=False).lower()


def assert_impersonal() -> None:
    text = written()
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
def test_audit_trail_contains_no_personal_data(
    accept: Accept, drain: Drain, sandbox: SandboxControl, payload: Payload
) -> None:
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*create_or_update", status=422, count=1)
    content = PERSONAL | {"customer__domain": "gmail.com"}
    run, kim = accept(**content), Actor("kim", Scope.OPERATE)
    drain()
    gate = ticket_of(run)
    actions.perform(gate.pk, "note", kim, text=REASON)
    actions.perform(gate.pk, "fix", kim, fields={"customer.domain": "zyxwall.com"})
    services.hold(run.pk, actor="kim", reason=REASON)
    services.resume(run.pk, actor="kim")
    drain()
    actions.perform(ticket_of(run, "support.organization").pk, "retry", kim)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    event = {"occurred_at": clock.now(), "data": {"by": "Crispin"}, "actor": "key:calendar"}
    services.receive_event(run.pk, kind=RunEventType.KICKOFF_SCHEDULED, event_id="hume@zyxwall.com", **event)
    services.replay(run.pk, "crm.note", actor="kim")
    drain()
    other = payload(**PERSONAL | {"customer__domain": "zyxwall.com", "customer__brother": {"Crispin": 1}})
    service.accept(OnboardingPayload.model_validate(other).content(), actor="tests")
    abandoned = accept(**PERSONAL, onboarding_transaction_id="pay_2", customer__domain="other-zyx.com")
    services.skip_step(step_of(abandoned, "crm.account").pk, actor="kim", reason=REASON, with_dependents=True)
    services.cancel(abandoned.pk, actor="kim", reason=REASON)
    set_connection("spare", system="crm", provider="hubspot", secrets={"token": ["wilhelmina"]}, actor="kim")
    names = set(AuditEntry.objects.values_list("name", flat=True))
    assert {
        "exceptions.ticket.noted", "onboarding.payload.fixed", "onboarding.run.held", "onboarding.event.received",
        "onboarding.run.replayed", "onboarding.change.requested", "onboarding.step.skipped", "onboarding.run.cancelled",
        "onboarding.object.created", "onboarding.step.blocked", "integrations.connection.set",
    } <= names  # fmt: skip
    assert_impersonal()
    assert list(audit.broken_links()) == []


def test_an_address_given_as_an_id_is_masked(transactional_db: None, accept: Accept) -> None:
    run: OnboardingTransaction = accept()
    data: dict[str, Any] = {"id": "hume@zyxwall.com", "ids": ["hume@zyxwall.com", 7]}
    audit.record_global("onboarding.object.linked", actor="system", data=data)
    assert_impersonal()
    assert AuditEntry.objects.latest("pk").data["ids"][1] == 7
    assert run.audit.exists()


def test_audit_paths_are_limited_to_declared_fields() -> None:
    paths = [
        "customer.primary_contact.email",
        "handover.stakeholders.Balthasar Hume",
        "customer.brother.Ignaz",
        "Ignaz",
    ]
    assert declared(paths) == ["*", "customer.*", "customer.primary_contact.email", "handover.stakeholders"]
