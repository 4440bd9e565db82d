"""HubSpot's properties: which exist, which are unique, and which values it refuses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime

from integrations.sandbox.store import Json, Row, Tx, term

_NOTE_CHARS = 65_536
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
_COMMON = "hs_object_id createdate hs_lastmodifieddate hubspot_owner_id hs_merged_object_ids"
_STANDARD = {
    "companies": "name domain website phone country state city zip address industry lifecyclestage type description"
    " numberofemployees annualrevenue timezone hs_lead_status hs_additional_domains",
    "contacts": "email firstname lastname phone mobilephone company jobtitle lifecyclestage country website"
    " hs_lead_status lastmodifieddate hs_additional_emails",
    "deals": "dealname dealstage pipeline amount closedate dealtype description deal_currency_code hs_is_closed_won"
    " hs_is_closed hs_v2_date_entered_current_stage",
    "notes": "hs_timestamp hs_note_body hs_createdate",
    "line_items": "name description hs_sku hs_product_id quantity price hs_recurring_billing_period",
    "tasks": "hs_timestamp hs_task_body hs_task_subject hs_task_status hs_task_priority hs_task_type hs_createdate",
}
_STAGES = (
    "subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist",
    "other",
)  # fmt: skip
_DEAL_STAGES = (
    "appointmentscheduled", "qualifiedtobuy", "presentationscheduled", "decisionmakerboughtin", "contractsent",
    "closedwon", "closedlost",
)  # fmt: skip
_OPTIONS = {
    "lifecyclestage": _STAGES, "dealstage": _DEAL_STAGES, "pipeline": ("default",), "hs_task_priority": ("LOW", "MEDIUM", "HIGH"),
    "hs_task_status": ("NOT_STARTED", "IN_PROGRESS", "WAITING", "DEFERRED", "COMPLETED"), "hs_task_type": ("EMAIL", "CALL", "TODO"),
}  # fmt: skip
#: computed by HubSpot
_READ_ONLY = frozenset(
    {"hs_object_id", "hs_lastmodifieddate", "lastmodifieddate", "hs_createdate", "hs_merged_object_ids", "hs_is_closed_won",
     "hs_is_closed", "hs_v2_date_entered_current_stage"}
)  # fmt: skip
#: of which a new object must have one (the guides' "Create companies", "Create contacts")
_ONE_OF = {"companies": ("name", "domain"), "contacts": ("email", "firstname", "lastname")}
_REQUIRED_OF_PROPERTY = ("name", "label", "groupName", "type", "fieldType")


def names(tx: Tx, kind: str) -> set[str]:
    return standard_names(kind) | set(custom(tx, kind))


def standard_names(kind: str) -> set[str]:
    return {*_STANDARD[kind].split(), *_COMMON.split()}


def register(tx: Tx, kind: str, given: Json) -> Json:
    """Add a custom property; ``hasUniqueValue`` makes it fit for ``idProperty``."""
    body = {**described(kind, given["name"]), **given, "hubspotDefined": False}
    return tx.insert("hubspot", "properties", f"{kind}/{given['name']}", body, lag=0, seeded=True).body


def described(kind: str, name: str) -> Json:
    """A property as HubSpot describes it."""
    return {
        "name": name, "label": name.replace("_", " ").capitalize(), "description": "", "type": "string", "fieldType": "text",
        "groupName": f"{kind}information", "options": [], "hasUniqueValue": (kind, name) == ("contacts", "email"),
        "hubspotDefined": True, "archived": False,
    }  # fmt: skip


def missing_of_property(given: Json) -> list[str]:
    """What a new property lacks."""
    return [name for name in _REQUIRED_OF_PROPERTY if not given.get(name)]


def remove(tx: Tx, row: Row) -> None:
    """Take a custom property away. Its name is free again, so nothing of it is kept."""
    tx.archive(row)
    tx.db.execute("DELETE FROM objects WHERE seq = ?", (row.seq,))


def custom(tx: Tx, kind: str) -> dict[str, Json]:
    rows = tx.rows("hubspot", "properties")
    return {str(row.body["name"]): row.body for row in rows if row.id.startswith(f"{kind}/")}


def unique_names(tx: Tx, kind: str) -> set[str]:
    unique = {name for name, body in custom(tx, kind).items() if body["hasUniqueValue"]}
    return unique | ({"email"} if kind == "contacts" else set())


def problems(tx: Tx, kind: str, properties: Json) -> Iterator[tuple[str, str, str]]:
    """(code, property, message) for each value that HubSpot would not take, whoever it belongs to."""
    known = names(tx, kind)
    for name, value in properties.items():
        if name not in known:
            yield "PROPERTY_DOESNT_EXIST", name, f'Property "{name}" does not exist'
        elif name in _READ_ONLY:
            yield "READ_ONLY_VALUE", name, f'"{name}" is a read only property; its value cannot be set.'
        elif isinstance(value, dict | list):
            yield "INVALID_VALUE", name, f'Property "{name}" takes a single value'
        elif name == "email" and term(value or "") and not _EMAIL.fullmatch(str(value).strip()):
            yield "INVALID_EMAIL", name, f"Email address {value} is invalid"
        elif name in _OPTIONS and value and value not in _OPTIONS[name]:
            yield "INVALID_OPTION", name, f"{value} was not one of the allowed options: {', '.join(_OPTIONS[name])}"
        elif name == "hubspot_owner_id" and value not in (None, "") and not _is_owner(tx, value):
            yield "INVALID_OWNER_ID", name, f"Owner {value} does not exist"
        elif name in ("amount", "price", "quantity") and value not in (None, "") and not _is_number(str(value)):
            yield "INVALID_INTEGER", name, f"{value} was not a valid number."
        elif name == "price" and value not in (None, "") and float(str(value)) < 0:
            yield "INVALID_NUMBER", name, f"{value} must not be negative."
        elif name == "hs_timestamp" and not _is_time(str(value)):
            yield "INVALID_DATE", name, f"{value} was not a valid timestamp."
        elif name in ("hs_note_body", "hs_task_body") and len(str(value)) > _NOTE_CHARS:
            yield "INVALID_LENGTH", name, f"{name} takes {_NOTE_CHARS} characters at most"


def nameless(kind: str, properties: Json) -> tuple[str, ...]:
    """The properties of which a new object must have one, where it has none."""
    wanted = _ONE_OF.get(kind, ())
    return () if any(term(properties.get(name) or "") for name in wanted) else wanted


def _is_owner(tx: Tx, value: object) -> bool:
    """An owner's id, not a user's, of somebody who is still there."""
    row = tx.get("hubspot", "owners", str(value))
    return row is not None and not row.body.get("archived")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    """Milliseconds since 1970, or an ISO 8601 time."""
    try:
        return text.isdecimal() or ("T" in text and bool(datetime.fromisoformat(text)))
    except ValueError:
        return False


def conflicts(tx: Tx, kind: str, properties: Json, own: Row | None) -> Iterator[tuple[str, Row]]:
    """(property, the other object that holds this value) for each unique property."""
    for name in unique_names(tx, kind) & set(properties):
        value = properties[name]
        for row in holders(tx, kind, name, value) if value is not None and term(value) else []:
            if own is None or row.seq != own.seq:
                yield name, row


def holders(tx: Tx, kind: str, name: str, value: object) -> list[Row]:
    """Who has this value of a unique property; a contact's secondary addresses are theirs alone as well."""
    found = tx.find("hubspot", kind, name, value)
    if (kind, name) != ("contacts", "email"):
        return found
    secondary = tx.holders("hubspot", kind, "hs_additional_emails")
    return found + [row for row in secondary if term(value) in term(row.body.get("hs_additional_emails")).split(";")]


def stored(given: Json, before: Json, now: str) -> Json:
    """HubSpot keeps every value as text, and emails in lower case. Of a deal's stage it notes when that was entered."""
    values = {
        name: value if value is None else term(value) if name == "email" or isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
    if stage := values.get("dealstage"):
        won = {"hs_is_closed_won": term(stage == "closedwon"), "hs_is_closed": term(str(stage).startswith("closed"))}
        entered = {} if stage == before.get("dealstage") else {"hs_v2_date_entered_current_stage": now}
        values = {**won, **entered, **values}
    return values
