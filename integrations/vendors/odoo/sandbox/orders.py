"""What sales orders do by themselves (``addons/sale/models/sale_order.py`` and ``sale_order_line.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integrations.sandbox.store import Json, Row
from integrations.vendors.odoo.sandbox.errors import invalid, refused

if TYPE_CHECKING:
    from integrations.vendors.odoo.sandbox.dialect import Records

_OPEN = ("draft", "sent")


def completed(records: Records, body: Json) -> Json:
    """A new order: numbered, with what its customer and its company bring, and the currency of its price list."""
    company = body.get("company_id") or records.company
    partner = records.row("res.partner", body.get("partner_id"))
    held = partner.body if partner else {}
    number = len(records.all("sale.order")) + 1
    brought = {
        "name": f"S{number:05d}",
        "payment_term_id": held.get("property_payment_term_id", False),
        "pricelist_id": held.get("property_product_pricelist", False),
    }
    return with_currency(records, {**brought, **body, "company_id": company})


def changed(records: Records, row: Row, given: Json) -> Json:
    if "pricelist_id" in given and row.body["state"] == "sale":
        raise refused(422, "You cannot change the pricelist of a confirmed order !")
    whole = with_currency(records, {**row.body, **given})
    return {**given, "currency_id": whole["currency_id"]}


def with_currency(records: Records, body: Json) -> Json:
    for field, model in (("pricelist_id", "product.pricelist"), ("payment_term_id", "account.payment.term")):
        other = records.row(model, body.get(field))
        if other and other.body.get("company_id") not in (None, False, body["company_id"]):
            raise refused(422, f"Uh-oh! You've got some company inconsistencies here: {other.body['name']} ({field})")
    pricelist = records.row("product.pricelist", body.get("pricelist_id"))
    company = records.row("res.company", body["company_id"])
    source = pricelist or company
    return {**body, "currency_id": source.body["currency_id"] if source else False}


def refuse_line(records: Records, body: Json) -> None:
    if body.get("display_type"):
        if any(body.get(name) for name in ("product_id", "price_unit", "product_uom_qty")):
            raise invalid("The operation cannot be completed: Forbidden values on non-accountable sale order line")
        if not body.get("name"):
            raise invalid(
                "The operation cannot be completed: Missing required value for the field 'Description' (name)."
            )
        return
    product = records.row("product.product", body.get("product_id"))
    if product is None:
        raise invalid("The operation cannot be completed: Missing required fields on accountable sale order line.")
    body.setdefault("product_uom_qty", 1.0)
    body.setdefault("price_unit", 0.0)
    body.setdefault("name", product.body["name"])
    known = {int(row.id) for row in records.all("account.analytic.account")}
    for key in body.get("analytic_distribution") or {}:
        if not {int(part) for part in key.split(",")} <= known:
            raise invalid(f"The analytic account {key} does not exist")


def total(records: Records, order: int) -> float:
    lines = [row.body for row in records.all("sale.order.line") if row.body.get("order_id") == order]
    return round(sum(float(line.get("price_unit", 0)) * float(line.get("product_uom_qty", 0)) for line in lines), 2)


def confirm(records: Records) -> bool:
    rows = records.rows()
    if any(row.body["state"] not in _OPEN for row in rows):
        raise refused(422, "Some orders are not in a state requiring confirmation.")
    for row in rows:
        records.write(row, {"state": "sale", "invoice_status": _invoice_status(records, int(row.id))})
    return True


def _invoice_status(records: Records, order: int) -> str:
    """Of a confirmed order of which nothing was delivered or invoiced yet: what is invoiced once ordered is to be invoiced."""
    lines = [row.body for row in records.all("sale.order.line") if row.body.get("order_id") == order]
    products = [records.row("product.product", line.get("product_id")) for line in lines]
    is_due = any(product and product.body.get("invoice_policy", "order") == "order" for product in products)
    return "to invoice" if is_due else "no"


def cancel(records: Records) -> Any:
    """A wizard, where the context does not say otherwise, for what is more than a draft."""
    rows = records.rows()
    if any(row.body.get("locked") for row in rows):
        raise refused(422, "You cannot cancel a locked order. Please unlock it first.")
    if not records.context.get("disable_cancel_warning") and any(row.body["state"] != "draft" for row in rows):
        return {
            "name": "Cancel Quotation",
            "type": "ir.actions.act_window",
            "res_model": "sale.order.cancel",
            "target": "new",
        }
    for row in rows:
        records.write(row, {"state": "cancel", "invoice_status": "no"})
    return True


def to_draft(records: Records) -> bool:
    for row in records.rows():
        if row.body["state"] in ("cancel", "sent"):
            records.write(row, {"state": "draft"})
    return True


def refuse_unlink(row: Row) -> None:
    if row.body["state"] not in ("draft", "cancel"):
        raise refused(422, "You can not delete a sent quotation or a confirmed sales order. You must first cancel it.")
