"""A settled order as a system of the company's own would tell of it: for tests and the demo."""

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from integrations.inbound import standard_webhooks
from integrations.sandbox.customers import Payer, SandboxPayment

Json = dict[str, Any]
OWN_PATHS = {"crm_owner_id": "ownership", "domain": "customer"}
"""What a sandbox customer's seller knows -> the part of the payload where it stands."""


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def envelope(type_: str, data: Json, *, at: int) -> Json:
    return {"type": type_, "timestamp": datetime.fromtimestamp(at, UTC).isoformat(), "data": data}


def encode(event: Json) -> bytes:
    return json.dumps(event).encode()


def order(payer: Payer, order_id: str) -> Json:
    """The canonical payload of an order."""
    data: Json = {
        "customer": {"legal_name": payer.company, "primary_contact": {"name": payer.contact, "email": payer.email}},
        "commercial": {
            "order_id": order_id,
            "payment_id": new_id("pay"),
            "plan_sku": "pro",
            "term": "annual",
            "amount": 12_000,
            "currency": "EUR",
        },
        "ownership": {},
        "kickoff": {"urgency": "normal"},
    }
    for name, part in OWN_PATHS.items():
        data[part][name] = payer.metadata.get(name, "")
    return data


def pay(payer: Payer, secret: str, at: int) -> SandboxPayment:
    """The order as it is settled, and its payment."""
    order_id = new_id("ord")
    data = order(payer, order_id)
    bodies = [encode(envelope(type_, data, at=at)) for type_ in ("order.settled", "payment.succeeded")]
    return SandboxPayment(
        order_id,
        [(body, standard_webhooks.sign(body, id=new_id("msg"), at=at, secrets=[secret])) for body in bodies],
    )
