"""Won deals of which no webhook told: each CRM that takes won deals is asked for them every few minutes.

What is found becomes a stored event as a delivery would, so that it meets the same keys, and each deal is one once. The cursor is
the vendor's own time, kept in the database; each look begins a little before it, as a search lags behind what was written. One
look takes a bounded number of deals and the next one goes on from there.
"""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction as db
from django.db.models import Q

from integrations import clock
from integrations.connections import concurrency
from integrations.connectors.objects import Deal
from integrations.connectors.registry import PROVIDERS, WEBHOOK_SECRET
from integrations.enums import STOPPED, EventState
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.inbound import looking
from integrations.inbound.delivery import ReceivedEvent
from integrations.inbound.events import DealWon
from integrations.inbound.looking import Changed, DealLookup, WonDeal
from integrations.inbound.storing import store
from integrations.models import Connection, DealCursor, InboundEvent
from integrations.signals import deals_looked_up, deals_not_looked_up
from onboarding.engine.connection_queue import apply_backpressure
from onboarding.engine.dispatch import enqueue_event
from onboarding.enums import RunEventType, UnmatchedState
from onboarding.intake import orders
from onboarding.models import ObjectMapping, RunEvent, UnmatchedEvent

OVERLAP = timedelta(minutes=5)
"""HubSpot's search and Salesforce's long transactions show a change later than its own time."""
GOES_ON = timedelta(seconds=10)
LEASE = timedelta(minutes=5)
TELL_AFTER = 3
"""Failures in a row."""
LONGEST_BACKOFF = timedelta(hours=6)
log = logging.getLogger(__name__)


def look() -> int:
    """Ask every CRM that is due; returns how many events were stored. One that fails keeps no other from its turn."""
    stored = 0
    for connection in _due(clock.now()):
        try:
            stored += _look_at(connection)
        except Exception:
            log.exception("Won deals of %s could not be looked for", connection)
    return stored


def _due(now: datetime) -> Iterator[Connection]:
    able = [name for name, info in PROVIDERS.items() if info.webhook is not None and info.webhook.deals is not None]
    asked = Connection.objects.filter(provider__in=able, enabled=True).exclude(breaker__in=STOPPED)
    free = asked.filter(Q(paused_until=None) | Q(paused_until__lte=now))
    for connection in free.filter(Q(deal_cursor=None) | Q(deal_cursor__due_at__lte=now)).order_by("pk"):
        if _every(connection) and _takes_deals(connection):
            yield connection


def _every(connection: Connection) -> timedelta:
    """Zero: never."""
    try:
        return timedelta(minutes=int(looking.EVERY.effective(connection.options.get(looking.EVERY.name))))
    except ValueError:
        return timedelta(0)


def _takes_deals(connection: Connection) -> bool:
    """Somebody has set up its webhooks, or it starts onboardings: else a won deal means nothing here."""
    has_secret = connection.secret_rows.filter(name=WEBHOOK_SECRET, active=True).exists()
    return has_secret or orders.starts_runs(connection, DealWon)


def _look_at(connection: Connection) -> int:
    now = clock.now()
    begun = {"began_at": now, "reached_at": now, "due_at": now}
    cursor, _ = DealCursor.objects.get_or_create(connection=connection, defaults=begun)
    taken = DealCursor.objects.filter(pk=cursor.pk, due_at=cursor.due_at, due_at__lte=now)
    if not taken.update(due_at=now + LEASE):
        return 0  # another scheduler looks
    holder = f"deals:{connection.pk}"
    if not concurrency.acquire(connection, holder, now + LEASE):
        DealCursor.objects.filter(pk=cursor.pk).update(due_at=now + GOES_ON)
        return 0
    since = cursor.reached_at - (timedelta(0) if cursor.is_behind else OVERLAP)
    try:
        found = _asked(connection, since)
    except (ProviderError, DeadlinePassed) as error:
        _failed(cursor, connection, error)
        return 0
    finally:
        if connection.limit is not None:
            concurrency.release(connection.pk, holder)
    count = sum(_kept(connection, deal) for deal in found.deals if not _is_history(cursor, deal))
    _passed(cursor, connection, found)
    return count


def _asked(connection: Connection, since: datetime) -> Changed:
    """Raises ``ProviderError``, ``DeadlinePassed``."""
    deadline = time.monotonic() + settings.STEP_SECONDS
    found = _lookup(connection).changed_since(connection, since, deadline=deadline)
    if not found.is_all and max(deal.changed_at for deal in found.deals) <= since:
        message = (
            f"Over {len(found.deals)} won deals were changed at {since:%Y-%m-%d %H:%M:%S} UTC: too many for one look"
        )
        raise ProviderError(Kind.INVALID, message)
    return found


def _lookup(connection: Connection) -> DealLookup:
    webhook = PROVIDERS[connection.provider].webhook
    assert webhook is not None  # noqa: S101  (those alone are due)
    assert webhook.deals is not None  # noqa: S101
    return webhook.deals


def _is_history(cursor: DealCursor, deal: WonDeal) -> bool:
    """Won before anybody asked, and only edited since. One of which the vendor does not say when it was won may be new."""
    return deal.won_at is not None and deal.won_at < cursor.began_at - OVERLAP  # by two clocks


def _kept(connection: Connection, deal: WonDeal) -> bool:
    """Whether it is news: we did not make it, no run was told of it, and no event of it waits for its run."""
    if _is_known(connection, deal):
        return False
    external_id, body = looking.stored_as(deal)
    event = ReceivedEvent(external_id, looking.TYPE, body, occurred_at=deal.changed_at)
    return store(connection, event) or _reconsidered(connection, event)


def _is_known(connection: Connection, deal: WonDeal) -> bool:
    ids = [deal.id, *deal.names]
    made = ObjectMapping.objects.filter(connection=connection, kind=Deal.KIND, external_id__in=ids, created_by_us=True)
    if made.exists():
        return True
    keys = [orders.stored(connection, key) for key in deal.keys]
    try:
        run_pk = orders.run_of(connection, keys)
    except orders.SeveralRuns:
        return False  # whoever processes the event asks a person
    if run_pk is not None:
        told = RunEvent.objects.filter(transaction=run_pk, type=RunEventType.DEAL_WON)
        return told.filter(data__object__in=ids).exists()
    names = set(orders.awaited(connection, keys))
    waits = UnmatchedEvent.objects.filter(value__in=[key.value for key in names], state=UnmatchedState.WAITING)
    return any((row.kind, row.value) in names for row in waits)


def _reconsidered(connection: Connection, event: ReceivedEvent) -> bool:
    """It was looked at before, and meant nothing then: that it was not won, say. It was changed since."""
    with db.atomic():
        known = InboundEvent.objects.select_for_update(no_key=True).get(connection=connection, external_id=event.id)
        if known.state != EventState.IGNORED or not event.occurred_at:
            return False
        if known.occurred_at and event.occurred_at <= known.occurred_at:  # both by the vendor's clock
            return False
        known.occurred_at = event.occurred_at
        known.reconsider(at=clock.now())
        known.save()
        enqueue_event(known.pk)
        return True


def _passed(cursor: DealCursor, connection: Connection, found: Changed) -> None:
    now, had_failed = clock.now(), cursor.failures >= TELL_AFTER
    reached = max([cursor.reached_at, *(deal.changed_at for deal in found.deals)])
    cursor.due_at = now + (_every(connection) if found.is_all else GOES_ON)
    cursor.reached_at, cursor.is_behind, cursor.looked_at, cursor.failures = reached, not found.is_all, now, 0
    cursor.outcome = f"{len(found.deals)} won deals were changed{'' if found.is_all else ', and more'}."
    with db.atomic():
        cursor.save()
        if had_failed:
            deals_looked_up.send(DealCursor, connection=connection)


def _failed(cursor: DealCursor, connection: Connection, error: ProviderError | DeadlinePassed) -> None:
    """Asked again later and later, and not before the vendor allows it; after some failures a person is told."""
    wait = 0.0
    if isinstance(error, ProviderError):
        apply_backpressure(connection.pk, error)
        wait = error.retry_after or 0.0
    cursor.failures = min(cursor.failures + 1, 1000)
    later = min(_every(connection) * 2 ** min(cursor.failures - 1, 10), LONGEST_BACKOFF)
    cursor.due_at = clock.now() + max(later, timedelta(seconds=wait))
    cursor.looked_at, cursor.outcome = clock.now(), f"{error}."[:500]
    with db.atomic():
        cursor.save()
        if cursor.failures >= TELL_AFTER:
            deals_not_looked_up.send(DealCursor, connection=connection, message=cursor.outcome)
