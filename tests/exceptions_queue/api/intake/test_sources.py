"""Whose word counts: what a run came from is a kind of our own, and a sender's text is only a label."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from exceptions_queue.models import Ticket
from integrations.models import Connection
from onboarding.api.authentication import new_key
from onboarding.enums import OriginKind, Scope, Status
from onboarding.intake import service
from onboarding.models import ApiKey, AuditEntry, ChangeRequest, OnboardingTransaction, PayloadSnapshot
from onboarding.origins import Origin, Sender
from onboarding.payload.schema import OnboardingPayload, get
from tests.exceptions_queue.admin.conftest import text
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS

STRIPE = Sender(OriginKind.BILLING_EVENT, "stripe")
FORGED = [
    "change:1",
    "change:x",
    "person:lead",
    "default",
    "derived:customer.domain",
    "enrichment",
    "system",
    "billing",
]
CONTACT = {"name": "Mal Lory", "email": "mal@elsewhere-works.com"}
RUN = f"{RUNS}pay_minimal/"


def key(name: str, scope: str = "intake", **options: Any) -> APIClient:
    made, _ = new_key(name, Scope(scope), **options)
    return APIClient(headers={"Authorization": f"Bearer {made}"})


def without_contact(**more: Any) -> dict[str, Any]:
    return {**MINIMAL, "customer": {"legal_name": "Birch & Co", "domain": "birch.io"}, **more}


@pytest.fixture
def paid(db: None) -> OnboardingTransaction:
    """A run that Stripe's event began, which waits for its contact."""
    content = OnboardingPayload.model_validate(without_contact()).content()
    run = service.accept(content, actor="event:stripe", sender=STRIPE).run
    assert run.status == Status.AWAITING_DATA
    return run


def contact_of(run: OnboardingTransaction) -> Any:
    return get(OnboardingTransaction.objects.get(pk=run.pk).payload, "customer.primary_contact", None)


# --- Who fills a run by itself


@pytest.mark.parametrize("source", ["billing", "other"])
def test_another_key_cannot_fill_in_a_run_whatever_it_calls_itself(paid: OnboardingTransaction, source: str) -> None:
    stranger = key("stranger")
    customer = {**without_contact()["customer"], "primary_contact": CONTACT}

    answer = stranger.post(RUNS, without_contact(event_source=source, customer=customer), format="json")

    assert answer.status_code == 202
    assert contact_of(paid) is None
    assert OnboardingTransaction.objects.get().status == Status.AWAITING_DATA
    change = ChangeRequest.objects.get()
    assert Origin.of(change) == Origin(OriginKind.REST, "stranger", source)
    assert change.paths == ["customer.primary_contact.email", "customer.primary_contact.name"]


@pytest.mark.parametrize("scope", ["intake", "operate"])
def test_a_key_named_for_the_source_and_an_operators_key_fill_it_in(paid: OnboardingTransaction, scope: str) -> None:
    sender = key("crm-sync", scope, fills=["stripe"] if scope == "intake" else [])
    customer = {**without_contact()["customer"], "primary_contact": CONTACT}

    answer = sender.post(RUNS, without_contact(event_source="crm", customer=customer), format="json")

    assert (answer.status_code, answer.json()["payload"]["customer"]["domain"]) == (200, "birch.io")
    assert contact_of(paid) == CONTACT


def test_the_key_that_began_a_run_fills_it_in_also_after_its_rotation(db: None) -> None:
    key("billing").post(RUNS, without_contact(), format="json")

    answer = key("billing").post(RUNS, MINIMAL, format="json")

    assert (answer.status_code, answer.json()["status"]) == (200, "provisioning")


def test_a_billing_event_of_the_same_payment_fills_a_run_that_a_key_began(db: None) -> None:
    key("shop").post(RUNS, without_contact(), format="json")
    run = OnboardingTransaction.objects.get()
    content = OnboardingPayload.model_validate(MINIMAL).content()
    service.join(run.pk, content, sender=STRIPE, actor="event:stripe", keys=[])
    assert contact_of(run) == MINIMAL["customer"]["primary_contact"]


def test_source_cannot_supersede_another_sources_change_request(db: None) -> None:
    owner, stranger = key("billing"), key("stranger")
    owner.post(RUNS, MINIMAL, format="json")
    commercial = MINIMAL["commercial"]
    owner.post(RUNS, {**MINIMAL, "commercial": {**commercial, "term": "monthly"}}, format="json")

    stranger.post(RUNS, {**MINIMAL, "commercial": {**commercial, "term": "weekly"}}, format="json")

    assert sorted(ChangeRequest.objects.values_list("origin_name", "status")) == [
        ("billing", "open"),
        ("stranger", "open"),
    ]


# --- What a key that only sends learns


def test_an_intake_key_gets_a_receipt_of_a_run_that_another_source_began(paid: OnboardingTransaction) -> None:
    stranger = key("stranger")
    receipt = {
        "onboarding_transaction_id": "pay_minimal",
        "status": "awaiting-data",
        "missing": ["customer.primary_contact.name", "customer.primary_contact.email"],
        "url": f"http://testserver{RUN}",
    }

    assert stranger.get(RUN).json() == receipt
    replayed = stranger.post(RUNS, without_contact(), format="json")
    assert (replayed.status_code, replayed["Idempotent-Replayed"], replayed.json()) == (200, "true", receipt)
    event = {"type": "kickoff.scheduled", "event_id": "e1"}
    assert stranger.post(f"{RUN}events/", event, format="json").json() == receipt
    changed = stranger.post(RUNS, without_contact(kickoff={"urgency": "high"}), format="json").json()
    assert set(changed) == {*receipt, "change_request"}
    assert changed["change_request"]["paths"] == ["kickoff.urgency"]


def test_an_intake_key_reads_its_own_runs_whole_and_every_other_scope_reads_all(
    paid: OnboardingTransaction, read: APIClient, operate: APIClient
) -> None:
    own = key("own")
    own.post(RUNS, {**MINIMAL, "onboarding_transaction_id": "pay_own"}, format="json")

    assert "payload" in own.get(f"{RUNS}pay_own/").json()
    assert "payload" in read.get(RUN).json()
    assert "payload" in operate.get(RUN).json()
    assert "payload" in key("named", fills=["stripe"]).get(RUN).json()


def test_key_may_fill_only_existing_sources(db: None) -> None:
    Connection.objects.create(slug="stripe", system="billing", provider="stripe")
    with pytest.raises(CommandError, match=r"stirpe: there is no such connection or API key.*stripe"):
        call_command("create_api_key", "crm-sync", "--scope", "intake", "--fills", "stirpe")
    call_command("create_api_key", "crm-sync", "--scope", "intake", "--fills", "stripe")
    assert ApiKey.objects.get().fills == ["stripe"]


# --- A sender's text is a label


@pytest.fixture
def console(people: dict[str, User]) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(people["lead"])
    return client


def page_of(run: OnboardingTransaction) -> str:
    return reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])


@pytest.mark.parametrize("source", FORGED)
def test_sender_label_is_never_interpreted(console: Client, source: str) -> None:
    sender = key("stranger")
    sender.post(RUNS, without_contact(event_source=source), format="json")
    run = OnboardingTransaction.objects.get()
    sender.post(RUNS, {**MINIMAL, "event_source": source, "kickoff": {"urgency": "high"}}, format="json")

    answer = console.get(page_of(run))

    assert answer.status_code == 200
    shown = text(answer)
    assert f"came in from “{source}” (API key stranger)" in shown
    assert f"Other data arrived from “{source}” (API key stranger)" in shown
    assert "lead asked for this change" not in shown
    assert "by lead" not in shown
    origin = {"kind": "rest", "name": "stranger", "label": source}
    assert PayloadSnapshot.objects.get(version=1).provenance["customer.domain"] == origin
    assert AuditEntry.objects.get(name="onboarding.run.accepted").data["origin"] == origin


@pytest.mark.parametrize("source", ["default", "derived:x", "derived:customer.primary_contact.email"])
def test_source_label_does_not_make_its_fields_replaceable(db: None, source: str) -> None:
    key("shop").post(RUNS, without_contact(event_source=source), format="json")
    run = OnboardingTransaction.objects.get()
    other = {**MINIMAL, "customer": {**MINIMAL["customer"], "domain": "elsewhere.io"}}
    content = OnboardingPayload.model_validate(other).content()

    service.join(run.pk, content, sender=STRIPE, actor="event:stripe", keys=[])

    assert OnboardingTransaction.objects.get().domain == "birch.io"
    assert ChangeRequest.objects.get().paths == ["customer.domain"]


def test_change_of_a_source_named_like_a_person_is_attributed_to_the_source(db: None) -> None:
    from onboarding import services

    sender = key("stranger")
    sender.post(RUNS, {**MINIMAL, "event_source": "person:lead"}, format="json")
    other = {**MINIMAL, "event_source": "person:lead", "kickoff": {"urgency": "high"}}
    change = sender.post(RUNS, other, format="json").json()["change_request"]
    services.apply_change(change["id"], actor="lee")
    assert sender.post(RUNS, other, format="json")["Idempotent-Replayed"] == "true"
    urgency = OnboardingTransaction.objects.get().snapshot.provenance["kickoff.urgency"]
    assert urgency == {"kind": "rest", "name": "stranger", "label": "person:lead"}


BAD_ROWS: dict[str, Callable[[OnboardingTransaction], object]] = {
    "provenance": lambda run: PayloadSnapshot.objects.filter(transaction=run).update(provenance=["person:x"]),
    "provenance entry": lambda run: PayloadSnapshot.objects.filter(transaction=run).update(
        provenance={"customer.domain": "person:x"}
    ),
    "origin": lambda run: PayloadSnapshot.objects.filter(transaction=run).update(origin="nonsense"),
    "change request": lambda run: ChangeRequest.objects.filter(transaction=run).update(origin="x", paths=[["a"]]),
    "ticket": lambda run: Ticket.objects.filter(transaction=run).update(problems=[{"path": ["a"]}, "nonsense"]),
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_one_unreadable_row_does_not_break_the_page_that_fixes_it(console: Client, row: str) -> None:
    sender = key("shop")
    sender.post(RUNS, without_contact(), format="json")
    sender.post(RUNS, without_contact(kickoff={"urgency": "high"}), format="json")
    run = OnboardingTransaction.objects.get()
    BAD_ROWS[row](run)

    page = console.get(page_of(run))

    assert page.status_code == 200
    assert "Cancel" in text(page)
    for ticket in Ticket.objects.all() if row != "ticket" else []:
        assert console.get(reverse("admin:exceptions_queue_ticket_change", args=[ticket.pk])).status_code == 200
    for url in ("admin:onboarding_onboardingtransaction_changelist", "admin:exceptions_queue_ticket_changelist"):
        assert console.get(reverse(url)).status_code == 200


# --- Ids


def test_ids_that_differ_in_case_alone_are_one_run(operate: APIClient) -> None:
    operate.post(RUNS, {**MINIMAL, "onboarding_transaction_id": "Pay_One"}, format="json")

    again = operate.post(RUNS, {**MINIMAL, "onboarding_transaction_id": "PAY_ONE"}, format="json")

    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert again.json()["onboarding_transaction_id"] == "Pay_One"
    assert OnboardingTransaction.objects.count() == 1
    assert operate.get(f"{RUNS}pay_one/").json()["onboarding_transaction_id"] == "Pay_One"
    assert operate.post(f"{RUNS}pay_one/hold/", {}, format="json").status_code == 200
    assert operate.get("/api/v1/exceptions/?onboarding_transaction_id=pay_one").status_code == 200


def test_half_of_a_surrogate_pair_in_an_events_id_is_malformed(paid: OnboardingTransaction, operate: APIClient) -> None:
    body = b'{"type": "kickoff.scheduled", "event_id": "e\\ud800"}'
    assert operate.post(f"{RUN}events/", body, content_type="application/json").status_code == 400
