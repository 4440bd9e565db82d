"""Stripe's events as Stripe sends them, signed as Stripe signs them: for tests and the demo.

The objects follow https://docs.stripe.com/api (checkout/sessions, invoices, payment_intents, invoice-payment, charges,
subscriptions) in the shapes before
(``ACACIA``) and after (``BASIL``) API version 2025-03-31, cut down to what tells something.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from integrations.sandbox.customers import Payer, SandboxPayment

Json = dict[str, Any]
ACACIA, BASIL = "2024-12-18.acacia", "2025-09-30.clover"


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def sign(raw: bytes, secret: str, at: int) -> str:
    """The ``Stripe-Signature`` header of ``raw`` at Unix time ``at`` (https://docs.stripe.com/webhooks#verify-manually)."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + raw, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def encode(event: Json) -> bytes:
    return json.dumps(event).encode()


def event(type_: str, obj: Json, *, created: int, version: str = BASIL, livemode: bool = False) -> Json:
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": version,
        "created": created,
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
        "data": {"object": obj},
    }


@dataclass
class Payment:
    """One purchase, and the events by which Stripe tells of it.

    ``linked``: whether a BASIL invoice names its payment intent and the intent its invoice. Real webhooks carry no
    ``payments`` (it must be asked for), and only later versions name the invoice in the intent's ``payment_details``.
    """

    created: int
    version: str = BASIL
    mode: str = "subscription"
    linked: bool = True
    livemode: bool = False
    amount: int = 1_200_000
    currency: str = "eur"
    email: str = "jordan@acme-logistics.com"
    contact: str = "Jordan Lee"
    business: str = "Acme Logistics"
    price: str = "price_pro_annual"
    interval: str = "year"
    billing_reason: str = "subscription_create"
    metadata: Json = field(default_factory=dict)
    customer: str | None = field(default_factory=lambda: new_id("cus"))
    session_id: str = field(default_factory=lambda: new_id("cs_test"))
    invoice_id: str = field(default_factory=lambda: new_id("in"))
    intent_id: str = field(default_factory=lambda: new_id("pi"))
    subscription_id: str = field(default_factory=lambda: new_id("sub"))

    @property
    def subscribed(self) -> bool:
        return self.mode == "subscription"

    def session(self, type_: str = "checkout.session.completed", **changes: Any) -> Json:
        obj: Json = {
            "id": self.session_id,
            "object": "checkout.session",
            "mode": self.mode,
            "status": "complete",
            "payment_status": "paid",
            "amount_total": self.amount,
            "currency": self.currency,
            "customer": self.customer,
            "customer_details": {
                "name": self.contact,
                "business_name": self.business or None,
                "individual_name": self.contact,
                "email": self.email,
                "address": {"country": "DE"},
            },
            "client_reference_id": None,
            "custom_fields": [],
            "livemode": self.livemode,
            "invoice": self.invoice_id if self.subscribed else None,
            "payment_intent": None if self.subscribed else self.intent_id,
            "subscription": self.subscription_id if self.subscribed else None,
            "metadata": dict(self.metadata),
        } | changes
        return self._event(type_, {"amount_subtotal": obj["amount_total"], **obj})

    def invoice(self, type_: str = "invoice.paid", **changes: Any) -> Json:
        obj: Json = {
            "id": self.invoice_id,
            "object": "invoice",
            "status": "paid",
            "billing_reason": self.billing_reason if self.subscribed else "manual",
            "amount_due": self.amount,
            "amount_paid": self.amount,
            "amount_remaining": 0,
            "total": self.amount,
            "starting_balance": 0,
            "ending_balance": 0,
            "pre_payment_credit_notes_amount": 0,
            "post_payment_credit_notes_amount": 0,
            "currency": self.currency,
            "customer": self.customer,
            "customer_name": self.business or self.contact,
            "customer_email": self.email,
            "customer_address": {"country": "DE"},
            "livemode": self.livemode,
            "metadata": {},
            "status_transitions": {"finalized_at": self.created, "paid_at": self.created},
            "lines": {"object": "list", "data": [self._line()]},
        }
        shape = self._old_invoice() if self.version == ACACIA else self._new_invoice()
        obj |= shape | changes
        return self._event(type_, {"subtotal": obj["total"], **obj})

    def intent(self, **changes: Any) -> Json:
        obj: Json = {
            "id": self.intent_id,
            "object": "payment_intent",
            "status": "succeeded",
            "amount": self.amount,
            "amount_received": self.amount,
            "currency": self.currency,
            "customer": self.customer,
            "description": "Subscription creation" if self.subscribed else None,
            "livemode": self.livemode,
            "receipt_email": None,
            "metadata": {},
        }
        if self.version == ACACIA:
            obj["invoice"] = self.invoice_id if self.subscribed else None
        elif self.linked and self.subscribed:
            obj["payment_details"] = {"customer_reference": None, "order_reference": self.invoice_id}
        return self._event("payment_intent.succeeded", obj | changes)

    def trial_session(self) -> Json:
        """A checkout of a trial or of a free plan: nothing is to be paid now."""
        return self.session(payment_status="no_payment_required", amount_total=0)

    def free_invoice(self, **changes: Any) -> Json:
        """The bill of a period without a charge, which Stripe marks as paid at once."""
        nothing = dict.fromkeys(("amount_due", "amount_paid", "subtotal", "total"), 0)
        lines = {"object": "list", "data": [self._line() | {"amount": 0}]}
        paid = {"payment_intent": None} if self.version == ACACIA else {"payments": {"object": "list", "data": []}}
        return self.invoice(**(nothing | paid | {"lines": lines} | changes))

    def subscription(self, type_: str = "customer.subscription.created", **changes: Any) -> Json:
        obj: Json = {
            "id": self.subscription_id,
            "object": "subscription",
            "status": "active",
            "customer": self.customer,
            "created": self.created,
            "start_date": self.created,
            "trial_end": None,
            "metadata": dict(self.metadata),
        }
        return self._event(type_, obj | changes)

    def invoice_payment(self) -> Json:
        """One intent's payment of the invoice, since API version 2025-03-31. It names no customer."""
        obj: Json = {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": self.amount,
            "amount_requested": self.amount,
            "currency": self.currency,
            "invoice": self.invoice_id,
            "status": "paid",
            "payment": {"type": "payment_intent", "payment_intent": self.intent_id},
        }
        return self._event("invoice_payment.paid", obj)

    def refund(self, **changes: Any) -> Json:
        """All of the payment went back. Only a charge before 2025-03-31 names its invoice."""
        obj: Json = {
            "id": new_id("ch"),
            "object": "charge",
            "amount": self.amount,
            "amount_refunded": self.amount,
            "currency": self.currency,
            "customer": self.customer,
            "payment_intent": self.intent_id,
            "refunded": True,
            "metadata": {},
        }
        if self.version == ACACIA:
            obj["invoice"] = self.invoice_id if self.subscribed else None
        return self._event("charge.refunded", obj | changes)

    def _event(self, type_: str, obj: Json) -> Json:
        return event(type_, obj, created=self.created, version=self.version, livemode=self.livemode)

    def _old_invoice(self) -> Json:
        return {
            "payment_intent": self.intent_id,
            "subscription": self.subscription_id if self.subscribed else None,
            "subscription_details": {"metadata": dict(self.metadata)} if self.subscribed else None,
        }

    def _new_invoice(self) -> Json:
        details = {"subscription": self.subscription_id, "metadata": dict(self.metadata)}
        shape: Json = {
            "parent": {"type": "subscription_details", "subscription_details": details, "quote_details": None}
            if self.subscribed
            else None
        }
        if self.linked:
            payment = {"type": "payment_intent", "payment_intent": self.intent_id}
            entry = {"object": "invoice_payment", "status": "paid", "amount_paid": self.amount, "payment": payment}
            shape["payments"] = {"object": "list", "data": [entry]}
        return shape

    def _line(self) -> Json:
        period = {"start": self.created, "end": _later(self.created, self.interval if self.subscribed else "")}
        line: Json = {"object": "line_item", "amount": self.amount, "currency": self.currency, "period": period}
        if self.version == ACACIA:
            recurring = {"interval": self.interval, "interval_count": 1} if self.interval else None
            line["price"] = {"id": self.price, "object": "price", "recurring": recurring}
        else:
            line["pricing"] = {"type": "price_details", "price_details": {"price": self.price, "product": "prod_1"}}
        return line


def pay(payer: Payer, secret: str, at: int) -> SandboxPayment:
    """A checkout session and its invoice."""
    made = Payment(
        created=at,
        email=payer.email,
        contact=payer.contact,
        business=payer.company,
        metadata=dict(payer.metadata),
    )
    bodies = [encode(event) for event in (made.session(), made.invoice())]
    return SandboxPayment(made.session_id, [(body, {"Stripe-Signature": sign(body, secret, at)}) for body in bodies])


def _later(seconds: int, interval: str) -> int:
    """The end of a period of one interval. No interval: what is bought once starts and ends at the same time."""
    start = datetime.fromtimestamp(seconds, UTC)
    day = min(start.day, 28)
    match interval:
        case "month":
            end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1, day=day)
        case "year":
            end = start.replace(year=start.year + 1, day=day)
        case _:
            end = start
    return int(end.timestamp())
