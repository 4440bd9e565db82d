"""ERPNext's objects, for the conformance suite."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import ErpCustomer, ErpOrder, OrderSchedule, VendorObject
from tests.integrations.vendors.conformance import Bench, Case

TAX_ID = "DE136695976"
SCHEDULE = OrderSchedule(
    term="annual",
    billing_start="2026-11-22",
    billing_end="2027-11-21",
    revenue_start="2026-12-01",
    revenue_end="2027-11-30",
)


def customer(_: Bench, name: str) -> ErpCustomer:
    return ErpCustomer(name=name, country="DE", tax_id=TAX_ID, currency="EUR", payment_terms="30 Days")


def customer_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, ErpCustomer)
    return MatchKey("reference", reference), MatchKey("tax-id", made.tax_id), MatchKey("name", made.name)


def order(bench: Bench, name: str) -> ErpOrder:
    buyer = bench.create(customer(bench, "Acme Logistics"), "firstvalue:the-orders-customer")
    return ErpOrder(
        name=name,
        customer_id=buyer,
        currency="EUR",
        schedule=SCHEDULE,
        lines=[{"product": "FV-PRO", "description": "Pro", "quantity": 1, "unit_price": "12000"}],
    )


CASES = [
    Case(
        "erpnext", "customer", "Customer", customer, customer_keys,
        change=ErpCustomer(name="Acme Renamed"),
        shows=lambda body: body["customer_name"] == "Acme Renamed",
        is_kept=lambda body: not body.get("disabled"),
    ),
    Case(
        "erpnext", "order", "Sales Order", order, lambda _, reference: [MatchKey("reference", reference)],
        change=ErpOrder(name="Acme Logistics: enterprise"),
        shows=lambda body: body["title"] == "Acme Logistics: enterprise",
    ),
]  # fmt: skip
