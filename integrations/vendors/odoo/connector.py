"""Odoo 19 and later (ERP), over JSON-2: the customer as a partner, and the order as a quotation.

Sources: see ``schemas``, ``lookups`` and ``lines``; Odoo's own source (github.com/odoo/odoo):
``odoo/addons/base/models/res_partner.py`` (a company has no parent; ``is_company`` is computed from 19.1 on, and then writing
it does nothing), ``addons/base_vat/models/res_partner.py`` (a tax id is checked when it is written, and may be stored in another
form), ``addons/sale/models/sale_order.py`` (``client_order_ref`` is not copied with an order; ``action_cancel`` opens a wizard
unless the context says otherwise, and refuses a locked order). The page of an object: odoo.com/documentation/19.0.

Nothing is unique at Odoo: not ``ref``, not ``vat``, not ``client_order_ref``. Searches are consistent with the database, so that
after a create without an answer it is looked for until the server must have ended the request. Archived partners are hidden from
searches unless ``active_test`` is false.

What ``undo`` put out of use carries a mark behind our reference, and is none for us. One that somebody else has archived, or
cancelled, has no mark, and is for a person to decide on.
"""

from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pydantic

from integrations.connectors.base import Created, Found, MatchKey
from integrations.connectors.erp import ErpConnector, OrderOnRecord
from integrations.connectors.objects import ErpCustomer, ErpOrder, VendorObject
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.vendors.odoo import invoicing, lines
from integrations.vendors.odoo.declared import KINDS, OPTIONS, SECRETS
from integrations.vendors.odoo.lookups import Lookups
from integrations.vendors.odoo.schemas import (
    Context,
    Done,
    Flag,
    Ids,
    Lines,
    Order,
    Orders,
    Partner,
    Partners,
    Version,
    compact,
    moment,
    refusal,
)

M = TypeVar("M", bound=pydantic.BaseModel)
L = TypeVar("L", bound=pydantic.RootModel[list[Any]])
CUSTOMER, ORDER = ErpCustomer.KIND, ErpOrder.KIND
MODELS = {CUSTOMER: "res.partner", ORDER: "sale.order"}
_PARTNER_FIELDS = ["name", "ref", "vat", "email", "city", "active", "create_date", "write_date"]
_ORDER_FIELDS = ["name", "client_order_ref", "origin", "state", "company_id", "create_date", "write_date"]
_REFERENCE = {CUSTOMER: "ref", ORDER: "client_order_ref"}
MARK = ":undone"
"""Behind our reference: it was us who archived or cancelled it."""
_MOST = 100
_LARGEST_ID = 2**31 - 1
_CONFIRMED = ("sale", "done")
_CANCELLED = "cancel"
_NEEDED = {
    "res.partner": ("read", "create", "write"),
    "sale.order": ("read", "create", "write"),
    "product.product": ("read",),
    "product.pricelist": ("read",),
    "account.payment.term": ("read",),
    "account.analytic.account": ("read",),
}


class Odoo(ErpConnector):
    provider = "odoo"
    systems = frozenset({"erp"})
    hosts = ("*",)
    kinds, options, secrets = KINDS, OPTIONS, SECRETS
    invoiceable_when = invoicing.WHEN
    _values_sent: Mapping[str, str] = {}
    probes = "the key and whose it is, the version, and the user's rights on partners, orders and what they name"

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:
        database = str(connection.options.get("database") or "").strip()
        return {"Authorization": f"bearer {token}", **({"X-Odoo-Database": database} if database else {})}

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        """A tax id is one legal entity's; a name is not, so that a person decides on a namesake."""
        value = key.value.strip()
        if not value:
            return []
        match kind, key.name:
            case "customer" | "order", "reference":
                return self._found(kind, [[_REFERENCE[kind], "=", value]])
            case "customer", "tax-id":
                return self._with_tax_id(value)
            case "customer", "name":
                namesakes = self._partners([["name", "=ilike", _literal(value)]])
                return [_partner(self, each, conclusive=False) for each in namesakes]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        return next(iter(self._found(kind, [["id", "=", int(external_id)]])), None) if _is_id(external_id) else None

    def _found(self, kind: str, domain: list[Any]) -> list[Found]:
        if kind == CUSTOMER:
            return [_partner(self, each) for each in self._partners(domain)]
        return [_order(self, each) for each in self._orders(domain)]

    def _partners(self, domain: list[Any]) -> list[Partner]:
        """Companies, archived ones too, but for those that we have archived. Raises ``ProviderError``."""
        whole = [["parent_id", "=", False], *domain]
        listed = self.search("res.partner", whole, _PARTNER_FIELDS, Partners, most=_MOST, archived=True).root
        return [each for each in listed if each.active or not each.ref.endswith(MARK)]

    def _orders(self, domain: list[Any]) -> list[Order]:
        """But for those that we have cancelled. Raises ``ProviderError``."""
        listed = self.search("sale.order", domain, _ORDER_FIELDS, Orders, most=_MOST).root
        return [each for each in listed if each.state != _CANCELLED or not each.client_order_ref.endswith(MARK)]

    def _with_tax_id(self, tax_id: str) -> list[Found]:
        """Stored with signs between the digits or without, and with its country's letters or without: compared as it is meant."""
        number = compact(tax_id)
        bare = number[2:] if number[:2].isalpha() else number
        if not bare.isascii():
            return []
        spaced = "%".join(["", *bare, ""])
        wanted = {number, bare}
        same = [each for each in self._partners([["vat", "=ilike", spaced]]) if wanted & _forms(each.vat)]
        return [_partner(self, each) for each in same]

    def search(
        self,
        model: str,
        domain: list[Any],
        fields: list[str],
        expect: type[L],
        *,
        most: int,
        archived: bool = False,
        order: str = "id",
    ) -> L:
        """``archived``: those too. Raises ``ProviderError``, also where there are over ``most``."""
        context = {"active_test": False} if archived else {}
        arguments = {"domain": domain, "fields": fields, "limit": most + 1, "order": order}
        answer = self._call(model, "search_read", expect, reads=True, context=context, **arguments)
        if len(answer.root) > most:
            raise ProviderError(
                Kind.INVALID, f"Over {most} records of Odoo's {model} match: too many to tell them apart"
            )
        return answer

    def order_on_record(self, external_id: str) -> OrderOnRecord | None:
        return invoicing.order_on_record(self.search, int(external_id)) if _is_id(external_id) else None

    def _call(
        self,
        model: str,
        method: str,
        expect: type[M],
        *,
        reads: bool = False,
        context: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> M:
        """Raises ``ProviderError``: a call that Odoo refuses for a fault of the request had no effect, whatever its status."""
        body = {"context": {"lang": "en_US", **(context or {})}, **arguments}
        try:
            return self.http.request("POST", f"/json/2/{model}/{method}", json=body, expect=expect, reads=reads).data
        except ProviderError as error:
            if error.kind is Kind.NOT_CONFIGURED and error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
                error.effect_possible = False
            raise

    @cached_property
    def _lookups(self) -> Lookups:
        return Lookups(self.search, self._user)

    def _user(self) -> int:
        return self._call("res.users", "context_get", Context, reads=True).uid

    def page(self, kind: str, external_id: str) -> str:
        return f"{self.connection.base_url}/odoo/{MODELS[kind]}/{external_id}" if _is_id(external_id) else ""

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """One call with the order's lines in it, which is one transaction at Odoo."""
        match wanted:
            case ErpCustomer():
                values, context = self._partner_values(wanted)
                values |= {"is_company": True}
            case ErpOrder():
                values, context = self._order_values(wanted)
                values["order_line"] = lines.commands(wanted, self._lookups)
            case _:
                raise TypeError(f"odoo has no {wanted.kind}")
        kind, whole = wanted.kind, {name: value for name, value in values.items() if value not in ("", None, [])}
        whole[_REFERENCE[kind]] = reference
        self._sent(wanted)
        made = self._call(MODELS[kind], "create", Ids, context=context, vals_list=[whole]).root
        if len(made) != 1:
            raise ProviderError(Kind.MALFORMED, f"Odoo named {len(made)} new records for one", effect_possible=True)
        return Created(str(made[0]), self.page(kind, str(made[0])))

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """Of an order only while it is a quotation: a confirmed one is finance's."""
        if not isinstance(wanted, ErpCustomer | ErpOrder):
            super().update(external_id, wanted)
            return
        if not _is_id(external_id):
            raise ProviderError(Kind.NOT_FOUND, f"Odoo has no {wanted.kind} {external_id}")
        kind, row_id = wanted.kind, int(external_id)
        if isinstance(wanted, ErpOrder):
            self._refuse_confirmed(row_id)
            values, context = self._order_values(wanted)
            if wanted.lines is not None or wanted.schedule is not None:
                there = self.search("sale.order.line", [["order_id", "=", row_id]], lines.FIELDS, Lines, most=1_000)
                values["order_line"] = lines.commands(wanted, self._lookups, there.root)
        else:
            values, context = self._partner_values(wanted)
        given = {name: value for name, value in values.items() if value not in ("", None, [])}
        if given:
            self._sent(wanted)
            self._call(MODELS[kind], "write", Done, context=context, ids=[row_id], vals=given)

    def _refuse_confirmed(self, row_id: int) -> None:
        order = next(iter(self._orders([["id", "=", row_id]])), None)
        if order is None:
            raise ProviderError(Kind.NOT_FOUND, f"Odoo has no order {row_id}")
        if order.state in (*_CONFIRMED, _CANCELLED):
            state = "cancelled" if order.state == _CANCELLED else "confirmed"
            message = (
                f"The order {order.name or row_id} is {state} at Odoo: change it there, or make it a quotation again"
            )
            raise ProviderError(Kind.CONFLICT, message)

    def _partner_values(self, wanted: ErpCustomer) -> tuple[dict[str, Any], dict[str, Any]]:
        """And the context, as payment terms and price list are a company's own."""
        look = self._lookups
        company = look.company(wanted.subsidiary) if wanted.subsidiary else None
        values: dict[str, Any] = {"name": wanted.name, "vat": wanted.tax_id, "email": wanted.email}
        if wanted.country:
            values["country_id"] = look.country(wanted.country)
        if wanted.payment_terms:
            values["property_payment_term_id"] = look.payment_terms(wanted.payment_terms, company)
        if wanted.currency:
            values["property_product_pricelist"] = look.pricelist(wanted.currency, company)
        return values, {"allowed_company_ids": [company.id]} if company else {}

    def _order_values(self, wanted: ErpOrder) -> tuple[dict[str, Any], dict[str, Any]]:
        """But for the lines. An order's currency is its price list's."""
        look = self._lookups
        company = look.company(wanted.subsidiary) if wanted.subsidiary else None
        values: dict[str, Any] = {"origin": wanted.name, "company_id": company.id if company else None}
        if wanted.customer_id:
            values["partner_id"] = int(wanted.customer_id)
        if wanted.payment_terms:
            values["payment_term_id"] = look.payment_terms(wanted.payment_terms, company)
        if wanted.currency:
            values["pricelist_id"] = look.pricelist(wanted.currency, company)
        if wanted.schedule:
            days = {"start_field": wanted.schedule["billing_start"], "end_field": wanted.schedule["billing_end"]}
            values |= {field: day for option, day in days.items() if (field := self.option(option))}
        return values, {"allowed_company_ids": [company.id]} if company else {}

    def _sent(self, wanted: VendorObject) -> None:
        tax_id = compact(wanted.tax_id) if isinstance(wanted, ErpCustomer) else ""
        self._values_sent = {"tax_id": tax_id[2:] if tax_id[:2].isalpha() else tax_id}

    def undo(self, kind: str, external_id: str) -> None:
        """Marked and archived, or marked and cancelled. What somebody else has put out of use stays as it is."""
        if kind not in MODELS:
            super().undo(kind, external_id)
        if not _is_id(external_id):
            return
        row_id = int(external_id)
        if kind == CUSTOMER:
            self._archive(row_id)
        else:
            self._cancel(row_id)

    def _archive(self, row_id: int) -> None:
        partner = next(iter(self._partners([["id", "=", row_id]])), None)
        if partner is None or not partner.active:
            return
        values = {"active": False, "ref": f"{partner.ref}{MARK}"}
        try:
            self._call("res.partner", "write", Done, ids=[row_id], vals=values)
        except ProviderError as error:
            raise _not_undone(error, f"The customer {row_id} could not be archived") from None

    def _cancel(self, row_id: int) -> None:
        """The mark first: a cancelled order without one is somebody else's decision."""
        order = next(iter(self._orders([["id", "=", row_id]])), None)
        if order is None or order.state == _CANCELLED:
            return
        if order.state in _CONFIRMED:
            message = f"The order {order.name or row_id} is confirmed at Odoo, and may be invoiced: cancel it there"
            raise ProviderError(Kind.CONFLICT, message)
        try:
            if not order.client_order_ref.endswith(MARK):
                marked = {"client_order_ref": f"{order.client_order_ref}{MARK}"}
                self._call("sale.order", "write", Done, ids=[row_id], vals=marked)
            quietly = {"disable_cancel_warning": True}
            self._call("sale.order", "action_cancel", Done, context=quietly, ids=[row_id])
        except ProviderError as error:
            raise _not_undone(error, f"The order {row_id} could not be cancelled") from None

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        """Raises ``ProviderError(NOT_CONFIGURED)`` where the user lacks a right, or Odoo an app."""
        version = self.http.request("GET", "/web/version", expect=Version).data.version
        uid = self._user()
        lacking = [
            f"{operation} {model}"
            for model, operations in _NEEDED.items()
            for operation in operations
            if not self._call(model, "has_access", Flag, reads=True, operation=operation).root
        ]
        if lacking:
            raise ProviderError(Kind.NOT_CONFIGURED, f"The key's user at Odoo must not {', '.join(lacking)}")
        return f"Odoo {version} at {urlsplit(self.connection.base_url).hostname}, as user {uid}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        return refusal(status, body, self._values_sent)


def _partner(connector: Odoo, made: Partner, *, conclusive: bool = True) -> Found:
    shown = {
        "tax id": made.vat,
        "email": made.email,
        "city": made.city,
        "reference": made.ref,
        "created": made.create_date,
    }
    evidence = {name: value for name, value in shown.items() if value}
    row_id, inactive = str(made.id), "" if made.active else "archived"
    return Found(
        row_id, made.name or row_id, connector.page(CUSTOMER, row_id), evidence,
        conclusive=conclusive, changed_at=moment(made.write_date), inactive=inactive,
    )  # fmt: skip


def _order(connector: Odoo, made: Order) -> Found:
    shown = {"state": made.state, "reference": made.client_order_ref, "created": made.create_date}
    evidence = {name: value for name, value in shown.items() if value}
    row_id, inactive = str(made.id), "cancelled" if made.state == _CANCELLED else ""
    label = ": ".join(filter(None, (made.name, made.origin))) or row_id
    return Found(
        row_id, label, connector.page(ORDER, row_id), evidence, changed_at=moment(made.write_date), inactive=inactive
    )


def _not_undone(error: ProviderError, what: str) -> ProviderError:
    if error.kind in (Kind.FORBIDDEN, Kind.CONFLICT, Kind.INVALID):
        error.message, error.fields = f"{what}: {error.message}", []  # no value of ours is to be fixed
    return error


def _forms(tax_id: str) -> set[str]:
    number = compact(tax_id)
    return {number, number[2:]} if number[:2].isalpha() else {number}


def _literal(text: str) -> str:
    """For ``=ilike``, to which some signs mean something else."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) <= _LARGEST_ID
