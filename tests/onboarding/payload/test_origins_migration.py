"""Stored provenance, once one text, is told apart: what a sender called itself never becomes ours."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from django.apps import apps

from onboarding.enums import OriginKind
from onboarding.intake import service
from onboarding.models import AcceptedContent, ChangeRequest, CorrelationKey, OnboardingTransaction, PayloadSnapshot
from onboarding.origins import Origin
from tests.onboarding.conftest import Accept

pytestmark = pytest.mark.django_db


@pytest.fixture
def migration() -> ModuleType:
    folder = Path(service.__file__).parents[1] / "migrations"
    (file,) = folder.glob("*_origins.py")  # its number may change
    return importlib.import_module(f"onboarding.migrations.{file.stem}")


def as_before(run: OnboardingTransaction, *, source: str, actor: str, provenance: dict[str, str]) -> None:
    OnboardingTransaction.objects.filter(pk=run.pk).update(event_source=source, origin="", origin_name="")
    PayloadSnapshot.objects.filter(transaction=run).update(
        source=source, actor=actor, origin="", origin_name="", provenance=provenance
    )
    AcceptedContent.objects.filter(transaction=run).update(source=source, origin="")


def snapshot_of(run: OnboardingTransaction) -> PayloadSnapshot:
    return PayloadSnapshot.objects.get(transaction=run)


def test_migration_maps_our_own_texts_to_origin_kinds(migration: ModuleType, accept: Accept) -> None:
    run = accept()
    stored = {
        "customer.legal_name": "billing",
        "customer.domain": "derived:customer.primary_contact.email",
        "kickoff.urgency": "default",
        "commercial.term": "person:kim",
        "ownership.crm_owner_id": "hubspot:deal 7",
        "ownership.implementation_owner_id": "implementation owners",
    }
    as_before(run, source="billing", actor="event:stripe", provenance=stored)
    PayloadSnapshot.objects.filter(transaction=run).update(source="billing")
    ChangeRequest.objects.create(
        transaction=run, source="person:lee", proposed={}, digest="d", origin="", created_at=run.created_at
    )

    migration.tell_origins_apart(apps, None)

    run = OnboardingTransaction.objects.get()
    assert (run.origin, run.origin_name) == (OriginKind.BILLING_EVENT, "stripe")
    assert {path: Origin.stored(each) for path, each in snapshot_of(run).provenance.items()} == {
        "customer.legal_name": Origin(OriginKind.BILLING_EVENT, "stripe", "billing"),
        "customer.domain": Origin(OriginKind.DERIVED, "customer.primary_contact.email"),
        "kickoff.urgency": Origin(OriginKind.DEFAULT),
        "commercial.term": Origin(OriginKind.PERSON, "kim"),
        "ownership.crm_owner_id": Origin(OriginKind.LOOKUP, "", "hubspot:deal 7"),
        "ownership.implementation_owner_id": Origin(OriginKind.RULE, "implementation owners"),
    }
    assert Origin.of(ChangeRequest.objects.get()) == Origin(OriginKind.PERSON, "lee")
    assert AcceptedContent.objects.get().origin == OriginKind.BILLING_EVENT


@pytest.mark.parametrize("source", ["person:lead", "default", "derived:customer.domain", "change:1"])
def test_a_sender_that_called_itself_so_stays_a_sender(migration: ModuleType, accept: Accept, source: str) -> None:
    run = accept()
    as_before(run, source=source, actor="key:stranger", provenance={"customer.domain": source})

    migration.tell_origins_apart(apps, None)

    forged = Origin(OriginKind.REST, "stranger", source)
    assert Origin.of(snapshot_of(run)) == forged
    assert Origin.stored(snapshot_of(run).provenance["customer.domain"]) == forged


def test_runs_that_differed_in_case_alone_keep_their_ids(migration: ModuleType, accept: Accept) -> None:
    first, second = accept(onboarding_transaction_id="Pay_1"), accept(onboarding_transaction_id="other")
    OnboardingTransaction.objects.filter(pk=second.pk).update(onboarding_transaction_id="pay_1")
    CorrelationKey.objects.create(transaction=first, kind="order", value="stripe:PO-1")
    CorrelationKey.objects.create(transaction=first, kind="stripe.invoice", value="in_A")

    migration.compare_ids(apps, None)

    for run_id, run in (("Pay_1", first), ("pay_1", second), ("PAY_1", first)):
        assert OnboardingTransaction.objects.called(run_id).get() == run
    assert set(CorrelationKey.objects.values_list("value", flat=True)) == {"stripe:po-1", "in_A"}
