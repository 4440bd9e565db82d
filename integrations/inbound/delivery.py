"""What a vendor's webhook module gives: a delivery verified and split into its events, and what each event means.

``receive`` runs while the vendor waits and looks no further than the events' identities; ``read`` runs after they are stored, as
often as needed: an event that was not understood is read again once that is fixed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from django.http import HttpRequest
from pydantic import ValidationError

from integrations.http.strict_json import BadJson, check_storable
from integrations.inbound.events import Event
from integrations.inbound.looking import DealLookup
from integrations.models import InboundEvent

MAX_ID, MAX_TYPE = 255, 100


class NotVerified(Exception):
    """The request cannot be shown to come from the vendor; the text may be answered."""


class Malformed(Exception):
    """Verified, but an event in it has no identity by which it could be stored; the text may be answered."""


class UnexpectedShape(Exception):
    """Stored, but not what the vendor documents: a person must look. The text names fields and repeats no values."""


def problems_in(error: ValidationError) -> str:
    """The fields that are not as documented, and how, without their values."""
    items = error.errors(include_input=False, include_url=False)[:5]
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in items)


@dataclass(frozen=True)
class ReceivedEvent:
    """One event of a delivery. Raises ``Malformed``."""

    id: str
    """By which this connection's event is known, whatever delivery it comes in."""
    type: str
    """The vendor's own word."""
    body: str
    """As it came: the delivery's body, or this event's part of it."""
    occurred_at: datetime | None = None

    def __post_init__(self) -> None:
        _check("id", self.id, MAX_ID)
        _check("type", self.type, MAX_TYPE)


def _check(name: str, value: Any, limit: int) -> None:
    malformed = Malformed(f"The event's “{name}” is missing or malformed.")
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise malformed
    try:
        check_storable(value)
    except BadJson:
        raise malformed from None


@dataclass(frozen=True)
class Response:
    """What the vendor is answered once all events are stored: its acknowledgement, or its challenge's answer."""

    body: str = ""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """A verified request: no events where it only asks whether somebody is there."""

    events: Sequence[ReceivedEvent] = ()
    response: Response | None = None
    """None: any 2xx will do, and our own answer says whether there was anything new."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Secrets that the vendor has chosen to sign with from now on, by name: kept with the connection's."""


class Webhook(ABC):
    """How one vendor delivers its events. Without state: one instance serves all connections."""

    methods: ClassVar[tuple[str, ...]] = ("POST",)
    content_types: ClassVar[tuple[str, ...]] = ("application/json",)
    """Of a POST."""
    events: ClassVar[Mapping[str, tuple[type[Event], ...]]] = {}
    """What it takes: the vendor's type of event -> the neutral events that it may become."""
    deals: ClassVar[DealLookup | None] = None
    """How a CRM is asked for won deals of which no event came; None where it is not."""

    def signed_with(self, request: HttpRequest) -> str:  # noqa: ARG002
        """The name of a secret that the vendor has chosen (``Delivery.chosen``), which ``receive`` gets beside the entered ones;
        empty for none.
        """
        return ""

    @abstractmethod
    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        """Verify a request with any of the active secrets. Pure: no database, no network.

        Raises ``NotVerified``, ``Malformed``, ``strict_json.BadJson``.
        """

    @abstractmethod
    def read(self, stored: InboundEvent) -> Event:
        """What a stored event means. Outside any transaction: the vendor may be asked for what the event does not carry.

        Raises ``UnexpectedShape``, ``strict_json.BadJson``; anything else is tried again.
        """
