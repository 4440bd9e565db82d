"""Settled orders by Standard Webhooks, from the delivery to the run."""

from itertools import permutations
from typing import Any

import pytest
from django.http import HttpResponse

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.inbound.standard_webhooks import sign
from integrations.models import Connection, InboundEvent
from integrations.sandbox.customers import Payer
from integrations.vendors.standard_webhooks.sample_events import encode, envelope, new_id, pay
from onboarding.enums import RunEventType, Status
from onboarding.intake import events, service
from onboarding.models import ChangeRequest, OnboardingTransaction, RunEvent
from onboarding.payload.schema import OnboardingPayload, get
from onboarding.playbooks.requirements import problems_of
from tests.conftest import Payload
from tests.support.threads import together
from tests.support.webhooks import latest, now, post, settle

SECRET, FORMER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PAID, SETTLED, REFUNDED = "payment.succeeded", "order.settled", "payment.refunded"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop(db: None) -> Connection:
    return connect("shop")


def connect(slug: str) -> Connection:
    secrets = {"webhook_secret": [FORMER, SECRET]}
    return set_connection(slug, system="billing", provider="standard-webhooks", secrets=secrets, actor="tests")


def send(type_: str, data: Any, *, slug: str = "shop", message: str = "", secret: str = SECRET) -> HttpResponse:
    body = encode(envelope(type_, data, at=now()))
    return post(slug, body, sign(body, id=message or new_id("msg"), at=now(), secrets=[secret]))


def deliver(type_: str, data: Any, **given: Any) -> InboundEvent:
    assert send(type_, data, **given).status_code == 200
    settle()
    return latest()


def bought(**commercial: Any) -> dict[str, Any]:
    told = {"plan_sku": "pro", "term": "annual", "amount": 12000, "currency": "EUR"}
    customer = {"legal_name": "Acme Logistics", "domain": "acme-logistics.com"}
    customer |= {"primary_contact": {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"}}
    return {
        "customer": customer,
        "commercial": {**told, **commercial},
        "ownership": {"crm_owner_id": "u_1"},
        "kickoff": {"urgency": "normal"},
    }


def only_run() -> OnboardingTransaction:
    return OnboardingTransaction.objects.get()


def test_the_whole_canonical_payload_becomes_a_run(payload: Payload) -> None:
    data = payload(onboarding_transaction_id="pay_77", loyalty={"level": "gold"})
    event = deliver(SETTLED, data, message="msg_1")
    assert (event.external_id, event.type, event.state) == ("msg_1", SETTLED, EventState.PROCESSED)
    run = only_run()
    assert (run.onboarding_transaction_id, run.origin_name) == ("pay_77", "shop")
    kept = run.payload
    for path in ("customer.legal_name", "commercial.amount", "ownership.crm_owner_id", "kickoff.start_date"):
        assert get(kept, path) == get(data, path)
    assert (kept["loyalty"], kept["event_source"]) == ({"level": "gold"}, "billing")
    assert run.status == Status.PROVISIONING


def test_a_part_of_it_is_enough_to_begin_and_the_rest_is_missing() -> None:
    deliver(PAID, {"customer": {"legal_name": "Acme Logistics"}, "commercial": {"order_id": "1001"}})
    run = only_run()
    assert (run.onboarding_transaction_id, run.status) == ("shop:1001", Status.QUEUED)
    assert "customer.domain" in {problem.path for problem in problems_of(run)}
    assert "amount" not in run.payload.get("commercial", {})


def test_both_events_of_an_order_in_any_order_and_twice_are_one_run() -> None:
    for number, order in enumerate(permutations([(SETTLED, {}), (PAID, {"payment_id": "p-1", "invoice_id": "i-1"})])):
        slug = f"shop{number}"
        connect(slug)
        for type_, ids in (*order, *order):
            deliver(type_, bought(order_id="1001", **ids), slug=slug)
    runs = OnboardingTransaction.objects.filter(correlation_keys__value__startswith="shop").distinct()
    assert runs.count() == 2
    assert not ChangeRequest.objects.exists()
    assert not InboundEvent.objects.exclude(state=EventState.PROCESSED).exists()


@pytest.mark.parametrize(
    "ids", [{"invoice_id": "i-1"}, {"payment_id": "p-1"}, {"order_id": "PO 17/3"}, {"deal_id": "d1"}]
)
def test_each_id_joins(ids: dict[str, str]) -> None:
    deliver(SETTLED, bought(**ids))
    assert deliver(PAID, bought(**ids)).outcome.startswith("joined")
    assert only_run()
    commercial = only_run().payload["commercial"]
    assert {"invoice_id", "payment_id"} & set(commercial) == set()


def test_orders_without_a_common_id_are_runs_of_their_own() -> None:
    for number in range(3):
        deliver(SETTLED, bought(order_id=f"{number}", customer_id="c-1"))
    deliver(SETTLED, bought())
    deliver(SETTLED, bought())
    assert OnboardingTransaction.objects.count() == 5


def test_numbers_are_those_of_their_connection() -> None:
    connect("other")
    for slug in ("shop", "other"):
        deliver(SETTLED, bought(order_id="1001", payment_id="1", invoice_id="1"), slug=slug)
    assert OnboardingTransaction.objects.count() == 2


def test_it_joins_the_run_of_our_id_that_another_system_opened(payload: Payload) -> None:
    opened = OnboardingPayload.model_validate(payload(onboarding_transaction_id="pay_5"))
    service.accept(opened.content(), actor="tests")
    event = deliver(SETTLED, {"onboarding_transaction_id": "PAY_5", "commercial": {"order_id": "1001"}})
    assert event.outcome == "joined pay_5: filled"
    assert only_run()


def test_a_redelivery_changes_nothing() -> None:
    for answer in ("accepted", "duplicate"):
        assert send(SETTLED, bought(order_id="1"), message="msg_1").json() == {"status": answer}
    settle()
    assert only_run()
    assert InboundEvent.objects.count() == 1


def test_a_later_payment_of_a_subscription_starts_nothing() -> None:
    deliver(PAID, bought(subscription_id="s-1", payment_id="p-1"))
    later = deliver(PAID, bought(subscription_id="s-1", payment_id="p-2"))
    assert (later.state, later.outcome.split(":")[0]) == (EventState.IGNORED, "A renewal")
    told = deliver(PAID, bought(payment_id="p-3", is_renewal=True))
    assert (told.state, told.outcome) == (EventState.IGNORED, "A renewal, as its sender says.")
    assert only_run()


@pytest.mark.parametrize(
    "named",
    [{"payment_id": "p-1"}, {"invoice_id": "i-1"}, {"order_id": "1001"}, {"deal_id": "d1"}, {"subscription_id": "s-1"}],
)
@pytest.mark.parametrize("comes_first", [False, True])
def test_a_refund_holds_its_run_whichever_comes_first(named: dict[str, str], comes_first: bool) -> None:
    whole = {"payment_id": "p-1", "invoice_id": "i-1", "order_id": "1001", "deal_id": "d1", "subscription_id": "s-1"}
    steps = [(PAID, bought(**whole)), (REFUNDED, {"commercial": named})]
    for type_, data in reversed(steps) if comes_first else steps:
        deliver(type_, data)
    assert only_run().held_at
    assert RunEvent.objects.get().type == RunEventType.PAYMENT_REFUNDED
    assert Ticket.objects.filter(status__in=UNRESOLVED, transaction=only_run()).exists()


def test_a_part_that_goes_back_and_a_renewals_refund_hold_nothing() -> None:
    deliver(PAID, bought(payment_id="p-1"))
    for data in (
        {"commercial": {"payment_id": "p-1"}, "refund": {"partial": True}},
        {"commercial": {"subscription_id": "s-1", "is_renewal": True}},
    ):
        assert deliver(REFUNDED, data).state == EventState.IGNORED
    assert not only_run().held_at


def test_another_type_is_kept_and_ignored() -> None:
    assert deliver("invoice.created", {"whatever": 1}).state == EventState.IGNORED


@pytest.mark.parametrize(
    "data",
    [
        "text",
        {"commercial": "text"},
        {"customer": "text"},
        {"commercial": {"amount": "12000", "currency": "EUR"}},
        {"commercial": {"amount": -1, "currency": "EUR"}},
        {"commercial": {"amount": 12000}},
        {"commercial": {"amount": 12000, "currency": "euros"}},
        {"users": {"name": "not a list"}},
        {"security": {"review_required": "perhaps"}},
    ],
    ids=str,
)
def test_what_does_not_fit_the_payload_is_shown_to_a_person(data: Any) -> None:
    event = deliver(PAID, data)
    assert event.state == EventState.FAILED
    assert Ticket.objects.filter(status__in=UNRESOLVED, connection__slug="shop").exists()
    assert not OnboardingTransaction.objects.exists()


def test_a_refund_that_names_nothing_is_shown_to_a_person() -> None:
    assert deliver(REFUNDED, {"refund": {"id": "r-1"}}).state == EventState.FAILED


def test_nulls_are_absent_and_numbers_are_ids() -> None:
    deliver(PAID, {**bought(order_id=1001, payment_id=None, deal_id=None), "occurred_at": None, "users": None})
    assert only_run().onboarding_transaction_id == "shop:1001"


@pytest.mark.parametrize("secret", ["whsec_plain text!", "whsec_whsec_AAAA", "no base64: colons"])
def test_a_secret_of_another_form_is_not_taken(secret: str) -> None:
    with pytest.raises(ValueError, match=r"must be whsec_ followed by base64|no secret has") as raised:
        set_connection(
            "shop", system="billing", provider="standard-webhooks", secrets={"webhook_secret": [secret]}, actor="tests"
        )
    assert secret not in str(raised.value)


@pytest.mark.parametrize("secret", [SECRET, FORMER])
def test_both_secrets_of_a_rotation_verify(secret: str) -> None:
    assert send(PAID, bought(), secret=secret).status_code == 200


def test_what_is_not_signed_or_has_no_type_is_refused_and_not_stored() -> None:
    body = encode(envelope(PAID, bought(), at=now()))
    assert post("shop", body, {}).status_code == 400
    assert send(PAID, bought(), secret="whsec_AAAA").status_code == 400
    for wrong in (b"[]", b'{"data": {}}', b'{"type": "", "data": {}}', b"\xff", b'{"type": 1}'):
        assert post("shop", wrong, sign(wrong, id="msg_1", at=now(), secrets=[SECRET])).status_code == 400
    old = sign(body, id="msg_1", at=now() - 301, secrets=[SECRET])
    assert post("shop", body, old).status_code == 400
    assert not InboundEvent.objects.exists()


def test_a_sandbox_customers_payment_is_one_run() -> None:
    payer = Payer("Acme Logistics", "Jordan Lee", "jordan@acme-logistics.com", {"crm_owner_id": "u_1"})
    payment = pay(payer, SECRET, now())
    for body, headers in payment.deliveries:
        assert post("shop", body, headers).status_code == 200
    settle()
    keys = only_run().correlation_keys.values_list("value", flat=True)
    assert f"shop:{payment.reference}" in keys


@pytest.mark.django_db(transaction=True)
def test_racing_events_of_one_order_make_one_run() -> None:
    for number in range(4):
        send(PAID if number % 2 else SETTLED, bought(order_id="1001"))
    pks = list(InboundEvent.objects.values_list("pk", flat=True))
    together([lambda pk=pk: events.process_event(pk) for pk in pks])
    settle()
    assert only_run()
    assert not InboundEvent.objects.exclude(state=EventState.PROCESSED).exists()
