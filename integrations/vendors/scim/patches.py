"""The bodies of PATCH requests (RFC 7644, 3.5.2), in the form that a server takes.

Many servers were made for one identity provider's requests, and know the standard only as far as that one uses it. Sources: see
``connector``.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

STANDARD, OKTA, ENTRA = "standard", "okta", "entra"
FORMS = (STANDARD, OKTA, ENTRA)
_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def replace(values: Mapping[str, Any], form: str) -> dict[str, Any]:
    """New values by their paths, such as ``active`` or ``name.givenName``."""
    if form == OKTA:
        return _body([{"op": "replace", "value": _nested(values)}])
    if form == ENTRA:
        return _body(
            [{"op": "Replace", "path": path, "value": _as_text(value)} for path, value in values.items()],
        )
    return _body([{"op": "replace", "path": path, "value": value} for path, value in values.items()])


def add_members(ids: Sequence[str], form: str) -> dict[str, Any]:
    """Members that a group has already stay in it once."""
    return _body([{"op": "Add" if form == ENTRA else "add", "path": "members", "value": _references(ids)}])


def remove_members(ids: Sequence[str], form: str) -> dict[str, Any]:
    """In Entra's form by value: a server that keeps to the standard would take that for all members."""
    if form == ENTRA:
        return _body([{"op": "Remove", "path": "members", "value": _references(ids)}])
    return _body([{"op": "remove", "path": f"members[{equals('value', each)}]"} for each in ids])


def equals(attribute: str, value: str) -> str:
    """A filter. Its value is a JSON string (RFC 7644, 3.4.2.2), so that none can end it. One spelling: some know no other."""
    return f"{attribute} eq {json.dumps(value, ensure_ascii=False)}"


def _body(operations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemas": [_SCHEMA], "Operations": operations}


def _references(ids: Sequence[str]) -> list[dict[str, str]]:
    return [{"value": each} for each in ids]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, value in values.items():
        whole, _, part = path.partition(".")
        if part:
            made.setdefault(whole, {})[part] = value
        else:
            made[whole] = value
    return made
