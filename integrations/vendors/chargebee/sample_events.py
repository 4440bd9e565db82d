"""Chargebee's events as Chargebee sends them: for tests and the demo.

The resources follow https://apidocs.chargebee.com/docs/api (events, invoices, customers, transactions, subscriptions; product
catalog 2), cut down to what tells something.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from integrations.sandbox.customers import Payer, SandboxPayment

Json = dict[str, Any]
_DAYS = {"month": 30, "year": 365}


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def login(secret: str) -> dict[str, str]:
    """The header of basic authentication, of ``user:password``."""
    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


def encode(event: Json) -> bytes:
    return json.dumps(event).encode()


@dataclass
class Purchase:
    """One invoice, and the events by which Chargebee tells of it."""

    created: int
    total: int = 1_200_000
    currency: str = "EUR"
    first: bool = True
    recurring: bool = True
    price: str = "pro-EUR-Yearly"
    unit: str = "year"
    po_number: str = ""
    custom: Json = field(default_factory=dict)
    """Custom fields of the subscription, without ``cf_``."""
    customer: Json = field(
        default_factory=lambda: {
            "first_name": "Jordan",
            "last_name": "Lee",
            "email": "jordan@acme-logistics.com",
            "company": "Acme Logistics",
            "vat_number": "136695976",
            "vat_number_prefix": "DE",
        }
    )
    customer_id: str = field(default_factory=lambda: new_id("cust"))
    subscription_id: str = field(default_factory=lambda: new_id("sub"))
    invoice_id: str = field(default_factory=lambda: str(secrets.randbelow(10**6) + 1))
    transaction_id: str = field(default_factory=lambda: new_id("txn"))

    def invoice(self, **changes: Any) -> Json:
        payment = {"txn_id": self.transaction_id, "applied_amount": self.total, "txn_status": "success"}
        made = {
            "id": self.invoice_id,
            "object": "invoice",
            "customer_id": self.customer_id,
            "recurring": self.recurring,
            "status": "paid",
            "first_invoice": self.first,
            "currency_code": self.currency,
            "sub_total": self.total,
            "total": self.total,
            "amount_paid": self.total,
            "amount_due": 0,
            "amount_adjusted": 0,
            "credits_applied": 0,
            "paid_at": self.created,
            "line_items": [self._line()],
            "linked_payments": [payment],
            "issued_credit_notes": [],
            "billing_address": self._address(),
        }
        if self.recurring:
            made["subscription_id"] = self.subscription_id
        if self.po_number:
            made["po_number"] = self.po_number
        return made | changes

    def payment(self, **invoice: Any) -> Json:
        content = {"transaction": self._transaction(), "invoice": self.invoice(**invoice), **self._parties()}
        return self._event("payment_succeeded", content)

    def generated(self, **invoice: Any) -> Json:
        return self._event("invoice_generated", {"invoice": self.invoice(**invoice)})

    def updated(self, **invoice: Any) -> Json:
        return self._event("invoice_updated", {"invoice": self.invoice(**invoice)})

    def subscription(self, type_: str = "subscription_created", **changes: Any) -> Json:
        parties = self._parties()
        return self._event(type_, {**parties, "subscription": {**parties["subscription"], **changes}})

    def refund(self, amount: int | None = None, **invoice: Any) -> Json:
        told = {"type": "refund", "id": new_id("txn"), "refunded_txn_id": self.transaction_id}
        paid = self._transaction() | told | {"amount": self.total if amount is None else amount}
        content = {"transaction": paid, "invoice": self.invoice(**invoice), "credit_note": {"id": new_id("cn")}}
        return self._event("payment_refunded", {**content, **self._parties()})

    def _transaction(self) -> Json:
        return {
            "id": self.transaction_id,
            "object": "transaction",
            "customer_id": self.customer_id,
            "type": "payment",
            "status": "success",
            "amount": self.total,
            "currency_code": self.currency,
            "date": self.created,
        }

    def _parties(self) -> Json:
        address = {"billing_address": self._address()}
        subscription = {
            "id": self.subscription_id,
            "object": "subscription",
            "customer_id": self.customer_id,
            "status": "active",
            "billing_period": 1,
            "billing_period_unit": self.unit,
            "created_at": self.created,
            "started_at": self.created,
            **{f"cf_{name}": value for name, value in self.custom.items()},
        }
        return {
            "customer": {"id": self.customer_id, "object": "customer", **self.customer, **address},
            "subscription": subscription,
        }

    def _address(self) -> Json:
        names = ("first_name", "last_name", "email", "company")
        return {**{name: self.customer[name] for name in names if name in self.customer}, "country": "DE"}

    def _line(self) -> Json:
        line = {
            "id": new_id("li"),
            "entity_type": "plan_item_price",
            "entity_id": self.price,
            "amount": self.total,
            "date_from": self.created,
            "date_to": self.created + _DAYS[self.unit] * 86_400,
        }
        return {**line, "subscription_id": self.subscription_id} if self.recurring else line

    def _event(self, type_: str, content: Json) -> Json:
        return {
            "id": new_id("ev"),
            "occurred_at": self.created,
            "source": "hosted_page",
            "object": "event",
            "api_version": "v2",
            "event_type": type_,
            "webhook_status": "scheduled",
            "content": content,
        }


def pay(payer: Payer, secret: str, at: int) -> SandboxPayment:
    """The subscription, its first invoice, and the payment."""
    first, _, last = payer.contact.partition(" ")
    customer = {"first_name": first, "last_name": last, "email": payer.email, "company": payer.company}
    given = {name: value for name, value in customer.items() if value}
    made = Purchase(created=at, customer=given, custom=dict(payer.metadata))
    events = (made.subscription(), made.generated(), made.payment())
    return SandboxPayment(made.transaction_id, [(encode(event), login(secret)) for event in events])
