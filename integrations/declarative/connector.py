"""Provider ``http``: a vendor that a mapping describes. Nothing here knows any vendor; ``mapping`` says what a file may hold.

A create's parameters are the values that its templates name, as the step froze them (``MappedValues``). The idempotency key is a
digest of kind, reference and parameters: the same create is the same key, and one with fixed data is another.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pydantic

from integrations.connectors.base import Capability, Created, Found, HttpConnector, MatchKey
from integrations.connectors.objects import MappedValues, VendorObject
from integrations.connectors.options import Option
from integrations.declarative import refusals, templates
from integrations.declarative.mapping import MEANINGS, Create, Duplicate, Find, Object, Read, Request, VendorMapping
from integrations.errors import Kind, ProviderError
from integrations.http.client import OK, Answer, VendorHttp
from integrations.models import Connection

OK_WITHOUT_BODY = (*OK, 204)
SEVERAL = 2
_EXPLAINED = (Kind.INVALID, Kind.CONFLICT, Kind.SERVER)
Reading = Callable[[int, Any], ProviderError | None]


class _Answer(pydantic.RootModel[Any]):
    """Any JSON; what must stand in it, the mapping says."""


class MappedConnector(HttpConnector):
    """Made into one class a mapping by ``connector_for``."""

    mapping: ClassVar[VendorMapping]
    _reading: Reading | None = None
    """What the answer under way may mean beyond its status."""
    _origins: Mapping[str, str] = {}
    """Of the request under way: the vendor's names of what it carries -> payload path."""

    def __init__(self, connection: Connection, http: VendorHttp) -> None:
        super().__init__(connection, http)
        http.denies = self.translate
        http.explain = self.explain

    @classmethod
    def auth_headers(cls, connection: Connection, token: str) -> dict[str, str]:
        auth = cls.mapping.auth
        match auth.style:
            case "header":
                return {auth.header: f"{auth.prefix}{token}"}
            case "basic":
                user = connection.options.get(auth.user_option, "")
                return {"Authorization": f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"}
        return HttpConnector.auth_headers(connection, token)

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        made = self._object(kind)
        by = next((find for find in made.find if find.by == key.name), None)
        if by is None or not key.value.strip():
            return []
        values = {**self._options(), "key": key.value, "within": key.within}
        try:
            answer = self._call(by, values, self._refusals(made, missing=True), reads=True)
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return []
            raise
        if not by.results:
            return [self._found(made, by, answer.data.root, by.conclusive)]
        listed = self._matching(by, answer, key.value)
        return [self._found(made, by, each, by.conclusive) for each in listed]

    def _matching(self, by: Find, answer: Answer[Any], wanted: str) -> list[Any]:
        """What cannot be read is never taken for "none there": that would make a duplicate."""
        listed = self._list(by.results, answer.data.root)
        if answer.status in by.several:
            if len(listed) < SEVERAL:
                raise self._malformed("several matches that it does not list")
            return listed
        if listed and all(templates.pick(each, by.same) is None for each in listed):
            raise self._malformed(f"nothing at “{by.same}” in any result")
        return [each for each in listed if _plain(templates.pick(each, by.same)) == _plain(wanted)]

    def _list(self, where: str, body: Any, *, writes: bool = False) -> list[Any]:
        listed = templates.pick(body, where)
        if not isinstance(listed, list):
            raise self._malformed(f"no list at “{where}”", writes=writes)
        return listed

    def get(self, kind: str, external_id: str) -> Found | None:
        made = self._object(kind)
        try:
            answer = self._call(
                made.get, {**self._options(), "id": external_id}, self._refusals(made, missing=True), reads=True
            )
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise
        return self._found(made, made.get, answer.data.root, conclusive=True)

    def probe(self) -> str:
        probe = self.mapping.probe
        body = self._call(probe, self._options(), self._refusals()).data.root
        label = templates.as_text(templates.pick(body, probe.label)) if probe.label else ""
        return f"{self.provider} answers" + (f": {label}" if label else "")

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        made, sent = self._object(wanted.kind), _values(wanted)
        values = {**self._options(), **sent.values, "reference": reference}
        values["idempotency_key"] = idempotency_key(sent, reference)
        items = sent.items
        if items is not None:
            each = [{**values, **item["values"], "reference": item["reference"]} for item in items]
            values["items"] = [templates.rendered(made.create.each, of_item) for of_item in each]
        body = self._call(made.create, values, self._refusals(made, duplicates=made.create.duplicate)).data.root
        if items is None:
            return self._created(made, made.create, body)
        return Created("", items=self._of_items(made, items, body))

    def update(self, external_id: str, wanted: VendorObject) -> None:
        made = self._object(wanted.kind)
        if made.update is None:
            super().update(external_id, wanted)
            return
        values = {**self._options(), **_values(wanted).values, "id": external_id}
        self._call(made.update, values, self._refusals(made, missing=True), answers=False)

    def undo(self, kind: str, external_id: str) -> None:
        made = self._object(kind)
        if made.undo is None:
            super().undo(kind, external_id)
            return
        try:
            values = {**self._options(), "id": external_id}
            self._call(made.undo, values, self._refusals(made, missing=True), answers=False)
        except ProviderError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise

    # --- The parts --------------------------------------------------------------------------------------------------

    def _object(self, kind: str) -> Object:
        try:
            return self.mapping.objects[kind]
        except KeyError:
            raise ValueError(f"{self.provider} has no {kind}") from None

    def _options(self) -> dict[str, str]:
        return {f"options.{name}": self.option(name) for name in self.mapping.option_names}

    def _call(
        self, request: Request, values: templates.Values, reading: Reading, *, reads: bool = False, answers: bool = True
    ) -> Answer[Any]:
        """``data.root`` is the answer's JSON; with ``answers`` false there need be none. Raises ``ProviderError``."""
        try:
            path = templates.path(request.path, values)
        except ValueError as problem:
            message = f"the path {request.path} cannot be filled in: {problem}"
            raise ProviderError(Kind.INVALID, f"{self.provider}: {message}") from None
        self._reading, self._origins = reading, request.origins
        usual = OK if answers else OK_WITHOUT_BODY
        expect: Any = _Answer if answers else None
        return self.http.request(
            request.method,
            path,
            params={key: templates.as_text(value) for key, value in templates.rendered(request.query, values).items()},
            headers={name: templates.header(text, values) for name, text in request.headers.items()},
            json=None if request.body is None else templates.rendered(request.body, values),
            ok=(*(request.ok or usual), *(request.several if isinstance(request, Find) else ())),
            reads=reads,
            expect=expect,
        )

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        return self._reading(status, body) if self._reading else None

    def explain(self, error: ProviderError, body: Any) -> None:
        """Give a refusal the vendor's own words, and the fields of ours that it is about."""
        if self.mapping.errors is not None and error.kind in _EXPLAINED and not error.existing_id:
            refusals.explain(self.mapping.errors, self._origins, error, body)

    def _refusals(
        self,
        made: Object | None = None,
        *,
        missing: bool = False,
        duplicates: Sequence[Duplicate] = (),
    ) -> Reading:
        """What answers mean for one request: missing, a duplicate, or one of the vendor's own failures."""

        def read(status: int, body: Any) -> ProviderError | None:
            if made and missing and any(case.covers(status, body) for case in made.not_found):
                return ProviderError(Kind.NOT_FOUND, f"{self.provider} does not have this", status)
            for case in duplicates:
                if case.covers(status, body):
                    return self._conflict(case, status, body)
            for failure in self.mapping.failures:
                if failure.covers(status, body):
                    return self._failure(MEANINGS[failure.means], status, failure.wait)
            return None

        return read

    def _failure(self, kind: Kind, status: int, wait: float) -> ProviderError:
        # A failure of the vendor's own may strike after the effect, whatever its status.
        words = f"{self.provider} says that this is a {kind.value}"
        return ProviderError(kind, words, status, retry_after=wait or None, effect_possible=kind is Kind.SERVER)

    def _conflict(self, case: Duplicate, status: int, body: Any) -> ProviderError:
        existing = _id(templates.pick(body, case.id)) if case.id else ""
        message = f"{self.provider} says that this exists already"
        return ProviderError(
            Kind.CONFLICT,
            f"{message} as {existing}" if existing else message,
            status,
            existing_id=existing,
            existing_by=case.by,
        )

    def _malformed(self, what: str, *, writes: bool = False) -> ProviderError:
        return ProviderError(Kind.MALFORMED, f"{self.provider} gave an answer with {what}", effect_possible=writes)

    def _found(self, made: Object, read: Read, answer: Any, conclusive: bool) -> Found:
        external_id = _id(templates.pick(answer, read.id))
        if not external_id:
            raise self._malformed(f"no id at “{read.id}”")
        shown = {name: templates.as_text(templates.pick(answer, where)) for name, where in read.shown.items()}
        return Found(
            external_id,
            templates.as_text(templates.pick(answer, read.label)) or external_id,
            self._url(made, read.url, answer, external_id),
            {name: text for name, text in shown.items() if text},
            conclusive,
        )

    def _created(self, made: Object, create: Create, answer: Any) -> Created:
        external_id = _id(templates.pick(answer, create.id))
        if not external_id:
            raise self._malformed(f"no id at “{create.id}”", writes=True)
        return Created(external_id, self._url(made, create.url, answer, external_id))

    def _of_items(self, made: Object, items: Sequence[Mapping[str, Any]], answer: Any) -> dict[str, Created]:
        create = made.create
        listed = self._list(create.results, answer, writes=True)
        if not create.same:
            if len(listed) != len(items):
                raise self._malformed(f"{len(listed)} results for {len(items)} items", writes=True)
            return {item["key"]: self._created(made, create, each) for item, each in zip(items, listed, strict=True)}
        results = {_plain(templates.pick(each, create.same)): each for each in listed}
        if lacking := [item for item in items if _plain(item["reference"]) not in results]:
            raise self._malformed(f"no result for {len(lacking)} of {len(items)} items", writes=True)
        return {item["key"]: self._created(made, create, results[_plain(item["reference"])]) for item in items}

    def _url(self, made: Object, where: str, answer: Any, external_id: str) -> str:
        """Only an address that a browser opens as a page: what a vendor sends becomes a link in the console."""
        url = templates.as_text(templates.pick(answer, where)) if where else ""
        if url.startswith(("https://", "http://")):
            return url
        if not made.page:
            return ""
        page = templates.path(made.page, {**self._options(), "id": external_id})
        return f"{self.connection.base_url.rstrip('/')}{page}" if page.startswith("/") else page


def idempotency_key(wanted: MappedValues, reference: str) -> str:
    """64 characters, the same for the same create."""
    whole = json.dumps([wanted.kind, reference, wanted.given()], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def connector_for(mapping: VendorMapping) -> type[MappedConnector]:
    return type(
        f"Mapped{mapping.name.title().replace('-', '')}",
        (MappedConnector,),
        {
            "mapping": mapping,
            "provider": mapping.name,
            "systems": frozenset({str(mapping.system)}),
            "hosts": mapping.hosts,
            "default_base_url": mapping.default_base_url,
            "kinds": tuple(_capability(kind, made) for kind, made in mapping.objects.items()),
            "options": tuple(
                Option(name=name, required=name in mapping.required_options) for name in mapping.option_names
            ),
            "probes": f"that GET {mapping.probe.path} answers with these credentials",
            "__doc__": f"As {mapping.file} describes it.",
        },
    )


def _capability(kind: str, made: Object) -> Capability:
    return Capability(
        kind=kind,
        safety=made.safety,
        search_lag=made.search_lag,
        key_lifetime=made.key_lifetime,
        reversible=made.undo is not None,
        rollback=f"{made.undo.method} {made.undo.path}"
        if made.undo
        else "stays: the mapping says of no way to undo it",
        updatable=made.update is not None,
    )


def _values(wanted: VendorObject) -> MappedValues:
    """A mapping knows no field but those that its templates name."""
    if not isinstance(wanted, MappedValues):
        raise TypeError(f"a mapped vendor is asked for values, not for a {type(wanted).__name__}")
    return wanted


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()


def _plain(value: Any) -> str:
    """As keys are compared: without case and blanks around."""
    return " ".join(templates.as_text(value).split()).casefold() if not isinstance(value, dict | list) else ""
