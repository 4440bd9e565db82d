"""The models and fields that this stand-in has, their types and what is required (Odoo's own source, branch 19.0: ``models`` in
``odoo/addons/base``, ``addons/sale``, ``addons/product``, ``addons/account`` and ``addons/analytic``).
"""

from __future__ import annotations

from typing import Any

from integrations.sandbox.store import Json
from integrations.vendors.odoo.sandbox.errors import invalid, refused, unknown_field

#: type, or ``>model`` for a reference to one, ``<model.field`` for those that refer to this one by ``field``
MODELS: dict[str, dict[str, str]] = {
    "res.partner": {
        "name": "char", "ref": "char", "vat": "char", "email": "char", "phone": "char", "website": "char", "street": "char",
        "street2": "char", "zip": "char", "city": "char", "country_id": ">res.country", "parent_id": ">res.partner",
        "type": "selection", "lang": "char", "comment": "html", "active": "boolean", "is_company": "boolean",
        "company_id": ">res.company", "property_payment_term_id": ">account.payment.term",
        "property_product_pricelist": ">product.pricelist",
    },
    "sale.order": {
        "name": "char", "partner_id": ">res.partner", "client_order_ref": "char", "origin": "char", "state": "selection",
        "locked": "boolean", "company_id": ">res.company", "currency_id": ">res.currency", "note": "html",
        "pricelist_id": ">product.pricelist", "payment_term_id": ">account.payment.term", "date_order": "datetime",
        "validity_date": "date", "amount_untaxed": "float", "order_line": "<sale.order.line.order_id",
        "invoice_status": "selection", "x_start": "date", "x_end": "date",
    },
    "sale.order.line": {
        "order_id": ">sale.order", "sequence": "integer", "display_type": "selection", "product_id": ">product.product",
        "name": "text", "product_uom_qty": "float", "price_unit": "float", "discount": "float",
        "analytic_distribution": "json",
    },
    "res.country": {"name": "char", "code": "char"},
    "res.currency": {"name": "char"},
    "res.company": {"name": "char", "currency_id": ">res.currency"},
    "res.users": {"name": "char", "login": "char", "company_id": ">res.company", "active": "boolean"},
    "product.pricelist": {
        "name": "char", "currency_id": ">res.currency", "company_id": ">res.company", "active": "boolean", "sequence": "integer",
    },
    "product.product": {
        "name": "char", "default_code": "char", "active": "boolean", "company_id": ">res.company", "invoice_policy": "selection",
    },
    "account.payment.term": {"name": "char", "company_id": ">res.company", "active": "boolean"},
    "account.analytic.account": {
        "name": "char", "code": "char", "company_id": ">res.company", "active": "boolean", "plan_id": "integer",
    },
}  # fmt: skip
LOGGED = {"id": "integer", "display_name": "char", "create_date": "datetime", "write_date": "datetime"}
REQUIRED = {
    "res.partner": ("name",),
    "sale.order": ("partner_id",),
    "sale.order.line": ("order_id",),
}
SELECTIONS = {
    ("res.partner", "type"): ("contact", "invoice", "delivery", "other"),
    ("sale.order", "state"): ("draft", "sent", "sale", "cancel"),
    ("product.product", "invoice_policy"): ("order", "delivery"),
    ("sale.order", "invoice_status"): ("upselling", "invoiced", "to invoice", "no"),
    ("sale.order.line", "display_type"): ("line_section", "line_subsection", "line_note"),
}
DEFAULTS: dict[str, Json] = {
    "res.partner": {"active": True, "type": "contact"},
    "sale.order": {"state": "draft", "locked": False, "invoice_status": "no"},
    "sale.order.line": {"sequence": 10},
    "product.pricelist": {"active": True, "sequence": 16},
    "product.product": {"active": True, "invoice_policy": "order"},
    "account.payment.term": {"active": True},
    "account.analytic.account": {"active": True},
    "res.users": {"active": True},
}
_SCALARS: dict[str, tuple[type, ...]] = {
    "char": (str,), "text": (str,), "html": (str,), "selection": (str,), "date": (str,), "datetime": (str,),
    "boolean": (bool,), "integer": (int,), "float": (int, float), "json": (dict,),
}  # fmt: skip


def type_of(model: str, field: str) -> str:
    known = {**MODELS[model], **LOGGED}
    if field not in known:
        raise unknown_field(field, model)
    return known[field]


def checked(model: str, values: Any) -> Json:
    """Values to be written, but for those of lines. An empty one is kept as false."""
    if not isinstance(values, dict):
        raise refused(500, "vals must be a dict", "builtins.TypeError")
    for field, value in values.items():
        kind = type_of(model, field)
        if kind.startswith("<"):
            continue
        if value is False or value is None:
            continue
        if kind.startswith(">"):
            if not isinstance(value, int) or isinstance(value, bool):
                raise refused(500, f"Wrong value for {model}.{field}: {value!r}", "builtins.ValueError")
        elif not isinstance(value, _SCALARS[kind]) or (kind != "boolean" and isinstance(value, bool)):
            raise refused(500, f"Wrong value for {model}.{field}: {value!r}", "builtins.ValueError")
        allowed = SELECTIONS.get((model, field))
        if allowed and value not in allowed:
            raise refused(500, f"Wrong value for {model}.{field}: {value!r}", "builtins.ValueError")
    return {field: False if value is None else value for field, value in values.items()}


def refuse_lacking(model: str, body: Json) -> None:
    for field in REQUIRED.get(model, ()):
        if body.get(field) in (None, False, ""):
            raise invalid(
                f"The operation cannot be completed: Missing required value for the field '{field}' ({field}). Model: {model}"
            )
