"""Files that a person writes (TOML): what is wrong with one, in words for that person.

Each problem names the file, the key, what was expected there, and the nearest right name where one is close. Positions count
from 1 and carry the entry's own name. Of one mistake there is one problem.
"""

import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pydantic
from pydantic import AfterValidator

Problem = tuple[str, str]
"""The key, as ``key_of`` writes it, and what is wrong with it."""

_PLAIN_TYPES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_NAMES_AN_ENTRY = ("key", "name", "by")
_MOST_NAMES = 12
_EXPECTED = {
    "missing": "is missing",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}


class FileInvalid(Exception):
    """A file that cannot be used. ``each``: one line a problem, with the file's name and the key."""

    def __init__(self, each: Iterable[str]) -> None:
        self.each = list(each)
        super().__init__("; ".join(self.each))


def read(path: Path) -> dict[str, Any]:
    """The TOML file's content. Raises ``FileInvalid`` with file, line and column."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        line = where.removesuffix(")")
        raise FileInvalid([f"{path.name}: {f'{line}: ' if line else ''}{what[:1].lower()}{what[1:]}"]) from None
    except UnicodeDecodeError as error:
        raise FileInvalid([f"{path.name}: byte {error.start + 1} is not UTF-8 text"]) from None
    except OSError as error:
        raise FileInvalid([f"{path.name}: cannot be read: {error.strerror or error}"]) from None


def in_words(error: pydantic.ValidationError, model: type[pydantic.BaseModel], given: Any) -> list[Problem]:
    """What pydantic found, one problem a key, in our words. ``given`` is what was validated."""
    found: dict[str, str] = {}
    alternatives: dict[str, list[str]] = {}
    errors = error.errors(include_url=False)
    places = [each["loc"] for each in errors]
    for each in errors:
        where = list(each["loc"])
        if any(len(other) > len(where) and list(other[: len(where)]) == where for other in places):
            continue  # it follows from what is wrong inside
        of_union = where and where[-1] in _PLAIN_TYPES and not _is_key(given, where)
        if of_union:  # one of several types that are allowed there
            alternatives.setdefault(key_of(where[:-1], given), []).append(_PLAIN_TYPES[str(where[-1])])
        else:
            found.setdefault(key_of(where, given), _said(each, model, where))
    return [*found.items(), *((key, f"must be {_either(types)}") for key, types in alternatives.items())]


def listed(file: str, found: Iterable[Problem]) -> list[str]:
    """One line a problem, as ``FileInvalid`` takes them."""
    return [f"{file}: {f'{key}: ' if key else ''}{message}" for key, message in found]


def key_of(where: Sequence[int | str], given: Any = None) -> str:
    """A key as a person reads it: ``steps #2 (project).uses``. Numbers in ``where`` count from 0."""
    text, at = "", given
    for part in where:
        at = _inside(at, part)
        if isinstance(part, int):
            name = next((at[n] for n in _NAMES_AN_ENTRY if isinstance(at, Mapping) and isinstance(at.get(n), str)), "")
            text += f" #{part + 1}{f' ({name})' if name else ''}"
        else:
            text += f".{part}" if text else part
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """As the end of a sentence: the known name that is close to this one, else all of them while they are few."""
    there = sorted(set(known))
    if close := get_close_matches(name, there, n=1):
        return f"; did you mean “{close[0]}”?"
    return f"; known are {', '.join(there)}" if 0 < len(there) <= _MOST_NAMES else ""


def worded(pattern: str, expected: str) -> Any:
    """A pydantic validator for a text of this pattern; ``expected`` says it in words, as after "must be"."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"“{value}” must be {expected}")
        return value

    return AfterValidator(check)


def _said(each: Any, model: type[pydantic.BaseModel], where: list[int | str]) -> str:
    kind, limits = each["type"], each.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    described: dict[str, Callable[[], str]] = {
        "extra_forbidden": lambda: f"is not known here{nearest(str(where[-1]), _names_at(model, where[:-1]))}",
        "enum": lambda: _choice(each["input"], limits["expected"]),
        "literal_error": lambda: _choice(each["input"], limits["expected"]),
        "string_too_long": lambda: f"must have at most {limits['max_length']} characters",
        "greater_than_equal": lambda: f"must be at least {limits['ge']}",
        "less_than_equal": lambda: f"must be at most {limits['le']}",
        "value_error": lambda: str(limits["error"]),
    }
    return described[kind]() if kind in described else f"“{each['input']}” is not allowed here"


def _choice(value: Any, expected: str) -> str:
    names = re.findall(r"'([^']*)'", expected)
    close = get_close_matches(str(value), names, n=1)
    return f"“{value}” must be {_either(names)}" + (f"; did you mean “{close[0]}”?" if close else "")


def _either(names: Sequence[str]) -> str:
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} or {last}" if most else last


def _inside(at: Any, part: int | str) -> Any:
    try:
        return at[part]
    except (KeyError, IndexError, TypeError):
        return None


def _is_key(given: Any, where: Sequence[int | str]) -> bool:
    for part in where[:-1]:
        given = _inside(given, part)
    return isinstance(given, Mapping) and where[-1] in given


def _names_at(model: type[pydantic.BaseModel], where: Sequence[int | str]) -> list[str]:
    """What a table at this place may hold."""
    at: type[pydantic.BaseModel] | None = model
    for part in where:
        fields = {(one.alias or name): one for name, one in at.model_fields.items()} if at else {}
        if isinstance(part, str) and part in fields:
            at = _model_in(fields[part].annotation)
    return [one.alias or name for name, one in at.model_fields.items()] if at else []


def _model_in(annotation: Any) -> type[pydantic.BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    return next((made for each in typing.get_args(annotation) if (made := _model_in(each))), None)
