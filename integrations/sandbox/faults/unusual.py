"""True answers in another form, as a vendor may send them any day: nulls, absent fields, new values, ids of another JSON type."""

from collections.abc import Callable, Collection
from typing import Any

_NEW_VALUE = "something_new"


def answer(body: Any, kind: str, *, always: Collection[str], choices: Collection[str]) -> Any:
    """``body`` as an answer of this kind: ``nulls``, ``absent``, ``unknown_values`` (fields too) or ``other_ids``."""

    def change(name: str, value: Any) -> Any:
        match kind:
            case "nulls" if name not in always:
                return None
            case "absent" if name not in always:
                return _ABSENT
            case "unknown_values" if name in choices and value:
                return _NEW_VALUE
            case "other_ids" if name in ("id", "gid") or name.endswith("_id"):
                return _other_type(value)
        return value

    changed = _walk(body, change)
    return (
        {**changed, "added_by_the_vendor": [{"since": 1}]}
        if kind == "unknown_values" and isinstance(changed, dict)
        else changed
    )


_ABSENT = object()


def _walk(value: Any, change: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, list):
        return [_walk(each, change) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {name: change(name, each) for name, each in value.items()}
    return {name: _walk(each, change) for name, each in changed.items() if each is not _ABSENT}


def _other_type(value: Any) -> Any:
    """An id as text where it is a number, and as a number where it is one in a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return int(value) if isinstance(value, str) and value.isdecimal() and str(int(value)) == value else value
