"""The one redaction: everything stored or logged about a call passes here (requests, answers, errors, log lines).

Secrets go by the name of their key and by shape, e-mail addresses wherever they stand, other personal data by key. What
comes out is JSON that both databases take: bounded in depth and size, with no NUL, lone surrogate or NaN (PostgreSQL's
jsonb refuses the first two, JSON itself the third).
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

SECRET = "[secret]"  # noqa: S105 (the mask)
PERSONAL = "[personal]"
MAX_CHARS = 16_000
"""Characters of the resulting JSON, which is ASCII: as many bytes."""

_SECRET_KEYS = re.compile(
    r"authori[sz]ation|token|secret|passw|signature|api_?key|private_?key|access_?key|credential|cookie|session_?id",
    re.IGNORECASE,
)
_PERSONAL_KEYS = frozenset({
    "firstname", "lastname", "fullname", "givenname", "familyname", "surname", "middlename", "displayname",
    "customername", "contactname", "signername", "phone", "phonenumber", "mobile", "mobilephone", "fax", "birthdate",
    "dateofbirth", "street", "streetaddress", "address", "line1", "line2", "addressline1", "addressline2", "taxid",
    "vatid", "ssn", "iban", "hsnotebody", "notes",
})  # fmt: skip
_NAME_OF_PERSON = frozenset({"name", "username", "initials"})
_EMAIL_KEYS = frozenset({"email", "emailaddress", "customeremail"})
# Starts only where a word starts: a long text without any @ is read once, not once for each of its letters.
_EMAIL = re.compile(r"(?<![\w.+'-])([\w.+'-])[\w.+'-]*(@|%40)((?:[\w-]+\.)+[\w-]+)")
_SHAPES = re.compile(
    r"(?i)(?<=bearer )[\w.~+/=-]{6,}|(?<=basic )[\w+/=-]{6,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|\b(?:whsec|sk_live|sk_test|rk_live|rk_test|pat-\w{2,3}\d?)[_-][\w-]{6,}"
)
_ASSIGNED = re.compile(
    r"""(?i)((?:token|secret|password|api_?key|signature)["']?\s*[=:]\s*["']?)(?!\[secret\])[^\s&"',;}]+"""
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class _Bounds:
    depth: int
    items: int
    chars: int


_ROOMY, _TIGHT = _Bounds(depth=8, items=60, chars=1_000), _Bounds(depth=5, items=12, chars=120)


def redact(value: Any) -> Any:
    """``value`` as it may be stored, at most about 16 KB of JSON."""
    for bounds in (_ROOMY, _TIGHT):
        result = _walk(value, bounds, bounds.depth)
        text = json.dumps(result)
        if len(text) <= MAX_CHARS:
            return result
    return {"cut": text[: MAX_CHARS // 2]}


def redact_text(text: str, limit: int = 500) -> str:
    """One line of text for a log, an error or a path, at most ``limit`` characters."""
    if len(text) <= limit and text.isalnum():
        return text  # each shape below has a sign in it that is neither letter nor digit
    # Only the part that can be kept is searched, with room for what masks save.
    text = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[: limit * 4])
    text = _ASSIGNED.sub(rf"\1{SECRET}", _SHAPES.sub(SECRET, text))
    text = _EMAIL.sub(r"\1***\2\3", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _walk(value: Any, bounds: _Bounds, depth: int) -> Any:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return redact_text(value, bounds.chars)
        case dict() if depth:
            return _walk_dict(value, bounds, depth)
        case list() | tuple() if depth:
            kept = [_walk(each, bounds, depth - 1) for each in value[: bounds.items]]
            return [*kept, f"… {len(value) - bounds.items} more"] if len(value) > bounds.items else kept
        case dict() | list() | tuple():
            return "…"
        case _:
            return redact_text(str(value), bounds.chars)


def _walk_dict(value: dict[Any, Any], bounds: _Bounds, depth: int) -> dict[str, Any]:
    person = any(_plain(key) in _EMAIL_KEYS for key in value)
    kept = {}
    for key in list(value)[: bounds.items]:
        kept[redact_text(str(key), 100)] = _masked(_plain(key), value[key], person) or _walk(
            value[key], bounds, depth - 1
        )
    if len(value) > bounds.items:
        kept["…"] = f"{len(value) - bounds.items} more"
    return kept


def _masked(key: str, value: Any, person: bool) -> str:
    """The mask for this key's value, or nothing. Objects under a personal key are walked: their own keys decide."""
    if value is None or value == "" or isinstance(value, bool):
        return ""
    if _SECRET_KEYS.search(key):
        return SECRET
    personal = key in _PERSONAL_KEYS or (person and key in _NAME_OF_PERSON)
    return PERSONAL if personal and not isinstance(value, dict | list) else ""


def _plain(key: Any) -> str:
    return re.sub(r"[^a-z0-9]", "", str(key).lower())
