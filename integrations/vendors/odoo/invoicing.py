"""Whether an order can be invoiced, as Odoo has it.

Sources: odoo.com/documentation/19.0/applications/sales/sales/invoicing/invoicing_policy.html (an invoice is made of a confirmed
order: at once where what is ordered is invoiced, once it is delivered where that is), ``addons/sale/models/sale_order.py``
(``state``, and ``invoice_status``: ``no`` is "nothing to invoice", ``to invoice``, ``invoiced``, ``upselling``).
"""

from decimal import Decimal
from typing import Any, Protocol, TypeVar

import pydantic

from integrations.connectors.erp import OrderOnRecord, OrderState
from integrations.vendors.odoo import lines
from integrations.vendors.odoo.schemas import Lines, Partners, Record

L = TypeVar("L", bound=pydantic.RootModel[list[Any]])
WHEN = "the order is confirmed and its invoice status says that there is something to invoice, or that it is invoiced"
FIELDS = ["name", "state", "invoice_status", "partner_id", "currency_id", "payment_term_id", "amount_untaxed"]
_INVOICEABLE = frozenset({"to invoice", "invoiced", "upselling"})
_STATES = {"sale": OrderState.INVOICEABLE, "done": OrderState.INVOICEABLE, "cancel": OrderState.CANCELLED}
_MOST_LINES = 1_000
Reference = tuple[int | str, str] | None


class Confirmed(Record):
    name: str = ""
    state: str = ""
    invoice_status: str = ""
    partner_id: Reference = None
    currency_id: Reference = None
    payment_term_id: Reference = None
    amount_untaxed: Decimal = Decimal(0)


class ConfirmedList(pydantic.RootModel[list[Confirmed]]):
    pass


class Search(Protocol):
    def __call__(
        self, model: str, domain: list[Any], fields: list[str], expect: type[L], *, most: int, archived: bool = ...
    ) -> L: ...


def order_on_record(search: Search, row_id: int) -> OrderOnRecord | None:
    """Raises ``ProviderError``."""
    found = next(iter(search("sale.order", [["id", "=", row_id]], FIELDS, ConfirmedList, most=1).root), None)
    if found is None:
        return None
    state = _STATES.get(found.state, OrderState.OPEN)
    if state is OrderState.INVOICEABLE and found.invoice_status not in _INVOICEABLE:
        state = OrderState.OPEN
    if state is not OrderState.INVOICEABLE:
        return OrderOnRecord(state, found.name or str(row_id))
    there = search("sale.order.line", [["order_id", "=", row_id]], lines.FIELDS, Lines, most=_MOST_LINES).root
    return OrderOnRecord(
        state,
        found.name or str(row_id),
        customer_id=str(found.partner_id[0]) if found.partner_id else "",
        tax_id=_tax_id(search, found.partner_id),
        currency=_shown(found.currency_id),
        payment_terms=_shown(found.payment_term_id),
        lines=sum(each.product_id is not None for each in there),
        total=found.amount_untaxed,
    )


def _tax_id(search: Search, partner: Reference) -> str:
    """It belongs to the company, and is copied to its contacts."""
    if partner is None:
        return ""
    domain = [["id", "=", int(partner[0])]]
    return next((each.vat for each in search("res.partner", domain, ["vat"], Partners, most=1, archived=True).root), "")


def _shown(reference: Reference) -> str:
    return reference[1] if reference else ""
