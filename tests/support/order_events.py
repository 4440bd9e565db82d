"""One customer order as its signed envelope, its won deal and its paid invoice tell of it: real signed requests to the webhooks."""

import json
from dataclasses import dataclass, field
from typing import Any

import requests
from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from integrations import clock
from integrations.connections.services import set_connection
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.docusign import sample_events as docusign
from integrations.vendors.hubspot import sample_events as hubspot
from integrations.vendors.stripe import sample_events as stripe
from tests.support.stripe_events import COMPLETE

DEAL_ID, ORDER_ID = "77001", "SO-1001"
STRIPE_SECRET, DOCUSIGN_SECRET, HUBSPOT_SECRET = "whsec_tests", "connect-key", "hubspot-client-secret"


def connect_stripe(**options: str) -> Connection:
    return _connect("stripe", "billing", STRIPE_SECRET, options)


def connect_docusign(**options: str) -> Connection:
    return _connect("docusign", "esign", DOCUSIGN_SECRET, options)


def connect_hubspot(**options: str) -> Connection:
    """The CRM's connection, which takes webhooks as well."""
    return _connect("hubspot", "crm", HUBSPOT_SECRET, {"order_property": "order_number", **options})


def _connect(provider: str, system: str, secret: str, options: dict[str, str]) -> Connection:
    return set_connection(
        provider,
        system=system,
        provider=provider,
        environment="sandbox",
        secrets={"webhook_secret": [secret]},
        options=options,
        actor="tests",
    )


def seed_deal(sandbox: SandboxControl, *, deal_id: str = DEAL_ID, **properties: str) -> None:
    """The deal with its company and contact, as the seller has them in the CRM; ``order_number`` is a property of the account's."""
    defined = {
        "name": "order_number",
        "label": "Order",
        "groupName": "dealinformation",
        "type": "string",
        "fieldType": "text",
    }
    requests.post(
        f"{sandbox.base_url}/hubspot/crm/v3/properties/deals",
        json=defined,
        headers={"Authorization": "Bearer sandbox-hubspot-token"},
        timeout=30,
    )
    company = sandbox.seed("hubspot", "companies", [{"name": "Acme Logistics", "domain": "acme-logistics.com"}])
    contact = sandbox.seed(
        "hubspot",
        "contacts",
        [{"firstname": "Jordan", "lastname": "Lee", "email": "jordan@acme-logistics.com"}],
    )
    deal = {
        "dealname": "Acme Logistics: pro",
        "dealstage": "closedwon",
        "hubspot_owner_id": "u_1",
        "amount": "11500",
        "deal_currency_code": "EUR",
        "order_number": ORDER_ID,
        **properties,
    }
    links = {"companies": company, "contacts": contact}
    sandbox.seed("hubspot", "deals", [{"id": deal_id, "properties": deal, "associations": links}])


@dataclass
class Order:
    """Each part names another key: the envelope the order, the deal itself and the order, the payment the deal."""

    at: int = field(default_factory=lambda: int(clock.now().timestamp()))
    envelope_fields: dict[str, str] = field(default_factory=lambda: {"order_id": ORDER_ID})
    payment_metadata: dict[str, str] = field(default_factory=lambda: {**COMPLETE, "deal_id": DEAL_ID})
    deal_id: str = DEAL_ID

    def __post_init__(self) -> None:
        self.envelope = docusign.Envelope(completed=self.at - 7200, custom_fields=self.envelope_fields)
        self.payment = stripe.Payment(created=self.at - 60, metadata=self.payment_metadata)
        self.invoice = self.payment.invoice()
        self.won = hubspot.stage_changed(self.deal_id, at=(self.at - 3600) * 1000)
        self.deliveries = 0

    def deliver(self, part: str) -> HttpResponse:
        """A further delivery of the same: DocuSign generates the message anew, HubSpot counts its attempts."""
        self.deliveries += 1
        return {"sign": self.sign, "deal": self.deal, "pay": self.pay}[part]()

    def sign(self) -> HttpResponse:
        return post_docusign(self.envelope.event(retry=self.deliveries))

    def deal(self) -> HttpResponse:
        return post_hubspot({**self.won, "attemptNumber": self.deliveries})

    def pay(self) -> HttpResponse:
        return post_stripe(self.invoice)


def post_docusign(message: dict[str, Any], *secrets: str) -> HttpResponse:
    raw = docusign.encode(message)
    return _post("docusign", raw, docusign.sign(raw, *(secrets or (DOCUSIGN_SECRET,))))


def post_hubspot(*events: dict[str, Any], secret: str = HUBSPOT_SECRET, at: int | None = None) -> HttpResponse:
    raw = hubspot.encode(*events)
    milliseconds = int(clock.now().timestamp() * 1000) if at is None else at
    address = f"{settings.PUBLIC_URL}/webhooks/hubspot/"
    return _post("hubspot", raw, hubspot.sign(raw, secret, address=address, at=milliseconds))


def post_stripe(event: dict[str, Any]) -> HttpResponse:
    raw = stripe.encode(event)
    return _post("stripe", raw, {"Stripe-Signature": stripe.sign(raw, STRIPE_SECRET, int(clock.now().timestamp()))})


def _post(slug: str, raw: bytes, headers: dict[str, str]) -> HttpResponse:
    return Client().post(f"/webhooks/{slug}/", data=raw, content_type="application/json", headers=headers)


def told(answer: HttpResponse) -> str:
    return str(json.loads(answer.content)["status"])
