"""How one claimed step can end. The handler's side raises or returns these; recording turns them into state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from integrations.connectors.base import Found
from integrations.errors import Kind, ProviderError
from onboarding.enums import WaitsFor

LATER = (Kind.RATE_LIMIT, Kind.TEMPORARY)
"""Failures that say nothing but that it is to be tried later."""


@dataclass(frozen=True)
class Ensured:
    """The object exists. ``how``: ``created``, or what it was matched by; a create whose answer was lost is ours and found."""

    external_id: str
    url: str
    how: str
    created_by_us: bool = False
    done: bool = False
    """Somebody has completed it at the vendor."""
    awaited: bool = False
    """It is there, and the step waits for somebody to complete it."""
    items: "Mapping[str, Ensured] | None" = None
    """Of a batch: each item's object, by its key; ``external_id`` is empty then."""
    more: bool = False
    """Of a batch: some items are still lacking, and come next."""
    updated: tuple[str, ...] = ()
    """Parameters that were written into an object that was there, as the payload has changed."""


@dataclass(frozen=True)
class HandedOver:
    """A workflow tool has it: what was sent now, or before, or shows by the tool's report."""

    made: Ensured
    sent: bool = False
    """Now: the tool has answered."""


@dataclass(frozen=True)
class Written:
    """An updating step has written what it had to. ``digest``: of what was written."""

    digest: str


@dataclass(frozen=True)
class CompensatedObject:
    """One object that this run had created. ``kept``: it cannot be undone, and stays."""

    item: str
    external_id: str
    kept: bool = False


@dataclass(frozen=True)
class Compensated:
    """Nothing of the step is left to compensate."""

    done: tuple[CompensatedObject, ...]


@dataclass(frozen=True)
class Checked(Written):
    """The payload has passed a check, and nothing was written. ``digest``: of what was looked at; ``message`` says how far."""

    message: str = ""
    asked: bool = False
    """The step's vendor has answered: there, everything is a read."""


@dataclass(frozen=True)
class LookedUp:
    """Facts from a source of truth: path -> (value, source); ``message`` says why there are none."""

    facts: dict[str, tuple[str, str]]
    message: str = ""


@dataclass(frozen=True)
class Waiting:
    """Nothing failed, and no attempt was used: not before ``until``. What somebody has to do at the vendor is polled instead."""

    waits_for: WaitsFor
    until: datetime
    job_id: str = ""
    job_lost: bool = False
    """The vendor does not know, or does not end, the job it took: whether it made the object is unknown."""


@dataclass(frozen=True)
class Failed:
    """A vendor's failure, with what is known of the create."""

    error: ProviderError
    sent: bool = False
    """The create was sent: the error's ``effect_possible`` then says whether its outcome is indeterminate."""
    indeterminate: bool = False
    """An earlier create under the same key may have been carried out, and this answer says nothing about it."""
    job_ended: bool = False
    """The vendor's job ended without an object: nothing came of the create."""
    made: Ensured | None = None
    """The object exists; what failed came after it."""


@dataclass(frozen=True)
class Ambiguous:
    """Several objects match, or one that nothing ties to this customer: a person decides."""

    candidates: list[Found]
    message: str


@dataclass(frozen=True)
class IndeterminateOutcome:
    """A create may have been carried out, the object cannot be found, and the vendor enforces no unique key."""

    message: str


@dataclass(frozen=True)
class Broken:
    """Our own code failed: people are told, and the trace is in the log. Whether a write was sent is unknown."""

    message: str


Outcome = (
    Ensured
    | HandedOver
    | Written
    | Compensated
    | LookedUp
    | Waiting
    | Failed
    | Ambiguous
    | IndeterminateOutcome
    | Broken
)
