"""Search domains (documentation: developer/reference/backend/orm, "Search domains"): leaves, and operators before them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from integrations.vendors.odoo.sandbox.errors import refused

Read = Callable[[str], Any]


def holds(domain: Any, read: Read) -> bool:
    """Whether a record is in it; ``read`` gives a field's value, ``false`` where it is empty."""
    if not isinstance(domain, list):
        raise refused(500, f"Domain must be a list: {domain!r}", "builtins.ValueError")
    stack: list[bool] = []
    for part in reversed(domain):
        match part:
            case "!":
                stack.append(not stack.pop())
            case "&" | "|":
                first, second = stack.pop(), stack.pop()
                stack.append(first and second if part == "&" else first or second)
            case [str(field), str(operator), value]:
                stack.append(_leaf(read(field), operator, value))
            case _:
                raise refused(500, f"Invalid leaf {part!r}", "builtins.ValueError")
    return all(stack)


def _leaf(held: Any, operator: str, value: Any) -> bool:
    match operator:
        case "=":
            return bool(_same(held, value))
        case "!=":
            return not _same(held, value)
        case "in" | "not in":
            if not isinstance(value, list):
                raise refused(500, f"{operator} takes a list", "builtins.ValueError")
            return any(_same(held, each) for each in value) == (operator == "in")
        case "like" | "ilike":
            return isinstance(held, str) and _matches(held, f"%{value}%", ignores_case=operator == "ilike")
        case "=like" | "=ilike":
            return isinstance(held, str) and _matches(held, str(value), ignores_case=operator == "=ilike")
    raise refused(500, f"Invalid operator {operator!r}", "builtins.ValueError")


def _same(held: Any, value: Any) -> bool:
    if value in (False, None) and not isinstance(held, bool):
        return held in (False, None, "")
    return type(held) is type(value) and held == value


def _matches(held: str, pattern: str, *, ignores_case: bool) -> bool:
    """SQL's LIKE: ``%`` is any text, ``_`` any sign, and a backslash takes the meaning from the next one."""
    parts, signs = [], iter(pattern)
    for sign in signs:
        if sign == "\\":
            parts.append(re.escape(next(signs, "\\")))
        else:
            parts.append({"%": ".*", "_": "."}.get(sign) or re.escape(sign))
    flags = re.DOTALL | (re.IGNORECASE if ignores_case else 0)
    return re.fullmatch("".join(parts), held, flags) is not None
