"""Chargebee's payments, from the delivery to the run."""

import base64
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.http import HttpResponse

from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from integrations.sandbox.customers import Payer
from integrations.vendors.chargebee.sample_events import Purchase, encode, login, pay
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import get
from tests.support.webhooks import latest, now, post, settle

SECRET, FORMER = "firstvalue:a-long-password", "firstvalue:the-former-one"
OURS = {"crm_owner_id": "u_1", "domain": "acme-logistics.com", "plan_sku": "pro"}
pytestmark = [pytest.mark.django_db, pytest.mark.one_database("sqlite")]


@pytest.fixture(autouse=True)
def chargebee(db: None) -> Connection:
    return connect("chargebee")


def connect(slug: str) -> Connection:
    secrets = {"webhook_secret": [FORMER, SECRET]}
    return set_connection(slug, system="billing", provider="chargebee", secrets=secrets, actor="tests")


def bought(**changes: Any) -> Purchase:
    return Purchase(created=now(), **{"custom": OURS, **changes})


def send(event: dict[str, Any], *, secret: str = SECRET, slug: str = "chargebee") -> HttpResponse:
    return post(slug, encode(event), login(secret))


def deliver(event: dict[str, Any], **given: Any) -> InboundEvent:
    assert send(event, **given).status_code == 200
    settle()
    return latest()


def only_run() -> OnboardingTransaction:
    return OnboardingTransaction.objects.get()


def test_a_payment_becomes_a_run() -> None:
    made = bought(po_number="PO 17")
    assert deliver(made.payment()).state == EventState.PROCESSED
    paid = only_run().payload
    expected = {
        "customer.legal_name": "Acme Logistics",
        "customer.tax_id": "DE136695976",
        "customer.country": "DE",
        "customer.domain": "acme-logistics.com",
        "customer.primary_contact.name": "Jordan Lee",
        "customer.primary_contact.email": "jordan@acme-logistics.com",
        "commercial.amount": 12000,
        "commercial.currency": "EUR",
        "commercial.term": "annual",
        "commercial.plan_sku": "pro",
        "commercial.order_id": "PO 17",
        "ownership.crm_owner_id": "u_1",
    }
    assert {path: get(paid, path) for path in expected} == expected
    assert get(paid, "commercial.lines") == [{"price_id": "pro-EUR-Yearly"}]
    assert only_run().onboarding_transaction_id == made.transaction_id


@pytest.mark.parametrize("order", list(permutations(("payment", "generated", "updated", "subscription"))), ids="-".join)
def test_all_its_events_in_any_order_and_twice_are_one_run(order: tuple[str, ...]) -> None:
    made = bought()
    told = {name: getattr(made, name)() for name in order}
    for name in (*order, *order):
        deliver(told[name])
    assert get(only_run().payload, "commercial.term") == "annual"
    assert not ChangeRequest.objects.exists()
    assert not InboundEvent.objects.filter(state=EventState.FAILED).exists()


def test_an_invoice_starts_once_it_is_paid_in_full() -> None:
    made = bought()
    unpaid = {"status": "payment_due", "amount_paid": 0, "amount_due": 1_200_000, "linked_payments": []}
    part = {"status": "not_paid", "amount_paid": 200_000, "amount_due": 1_000_000}
    for event in (made.generated(**unpaid), made.payment(**part)):
        assert deliver(event).state == EventState.IGNORED
    assert not OnboardingTransaction.objects.exists()
    deliver(made.updated())
    assert only_run()
    assert get(only_run().payload, "customer.legal_name") == "Acme Logistics", "of the billing address"


def test_later_invoices_of_a_subscription_start_nothing() -> None:
    made = bought()
    deliver(made.payment())
    clock.shift(timedelta(days=365))
    later = bought(first=False, subscription_id=made.subscription_id, customer_id=made.customer_id)
    for event in (later.generated(), later.payment()):
        told = deliver(event)
        assert (told.state, "renewal" in told.outcome.lower()) == (EventState.IGNORED, True)
    assert deliver(bought(first=False).payment()).state == EventState.IGNORED, "older than our first event"
    assert only_run()


def test_the_first_settlement_after_a_trial_starts_a_run() -> None:
    made = bought()
    end = now() + 14 * 86_400
    deliver(made.subscription(status="in_trial", trial_end=end))
    assert not OnboardingTransaction.objects.exists()
    clock.shift(timedelta(days=14))
    first = bought(first=False, subscription_id=made.subscription_id, customer_id=made.customer_id)
    deliver(first.payment())
    assert only_run()


@pytest.mark.parametrize(
    ("invoice", "said"),
    [
        ({"amount_paid": 0, "credits_applied": 1_200_000, "linked_payments": []}, "credit balance"),
        ({"amount_paid": 0, "amount_adjusted": 1_200_000, "linked_payments": []}, "credit note"),
        ({"amount_paid": 0, "total": 0, "discounts": [{"amount": 1_200_000}], "linked_payments": []}, "full discount"),
    ],
)
def test_it_may_be_settled_without_money(invoice: dict[str, Any], said: str) -> None:
    assert said in deliver(bought().updated(**invoice)).outcome
    assert only_run()


def test_nothing_to_pay_starts_nothing() -> None:
    assert deliver(bought().generated(total=0, amount_paid=0, linked_payments=[])).state == EventState.IGNORED
    assert not OnboardingTransaction.objects.exists()


def test_invoice_numbers_are_those_of_their_site() -> None:
    connect("other-site")
    for slug in ("chargebee", "other-site"):
        deliver(bought(invoice_id="17", recurring=False).updated(linked_payments=[]), slug=slug)
    assert {run.onboarding_transaction_id for run in OnboardingTransaction.objects.all()} == {
        "chargebee:17",
        "other-site:17",
    }


@pytest.mark.parametrize("comes_first", [False, True])
def test_a_refund_of_all_of_it_holds_the_run(comes_first: bool) -> None:
    made = bought()
    told = [made.payment(), made.refund()]
    for event in reversed(told) if comes_first else told:
        deliver(event)
    assert only_run().held_at


def test_parts_that_go_back_hold_it_once_all_of_it_has() -> None:
    made = bought()
    deliver(made.payment())
    first = {"cn_total": 600_000, "cn_status": "refunded"}
    deliver(made.refund(600_000, issued_credit_notes=[first]))
    assert not only_run().held_at
    deliver(made.refund(600_000, issued_credit_notes=[first, first]))
    assert only_run().held_at


def test_a_renewals_refund_holds_nothing() -> None:
    made = bought()
    deliver(made.payment())
    later = bought(first=False, subscription_id=made.subscription_id, customer_id=made.customer_id)
    deliver(later.payment())
    assert deliver(later.refund()).state == EventState.IGNORED
    assert not only_run().held_at


def test_a_password_without_its_user_is_not_taken() -> None:
    with pytest.raises(ValueError, match="must be a user and a password"):
        set_connection(
            "chargebee", system="billing", provider="chargebee", secrets={"webhook_secret": ["alone"]}, actor="tests"
        )


@pytest.mark.parametrize("secret", [SECRET, FORMER])
def test_both_passwords_of_a_rotation_are_taken(secret: str) -> None:
    assert send(bought().payment(), secret=secret).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Bearer abc",
        f"Bearer {base64.b64encode(SECRET.encode()).decode()}",
        f"Basic {base64.b64encode(b'firstvalue:another').decode()}",
        f"Basic {base64.b64encode(b':').decode()}",
        "Basic é",
    ],
)
def test_other_credentials_are_refused_and_nothing_is_stored(header: str) -> None:
    assert post("chargebee", encode(bought().payment()), {"Authorization": header}).status_code == 400
    assert not InboundEvent.objects.exists()


@pytest.mark.parametrize(
    "broken", [{"invoice": {"id": "1"}}, {"invoice": "1"}, {"customer": {"id": ""}}, {"transaction": []}], ids=str
)
def test_what_is_not_as_documented_is_shown_to_a_person(broken: dict[str, Any]) -> None:
    event = bought().payment()
    event["content"] |= broken
    told = deliver(event)
    assert told.state == EventState.FAILED
    assert told.outcome.startswith("payment_succeeded is not as Chargebee documents it")


def test_nulls_numbers_and_fields_of_tomorrow_are_no_fault() -> None:
    event = bought().payment(id=1042, po_number=None, new_field={"a": 1}, discounts=None)
    event["content"]["customer"] |= {"vat_number": None, "cf_tags": ["a"], "meta_data": None}
    assert deliver(event).state == EventState.PROCESSED
    assert deliver({**event, "id": "ev_2", "event_type": "invoice_split"}).state == EventState.IGNORED


def test_a_sandbox_customers_payment_is_one_run() -> None:
    payment = pay(Payer("Acme Logistics", "Jordan Lee", "jordan@acme-logistics.com", OURS), SECRET, now())
    for body, headers in payment.deliveries:
        assert post("chargebee", body, headers).status_code == 200
    settle()
    assert only_run().correlation_keys.filter(value=payment.reference).exists()
