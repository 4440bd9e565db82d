"""Paddle's webhooks: verified, and completed by what its API knows of the customer.

Source: https://developer.paddle.com/webhooks/signature-verification: ``Paddle-Signature: ts=…;h1=…``, HMAC-SHA256 in hexadecimal
over ``{ts}:{body}``, several ``h1`` while a secret is rotated. Paddle's libraries allow 5 seconds; ours are the 300 of all
senders, as an event is stored once however often it comes.
"""

import hashlib
import hmac
import time
from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest

from integrations.connectors.base import moment
from integrations.errors import Kind, ProviderError
from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, NotVerified, ReceivedEvent, Webhook
from integrations.inbound.events import Event, PaymentRefunded, PaymentSucceeded, SubscriptionReported
from integrations.models import InboundEvent
from integrations.name_matching import company_name
from integrations.vendors.paddle import payments
from integrations.vendors.paddle.connector import Paddle

TOLERANCE_SECONDS = 300
MOST_DIGITS = 12
HEADER = "Paddle-Signature"


class PaddleWebhook(Webhook):
    events = {
        "transaction.paid": (PaymentSucceeded, SubscriptionReported),
        "transaction.completed": (PaymentSucceeded, SubscriptionReported),
        "adjustment.created": (PaymentRefunded,),
        "adjustment.updated": (PaymentRefunded,),
        "subscription.created": (SubscriptionReported,),
        "subscription.trialing": (SubscriptionReported,),
        "subscription.activated": (SubscriptionReported,),
        "subscription.updated": (SubscriptionReported,),
    }

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        verify(raw, request.headers.get(HEADER, ""), secrets, now)
        event = parse_object(raw)
        occurred_at = event.get("occurred_at")
        at = moment(occurred_at if isinstance(occurred_at, str) else None)
        return Delivery([ReceivedEvent(event.get("event_id", ""), event.get("event_type", ""), raw.decode(), at)])

    def read(self, stored: InboundEvent) -> Event:
        reading = payments.read(parse_object(stored.raw.encode()))
        event = reading.event
        if isinstance(event, PaymentSucceeded) and reading.customer_id:
            return _with_customer(event, reading, stored)
        if isinstance(event, PaymentRefunded) and reading.partly_refunded:
            return replace(event, whole=_is_nothing_left(reading.partly_refunded, stored))
        return event


def verify(raw: bytes, header: str, secrets: list[str], now: datetime) -> None:
    """Raises ``NotVerified``."""
    pairs = [tuple(part.strip().split("=", 1)) for part in header.split(";") if "=" in part]
    at = next((value for name, value in pairs if name == "ts"), "")
    hashes = [value.encode("utf-8", "surrogateescape") for name, value in pairs if name == "h1"]
    if not hashes or not (at.isascii() and at.isdecimal() and len(at) <= MOST_DIGITS):
        raise NotVerified(f"The {HEADER} header is missing or malformed.")
    expected = [hmac.new(secret.encode(), f"{at}:".encode() + raw, hashlib.sha256).hexdigest() for secret in secrets]
    # Every pair is compared, so that the time taken does not tell which one matched.
    if not any([hmac.compare_digest(one.encode(), each) for one in expected for each in hashes]):  # noqa: C419
        raise NotVerified(f"No signature in {HEADER} matches this body.")
    if abs(now.timestamp() - int(at)) > TOLERANCE_SECONDS:
        raise NotVerified(f"The signature's time is more than {TOLERANCE_SECONDS} seconds away from now.")


def _with_customer(event: PaymentSucceeded, reading: payments.Reading, stored: InboundEvent) -> PaymentSucceeded:
    """With what Paddle knows of who paid. Raises ``ProviderError``, ``DeadlinePassed``."""
    api = _api(stored)
    if api is None:
        return event
    customer = api.customer(reading.customer_id)
    business = api.business(reading.customer_id, reading.business_id) if reading.business_id else None
    address = api.address(reading.customer_id, reading.address_id) if reading.address_id else None
    company = business.name if business else ""
    return replace(
        event,
        business_name=company,
        # "Full name of this customer": a person's, unless it is the business's over again.
        contact_name=company_name(customer.name, company) if customer else "",
        email=customer.email if customer else "",
        tax_id=business.tax_identifier if business else "",
        country=address.country_code if address else "",
    )


def _is_nothing_left(transaction_id: str, stored: InboundEvent) -> bool:
    """Whether several refunds have given back all of it. Raises ``ProviderError``, ``DeadlinePassed``."""
    api = _api(stored)
    paid = api.transaction(transaction_id) if api else None
    left = paid.details.adjusted_totals if paid else None
    return left is not None and left.total == 0


def _api(stored: InboundEvent) -> Paddle | None:
    """None for a connection without an API key: people are asked for what only the API tells."""
    try:
        return Paddle.on(
            stored.connection, subject=f"event:{stored.pk}", deadline=time.monotonic() + settings.STEP_SECONDS
        )
    except ProviderError as error:
        if error.kind is Kind.NOT_CONFIGURED:
            return None
        raise
