"""Texts of mails that a company may replace by its own: checked at start-up, before a customer is written to."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from traceback import walk_tb
from typing import Any

from django.db.models import Model
from django.template import Context, Template, TemplateDoesNotExist, TemplateSyntaxError, Variable
from django.template.base import FilterExpression, Node
from django.template.defaulttags import ForNode, IfNode, WithNode
from django.template.loader import get_template
from django.template.smartif import TokenBase

from integrations.config_files import nearest

ALWAYS_THERE = frozenset({"True", "False", "None", "forloop", "block"})


def problems(name: str, samples: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a text template, each with file and line: it cannot be read, names a variable that is not given, or fails.

    ``samples``: contexts as the step makes them, rendered one after the other. The first one has every variable filled in.
    """
    try:
        template: Template = get_template(name).template  # type: ignore[attr-defined]
    except TemplateSyntaxError as error:
        token = getattr(error, "token", None)
        return [f"{_place(_origin(error) or name, token.lineno if token else 0)}: {error}"]
    except (TemplateDoesNotExist, UnicodeDecodeError) as error:
        return [f"{name}: cannot be read: {error}"]
    file = template.origin.name if template.origin else name
    unknown = [f"{_place(file, line)}: {what}" for line, what in _unknown(template.nodelist, samples[0])]
    if unknown:
        return list(dict.fromkeys(unknown))
    return [failed for sample in samples if (failed := _failure(template, file, sample))][:1]


def _failure(template: Template, file: str, sample: dict[str, Any]) -> str:
    try:
        template.render(Context(sample))
    except Exception as error:  # noqa: BLE001  (whatever a filter or a tag of the company's own raises)
        nodes = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
        lines = [node.token.lineno for node in nodes if isinstance(node, Node) and node.token]
        return f"{_place(file, lines[-1] if lines else 0)}: {type(error).__name__}: {error}"
    return ""


def _unknown(nodes: Any, given: Mapping[str, Any], local: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of each variable that nothing gives."""
    for node in nodes:
        for variable in _variables(node):
            if wrong := _wrong(variable, given, local):
                yield (node.token.lineno if node.token else 0), wrong
        inner = local | _names_made_by(node)
        for attribute in node.child_nodelists:
            yield from _unknown(getattr(node, attribute, None) or (), given, inner)
        if isinstance(node, IfNode):
            for _, branch in node.conditions_nodelists:
                yield from _unknown(branch, given, inner)


def _variables(node: Node) -> Iterator[Variable]:
    """Those that the node itself names: what it prints, asks, loops over, passes on and gives to filters."""
    waiting: list[Any] = [
        value for name, value in vars(node).items() if name not in {"token", "origin", *node.child_nodelists}
    ]
    if isinstance(node, IfNode):
        waiting = [condition for condition, _ in node.conditions_nodelists if condition is not None]
    while waiting:
        value = waiting.pop()
        if isinstance(value, FilterExpression):
            waiting.append(value.var)
            waiting.extend(argument for _, arguments in value.filters for _, argument in arguments)
        elif isinstance(value, Variable):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif isinstance(value, TokenBase):  # an operator of an if, or one value in it
            waiting.extend((value.first, value.second, value.value))


def _names_made_by(node: Node) -> set[str]:
    if isinstance(node, ForNode):
        return set(node.loopvars)
    if isinstance(node, WithNode):
        return set(node.extra_context)
    return set()


def _wrong(variable: Variable, given: Mapping[str, Any], local: frozenset[str]) -> str:
    lookups = variable.lookups
    if not lookups or lookups[0] in local or lookups[0] in ALWAYS_THERE:
        return ""
    root, *parts = lookups
    if root not in given:
        return f"{{{{ {variable} }}}} is not known{nearest(root, given)}"
    if parts and (known := _parts_of(given[root])) and parts[0] not in known:
        return f"{{{{ {variable} }}}} is not known{nearest(parts[0], known)}"
    return ""


def _parts_of(value: Any) -> set[str]:
    if isinstance(value, Model):
        return {field.name for field in value._meta.get_fields()}
    return {field.name for field in fields(value)} if is_dataclass(value) else set()


def _origin(error: Exception) -> str:
    debug = getattr(error, "template_debug", None)
    return str(debug["name"]) if debug else ""


def _place(file: str, line: int | None) -> str:
    return f"{file}, line {line}" if line else file
