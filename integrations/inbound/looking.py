"""Asking a CRM for the won deals of which its webhooks may have told nobody."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from integrations.connectors.options import Option, OptionType
from integrations.http.strict_json import parse_object
from integrations.inbound.events import DEAL, Event, Key
from integrations.models import Connection, InboundEvent

TYPE = "looked-up.deal"
"""Of the stored events that such a look makes, at whichever vendor."""
EVERY = Option(
    name="deals_every",
    label="Look for won deals every … minutes",
    help="Where won deals are taken: those of which no webhook told are found all the same. 0: they are not looked for.",
    type=OptionType.WHOLE,
    default="15",
)


@dataclass(frozen=True)
class WonDeal:
    id: str
    changed_at: datetime
    won_at: datetime | None = None
    """By the vendor's own record, which nobody can set; None where it has none."""
    names: tuple[str, ...] = ()
    """Other ways to write its id."""

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(Key(DEAL, name) for name in (self.id, *self.names))


def stored_as(deal: WonDeal) -> tuple[str, str]:
    """External id and body of the event that is stored of it."""
    return f"{TYPE}:{deal.id}", json.dumps({"deal": deal.id})


def deal_of(stored: InboundEvent) -> str:
    """Raises ``strict_json.BadJson``."""
    return str(parse_object(stored.raw.encode())["deal"])


@dataclass(frozen=True)
class Changed:
    """Won deals in the order of their change."""

    deals: Sequence[WonDeal]
    is_all: bool
    """False: there are more than one look takes."""


class DealLookup(ABC):
    """Without state: one instance serves all connections of a vendor."""

    @abstractmethod
    def changed_since(self, connection: Connection, since: datetime, *, deadline: float) -> Changed:
        """Deals that are won now and were changed at ``since`` or later. ``deadline``: monotonic seconds.

        Raises ``ProviderError``, ``DeadlinePassed``.
        """

    @abstractmethod
    def read(self, stored: InboundEvent, deal_id: str) -> Event:
        """What the deal is now: as for a webhook's event about it. Raises as ``Webhook.read``."""
