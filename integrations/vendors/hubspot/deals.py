"""A deal as HubSpot has it now, with its company and contact: what an event of it is believed to mean. And which are won.

Sources: reading with associations, developers.hubspot.com/docs/api-reference/crm-deals-v3/guide; merged records answer under both
ids as the one that survived (knowledge.hubspot.com/records/merge-records), so that both are known as the deal's; searching,
developers.hubspot.com/docs/api-reference/search/guide (200 results a page, 10,000 a query; times are compared as Unix
milliseconds; what was just written may be missing for a while).
"""

import time
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.conf import settings

from integrations.connectors.base import moment
from integrations.errors import Kind, ProviderError
from integrations.inbound.events import DEAL, ORDER, OUR_ID, QUOTE, DealWon, Event, Ignored, Key
from integrations.inbound.looking import TYPE, Changed, DealLookup, WonDeal
from integrations.models import Connection, InboundEvent
from integrations.vendors.hubspot.connector import HubSpot
from integrations.vendors.hubspot.schemas import DEAL_PROPERTIES, TYPES, Links, Page, Record

WON = "hs_is_closed_won"
_CHANGED = "hs_lastmodifieddate"
_ENTERED = "hs_v2_date_entered_current_stage"
"""Of a won deal: when it was won. HubSpot writes it. ``closedate`` is not believed: people set it, also to a day long past."""
_PAGE, _MOST_PAGES = 200, 5
_PROPERTIES = ("dealname", "dealstage", WON, _ENTERED, "amount", "deal_currency_code", "hubspot_owner_id")
_OF_COMPANY = "name,domain,country"
_OF_CONTACT = "firstname,lastname,email"


def won_deal(stored: InboundEvent, deal_id: str) -> Event:
    """Asks HubSpot, outside of any transaction. Raises ``ProviderError``, ``DeadlinePassed``."""
    deadline = time.monotonic() + settings.CALL_SECONDS
    crm = HubSpot.on(stored.connection, subject=f"event:{stored.pk}", deadline=deadline)
    own = {QUOTE: _option(crm, "quote_property"), ORDER: _option(crm, "order_property")}
    wanted = [*_PROPERTIES, DEAL_PROPERTIES["transaction_id"], *filter(None, own.values())]
    deal = _record(crm, "deal", deal_id, ",".join(wanted), associations="companies,contacts")
    if deal is None:
        return Ignored(reason=f"HubSpot has no deal {deal_id} any more.")
    if deal.value(WON).lower() != "true":
        return Ignored(reason=f"The deal {deal.id} is not won: its stage is {deal.value('dealstage') or 'none'}.")
    company = _only(crm, deal, "company", _OF_COMPANY)
    contact = _only(crm, deal, "contact", _OF_CONTACT)
    named = [(OUR_ID, deal.value(DEAL_PROPERTIES["transaction_id"])), (DEAL, deal.id), (DEAL, deal_id)]
    named += [(kind, deal.value(name)) for kind, name in own.items() if name]
    name = " ".join(part for part in (contact.value("firstname"), contact.value("lastname")) if part) if contact else ""
    return DealWon(
        object_id=deal.id,
        keys=tuple(dict.fromkeys(Key(kind, value.strip()) for kind, value in named if value.strip())),
        occurred_at=_won_at(deal, stored) or stored.occurred_at or moment(deal.updatedAt),
        company=company.value("name").strip() if company else "",
        domain=company.value("domain").strip() if company else "",
        country=_country(company),
        contact_name=name,
        email=contact.value("email") if contact else "",
        owner_id=deal.value("hubspot_owner_id"),
        amount=_amount(deal.value("amount")),
        currency=deal.value("deal_currency_code").upper(),
    )


class HubSpotDeals(DealLookup):
    def changed_since(self, connection: Connection, since: datetime, *, deadline: float) -> Changed:
        crm = HubSpot.on(connection, subject="deals", deadline=deadline)
        changed = {"propertyName": _CHANGED, "operator": "GTE", "value": _milliseconds(since)}
        query: dict[str, Any] = {
            "filterGroups": [{"filters": [{"propertyName": WON, "operator": "EQ", "value": "true"}, changed]}],
            "properties": [_CHANGED, _ENTERED],
            "limit": _PAGE,
            "after": "0",
            "sorts": [{"propertyName": _CHANGED, "direction": "ASCENDING"}],
        }
        found: dict[str, WonDeal] = {}
        for _ in range(_MOST_PAGES):
            page = crm.http.request("POST", crm.path("deal", "search"), json=query, expect=Page, reads=True).data
            told = [_changed(each) for each in page.results]
            found |= {deal.id: deal for deal in told if deal.id not in found}
            if page.paging is None or page.paging.next is None:
                return Changed(list(found.values()), is_all=True)
            # By time: a deal that is changed meanwhile goes to the end, and all behind it move up a place.
            last = _milliseconds(told[-1].changed_at) if told else changed["value"]
            query["after"] = page.paging.next.after if last == changed["value"] else "0"
            changed["value"] = last
        return Changed(list(found.values()), is_all=False)

    def read(self, stored: InboundEvent, deal_id: str) -> Event:
        return won_deal(stored, deal_id)


def _milliseconds(at: datetime) -> str:
    return str(int(at.timestamp() * 1000))


def _changed(deal: Record) -> WonDeal:
    at = moment(deal.value(_CHANGED) or deal.updatedAt)
    if at is None:
        raise ProviderError(Kind.MALFORMED, f"HubSpot does not say when the deal {deal.id} was changed")
    return WonDeal(deal.id, at, moment(deal.value(_ENTERED)))


def _won_at(deal: Record, stored: InboundEvent) -> datetime | None:
    """Where no webhook told it: what was looked up has the time of the deal's last change."""
    return moment(deal.value(_ENTERED)) if stored.type == TYPE else None


def _option(crm: HubSpot, name: str) -> str:
    """Of the provider's options, those that reading alone needs."""
    return str(crm.connection.options.get(name) or "").strip()


def _only(crm: HubSpot, deal: Record, kind: str, properties: str) -> Record | None:
    """The record that the deal is associated with, where it is one: of several, nobody knows which."""
    linked = {each.id for each in deal.associations.get(TYPES[kind], Links()).results}
    return _record(crm, kind, linked.pop(), properties) if len(linked) == 1 else None


def _record(crm: HubSpot, kind: str, external_id: str, properties: str, *, associations: str = "") -> Record | None:
    params = {"properties": properties} | ({"associations": associations} if associations else {})
    return crm.read(crm.path(kind, external_id), Record, params=params)


def _country(company: Record | None) -> str:
    """HubSpot's is free text: only what is a code says which country it is."""
    text = company.value("country").strip() if company else ""
    return text.upper() if len(text) == 2 and text.isascii() and text.isalpha() else ""  # noqa: PLR2004


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
