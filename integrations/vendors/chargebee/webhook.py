"""Chargebee's webhooks: not signed, but sent with a user and a password that only the two of us know.

Source: https://apidocs.chargebee.com/docs/api/events ("basic authentication for the webhook URL").
"""

import base64
import hmac
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest

from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, NotVerified, ReceivedEvent, Webhook
from integrations.inbound.events import Event, PaymentRefunded, PaymentSucceeded, SubscriptionReported
from integrations.models import InboundEvent
from integrations.vendors.chargebee import payments


class ChargebeeWebhook(Webhook):
    events = {
        "payment_succeeded": (PaymentSucceeded, SubscriptionReported),
        "invoice_generated": (PaymentSucceeded, SubscriptionReported),
        "invoice_updated": (PaymentSucceeded, SubscriptionReported),
        "payment_refunded": (PaymentRefunded,),
        "subscription_created": (SubscriptionReported,),
        "subscription_started": (SubscriptionReported,),
        "subscription_activated": (SubscriptionReported,),
    }

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:  # noqa: ARG002
        verify(request.headers.get("Authorization", ""), secrets)
        event = parse_object(raw)
        occurred_at = _time(event.get("occurred_at"))
        return Delivery([ReceivedEvent(event.get("id", ""), event.get("event_type", ""), raw.decode(), occurred_at)])

    def read(self, stored: InboundEvent) -> Event:
        return payments.read(parse_object(stored.raw.encode()), stored.connection.slug)


def verify(authorization: str, secrets: list[str]) -> None:
    """Raises ``NotVerified``. A secret is ``user:password``, and never empty."""
    scheme, _, encoded = authorization.strip().partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        given = b""
    if not given:
        raise NotVerified("The Authorization header is missing or malformed.")
    # Every secret is compared, so that the time taken does not tell which one matched.
    if not any([hmac.compare_digest(given, secret.encode()) for secret in secrets if ":" in secret]):  # noqa: C419
        raise NotVerified("The webhook's user and password are others.")


def _time(seconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if type(seconds) is int else None
    except (OverflowError, OSError, ValueError):
        return None
