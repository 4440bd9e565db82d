"""A vendor refuses a field of what it was asked for: the step's handler tells where in the payload a person fixes it."""

from dataclasses import fields

import pytest

from integrations.connectors.objects import MappedValues
from onboarding.payload import catalogue
from onboarding.steps.base import EnsureHandler
from onboarding.steps.registry import HANDLERS

PATHS = [
    ("crm.account", "name", "customer.legal_name"),
    ("crm.account", "domain", "customer.domain"),
    ("crm.account", "country", "customer.country"),
    ("crm.account", "owner_id", "ownership.crm_owner_id"),
    ("crm.contact", "email", "customer.primary_contact.email"),
    ("crm.contact", "first_name", "customer.primary_contact.name"),
    ("crm.contact", "last_name", "customer.primary_contact.name"),
    ("crm.deal", "name", "customer.legal_name"),
    ("crm.deal", "amount", "commercial.amount"),
    ("crm.deal", "currency", "commercial.currency"),
    ("crm.deal", "owner_id", "ownership.crm_owner_id"),
    ("crm.deal-status", "implementation_owner", "ownership.implementation_owner_id"),
    ("crm.note", "body", "handover"),
    ("delivery.project", "name", "customer.legal_name"),
    ("delivery.project", "start_date", "kickoff.start_date"),
    ("delivery.tasks", "due_on", "kickoff.start_date"),
    ("delivery.tasks", "name", ""),
    ("identity.group", "name", "customer.legal_name"),
    ("identity.users", "email", "users"),
    ("identity.users", "first_name", "users"),
    ("kickoff.task", "name", "customer.legal_name"),
    ("kickoff.task", "due_on", "kickoff.start_date"),
    ("kickoff.task", "assignee", "ownership.implementation_owner_id"),
    ("kickoff.task", "project_id", ""),
    ("support.organization", "name", "customer.legal_name"),
    ("support.organization", "domains", "customer.domain"),
    ("support.users", "email", "users"),
    ("support.users", "", "users"),
    ("welcome.mail", "to", "customer.primary_contact.email"),
    ("welcome.mail", "to_name", "customer.primary_contact.name"),
    ("welcome.mail", "subject", "customer.legal_name"),
]


@pytest.mark.parametrize(("uses", "field", "path"), PATHS)
def test_refused_field_is_mended_at_its_payload_path(uses: str, field: str, path: str) -> None:
    assert HANDLERS[uses].path_of(field) == path


def test_paths_name_fields_that_are_sent_and_paths_that_the_payload_has() -> None:
    for handler in HANDLERS.values():
        if not handler.paths:
            continue
        assert isinstance(handler, EnsureHandler) or handler.name in ("crm.deal-status", "support.entitlement")
        if isinstance(handler, EnsureHandler):
            assert set(handler.paths) <= {field.name for field in fields(handler.makes)}, handler.name
        known = {*catalogue.BY_PATH, *(path.partition(".")[0] for path in catalogue.BY_PATH)}
        assert set(handler.paths.values()) <= known, handler.name


def test_what_an_intent_keeps_asks_for_the_same_again() -> None:
    batch = MappedValues(of_kind="seat", values={"a": 1}, items=[{"key": "k", "reference": "r", "values": {}}])
    assert MappedValues(of_kind="seat", **batch.given()) == batch
    for handler in HANDLERS.values():
        if isinstance(handler, EnsureHandler) and not handler.name.startswith("http:"):
            names = [field.name for field in fields(handler.makes)]
            wanted = handler.makes(**dict.fromkeys(names, "x"))
            assert handler.restored(wanted.given()) == wanted
