"""JSON as we take it from outside: one object, no NaN, no name twice, bounded nesting.

``json.loads`` alone accepts ``NaN`` and ``Infinity``, which PostgreSQL refuses to store, and nesting down to the
interpreter's own limit.
"""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
LARGEST = 2**63
"""Larger numbers come back from PostgreSQL and SQLite as different values."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class BadJson(ValueError):
    """The body is not JSON that we take; the text says why and repeats none of it."""


def parse_object(raw: bytes, *, max_depth: int = MAX_DEPTH, called: str = "The body") -> dict[str, Any]:
    """The JSON object in ``raw``. Raises ``BadJson``, whose text calls it ``called``."""
    value = _parsed(raw, max_depth, called)
    if not isinstance(value, dict):
        raise BadJson(f"{called} is not a JSON object.")
    return value


def parse_list(raw: bytes, *, max_depth: int = MAX_DEPTH, called: str = "The body") -> list[Any]:
    """As ``parse_object``, of a vendor that sends a list."""
    value = _parsed(raw, max_depth, called)
    if not isinstance(value, list):
        raise BadJson(f"{called} is not a JSON list.")
    return value


def _parsed(raw: bytes, max_depth: int, called: str) -> Any:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise BadJson(f"{called} is not UTF-8.") from None
    except RecursionError:
        raise BadJson(f"{called} is nested deeper than {max_depth} levels.") from None
    except BadJson:
        raise
    except ValueError:
        raise BadJson(f"{called} is not JSON.") from None
    if isinstance(value, dict | list) and _deeper_than(value, max_depth):
        raise BadJson(f"{called} is nested deeper than {max_depth} levels.")
    return value


def check_storable(value: Any) -> None:
    """Raises ``BadJson`` for what PostgreSQL cannot store in ``jsonb`` or text."""
    queue = [value]
    while queue:
        match item := queue.pop():
            case str() if _UNSTORABLE.search(item):
                raise BadJson("A text holds a NUL or half of a surrogate pair.")
            case bool():
                pass
            case int() | float() if not (math.isfinite(item) and -LARGEST < item < LARGEST):
                raise BadJson("A number is out of range.")
            case dict():
                queue += item.keys()
                queue += item.values()
            case list():
                queue += item


def without_nul(value: Any) -> Any:
    """A copy without NUL characters, which PostgreSQL can store neither in text nor in ``jsonb``."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {without_nul(key): without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One name said twice is two statements, and taking the last would hide the other (RFC 8259, 4)."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise BadJson("A name is listed twice in one object.")
    return made


def _refuse(constant: str) -> NoReturn:
    raise BadJson(f"{constant} is not JSON.")


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
