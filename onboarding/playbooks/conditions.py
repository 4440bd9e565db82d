"""Conditions of a playbook's steps (``when``): payload fields, compared without regard to case.

In a playbook's file::

    when = { "customer.segment" = ["enterprise", "strategic"], "commercial.amount" = { at_least = 50000 } }

All of it must hold. A text, number or flag must be equal, of a list one entry; ``at_least`` and ``below`` bound a half-open range
of numbers, so that two ranges meet without a gap; ``given`` asks whether there is a value. An absent flag is false.
"""

from collections.abc import Mapping
from typing import Any

from integrations.config_files import nearest
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Field, Type
from onboarding.payload.schema import get

Content = dict[str, Any]
BOUNDS = {"at_least": "at least", "below": "below"}
GIVEN = "given"
_TEXTS = (Type.TEXT, Type.NAME, Type.DOMAIN, Type.EMAIL, Type.DATE)
_NUMBERS = (Type.NUMBER, Type.WHOLE)


# --- What a file may say


def check(when: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for a path that is no field, and for what its field can never meet."""
    for path, wanted in when.items():
        check_path(path)
        _check_value(catalogue.entry(path), wanted)


def check_path(path: str) -> None:
    """Raises ``ValueError`` for what is no field of the payload."""
    if path not in catalogue.BY_PATH:
        raise ValueError(f"{path} is no field of the payload{nearest(path, catalogue.BY_PATH)}")


def check_range(name: str, wanted: Any, *, known: tuple[str, ...] = tuple(BOUNDS)) -> None:
    """Raises ``ValueError`` for what is no table of bounds, and for bounds between which there is nothing."""
    if not isinstance(wanted, Mapping) or not wanted:
        raise ValueError(f"{name} must be a table with {_either(known)}")
    if unknown := sorted(set(wanted) - set(known)):
        raise ValueError(f"{name} knows no {unknown[0]}{nearest(unknown[0], known)}")
    if wrong := [bound for bound in BOUNDS if bound in wanted and not _is_number(wanted[bound])]:
        raise ValueError(f"{name}: {wrong[0]} must be a number")
    if set(BOUNDS) <= set(wanted) and wanted["at_least"] >= wanted["below"]:
        raise ValueError(f"{name}: no number is at least {wanted['at_least']} and below {wanted['below']}")


def _check_value(field: Field, wanted: Any) -> None:
    if isinstance(wanted, Mapping):
        check_range(field.path, wanted, known=(*BOUNDS, GIVEN) if field.type in _NUMBERS else (GIVEN,))
        if not isinstance(wanted.get(GIVEN, True), bool):
            raise ValueError(f"{field.path}: {GIVEN} must be true or false")  # noqa: TRY004  (pydantic's protocol)
        return
    if wanted == []:
        raise ValueError(f"{field.path} has an empty list: it would never hold")
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if field.type is Type.FLAG and not isinstance(each, bool):
            raise ValueError(f"{field.path} must be compared with true or false")
        if field.type in _NUMBERS and not _is_number(each):
            raise ValueError(f"{field.path} must be compared with a number")
        if field.type in _TEXTS and not (isinstance(each, str) and each.strip()):
            raise ValueError(f"{field.path} must be compared with a text; whether it has one asks {{ {GIVEN} = true }}")
        if field.type not in (Type.FLAG, *_NUMBERS, *_TEXTS):
            raise ValueError(f"{field.path} is a {field.type.value}: ask {{ {GIVEN} = true }}")


# --- Whether it holds


def holds(when: Mapping[str, Any], content: Content) -> bool:
    """Whether all of it holds for a payload."""
    return all(_meets(get(content, path, default=None), wanted) for path, wanted in when.items())


def within(value: Any, bounds: Mapping[str, Any]) -> bool:
    """Whether it is a number between these bounds."""
    return (
        _is_number(value)
        and ("at_least" not in bounds or value >= bounds["at_least"])
        and ("below" not in bounds or value < bounds["below"])
    )


def _meets(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        is_given = value not in (None, "", False, [], {})
        if GIVEN in wanted and is_given is not wanted[GIVEN]:
            return False
        return wanted.keys().isdisjoint(BOUNDS) or within(value, wanted)
    if isinstance(wanted, list):
        return any(_meets(value, each) for each in wanted)
    if isinstance(wanted, bool):
        return (value is True) is wanted
    if isinstance(wanted, str):
        return isinstance(value, str) and value.strip().casefold() == wanted.strip().casefold()
    return bool(_is_number(value) and value == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- In words


def in_words(when: Mapping[str, Any]) -> str:
    """As after "only where", for people."""
    return " and ".join(f"{catalogue.label(path)} {_said(wanted)}" for path, wanted in when.items())


def range_in_words(bounds: Mapping[str, Any]) -> str:
    return " and ".join(f"{words} {bounds[name]:,}" for name, words in BOUNDS.items() if name in bounds)


def _said(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        given = [f"is {'' if wanted[GIVEN] else 'not '}given"] if GIVEN in wanted else []
        bounds = range_in_words(wanted)
        return " and ".join([*given, *([f"is {bounds}"] if bounds else [])])
    if isinstance(wanted, bool):
        return "is set" if wanted else "is not set"
    values = wanted if isinstance(wanted, list) else [wanted]
    return f"is {_either(f'“{each}”' if isinstance(each, str) else f'{each:,}' for each in values)}"


def _either(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
