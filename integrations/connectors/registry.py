"""The providers, by name: the vendors that have a folder, and those that a mapping describes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from integrations.connectors.base import Connector
from integrations.connectors.declaration import load, vendors
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET
from integrations.connectors.provider_info import ProviderInfo
from integrations.declarative.connector import connector_for
from integrations.declarative.mapping import MappingError, mappings
from integrations.errors import Kind, ProviderError
from integrations.models import Connection

__all__ = [
    "PROVIDERS",
    "TOKEN",
    "WEBHOOK_SECRET",
    "MappingError",
    "ProviderInfo",
    "connector",
    "load_mappings",
    "register",
]


_providers: dict[str, ProviderInfo] = {}
PROVIDERS: Mapping[str, ProviderInfo] = MappingProxyType(_providers)


def register(provider: ProviderInfo | type[Connector]) -> None:
    """Raises ``ValueError`` for a name that is taken."""
    info = provider if isinstance(provider, ProviderInfo) else _info(provider)
    if info.name in _providers:
        raise ValueError(f"provider {info.name!r} is registered twice")
    _providers[info.name] = info


def load_mappings() -> None:
    """(Re)read the mapping files and register a provider each, in place of those read before. Raises ``MappingError``."""
    mappings.cache_clear()
    found = mappings()
    built_in = {name for name, info in _providers.items() if not info.mapped}
    if taken := [made for name, made in found.items() if name in built_in]:
        raise MappingError(f"{made.file}: name: {made.name} is a built-in provider" for made in taken)
    for name in set(_providers) - built_in:
        del _providers[name]
    for made in found.values():
        register(replace(_info(connector_for(made)), mapped=True))


def connector(
    connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
) -> Connector:
    """The connector of a connection. ``deadline``: monotonic seconds; ``before_write``: see ``Outbound``.

    Raises ``ProviderError(NOT_CONFIGURED)`` in words for the person who can fix it.
    """
    info = PROVIDERS.get(connection.provider)
    if info is None or info.connector is None:
        raise ProviderError(
            Kind.NOT_CONFIGURED, f"{connection.slug}: nothing can be sent to provider {connection.provider!r}"
        )
    if missing := info.missing_options(connection.options):
        raise ProviderError(Kind.NOT_CONFIGURED, f"{connection.slug}: option {', '.join(missing)} is missing")
    return info.connector.on(connection, subject=subject, deadline=deadline, before_write=before_write)


def _info(made: type[Connector]) -> ProviderInfo:
    return ProviderInfo(
        name=made.provider,
        systems=made.systems,
        hosts=made.hosts,
        default_base_url=made.default_base_url,
        secrets=made.secrets,
        options=made.options,
        kinds=made.kinds,
        probes=made.probes,
        webhook=made.webhook,
        connector=made,
    )


for _vendor in vendors().values():
    register(load(_vendor.provider))
