"""The one redaction: everything stored or logged about a call passes here (requests, answers, errors, log lines).

Secrets go by the name of their key and by shape, e-mail addresses wherever they stand, other personal data by key. What
comes out is JSON that both databases take: bounded in depth and size, with no NUL, lone surrogate or NaN (PostgreSQL's
jsonb refuses the first two, JSON itself the third).
"""

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

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
    "vatid", "vat", "vatnumber", "requesternumber", "tradername", "ssn", "iban", "hsnotebody", "notes",
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
_SECRET_SIGNS = (
    *("bearer ", "basic ", "://", "whsec", "sk_", "rk_", "pat-"),
    *("token", "secret", "password", "api", "signature"),
)
"""What ``_SHAPES`` and ``_ASSIGNED`` find holds one of these, in whatever case."""
_NOT_PLAIN = re.compile("[^a-z0-9]")
_LONGEST_KNOWN_KEY = 64


@dataclass(frozen=True)
class _Bounds:
    depth: int
    items: int
    chars: int


_ROOMY, _TIGHT = _Bounds(depth=8, items=60, chars=1_000), _Bounds(depth=5, items=12, chars=120)


class _Key(NamedTuple):
    """What the name of a key says about its value."""

    shown: str
    secret: bool
    personal: bool
    name: bool
    """Personal beside an e-mail address: a person's name, where it could be a company's or a task's."""
    email: bool


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
        return text  # each pattern has a sign in it that is neither letter nor digit
    # Only the part that can be kept is searched, with room for what masks save.
    text = text[: limit * 4]
    if not text.isascii() or "\0" in text:
        text = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    if _may_hold_secret(text):
        text = _ASSIGNED.sub(_without_value, _SHAPES.sub(SECRET, text))
    if "@" in text or "%40" in text:
        text = _EMAIL.sub(_without_name, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _without_value(assigned: re.Match[str]) -> str:
    return f"{assigned[1]}{SECRET}"


def _without_name(address: re.Match[str]) -> str:
    return f"{address[1]}***{address[2]}{address[3]}"


def _may_hold_secret(text: str) -> bool:
    """Most texts do not, and looking for words costs a tenth of what the patterns do."""
    if not text.isascii():
        return True  # there the patterns know more cases of a letter than ``lower``
    lower = text.lower()
    for sign in _SECRET_SIGNS:  # noqa: SIM110 (a generator would cost more than the search)
        if sign in lower:
            return True
    return False


def _walk(value: Any, bounds: _Bounds, depth: int) -> Any:
    match value:
        case str():
            return redact_text(value, bounds.chars)
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
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
    names = [str(name) for name in value]
    keys = [_key(name) for name in names[: bounds.items]]
    person = any(key.email for key in keys) or any(_plain(name) in _EMAIL_KEYS for name in names[bounds.items :])
    kept = {
        key.shown: _mask(key, each, person) or _walk(each, bounds, depth - 1)
        for key, each in zip(keys, value.values(), strict=False)
    }
    if len(value) > bounds.items:
        kept["…"] = f"{len(value) - bounds.items} more"
    return kept


def _mask(key: _Key, value: Any, person: bool) -> str:
    """The mask for this key's value, or nothing. Objects under a personal key are walked: their own keys decide."""
    if not (key.secret or key.personal or (key.name and person)):
        return ""
    if value is None or value == "" or isinstance(value, bool):
        return ""
    if key.secret:
        return SECRET
    return PERSONAL if not isinstance(value, dict | list) else ""


def _key(name: str) -> _Key:
    """A vendor's keys come again with each answer; a long one is no field's name."""
    return _known_key(name) if len(name) <= _LONGEST_KNOWN_KEY else _judged_key(name)


def _judged_key(name: str) -> _Key:
    plain = _plain(name)
    return _Key(
        redact_text(name, 100),
        secret=bool(_SECRET_KEYS.search(plain)),
        personal=plain in _PERSONAL_KEYS,
        name=plain in _NAME_OF_PERSON,
        email=plain in _EMAIL_KEYS,
    )


_known_key = lru_cache(maxsize=4096)(_judged_key)


def _plain(name: str) -> str:
    return _NOT_PLAIN.sub("", name.lower())
