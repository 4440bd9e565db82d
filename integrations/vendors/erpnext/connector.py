"""ERPNext 14 and later (ERP): the customer, and the order as a draft.

Sources: see ``schemas``; docs.frappe.io/framework/user/en/api/rest (filters, token authentication) and ERPNext's own source
(github.com/frappe/erpnext): ``erpnext/selling/doctype/customer/customer.py`` (an equal name becomes ``NAME - 1``, without an
error) and ``customer.json``, ``erpnext/selling/doctype/sales_order/sales_order.py`` and ``sales_order.json`` (``docstatus``, a day
of delivery that is not before the order's, links by name).

Our reference stands in a custom field that the database keeps unique: of two creates with one reference the second is refused.
Reads see every write at once. What is linked (currency, payment terms, item, cost centre, company) is named, and ERPNext refuses
what it does not have. A customer has no country: that is an address, which needs a street that nobody told us.

A child table is replaced as a whole: a change reads the order's rows and sends those that people added as they are.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from integrations.connectors.base import Created, Found, MatchKey
from integrations.connectors.erp import ErpConnector, OrderOnRecord
from integrations.connectors.objects import ErpCustomer, ErpOrder, OrderLine, OrderSchedule, VendorObject
from integrations.errors import Kind, ProviderError
from integrations.http.client import segment
from integrations.models import Connection
from integrations.vendors.erpnext.declared import KINDS, OPTIONS, SECRETS
from integrations.vendors.erpnext.schemas import Document, Many, One, Row, Settings, User, refusal

CUSTOMER, ORDER = ErpCustomer.KIND, ErpOrder.KIND
DOCTYPES = {CUSTOMER: "Customer", ORDER: "Sales Order"}
_FIELDS = {
    CUSTOMER: ["name", "customer_name", "tax_id", "disabled", "creation", "modified"],
    ORDER: ["name", "title", "customer_name", "docstatus", "status", "creation", "modified"],
}
_DRAFT, _CANCELLED = 0, 2
_MOST = 100
MARK = ":undone"
"""Behind our reference: it was us who disabled the customer."""


class ErpNext(ErpConnector):
    provider = "erpnext"
    systems = frozenset({"erp"})
    hosts = ("*",)
    kinds, options, secrets = KINDS, OPTIONS, SECRETS
    invoiceable_when = "the sales order is submitted, and neither closed nor on hold"
    _values_sent: Mapping[str, str] = {}
    probes = "the key and whose it is, that customers and orders can be read, and that the reference field is there and unique"

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        return {"Authorization": f"token {token}", "Accept": "application/json"}

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        """A tax id is one legal entity's; a name is not, so that a person decides on a namesake."""
        value = key.value.strip()
        if not value:
            return []
        match kind, key.name:
            case "customer" | "order", "reference":
                return self._all(kind, [[self._reference, "=", value]])
            case "customer", "tax-id":
                same = [
                    each
                    for each in self._listed(kind, [["tax_id", "like", _spaced(value)]])
                    if _same_tax_id(each, value)
                ]
                return [self._found(kind, each) for each in same]
            case "customer", "name":
                return self._all(kind, [["customer_name", "=", value]], conclusive=False)
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        there = self._document(kind, external_id)
        return self._found(kind, there) if there and not self._is_undone(there) else None

    def _document(self, kind: str, external_id: str) -> Document | None:
        try:
            path = _path(kind, external_id)
        except ValueError:
            return None
        found = self.read(path, One)
        return found.data if found else None

    def order_on_record(self, external_id: str) -> OrderOnRecord | None:
        """docs.frappe.io/erpnext/user/manual/en/sales-order: an invoice is made of a submitted order."""
        there = self._document(ORDER, external_id)
        if there is None:
            return None
        customer = self._document(CUSTOMER, there.text("customer"))
        return OrderOnRecord(
            there.order_state,
            there.name,
            customer_id=there.text("customer"),
            tax_id=customer.tax_id if customer else "",
            currency=there.text("currency"),
            payment_terms=there.text("payment_terms_template"),
            lines=len(there.items),
            total=Decimal(there.text("total") or 0),
        )

    def _listed(self, kind: str, filters: list[Any]) -> list[Document]:
        """But for those that we have disabled. Raises ``ProviderError``, also where there are too many."""
        asked = {
            "filters": json.dumps(filters),
            "fields": json.dumps([*_FIELDS[kind], self._reference]),
            "limit_page_length": str(_MOST + 1),
            "order_by": "creation asc",
        }
        listed = self.http.request("GET", _path(kind), params=asked, expect=Many).data.data
        if len(listed) > _MOST:
            raise ProviderError(Kind.INVALID, f"Over {_MOST} documents of ERPNext match: too many to tell them apart")
        return [each for each in listed if not self._is_undone(each)]

    def _all(self, kind: str, filters: list[Any], *, conclusive: bool = True) -> list[Found]:
        return [self._found(kind, each, conclusive=conclusive) for each in self._listed(kind, filters)]

    @property
    def _reference(self) -> str:
        return self.option("reference_field")

    def _is_undone(self, document: Document) -> bool:
        return bool(document.disabled) and document.text(self._reference).endswith(MARK)

    def _found(self, kind: str, made: Document, *, conclusive: bool = True) -> Found:
        shown = {
            "tax id": made.tax_id,
            "state": made.status,
            "reference": made.text(self._reference),
            "created": made.creation,
            "changed": made.modified,
        }
        evidence = {name: value for name, value in shown.items() if value}
        if kind == CUSTOMER:
            label, inactive = made.customer_name, "disabled" if made.disabled else ""
        else:
            label = ": ".join(filter(None, (made.name, made.title)))
            inactive = "cancelled" if made.docstatus == _CANCELLED else ""
        return Found(
            made.name,
            label or made.name,
            self.page(kind, made.name),
            evidence,
            conclusive=conclusive,
            inactive=inactive,
        )

    def page(self, kind: str, external_id: str) -> str:
        doctype = DOCTYPES[kind].lower().replace(" ", "-")
        return f"{self.connection.base_url}/app/{doctype}/{quote(external_id, safe='')}"

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        match wanted:
            case ErpCustomer():
                own = {"customer_group": self.option("customer_group"), "territory": self.option("territory")}
                values = {"customer_type": "Company", **own, **_customer_values(wanted)}
            case ErpOrder():
                items = self._items(wanted.lines or [], wanted.schedule)
                values = {**self._order_values(wanted), "items": items}
            case _:
                raise TypeError(f"erpnext has no {wanted.kind}")
        self._sent(wanted)
        whole = _given(values) | {self._reference: reference}
        made = self.http.request("POST", _path(wanted.kind), json=whole, expect=One).data.data.name
        return Created(made, self.page(wanted.kind, made))

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """Of an order only while it is a draft: a submitted one is finance's."""
        match wanted:
            case ErpCustomer():
                values = _customer_values(wanted)
            case ErpOrder():
                draft = self._draft(external_id)
                values = self._order_values(wanted)
                if wanted.lines is not None:
                    values["items"] = self._replaced(wanted, draft.items)
            case _:
                super().update(external_id, wanted)
                return
        given = _given(values)
        if given:
            self._sent(wanted)
            self.http.request("PUT", _path(wanted.kind, external_id), json=given, expect=One)

    def _draft(self, external_id: str) -> Document:
        there = self._document(ORDER, external_id)
        if there is None:
            raise ProviderError(Kind.NOT_FOUND, f"ERPNext has no order {external_id}")
        if there.docstatus != _DRAFT:
            state = "cancelled" if there.docstatus == _CANCELLED else "submitted"
            raise ProviderError(Kind.CONFLICT, f"The order {external_id} is {state} at ERPNext: change it there")
        return there

    def _order_values(self, wanted: ErpOrder) -> dict[str, Any]:
        values: dict[str, Any] = {
            "customer": wanted.customer_id,
            "company": wanted.subsidiary,
            "title": wanted.name,
            "currency": wanted.currency,
            "payment_terms_template": wanted.payment_terms,
        }
        if days := wanted.schedule:
            values |= {"transaction_date": days["billing_start"], "delivery_date": _delivery(days)}
            named = {"start_field": days["billing_start"], "end_field": days["billing_end"]}
            values |= {field: day for option, day in named.items() if (field := self.option(option))}
        return values

    def _items(self, lines: list[OrderLine], days: OrderSchedule | None) -> list[dict[str, Any]]:
        return [self._item(line, days) for line in lines]

    def _item(self, line: OrderLine, days: OrderSchedule | None) -> dict[str, Any]:
        """Raises ``ProviderError(NOT_CONFIGURED)`` where its business unit would be lost."""
        starts, ends = line.get("revenue_start", ""), line.get("revenue_end", "")
        told = [line.get("description") or line["product"], f"Revenue from {starts} to {ends}" if starts else ""]
        if days:
            told.append(f"Billed from {days['billing_start']} to {days['billing_end']} ({days['term']})")
        unit = line.get("business_unit", "")
        field = self.option("business_unit_field")
        if unit and not field:
            message = f"The playbook names the business unit {unit}: enter the option business_unit_field"
            raise ProviderError(Kind.NOT_CONFIGURED, message)
        item = {
            "item_code": line["product"],
            "qty": line["quantity"],
            "rate": float(line["unit_price"]),
            "description": "\n".join(filter(None, told)),
            "delivery_date": _delivery(days) if days else "",
            "cost_center": line.get("cost_centre", ""),
        }
        return _given(item | ({field: unit} if unit else {}))

    def _replaced(self, wanted: ErpOrder, there: list[Row]) -> list[dict[str, Any]]:
        """The wanted items, and the rows that are none of ours: ours are known by item, as often as the order had them of us."""
        ours = [line["product"] for line in [*(wanted.former_lines or [])]]
        new = self._items(wanted.lines or [], wanted.schedule)
        described = {(item["item_code"], item["description"]) for item in new}
        kept = []
        for row in there:
            if row.item_code in ours:
                ours.remove(row.item_code)
            elif (row.item_code, row.description) not in described:
                kept.append(row.model_dump())
        return [*new, *kept]

    def _sent(self, wanted: VendorObject) -> None:
        given = {name: value for name, value in wanted.given().items() if isinstance(value, str)}
        if isinstance(wanted, ErpOrder):
            for line in wanted.lines or []:
                given |= {"cost_centre": line.get("cost_centre", ""), "lines": line["product"]}
        self._values_sent = {name: value for name, value in given.items() if name != "customer_id"}

    def undo(self, kind: str, external_id: str) -> None:
        """A customer is disabled, with a mark; a draft is deleted. What somebody else has disabled stays as it is."""
        if kind not in DOCTYPES:
            super().undo(kind, external_id)
        there = self._document(kind, external_id)
        if there is None or there.disabled or there.docstatus == _CANCELLED:
            return
        if kind == ORDER:
            if there.docstatus != _DRAFT:
                message = f"The order {external_id} is submitted at ERPNext, and may be invoiced: cancel it there"
                raise ProviderError(Kind.CONFLICT, message)
            self.delete(kind, external_id, _path(kind, external_id), ok=(200, 202))
            return
        values = {"disabled": 1, self._reference: f"{there.text(self._reference)}{MARK}"}
        try:
            self.http.request("PUT", _path(kind, external_id), json=values, expect=One)
        except ProviderError as error:
            if error.kind in (Kind.FORBIDDEN, Kind.CONFLICT, Kind.INVALID):
                error.message = f"The customer {external_id} could not be disabled: {error.message}"
                error.fields = []  # no value of ours is to be fixed
            raise

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        """Raises ``ProviderError(NOT_CONFIGURED)`` where the reference field lacks, or where it is known not to be unique."""
        user = self.http.request("GET", "/api/method/frappe.auth.get_logged_user", expect=User).data.message
        for kind, doctype in DOCTYPES.items():
            try:
                self._listed(kind, [[self._reference, "=", "firstvalue:probe"]])
            except ProviderError as error:
                if error.kind is not Kind.INVALID:
                    raise
                message = f"ERPNext's {doctype} has no field {self._reference}, or not for us: {error.message}"
                raise ProviderError(Kind.NOT_CONFIGURED, message, error.http_status) from None
            if self._is_unique(doctype) is False:
                raise ProviderError(
                    Kind.NOT_CONFIGURED, f"The field {self._reference} of {doctype} must be marked Unique"
                )
        return f"ERPNext at {urlsplit(self.connection.base_url).hostname}, as {user}"

    def _is_unique(self, doctype: str) -> bool | None:
        """None where our user may not read how the site was customised."""
        filters = [["dt", "=", doctype], ["fieldname", "=", self._reference]]
        asked = {"filters": json.dumps(filters), "fields": json.dumps(["name", "unique"])}
        try:
            found = self.http.request("GET", "/api/resource/Custom%20Field", params=asked, expect=Settings).data.data
        except ProviderError as error:
            if error.kind is Kind.FORBIDDEN:
                return None
            raise
        return bool(found[0].unique) if found else None

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        return refusal(status, body, self._values_sent)


def _path(kind: str, *more: str) -> str:
    return "/".join(["/api/resource", quote(DOCTYPES[kind]), *(segment(each) for each in more)])


def _customer_values(wanted: ErpCustomer) -> dict[str, Any]:
    return {
        "customer_name": wanted.name,
        "tax_id": wanted.tax_id,
        "default_currency": wanted.currency,
        "payment_terms": wanted.payment_terms,
    }


def _delivery(days: OrderSchedule) -> str:
    """ERPNext takes no day before the order's own."""
    return max(days["revenue_start"], days["billing_start"])


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None, [])}


def _compact(text: str) -> str:
    return "".join(character for character in text.upper() if character.isalnum())


def _bare(tax_id: str) -> str:
    number = _compact(tax_id)
    return number[2:] if number[:2].isalpha() else number


def _spaced(tax_id: str) -> str:
    """A pattern that finds the number however it is written."""
    return "%".join(["", *_bare(tax_id), ""])


def _same_tax_id(document: Document, tax_id: str) -> bool:
    held, wanted = _compact(document.tax_id), _compact(tax_id)
    return held in (wanted, _bare(tax_id)) or (_bare(held) == wanted and held[:2].isalpha())
