"""What the app above asks of a system, such as a playbook's steps, and whether a provider can do it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from integrations.connections.services import default_connections
from integrations.connectors.provider_info import ProviderInfo
from integrations.connectors.registry import PROVIDERS
from integrations.enums import System


@dataclass(frozen=True)
class Use:
    where: str
    """For people: ``the step account of the playbook standard``."""
    system: System
    provider: str
    """The one provider that can do it; empty: any built-in one of the system."""
    kind: str
    updates: bool = False
    """It writes into an object that is there; otherwise it creates one."""

    def candidates(self) -> list[ProviderInfo]:
        """The providers that could be asked, whether or not they can do it."""
        return [
            info
            for info in PROVIDERS.values()
            if info.connector is not None
            and self.system in info.systems
            and (info.name == self.provider if self.provider else not info.mapped)
        ]

    def problem(self, info: ProviderInfo) -> str:
        """Why this provider cannot do it, as a sentence; empty where it can."""
        capability = info.capability(self.kind)
        if capability is None:
            return f"{self.where} needs a {self.kind}, which {info.name} does not have."
        if self.updates and not capability.updatable:
            return f"{self.where} updates a {self.kind}, which {info.name} cannot."
        return ""


_SOURCES: list[Callable[[], Iterator[Use]]] = []


def lists_uses(source: Callable[[], Iterator[Use]]) -> Callable[[], Iterator[Use]]:
    """Decorator of a function that yields what is asked of systems; ``manage.py doctor`` compares it with the connections."""
    _SOURCES.append(source)
    return source


def problems_by_connection() -> dict[int, list[str]]:
    """Connection's primary key -> what is asked of it and its provider cannot do."""
    uses = [use for source in _SOURCES for use in source()]
    through = default_connections({(use.system, use.provider) for use in uses})
    found: dict[int, list[str]] = {}
    for use in uses:
        connection = through[use.system, use.provider]
        info = PROVIDERS.get(connection.provider) if connection else None
        if connection and info and (problem := use.problem(info)):
            found.setdefault(connection.pk, []).append(problem)
    return found
