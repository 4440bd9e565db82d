"""Templates of a declarative mapping: structures whose texts may name values, such as ``{payload.customer.domain}``.

A text that is one name and nothing else stands for the value itself, with its type; names within a longer text are written
out. Nothing is evaluated: a name is looked up, and that is all. ``{{`` and ``}}`` are braces.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from integrations.http.client import segment

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.:][A-Za-z0-9_-]+)*")
_ANSWER_PATH = re.compile(r"[A-Za-z0-9_$@-]+(?:\.[A-Za-z0-9_$@-]+)*")
WHOLE = "$"
"""In place of an answer path: the whole answer."""
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

Values = Mapping[str, Any]


@lru_cache(maxsize=4096)
def parsed(text: str) -> tuple[tuple[str, bool], ...]:
    """(part, whether it is a name), in order. Raises ``ValueError`` for braces that close or name nothing."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for found in _TOKEN.finditer(text):
        parts.append((text[end : found.start()], False))
        end = found.end()
        if found[0] in ("{{", "}}"):
            parts.append((found[0][0], False))
        elif found[1] is None:
            raise ValueError(f"“{text}” has a brace without its partner (write {{{{ or }}}} for a brace)")
        elif not _NAME.fullmatch(found[1]):
            raise ValueError(f"“{text}”: {{{found[1]}}} names nothing")
        else:
            parts.append((found[1], True))
    parts.append((text[end:], False))
    return tuple((part, is_name) for part, is_name in parts if part)


def names(node: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """(where, name) of every name in a structure. Raises ``ValueError`` as ``parsed``."""
    match node:
        case str():
            yield from ((at, part) for part, is_name in parsed(node) if is_name)
        case Mapping():
            for key, value in node.items():
                yield from names(value, f"{at}.{key}" if at else str(key))
        case list() | tuple():
            for position, value in enumerate(node):
                yield from names(value, f"{at}.{position}" if at else str(position))


def is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def rendered(node: Any, values: Values) -> Any:
    """The structure with its values. What a lone name does not have is left out; in a longer text it is nothing."""
    match node:
        case str():
            parts = parsed(node)
            if len(parts) == 1 and parts[0][1]:
                return values.get(parts[0][0])
            return "".join(as_text(values.get(part)) if is_name else part for part, is_name in parts)
        case Mapping():
            filled = {key: rendered(value, values) for key, value in node.items()}
            return {key: value for key, value in filled.items() if value is not None and value != ""}
        case list() | tuple():
            return [value for each in node if (value := rendered(each, values)) is not None]
    return node


def path(text: str, values: Values) -> str:
    """A request's path: every value is one segment, or a part of one. Raises ``ValueError`` for one that is no id."""
    return "".join(segment(as_text(values.get(part))) if is_name else part for part, is_name in parsed(text))


def header(text: str, values: Values) -> str:
    """A header's value in printable ASCII: everything else is percent-encoded, so that nothing can end the line."""
    made = "".join(as_text(values.get(part)) if is_name else part for part, is_name in parsed(text))
    return made if made.isascii() and made.isprintable() else quote(made, _PRINTABLE)


def as_text(value: Any) -> str:
    if is_empty(value):
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def check_answer_path(text: str) -> str:
    """Raises ``ValueError``."""
    if text and not _ANSWER_PATH.fullmatch(text):
        raise ValueError(f"“{text}” is no path in an answer: write names and positions with dots, such as data.0.id")
    return text


def pick(answer: Any, where: str) -> Any:
    """What stands at a dotted path of an answer (a number is a position in a list); None where nothing does.

    ``$`` is the whole answer, and may begin a path.
    """
    parts = where.split(".") if where else []
    for part in parts[1:] if parts[:1] == [WHOLE] else parts:
        if isinstance(answer, dict):
            answer = answer.get(part)
        elif isinstance(answer, list) and part.isdecimal() and int(part) < len(answer):
            answer = answer[int(part)]
        else:
            return None
    return answer
