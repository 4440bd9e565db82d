"""Paddle's payments, from the signed delivery to the run, with what only its API knows of the customer."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.http import HttpResponse

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.connections.services import probe, set_connection
from integrations.enums import EventState
from integrations.errors import Kind
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.sandbox.customers import Payer
from integrations.vendors.paddle.sample_events import Purchase, encode, pay, sign
from onboarding.intake import events
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import get
from tests.support.webhooks import latest, now, post, settle

SECRET, FORMER = "pdl_ntfset_01_secret", "pdl_ntfset_01_former"
OURS = {"crm_owner_id": "u_1", "domain": "acme-logistics.com", "plan_sku": "pro"}
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]


@pytest.fixture(autouse=True)
def paddle(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return set_connection(
        "paddle",
        system="billing",
        provider="paddle",
        base_url=f"{sandbox.base_url}/paddle",
        environment="sandbox",
        secrets={"webhook_secret": [FORMER, SECRET], "token": ["sandbox-paddle-token"]},
        actor="tests",
    )


@pytest.fixture
def bought(sandbox: SandboxControl) -> Purchase:
    return buy(sandbox)


def buy(sandbox: SandboxControl, **changes: Any) -> Purchase:
    made = Purchase(created=now(), **{"custom_data": OURS, **changes})
    for each in made.objects():
        sandbox.seed(each.vendor, each.kind, [each.body])
    return made


def send(event: dict[str, Any], *keys: str, at: int | None = None) -> HttpResponse:
    body = encode(event)
    header = sign(body, *(keys or (SECRET,)), at=now() if at is None else at)
    return post("paddle", body, {"Paddle-Signature": header})


def deliver(event: dict[str, Any]) -> InboundEvent:
    assert send(event).status_code == 200
    settle()
    return latest()


def only_run() -> OnboardingTransaction:
    return OnboardingTransaction.objects.get()


def test_a_completed_transaction_becomes_a_run_with_the_customer_of_the_api(bought: Purchase) -> None:
    event = deliver(bought.completed())
    assert event.outcome == f"created: {bought.transaction_id}"
    paid = only_run().payload
    expected = {
        "customer.legal_name": "Acme Logistics",
        "customer.tax_id": "DE136695976",
        "customer.country": "DE",
        "customer.primary_contact.name": "Jordan Lee",
        "customer.primary_contact.email": "jordan@acme-logistics.com",
        "commercial.amount": 12000,
        "commercial.currency": "EUR",
        "commercial.term": "annual",
        "commercial.plan_sku": "pro",
        "ownership.crm_owner_id": "u_1",
    }
    assert {path: get(paid, path) for path in expected} == expected


@pytest.mark.parametrize("order", list(permutations(("paid", "completed", "subscription"))), ids="-".join)
def test_all_its_events_in_any_order_and_twice_are_one_run(bought: Purchase, order: tuple[str, ...]) -> None:
    made = {"paid": bought.paid(), "completed": bought.completed(), "subscription": bought.subscription()}
    for name in (*order, *order):
        send(made[name])
    settle()
    assert only_run().onboarding_transaction_id == bought.transaction_id
    assert not ChangeRequest.objects.exists()
    assert InboundEvent.objects.count() == 3
    assert not InboundEvent.objects.filter(state=EventState.FAILED).exists()


@pytest.mark.parametrize(
    ("currency", "amount", "kept"), [("JPY", 5000, 5000), ("USD", 1999, 19.99), ("KWD", 1500, 1.5)]
)
def test_amounts_are_in_the_currencys_smallest_unit(
    sandbox: SandboxControl, currency: str, amount: int, kept: float
) -> None:
    deliver(buy(sandbox, currency=currency, amount=amount).completed())
    assert get(only_run().payload, "commercial.amount") == kept


def test_a_renewal_starts_nothing(bought: Purchase) -> None:
    deliver(bought.completed())
    ids = {"subscription_id": bought.subscription_id, "customer_id": bought.customer_id}
    renewal = Purchase(created=now(), origin="subscription_recurring", custom_data=OURS, business=None, **ids)
    for event in (renewal.paid(), renewal.completed()):
        told = deliver(event)
        assert (told.state, told.outcome.split(":")[0].split(",")[0]) == (EventState.IGNORED, "A renewal")
    assert only_run()


def test_a_renewal_of_a_subscription_from_before_starts_nothing(sandbox: SandboxControl) -> None:
    old = buy(sandbox, origin="subscription_recurring")
    assert deliver(old.completed()).state == EventState.IGNORED
    assert not OnboardingTransaction.objects.exists()


def test_the_first_settlement_after_a_trial_starts_a_run(bought: Purchase) -> None:
    deliver(bought.subscription(trial_days=14))
    assert deliver(bought.trial()).state == EventState.IGNORED
    assert not OnboardingTransaction.objects.exists()
    clock.shift(timedelta(days=14))
    ids = {"subscription_id": bought.subscription_id, "customer_id": bought.customer_id}
    first = Purchase(created=now(), origin="subscription_recurring", custom_data=OURS, business=None, **ids)
    assert deliver(first.completed()).state == EventState.PROCESSED
    assert only_run().onboarding_transaction_id == first.transaction_id


@pytest.mark.parametrize(
    ("totals", "said"),
    [
        ({"grand_total": "0", "credit": "1200000"}, "credit balance"),
        ({"discount": "1200000", "total": "0", "grand_total": "0"}, "full discount"),
    ],
)
def test_it_may_be_settled_without_money(bought: Purchase, totals: dict[str, str], said: str) -> None:
    assert said in deliver(bought.completed(**totals)).outcome
    assert only_run()


def test_an_order_on_invoice_is_known_by_its_purchase_order(sandbox: SandboxControl) -> None:
    deliver(buy(sandbox, purchase_order="PO-10009", interval="", business=None).completed())
    kinds = dict(only_run().correlation_keys.values_list("kind", "value"))
    assert kinds["order"] == "paddle:po-10009"
    assert get(only_run().payload, "commercial.order_id") == "PO-10009"
    assert get(only_run().payload, "customer.legal_name") == "", "a customer's full name is no company's"


@pytest.mark.parametrize("comes_first", [False, True])
@pytest.mark.parametrize("action", ["refund", "chargeback"])
def test_a_refund_of_all_of_it_holds_the_run(bought: Purchase, comes_first: bool, action: str) -> None:
    told = [bought.completed(), bought.adjustment(action=action)]
    for event in reversed(told) if comes_first else told:
        deliver(event)
    assert only_run().held_at


@pytest.mark.parametrize(
    "changes",
    [{"status": "pending_approval"}, {"status": "rejected"}, {"action": "credit"}, {"action": "chargeback_warning"}],
    ids=str,
)
def test_what_gives_nothing_back_holds_nothing(bought: Purchase, changes: dict[str, str]) -> None:
    deliver(bought.completed())
    assert deliver(bought.adjustment(**changes)).state == EventState.IGNORED
    assert not only_run().held_at


@pytest.mark.parametrize(("left", "held"), [("600000", False), ("0", True)])
def test_several_refunds_are_one_of_all_once_nothing_is_left(sandbox: SandboxControl, left: str, held: bool) -> None:
    made = Purchase(created=now(), custom_data=OURS)
    adjusted = {"totals": made.totals(), "adjusted_totals": made.totals(total=left, grand_total=left)}
    for each in made.objects(details=adjusted):
        sandbox.seed(each.vendor, each.kind, [each.body])
    deliver(made.completed())
    deliver(made.adjustment(type="partial"))
    assert (only_run().held_at is not None) is held


def test_the_renewals_refund_is_no_matter_of_the_run(bought: Purchase) -> None:
    deliver(bought.completed())
    ids = {"subscription_id": bought.subscription_id, "customer_id": bought.customer_id}
    renewal = Purchase(created=now(), origin="subscription_recurring", business=None, **ids)
    deliver(renewal.completed())
    assert deliver(renewal.adjustment()).state == EventState.IGNORED
    assert not only_run().held_at


# --- The API


def test_while_the_api_fails_the_event_waits_and_is_then_complete(sandbox: SandboxControl, bought: Purchase) -> None:
    sandbox.add_fault("paddle", "rate_limit", retry_after=90)
    event = deliver(bought.completed())
    assert event.state == EventState.FAILED
    assert event.due_at is not None
    assert event.due_at >= clock.now() + timedelta(seconds=89)
    assert not OnboardingTransaction.objects.exists()
    sandbox.clear_faults()
    clock.shift(timedelta(seconds=95))
    settle()
    assert get(only_run().payload, "customer.legal_name") == "Acme Logistics"


def test_a_refused_key_is_a_ticket_and_the_event_is_read_once_that_is_fixed(
    sandbox: SandboxControl, bought: Purchase, paddle: Connection
) -> None:
    sandbox.set_tokens("paddle", ["another"])
    result = probe(paddle)
    assert (result.ok, result.kind) == (False, Kind.AUTH)
    deliver(bought.completed())
    for _ in range(events.MAX_ATTEMPTS):
        clock.shift(timedelta(seconds=events.MAX_BACKOFF_SECONDS))
        settle()
    assert "Paddle refuses the API key" in latest().outcome
    assert Ticket.objects.filter(status__in=UNRESOLVED, connection=paddle).exists()
    sandbox.set_tokens("paddle", ["sandbox-paddle-token"])
    assert probe(paddle).ok
    clock.shift(timedelta(seconds=events.MAX_BACKOFF_SECONDS))
    settle()
    assert only_run()
    assert not Ticket.objects.filter(status__in=UNRESOLVED, connection=paddle).exists()


@pytest.mark.parametrize("known", [False, True])
def test_without_a_key_or_the_customer_people_are_asked(
    sandbox: SandboxControl, paddle: Connection, known: bool
) -> None:
    made = buy(sandbox) if known else Purchase(created=now(), custom_data=OURS)
    if known:
        paddle.secret_rows.filter(name="token").delete()
    assert deliver(made.completed()).state == EventState.PROCESSED
    assert get(only_run().payload, "customer.legal_name") == ""
    assert get(only_run().payload, "customer.domain") == "acme-logistics.com"


# --- Verification


def test_each_of_several_hashes_and_secrets_may_match(bought: Purchase) -> None:
    for keys in ((SECRET,), (FORMER,), ("unknown", SECRET)):
        assert send(bought.completed(), *keys).status_code == 200
    body = encode(bought.completed())
    hashes = sign(body, SECRET, at=now()).split(";")[1]
    for header in (f"{hashes};ts={now()}", f" ts={now()} ; h2=abc;{hashes}", f"ts={now()};h1=é;{hashes}"):
        assert post("paddle", body, {"Paddle-Signature": header}).status_code == 200


@pytest.mark.parametrize("seconds", [-302, 302])
def test_old_and_future_signatures_are_refused(bought: Purchase, seconds: int) -> None:
    assert send(bought.completed(), at=now() + seconds).status_code == 400


@pytest.mark.parametrize(
    "header", ["", "ts=", "h1=abc", "ts=x;h1=abc", "ts=1;h1=", "ts=²;h1=a", f"ts={'9' * 400};h1=a"]
)
def test_what_is_not_signed_is_refused(bought: Purchase, header: str) -> None:
    assert post("paddle", encode(bought.completed()), {"Paddle-Signature": header}).status_code == 400
    assert send(bought.completed(), "another").status_code == 400
    assert not InboundEvent.objects.exists()


@pytest.mark.parametrize(
    "broken",
    [{"details": {}}, {"currency_code": "euros"}, {"id": None}, {"items": {}}, {"billing_period": "2026"}],
    ids=str,
)
def test_what_is_not_as_documented_is_shown_to_a_person(bought: Purchase, broken: dict[str, Any]) -> None:
    event = bought.completed()
    event["data"] |= broken
    told = deliver(event)
    assert told.state == EventState.FAILED
    assert told.outcome.startswith("transaction.completed is not as Paddle documents it")


def test_nulls_and_values_of_tomorrow_are_no_fault(bought: Purchase) -> None:
    event = bought.completed()
    event["data"] |= {
        "origin": "by_carrier_pigeon", "custom_data": ["a", "list"], "address_id": None, "items": None, "business_id": None,
        "billing_details": None, "billing_period": None, "new_field": {"a": 1},
    }  # fmt: skip
    assert deliver(event).state == EventState.PROCESSED
    assert deliver({**event, "event_id": "evt_2", "event_type": "transaction.revised"}).state == EventState.IGNORED


def test_a_sandbox_customers_payment_is_one_run(sandbox: SandboxControl) -> None:
    payment = pay(Payer("Acme Logistics", "Jordan Lee", "jordan@acme-logistics.com", OURS), SECRET, now())
    for each in payment.objects:
        sandbox.seed(each.vendor, each.kind, [each.body])
    for body, headers in payment.deliveries:
        assert post("paddle", body, headers).status_code == 200
    settle()
    assert only_run().onboarding_transaction_id == payment.reference
    assert get(only_run().payload, "customer.legal_name") == "Acme Logistics"
