"""What a connection to a provider may look like, and what the provider can do."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from integrations.connectors.base import Capability, Connector
from integrations.connectors.options import Option, Secret
from integrations.inbound.delivery import Webhook
from integrations.inbound.events import Key


@dataclass(frozen=True)
class ProviderInfo:
    """What a connection to this provider may look like; ``connector`` is None for one that only sends us events.

    Without ``hosts`` it has no base URL: this installation's settings say where it leads. Of a provider with a connector, all of
    this is the connector's declaration.
    """

    name: str
    systems: frozenset[str]
    hosts: tuple[str, ...] = ()
    default_base_url: str = ""
    secrets: tuple[Secret, ...] = ()
    options: tuple[Option, ...] = ()
    kinds: tuple[Capability, ...] = ()
    """The objects that it has, and what it can do with each."""
    probes: str = ""
    """What a test of the connection checks, in words."""
    connector: type[Connector] | None = None
    webhook: Webhook | None = None
    """How it delivers its events; None for one that sends none."""
    page: Callable[[Key, bool], str] | None = None
    """Where people look at what a correlation key names: (key, whether it is live) -> address, empty where there is none."""
    mapped: bool = False
    """Described by a mapping: only steps of that mapping use it."""

    def capability(self, kind: str) -> Capability | None:
        return next((each for each in self.kinds if each.kind == kind), None)

    def check_options(self, given: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` in plain words for an option that it does not have, or a value that its type does not allow."""
        known = {option.name: option for option in self.options}
        if unknown := set(given) - set(known):
            names = ", ".join(known) or "none"
            raise ValueError(f"{self.name} has no option {', '.join(sorted(unknown))} (known: {names})")
        for name, value in given.items():
            known[name].check(value)

    def missing_options(self, stored: Mapping[str, Any]) -> list[str]:
        return [option.name for option in self.options if option.required and not stored.get(option.name)]

    def missing_secrets(self, stored: Collection[str]) -> list[str]:
        return [secret.name for secret in self.secrets if secret.required and secret.name not in stored]

    def wrong_options(self, stored: Mapping[str, Any]) -> list[str]:
        """What is wrong with each stored value that is not allowed, such as one from before its type was declared."""
        found = []
        for option in self.options:
            try:
                if stored.get(option.name):
                    option.check(stored[option.name])
            except ValueError as problem:
                found.append(str(problem))
        return found
