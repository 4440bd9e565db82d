"""Steps of mapped vendors: ``uses = "http:widget"`` makes the object that exactly one mapping calls ``widget``.

Where its mapping says how to update it, ``http:widget.update`` writes into the object that ``http:widget`` stands for.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import MappedValues
from integrations.declarative import templates
from integrations.declarative.mapping import MappingError, Object, VendorMapping, mappings
from integrations.domains import same_address
from integrations.errors import FieldProblem, Kind, ProviderError
from onboarding.payload import catalogue
from onboarding.payload.plausibility import customer_domain, normal_name
from onboarding.payload.schema import get
from onboarding.steps import registry
from onboarding.steps.base import LONGEST_ITEM, EnsureHandler, Facts, StepHandler, UpdateHandler, bounded

PREFIX = "http:"
DOMAIN = "customer.domain"
MOST_ITEMS = 100
_FALLBACK = ("customer.legal_name", "commercial.billing_email")
"""What a customer without a domain goes by."""


class _Mapped(StepHandler):
    mapping: ClassVar[VendorMapping]
    made: ClassVar[Object]
    mentioned: ClassVar[frozenset[str]]
    """Every name in its templates."""

    def check_options(self, options: Mapping[str, Any]) -> None:
        listed = self._listed_option()
        wanted = {name.removeprefix("with.") for name in self.mentioned if name.startswith("with.")} | {listed} - {""}
        if unknown := set(options) - wanted:
            known = f" (known: {', '.join(sorted(wanted))})" if wanted else ""
            raise ValueError(f"{self.name} knows no option {min(unknown)}{known}")
        if lacking := wanted - set(options):
            raise ValueError(f"{self.name} needs {min(lacking)} under “with”")
        if listed:
            _check_items(options[listed], self.made.item_key)

    def _listed_option(self) -> str:
        return ""

    def _values(self, names: frozenset[str], facts: Facts, item: Any = None) -> dict[str, Any]:
        """What the names stand for; an empty one is left out."""
        found = {name: _value(name, facts, item) for name in sorted(names)}
        return {name: value for name, value in found.items() if not templates.is_empty(value)}


class MappedObject(_Mapped, EnsureHandler):
    """Made into one class a kind of object by ``load``. What changes in it later is its ``.update`` step's to write."""

    updates = False

    def _listed_option(self) -> str:
        return self.made.items.removeprefix("with.") if self.made.items.startswith("with.") else ""

    def _items(self, facts: Facts) -> dict[str, Any]:
        """By key: the playbook's own words, or a digest of what identifies one in the payload, as that may name a person."""
        option = self._listed_option()
        listed = facts.options.get(option) if option else facts.get(self.made.items, [])
        found: dict[str, Any] = {}
        for each in listed if isinstance(listed, list) else []:
            text = _identity(each, self.made.item_key)
            # Folding the case of ß makes another domain of an address.
            same = same_address(text) if "@" in text else text.casefold()
            key = text if option else hashlib.sha256(same.encode()).hexdigest()[:32]
            if text:
                found.setdefault(key, each)
        return found

    def items(self, facts: Facts) -> list[str]:
        return [""] if not self.made.items or self.made.batch else list(self._items(facts)) or [""]

    def parts(self, facts: Facts) -> list[str] | None:
        if not self.made.items:
            return None
        found = list(self._items(facts))
        return found if self.made.batch or not found else None

    def label(self, facts: Facts) -> str:
        item = self._items(facts).get(facts.item) if facts.item else None
        return _identity(item, self.made.item_key) or facts.item

    def match_key(self, facts: Facts) -> str:
        if self.shared and not self._lacking(facts):
            return bounded("match:" + "|".join(f"{path}={value}" for path, value in self._matched(facts).items()))
        return bounded(f"run:{facts.run_id}{f'/{facts.item}' if facts.item and not self.made.batch else ''}")

    def reference(self, facts: Facts) -> str:
        """Without personal data: it stands at vendors, in addresses and in what people are told."""
        if self.shared and any(path in catalogue.PERSONAL_PATHS or _is_of_item(path) for path in self.made.match):
            digest = hashlib.sha256(self.match_key(facts).encode()).hexdigest()[:32]
            return f"firstvalue:{self.kind}:{digest}"
        if self.shared:
            return f"firstvalue:{self.match_key(facts)}"
        return bounded(f"firstvalue:{facts.run_id}/{self.kind}{f'/{facts.item}' if facts.item else ''}")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        """Raises ``ProviderError`` where something is empty that the request cannot do without."""
        if lacking := self._lacking(facts):
            problems = [FieldProblem(path, "is needed here and is empty", path=path) for path in lacking]
            message = f"{catalogue.labels(lacking)}: needed to {self.title}, and empty."
            raise ProviderError(Kind.INVALID, message, fields=problems)
        item = self._items(facts).get(facts.item) if facts.item else None
        values = {**self._values(self.mentioned, facts, item), "reference": reference}
        keys = [
            MatchKey(
                find.by,
                templates.as_text(templates.rendered(find.value, values)),
                within=templates.as_text(templates.rendered(find.within, values)),
            )
            for find in self.made.find
        ]
        return [key for key in keys if key.value]

    def restored(self, params: Mapping[str, Any]) -> MappedValues:
        return MappedValues(of_kind=self.kind, **params)

    def wanted(self, facts: Facts) -> MappedValues:
        request = self._sent
        items = self._items(facts) if self.made.items else {}
        if not self.made.batch:
            return MappedValues(of_kind=self.kind, values=self._values(request, facts, items.get(facts.item)))
        each = self._sent_each
        of_item = frozenset(name for name in each if _is_of_item(name))
        listed = [
            {
                "key": key,
                "reference": self.reference(replace(facts, item=key)),
                "values": self._values(of_item, facts, item),
            }
            for key, item in items.items()
        ]
        return MappedValues(of_kind=self.kind, values=self._values(request | each - of_item, facts), items=listed)

    @cached_property
    def _sent(self) -> frozenset[str]:
        """Names in the templates of a create, but for those of each item."""
        create = self.made.create
        return _names([create.path, create.query, create.headers, create.body])

    @cached_property
    def _sent_each(self) -> frozenset[str]:
        return _names(self.made.create.each)

    @cached_property
    def _sent_in_path(self) -> frozenset[str]:
        return _names(self.made.create.path)

    def item_params(self, facts: Facts) -> dict[str, Any]:
        wanted = self.wanted(facts)
        of_item: dict[str, Any] = next((item["values"] for item in wanted.items or () if item["key"] == facts.item), {})
        return {**wanted.values, **of_item}

    def _matched(self, facts: Facts) -> dict[str, str]:
        item = self._items(facts).get(facts.item) if self.made.items else None
        found = {}
        for path in self.made.match:
            name = path if _is_of_item(path) else f"payload.{path}"
            text = " ".join(templates.as_text(_value(name, facts, item)).split()).casefold()
            if path == DOMAIN and not text:
                legal_name, email = (facts.get(each) for each in _FALLBACK)
                text = f"{normal_name(legal_name)}/{same_address(email)}"
            found[path] = text
        return found

    def _lacking(self, facts: Facts) -> list[str]:
        """Payload paths that are empty, and make up the address of a create or say whose object it is."""
        in_path = {name for name in self._sent_in_path if name.startswith("payload.")}
        empty = [name.removeprefix("payload.") for name in in_path if templates.is_empty(_value(name, facts, None))]
        return sorted({*empty, *(path for path, value in self._matched(facts).items() if not value)})


class MappedUpdate(_Mapped, UpdateHandler):
    """Made into one class a kind of object by ``load``."""

    def wanted(self, facts: Facts) -> MappedValues:
        return MappedValues(of_kind=self.kind, values=self._values(self.mentioned, facts))


def load() -> None:
    """(Re)make the handlers of all mappings, in place of those made before. Raises ``MappingError``."""
    made = [handler for mapping in mappings().values() for handler in _handlers(mapping)]
    known = {name: handler for name, handler in registry.HANDLERS.items() if not name.startswith(PREFIX)}
    known |= {handler.name: handler for handler in made}
    if wrong := [f"{each.mapping.file}: {problem}" for each in made for problem in _problems(each, known)]:
        raise MappingError(dict.fromkeys(wrong))
    registry.replace_all(PREFIX, made)


def _handlers(mapping: VendorMapping) -> Iterator[_Mapped]:
    for kind, made in mapping.objects.items():
        create = made.create
        requests = [create.path, create.query, create.headers, create.body, create.each]
        names = _names([*requests, *([find.value, find.within] for find in made.find)])
        shared = {"kind": kind, "system": mapping.system, "provider": mapping.name, "mapping": mapping, "made": made}
        of_object = {"name": f"{PREFIX}{kind}", "title": made.title, "provisions": made.provisions}
        own = {"shared": bool(made.match), "makes_several": bool(made.items), **_declared(names, made)}
        yield type("Mapped", (MappedObject,), {**shared, **of_object, **own})()
        if made.update:
            update = made.update
            written = _names([update.path, update.query, update.headers, update.body])
            declared = _declared(written, None)
            declared["needs"] = tuple(dict.fromkeys((f"{PREFIX}{kind}", *declared["needs"])))
            of_update = {
                "name": f"{PREFIX}{kind}.update",
                "title": update.title or f"update the {kind}",
                "provisions": made.provisions,
                "target": f"{PREFIX}{kind}",
            }
            yield type("Mapped", (MappedUpdate,), {**shared, **of_update, **declared})()


def _declared(names: frozenset[str], made: Object | None) -> dict[str, Any]:
    """What the engine wants to know of a handler, from the names in its templates."""
    reads = {name.removeprefix("payload.") for name in names if name.startswith("payload.")}
    if made:
        reads |= {path for path in made.match if not _is_of_item(path)}
        reads |= {made.items} if made.items and not made.items.startswith("with.") else set()
        reads |= set(_FALLBACK) if DOMAIN in made.match else set()
    objects = {name.removeprefix("objects.") for name in names if name.startswith("objects.")}
    links = {name.removeprefix("links.") for name in names if name.startswith("links.")}
    return {
        "mentioned": names,
        "reads": tuple(sorted({_catalogued(path) for path in reads})),
        "needs": tuple(sorted(objects)),
        "ties_to": tuple(sorted(links - objects)),
    }


def _catalogued(path: str) -> str:
    """The catalogue's entry that a path leads into: ``handover.links`` for ``handover.links.contract``."""
    while path not in catalogue.BY_PATH and "." in path:
        shorter = path.rpartition(".")[0]
        if shorter in catalogue.BY_PATH and catalogue.BY_PATH[shorter].type is not catalogue.Type.STRUCTURE:
            break
        path = shorter
    return path


def _problems(handler: _Mapped, known: Mapping[str, StepHandler]) -> Iterator[str]:
    errors = handler.mapping.errors
    for name, path in errors.fields.items() if errors else ():
        if _catalogued(path) not in catalogue.BY_PATH and path not in handler.mapping.fields:
            yield f"errors.fields.{name}: the payload has no {path} (list a field of your own under `fields`)"
    at = f"objects.{handler.name.removeprefix(PREFIX)}"
    named = {name.removeprefix("payload.") for name in handler.mentioned if name.startswith("payload.")}
    own = {each for each in handler.made.match if not _is_of_item(each)} | {handler.made.items} - {""}
    for path in sorted(named | {each for each in own if not each.startswith("with.")}):
        if _catalogued(path) not in catalogue.BY_PATH and path not in handler.mapping.fields:
            yield f"{at}: the payload has no {path} (list a field of your own under `fields`)"
    for name in (*handler.needs, *handler.ties_to):
        other = known.get(name)
        if name == handler.name or other is None or not other.makes_objects:
            yield f"{at}: {{objects.{name}}} names no step that makes an object"
        elif other.makes_several:
            yield f"{at}: {{objects.{name}}} names several objects, as {name} makes one an item"


def never_updated(handler: StepHandler, others: Iterable[StepHandler]) -> list[str]:
    """Payload paths that a mapped object is made from and that no other step writes into it once they change.

    None of one that is made once an item: a mapping has no update for these.
    """
    if not isinstance(handler, MappedObject) or handler.made.items:
        return []
    updates = [each for each in others if each.target == handler.name]
    read = {_catalogued(name.removeprefix("payload.")) for name in handler.mentioned if name.startswith("payload.")}
    return sorted(read - {path for each in updates for path in each.reads})


def _value(name: str, facts: Facts, item: Any) -> Any:
    root, _, rest = name.partition(".")
    match root:
        case "payload":
            return customer_domain(facts.content) if rest == DOMAIN else facts.get(rest, None)
        case "objects":
            return facts.related.get(rest)
        case "links":
            return facts.links.get(rest)
        case "with":
            return facts.options.get(rest)
        case "run":
            return {"id": facts.run_id, "status": facts.status, "occurred_at": facts.occurred_at}[rest]
        case "item":
            return get(item, rest, None) if rest and isinstance(item, dict) else None if rest else item
    return None


def _is_of_item(name: str) -> bool:
    return name.partition(".")[0] == "item"


def _identity(item: Any, key: str) -> str:
    value = get(item, key, None) if key and isinstance(item, dict) else item if not key else None
    return "" if isinstance(value, dict | list) else templates.as_text(value).strip()


def _check_items(listed: Any, key: str) -> None:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_ITEMS:
        raise ValueError(f"must list 1 to {MOST_ITEMS} items")
    texts = [_identity(each, key) for each in listed]
    for position, text in enumerate(texts, start=1):
        if not 1 <= len(text) <= LONGEST_ITEM:
            what = f"a {key}" if key else "a text"
            raise ValueError(f"item {position} needs {what} of 1 to {LONGEST_ITEM} characters")
        if text in texts[: position - 1]:
            raise ValueError(f"the item “{text}” is listed twice")


def _names(node: Any) -> frozenset[str]:
    return frozenset(name for _, name in templates.names(node))
