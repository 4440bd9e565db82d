"""Which run an event belongs to by the keys of a customer's order, whichever system tells of it.

An order's number is unique only at the system that gives it: it is stored with the connection's name (``stripe:1001``). Other
systems repeat it: a signed envelope with the number 1001 is of Stripe's order 1001, and another billing account's 1001 is not. A
subscription is named by its billing system, and repeated elsewhere without it. Our id, deals and quotes are the same everywhere.
The table of the keys is in docs/connecting.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q

from integrations.connectors.objects import Deal
from integrations.connectors.registry import PROVIDERS
from integrations.database.compiled_queries import Compiled
from integrations.enums import System
from integrations.inbound.events import DEAL, ORDER, OUR_ID, QUOTE, Event, Key, Role, kind_of
from integrations.inbound.starting import may_start
from integrations.models import Connection
from onboarding.enums import WITHDRAWN
from onboarding.ids import comparable
from onboarding.intake.locks import lock_names
from onboarding.models import CorrelationKey, ObjectMapping, OnboardingTransaction

STRENGTH = (
    Role.RUN,
    Role.CHECKOUT,
    Role.INVOICE,
    Role.PAYMENT,
    Role.SUBSCRIPTION,
    Role.DEAL,
    Role.QUOTE,
    Role.ORDER,
    Role.CUSTOMER_AMOUNT,
)
WEAK = frozenset({DEAL, QUOTE, ORDER})
"""Kinds of what may be paid in parts, and people type."""
_SHARED = frozenset({Role.RUN, Role.SUBSCRIPTION, Role.DEAL, Role.QUOTE, Role.ORDER})
"""What several systems tell of one order."""
_ANY_SUBSCRIPTION = str(Role.SUBSCRIPTION)
_AWAITED = "awaited."
_NO_CONNECTION = "@api"
"""In place of a connection's name (which holds no "@"): the order was told by REST, an import or a person."""
MAX_VALUE = 255


class SeveralRuns(Exception):
    """One key, told by another system, names an order in several runs; the text says which."""


def starts_runs(connection: Connection, event: type[Event]) -> bool:
    """Whether such an event of this connection starts a run; else it joins one."""
    info = PROVIDERS.get(connection.provider)
    declared = {option.name: option for option in info.options} if info else {}
    return may_start(event, declared, connection.options)


def lock(connection: Connection, keys: Iterable[Key]) -> None:
    """Let one transaction at a time decide about an order, until it ends: two systems may tell of it at once, under keys that are
    stored differently.
    """
    lock_names([f"order:{key.kind}:{key.value}" for key in awaited(connection, keys) if key.role in _SHARED])


def stored(connection: Connection, key: Key) -> Key:
    """As a run of this connection keeps it. People type the numbers of orders and deals; a vendor gives its own ids, whose case
    tells them apart.
    """
    if key.kind == ORDER:
        return Key(ORDER, f"{connection.slug}:{comparable(key.value)}")
    return Key(key.kind, comparable(key.value)) if key.kind in WEAK else key


def free_keys_of(content: Mapping[str, Any]) -> list[Key]:
    """The keys of a payload that came through no connection, without those that another run has."""
    commercial = content.get("commercial") or {}
    told = [Key(DEAL, commercial.get("deal_id") or ""), Key(ORDER, commercial.get("order_id") or "")]
    found = [Key(key.kind, comparable(key.value.strip())) for key in told if key.value.strip()]
    keys = [Key(ORDER, f"{_NO_CONNECTION}:{key.value}") if key.kind == ORDER else key for key in found]
    keys = [key for key in keys if len(key.value) <= MAX_VALUE]
    if not keys:
        return []
    held = {(row.kind, row.value) for row in KEYS_WITH_VALUES(*{key.value for key in keys})}
    return [key for key in keys if key not in held]


KEYS_WITH_VALUES = Compiled[CorrelationKey](lambda *values: CorrelationKey.objects.filter(value__in=values))


def awaited(connection: Connection, keys: Iterable[Key]) -> list[Key]:
    """The names under which an event waits for its run, and is found by it, at whichever connection either came in."""
    return [_awaited(connection, key) for key in keys]


def _awaited(connection: Connection, key: Key) -> Key:
    value = key.value.removeprefix(f"{connection.slug}:") if key.kind == ORDER else key.value
    kind = str(key.role) if key.role in _SHARED and key.kind != OUR_ID else key.kind
    return Key(f"{_AWAITED}{kind}", comparable(value) if key.kind in (*WEAK, OUR_ID) else value)


def awaited_by(run_keys: Iterable[tuple[str, str]]) -> list[Key]:
    """Under which names events may wait for a run with these stored keys."""
    found = []
    for kind, value in run_keys:
        key = Key(kind, value)
        if kind == ORDER:
            key = Key(ORDER, value.partition(":")[2] or value)
        elif key.role is Role.SUBSCRIPTION:
            key = Key(_ANY_SUBSCRIPTION, value)
        elif kind == OUR_ID:
            key = Key(OUR_ID, comparable(value))
        found.append(Key(f"{_AWAITED}{key.kind}", key.value))
    return found


def is_awaited(kind: str) -> bool:
    return kind.startswith(_AWAITED)


def plain_kind(kind: str) -> str:
    return kind.removeprefix(_AWAITED)


def holders(connection: Connection, keys: Iterable[Key]) -> dict[Key, int]:
    """Of these stored keys of an event at ``connection``, those that a run has: key -> the run's primary key.

    Its own connection's runs come first; what only other systems' runs have counts where it is one run's.
    """
    keys = list(keys)
    own = {(row.kind, row.value): row.transaction_id for row in rows_of(keys)}
    found = {key: own[key] for key in keys if key in own}
    for key, others in _elsewhere(connection, [key for key in keys if key not in found]).items():
        if len(others) == 1:
            found[key] = next(iter(others))
    return found


def run_of(connection: Connection, keys: Iterable[Key]) -> int | None:
    """The run (primary key) that the strongest of these stored keys names. Raises ``SeveralRuns``."""
    keys = sorted(keys, key=lambda key: STRENGTH.index(key.role))
    if called := runs_called([key.value for key in keys if key.kind == OUR_ID]):
        return called
    if ours := _runs_of_deal(connection, keys):
        return ours
    held = holders(connection, keys)
    if strongest := next((held[key] for key in keys if key in held), None):
        return strongest
    for key, others in _elsewhere(connection, keys).items():
        if len(others) > 1:
            names = OnboardingTransaction.objects.filter(pk__in=others).order_by("pk")
            listed = ", ".join(names.values_list("onboarding_transaction_id", flat=True))
            raise SeveralRuns(f"The {key.role} {_plain(connection, key)} is in several onboardings: {listed}.")
    return None


def _runs_of_deal(connection: Connection, keys: Iterable[Key]) -> int | None:
    """The run that has made or found this deal at the CRM: an event of our own doing starts nothing."""
    deals = [key.value for key in keys if key.kind == DEAL]
    mapped = ObjectMapping.objects.filter(connection=connection, kind=Deal.KIND, external_id__in=deals)
    found = mapped.exclude(transaction__status__in=WITHDRAWN) if deals else mapped.none()
    return found.order_by("pk").values_list("transaction_id", flat=True).first()


def other_runs(connection: Connection, keys: Iterable[Key], run_pk: int) -> list[int]:
    """Further runs that these keys name: one order, started twice."""
    return sorted({pk for pk in holders(connection, keys).values() if pk != run_pk})


def _elsewhere(connection: Connection, keys: Iterable[Key]) -> dict[Key, set[int]]:
    """Runs that other systems' events have opened under the same name: key -> primary keys."""
    names = {key: _names_elsewhere(connection, key) for key in keys}
    rows = rows_of([name for each in names.values() for name in each])
    held = {Key(row.kind, row.value): row.transaction_id for row in rows}
    found = {key: {held[name] for name in each if name in held} for key, each in names.items()}
    return {key: runs for key, runs in found.items() if runs}


def _names_elsewhere(connection: Connection, key: Key) -> list[Key]:
    if key.kind == ORDER:
        others = Connection.objects.exclude(system=connection.system).values_list("slug", flat=True)
        return [Key(ORDER, f"{slug}:{_plain(connection, key)}") for slug in (_NO_CONNECTION, *others)]
    if key.kind == _ANY_SUBSCRIPTION:
        billing = [name for name, info in PROVIDERS.items() if System.BILLING in info.systems]
        return [Key(kind_of(name, Role.SUBSCRIPTION), key.value) for name in billing]
    return [Key(_ANY_SUBSCRIPTION, key.value)] if key.role is Role.SUBSCRIPTION else []


def _plain(connection: Connection, key: Key) -> str:
    return key.value.removeprefix(f"{connection.slug}:") if key.kind == ORDER else key.value


def rows_of(keys: Iterable[tuple[str, str]]) -> list[CorrelationKey]:
    wanted = set(keys)
    if not wanted:
        return []
    rows = CorrelationKey.objects.filter(value__in={value for _, value in wanted})
    return [row for row in rows if (row.kind, row.value) in wanted]


def runs_called(ids: Iterable[str]) -> int | None:
    """The run (primary key) with one of these ids, without regard to case; of one that was joined into another, that one."""
    wanted = [run_id for run_id in ids if run_id]
    if not wanted:
        return None
    called = Q(onboarding_transaction_id__in=wanted) | Q(id_key__in=[comparable(run_id) for run_id in wanted])
    run = OnboardingTransaction.objects.filter(called).order_by("pk").first()
    return run.going_on.pk if run else None
