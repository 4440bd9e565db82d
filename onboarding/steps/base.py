"""What a step handler declares: one declaration serves the engine, and the question which steps a changed field touches."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from integrations.domains import same_address
from integrations.objects import VendorObject
from integrations.providers.base import Connector, MatchKey
from integrations.words import System
from onboarding.payload.plausibility import customer_domain, normal_name
from onboarding.payload.schema import get
from onboarding.words import RunEventType

Content = dict[str, Any]

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
    item: str = ""
    round: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the playbook gives this step (``with``)."""
    related: Mapping[str, str] = field(default_factory=dict)
    """External ids of the objects that it needs or uses, by handler name."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Their addresses at the vendors, where known."""

    def get(self, path: str, default: Any = "") -> Any:
        return get(self.content, path, default)


class StepHandler(ABC):
    """A step of some kind: which system it works in, what it reads, and which handlers' objects it needs."""

    name: ClassVar[str]
    system: ClassVar[System]
    title: ClassVar[str]
    """In plain words, as after "Firstvalue could not": "make the CRM account"."""
    reads: ClassVar[tuple[str, ...]]
    """Payload paths."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Handlers whose objects must exist before; a playbook without them is refused."""
    ties_to: ClassVar[tuple[str, ...]] = ()
    """Handlers whose objects it ties itself to where they exist already."""
    provisions: ClassVar[bool] = True
    """Part of the P1 promise; False for kickoff and welcome."""
    provider: ClassVar[str] = ""
    """The one provider that can do it; empty: any built-in one of the system."""
    paths: ClassVar[Mapping[str, str]] = {}
    """Field of what is sent -> the payload path where a person mends it."""

    def path_of(self, field: str) -> str:
        """Where a person mends a field that the vendor refused; empty where nothing in the payload does."""
        return self.paths.get(field, "")

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises ``ValueError``, in words for whoever wrote the playbook."""
        if options:
            raise ValueError(f"{self.name} takes nothing under “with”")


class EnsureHandler(StepHandler):
    """A step that stands for an object (or one an item): find it, or create it once."""

    makes: ClassVar[type[VendorObject]]
    kind: ClassVar[str]
    """Of ``makes``, or the mapping's name for it."""
    shared: ClassVar[bool] = False
    """One object a customer (found by its match key), not one a run: runs of one customer take turns through a reservation."""
    finished_by: ClassVar[RunEventType | None] = None
    """The step ends only when somebody has completed the object at the vendor, or this event says so."""
    irrevocable: ClassVar[bool] = False
    """What was created cannot be taken back, such as a sent mail; it may be sent again on purpose."""
    updates: ClassVar[bool] = True
    """Whether the step keeps its object up to date with the payload."""
    own_words: ClassVar[frozenset[str]] = frozenset()
    """Of ``state``: our own wording, which is updated in what this run created and never in what others named."""

    def items(self, facts: Facts) -> list[str]:  # noqa: ARG002
        """Keys of the objects to make, in order, each at most 64 characters and without personal data."""
        return [""]

    def parts(self, facts: Facts) -> list[str] | None:  # noqa: ARG002
        """Keys of the objects that one call makes together, as ``items`` has them; None where each is made by itself."""
        return None

    def label(self, facts: Facts) -> str:
        """The item in hand, for people."""
        return facts.item

    @abstractmethod
    def match_key(self, facts: Facts) -> str:
        """What makes two of these the same object."""

    @abstractmethod
    def reference(self, facts: Facts) -> str:
        """Our own name for it, embedded in the create: deterministic, so that a repeated create is recognised."""

    @abstractmethod
    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        """How to find it, strongest first."""

    def name_if_taken(self, facts: Facts) -> str:  # noqa: ARG002
        """What it is called where a person wants a new one and another one holds its name; empty: names need not be unique."""
        return ""

    @abstractmethod
    def wanted(self, facts: Facts) -> VendorObject:
        """What is asked for, to create it."""

    def params(self, facts: Facts) -> dict[str, Any]:
        """As it is kept in an intent, fit for JSON."""
        return self.wanted(facts).given()

    def restored(self, params: Mapping[str, Any]) -> VendorObject:
        """What such parameters, or some of them, ask for."""
        return self.makes.of(params)

    def says(self, facts: Facts) -> dict[str, Any]:
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

    def settle(self, connector: Connector, external_id: str, facts: Facts) -> None:
        """Tie the object to the others. Must be harmless to repeat."""


class CustomerHandler(EnsureHandler):
    """An object that a customer has once, whatever they buy: matched by domain, else by legal name and billing email."""

    shared = True

    def match_key(self, facts: Facts) -> str:
        if domain := customer_domain(facts.content):
            return bounded(f"domain:{domain}")
        name, email = normal_name(facts.get("customer.legal_name")), same_address(facts.get("commercial.billing_email"))
        return bounded(f"name:{name}|{email}")

    def reference(self, facts: Facts) -> str:
        return f"firstvalue:{self.match_key(facts)}"


class RunHandler(EnsureHandler):
    """An object (or one an item) that each run has of its own."""

    def match_key(self, facts: Facts) -> str:
        return bounded(f"run:{facts.run_id}{f'/{facts.item}' if facts.item else ''}")

    def reference(self, facts: Facts) -> str:
        return bounded(f"firstvalue:{facts.run_id}{f'/{facts.item}' if facts.item else ''}")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return [MatchKey("reference", reference)]


class UpdateHandler(StepHandler):
    """A step that writes into an object which another step stands for. Writing it twice changes nothing."""

    target: ClassVar[str]
    """The handler of that object."""
    kind: ClassVar[str]
    follows_run: ClassVar[bool] = False
    """It is written again whenever what it says of the run has changed, after the run's end too."""

    @abstractmethod
    def wanted(self, facts: Facts) -> VendorObject:
        """What is written."""
