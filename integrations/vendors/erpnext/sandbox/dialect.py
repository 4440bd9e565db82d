"""ERPNext 15 over ``/api/resource``: doctypes, links by name, mandatory fields, lengths, drafts, child tables, unique fields.

Taken from docs.frappe.io/framework/user/en/api/rest, Frappe's own source (github.com/frappe/frappe: ``frappe/api/v1.py``,
``frappe/model/base_document.py``, ``frappe/rate_limiter.py``) and ERPNext's (github.com/frappe/erpnext:
``selling/doctype/customer``, ``selling/doctype/sales_order``): 200 for a create, 202 for a delete, 20 documents a page with nothing
but their names, a second customer of a name as ``NAME - 1``, unknown fields dropped without a word.

Not played: permissions by document, workflows, taxes, exchange rates, the filter for HTML in texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, key_of, route
from integrations.sandbox.store import Json, Row, Tx
from integrations.vendors.erpnext.sandbox import errors
from integrations.vendors.erpnext.sandbox.errors import refused

REFERENCE = "custom_firstvalue_reference"
PAGE = 20
LONGEST_DATA = 140
#: field -> type: Data, Check, Date, Int, Float, Text, or ``>DocType`` for a link to one
FIELDS: dict[str, dict[str, str]] = {
    "Customer": {
        "customer_name": "Data", "customer_type": "Data", "customer_group": ">Customer Group", "territory": ">Territory",
        "tax_id": "Data", "default_currency": ">Currency", "payment_terms": ">Payment Terms Template", "disabled": "Check",
        "website": "Data", REFERENCE: "Data",
    },
    "Sales Order": {
        "customer": ">Customer", "customer_name": "Data", "total": "Float", "company": ">Company", "title": "Data",
        "transaction_date": "Date", "delivery_date": "Date",
        "currency": ">Currency", "payment_terms_template": ">Payment Terms Template", "po_no": "Data", "docstatus": "Int",
        "custom_start": "Date", "custom_end": "Date", REFERENCE: "Data",
    },
    "Sales Order Item": {
        "item_code": ">Item", "qty": "Float", "rate": "Float", "description": "Text", "delivery_date": "Date",
        "cost_center": ">Cost Center", "business_unit": ">Business Unit", "name": "Data",
    },
    "Custom Field": {"dt": "Data", "fieldname": "Data", "unique": "Check"},
}  # fmt: skip
_STANDARD = ("name", "creation", "modified", "docstatus", "owner")
_MANDATORY = {"Customer": ("customer_name",), "Sales Order": ("customer", "items")}
#: what is linked, by its name
_LINKED: dict[str, tuple[str, ...]] = {
    "Currency": ("EUR", "USD", "GBP"),
    "Payment Terms Template": ("30 Days", "45 Days"),
    "Company": ("Firstvalue GmbH", "Firstvalue Inc."),
    "Item": ("FV-PRO", "FV-ENT", "FV-IMPL", "FV-SUPPORT", "pro"),
    "Cost Center": ("CC-EMEA", "CC-AMER"),
    "Business Unit": ("BU-MM",),
    "Customer Group": ("Commercial",),
    "Territory": ("Rest Of The World",),
}
_TRANSITIONS = {(0, 0), (0, 1), (1, 1), (1, 2)}


class ErpNext(Dialect):
    name = "erpnext"
    prefix = "/erpnext"
    system = "erp"
    base_path = "/erpnext"
    options = {"business_unit_field": "business_unit"}
    counted = ("Customer", "Sales Order")
    fixed_kinds = ("Custom Field", *_LINKED)
    id_base = 0
    page = re.compile(r"/erpnext/app/(?P<type>customer|sales-order)/(?P<id>[^/]+)")
    page_types = {"customer": "Customer", "sales-order": "Sales Order"}
    always = frozenset({"data", "name", "customer_name", "title", "message", "items", "item_code", "unique", REFERENCE})
    choices = frozenset({"status", "customer_type"})
    #: ``unique``: whether the reference field is; ``mandatory``: fields of Customer that this site has made so
    defaults = {"search_lag": 0.0, "unique": True, "mandatory": []}
    own_settings = frozenset({"unique", "mandatory"})

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:  # noqa: ARG002
        scheme, _, pair = authorization.partition(" ")
        return scheme == "token" and pair.strip() in tokens

    def refusal(self, status: int, message: str) -> Answer:
        return errors.of_status(status, message)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        """In microseconds, but for the reset (``frappe/rate_limiter.py``)."""
        if not limit:
            return {}
        return {
            "X-RateLimit-Limit": str(limit * 1_000_000),
            "X-RateLimit-Remaining": str(max(remaining, 0) * 1_000_000),
            "X-RateLimit-Reset": str(int(seconds)),
        }

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, REFERENCE)

    def preseed(self, tx: Tx) -> None:
        for doctype, names in _LINKED.items():
            for name in names:
                tx.insert(self.name, doctype, name, {"name": name}, lag=0.0, seeded=True)
        for doctype in self.counted:
            row_id = f"{doctype}-{REFERENCE}"
            tx.insert(
                self.name,
                "Custom Field",
                row_id,
                {"dt": doctype, "fieldname": REFERENCE, "unique": 1},
                lag=0.0,
                seeded=True,
            )

    def seed(self, tx: Tx, kind: str, given: Json) -> str:
        named = {"id": given.get("customer_name")} if kind == "Customer" else {}
        return super().seed(tx, kind, {**named, **given})

    @route("GET", "/api/method/frappe.auth.get_logged_user")
    def user(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"message": "firstvalue@sandbox.example"})

    @route("GET", "/api/resource/{doctype}")
    def listed(self, call: Call, doctype: str) -> Answer:
        self._known(doctype)
        filters, fields = json.loads(call.query.get("filters", "[]")), json.loads(call.query.get("fields", '["name"]'))
        for name in [*fields, *(each[0] for each in filters)]:
            if name not in FIELDS[doctype] and name not in (*_STANDARD, "status"):
                raise refused("DataError", f"Field not permitted in query: {name}")
        found = [
            row for row in call.tx.rows(self.name, doctype) if all(self._holds(call, row, each) for each in filters)
        ]
        length, start = int(call.query.get("limit_page_length", PAGE)), int(call.query.get("limit_start", 0))
        shown = found[start : start + length] if length else found[start:]
        return Answer(200, {"data": [{name: self._view(call, row).get(name) for name in fields} for row in shown]})

    @route("POST", "/api/resource/{doctype}")
    def create(self, call: Call, doctype: str) -> Answer:
        self._known(doctype)
        body = self._checked(call, doctype, call.body, {"docstatus": 0})
        row = self.add(call.tx, doctype, body, row_id=self._name(call, doctype, body))
        return Answer(200, {"data": self._view(call, row)})

    @route("GET", "/api/resource/{doctype}/{name}")
    def one(self, call: Call, doctype: str, name: str) -> Answer:
        return Answer(200, {"data": self._view(call, self._row(call, doctype, name))})

    @route("PUT", "/api/resource/{doctype}/{name}")
    def change(self, call: Call, doctype: str, name: str) -> Answer:
        row = self._row(call, doctype, name)
        was, wanted = int(row.body.get("docstatus", 0)), int(call.body.get("docstatus", row.body.get("docstatus", 0)))
        if (was, wanted) not in _TRANSITIONS:
            raise refused("DocstatusTransitionError", f"Cannot change docstatus from {was} to {wanted}")
        if was == 1 and wanted == 1:
            raise refused("UpdateAfterSubmitError", "Not allowed to change fields after submission")
        body = self._checked(call, doctype, call.body, row.body, row)
        return Answer(200, {"data": self._view(call, call.tx.update(row, body, lag=0.0))})

    @route("DELETE", "/api/resource/{doctype}/{name}")
    def delete(self, call: Call, doctype: str, name: str) -> Answer:
        row = self._row(call, doctype, name)
        if row.body.get("docstatus") == 1:
            raise refused("ValidationError", f"{name}: Submitted Record cannot be deleted. You must Cancel it first.")
        if doctype == "Customer" and call.tx.find(self.name, "Sales Order", "customer", name):
            raise refused(
                "LinkExistsError", f"Cannot delete or cancel because Customer {name} is linked with Sales Order"
            )
        call.tx.archive(row)
        return Answer(202, {"data": "ok"})

    # --- What documents do by themselves

    def _known(self, doctype: str) -> None:
        if doctype not in FIELDS:
            raise refused("DoesNotExistError", f"DocType {doctype} not found")

    def _row(self, call: Call, doctype: str, name: str) -> Row:
        self._known(doctype)
        row = call.tx.get(self.name, doctype, name)
        if row is None:
            raise refused("DoesNotExistError", f"{doctype} {name} not found")
        return row

    def _name(self, call: Call, doctype: str, body: Json) -> str:
        if doctype != "Customer":
            return f"SAL-ORD-{datetime.now(UTC).year}-{int(call.tx.new_id(self.name, doctype, 0)):05d}"
        name = str(body["customer_name"])
        if re.search("[<>]", name):
            raise refused("NameError", f"{name}: name cannot contain special characters like '<', '>'")
        chosen, number = name, 0
        while call.tx.get(self.name, doctype, chosen):
            number += 1
            chosen = f"{name} - {number}"
        return chosen

    def _checked(self, call: Call, doctype: str, given: Json, before: Json, row: Row | None = None) -> Json:
        """The whole document. What the doctype does not have is dropped."""
        body = {**before, **self._values(call, doctype, given)}
        if doctype == "Sales Order":
            if "items" in given:
                body["items"] = [self._item(call, each, body, idx) for idx, each in enumerate(given["items"], start=1)]
            body = self._ordered(call, body)
        named = [*_MANDATORY.get(doctype, ()), *(call.settings["mandatory"] if doctype == "Customer" else ())]
        if lacking := [name for name in named if body.get(name) in (None, "", [])]:
            raise refused("MandatoryError", f"[{doctype}, {body.get('customer_name', '')}]: {', '.join(lacking)}")
        self._refuse_taken(call, doctype, body, row)
        return body

    def _values(self, call: Call, doctype: str, given: Json) -> Json:
        known = {name: value for name, value in given.items() if name in FIELDS[doctype]}
        for name, value in known.items():
            kind = FIELDS[doctype][name]
            if kind in ("Data", "Date") and value is not None and not isinstance(value, str):
                raise refused("ValidationError", f"{name} must be a text")
            if kind == "Data" and isinstance(value, str) and len(value) > LONGEST_DATA:
                told = f"'{name}' ({value}) will get truncated, as max characters allowed is {LONGEST_DATA}"
                raise refused("CharacterLengthExceededError", f"{doctype}: {told}")
            if kind == "Date" and value:
                date.fromisoformat(value)
            if kind.startswith(">") and value and not call.tx.get(self.name, kind[1:], str(value)):
                raise refused("LinkValidationError", f"Could not find {kind[1:]}: {value}")
        return {name: value.strip() if isinstance(value, str) else value for name, value in known.items()}

    def _item(self, call: Call, given: Json, order: Json, idx: int) -> Json:
        item = self._values(call, "Sales Order Item", given)
        if not item.get("item_code"):
            raise refused("MandatoryError", "[Sales Order Item]: item_code")
        day = item.get("delivery_date") or order.get("delivery_date")
        if not day:
            raise refused("ValidationError", "Please enter Delivery Date")
        name = item.get("name") or f"row{call.tx.new_id(self.name, 'Sales Order Item', 0)}"
        return {
            "qty": 1.0,
            "rate": 0.0,
            "description": item["item_code"],
            **item,
            "delivery_date": day,
            "idx": idx,
            "name": name,
        }

    def _ordered(self, call: Call, body: Json) -> Json:
        customer = call.tx.get(self.name, "Customer", str(body.get("customer")))
        held = customer.body if customer else {}
        if held.get("disabled"):
            raise refused("PartyDisabled", f"Customer {body['customer']} is disabled")
        today = datetime.now(UTC).date().isoformat()
        whole: Json = {
            "company": "Firstvalue GmbH", "transaction_date": today, "title": held.get("customer_name"),
            "currency": held.get("default_currency") or "EUR", "payment_terms_template": held.get("payment_terms"),
        } | body  # fmt: skip
        if any(item["delivery_date"] < whole["transaction_date"] for item in whole.get("items", [])):
            raise refused("ValidationError", "Expected Delivery Date should be after Sales Order Date")
        total = sum(float(item["qty"]) * float(item["rate"]) for item in whole.get("items", []))
        return whole | {"customer_name": held.get("customer_name"), "total": round(total, 2)}

    def _refuse_taken(self, call: Call, doctype: str, body: Json, row: Row | None) -> None:
        if not (call.settings["unique"] and body.get(REFERENCE)):
            return
        held = call.tx.find(self.name, doctype, REFERENCE, body[REFERENCE])
        if any(row is None or each.seq != row.seq for each in held):
            raise refused("UniqueValidationError", f"{doctype}: Firstvalue Reference must be unique")

    def _holds(self, call: Call, row: Row, given: Any) -> bool:
        field, operator, value = given
        held = self._view(call, row).get(field)
        match operator:
            case "=":
                return _text(held) == _text(value)
            case "like":
                pattern = "".join({"%": ".*", "_": "."}.get(sign) or re.escape(sign) for sign in str(value))
                return re.fullmatch(pattern, str(held or ""), re.IGNORECASE | re.DOTALL) is not None
        raise refused("ValidationError", f"Operator must be one of =, like, not {operator}")

    def _view(self, call: Call, row: Row) -> Json:
        body: Json = {
            "name": row.id,
            "creation": _moment(row.created_at),
            "modified": _moment(row.updated_at),
            **row.body,
        }
        if row.kind == "Sales Order":
            body["status"] = ("Draft", "To Bill", "Cancelled")[int(body.get("docstatus", 0))]
        if row.kind == "Custom Field":
            body["unique"] = int(bool(call.settings["unique"]))
        return body


def _text(value: Any) -> str:
    """As the database compares texts: without regard to case."""
    return str(value if value is not None else "").casefold()


def _moment(at: float) -> str:
    """In the site's own zone, which it does not name."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
