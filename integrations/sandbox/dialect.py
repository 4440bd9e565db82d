"""What the vendors' stand-ins share: a call, an answer, a route table and the two speeds at which writes show."""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import unquote

from integrations.sandbox.store import Json, Row, Tx, term


@dataclass
class Answer:
    status: int
    #: None sends no body at all
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    #: sent as it is instead of ``body``
    raw: tuple[str, bytes] | None = None
    #: whether it tells the rate limit
    shows_rate_limit: bool = True

    def payload(self) -> tuple[str, bytes]:
        if self.raw is not None:
            return self.raw
        if self.body is None:
            return "", b""
        return "application/json;charset=utf-8", json.dumps(self.body).encode()


class Refused(Exception):
    """The vendor says no: whatever the request wrote so far is rolled back, and this is the answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True)
class Call:
    tx: Tx
    settings: Json
    method: str
    #: without the vendor's prefix
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Message

    @property
    def lag(self) -> float:
        """Seconds until search shows a write."""
        return as_seconds(self.settings["search_lag"])

    @property
    def has_body(self) -> bool:
        return self.headers.get("Content-Length", "0") != "0"

    @property
    def says_json(self) -> bool:
        """Whether the caller declares its body as JSON."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"

    def page(self, *, size: int, largest: int) -> tuple[int, int]:
        """(limit, offset) from the query; nonsense counts as not given."""
        limit, offset = self.query.get("limit", ""), self.query.get("offset", "")
        return (
            min(int(limit) or size, largest) if limit.isdecimal() else size,
            int(offset) if offset.isdecimal() else 0,
        )


Handler = Callable[..., Answer]
H = TypeVar("H", bound=Handler)
_PARAMETER = re.compile(r"\{\w+\}")
_CLOSING = re.compile(r"\[([^\[\]\n]+)\]$")


def route(method: str, template: str) -> Callable[[H], H]:
    """Answer ``method`` on ``template``; each ``{name}`` is handed over as one positional argument."""

    def mark(handler: H) -> H:
        pattern = re.compile(_PARAMETER.sub(r"([^/]+)", re.escape(template).replace(r"\{", "{").replace(r"\}", "}")))
        handler.__dict__.setdefault("routes", []).append((method, pattern))
        return handler

    return mark


class Dialect(ABC):
    """One vendor's manners. Uniqueness rules, error shapes and delays belong here; faults and the ledger do not."""

    name: ClassVar[str]
    prefix: ClassVar[str]
    #: kinds shown by the counts; everything else is furniture (templates, owners, jobs)
    counted: ClassVar[tuple[str, ...]]
    #: kinds that may be seeded beside those
    fixed_kinds: ClassVar[tuple[str, ...]] = ()
    id_base: ClassVar[int]
    defaults: ClassVar[Json] = {"search_lag": 0.0}
    #: those of ``defaults`` that this vendor alone has: each takes a value of its default's type
    own_settings: ClassVar[frozenset[str]] = frozenset()
    #: whether its real rate limit says how long to wait
    sends_retry_after: ClassVar[bool] = True
    #: whether a connection to it needs a token
    has_tokens: ClassVar[bool] = True
    #: statuses by which the vendor documents refusals that pass by themselves, beside 429
    transient_refusals: ClassVar[tuple[int, ...]] = ()
    #: which system's connection leads here; empty for what no connection of a built-in vendor leads to
    system: ClassVar[str] = ""
    #: the path of that connection's base URL, below the sandbox's own, and the options that it needs
    base_path: ClassVar[str] = ""
    options: ClassVar[Mapping[str, str]] = {}
    #: the secrets that it needs beside the token
    secrets: ClassVar[Mapping[str, str]] = {}
    #: paths of the vendor's own pages for people: groups ``id``, and ``kind`` or ``type`` where the address tells it
    page: ClassVar[re.Pattern[str] | None] = None
    #: ``type`` -> kind
    page_types: ClassVar[Mapping[str, str]] = {}
    #: fields of answers that are never null or absent: the vendor's documentation says so, or we have filled them
    always: ClassVar[frozenset[str]] = frozenset()
    #: fields of answers whose values are one of a list that the vendor may add to
    choices: ClassVar[frozenset[str]] = frozenset()
    #: where the sandbox listens, for the links that a vendor gives to its own pages
    origin: str = ""

    def settings(self, tx: Tx) -> Json:
        tokens = {"tokens": [f"sandbox-{self.name}-token"]}
        stored = {name: value for name, value in tx.settings(self.name).items() if value is not None}
        declared = {"transient_refusals": list(self.transient_refusals)} if self.transient_refusals else {}
        return {"rate_limit": None, "former_tokens": [], **declared, **tokens, **self.defaults, **stored}

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:  # noqa: ARG002
        """Whether the Authorization header is a good one; most vendors take bearer tokens alone."""
        return authorization.partition("Bearer ")[2].strip() in tokens

    def handle(self, call: Call) -> Answer:
        known = False
        for handler, method, pattern in self._routes():
            if matched := pattern.fullmatch(call.path):
                known = True
                if method == call.method:
                    return handler(self, call, *map(unquote, matched.groups()))
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        return self.refusal(status, f"No {call.method} {call.path} here")

    @classmethod
    def _routes(cls) -> Iterator[tuple[Handler, str, re.Pattern[str]]]:
        # In the order of their definition: a literal path stands above the parameter that would swallow it.
        for member in cls.__dict__.values():
            for method, pattern in getattr(member, "routes", ()):
                yield cast("Handler", member), method, pattern

    @abstractmethod
    def refusal(self, status: int, message: str) -> Answer:
        """The vendor's own body for a status that has no better reason."""

    @abstractmethod
    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        """What every answer says about the rate limit."""

    @abstractmethod
    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        """(key, value) pairs under which the vendor should hold at most one object that we made."""

    @abstractmethod
    def preseed(self, tx: Tx) -> None:
        """What exists in a new account."""

    def seed(self, tx: Tx, kind: str, given: Json) -> str:
        """Put an object there as if it had always been; ``id`` may be chosen."""
        body = {name: value for name, value in given.items() if name not in ("id", "gid")}
        wanted = given.get("id") or given.get("gid")
        return self.add(tx, kind, body, row_id=str(wanted) if wanted else None, seeded=True).id

    def add(
        self, tx: Tx, kind: str, body: Json, *, row_id: str | None = None, lag: float = 0.0, seeded: bool = False
    ) -> Row:
        chosen = row_id or tx.new_id(self.name, kind, self.id_base)
        return tx.insert(self.name, kind, chosen, body, lag=lag, seeded=seeded)

    def refuse(self, status: int, message: str) -> Refused:
        return Refused(self.refusal(status, message))

    def counts(self, tx: Tx) -> tuple[dict[str, Json], list[Json]]:
        """Live objects by kind, and every natural key that has more of them than it should.

        An object that duplicates another under two keys is one duplicate.
        """
        kinds: dict[str, Json] = {}
        doubled: list[Json] = []
        for kind in self.counted:
            rows = tx.rows(self.name, kind)
            by_key: dict[tuple[str, str], list[Row]] = {}
            for row in rows:
                for name, value in self.natural_keys(kind, row.body):
                    by_key.setdefault((name, value), []).append(row)
            surplus: set[int] = set()
            for (name, value), holders in by_key.items():
                created = [row for row in holders if not row.seeded]
                extra = created[0 if len(created) < len(holders) else 1 :]
                if extra:
                    surplus.update(row.seq for row in extra)
                    key = f"{name}={value}"
                    doubled.append({"vendor": self.name, "kind": kind, "key": key, "ids": [row.id for row in holders]})
            seeded = sum(row.seeded for row in rows)
            kinds[kind] = {
                "total": len(rows),
                "created": len(rows) - seeded,
                "seeded": seeded,
                "duplicates": len(surplus),
            }
        return kinds, doubled


def key_of(body: Json, *names: str) -> list[tuple[str, str]]:
    """The first of these fields that has a value, as a natural key."""
    return next(([(name, term(body[name]))] for name in names if term(body.get(name) or "")), [])


def closing_reference(text: str) -> list[tuple[str, str]]:
    """What stands in brackets at the end of a text's last line, as a natural key: our reference, where we wrote the text."""
    found = _CLOSING.search(text.rstrip())
    return [("reference", term(found[1]))] if found else []


def as_seconds(value: object) -> float:
    """A setting's seconds; "never" is for ever."""
    return math.inf if value == "never" else float(str(value))


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
