"""Declarative providers: one TOML file says how a vendor is asked, in requests and answer paths. docs/adding-a-vendor.md.

Files stand in ``CONFIG_DIR/providers/`` beside the built-in ones, and win over those by name. Everything that can be wrong
with a file is found when it is read, with the file's name and the key; ``docs/provider-example.toml`` shows every key.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from django.conf import settings
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from integrations import config_files
from integrations.config_files import worded
from integrations.connectors.base import CreateSafety
from integrations.declarative import checks, templates
from integrations.enums import System
from integrations.errors import Kind

_PAYLOAD = "payload."
BUILT_IN = Path(__file__).resolve().parent / "mappings"
MEANINGS = {
    "rate-limit": Kind.RATE_LIMIT,
    "temporary": Kind.TEMPORARY,
    "server-error": Kind.SERVER,
    "auth-error": Kind.AUTH,
    "forbidden": Kind.FORBIDDEN,
    "validation-error": Kind.INVALID,
}

Name = Annotated[
    str,
    worded(r"[a-z][a-z0-9_-]{0,31}", "1 to 32 lower-case letters, digits, hyphens and underscores, a letter first"),
]
AnswerPath = Annotated[str, AfterValidator(templates.check_answer_path)]
Status = Annotated[int, Field(ge=200, le=599)]
Plain = str | int | float | bool


class MappingError(config_files.FileInvalid):
    """Mapping files that cannot be used; each message names the file and the key."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Case(_Strict):
    """An answer of a certain kind: by its status (any, where none is named), by what stands in it, or by both."""

    status: tuple[Status, ...] = ()
    where: AnswerPath = ""
    values: tuple[Plain, ...] = ()
    """One of these stands at ``where``; none: anything does."""

    def covers(self, status: int, body: Any) -> bool:
        if self.status and status not in self.status:
            return False
        if not self.where:
            # A proxy's page says nothing about the vendor's objects: only JSON, or nothing at all, is the vendor's answer.
            return not isinstance(body, str) or not body.strip()
        found = templates.pick(body, self.where)
        if not self.values:
            return found is not None
        return found is not None and templates.as_text(found) in map(templates.as_text, self.values)


class Failure(Case):
    """A refusal that means something else than its status says."""

    means: Literal["rate-limit", "temporary", "server-error", "auth-error", "forbidden", "validation-error"]
    wait: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """Seconds before the next try, at least; a longer ``Retry-After`` rules."""


class Duplicate(Case):
    """The vendor says that the object exists already."""

    id: AnswerPath = ""
    """Where the existing object's id stands."""
    by: str = ""
    """The key that the vendor keeps unique, as one of the finds calls it; without one a person decides whether it is ours."""


class Request(_Strict):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str
    query: dict[str, Plain] = {}
    headers: dict[str, str] = {}
    body: Any = None
    ok: tuple[Annotated[int, Field(ge=200, le=299)], ...] = ()
    """Statuses of success, where they are not the usual ones."""

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """What each place of the query and the body is filled from: ``contact.email`` -> ``customer.primary_contact.email``.

        A text with several names counts as the first one's. A place is known by its last part as well, where no other one ends
        so.
        """
        found: dict[str, str] = {}
        for node in self._filled:
            for where, name in templates.names(node):
                if name.startswith(_PAYLOAD):
                    found.setdefault(where, name.removeprefix(_PAYLOAD))
        last = [where.rpartition(".")[2] for where in found]
        return {
            where.rpartition(".")[2]: path for where, path in found.items() if last.count(where.rpartition(".")[2]) == 1
        } | found

    @property
    def _filled(self) -> tuple[Any, ...]:
        return self.query, self.body


class Read(Request):
    """A request whose answer shows an object."""

    id: AnswerPath = "id"
    url: AnswerPath = ""
    label: AnswerPath = "name"
    shown: dict[str, AnswerPath] = {}
    """What else a person sees of it when it must be told from another."""


class Find(Read):
    """How it is found by one key. With ``results`` the answer lists objects, else it is the object."""

    by: Name = "reference"
    value: str = "{reference}"
    within: str = ""
    """The object that it belongs to, where it is looked for only there."""
    results: AnswerPath = ""
    same: AnswerPath = ""
    """Where the key's value stands in each result: a search may be vaguer than we are."""
    conclusive: bool = True
    """False: it may be somebody else's of that name; a person decides."""
    several: tuple[Status, ...] = ()
    """Statuses that list several matches, beside those of success (such as 300)."""


class Create(Request):
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    id: AnswerPath = "id"
    url: AnswerPath = ""
    duplicate: tuple[Duplicate, ...] = ()
    each: dict[str, Any] = {}
    """Of a batch: what the request says of each item; ``{items}`` in the body is their list."""
    results: AnswerPath = ""
    same: AnswerPath = ""
    """Where an item's reference stands in each result of a batch; without it the results are in the items' order."""

    @property
    def _filled(self) -> tuple[Any, ...]:
        return *super()._filled, self.each


class Update(Request):
    method: Literal["PATCH", "PUT", "POST"] = "PATCH"
    title: str = ""


class Undo(Request):
    method: Literal["DELETE", "POST", "PATCH", "PUT"] = "DELETE"


class Probe(Request):
    method: Literal["GET"] = "GET"
    label: AnswerPath = ""


class Object(_Strict):
    """One kind of object. ``title`` reads as after "Firstvalue could not": "create the workspace"."""

    title: Annotated[str, Field(min_length=1, max_length=100)]
    safety: CreateSafety
    key_lifetime: Annotated[float, Field(ge=1)] = 86_400.0
    """Seconds for which the vendor remembers an idempotency key."""
    search_lag: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """Seconds for which a find may miss what was just written."""
    match: tuple[str, ...] = ()
    """Payload paths (or parts of the item) that make two of these the same object; none: each run has its own."""
    items: str = ""
    """A list in the payload, or in the step's options (``with.``): one object each."""
    item_key: str = ""
    """The part of an item that identifies it; none: the item is a text."""
    batch: bool = False
    """One request creates all items."""
    provisions: bool = True
    """Part of the promise that provisioning is done in time (P1)."""
    page: str = ""
    """Where people see it, where no answer says so: an address, or a path under the connection's."""
    not_found: tuple[Case, ...] = ()
    """Answers that say that there is no such object, beside a 404."""
    get: Read
    find: tuple[Find, ...] = ()
    create: Create
    update: Update | None = None
    undo: Undo | None = None


class Auth(_Strict):
    style: Literal["bearer", "header", "basic"] = "bearer"
    header: Annotated[str, worded(r"[A-Za-z0-9-]{1,64}", "a header's name such as X-Api-Key")] = "Authorization"
    prefix: Annotated[str, worded(r"[ -~]{0,32}", "at most 32 printable ASCII characters")] = ""
    user_option: str = ""
    """Of ``basic``: the connection option that holds the user's name; the token is the password."""


class Errors(_Strict):
    """Where a refusal of values says what is wrong with them, so that a ticket asks for the field that a person can fix."""

    list: AnswerPath = ""
    """Where several problems are listed: each has its own ``message`` and ``field``, or stands under its field's name."""
    message: AnswerPath = "message"
    field: AnswerPath = ""
    fields: dict[str, str] = {}
    """The vendor's name of a field -> payload path, where the request's own body and query do not show which one it is."""


class VendorMapping(_Strict):
    """One vendor. ``file`` is where it was read from."""

    file: str
    name: Annotated[
        str, worded(r"[a-z][a-z0-9-]{0,31}", "1 to 32 lower-case letters, digits and hyphens, a letter first")
    ]
    system: System
    hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    default_base_url: str = ""
    options: tuple[Name, ...] = ()
    required_options: tuple[Name, ...] = ()
    fields: tuple[str, ...] = ()
    """Payload paths of the company's own, beyond the canonical payload."""
    auth: Auth = Auth()
    probe: Probe
    errors: Errors | None = None
    failures: tuple[Failure, ...] = ()
    objects: Annotated[dict[Name, Object], Field(min_length=1)]

    @property
    def option_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.required_options, *self.options)))


def load(path: Path) -> VendorMapping:
    """Read and check one file. Raises ``MappingError``."""
    try:
        given = config_files.read(path)
    except config_files.FileInvalid as error:
        raise MappingError(error.each) from None
    try:
        made = VendorMapping.model_validate({**given, "file": path.name})
    except pydantic.ValidationError as error:
        raise MappingError(config_files.listed(path.name, config_files.in_words(error, VendorMapping, given))) from None
    found = [(config_files.key_of(_parts(key), given), message) for key, message in checks.problems(made)]
    if "file" in given:
        found.insert(0, ("file", "is not known here"))
    if found:
        raise MappingError(config_files.listed(path.name, found))
    return made


def _parts(key: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in key.split(".")]


@cache
def mappings() -> Mapping[str, VendorMapping]:
    """All mappings by name, each kind of object in one of them only. Raises ``MappingError`` with all that is wrong."""
    folders = [BUILT_IN, *([Path(settings.CONFIG_DIR) / "providers"] if settings.CONFIG_DIR else [])]
    found: dict[str, VendorMapping] = {}
    wrong: list[str] = []
    for folder in folders:
        names: dict[str, str] = {}
        for path in sorted(folder.glob("*.toml")):
            try:
                made = load(path)
            except MappingError as error:
                wrong += error.each
                continue
            if made.name in names:
                wrong.append(f"{path.name}: name: {names[made.name]} is called {made.name} too")
            names[made.name] = path.name
            found[made.name] = made
    kinds: dict[str, str] = {}
    for made in found.values():
        wrong += [
            f"{made.file}: objects.{kind}: {kinds[kind]} has objects of that kind too"
            for kind in made.objects
            if kind in kinds
        ]
        kinds |= dict.fromkeys(made.objects, made.file)
    if wrong:
        raise MappingError(wrong)
    return found
