"""What a connection to a provider may look like, and what the provider can do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from integrations.connectors.base import Connector
from integrations.inbound.delivery import Webhook
from integrations.inbound.events import Key


@dataclass(frozen=True)
class ProviderInfo:
    """What a connection to this provider may look like; ``connector`` is None for one that only sends us events.

    Without ``hosts`` it has no base URL: this installation's settings say where it leads.
    """

    name: str
    systems: frozenset[str]
    hosts: tuple[str, ...] = ()
    default_base_url: str = ""
    secret_names: tuple[str, ...] = ()
    option_names: tuple[str, ...] = ()
    required_options: tuple[str, ...] = ()
    option_help: Mapping[str, str] = field(default_factory=dict)
    """Option -> what it is for, for the form."""
    check_options: Callable[[Mapping[str, Any]], None] | None = None
    """Raises ``ValueError`` in plain words for an option's value that the provider does not have."""
    connector: type[Connector] | None = None
    webhook: Webhook | None = None
    """How it delivers its events; None for one that sends none."""
    page: Callable[[Key, bool], str] | None = None
    """Where people look at what a correlation key names: (key, whether it is live) -> address, empty where there is none."""
    mapped: bool = False
    """Described by a mapping: only steps of that mapping use it."""
