"""Paddle's events as Paddle sends them, signed as it signs them, and what its API then holds: for tests and the demo.

The entities follow https://developer.paddle.com/webhooks and the SDK's fixtures
(https://github.com/PaddleHQ/paddle-python-sdk, tests/Functional/Resources/Simulations), cut down to what tells something.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.sandbox.customers import Payer, SandboxObject, SandboxPayment

Json = dict[str, Any]
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    return f"{prefix}_01{''.join(secrets.choice(_ALPHABET) for _ in range(24))}"


def sign(raw: bytes, *keys: str, at: int) -> str:
    """The ``Paddle-Signature`` of ``raw`` (https://developer.paddle.com/webhooks/signature-verification), a hash a secret."""
    hashes = [hmac.new(key.encode(), f"{at}:".encode() + raw, hashlib.sha256).hexdigest() for key in keys]
    return ";".join([f"ts={at}", *(f"h1={each}" for each in hashes)])


def encode(event: Json) -> bytes:
    return json.dumps(event).encode()


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Purchase:
    """One purchase, and the events by which Paddle tells of it."""

    created: int
    amount: int = 1_200_000
    """In the currency's smallest unit, tax included."""
    currency: str = "EUR"
    origin: str = "web"
    price: str = "pri_pro_annual"
    interval: str = "year"
    custom_data: Json | None = None
    purchase_order: str = ""
    customer: Json = field(default_factory=lambda: {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"})
    business: Json | None = field(
        default_factory=lambda: {"name": "Acme Logistics", "tax_identifier": "DE136695976", "contacts": []}
    )
    address: Json = field(default_factory=lambda: {"country_code": "DE", "city": "Berlin"})
    customer_id: str = field(default_factory=lambda: new_id("ctm"))
    business_id: str = field(default_factory=lambda: new_id("biz"))
    address_id: str = field(default_factory=lambda: new_id("add"))
    transaction_id: str = field(default_factory=lambda: new_id("txn"))
    subscription_id: str = field(default_factory=lambda: new_id("sub"))

    def objects(self, **transaction: Any) -> list[SandboxObject]:
        """What Paddle's API answers of it."""
        held = {
            "customers": {**self.customer, "id": self.customer_id},
            "addresses": {**self.address, "id": self.address_id, "customer_id": self.customer_id},
            "transactions": {**self.entity(), **transaction},
        }
        if self.business is not None:
            held["businesses"] = {**self.business, "id": self.business_id, "customer_id": self.customer_id}
        return [SandboxObject("paddle", kind, body) for kind, body in held.items()]

    def entity(self, *, subscribed: bool = True, totals: Mapping[str, str] | None = None) -> Json:
        period = {"starts_at": rfc3339(self.created), "ends_at": self._end()}
        shown = self.totals(**(totals or {}))
        return {
            "id": self.transaction_id,
            "status": "completed" if subscribed else "paid",
            "customer_id": self.customer_id,
            "address_id": self.address_id,
            "business_id": self.business_id if self.business is not None else None,
            "custom_data": self.custom_data,
            "origin": self.origin,
            "collection_mode": "manual" if self.purchase_order else "automatic",
            "subscription_id": self.subscription_id if subscribed and self.interval else None,
            "invoice_id": new_id("inv"),
            "invoice_number": "325-10261" if subscribed else None,
            "billing_details": {"purchase_order_number": self.purchase_order} if self.purchase_order else None,
            "billing_period": period if self.interval else None,
            "currency_code": self.currency,
            "discount_id": None,
            "items": [{"price": self._price(), "quantity": 1}],
            "details": {"totals": shown, "adjusted_totals": shown, "line_items": []},
            "payments": [],
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.created),
            "billed_at": rfc3339(self.created),
        }

    def totals(self, **changes: str) -> Json:
        amount = str(self.amount)
        usual = {"subtotal": amount, "tax": "0", "discount": "0", "total": amount, "credit": "0", "grand_total": amount}
        return {**usual, "balance": "0", "fee": None, "earnings": None, "currency_code": self.currency, **changes}

    def paid(self) -> Json:
        """Before Paddle has made the subscription of a first payment."""
        return self._event("transaction.paid", self.entity(subscribed=self.origin.startswith("subscription_")))

    def completed(self, **totals: str) -> Json:
        return self._event("transaction.completed", self.entity(totals=totals))

    def trial(self) -> Json:
        """Nothing is to be paid now."""
        return self.completed(subtotal="0", total="0", grand_total="0")

    def subscription(self, type_: str = "subscription.created", *, trial_days: int = 0) -> Json:
        end = rfc3339(self.created + trial_days * 86_400)
        dates = {"starts_at": rfc3339(self.created), "ends_at": end} if trial_days else None
        entity = {
            "id": self.subscription_id,
            "status": "trialing" if trial_days else "active",
            "customer_id": self.customer_id,
            "address_id": self.address_id,
            "currency_code": self.currency,
            "created_at": rfc3339(self.created),
            "started_at": rfc3339(self.created),
            "first_billed_at": None if trial_days else rfc3339(self.created),
            "items": [{"status": "active", "quantity": 1, "price": self._price(), "trial_dates": dates}],
        }
        return self._event(type_, entity)

    def adjustment(self, type_: str = "adjustment.updated", **changes: Any) -> Json:
        entity = {
            "id": new_id("adj"),
            "action": "refund",
            "type": "full",
            "status": "approved",
            "transaction_id": self.transaction_id,
            "subscription_id": self.subscription_id,
            "customer_id": self.customer_id,
            "reason": "requested_by_customer",
            "currency_code": self.currency,
            "items": [],
            "totals": {"total": str(self.amount), "currency_code": self.currency},
        }
        return self._event(type_, {**entity, **changes})

    def _price(self) -> Json:
        cycle = {"interval": self.interval, "frequency": 1} if self.interval else None
        return {"id": self.price, "product_id": "pro_1", "billing_cycle": cycle, "custom_data": None}

    def _end(self) -> str:
        start = datetime.fromtimestamp(self.created, UTC)
        return (start + timedelta(days={"month": 30, "year": 365}.get(self.interval, 0))).isoformat()

    def _event(self, type_: str, entity: Json) -> Json:
        return {
            "event_id": new_id("evt"),
            "event_type": type_,
            "occurred_at": rfc3339(self.created),
            "notification_id": new_id("ntf"),
            "data": entity,
        }


def pay(payer: Payer, secret: str, at: int) -> SandboxPayment:
    """A transaction as it is paid, the subscription that follows, and the transaction's completion."""
    made = Purchase(
        created=at,
        customer={"name": payer.contact or None, "email": payer.email},
        business={"name": payer.company, "contacts": []},
        custom_data=dict(payer.metadata),
    )
    bodies = [encode(event) for event in (made.paid(), made.subscription(), made.completed())]
    return SandboxPayment(
        made.transaction_id,
        [(body, {"Paddle-Signature": sign(body, secret, at=at)}) for body in bodies],
        made.objects(),
    )
