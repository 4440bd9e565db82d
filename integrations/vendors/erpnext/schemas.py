"""What ERPNext answers over its REST API, and what its refusals mean.

Sources: docs.frappe.io/framework/user/en/api/rest and Frappe's own source (github.com/frappe/frappe): ``frappe/api/v1.py``
(``data``, 20 documents a page), ``frappe/exceptions.py`` (statuses: a refused value is a 417, an equal name a 409),
``frappe/utils/response.py`` (``_server_messages`` is JSON in a list in JSON; ``exc`` holds a traceback),
``frappe/model/base_document.py`` (what the messages quote).
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, Field

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.erp import OrderState
from integrations.errors import FieldProblem, Kind, ProviderError

LOCK_WAIT = 2.0
"""Seconds: somebody else saves the same document now."""
_BUSY = frozenset({"TimestampMismatchError", "DocumentLockedError", "QueryDeadlockError", "QueryTimeoutError"})
_TAKEN = frozenset({"UniqueValidationError", "DuplicateEntryError", "NameError"})
_FROZEN = frozenset(
    {"UpdateAfterSubmitError", "DocstatusTransitionError", "LinkExistsError", "CannotChangeConstantError"}
)
_OUR_FIELDS = {
    "customer_name": "name", "title": "name", "tax_id": "tax_id", "default_currency": "currency", "currency": "currency",
    "payment_terms": "payment_terms", "payment_terms_template": "payment_terms", "company": "subsidiary",
    "item_code": "lines", "items": "lines", "cost_center": "cost_centre",
}  # fmt: skip
_SUBMITTED, _CANCELLED = 1, 2
_MANDATORY = re.compile(r"\[[^\]]*\]: (.+)$")
_TAG = re.compile(r"<[^<>]*>")


class Row(VendorAnswer):
    """One item of an order, with all that stands in it: a change sends the rows that stay as they were."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    item_code: str = ""
    description: str = ""


class Document(VendorAnswer):
    """A customer or a sales order; our reference is a custom field, whose name an option says."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1)
    customer_name: str = ""
    title: str = ""
    tax_id: str = ""
    disabled: int = 0
    docstatus: int = 0
    status: str = ""
    creation: str = ""
    modified: str = ""
    items: list[Row] = []

    @property
    def order_state(self) -> OrderState:
        """``erpnext/selling/doctype/sales_order/sales_order.py``: what is closed or on hold is not billed."""
        if self.docstatus == _CANCELLED:
            return OrderState.CANCELLED
        is_billed = self.docstatus == _SUBMITTED and self.status not in ("Closed", "On Hold")
        return OrderState.INVOICEABLE if is_billed else OrderState.OPEN

    def text(self, field: str) -> str:
        return str((self.model_extra or {}).get(field) or "")


class One(VendorAnswer):
    data: Document


class Many(VendorAnswer):
    data: list[Document]


class Setting(VendorAnswer):
    unique: int = 0


class Settings(VendorAnswer):
    data: list[Setting]


class User(VendorAnswer):
    message: str = Field(min_length=1)


def refusal(status: int, body: Any, sent: Mapping[str, str]) -> ProviderError | None:
    """``sent``: our values, by our field, that a message may quote. None for the common reading by status.

    Takes the traceback out of ``body``: it is neither stored nor shown.
    """
    if not isinstance(body, dict):
        return None
    body.pop("exc", None)
    kind, message = str(body.get("exc_type") or ""), _message(body)
    if kind == "RateLimitExceededError":
        return ProviderError(Kind.RATE_LIMIT, f"ERPNext asks us to slow down: {message}", status)
    if kind in _BUSY:
        return ProviderError(Kind.TEMPORARY, f"ERPNext says that the document is in use: {message}", status, LOCK_WAIT)
    if kind in _TAKEN:
        fields = list(_quoted(message, sent))
        return ProviderError(Kind.CONFLICT, f"ERPNext has this already: {message}", status, fields=fields)
    if kind in _FROZEN:
        return ProviderError(Kind.CONFLICT, f"ERPNext does not change this any more: {message}", status)
    if kind == "DoesNotExistError" and message.startswith("DocType "):
        return ProviderError(Kind.NOT_CONFIGURED, f"ERPNext is not installed on this site: {message}", status)
    if status == 417:  # noqa: PLR2004  (what Frappe answers for every value that it refuses)
        fields = list(_lacking(message)) if kind == "MandatoryError" else list(_quoted(message, sent))
        return ProviderError(Kind.INVALID, f"ERPNext did not accept this: {message}", status, fields=fields)
    return None


def _lacking(message: str) -> Iterator[FieldProblem]:
    found = _MANDATORY.search(message)
    for name in found[1].split(", ") if found else []:
        yield FieldProblem(name, "is mandatory at ERPNext", _OUR_FIELDS.get(name, ""))


def _quoted(message: str, sent: Mapping[str, str]) -> Iterator[FieldProblem]:
    for field, value in sent.items():
        quoted = _plain(_TAG.sub(" ", value))  # as the message was taken from its HTML
        if len(quoted) > 1 and quoted in _plain(message):
            yield FieldProblem(field, message, field)


def _message(body: dict[str, Any]) -> str:
    try:
        listed = [json.loads(each) for each in json.loads(str(body.get("_server_messages") or "[]"))]
    except ValueError:
        listed = []
    told = [str(each.get("message") or "") for each in listed if isinstance(each, dict)]
    text = "; ".join(filter(None, told)) or str(body.get("exception") or body.get("message") or "no reason given")
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())[:500]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
