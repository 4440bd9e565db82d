"""What a billing system of the company's own tells by Standard Webhooks.

The envelope is the specification's (``{"type", "timestamp", "data"}``, "Payload structure" in
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), the ``webhook-id`` the event's id. What
``data`` holds is ours, see the folder's README: the canonical payload or a part of it, with the ids of the payment among
``commercial``.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import quote

from django.http import HttpRequest
from pydantic import BeforeValidator, Field, ValidationError

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import moment
from integrations.http.strict_json import parse_object, without_nul
from integrations.inbound import standard_webhooks
from integrations.inbound.amounts import minor_units
from integrations.inbound.delivery import Delivery, ReceivedEvent, UnexpectedShape, Webhook, problems_in
from integrations.inbound.events import (
    DEAL,
    ORDER,
    OUR_ID,
    PAYMENT_ROLES,
    Event,
    Ignored,
    Key,
    PaymentRefunded,
    PaymentSucceeded,
    Role,
    SubscriptionFacts,
    kind_of,
)
from integrations.models import InboundEvent

VENDOR = "standard-webhooks"
CHECKOUT, INVOICE, PAYMENT, SUBSCRIPTION = (
    kind_of(VENDOR, role) for role in (Role.CHECKOUT, Role.INVOICE, Role.PAYMENT, Role.SUBSCRIPTION)
)
SETTLED = ("payment.succeeded", "order.settled")
REFUNDED = "payment.refunded"
OWN_FIELDS = ("payment_id", "invoice_id", "subscription_id", "customer_id", "is_renewal")
"""Of ``commercial``: they say which payment it is, and are no part of the payload that is kept."""


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")  # noqa: TRY004 (pydantic's own kind of error)
    return value


Id = Annotated[str, Field(max_length=255)]
Amount = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, max_digits=18)]


class Commercial(VendorAnswer):
    order_id: Id = ""
    deal_id: Id = ""
    payment_id: Id = ""
    invoice_id: Id = ""
    subscription_id: Id = ""
    customer_id: Id = ""
    is_renewal: bool = False
    amount: Amount | None = None
    currency: Annotated[str, Field(pattern=r"^([A-Za-z]{3})?$")] = ""


class Refund(VendorAnswer):
    id: Id = ""
    partial: bool = False


class Data(VendorAnswer):
    onboarding_transaction_id: Id = ""
    occurred_at: str = ""
    commercial: Commercial = Commercial()
    refund: Refund = Refund()


class Envelope(VendorAnswer):
    type: str
    data: dict[str, Any]
    timestamp: str = ""


class StandardWebhook(Webhook):
    events = {**dict.fromkeys(SETTLED, (PaymentSucceeded,)), REFUNDED: (PaymentRefunded,)}

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        message = standard_webhooks.verify(raw, request.headers, secrets, now)
        body = parse_object(raw)
        occurred_at = moment(body.get("timestamp") if isinstance(body.get("timestamp"), str) else None)
        return Delivery([ReceivedEvent(message.id, body.get("type", ""), raw.decode(), occurred_at or message.sent_at)])

    def read(self, stored: InboundEvent) -> Event:
        if stored.type not in self.events:
            return Ignored(reason="This type of event is not one of those that are documented here.")
        try:
            envelope = Envelope.model_validate(without_nul(parse_object(stored.raw.encode())))
            data = Data.model_validate(envelope.data)
        except ValidationError as error:
            raise UnexpectedShape(f"{stored.type} is not as documented ({problems_in(error)}).") from None
        if stored.type == REFUNDED:
            return _refund(stored, data)
        return _payment(stored, data, envelope.data)


def _payment(stored: InboundEvent, data: Data, content: Mapping[str, Any]) -> Event:
    told = data.commercial
    if told.is_renewal:
        return Ignored(reason="A renewal, as its sender says.")
    amount, currency = told.amount or Decimal(0), told.currency.upper()
    if told.amount is not None and not currency:
        raise UnexpectedShape(f"{stored.type} has an amount without a currency.")
    slug = stored.connection.slug
    keys = _keys(slug, data)
    if not any(key.role in PAYMENT_ROLES for key in keys):  # it is known by its message alone
        keys = (*keys, Key(CHECKOUT, _own(slug, stored.external_id)))
    return PaymentSucceeded(
        told_by=Role.INVOICE if told.invoice_id else Role.CHECKOUT,
        object_id=next(key.value for key in keys if key.role in PAYMENT_ROLES),
        keys=keys,
        amount_minor=minor_units(amount, currency),
        amount=amount,
        currency=currency,
        occurred_at=moment(data.occurred_at) or stored.occurred_at,
        customer=told.customer_id,
        content=_payload_part(content, told),
        subscription=SubscriptionFacts(_own(slug, told.subscription_id), told.customer_id)
        if told.subscription_id
        else None,
    )


def _refund(stored: InboundEvent, data: Data) -> Event:
    if data.commercial.is_renewal:
        return Ignored(reason="The refund of a renewal.")
    keys = _keys(stored.connection.slug, data)
    # A subscription's first payment is not the only one: it is asked by that only where nothing else names the payment.
    named = tuple(key for key in keys if key.role is not Role.SUBSCRIPTION) or keys
    if not named:
        raise UnexpectedShape(f"{stored.type} does not say which payment it is of.")
    charge = data.refund.id or data.commercial.payment_id or stored.external_id
    return PaymentRefunded(
        charge=charge, keys=named, whole=not data.refund.partial, customer=data.commercial.customer_id
    )


def _keys(slug: str, data: Data) -> tuple[Key, ...]:
    """The strongest first. An order stands for the checkout: it is settled once, by however many payments.

    So does a deal, of what names neither an order nor a payment.
    """
    told = data.commercial
    settled = told.order_id or data.onboarding_transaction_id
    if not (settled or told.payment_id or told.invoice_id):
        settled = told.deal_id
    pairs = [
        (OUR_ID, data.onboarding_transaction_id.strip()),
        (CHECKOUT, _own(slug, settled)),
        (INVOICE, _own(slug, told.invoice_id)),
        (PAYMENT, _own(slug, told.payment_id)),
        (SUBSCRIPTION, _own(slug, told.subscription_id)),
        (DEAL, told.deal_id.strip()),
        (ORDER, told.order_id.strip()),
    ]
    return tuple(Key(kind, value) for kind, value in pairs if value)


def _own(slug: str, number: str) -> str:
    """A system's own number as nobody else has it, in the characters that a run's id may have; empty for none."""
    text = quote(number.strip(), safe="._:@+-").replace("%", "~")
    return f"{slug}:{text}" if text else ""


def _payload_part(content: Mapping[str, Any], told: Commercial) -> dict[str, Any]:
    commercial = content.get("commercial") or {}
    named = {"order_id": told.order_id, "deal_id": told.deal_id}  # as text, where they came as numbers
    return {
        **{name: value for name, value in content.items() if name not in ("refund", "event_source")},
        "commercial": {**{name: value for name, value in commercial.items() if name not in OWN_FIELDS}, **named},
    }
