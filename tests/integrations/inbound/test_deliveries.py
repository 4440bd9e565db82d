"""Deliveries of a vendor that sends several events at once, asks for a challenge, and wants an acknowledgement of its own."""

import hmac
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.connections.services import set_connection
from integrations.connectors import registry
from integrations.connectors.options import SIGNING_SECRET
from integrations.connectors.registry import WEBHOOK_SECRET, ProviderInfo
from integrations.enums import EventState
from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, NotVerified, ReceivedEvent, Response, UnexpectedShape, Webhook
from integrations.inbound.events import (
    Event,
    Ignored,
    Key,
    PaymentRefunded,
    PaymentSucceeded,
    Role,
    SubscriptionReported,
    kind_of,
)
from integrations.models import Connection, InboundEvent
from integrations.signals import inbound_event_received
from onboarding.enums import RunEventType
from onboarding.intake import events
from onboarding.intake.handlers.base import HANDLERS, handles
from onboarding.models import CorrelationKey, OnboardingTransaction, PaymentTrace, RunEvent
from onboarding.payload.schema import get
from tests.support.stripe_events import COMPLETE, settle
from tests.support.threads import together

SECRET = "ledger-secret"
URL = "/webhooks/ledger/"
ACKNOWLEDGED = b"<ack>taken</ack>"
INVOICE = kind_of("ledger", Role.INVOICE)
pytestmark = pytest.mark.django_db


class LedgerWebhook(Webhook):
    """A list of events in one body, the secret in a header, an acknowledgement in XML, and a challenge by GET or in the body."""

    methods = ("GET", "POST")
    content_types = ("application/json", "application/vnd.ledger+json")

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:  # noqa: ARG002
        given = request.headers.get("X-Ledger-Secret", "")
        if not any(hmac.compare_digest(given, secret) for secret in secrets):
            raise NotVerified("The secret is another.")
        if request.method == "GET":
            return Delivery(response=Response(request.GET.get("challenge", ""), content_type="text/plain"))
        items = parse_object(raw)["events"]
        events = [ReceivedEvent(item["id"], item["type"], json.dumps(item)) for item in items]
        return Delivery(events, Response(ACKNOWLEDGED.decode(), 202, "text/xml", {"X-Ledger-Taken": str(len(events))}))

    def read(self, stored: InboundEvent) -> Event:
        item = json.loads(stored.raw)
        try:
            invoice = Key(INVOICE, item["invoice"])
        except KeyError as missing:
            raise UnexpectedShape(f"The event has no {missing}.") from None
        if item["type"] == "refunded":
            return PaymentRefunded(charge=item["id"], keys=(invoice,), whole=True)
        return PaymentSucceeded(
            told_by=Role.INVOICE,
            object_id=item["invoice"],
            keys=(invoice,),
            amount_minor=1200,
            amount=Decimal(12),
            currency="EUR",
            occurred_at=None,
            metadata=item.get("metadata", {}),
        )


@pytest.fixture(autouse=True)
def ledger(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    info = ProviderInfo("ledger", frozenset({"billing"}), secrets=(SIGNING_SECRET,), webhook=LedgerWebhook())
    monkeypatch.setitem(registry._providers, "ledger", info)
    secrets = {WEBHOOK_SECRET: [SECRET]}
    set_connection("ledger", system="billing", provider="ledger", secrets=secrets, actor="tests")


def paid(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"ev_{number}", "type": "paid", "invoice": f"inv_{number}", "metadata": COMPLETE, **changes}


def post(*items: dict[str, Any], secret: str = SECRET, content_type: str = "application/json") -> HttpResponse:
    return Client().post(
        URL, data=json.dumps({"events": items}).encode(), content_type=content_type, headers={"X-Ledger-Secret": secret}
    )


def states() -> dict[str, str]:
    return dict(InboundEvent.objects.values_list("external_id", "state"))


def runs() -> set[str]:
    return set(OnboardingTransaction.objects.values_list("onboarding_transaction_id", flat=True))


def test_each_event_of_a_delivery_is_stored_and_handled_by_itself() -> None:
    bad = {"id": "ev_2", "type": "paid"}
    assert post(paid(1), bad, paid(3)).status_code == 202
    assert [json.loads(event.raw)["id"] for event in InboundEvent.objects.order_by("pk")] == ["ev_1", "ev_2", "ev_3"]
    settle()
    assert states() == {"ev_1": EventState.PROCESSED, "ev_2": EventState.FAILED, "ev_3": EventState.PROCESSED}
    assert runs() == {"inv_1", "inv_3"}
    assert "'invoice'" in InboundEvent.objects.get(external_id="ev_2").outcome
    assert "ev_2" in Ticket.objects.get(status__in=UNRESOLVED, connection__slug="ledger").message


def test_a_redelivery_of_a_part_adds_only_what_is_new() -> None:
    post(paid(1), paid(2))
    settle()
    before = {event.pk: event.processed_at for event in InboundEvent.objects.all()}
    again = post(paid(2), paid(3), paid(3))
    assert (again.status_code, again.content) == (202, ACKNOWLEDGED)
    settle()
    assert states() == dict.fromkeys(("ev_1", "ev_2", "ev_3"), EventState.PROCESSED)
    assert {pk: InboundEvent.objects.get(pk=pk).processed_at for pk in before} == before
    assert runs() == {"inv_1", "inv_2", "inv_3"}
    assert PaymentTrace.objects.count() == 3


def test_a_delivery_that_fails_half_way_is_completed_by_its_repetition() -> None:
    def fail(event: InboundEvent, **_: Any) -> None:
        if event.external_id == "ev_2":
            raise RuntimeError("routing is down")

    inbound_event_received.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            post(paid(1), paid(2), paid(3))
    finally:
        inbound_event_received.disconnect(fail)
    assert set(states()) == {"ev_1"}
    assert post(paid(1), paid(2), paid(3)).status_code == 202
    settle()
    assert runs() == {"inv_1", "inv_2", "inv_3"}


def test_the_vendors_own_acknowledgement_is_answered_whether_or_not_it_is_news() -> None:
    for _ in range(2):
        answer = post(paid(1), content_type="application/vnd.ledger+json")
        assert (answer.status_code, answer["Content-Type"], answer.content) == (202, "text/xml", ACKNOWLEDGED)
        assert answer["X-Ledger-Taken"] == "1"
    assert InboundEvent.objects.count() == 1


def test_a_challenge_is_answered_and_stores_nothing() -> None:
    answer = Client().get(URL, {"challenge": "c-42"}, headers={"X-Ledger-Secret": SECRET})
    assert (answer.status_code, answer["Content-Type"], answer.content) == (200, "text/plain", b"c-42")
    assert not InboundEvent.objects.exists()


def test_neither_a_challenge_nor_a_delivery_is_answered_without_the_secret() -> None:
    assert Client().get(URL, {"challenge": "c-42"}, headers={"X-Ledger-Secret": "other"}).status_code == 400
    assert post(paid(1), secret="other").status_code == 400
    assert not InboundEvent.objects.exists()


def test_only_what_the_vendor_sends_is_taken() -> None:
    refused = Client().put(URL, data=b"[]", content_type="application/json", headers={"X-Ledger-Secret": SECRET})
    assert (refused.status_code, refused["Allow"]) == (405, "GET, POST")
    assert post(paid(1), content_type="text/plain").status_code == 415


def test_an_event_without_an_identity_refuses_its_delivery() -> None:
    assert post(paid(1), paid(2, id="")).status_code == 400
    assert not InboundEvent.objects.exists()


def test_a_refund_in_the_delivery_before_its_payments_is_applied_when_the_run_opens() -> None:
    post({"id": "ev_9", "type": "refunded", "invoice": "inv_1"})
    settle()
    assert states() == {"ev_9": EventState.HELD}
    post(paid(1))
    settle()
    assert states() == dict.fromkeys(("ev_1", "ev_9"), EventState.PROCESSED)
    assert RunEvent.objects.get().type == RunEventType.PAYMENT_REFUNDED
    assert OnboardingTransaction.objects.get().held_at


def test_an_event_is_read_again_once_it_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    post({"id": "ev_1", "type": "paid", "number": "inv_1"})
    settle()
    assert states() == {"ev_1": EventState.FAILED}

    def fixed(_: LedgerWebhook, stored: InboundEvent) -> Event:
        return Ignored(reason=f"{json.loads(stored.raw)['number']} is understood now.")

    monkeypatch.setattr(LedgerWebhook, "read", fixed)
    connection = Connection.objects.get(slug="ledger")
    assert events.retry_failed(connection.pk, actor="kim") == 1
    settle()
    event = InboundEvent.objects.get()
    assert (event.state, event.outcome) == (EventState.IGNORED, "inv_1 is understood now.")


@pytest.mark.django_db(transaction=True)
def test_racing_deliveries_with_the_same_key_make_one_run() -> None:
    told = [paid(number, invoice="inv_1") for number in range(6)]
    together([lambda item=item: post(item).status_code for item in told])
    pks = list(InboundEvent.objects.values_list("pk", flat=True))
    assert len(pks) == len(told)
    together([lambda pk=pk: events.process_event(pk) for pk in pks])
    clock.shift(timedelta(seconds=60))
    settle()
    assert states() == {item["id"]: EventState.PROCESSED for item in told}
    run = OnboardingTransaction.objects.get()
    assert get(run.payload, "customer.legal_name") == "Acme Logistics"
    assert list(CorrelationKey.objects.values_list("kind", "value", "transaction")) == [(INVOICE, "inv_1", run.pk)]
    assert [trace.ids for trace in PaymentTrace.objects.filter(transaction=run)] == [{INVOICE: "inv_1"}]


def _kinds(base: type[Event] = Event) -> Iterator[type[Event]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def test_every_kind_of_event_is_handled_in_one_place() -> None:
    assert set(HANDLERS) == set(_kinds())
    assert SubscriptionReported in HANDLERS
    with pytest.raises(ValueError, match="twice"):
        handles(Ignored)(HANDLERS[Ignored])
