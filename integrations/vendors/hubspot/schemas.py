"""HubSpot's objects, answers and refusals: typed, and in our words.

Sources: HubSpot's OpenAPI specs (github.com/HubSpot/HubSpot-public-api-spec-collection), its error handling page
(developers.hubspot.com/docs/api-reference/error-handling); the association types of a note, 190 to a company and
214 to a deal, and those of a task, 192 and 216, from "Association type ID values"
(developers.hubspot.com/docs/api/crm/associations#association-type-ids).
"""

import json
import re
from collections.abc import Container, Iterator
from decimal import Decimal
from typing import Any

from pydantic import Field

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.objects import VendorObject
from integrations.errors import FieldProblem, Kind, ProviderError

TYPES = {
    "company": "companies",
    "contact": "contacts",
    "deal": "deals",
    "note": "notes",
    "success-plan": "tasks",
    "line-item": "line_items",
}
TYPE_IDS = {"company": "0-2", "contact": "0-1", "deal": "0-3"}
LINKS = {"note": {"company_id": 190, "deal_id": 214}, "success-plan": {"company_id": 192, "deal_id": 216}}
"""Field of ours -> the association type of a note, or a task, to what it names."""
BODIES = {"note": "hs_note_body", "success-plan": "hs_task_body"}
"""The property whose text ends with our reference."""
DEAL_PROPERTIES = {
    "onboarding_status": "firstvalue_onboarding_status", "transaction_id": "firstvalue_transaction_id",
    "implementation_owner": "firstvalue_implementation_owner",
}  # fmt: skip
"""Custom properties on deals: the ones that a company makes for us."""
DEAL_PLACE = {"deal_pipeline": "pipeline", "deal_stage": "dealstage"}
"""Options that say where a new deal stands."""
SHOWN = {
    "company": "name,domain,hs_additional_domains,city,hubspot_owner_id,createdate,num_associated_contacts",
    "contact": "email,firstname,lastname,hubspot_owner_id,createdate",
    "deal": "dealname,amount,deal_currency_code,dealstage,hubspot_owner_id,createdate,firstvalue_onboarding_status,"
    "firstvalue_transaction_id",
    "line-item": "name,hs_sku,quantity,price,createdate",
    "note": "hs_note_body,hs_timestamp,createdate",
    "success-plan": "hs_task_body,hs_task_subject,hs_task_status,hs_timestamp,hubspot_owner_id,createdate",
}
EVIDENCE = {
    "domain": "domain", "hs_additional_domains": "other domains",
    "email": "email", "city": "city", "amount": "amount", "deal_currency_code": "currency",
    "dealstage": "stage", "hubspot_owner_id": "owner", "createdate": "created", "num_associated_contacts": "contacts",
    "firstvalue_onboarding_status": "onboarding", "firstvalue_transaction_id": "transaction",
}  # fmt: skip
_PROPERTIES = {
    "company": {"name": "name", "domain": "domain", "country": "country", "owner_id": "hubspot_owner_id"},
    "contact": {"email": "email", "first_name": "firstname", "last_name": "lastname"},
    "deal": {
        "name": "dealname", "amount": "amount", "currency": "deal_currency_code", "owner_id": "hubspot_owner_id",
        **DEAL_PROPERTIES,
    },
    "line-item": {"name": "name", "sku": "hs_sku", "quantity": "quantity", "unit_price": "price"},
    "note": {"body": "hs_note_body", "at": "hs_timestamp"},
    "success-plan": {
        "name": "hs_task_subject", "body": "hs_task_body", "due_on": "hs_timestamp", "owner_id": "hubspot_owner_id",
    },
}  # fmt: skip
_OUR_FIELDS = {name: field for names in _PROPERTIES.values() for field, name in names.items()}
"""Property -> the field of ours that it holds."""
_TAKEN = "CONFLICTING_UNIQUE_VALUE"
_UNKNOWN = "PROPERTY_DOESNT_EXIST"
_GONE = "OBJECT_NOT_FOUND"
_EXISTING = re.compile(r"Existing ID: (\d+)")


class Linked(VendorAnswer):
    id: str


class Links(VendorAnswer):
    results: list[Linked] = []


class Record(VendorAnswer):
    id: str = Field(min_length=1)
    properties: dict[str, str | None]
    associations: dict[str, Links] = {}
    updatedAt: str | None = None  # noqa: N815

    def value(self, name: str) -> str:
        return self.properties.get(name) or ""


class Batch(VendorAnswer):
    """A batch's answer: ``errors`` names what a 207 left undone."""

    results: list[Record]
    errors: list[dict[str, Any]] = []


class Associated(VendorAnswer):
    status: str


class Target(VendorAnswer):
    toObjectId: int | str  # noqa: N815 (HubSpot's name; a number or its text, by version)


class Following(VendorAnswer):
    after: str


class Paging(VendorAnswer):
    next: Following | None = None


class Page(VendorAnswer):
    """One page of what a search found."""

    results: list[Record]
    paging: Paging | None = None


class Targets(VendorAnswer):
    """One page of what an object is associated with."""

    results: list[Target]
    paging: Paging | None = None


class Account(VendorAnswer):
    portalId: int  # noqa: N815
    accountType: str = ""  # noqa: N815
    uiDomain: str = ""  # noqa: N815


class Owner(VendorAnswer):
    id: str
    firstName: str | None = None  # noqa: N815
    lastName: str | None = None  # noqa: N815
    email: str | None = None

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.firstName, self.lastName) if part) or self.email or self.id


class Property(VendorAnswer):
    name: str
    hasUniqueValue: bool = False  # noqa: N815


def properties_of(wanted: VendorObject, *, without: Container[str] = ()) -> dict[str, Any]:
    """The properties that ``wanted`` fills. What is empty says nothing: it is left out, and blanks no property."""
    names = _PROPERTIES[wanted.kind]
    given = wanted.given().items()
    return {names[name]: _value(value) for name, value in given if name in names and name not in without}


def _value(value: Any) -> Any:
    """HubSpot's properties are text; a number as plain digits."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return format(Decimal(str(value)), "f")
    return value


def refusal(body: dict[str, Any], status: int) -> ProviderError:
    """A refusal of values. ``body`` is an error answer, or one entry of a 207's ``errors``."""
    fields, codes, unknown = [], set(), []
    for name, reason, code in _details(body):
        fields.append(FieldProblem(name, reason, _OUR_FIELDS.get(name, "")))
        codes.add(code)
        if code == _UNKNOWN:
            unknown.append(name)
    if unknown:
        message = f"HubSpot has no property {', '.join(unknown)}: create it there, or check this connection's options"
        return ProviderError(Kind.NOT_CONFIGURED, message, status, fields=fields)
    reasons = "; ".join(each.reason for each in fields) or str(body.get("message", "no reason given"))
    message = f"HubSpot did not accept this: {reasons}"
    if fields and all(each.name in DEAL_PLACE.values() for each in fields):
        # What we were told to send, not what the customer's order says.
        message = f"{message}. Check the options {' and '.join(DEAL_PLACE)}"
        return ProviderError(Kind.NOT_CONFIGURED, message, status, fields=fields)
    taken = _TAKEN in codes or body.get("category") == "CONFLICT"
    return ProviderError(Kind.CONFLICT if taken else Kind.INVALID, message, status, fields=fields)


def taken(body: dict[str, Any], status: int) -> ProviderError | None:
    """The 409 of a contact whose address, a secondary one too, another has: it names that one."""
    found = _EXISTING.search(str(body.get("message", "")))
    if found is None:
        return None
    message = f"HubSpot has a contact with this address: {found[1]}"
    return ProviderError(Kind.CONFLICT, message, status, existing_id=found[1], existing_by="email")


def is_gone(error: dict[str, Any]) -> bool:
    """An entry of a 207's ``errors`` that only says that objects are there no more."""
    return error.get("category") == _GONE


def _details(body: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(property, reason, code). Older answers carry them as JSON inside the message only."""
    listed = [each for each in body.get("errors") or [] if isinstance(each, dict)]
    if not listed:
        _, _, tail = str(body.get("message", "")).partition("[")
        try:
            listed = [each for each in json.loads(f"[{tail}") if isinstance(each, dict)] if tail else []
        except (ValueError, RecursionError):
            listed = []
    for each in listed:
        context = each.get("context")
        context = context if isinstance(context, dict) else {}
        names = context.get("propertyName") or each.get("name") or ""
        name = names[0] if isinstance(names, list) and names else names
        yield str(name), str(each.get("message", "")), str(each.get("code") or each.get("error") or "")
