"""Stripe's webhooks."""

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest

from integrations.enums import Environment
from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, ReceivedEvent, Webhook
from integrations.inbound.events import (
    Event,
    Ignored,
    PaymentAllocated,
    PaymentRefunded,
    PaymentSucceeded,
    SubscriptionReported,
)
from integrations.models import InboundEvent
from integrations.vendors.stripe import payments


class StripeWebhook(Webhook):
    events = {
        "checkout.session.completed": (PaymentSucceeded, SubscriptionReported),
        "checkout.session.async_payment_succeeded": (PaymentSucceeded, SubscriptionReported),
        "invoice.paid": (PaymentSucceeded, SubscriptionReported),
        "invoice.payment_succeeded": (PaymentSucceeded, SubscriptionReported),
        "invoice_payment.paid": (PaymentAllocated,),
        "payment_intent.succeeded": (PaymentSucceeded,),
        "charge.refunded": (PaymentRefunded,),
        "customer.subscription.created": (SubscriptionReported,),
        "customer.subscription.updated": (SubscriptionReported,),
        "customer.subscription.trial_will_end": (SubscriptionReported,),
    }

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        event = payments.verify(raw, request.headers.get("Stripe-Signature", ""), secrets, now)
        id_, type_ = event.get("id", ""), event.get("type", "")
        return Delivery([ReceivedEvent(id_, type_, raw.decode(), occurred_at=_created(event))])

    def read(self, stored: InboundEvent) -> Event:
        event = parse_object(stored.raw.encode())
        if reason := payments.of_another_account(event, stored.connection.options):
            return Ignored(reason=reason)
        if event.get("livemode") is False and stored.connection.environment == Environment.PRODUCTION:
            return Ignored(reason="A test-mode event on a production connection.")
        return payments.read(event)


def _created(event: dict[str, Any]) -> datetime | None:
    seconds = event.get("created")
    try:
        return datetime.fromtimestamp(seconds, UTC) if type(seconds) is int else None
    except (OverflowError, OSError, ValueError):
        return None
