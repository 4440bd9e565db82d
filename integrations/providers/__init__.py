"""The providers, by name. A new vendor is one file here, one ``register`` line below, and its tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from integrations.errors import Kind, ProviderError
from integrations.inbound.delivery import Webhook
from integrations.inbound.events import Key
from integrations.models import Connection
from integrations.providers import stripe, stripe_pages
from integrations.providers.asana import Asana
from integrations.providers.base import TOKEN, WEBHOOK_SECRET, Connector
from integrations.providers.http import connector_for
from integrations.providers.http_mapping import MappingError, mappings
from integrations.providers.hubspot import HubSpot
from integrations.providers.smtp import Smtp
from integrations.providers.zendesk import Zendesk
from integrations.webhooks.stripe import StripeWebhook

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

    Raises ``ProviderError(NOT_CONFIGURED)`` in words for the person who can mend it.
    """
    info = PROVIDERS.get(connection.provider)
    if info is None or info.connector is None:
        raise ProviderError(
            Kind.NOT_CONFIGURED, f"{connection.slug}: nothing can be sent to provider {connection.provider!r}"
        )
    if missing := [name for name in info.required_options if not connection.options.get(name)]:
        raise ProviderError(Kind.NOT_CONFIGURED, f"{connection.slug}: option {', '.join(missing)} is missing")
    return info.connector.on(connection, subject=subject, deadline=deadline, before_write=before_write)


def _info(made: type[Connector]) -> ProviderInfo:
    return ProviderInfo(
        name=made.provider,
        systems=made.systems,
        hosts=made.hosts,
        default_base_url=made.default_base_url,
        secret_names=made.secret_names,
        option_names=made.option_names,
        required_options=made.required_options,
        connector=made,
    )


register(HubSpot)
register(Asana)
register(Zendesk)
register(Smtp)
register(
    ProviderInfo(
        name="stripe",
        systems=frozenset({"billing"}),
        hosts=("api.stripe.com",),
        default_base_url="https://api.stripe.com",
        secret_names=(WEBHOOK_SECRET,),
        option_names=("accounts",),
        option_help={"accounts": stripe.ACCOUNTS_HELP},
        check_options=stripe.check_options,
        webhook=StripeWebhook(),
        page=stripe_pages.page,
    )
)
