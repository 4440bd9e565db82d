"""HubSpot's webhooks, by real signed POSTs; the deal is read at the sandbox, over real HTTP, and believed there."""

from decimal import Decimal
from typing import Any

import pytest
import requests
from django.test import Client

from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.inbound.delivery import NotVerified
from integrations.inbound.events import OUR_ID, DealWon, Ignored, Key
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.hubspot import sample_events
from integrations.vendors.hubspot.sample_events import stage_changed
from integrations.vendors.hubspot.webhook import HubSpotWebhook, verify
from tests.support.order_events import (
    DEAL_ID,
    HUBSPOT_SECRET,
    ORDER_ID,
    connect_hubspot,
    post_hubspot,
    seed_deal,
    told,
)
from tests.support.stripe_events import settle

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "https://firstvalue.example/webhooks/hubspot/"


def milliseconds() -> int:
    return int(clock.now().timestamp() * 1000)


def won(**changes: Any) -> dict[str, Any]:
    return stage_changed(DEAL_ID, at=milliseconds() - 5_000, **changes)


@pytest.fixture
def crm(hubspot: Connection) -> Connection:
    return connect_hubspot()


def read() -> Any:
    return HubSpotWebhook().read(InboundEvent.objects.select_related("connection").get())


class TestSignature:
    def check(self, address: str, *, called: str = ADDRESS, at: int = 0, method: str = "POST") -> None:
        stamp = milliseconds() + at
        headers = sample_events.sign(b"[]", HUBSPOT_SECRET, address=called, at=stamp)
        verify(method, address, b"[]", headers, ["former", HUBSPOT_SECRET], clock.now())

    def test_a_request_of_hubspots(self) -> None:
        self.check(ADDRESS)

    @pytest.mark.parametrize("at", [-301_000, 301_000])
    def test_an_old_one_and_one_of_the_future_are_refused(self, at: int) -> None:
        with pytest.raises(NotVerified, match="300 seconds"):
            self.check(ADDRESS, at=at)

    def test_it_is_for_one_address_and_method(self) -> None:
        with pytest.raises(NotVerified):
            self.check(f"{ADDRESS}?more=1")
        with pytest.raises(NotVerified):
            self.check(ADDRESS, method="PUT")

    def test_twelve_escapes_are_decoded_before_it_is_compared_and_no_other(self) -> None:
        called = ADDRESS + "?a=:/?@!$'()*,;&b=%20%26%3D%25%2B+%C3%A9"
        self.check(ADDRESS + "?a=%3A%2f%3F%40%21%24%27%28%29%2A%2C%3b&b=%20%26%3D%25%2B+%C3%A9", called=called)

    @pytest.mark.usefixtures("crm")
    def test_no_header_no_entry(self) -> None:
        answer = Client().post("/webhooks/hubspot/", data=b"[]", content_type="application/json")
        assert answer.status_code == 400


@pytest.mark.usefixtures("crm")
class TestDelivery:
    def test_each_event_of_a_delivery_is_stored_by_itself_whatever_its_event_id(self) -> None:
        events = [won(eventId=1), stage_changed("88", at=milliseconds(), eventId=1)]
        assert told(post_hubspot(*events)) == "accepted"
        assert InboundEvent.objects.count() == 2
        assert told(post_hubspot(*({**event, "eventId": 2, "attemptNumber": 1} for event in events))) == "duplicate"

    def test_an_event_without_an_identity_refuses_its_delivery(self) -> None:
        assert post_hubspot(won(), won(occurredAt=None)).status_code == 400
        assert not InboundEvent.objects.exists()

    def test_an_old_secret_is_taken_during_its_rotation(self) -> None:
        kind: dict[str, Any] = {"system": "crm", "provider": "hubspot"}
        set_connection("hubspot", **kind, secrets={"webhook_secret": ["newer"]}, actor="tests")
        assert post_hubspot(won()).status_code == 200
        assert post_hubspot(won(), secret="newer").status_code == 200


@pytest.mark.usefixtures("crm")
class TestReading:
    def test_a_won_deal_is_what_hubspot_has(self, sandbox: SandboxControl) -> None:
        seed_deal(sandbox, firstvalue_transaction_id="order-7")
        post_hubspot(won(stage="someone-elses-stage"))
        event = read()
        assert isinstance(event, DealWon)
        assert event.keys == (Key(OUR_ID, "order-7"), Key("deal", DEAL_ID), Key("order", ORDER_ID))
        assert (event.company, event.domain) == ("Acme Logistics", "acme-logistics.com")
        assert (event.contact_name, event.email) == ("Jordan Lee", "jordan@acme-logistics.com")
        assert (event.amount, event.currency, event.owner_id) == (Decimal(11500), "EUR", "u_1")

    def test_the_event_is_a_hint_a_deal_that_is_not_won_starts_nothing(self, sandbox: SandboxControl) -> None:
        seed_deal(sandbox, dealstage="contractsent")
        post_hubspot(won())
        assert "not won" in read().reason

    def test_a_deal_that_is_gone_starts_nothing(self) -> None:
        post_hubspot(won())
        assert "any more" in read().reason

    def test_of_several_contacts_none_is_the_contact(self, sandbox: SandboxControl) -> None:
        seed_deal(sandbox)
        other = sandbox.seed("hubspot", "contacts", [{"email": "second@acme-logistics.com"}])
        contacts = [each["id"] for each in sandbox.objects("hubspot", "contacts")]
        assert set(other) <= set(contacts)
        deal = {"dealname": "Two", "dealstage": "closedwon"}
        sandbox.seed("hubspot", "deals", [{"id": "90", "properties": deal, "associations": {"contacts": contacts}}])
        post_hubspot(stage_changed("90", at=milliseconds()))
        assert (read().email, read().company) == ("", "")

    @pytest.mark.parametrize(
        "changes",
        [
            {"propertyName": "amount"},
            {"subscriptionType": "contact.propertyChange"},
            {"subscriptionType": "object.propertyChange", "objectTypeId": "0-2"},
        ],
    )
    def test_what_says_nothing_of_a_deals_stage_asks_nobody(
        self, changes: dict[str, Any], sandbox: SandboxControl
    ) -> None:
        post_hubspot(won(**changes))
        assert isinstance(read(), Ignored)
        assert sandbox.requests("hubspot") == []

    def test_an_event_of_any_object_that_is_a_deal(self, sandbox: SandboxControl) -> None:
        seed_deal(sandbox)
        post_hubspot(won(subscriptionType="object.propertyChange", objectTypeId="0-3"))
        assert isinstance(read(), DealWon)

    def test_another_portals_event_starts_nothing(self, sandbox: SandboxControl) -> None:
        connect_hubspot(portal_id="1")
        post_hubspot(won())
        assert "does not take" in read().reason
        assert sandbox.requests("hubspot") == []

    def test_a_merged_deal_is_known_by_both_ids(self, sandbox: SandboxControl) -> None:
        seed_deal(sandbox)
        seed_deal(sandbox, deal_id="77002")

        requests.post(
            f"{sandbox.base_url}/hubspot/crm/v3/objects/deals/merge",
            json={"primaryObjectId": "77002", "objectIdToMerge": DEAL_ID},
            headers={"Authorization": "Bearer sandbox-hubspot-token"},
            timeout=30,
        ).raise_for_status()
        post_hubspot(won())
        assert {Key("deal", "77002"), Key("deal", DEAL_ID)} <= set(read().keys)

    def test_a_crm_that_does_not_answer_is_asked_again(self, sandbox: SandboxControl) -> None:
        seed_deal(sandbox)
        sandbox.add_fault("hubspot", "error_before", count=1)
        post_hubspot(won()), settle()
        event = InboundEvent.objects.get()
        assert event.state == EventState.FAILED
        clock.shift(event.due_at - clock.now())
        settle()
        assert InboundEvent.objects.get().state == EventState.HELD
