"""What must hold of a mapping beyond its shape: each problem as (key, what is wrong)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from integrations.connectors.base import CreateSafety
from integrations.declarative import templates

if TYPE_CHECKING:
    from integrations.declarative.mapping import Create, Find, Object, Request, VendorMapping

Problem = tuple[str, str]
FACTS = ("payload", "objects", "links", "run", "with")
"""What a step knows of its run; ``item`` beside them where there are items."""
RUN_FACTS = ("id", "status", "occurred_at")

_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
_LITERAL_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_PAYLOAD_PATH = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
_OURS = frozenset({"authorization", "host", "content-length", "content-type", "transfer-encoding", "connection"})
_LABELS_OF_A_WILDCARD = 3


def problems(mapping: VendorMapping) -> Iterator[Problem]:
    yield from _hosts(mapping)
    if mapping.auth.style == "basic" and mapping.auth.user_option not in mapping.required_options:
        yield "auth.user_option", "basic needs the user's name: name one of the required_options"
    if mapping.auth.style != "basic" and mapping.auth.user_option:
        yield "auth.user_option", "is only for the style basic"
    if mapping.auth.style != "header" and {"header", "prefix"} & mapping.auth.model_fields_set:
        yield "auth", "header and prefix are only for the style header"
    for position, path in enumerate(mapping.fields):
        if not _PAYLOAD_PATH.fullmatch(path):
            yield f"fields.{position}", f"“{path}” is no path in the payload"
    yield from _request(mapping, "probe", mapping.probe, ("options",))
    for position, failure in enumerate(mapping.failures):
        yield from _case(f"failures.{position}", failure)
    for kind, made in mapping.objects.items():
        for key, message in _object(mapping, made):
            yield f"objects.{kind}.{key}", message


def _hosts(mapping: VendorMapping) -> Iterator[Problem]:
    for position, host in enumerate(mapping.hosts):
        wide = host.startswith("*.") and host.count(".") < _LABELS_OF_A_WILDCARD - 1
        if not _HOST.fullmatch(host) or wide:
            yield f"hosts.{position}", f"“{host}” is no host such as api.acme.com or *.acme.com"
    base = mapping.default_base_url
    if base and not re.fullmatch(r"https://[a-z0-9.-]+(/[A-Za-z0-9._~/%-]*)?", base):
        yield "default_base_url", "must look like https://host/path"
    elif base and base.removeprefix("https://").partition("/")[0] not in mapping.hosts:
        yield "default_base_url", "leads to none of the hosts"


def _object(mapping: VendorMapping, made: Object) -> Iterator[Problem]:
    item = ("item",) if made.items and not made.batch else ()
    facts = (*FACTS, *item)
    yield from _request(mapping, "get", made.get, ("id", "options"), needs=("id",))
    finds = [find.by for find in made.find]
    for position, find in enumerate(made.find):
        if finds.index(find.by) != position:
            yield f"find.{position}.by", f"two finds go by {find.by}"
        yield from _find(mapping, f"find.{position}", find, (*FACTS, *(("item",) if made.items else ())))
    yield from _create(mapping, made, facts, finds)
    if made.update:
        yield from _request(mapping, "update", made.update, ("id", "options", *FACTS), needs=("id",))
        if made.items:
            yield "update", "cannot be used where there are items"
    if made.undo:
        yield from _request(mapping, "undo", made.undo, ("id", "options"), needs=("id",))
    for position, case in enumerate(made.not_found):
        yield from _case(f"not_found.{position}", case)
    if made.page:
        if not made.page.startswith(("https://", "/")):
            yield "page", "must be an address (https://…) or a path (/…)"
        yield from _names(mapping, "page", made.page, ("id", "options"))
    if made.safety is not CreateSafety.IDEMPOTENCY_KEY and "key_lifetime" in made.model_fields_set:
        yield "key_lifetime", "is only for the safety idempotency-key"
    if made.search_lag and not made.find:
        yield "search_lag", "means nothing without a find"
    yield from _items(made)


def _items(made: Object) -> Iterator[Problem]:
    if made.items and not _PAYLOAD_PATH.fullmatch(made.items):
        yield "items", f"“{made.items}” is no list in the payload, nor one of the step's options (with.…)"
    if made.item_key and not made.items:
        yield "item_key", "means nothing without items"
    yield from _batch(made)
    for position, path in enumerate(made.match):
        if not _PAYLOAD_PATH.fullmatch(path) or (path.split(".")[0] == "item" and not made.items):
            yield f"match.{position}", f"“{path}” is no path in the payload"
        elif path.startswith("with."):
            yield f"match.{position}", "an option of the step says nothing about the customer"
    if made.match and made.items and not any(path.split(".")[0] == "item" for path in made.match):
        yield "match", "makes all items one object: name a part of the item, such as item.email"


def _batch(made: Object) -> Iterator[Problem]:
    if not made.batch:
        for key in ("each", "results", "same"):
            if key in made.create.model_fields_set:
                yield f"create.{key}", "is only for a batch"
        return
    if not made.items:
        yield "batch", "needs items"
    if made.match:
        yield "match", "cannot be used with a batch: each run makes its own items"
    for key in ("each", "results"):
        if not getattr(made.create, key):
            yield f"create.{key}", "is missing: a batch needs it"


def _create(mapping: VendorMapping, made: Object, facts: tuple[str, ...], finds: list[str]) -> Iterator[Problem]:
    create: Create = made.create
    ours = ("reference", "idempotency_key", "options", *(("items",) if made.batch else ()))
    yield from _request(mapping, "create", create, (*ours, *facts), header=("run",))
    yield from _names(mapping, "create.each", create.each, ("reference", "options", *FACTS, "item"))
    mentioned = _mentioned(create) | _mentioned_in(create.each)
    if made.safety is CreateSafety.IDEMPOTENCY_KEY and "idempotency_key" not in mentioned:
        yield "create", "never sends {idempotency_key}, so nothing protects a repeated create"
    own = {path if path.split(".")[0] == "item" else f"payload.{path}" for path in made.match}
    if made.safety is CreateSafety.UNIQUE_UPSERT and not mentioned & {"reference", *own}:
        yield "create", "never sends {reference} nor what `match` names, so the vendor has no unique key to go by"
    if any(find.value == "{reference}" for find in made.find) and "reference" not in mentioned:
        yield "create", "never sends {reference}, so it could never be found by it"
    if made.batch and "items" not in mentioned:
        yield "create.body", "never names {items}"
    for position, case in enumerate(create.duplicate):
        yield from _case(f"create.duplicate.{position}", case)
        if case.by and (case.by not in finds or not case.id):
            yield (
                f"create.duplicate.{position}.by",
                "must be a find's key, and `id` must say where the existing id stands",
            )


def _find(mapping: VendorMapping, at: str, find: Find, facts: tuple[str, ...]) -> Iterator[Problem]:
    yield from _request(mapping, at, find, ("key", "within", "options"), needs=("key",))
    yield from _names(mapping, f"{at}.value", find.value, ("reference", *facts))
    yield from _names(mapping, f"{at}.within", find.within, facts)
    if find.method not in ("GET", "POST"):
        yield f"{at}.method", "a find only reads: GET or POST"
    if find.results and not find.same:
        yield f"{at}.same", "is missing: where the key's value stands in each result"
    if bool(find.within) != ("within" in _mentioned(find)):
        yield f"{at}.within", "must be given where the request names {within}, and only there"
    if (find.by == "reference") != (find.value == "{reference}"):
        yield f"{at}.by", "reference is the key whose value is {reference}, and no other"
    if find.several and not find.results:
        yield f"{at}.several", "means nothing without results"


def _case(at: str, case: Any) -> Iterator[Problem]:
    if not case.status and not case.where:
        yield at, "covers every answer: name a status, or where and values"
    if case.values and not case.where:
        yield f"{at}.where", "is missing: where the values stand"


def _request(
    mapping: VendorMapping,
    at: str,
    request: Request,
    allowed: tuple[str, ...],
    *,
    needs: tuple[str, ...] = (),
    header: tuple[str, ...] = (),
) -> Iterator[Problem]:
    yield from _path(mapping, f"{at}.path", request.path, allowed)
    yield from _names(mapping, f"{at}.query", request.query, allowed)
    yield from _names(mapping, f"{at}.body", request.body, allowed)
    in_headers = tuple(name for name in allowed if name not in (*FACTS, "item", "items"))
    yield from _names(mapping, f"{at}.headers", request.headers, (*in_headers, *header))
    for name in request.headers:
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            yield f"{at}.headers.{name}", "is no header that a mapping may set"
    if request.body is not None and request.method == "GET":
        yield f"{at}.body", "a GET has no body"
    if lacking := set(needs) - _mentioned(request):
        yield at, f"never names {{{min(lacking)}}}"


def _path(mapping: VendorMapping, at: str, path: str, allowed: tuple[str, ...]) -> Iterator[Problem]:
    try:
        parts = templates.parsed(path)
    except ValueError as problem:
        yield at, str(problem)
        return
    shown = "".join("x" if is_name else part for part, is_name in parts)
    literal = "".join(part for part, is_name in parts if not is_name)
    if not path.startswith("/") or not _LITERAL_PATH.fullmatch(literal):
        yield at, "must start with / and hold no query, blank or fragment"
    elif {".", ".."} & set(shown.split("/")):
        yield at, "must not lead upwards"
    yield from _names(mapping, at, path, allowed)


def _names(mapping: VendorMapping, at: str, node: Any, allowed: tuple[str, ...]) -> Iterator[Problem]:
    try:
        found = list(templates.names(node))
    except ValueError as problem:
        yield at, str(problem)
        return
    for where, name in found:
        if wrong := _wrong_name(mapping, name, allowed):
            yield (f"{at}.{where}" if where else at), f"{{{name}}} {wrong}"


def _wrong_name(mapping: VendorMapping, name: str, allowed: tuple[str, ...]) -> str:
    root, _, rest = name.partition(".")
    if root not in allowed:
        return f"is not known here: known are {', '.join(f'{{{each}}}' for each in sorted(allowed))}"
    if root in (*FACTS, "options") and not rest:
        return "is incomplete"
    if rest and root not in (*FACTS, "options", "item"):
        return "has no parts"
    if root == "options" and rest not in mapping.option_names:
        return "is none of the options or required_options"
    if root == "run" and rest not in RUN_FACTS:
        return f"is not known: a run has {', '.join(RUN_FACTS)}"
    if root == "payload" and not _PAYLOAD_PATH.fullmatch(rest):
        return "is no path in the payload"
    return ""


def _mentioned(request: Request) -> set[str]:
    return _mentioned_in([request.path, request.query, request.headers, request.body])


def _mentioned_in(node: Any) -> set[str]:
    try:
        return {name for _, name in templates.names(node)}
    except ValueError:
        return set()  # said already
