"""One vendor for all systems, in memory, whose next answer a generated test chooses. It keeps its own ledger."""

# ruff: noqa: ARG002, ARG003  (a connector's vocabulary is fixed, whatever this vendor looks at)
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from integrations import clock
from integrations.connectors import registry
from integrations.connectors.base import (
    Connector,
    Created,
    CreateSafety,
    CrmConnector,
    Found,
    JobAccepted,
    MatchKey,
    ObjectKind,
    OwnerFacts,
)
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import TOKEN_SECRET
from integrations.errors import Kind, ProviderError
from integrations.models import Connection

LAG = 10.0
"""Seconds until a search finds what was created."""
KINDS = {
    "company": ObjectKind(CreateSafety.NEITHER, LAG),
    "deal": ObjectKind(CreateSafety.IDEMPOTENCY_KEY, LAG),
    "project": ObjectKind(CreateSafety.NEITHER, LAG),
    "task": ObjectKind(CreateSafety.UNIQUE_UPSERT, LAG),
    "message": ObjectKind(CreateSafety.NEITHER),
}
BROUGHT = "Prepare"
"""The task that each new project has already, from its template."""
WRITES = frozenset({"create", "update", "associate", "undo"})


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next call that is one of ``calls``; ``after``: once it has taken effect."""

    name: str
    calls: frozenset[str]
    kind: Kind | None = None
    after: bool = False
    retry_after: float | None = None
    stop: bool = False

    def error(self) -> Exception:
        if self.kind is None:
            return LookupError("a defect of ours")
        transient = self.kind in (Kind.SERVER, Kind.MALFORMED)
        return ProviderError(
            self.kind,
            f"The vendor says: {self.name}.",
            http_status={Kind.AUTH: 401, Kind.FORBIDDEN: 403, Kind.RATE_LIMIT: 429, Kind.SERVER: 500}.get(self.kind),
            retry_after=self.retry_after,
            effect_possible=self.after or (transient and "create" in self.calls),
            stop_and_queue=self.stop,
        )


ANY = frozenset({"find", "get", "poll", *WRITES})
CREATE, READ, TIE = frozenset({"create"}), frozenset({"find", "get"}), frozenset({"associate", "update"})
UNDO = frozenset({"undo"})
FAULTS = [
    Fault("lost before", CREATE, Kind.SERVER),
    Fault("lost after", CREATE, Kind.SERVER, after=True),
    Fault("strange answer", CREATE, Kind.MALFORMED, after=True),
    Fault("unreadable", READ, Kind.SERVER),
    Fault("untied", TIE, Kind.SERVER),
    Fault("invalid", CREATE | TIE, Kind.INVALID),
    Fault("taken", CREATE, Kind.CONFLICT),
    Fault("slow down", ANY, Kind.RATE_LIMIT, retry_after=7),
    Fault("too many jobs", CREATE, Kind.RATE_LIMIT, stop=True),
    Fault("refused", ANY, Kind.AUTH),
    Fault("forbidden", ANY, Kind.FORBIDDEN),
    Fault("defect before", READ),
    Fault("defect after", CREATE, after=True),
    Fault("job", CREATE),
    Fault("job fails", frozenset({"poll"}), Kind.JOB_FAILED),
    Fault("job unknown", frozenset({"poll"}), Kind.NOT_FOUND),
    Fault("several", frozenset({"find"})),
    Fault("gone", frozenset({"get"})),
    Fault("undo lost before", UNDO, Kind.SERVER),
    Fault("undo lost after", UNDO, Kind.SERVER, after=True),
    Fault("undo refused", UNDO, Kind.INVALID),
    Fault("defect after undo", UNDO, after=True),
]


@dataclass
class Thing:
    """``maker``: the step that made it, as ``step:KEY``; empty for what is not ours. ``told``: what was last written into it."""

    external_id: str
    kind: str
    reference: str
    params: dict[str, Any]
    at: datetime
    maker: str
    changed_at: datetime | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def has(self, key: MatchKey) -> bool:
        if key.within and self.params.get("project_id") != key.within:
            return False
        if key.name == "reference":
            return self.reference == key.value
        return key.name in ("domain", "name") and self.params.get(key.name) == key.value


@dataclass
class World:
    """Everything at the vendor. ``answers``: whether a probe gets any; ``credentials``: whether it takes our token.

    ``fault`` strikes once.
    """

    things: dict[str, Thing] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    answers: bool = True
    credentials: bool = True
    created: Counter[tuple[str, str]] = field(default_factory=Counter)
    gone: Counter[tuple[str, str]] = field(default_factory=Counter)
    indeterminate: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Parameters of creates whose answer was lost: until that is resolved only the same may be sent again."""
    undone: dict[str, tuple[Thing, str]] = field(default_factory=dict)
    """What we undid, and the step that did, by id."""
    seeds: int = 0
    broken: list[str] = field(default_factory=list)
    """What we did that no vendor should see; an exception here would only be one more failure to our engine."""

    def strikes(self, call: str, *, after: bool = False) -> Fault | None:
        """The fault, if it concerns this call now; then it is over."""
        if self.fault is None or call not in self.fault.calls or self.fault.after != after:
            return None
        struck, self.fault = self.fault, None
        return struck

    def add(self, kind: str, reference: str, params: dict[str, Any], maker: str) -> Thing:
        thing = Thing(str(1000 + sum(self.created.values())), kind, reference, params, clock.now(), maker)
        self.things[thing.external_id] = thing
        self.created[kind, reference] += 1
        return thing

    def seed(self, kind: str, params: dict[str, Any]) -> None:
        """Something that is there without us."""
        self.seeds += 1
        thing = Thing(f"there-{self.seeds}", kind, "", params, clock.now(), "")
        self.things[thing.external_id] = thing

    def remove(self, thing: Thing) -> None:
        del self.things[thing.external_id]
        self.gone[thing.kind, thing.reference] += 1


world = World()


def new_world() -> World:
    global world  # noqa: PLW0603  (a connector is made from its connection alone)
    world = World()
    return world


class Vendor(CrmConnector):
    provider = "model"
    systems = frozenset({"crm", "delivery", "email"})
    secrets = (TOKEN_SECRET,)

    def __init__(self, connection: Connection, subject: str, before_write: Callable[[], None] | None) -> None:
        Connector.__init__(self, connection)
        self.subject = subject
        self.before_write = before_write or (lambda: None)

    @classmethod
    def on(
        cls, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
    ) -> Self:
        return cls(connection, subject, before_write)

    def kind(self, name: str) -> ObjectKind:
        return KINDS[name]

    def _begin(self, call: str) -> Fault | None:
        """Raises what is to go wrong with this call; returns what merely answers otherwise."""
        if call in WRITES:
            self.before_write()
        if not world.credentials:
            raise ProviderError(Kind.AUTH, "The vendor refuses our token.", http_status=401)
        fault = world.strikes(call)
        if fault and fault.name not in ("several", "gone", "job"):
            raise fault.error()
        return fault

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        several = self._begin("find")
        seen = clock.now() - timedelta(seconds=KINDS[kind].search_lag)
        found = [thing for thing in world.things.values() if thing.kind == kind and thing.has(key) and thing.at <= seen]
        if several and kind == "company":
            ours = [Found(thing.external_id, "ours") for thing in found]
            return [*ours, Found("501", "one namesake"), Found("502", "another")]
        for thing in found:
            world.indeterminate.pop((kind, thing.reference), None)
        if kind == "message":
            return []
        return [Found(thing.external_id, thing.kind) for thing in found]

    def get(self, kind: str, external_id: str) -> Found | None:
        gone = self._begin("get")
        thing = world.things.get(external_id)
        if gone and thing and kind != "message":
            world.remove(thing)
            return None
        return Found(external_id, kind, changed_at=thing.changed_at) if thing else None

    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:
        kind, params = wanted.kind, wanted.given()
        self.before_write()
        sent = world.indeterminate.setdefault((kind, reference), params)
        if sent != params:
            world.broken.append(f"{kind} {reference}: a repeated create carries other parameters")
        try:
            answer = self._create(kind, params, reference)
        except ProviderError as error:
            if not error.effect_possible:
                world.indeterminate.pop((kind, reference))
            raise
        world.indeterminate.pop((kind, reference))
        return answer

    def _create(self, kind: str, params: dict[str, Any], reference: str) -> Created | JobAccepted:
        job = self._begin("create")
        same = [thing for thing in world.things.values() if (thing.kind, thing.reference) == (kind, reference)]
        recognised = bool(same) and KINDS[kind].safety is not CreateSafety.NEITHER
        thing = same[0] if recognised else world.add(kind, reference, params, self.subject)
        if kind == "project" and not recognised:
            world.seed("task", {"name": BROUGHT, "project_id": thing.external_id})
        if lost := world.strikes("create", after=True):
            raise lost.error()
        if job and kind == "project":
            name = f"job-{thing.external_id}"
            world.jobs[name] = thing.external_id
            return JobAccepted(name)
        return Created(thing.external_id)

    def update(self, external_id: str, wanted: VendorObject) -> None:
        self._begin("update")
        if thing := world.things.get(external_id):
            thing.told = wanted.given()

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        self._begin("associate")

    def poll(self, kind: str, job_id: str) -> Created | None:
        try:
            self._begin("poll")
        except ProviderError as error:
            if error.kind is Kind.JOB_FAILED and (thing := world.things.get(world.jobs[job_id])):
                world.remove(thing)  # then there is nothing, as it says
            raise
        return Created(world.jobs[job_id])

    def reversible(self, kind: str) -> bool:
        return kind != "message"

    def undo(self, kind: str, external_id: str) -> None:
        self._begin("undo")
        if thing := world.things.get(external_id):
            world.remove(thing)
            world.undone[external_id] = (thing, self.subject)
        if lost := world.strikes("undo", after=True):
            raise lost.error()

    def lookup_owner(self, *, domain: str, deal_id: str) -> OwnerFacts:
        self._begin("find")
        return OwnerFacts("u_1", "", "crm:company")

    def probe(self) -> str:
        if not world.answers:
            raise ProviderError(Kind.SERVER, "The vendor does not answer.", http_status=503)
        if not world.credentials:
            raise ProviderError(Kind.AUTH, "The vendor refuses our token.", http_status=401)
        return "well"


@contextmanager
def registered() -> Iterator[None]:
    """The vendor among the providers."""
    registry.register(Vendor)
    try:
        yield
    finally:
        registry._providers.pop(Vendor.provider)
