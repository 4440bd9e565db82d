"""Custom fields of organizations (developer.zendesk.com/api-reference/ticketing/organizations/organization_fields).

A value for a key that the account does not have is passed over. A dropdown takes the value of one of its options.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from integrations.sandbox.store import Json

TYPES = ("text", "textarea", "checkbox", "date", "integer", "decimal", "regexp", "dropdown", "lookup", "multiselect")
ADDED: tuple[Json, ...] = (
    {
        "key": "sla_tier",
        "title": "SLA tier",
        "type": "dropdown",
        "custom_field_options": [
            {"name": each.title(), "value": each} for each in ("standard", "premium", "enterprise")
        ],
    },
    {"key": "support_plan", "title": "Support plan", "type": "text"},
)
"""What an account in the sandbox begins with."""
_KEY = re.compile(r"(?!\d+$)[A-Za-z0-9_]+")


def problem(given: Json, known: Sequence[Json]) -> tuple[str, str, str]:
    """(field, Zendesk's error, words) of what is wrong with a new field; empty texts for nothing."""
    key = str(given.get("key") or "")
    if not _KEY.fullmatch(key):
        return "key", "InvalidFormat", "can only contain letters, numbers, and underscores, and not numbers alone"
    if any(each["key"] == key for each in known):
        return "key", "DuplicateValue", f"{key} has already been taken"
    if not given.get("title"):
        return "title", "BlankValue", "cannot be blank"
    if given.get("type", "text") not in TYPES:
        return "type", "InvalidValue", "is not a valid type"
    if given.get("type") == "dropdown" and not given.get("custom_field_options"):
        return "custom_field_options", "BlankValue", "cannot be blank"
    return "", "", ""


def values(known: Sequence[Json], given: object) -> tuple[Json, str]:
    """What is stored of the values that were given, and the key of one that is refused."""
    stored: Json = {}
    for field in known:
        if not isinstance(given, dict) or (key := field["key"]) not in given:
            continue
        options = {each["value"] for each in field.get("custom_field_options") or ()}
        if given[key] is not None and options and given[key] not in options:
            return {}, str(key)
        stored[key] = given[key]
    return stored, ""


def shown(known: Sequence[Json], stored: object) -> Json:
    """Every field that the account has; null where the organization has no value."""
    held = stored if isinstance(stored, dict) else {}
    return {field["key"]: held.get(field["key"]) for field in known}
