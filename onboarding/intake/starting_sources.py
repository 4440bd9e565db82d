"""Where two sources may start a run of one order each, and nothing ties their events together: what the console says of it."""

from collections.abc import Iterable
from itertools import combinations

from integrations.connectors.registry import PROVIDERS
from integrations.enums import vendor_name
from integrations.inbound.starting import starting_events
from integrations.models import Connection
from onboarding.intake.orders import awaited_by
from onboarding.models import CorrelationKey, OnboardingTransaction

LOOKED_AT = 20
"""A source's latest runs: by their keys it is told what its events carry."""
_NAMES = "order_id, deal_id, quote_id, subscription_id or onboarding_transaction_id"


def without_common_key(about: Connection) -> list[str]:
    """What to do about this connection, a sentence for each other one that starts runs as well and shares no key with it."""
    starting = [each for each in Connection.objects.filter(enabled=True).order_by("pk") if _starts(each)]
    kinds = {each.pk: _kinds(each) for each in starting}
    pairs = [pair for pair in combinations(starting, 2) if about.pk in (pair[0].pk, pair[1].pk)]
    return [
        _sentence(one, other)
        for one, other in pairs
        if one.system != other.system and not kinds[one.pk] & kinds[other.pk]
    ]


def _starts(connection: Connection) -> bool:
    info = PROVIDERS.get(connection.provider)
    if info is None or info.webhook is None:
        return False
    declared = {option.name: option for option in info.options}
    told = (event for events in info.webhook.events.values() for event in events)
    return bool(starting_events(told, declared, connection.options))


def _kinds(connection: Connection) -> set[str]:
    """Kinds of keys, as they are compared between systems, in its latest runs."""
    runs = OnboardingTransaction.objects.filter(origin_name=connection.slug).order_by("-pk")[:LOOKED_AT]
    keys = CorrelationKey.objects.filter(transaction__in=list(runs.values_list("pk", flat=True)))
    return _compared(keys.values_list("kind", "value"))


def _compared(keys: Iterable[tuple[str, str]]) -> set[str]:
    return {key.kind for key in awaited_by(keys)}


def _sentence(one: Connection, other: Connection) -> str:
    both = " and ".join(f"{each.slug} ({vendor_name(each.provider)})" for each in (one, other))
    return (
        f"{both} start onboardings, and their events have shared no key so far: an order that both tell of is onboarded twice. "
        f"Write {_NAMES} into both, let one of them join, or join the runs by hand."
    )
