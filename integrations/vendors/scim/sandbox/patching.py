"""PATCH (RFC 7644, 3.5.2), and the forms of it that servers made for one identity provider take in its place.

``standard``: operations in lower case, with a path or without. ``okta``: of a user only replacements without a path.
``entra``: operations capitalised, always with a path, booleans as text, and members removed by value.
"""

from __future__ import annotations

import re
from typing import Any

from integrations.sandbox.store import Json
from integrations.vendors.scim.sandbox.filters import clauses, condition
from integrations.vendors.scim.sandbox.schemas import (
    ATTRIBUTES,
    MESSAGES,
    READ_ONLY,
    REQUIRED,
    Invalid,
    canonical,
    typed,
)

_PATH = re.compile(r"(?P<name>[A-Za-z$][\w-]*)(?:\[(?P<filter>.+)\])?(?:\.(?P<part>[A-Za-z$][\w-]*))?")
_OPERATIONS = ("add", "replace", "remove")


def patched(resource: str, body: Json, request: Json, form: str) -> Json:
    """``body`` with all the operations; none, where one is refused. Raises ``Invalid``."""
    said = {name.lower(): value for name, value in request.items()}
    operations = said.get("operations")
    if said.get("schemas") != [f"{MESSAGES}PatchOp"] or not isinstance(operations, list) or not operations:
        raise Invalid("invalidSyntax", "A PATCH needs the PatchOp schema and Operations")
    made: Json = dict(body)
    for given in operations:
        operation = {str(name).lower(): value for name, value in given.items()}
        made = _applied(resource, made, operation, form)
    if not made.get(REQUIRED[resource]):
        raise Invalid("invalidValue", f"Attribute {REQUIRED[resource]} is required")
    return made


def _applied(resource: str, body: Json, operation: Json, form: str) -> Json:
    op, path = _operation(operation, form), operation.get("path")
    if form == "okta" and resource == "Users" and (op != "replace" or path is not None):
        raise Invalid("invalidSyntax", "Only a replace without a path is supported")
    if form == "entra" and path is None:
        raise Invalid("invalidPath", "The path is missing")
    if path is not None:
        return _at(resource, body, op, str(path), operation, form)
    values = operation.get("value")
    if op == "remove":
        raise Invalid("noTarget", "A remove needs a path")
    if not isinstance(values, dict):
        raise Invalid("invalidSyntax", "Without a path the value must be an object")
    for name, value in values.items():
        body = _at(resource, body, op, str(name), {"value": value}, form)
    return body


def _operation(operation: Json, form: str) -> str:
    given = operation.get("op")
    known = (
        {each.capitalize(): each for each in _OPERATIONS} if form == "entra" else {each: each for each in _OPERATIONS}
    )
    if given not in known:
        raise Invalid("invalidSyntax", f"The operation {given} is not one of {', '.join(known)}")
    return known[given]


def _at(resource: str, body: Json, op: str, path: str, operation: Json, form: str) -> Json:
    matched = _PATH.fullmatch(path)
    if matched is None:
        raise Invalid("invalidPath", f"The path {path} cannot be read")
    if canonical(dict.fromkeys(READ_ONLY), matched["name"]):
        raise Invalid("mutability", f"Attribute {matched['name']} is read only")
    name = canonical(ATTRIBUTES[resource], matched["name"])
    if name is None:
        raise Invalid("invalidPath", f"Attribute {matched['name']} is not in the schema")
    kind, value = ATTRIBUTES[resource][name], operation.get("value")
    if op != "remove" and "value" not in operation:
        raise Invalid("invalidValue", f"The value of {path} is missing")
    if isinstance(kind, list):
        return body | {name: _values(name, kind, body.get(name) or [], op, matched, value, form)}
    if matched["filter"]:
        raise Invalid("invalidPath", f"Attribute {name} has one value")
    if part := matched["part"]:
        if not isinstance(kind, dict):
            raise Invalid("invalidPath", f"Attribute {name} has no parts")
        known = canonical(kind, part)
        if known is None:
            raise Invalid("invalidPath", f"Attribute {name}.{part} is not in the schema")
        held = {each: kept for each, kept in (body.get(name) or {}).items() if each != known}
        return body | {name: held if op == "remove" else held | {known: typed(path, kind[known], value)}}
    if op == "remove":
        return {each: kept for each, kept in body.items() if each != name}
    if isinstance(kind, dict):
        return body | {name: (body.get(name) or {}) | typed(name, kind, value)}
    return body | {name: typed(name, kind, _boolean(value) if form == "entra" and kind is bool else value)}


def _values(
    name: str, kind: list[Any], held: list[Json], op: str, matched: re.Match[str], value: Any, form: str
) -> list[Json]:
    """Of a multi-valued attribute."""
    if matched["part"]:
        raise Invalid("invalidPath", f"Parts of {name} cannot be addressed")
    if op == "remove" and form == "entra" and isinstance(value, list):
        gone = [each.get("value") for each in typed(name, kind, value)]
        return [each for each in held if each.get("value") not in gone]
    if matched["filter"]:
        if op != "remove":
            raise Invalid("invalidPath", f"Values of {name} can only be removed by a filter")
        is_meant = condition(clauses(matched["filter"], ["value", "type"]))
        return [each for each in held if not is_meant(each)]
    if op == "remove":
        return []  # all of them, whatever value stands beside it (3.5.2.2)
    given: list[Json] = typed(name, kind, value if isinstance(value, list) else [value])
    if op == "replace":
        return given
    known = [each.get("value") for each in held]
    return held + [each for each in given if each.get("value") not in known]


def _boolean(value: Any) -> Any:
    """A server made for Entra's requests knows no other booleans in them."""
    if not isinstance(value, str):
        raise Invalid("invalidValue", "A boolean must be True or False, as text")
    return {"true": True, "false": False}.get(value.lower(), value)
