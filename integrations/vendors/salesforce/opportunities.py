"""An opportunity as Salesforce has it now, with its account: what a message about it is believed to mean.

Sources: developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_opportunity.htm
(``IsWon`` follows from the stage, whatever that is called) and .../sforce_api_objects_account.htm; ``SystemModstamp``, which is
indexed, and the literals of times: .../soql_sosl/sforce_api_calls_soql_select_dateformats.htm. ``LastStageChangeDate`` (since API
version 52.0) is empty where the stage is the one that the opportunity was made with, at ``CreatedDate``. Salesforce writes both;
``CloseDate`` is not believed: people set it, also to a day long past.
"""

import time
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from pydantic import ConfigDict, Field

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import moment
from integrations.errors import Kind, ProviderError
from integrations.inbound.events import DEAL, ORDER, OUR_ID, QUOTE, DealWon, Event, Ignored, Key
from integrations.inbound.looking import TYPE, Changed, DealLookup, WonDeal
from integrations.models import Connection, InboundEvent
from integrations.vendors.salesforce.connector import Salesforce
from integrations.vendors.salesforce.schemas import DEAL_FIELDS, Page, is_id
from integrations.vendors.salesforce.soql import instant

_SHORT = 15
_WON_AT = ("LastStageChangeDate", "CreatedDate")
_MOST_DEALS = 1_000
MANY = "MANY"


class Stamp(VendorAnswer):
    Id: str = Field(min_length=1)
    SystemModstamp: str
    LastStageChangeDate: str | None = None
    CreatedDate: str | None = None


class Stamps(Page):
    records: list[Stamp]


class SalesforceDeals(DealLookup):
    def changed_since(self, connection: Connection, since: datetime, *, deadline: float) -> Changed:
        crm = Salesforce.on(connection, subject="deals", deadline=deadline)
        query = (
            f"SELECT Id, SystemModstamp, {', '.join(_WON_AT)} FROM Opportunity "  # noqa: S608
            f"WHERE IsWon = true AND SystemModstamp >= {instant(since)} ORDER BY SystemModstamp ASC LIMIT {_MOST_DEALS}"
        )
        found: list[WonDeal] = []
        for page in crm.pages(query, Stamps):
            found += [_changed(each) for each in page.records]
        return Changed(found, is_all=len(found) < _MOST_DEALS)

    def read(self, stored: InboundEvent, deal_id: str) -> Event:
        return won_opportunity(stored, deal_id)


def _changed(row: Stamp) -> WonDeal:
    at = moment(row.SystemModstamp)
    if at is None or not is_id(row.Id):
        raise ProviderError(Kind.MALFORMED, "Salesforce's answer does not say when an opportunity was changed")
    won_at = moment(row.LastStageChangeDate or row.CreatedDate)
    return WonDeal(row.Id, at, won_at, (row.Id[:_SHORT],))


class Row(VendorAnswer):
    """The fields that were asked for, some of which only the org knows."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    Id: str = Field(min_length=1)

    def text(self, name: str) -> str:
        value: Any = getattr(self, name, None)
        return "" if value is None else str(value).strip()


class Opportunity(Row):
    IsWon: bool


def won_opportunity(stored: InboundEvent, opportunity_id: str) -> Event:
    """Asks Salesforce, outside of any transaction. Raises ``ProviderError``, ``DeadlinePassed``."""
    deadline = time.monotonic() + settings.CALL_SECONDS
    crm = Salesforce.on(stored.connection, subject=f"event:{stored.pk}", deadline=deadline)
    options = stored.connection.options
    own = {QUOTE: str(options.get("quote_field") or ""), ORDER: str(options.get("order_field") or "")}
    ours = DEAL_FIELDS["transaction_id"] if crm.flag("deal_fields") else ""
    currency = crm.option("currency").strip().upper()
    wanted = ["Id", "StageName", "IsWon", "Amount", "AccountId", "OwnerId", ours, *own.values()]
    wanted.append("CurrencyIsoCode" if currency == MANY else "")
    wanted += _WON_AT if stored.type == TYPE else ()  # a message has the time of the event itself
    fields = {"fields": ",".join(filter(None, wanted))}
    deal = crm.read(crm.path("deal", opportunity_id), Opportunity, params=fields)
    if deal is None:
        return Ignored(reason=f"Salesforce has no opportunity {opportunity_id} any more.")
    if not deal.IsWon:
        return Ignored(reason=f"The opportunity {deal.Id} is not won: its stage is {deal.text('StageName')}.")
    account = _account(crm, deal.text("AccountId"))
    named = [(OUR_ID, deal.text(ours) if ours else "")]
    # Both spellings of an id name the same record: people copy either.
    named += [(DEAL, deal.Id), (DEAL, deal.Id[:_SHORT])]
    named += [(kind, deal.text(name)) for kind, name in own.items() if name]
    return DealWon(
        object_id=deal.Id,
        keys=tuple(dict.fromkeys(Key(kind, value) for kind, value in named if value)),
        occurred_at=moment(next(filter(None, map(deal.text, _WON_AT)), "")) or stored.occurred_at,
        company=account.text("Name") if account else "",
        domain=_domain(account.text("Website")) if account else "",
        owner_id=deal.text("OwnerId"),
        amount=_amount(deal.text("Amount")),
        currency=deal.text("CurrencyIsoCode").upper() if currency == MANY else currency,
    )


def _account(crm: Salesforce, account_id: str) -> Row | None:
    if not is_id(account_id):
        return None
    return crm.read(crm.path("company", account_id), Row, params={"fields": "Id,Name,Website"})


def _domain(website: str) -> str:
    try:
        host = urlsplit(website if "//" in website else f"//{website}").hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
