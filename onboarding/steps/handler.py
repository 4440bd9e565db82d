"""What a step handler declares and does: one declaration serves the engine, the planner, the services and the console."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from integrations.connectors.base import Connector, MatchKey
from integrations.connectors.objects import VendorObject
from integrations.enums import System
from integrations.errors import ProviderError
from onboarding.enums import RunEventType
from onboarding.models import ObjectMapping
from onboarding.payload.schema import get

Content = dict[str, Any]
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Verdict = Literal[
    "skip", "look-up", "create", "send-again", "cannot-be-undone", "update", "another", "nothing", "by-hand", "later",
    "take-back", "keep", "changed-since", "gone", "settle-first",
]  # fmt: skip
"""What would be done, in a word: the first line of a step that is done, the second of an object in a rollback."""


def digest_of(params: dict[str, Any]) -> str:
    """SHA-256 over the parameters' canonical JSON."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


LONGEST_KEY = 200
LONGEST_ITEM = 64


def bounded(key: str) -> str:
    """``key`` itself, or where it is too long for a column or a vendor's field a digest of it that is as unique."""
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key.partition(':')[0]}:sha256:{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True)
class Facts:
    """Everything a handler may know of its run. ``item`` is the one in hand, of a step that makes several objects."""

    content: Content
    run_id: str
    status: str = ""
    """The run's status, or ``on-hold``."""
    occurred_at: str = ""
    """When it was paid, ISO 8601."""
    step: str = ""
    """Its key in the playbook."""
    item: str = ""
    round: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the playbook gives this step (``with``)."""
    related: Mapping[str, str] = field(default_factory=dict)
    """External ids of the objects that it needs or uses, by handler name."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Their addresses at the vendors, where known."""
    confirmed: frozenset[str] = frozenset()
    """Of a check: payload paths whose value, as it is now, a person stands by."""

    def get(self, path: str, default: Any = "") -> Any:
        return get(self.content, path, default)


@dataclass(frozen=True)
class View:
    """One step as it stands, and the payload that it would be done with: everything that a preview may know."""

    facts: Facts
    """By the payload as it would be."""
    before: Facts | None = None
    """By the payload as it is, where a change of it is asked about; None: the step is done (again) in any case."""
    unwritten: tuple[str, ...] = ()
    """Changed payload paths that the handler reads, and that no step of the run writes into its object."""
    is_done: bool = False
    written: str = ""
    """Digest of what an updating step last wrote."""
    objects: Sequence[ObjectMapping] = ()
    is_indeterminate: bool = False
    """A create may have worked, and is not known to have."""
    wants_new: bool = False
    """A person has decided that a new object is made."""
    follows: bool = False
    """An object that it needs or ties itself to is another one by then."""
    used_elsewhere: frozenset[str] = frozenset()
    """Ids of ``objects`` that other runs stand on, too."""
    vendor: str = ""
    """The vendor's name, for people; empty where it is not settled yet."""

    @property
    def at_vendor(self) -> str:
        return f" in {self.vendor}" if self.vendor else ""

    @property
    def is_later(self) -> bool:
        """A step that has not passed yet sees a changed payload by itself."""
        return self.before is not None and not self.is_done and not self.objects


@dataclass(frozen=True)
class Preview:
    """What a step would do, in a word and in sentences without personal data that give the reason."""

    verdict: Verdict
    text: str
    by_hand: str = ""
    """What no step writes, as a task for a person; empty for nothing."""
    waits: bool = False
    """The step then waits for a person."""


class Work(Protocol[R_co]):
    """What the engine lends a handler for one claimed step, and how each way in which it can end is told to the engine."""

    @property
    def facts(self) -> Facts: ...

    @property
    def connector(self) -> Connector:
        """The vendor of the step. Raises ``ProviderError(NOT_CONFIGURED)`` where there is none."""

    def ensure(self, handler: "StepHandler") -> R_co:
        """Find the handler's object, or create it once. Raises ``ProviderError`` or ``DeadlinePassed``."""

    def hand_over(self, handler: "StepHandler") -> R_co:
        """Hand the step over to its workflow tool, once. Raises ``ProviderError`` or ``DeadlinePassed``."""

    def compensate(self, handler: "StepHandler") -> R_co:
        """Undo what the step's run created. Raises ``ProviderError`` or ``DeadlinePassed``."""

    def written(self, digest: str) -> R_co:
        """An updating step has written what it had to: ``digest``."""

    @property
    def is_connected(self) -> bool:
        """Whether the step has a connection that is switched on, for what can be done without one."""

    def awaited(self) -> R_co:
        """Nobody has done yet at the vendor what the step waits for: it is polled."""

    def checked(self, finding: str, *, asked: bool = False) -> R_co:
        """The data has passed a check; ``finding`` says how far it went. Done again where the data is other data by now.

        ``asked``: the step's vendor has answered.
        """

    def looked_up(self, found: Mapping[str, tuple[str, str]], message: str = "") -> R_co:
        """Payload path -> (value, source); ``message`` says why there is none."""


class StepHandler(ABC):
    """A step of some kind: which system it works in, what it reads, which handlers' objects it needs, and what it does.

    What callers ask of a handler is declared here, with what holds for a handler that has no object.
    """

    name: ClassVar[str]
    system: ClassVar[System]
    title: ClassVar[str]
    """In plain words, as after "Firstvalue could not": "make the CRM account"."""
    reads: ClassVar[tuple[str, ...]]
    """Payload paths."""
    writes: ClassVar[tuple[str, ...]] = ()
    """Payload paths that it fills where they are empty; a person can give their values as well."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Handlers whose objects must exist before; a playbook without them is refused."""
    ties_to: ClassVar[tuple[str, ...]] = ()
    """Handlers whose objects it ties itself to where they exist already."""
    provisions: ClassVar[bool] = True
    """Part of the P1 promise; False for kickoff and welcome."""
    provider: ClassVar[str] = ""
    """The one provider that can do it; empty: any built-in one of the system."""
    paths: ClassVar[Mapping[str, str]] = {}
    """Field of what is sent -> the payload path where a person fixes it."""

    makes: ClassVar[type[VendorObject]]
    """What it asks for, where it stands for an object; parameters that an intent keeps are its fields."""
    kind: ClassVar[str] = ""
    """Of the object that it stands for or writes into; empty where there is none."""
    makes_objects: ClassVar[bool] = False
    """It stands for an object (or one an item): what it made can be matched, linked, unlinked and removed."""
    makes_several: ClassVar[bool] = False
    """It may make more than one, one an item: no other step can name its object."""
    target: ClassVar[str] = ""
    """The handler whose object it writes into; empty for a handler that does not update another one's."""
    reports_run_status: ClassVar[bool] = False
    """It is written again whenever what it says of the run has changed, after the run's end too."""
    shared: ClassVar[bool] = False
    """One object a customer (found by its match key), not one a run: runs of one customer share it through a reservation."""
    finished_by: ClassVar[RunEventType | None] = None
    """A task for a person: the step ends only when somebody has completed the object at the vendor, or this event says so."""
    awaits_vendor: ClassVar[bool] = False
    """Somebody does it at the vendor, with an object of another step: it is polled by ``is_news`` until then."""
    most_at_once: ClassVar[int] = 0
    """Of a handler with ``parts``: so many are looked for and made in one claim; 0: all."""
    irrevocable: ClassVar[bool] = False
    """What was created cannot be undone, such as a sent mail; it may be sent again on purpose."""
    reports_back: ClassVar[bool] = False
    """A workflow tool does it: the step ends by the tool's report (``engine.objects.hand_over``), or is late."""
    asks: ClassVar[bool] = False
    """A person's decision, which needs no vendor: it has passed once somebody has approved."""
    optional: ClassVar[bool] = False
    """It is passed over where no connection to its system is there."""
    checks: ClassVar[bool] = False
    """It only looks at the payload, with or without a connection to its system, and is done again when what it reads has
    changed.
    """
    confirmable: ClassVar[tuple[str, ...]] = ()
    """Of a check: payload paths whose value a person may stand by against it, as long as all that it reads stays as it was."""
    updates: ClassVar[bool] = False
    """Whether the step keeps its object up to date with the payload."""
    owned_fields: ClassVar[frozenset[str]] = frozenset()
    """Of ``state``: our own wording, which is updated in what this run created and never in what others named."""

    # --- What it does

    @abstractmethod
    def execute(self, work: Work[R]) -> R:
        """Do the claimed step. Raises ``ProviderError`` or ``DeadlinePassed``. Must be harmless to repeat."""

    @abstractmethod
    def preview(self, view: View) -> Preview:
        """What ``execute`` would do as things stand, without doing it or asking a vendor."""

    def unanswered(self, facts: Facts, error: ProviderError) -> str:  # noqa: ARG002
        """What is noted where its vendor gives no answer and a check passes without; empty: it does not, people are told."""
        return ""

    def is_news(self, connector: Connector, facts: Facts) -> bool:  # noqa: ARG002
        """Of one that ``awaits_vendor``: whether there is anything new, which a claim then sees to. Raises ``ProviderError``."""
        return True

    def compensate(self, work: Work[R]) -> R:
        """Undo what it created. Raises ``ProviderError`` or ``DeadlinePassed``. Must be harmless to repeat."""
        return work.compensate(self)

    @property
    def passed_over(self) -> str:
        """Why an optional step is, where it is."""
        return f"There is no connection for {System(self.system).label.lower()}."

    def path_of(self, field: str) -> str:
        """Where a person fixes a field that the vendor refused; empty where nothing in the payload does."""
        return self.paths.get(field, "")

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises ``ValueError``, in words for whoever wrote the playbook."""
        if options:
            raise ValueError(f"{self.name} takes nothing under “with”")

    def titled(self, options: Mapping[str, Any]) -> str:  # noqa: ARG002
        """``title``, or what the playbook says that this one step is about."""
        return self.title

    def question(self, facts: Facts) -> str:  # noqa: ARG002
        """What a person is asked before it is done, where somebody has to approve that."""
        return f"May Firstvalue {self.title}?"

    def subject(self, facts: Facts) -> dict[str, Any]:
        """What of the payload somebody approves: once it is other data, they are asked again."""
        return {path: facts.get(path, None) for path in self.reads}

    def reads_any(self, paths: Iterable[str]) -> bool:
        """Whether it reads one of the paths, a part of it, or what it is a part of."""
        return any(
            path == read or path.startswith(f"{read}.") or read.startswith(f"{path}.")
            for path in paths
            for read in self.reads
        )

    # --- What is sent

    def wanted(self, facts: Facts) -> VendorObject:  # noqa: ARG002
        """What is asked for: to create the item in hand, or to write into the target.

        Raises ``TypeError`` where the handler asks no vendor for an object.
        """
        raise TypeError(f"{self.name} asks for no object")

    def params(self, facts: Facts) -> dict[str, Any]:
        """``wanted`` as it is kept in an intent, fit for JSON."""
        return self.wanted(facts).given()

    def restored(self, params: Mapping[str, Any]) -> VendorObject:
        """What such parameters, or some of them, ask for."""
        return self.makes.of(params)

    def digest(self, facts: Facts) -> str:
        """Of what would be sent now; of a check, of the data that it looks at."""
        return digest_of(self.subject(facts) if self.checks else self.params(facts))

    # --- Its objects

    def items(self, facts: Facts) -> list[str]:  # noqa: ARG002
        """Keys of the objects to make, in order, each at most 64 characters and without personal data."""
        return [""]

    def parts(self, facts: Facts) -> list[str] | None:  # noqa: ARG002
        """Keys of the objects that one call makes together, as ``items`` has them; None where each is made by itself."""
        return None

    def part_params(self, facts: Facts) -> dict[str, Any]:  # noqa: ARG002
        """What a call for many says of the item in hand; asked of a handler with ``parts`` that ``updates``."""
        return {}

    def named(self, facts: Facts) -> list[str]:
        """Keys of the objects that the payload names, however many a call makes."""
        parts = self.parts(facts)
        return self.items(facts) if parts is None else parts

    def label(self, facts: Facts) -> str:
        """The item in hand, for people."""
        return facts.item

    def match_key(self, facts: Facts) -> str:  # noqa: ARG002
        """What makes two of these the same object; empty where nothing is matched."""
        return ""

    def reference(self, facts: Facts) -> str:  # noqa: ARG002
        """Our own name for it, embedded in the create: deterministic, so that a repeated create is recognised."""
        return ""

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        """How to find it, strongest first."""
        return []

    def name_if_taken(self, facts: Facts) -> str:  # noqa: ARG002
        """What it is called where a person wants a new one and another one holds its name; empty: names need not be unique."""
        return ""

    def item_params(self, facts: Facts) -> dict[str, Any]:
        """What its create says of the item in hand alone."""
        return self.params(facts)

    def state(self, facts: Facts) -> dict[str, Any]:
        """What an update can write of it, by parameter. It is kept beside the object's id: only what differs is written."""
        return self.params(facts) if self.updates and not self.irrevocable else {}

    def changes(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of an update from one state to another. What is gone from the payload stays as it is at the vendor."""
        return {name: value for name, value in now.items() if before.get(name) != value}

    def identity(self, facts: Facts, reference: str) -> str:  # noqa: ARG002
        """What the payload calls the object by, where another name means another object; empty: it stays the same one."""
        return ""

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:  # noqa: B027  (most stand alone)
        """Tie the object to the others. Must be harmless to repeat."""

    # --- Its objects against the payload

    def kept_state(self, facts: Facts) -> dict[str, Any]:
        """``state`` as a JSON column gives it back."""
        state: dict[str, Any] = json.loads(json.dumps(self.state(facts)))
        return state

    def identity_of(self, facts: Facts) -> str:
        return self.identity(facts, self.reference(facts))

    def is_another(self, mapping: ObjectMapping, facts: Facts) -> bool:
        """The payload speaks of another object now: this one is not touched, and that one is found or created."""
        if mapping.state is None:
            return False
        identity = self.identity_of(facts)
        return bool(identity) and identity != mapping.identity

    def update_of(self, mapping: ObjectMapping, facts: Facts) -> dict[str, Any]:
        """What an update of this object would write; empty where it is up to date, or nobody knows what it was made from."""
        if mapping.state is None:
            return {}
        now = self.kept_state(facts)
        if not mapping.created_by_us:
            now = {name: value for name, value in now.items() if name not in self.owned_fields}
        return self.changes(mapping.state, now)
