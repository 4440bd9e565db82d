"""What a mapped vendor's refusal says of the values that were sent: which of our fields it is about, and why."""

from collections.abc import Iterator, Mapping
from typing import Any

from integrations.declarative import templates
from integrations.declarative.mapping import Errors
from integrations.errors import FieldProblem, Kind, ProviderError

_MOST_PROBLEMS = 20


def explain(errors: Errors, origins: Mapping[str, str], error: ProviderError, body: Any) -> None:
    """Add to ``error`` what ``errors`` finds in an answer, if anything. A vendor's own failure is about no field of ours."""
    if isinstance(body, str):
        return  # a page, or nothing: not what the mapping describes
    found = list(_problems(errors, body))[:_MOST_PROBLEMS]
    if error.kind is not Kind.SERVER:
        error.fields = [FieldProblem(name, reason, path=_path(name, errors, origins)) for name, reason in found if name]
    told = "; ".join(dict.fromkeys(": ".join(filter(None, each)) for each in found))
    if told and told not in error.message:
        error.message = f"{error.message.partition(': ')[0]}: {told}"


def _problems(errors: Errors, body: Any) -> Iterator[tuple[str, str]]:
    """(the vendor's name of a field, what is wrong with it); either may be empty."""
    listed = templates.pick(body, errors.list) if errors.list else [body]
    if isinstance(listed, Mapping):
        yield from ((str(name), _text(reason, errors)) for name, reason in listed.items())
    for each in listed if isinstance(listed, list) else ():
        name, reason = _name(templates.pick(each, errors.field)) if errors.field else "", _text(each, errors)
        if name or reason:
            yield name, reason


def _text(value: Any, errors: Errors) -> str:
    """The words of one problem: a text, a list of them, or what stands at ``message``."""
    if isinstance(value, list):
        return ", ".join(filter(None, (_text(each, errors) for each in value)))
    if isinstance(value, Mapping):
        return templates.as_text(templates.pick(value, errors.message)) if errors.message else ""
    return templates.as_text(value)


def _name(value: Any) -> str:
    """A field as vendors name it: ``email``, ``contact.email``, ``/contact/email`` (RFC 6901), ``["contact", "email"]``."""
    if isinstance(value, list):
        return ".".join(map(str, value))
    return templates.as_text(value).lstrip("#/").replace("/", ".")


def _path(name: str, errors: Errors, origins: Mapping[str, str]) -> str:
    """The payload path that a person can fix; empty where nothing shows it."""
    return errors.fields.get(name) or origins.get(name) or origins.get(name.rpartition(".")[2], "")
