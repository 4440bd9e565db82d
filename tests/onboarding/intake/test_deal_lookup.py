"""A won deal whose webhook was lost is found all the same: once, within bounds, and not before the CRM allows it."""

import time
from datetime import timedelta
from typing import Any

import pytest
import requests

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.http.client import VendorHttp
from integrations.inbound.looking import TYPE
from integrations.models import Connection, DealCursor, InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.hubspot.deals import HubSpotDeals
from integrations.vendors.salesforce.sandbox.schema import new_id
from onboarding.enums import RunEventType, Topic
from onboarding.intake import deal_lookup
from onboarding.models import OnboardingTransaction, RunEvent
from tests.conftest import Drain
from tests.integrations.vendors.conformance import Bench
from tests.support import order_events, stripe_events
from tests.support.order_events import DEAL_ID, Order, connect_hubspot, connect_stripe

pytestmark = pytest.mark.django_db(transaction=True)
MINUTES = 15
LONG_AGO = "2025-01-31T12:00:00.000Z"


def settle() -> None:
    while InboundEvent.objects.filter(due_at__lte=clock.now()).exists():
        stripe_events.settle()


def looks(after: timedelta = timedelta(minutes=MINUTES, seconds=1)) -> int:
    clock.shift(after)
    found = deal_lookup.look()
    settle()
    return found


def move(sandbox: SandboxControl, stage: str) -> None:
    edit(sandbox, dealstage=stage)


def edit(sandbox: SandboxControl, **properties: str) -> None:
    """As a person does in HubSpot."""
    requests.patch(
        f"{sandbox.base_url}/hubspot/crm/v3/objects/deals/{DEAL_ID}",
        json={"properties": properties},
        headers={"Authorization": "Bearer sandbox-hubspot-token"},
        timeout=30,
    ).raise_for_status()


def searches(sandbox: SandboxControl) -> int:
    return sum(each["path"].partition("?")[0].endswith("/deals/search") for each in sandbox.requests("hubspot"))


@pytest.fixture
def crm(hubspot: Connection, sandbox: SandboxControl) -> Connection:
    """It takes won deals, and was asked for them before the deal was won."""
    connect_stripe()
    made = connect_hubspot()
    assert deal_lookup.look() == 0
    return made


@pytest.mark.parametrize("first", ["deal", "payment"])
def test_a_deal_whose_webhook_was_lost_joins_its_onboarding(
    crm: Connection, sandbox: SandboxControl, first: str
) -> None:
    order_events.seed_deal(sandbox)
    order = Order()
    if first == "payment":
        order.pay(), settle()
    assert looks() == 1
    if first == "deal":
        assert InboundEvent.objects.get().state == EventState.HELD
        order.pay(), settle()
    run = OnboardingTransaction.objects.get()
    assert list(RunEvent.objects.filter(transaction=run).values_list("type", flat=True)) == [RunEventType.DEAL_WON]
    assert run.payload["commercial"]["deal_id"] == DEAL_ID
    assert [looks(), looks()] == [0, 0]
    assert InboundEvent.objects.filter(type=TYPE).count() == 1


def test_a_deal_that_its_webhook_told_is_not_news(crm: Connection, sandbox: SandboxControl) -> None:
    order_events.seed_deal(sandbox)
    order = Order()
    order.deal(), settle()
    assert looks() == 0, "its event waits for the onboarding"
    order.pay(), settle()
    assert looks() == 0, "the onboarding was told"
    order_events.post_hubspot({**order.won, "occurredAt": order.won["occurredAt"] + 1}), settle()
    assert RunEvent.objects.filter(type=RunEventType.DEAL_WON).count() >= 1


def test_a_deal_that_starts_does_so_once_told_twice(sandbox: SandboxControl, hubspot: Connection) -> None:
    connect_hubspot(deal_won="starts")
    deal_lookup.look()
    order_events.seed_deal(sandbox)
    assert looks() == 1
    Order().deal(), settle()
    assert OnboardingTransaction.objects.count() == 1


@pytest.mark.usefixtures("whole_playbook", "smtp", "connections")
def test_what_the_engine_made_itself_is_not_news(crm: Connection, sandbox: SandboxControl, drain: Drain) -> None:
    order = Order(payment_metadata=dict(stripe_events.COMPLETE))
    order.pay(), settle()
    drain()
    made = sandbox.objects("hubspot", "deals")
    assert made
    assert looks() == 0
    assert searches(sandbox) > 0


def test_what_was_won_before_anybody_asked_is_history(hubspot: Connection, sandbox: SandboxControl) -> None:
    order_events.seed_deal(sandbox)
    connect_hubspot()
    clock.shift(timedelta(hours=1))
    assert deal_lookup.look() == 0
    assert not InboundEvent.objects.exists()


@pytest.mark.parametrize("deal_won", ["joins", "starts"])
def test_what_was_won_before_anybody_asked_and_is_edited_since_is_history(
    hubspot: Connection, sandbox: SandboxControl, deal_won: str
) -> None:
    connect_hubspot(deal_won=deal_won)
    deal_lookup.look()
    order_events.seed_deal(sandbox, hs_v2_date_entered_current_stage=LONG_AGO)
    assert looks() == 0
    edit(sandbox, dealname="Acme Logistics: enterprise")
    assert looks() == 0
    assert DealCursor.objects.get().outcome == "1 won deals were changed."
    assert not InboundEvent.objects.exists()
    assert not OnboardingTransaction.objects.exists()


def test_an_old_deal_that_is_won_now_starts_one_onboarding(hubspot: Connection, sandbox: SandboxControl) -> None:
    connect_hubspot(deal_won="starts")
    deal_lookup.look()
    order_events.seed_deal(sandbox, dealstage="contractsent", hs_v2_date_entered_current_stage=LONG_AGO)
    assert looks() == 0
    edit(sandbox, dealstage="closedwon", closedate=LONG_AGO)
    assert looks() == 1
    edit(sandbox, dealname="Acme Logistics: enterprise")
    assert looks() == 0
    assert OnboardingTransaction.objects.count() == 1


def test_an_onboarding_counts_from_when_its_deal_was_won(hubspot: Connection, sandbox: SandboxControl) -> None:
    connect_hubspot(deal_won="starts")
    won_at = (clock.now() - timedelta(minutes=1)).replace(microsecond=0)
    deal_lookup.look()
    order_events.seed_deal(sandbox, hs_v2_date_entered_current_stage=won_at.isoformat())
    edit(sandbox, dealname="Acme Logistics: enterprise")
    assert looks() == 1
    assert OnboardingTransaction.objects.get().occurred_at == won_at


def test_a_deal_that_is_open_is_not_found_until_it_is_won(crm: Connection, sandbox: SandboxControl) -> None:
    order_events.seed_deal(sandbox, dealstage="contractsent")
    assert looks() == 0
    order_events.seed_deal(sandbox, deal_id="77002")
    assert looks() == 1
    assert not InboundEvent.objects.filter(external_id__endswith=DEAL_ID).exists()


@pytest.mark.parametrize("options", [{"deals_every": "0"}, {}], ids=["switched off", "no won deals are taken"])
def test_a_crm_that_need_not_be_asked_is_not(
    hubspot: Connection, sandbox: SandboxControl, options: dict[str, str]
) -> None:
    if options:
        connect_hubspot(**options)
    looks(), looks()
    assert searches(sandbox) == 0
    assert not DealCursor.objects.exists()


def test_it_is_asked_once_in_a_while_and_by_one_scheduler(crm: Connection, sandbox: SandboxControl) -> None:
    before = searches(sandbox)
    looks(timedelta(minutes=MINUTES - 1))
    assert searches(sandbox) == before
    looks(timedelta(minutes=1, seconds=1))
    deal_lookup.look()
    assert searches(sandbox) == before + 1


def test_a_rate_limit_is_obeyed(crm: Connection, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "rate_limit", method="POST", path="*/deals/search", retry_after=7200, count=1)
    order_events.seed_deal(sandbox)
    assert looks() == 0
    asked = searches(sandbox)
    assert [looks(), looks()] == [0, 0]
    assert searches(sandbox) == asked
    assert looks(timedelta(hours=2)) == 1


def test_a_crm_that_cannot_be_asked_is_one_ticket_that_closes(crm: Connection, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "forbidden", method="POST", path="*/deals/search", count=4)
    order_events.seed_deal(sandbox)
    for _ in range(2):
        looks(timedelta(hours=7))
    assert not Ticket.objects.exists()
    for _ in range(2):
        looks(timedelta(hours=7))
    ticket = Ticket.objects.get()
    assert (ticket.connection, ticket.topic, ticket.resolved_at) == (crm, Topic.EVENT, None)
    assert looks(timedelta(hours=7)) == 1
    assert Ticket.objects.get().resolved_at is not None


def test_more_than_one_look_takes_is_found_by_the_next(
    crm: Connection, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.vendors.hubspot.deals._PAGE", 2)
    monkeypatch.setattr("integrations.vendors.hubspot.deals._MOST_PAGES", 2)
    for number in range(7):
        order_events.seed_deal(sandbox, deal_id=str(78001 + number))
    found = [looks()]
    cursor = DealCursor.objects.get()
    assert cursor.is_behind
    while DealCursor.objects.get().is_behind and len(found) < 9:
        found.append(looks(deal_lookup.GOES_ON))
    assert sum(found) == 7
    assert InboundEvent.objects.count() == 7


@pytest.mark.parametrize("deals", [4, 7])
def test_a_deal_that_is_changed_between_two_pages_hides_no_other(
    crm: Connection, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch, deals: int
) -> None:
    monkeypatch.setattr("integrations.vendors.hubspot.deals._PAGE", 3)
    ids = [DEAL_ID, *(str(78001 + number) for number in range(deals - 1))]
    for deal_id in ids:
        order_events.seed_deal(sandbox, deal_id=deal_id)
    request, pages = VendorHttp.request, 0

    def edits_after_the_first(*args: Any, **options: Any) -> Any:
        nonlocal pages
        answer = request(*args, **options)
        pages += 1
        if pages == 1:
            edit(sandbox, dealname="Acme Logistics: enterprise")
        return answer

    monkeypatch.setattr(VendorHttp, "request", edits_after_the_first)
    since = DealCursor.objects.get().began_at
    found = HubSpotDeals().changed_since(crm, since, deadline=time.monotonic() + 60)
    assert found.is_all
    assert sorted(deal.id for deal in found.deals) == ids
    assert pages > 1


def test_deals_that_were_changed_at_one_moment_are_all_found(
    crm: Connection, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.vendors.hubspot.deals._PAGE", 2)
    for number in range(5):
        order_events.seed_deal(sandbox, deal_id=str(78001 + number))
    at = clock.now() - timedelta(minutes=1)
    monkeypatch.setattr("integrations.vendors.hubspot.deals.moment", lambda _: at)
    found = HubSpotDeals().changed_since(crm, at - timedelta(hours=1), deadline=time.monotonic() + 60)
    assert len({deal.id for deal in found.deals}) == 5


def test_the_scheduler_looks(crm: Connection, sandbox: SandboxControl) -> None:
    order_events.seed_deal(sandbox)
    clock.shift(timedelta(minutes=MINUTES, seconds=1))
    scheduling.one_pass(publish=False)
    assert InboundEvent.objects.get().type == TYPE


class TestSalesforce:
    @pytest.fixture
    def salesforce(self, sandbox: SandboxControl) -> Bench:
        made = Bench("salesforce", sandbox)
        set_connection(
            "salesforce",
            system="crm",
            provider="salesforce",
            secrets={"webhook_secret": ["a-long-random-text"]},
            options={"organization_id": new_id("Organization", "1"), "order_field": "Name"},
            actor="tests",
        )
        assert deal_lookup.look() == 0
        return made

    @pytest.mark.usefixtures("salesforce")
    def test_a_won_opportunity_is_found_once(self, sandbox: SandboxControl) -> None:
        about = {"CloseDate": "2026-11-28", "Amount": 11500.0}
        won, still_open = new_id("Opportunity", "71"), new_id("Opportunity", "72")
        deals = [
            {"id": won, "Name": "SO-1001", "StageName": "Closed Won", **about},
            {"id": still_open, "Name": "SO-1002", "StageName": "Prospecting", **about},
        ]
        sandbox.seed("salesforce", "Opportunity", deals)
        assert looks() == 1
        assert InboundEvent.objects.get().external_id.endswith(won)
        assert InboundEvent.objects.get().state == EventState.HELD
        assert [looks(), looks()] == [0, 0]

    @pytest.mark.usefixtures("salesforce")
    def test_one_that_was_won_before_anybody_asked_is_history(self, sandbox: SandboxControl) -> None:
        set_connection("salesforce", system="crm", provider="salesforce", options={"deal_won": "starts"}, actor="tests")
        old, new = new_id("Opportunity", "71"), new_id("Opportunity", "72")
        won = {"StageName": "Closed Won", "CloseDate": "2025-01-31"}
        won_at = (clock.now() - timedelta(minutes=1)).replace(microsecond=0)
        deals = [
            {"id": old, "Name": "SO-1001", "LastStageChangeDate": LONG_AGO.replace("Z", "+0000"), **won},
            {"id": new, "Name": "SO-1002", "LastStageChangeDate": won_at.isoformat(), **won},
        ]
        sandbox.seed("salesforce", "Opportunity", deals)
        assert looks() == 1
        assert InboundEvent.objects.get().external_id.endswith(new)
        assert OnboardingTransaction.objects.get().occurred_at == won_at

    @pytest.mark.usefixtures("salesforce")
    def test_a_session_that_has_ended_is_renewed(self, sandbox: SandboxControl) -> None:
        sandbox.configure("salesforce", session_epoch=5)
        sandbox.seed(
            "salesforce",
            "Opportunity",
            [{"id": new_id("Opportunity", "71"), "Name": "SO-1", "StageName": "Closed Won", "CloseDate": "2026-11-28"}],
        )
        assert looks() == 1


def test_an_ignored_look_is_taken_up_again_once_the_deal_is_won_again(crm: Connection, sandbox: SandboxControl) -> None:
    order_events.seed_deal(sandbox)
    clock.shift(timedelta(minutes=MINUTES, seconds=1))
    assert deal_lookup.look() == 1
    move(sandbox, "contractsent")  # before the event is processed
    settle()
    event = InboundEvent.objects.get()
    assert event.state == EventState.IGNORED, event.outcome
    clock.shift(timedelta(minutes=1))
    move(sandbox, "closedwon")
    assert looks() == 1
    assert InboundEvent.objects.get().state == EventState.HELD
