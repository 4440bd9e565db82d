"""Attributes of users and groups (RFC 7643, 3.1, 4.1, 4.2 and 8.7): their canonical names, types and who may write them."""

from __future__ import annotations

from typing import Any

from integrations.sandbox.store import Json

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
URNS = {"Users": f"{CORE}User", "Groups": f"{CORE}Group"}
_VALUES = {"value": str, "display": str, "type": str, "primary": bool, "$ref": str}
NAME = dict.fromkeys(("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"), str)
#: a type; a dictionary for a complex attribute; a list of one for a multi-valued complex one
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Users": {
        "externalId": str, "userName": str, "name": NAME, "displayName": str, "nickName": str, "profileUrl": str,
        "title": str, "userType": str, "preferredLanguage": str, "locale": str, "timezone": str, "active": bool,
        "password": str, "emails": [_VALUES], "phoneNumbers": [_VALUES], "photos": [_VALUES], "roles": [_VALUES],
        "entitlements": [_VALUES],
    },
    "Groups": {"externalId": str, "displayName": str, "members": [_VALUES]},
}  # fmt: skip
REQUIRED = {"Users": "userName", "Groups": "displayName"}
READ_ONLY = ("id", "meta", "groups", "schemas")
#: compared with regard to case; everything else is not
EXACT = ("id", "externalId", "value")
_WORDS = {str: "a string", bool: "a boolean"}


class Invalid(Exception):
    """A request that the server refuses with 400: the keyword of RFC 7644, 3.12, and what it says."""

    def __init__(self, scim_type: str, detail: str) -> None:
        super().__init__(detail)
        self.scim_type, self.detail = scim_type, detail


def canonical(known: dict[str, Any], name: str) -> str | None:
    """Names of attributes ignore case (RFC 7643, 2.1)."""
    return next((each for each in known if each.lower() == name.lower()), None)


def checked(resource: str, given: Json) -> Json:
    """What a client may write of a whole resource, under canonical names. Raises ``Invalid``."""
    made: Json = {}
    for name, value in given.items():
        if canonical(dict.fromkeys(READ_ONLY), name):
            continue  # ignored (RFC 7644, 3.3)
        known = canonical(ATTRIBUTES[resource], name)
        if known is None:
            raise Invalid("invalidSyntax", f"Attribute {name} is not in the schema")
        if value is not None:
            made[known] = typed(known, ATTRIBUTES[resource][known], value)
    return made


def typed(name: str, kind: Any, value: Any) -> Any:
    """``value`` as the attribute has it. Raises ``Invalid``."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise Invalid("invalidValue", f"Attribute {name} must be a list")
        return [typed(name, kind[0], each) for each in value]
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            raise Invalid("invalidValue", f"Attribute {name} must be an object")
        parts: Json = {}
        for part, each in value.items():
            known = canonical(kind, part)
            if known is None:
                raise Invalid("invalidSyntax", f"Attribute {name}.{part} is not in the schema")
            parts[known] = typed(f"{name}.{known}", kind[known], each)
        return parts
    if not isinstance(value, kind):
        raise Invalid("invalidValue", f"Attribute {name} must be {_WORDS[kind]}")
    return value
