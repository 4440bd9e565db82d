"""Odoo 19 over JSON-2: models, domains, commands, archived records, tax ids, currencies of price lists, states of orders.

Taken from odoo.com/documentation/19.0/developer/reference/external_api.html and Odoo's own source (github.com/odoo/odoo, 19.0):
``addons/rpc/controllers/json2.py`` (arguments by name, 404 and 422), ``odoo/orm/models.py``, ``odoo/orm/fields_relational.py``
(an empty value is false, a reference ``[id, name]``; commands; ``check_company``), ``addons/sale/models/sale_order.py``
(``action_confirm``, ``action_cancel``, the currency of the price list) and ``sale_order_line.py`` (what lines need), and the
sources that ``fields`` and ``tax_ids`` name.

Nothing is unique, and a search sees every write at once. Not played: access by record rules, languages, attachments, taxes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, key_of, route
from integrations.sandbox.store import Json, Row, Tx
from integrations.vendors.odoo.sandbox import domains, errors, fields, orders, tax_ids
from integrations.vendors.odoo.sandbox.errors import refused

ME = "2"
_COUNTED = ("res.partner", "sale.order")
_SEEDED: dict[str, dict[str, Json]] = {
    "res.currency": {"1": {"name": "USD"}, "125": {"name": "EUR"}, "142": {"name": "GBP"}},
    "res.country": {
        "12": {"name": "Austria", "code": "AT"}, "43": {"name": "Switzerland", "code": "CH"},
        "57": {"name": "Germany", "code": "DE"}, "75": {"name": "France", "code": "FR"},
        "88": {"name": "Greece", "code": "GR"}, "165": {"name": "Netherlands", "code": "NL"},
        "231": {"name": "United Kingdom", "code": "GB"}, "233": {"name": "United States", "code": "US"},
    },
    "res.company": {
        "1": {"name": "Firstvalue GmbH", "currency_id": 125}, "2": {"name": "Firstvalue Inc.", "currency_id": 1},
    },
    "res.users": {ME: {"name": "Firstvalue", "login": "firstvalue@sandbox.example", "company_id": 1, "active": True}},
    "product.pricelist": {
        "1": {"name": "Default", "currency_id": 125, "active": True, "sequence": 1, "company_id": 1},
        "2": {"name": "Dollars", "currency_id": 1, "active": True, "sequence": 2},
    },
    "account.payment.term": {
        "1": {"name": "Immediate Payment", "active": True}, "2": {"name": "30 Days", "active": True},
        "3": {"name": "45 Days", "active": True, "company_id": 2},
    },
    "product.product": {
        "11": {"name": "Pro", "default_code": "FV-PRO", "active": True},
        "12": {"name": "Enterprise", "default_code": "FV-ENT", "active": True},
        "13": {"name": "Implementation", "default_code": "FV-IMPL", "active": True},
        "14": {"name": "Managed support", "default_code": "FV-SUPPORT", "active": True},
        "15": {"name": "Pro", "default_code": "pro", "active": True},
    },
    "account.analytic.account": {
        "21": {"name": "EMEA", "code": "CC-EMEA", "active": True, "plan_id": 1},
        "22": {"name": "Americas", "code": "CC-AMER", "active": True, "plan_id": 1},
        "31": {"name": "Mid-market", "code": "BU-MM", "active": True, "plan_id": 2},
    },
}  # fmt: skip


class Odoo(Dialect):
    name = "odoo"
    prefix = "/odoo"
    system = "erp"
    base_path = "/odoo"
    counted = _COUNTED
    fixed_kinds = tuple(kind for kind in fields.MODELS if kind not in _COUNTED)
    id_base = 4_000
    page = re.compile(r"/odoo/odoo/(?P<kind>res\.partner|sale\.order)/(?P<id>\d+)")
    always = frozenset(
        {"id", "name", "ref", "client_order_ref", "default_code", "code", "uid", "version", "product_id"}
    )
    choices = frozenset({"state"})
    #: ``refused``: rights that our user lacks, as "create sale.order"; ``database``: the one that the header must name
    defaults = {"search_lag": 0.0, "refused": [], "database": ""}
    own_settings = frozenset({"refused", "database"})

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:  # noqa: ARG002
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and key.strip() in tokens

    def refusal(self, status: int, message: str) -> Answer:
        return errors.answer(status, message)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        """None are documented."""
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        return key_of(body, "ref" if kind == "res.partner" else "client_order_ref")

    def preseed(self, tx: Tx) -> None:
        for model, rows in _SEEDED.items():
            for row_id, body in rows.items():
                tx.insert(self.name, model, row_id, body, lag=0.0, seeded=True)

    def seed(self, tx: Tx, kind: str, given: Json) -> str:
        return super().seed(tx, kind, {**fields.DEFAULTS.get(kind, {}), **given})

    def handle(self, call: Call) -> Answer:
        wanted = call.settings["database"]
        if wanted and call.headers.get("X-Odoo-Database", "") != wanted:
            return Answer(HTTPStatus.NOT_FOUND, raw=("text/html", b"<html><body><h1>Not Found</h1></body></html>"))
        if call.has_body and not call.says_json:
            return self.refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "")
        return super().handle(call)

    @route("GET", "/web/version")
    def version(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"version": "19.0", "version_info": [19, 0, 0, "final", 0, ""]})

    @route("POST", "/json/2/{model}/{method}")
    def called(self, call: Call, model: str, method: str) -> Answer:
        arguments = dict(call.body)
        ids, context = arguments.pop("ids", []), arguments.pop("context", {})
        if model not in fields.MODELS:
            raise refused(404, f"the model '{model}' does not exist", "werkzeug.exceptions.NotFound")
        found = METHODS.get(method)
        if found is None or (found.models and model not in found.models):
            raise refused(404, f"The method '{model}.{method}' does not exist", "werkzeug.exceptions.NotFound")
        if not found.on_records and ids:
            raise refused(422, f"cannot call {model}.{method} with ids", "werkzeug.exceptions.UnprocessableEntity")
        for name in arguments:
            if name not in (*found.required, *found.optional):
                raise refused(422, f"got an unexpected keyword argument '{name}'", NOT_BOUND)
        for name in found.required:
            if name not in arguments:
                raise refused(422, f"missing a required argument: '{name}'", NOT_BOUND)
        records = Records(self, call, model, list(ids), dict(context))
        if found.right and f"{found.right} {model}" in call.settings["refused"]:
            raise refused(403, f"You are not allowed to {found.right} '{model}' records.")
        return Answer(200, found.run(records, **arguments))


NOT_BOUND = "werkzeug.exceptions.UnprocessableEntity"


class Records:
    """Some records of one model, in the hands of one call."""

    def __init__(self, dialect: Dialect, call: Call, model: str, ids: list[int], context: Json) -> None:
        self.dialect, self.call, self.model, self.ids, self.context = dialect, call, model, ids, context

    def of(self, model: str, ids: Sequence[int] = ()) -> Records:
        return Records(self.dialect, self.call, model, list(ids), self.context)

    @property
    def company(self) -> int:
        allowed = self.context.get("allowed_company_ids") or [1]
        return int(allowed[0])

    def rows(self) -> list[Row]:
        """Those of ``ids``. Raises ``Refused`` where one is gone."""
        found = [self.row(self.model, row_id) for row_id in self.ids]
        if None in found:
            raise refused(404)
        return [row for row in found if row is not None]

    def row(self, model: str, row_id: Any) -> Row | None:
        return self.call.tx.get(self.dialect.name, model, str(row_id)) if row_id else None

    def all(self, model: str) -> list[Row]:
        return self.call.tx.rows(self.dialect.name, model)

    def value(self, model: str, row: Row, path: str) -> Any:
        """Of a field, or of a field of the record that it refers to."""
        field, _, rest = path.partition(".")
        kind = fields.type_of(model, field)
        if rest and kind.startswith(">"):
            other = self.row(kind[1:], row.body.get(field))
            return self.value(kind[1:], other, rest) if other else False
        if field == "id":
            return int(row.id)
        if field == "display_name":
            return row.body.get("name") or False
        if field in ("create_date", "write_date"):
            return _moment(row.created_at if field == "create_date" else row.updated_at)
        if kind.startswith("<"):
            model, _, inverse = kind[1:].rpartition(".")
            return [int(each.id) for each in self.all(model) if each.body.get(inverse) == int(row.id)]
        return row.body.get(field, False)

    def shown(self, row: Row, names: Sequence[str], *, with_names: bool = True) -> Json:
        body: Json = {"id": int(row.id)}
        for name in names:
            held, kind = self.value(self.model, row, name), fields.type_of(self.model, name)
            other = self.row(kind[1:], held) if kind.startswith(">") and with_names else None
            body[name] = [held, other.body.get("name") or ""] if other else held
        return body

    def write(self, row: Row, values: Json) -> Row:
        return self.call.tx.update(row, {**row.body, **values}, lag=0.0)

    def insert(self, model: str, values: Json) -> Row:
        return self.dialect.add(self.call.tx, model, values)

    # --- What a model does by itself

    def created(self, values: Any) -> Row:
        body = {**fields.DEFAULTS.get(self.model, {}), **fields.checked(self.model, values)}
        lines = body.pop("order_line", [])
        if self.model == "sale.order":
            body = orders.completed(self, body)
        fields.refuse_lacking(self.model, body)
        row = self.insert(self.model, self._computed(body))
        self._write_lines(row, lines)
        return row

    def changed(self, row: Row, values: Any) -> None:
        given = fields.checked(self.model, values)
        lines = given.pop("order_line", [])
        if self.model == "sale.order":
            given = orders.changed(self, row, given)
        body = self._computed({**row.body, **given}, was=row.body)
        fields.refuse_lacking(self.model, body)
        self._write_lines(self.write(row, body), lines)

    def _computed(self, body: Json, was: Json | None = None) -> Json:
        """What is derived from what was written, and refused by constraints."""
        if self.model == "res.partner" and body.get("vat"):
            country = self.row("res.country", body.get("country_id"))
            is_same = was is not None and all(was.get(name) == body.get(name) for name in ("vat", "country_id"))
            if not (is_same or self.context.get("no_vat_validation")):
                code = str(country.body["code"]) if country else ""
                body = body | {"vat": tax_ids.stored(str(body["vat"]), code, str(body.get("name")))}
        if self.model == "sale.order.line":
            orders.refuse_line(self, body)
        self._refuse_dangling(body)
        return body

    def _refuse_dangling(self, body: Json) -> None:
        for field, value in body.items():
            kind = fields.type_of(self.model, field)
            if kind.startswith(">") and value and self.row(kind[1:], value) is None:
                raise errors.invalid(f"The operation cannot be completed: no {kind[1:]} has the id {value} ({field})")

    def _write_lines(self, row: Row, commands: Any) -> None:
        """Commands of a one2many field."""
        if not isinstance(commands, list):
            raise refused(500, "Wrong value for sale.order.order_line", "builtins.ValueError")
        for command in commands:
            match command:
                case [0, _, values]:
                    self.of("sale.order.line").created({**values, "order_id": int(row.id)})
                case [1, int(line), values]:
                    records = self.of("sale.order.line", [line])
                    records.changed(records.rows()[0], values)
                case [2, int(line), *_]:
                    self.call.tx.archive(self.of("sale.order.line", [line]).rows()[0])
                case _:
                    raise refused(500, f"Wrong command {command!r}", "builtins.ValueError")
        if self.model == "sale.order" and commands and (fresh := self.row("sale.order", row.id)):
            self.write(fresh, {"amount_untaxed": orders.total(self, int(row.id))})


class Method:
    """``on_records``: it may be called with ids. ``right``: what the user must be allowed to do."""

    def __init__(
        self,
        run: Callable[..., Any],
        *,
        required: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
        on_records: bool = True,
        right: str = "",
        models: tuple[str, ...] = (),
    ) -> None:
        self.run, self.required, self.optional, self.on_records = run, required, optional, on_records
        self.right, self.models = right, models


def create(records: Records, vals_list: Any) -> list[int]:
    listed = [vals_list] if isinstance(vals_list, dict) else vals_list
    return [int(records.created(values).id) for values in listed]


def write(records: Records, vals: Any) -> bool:
    for row in records.rows():
        records.changed(row, vals)
    return True


def search_read(
    records: Records, domain: Any = (), fields: Any = None, offset: int = 0, limit: int | None = None, order: str = "id"
) -> list[Json]:
    """Archived records only where the context, or the domain itself, asks for them."""
    model = records.model
    asks_active = any(isinstance(leaf, list) and leaf[:1] == ["active"] for leaf in domain)
    hides = records.context.get("active_test", True) and not asks_active
    found = [
        row
        for row in records.all(model)
        if not (hides and row.body.get("active", True) is False)
        and domains.holds(list(domain), partial(records.value, model, row))
    ]
    for part in reversed(order.split(",")):
        name, _, direction = part.strip().partition(" ")
        found.sort(key=_sorted_by(records, name), reverse=direction == "desc")
    until = None if limit is None else offset + limit
    return [records.shown(row, list(fields or _all_fields(model))) for row in found[offset:until]]


def read(records: Records, fields: Any = None, load: str | None = "_classic_read") -> list[Json]:
    names = list(fields or _all_fields(records.model))
    return [records.shown(row, names, with_names=load is not None) for row in records.rows()]


def has_access(records: Records, operation: str) -> bool:
    return f"{operation} {records.model}" not in records.call.settings["refused"]


def context_get(records: Records) -> Json:  # noqa: ARG001
    return {"lang": "en_US", "tz": "Europe/Berlin", "uid": int(ME)}


def unlink(records: Records) -> bool:
    for row in records.rows():
        if records.model == "sale.order":
            orders.refuse_unlink(row)
        records.call.tx.archive(row)
    return True


def _all_fields(model: str) -> list[str]:
    return [*fields.MODELS[model], *fields.LOGGED]


def _sorted_by(records: Records, field: str) -> Callable[[Row], tuple[int, Any]]:
    def key(row: Row) -> tuple[int, Any]:
        value = records.value(records.model, row, field)
        return (0, value) if isinstance(value, int | float) else (1, str(value))

    return key


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


METHODS = {
    "create": Method(create, required=("vals_list",), on_records=False, right="create"),
    "write": Method(write, required=("vals",), right="write"),
    "unlink": Method(unlink, right="unlink"),
    "search_read": Method(
        search_read, optional=("domain", "fields", "offset", "limit", "order"), on_records=False, right="read"
    ),
    "read": Method(read, optional=("fields", "load"), right="read"),
    "has_access": Method(has_access, required=("operation",)),
    "context_get": Method(context_get, on_records=False, models=("res.users",)),
    "action_confirm": Method(orders.confirm, right="write", models=("sale.order",)),
    "action_cancel": Method(orders.cancel, right="write", models=("sale.order",)),
    "action_draft": Method(orders.to_draft, right="write", models=("sale.order",)),
}
