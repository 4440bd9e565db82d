"""Salesforce's outbound messages, by real POSTs; the opportunity is read at the sandbox, over real HTTP, and believed there."""

from decimal import Decimal
from xml.etree import ElementTree as Xml

import pytest
from django.http import HttpResponse
from django.test import Client

from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.inbound.events import DealWon, Ignored, Key
from integrations.models import InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.salesforce.sample_messages import flow_call, message, notification_id
from integrations.vendors.salesforce.sandbox.schema import new_id
from integrations.vendors.salesforce.webhook import SECRET_HEADER, SalesforceWebhook
from tests.integrations.vendors.conformance import Bench
from tests.support.stripe_events import settle

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "a-long-random-text"
ORG = new_id("Organization", "1")
WON, OPEN = new_id("Opportunity", "71"), new_id("Opportunity", "72")


@pytest.fixture(autouse=True)
def bench(sandbox: SandboxControl) -> Bench:
    made = Bench("salesforce", sandbox)
    connect(organization_id=ORG, currency="EUR", order_field="Name")
    account = sandbox.seed(
        "salesforce",
        "Account",
        [{"id": new_id("Account", "7"), "Name": "Acme Logistics", "Website": "https://www.acme-logistics.com/en"}],
    )
    about = {"AccountId": account[0], "CloseDate": "2026-11-28", "Amount": 11500.0}
    deals = [
        {"id": WON, "Name": "SO-1001", "StageName": "Closed Won", **about},
        {"id": OPEN, "Name": "SO-1002", "StageName": "Prospecting", **about},
    ]
    sandbox.seed("salesforce", "Opportunity", deals)
    return made


def connect(**options: str) -> None:
    set_connection(
        "salesforce",
        system="crm",
        provider="salesforce",
        secrets={"webhook_secret": [TOKEN]},
        options=options,
        actor="tests",
    )


def post(raw: bytes, *, token: str = TOKEN, content_type: str = "text/xml; charset=UTF-8") -> HttpResponse:
    return Client().post(f"/webhooks/salesforce/?token={token}", data=raw, content_type=content_type)


def read() -> DealWon | Ignored:
    event = SalesforceWebhook().read(InboundEvent.objects.select_related("connection").get())
    assert isinstance(event, DealWon | Ignored)
    return event


def test_the_acknowledgement_is_what_salesforce_wants_to_the_letter() -> None:
    answer = post(message([WON], organization=ORG))
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/xml; charset=utf-8")
    body = Xml.fromstring(answer.content)  # noqa: S314  (our own)
    assert body.tag == "{http://schemas.xmlsoap.org/soap/envelope/}Envelope"
    (ack,) = body.iter("{http://soap.sforce.com/2005/09/outbound}Ack")
    assert ack.text == "true"


def test_each_notification_is_stored_by_itself_and_once() -> None:
    ids = [notification_id(), notification_id()]
    for _ in range(2):
        assert post(message([WON, OPEN], organization=ORG, ids=ids)).status_code == 200
    assert set(InboundEvent.objects.values_list("external_id", flat=True)) == set(ids)
    settle()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {EventState.HELD, EventState.IGNORED}


def test_without_its_token_a_message_is_not_taken() -> None:
    assert post(message([WON], organization=ORG), token="other").status_code == 400
    assert not InboundEvent.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"<x/>",
        b"not XML",
        '<?xml version="1.0" encoding="UTF-16"?><x/>'.encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + message([WON], organization=ORG).partition(b"?>")[2],
        message([], organization=ORG),
        message([WON] * 101, organization=ORG),
    ],
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    assert post(raw, content_type="text/xml").status_code == 400
    assert not InboundEvent.objects.exists()


def test_only_xml_and_json_are_taken() -> None:
    assert post(message([WON], organization=ORG), content_type="text/plain").status_code == 415


def call(raw: bytes, **headers: str) -> HttpResponse:
    return Client().post("/webhooks/salesforce/", data=raw, content_type="application/json", headers=headers)


def test_a_flows_call_is_a_hint_with_a_secret_header() -> None:
    raw = flow_call(WON, organization=ORG)
    for _ in range(2):
        assert call(raw, **{SECRET_HEADER: TOKEN}).status_code == 200
    assert InboundEvent.objects.count() == 1, "a flow that is run again tells of the same change"
    event = read()
    assert isinstance(event, DealWon)
    assert event.keys[0] == Key("deal", WON)
    assert event.amount == Decimal(11500)
    call(flow_call(WON, organization=ORG, changed="2026-11-29T11:00:00.000+0000"), **{SECRET_HEADER: TOKEN})
    assert InboundEvent.objects.count() == 2


def test_a_flows_call_is_believed_nothing() -> None:
    call(flow_call(OPEN, organization=ORG), **{SECRET_HEADER: TOKEN})
    event = read()
    assert isinstance(event, Ignored)
    assert "not won" in event.reason


@pytest.mark.parametrize("headers", [{}, {SECRET_HEADER: "other"}, {SECRET_HEADER: ""}, {"Authorization": TOKEN}])
def test_a_flows_call_without_its_secret_is_not_taken(headers: dict[str, str]) -> None:
    assert call(flow_call(WON, organization=ORG), **headers).status_code == 400
    assert not InboundEvent.objects.exists()


def test_the_token_of_an_address_opens_nothing_to_a_flow() -> None:
    assert post(flow_call(WON, organization=ORG), content_type="application/json").status_code == 400


@pytest.mark.parametrize(
    "raw", [b"[]", b"{}", b"not JSON", b'{"id": "006", "organization": "00D"}', flow_call("", organization=ORG)]
)
def test_what_is_no_flows_call_is_refused(raw: bytes) -> None:
    assert call(raw, **{SECRET_HEADER: TOKEN}).status_code == 400
    assert not InboundEvent.objects.exists()


def test_a_won_opportunity_is_what_salesforce_has() -> None:
    post(message([WON], organization=ORG[:15]))
    event = read()
    assert isinstance(event, DealWon)
    assert event.keys == (Key("deal", WON), Key("deal", WON[:15]), Key("order", "SO-1001"))
    assert (event.company, event.domain) == ("Acme Logistics", "acme-logistics.com")
    assert (event.amount, event.currency) == (Decimal(11500), "EUR")


@pytest.mark.parametrize(("opportunity", "said"), [(OPEN, "not won"), (new_id("Opportunity", "99"), "any more")])
def test_the_message_is_believed_nothing(opportunity: str, said: str) -> None:
    post(message([opportunity], organization=ORG))
    event = read()
    assert isinstance(event, Ignored)
    assert said in event.reason


def test_another_orgs_message_asks_nobody(sandbox: SandboxControl) -> None:
    post(message([WON], organization=new_id("Organization", "2")))
    event = read()
    assert isinstance(event, Ignored)
    assert "does not take" in event.reason
    assert sandbox.requests("salesforce") == []


def test_a_message_about_something_else_is_ignored() -> None:
    post(message([new_id("Account", "7")], organization=ORG, kind="Account"))
    assert isinstance(read(), Ignored)


def test_without_the_organizations_id_a_person_is_asked_for_it() -> None:
    connect(organization_id="")
    post(message([WON], organization=ORG)), settle()
    event = InboundEvent.objects.get()
    assert (event.state, "organization_id" in event.outcome) == (EventState.FAILED, True)
