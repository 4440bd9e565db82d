"""From a stored inbound event to what follows from it: once, whatever is delivered how often and in which order.

Deciding, what is decided and the event's mark are one database transaction. What cannot be processed stays stored, can be
processed again, and is shown to a person.
"""

import logging
import random
from datetime import timedelta

from django.conf import settings
from django.db import transaction as db

from integrations import clock
from integrations.connectors.registry import PROVIDERS
from integrations.enums import EventState
from integrations.errors import DeadlinePassed, ProviderError
from integrations.failpoints import failpoint
from integrations.http.strict_json import BadJson
from integrations.inbound import looking
from integrations.inbound.delivery import UnexpectedShape, Webhook
from integrations.inbound.events import Event, OrderEvent, PaymentSucceeded
from integrations.models import Connection, InboundEvent
from integrations.signals import event_failed, event_recovered
from onboarding import audit
from onboarding.engine.dispatch import enqueue_event
from onboarding.engine.locks import retried
from onboarding.intake import orders, payments
from onboarding.intake.handlers.base import HANDLERS

MAX_ATTEMPTS = 5
MOST_ATTEMPTS = 30
"""More are not counted: a vendor may be away for days."""
MAX_BACKOFF_SECONDS = 300.0
OPEN_STATES = (EventState.RECEIVED, EventState.HELD, EventState.FAILED)

log = logging.getLogger(__name__)


def process_event(event_pk: int) -> None:
    """Process one stored event if it is due. Raises only where the database itself is gone."""
    try:
        _process(event_pk)
    except (UnexpectedShape, BadJson) as error:
        _fail(event_pk, str(error), permanent=True)
    except (ProviderError, DeadlinePassed) as error:
        # The vendor was asked for what the event does not carry. It is asked again for as long as it takes; after some tries a
        # person is told, too.
        wait = error.retry_after if isinstance(error, ProviderError) else None
        _fail(event_pk, f"{error}.", permanent=False, asks=True, wait=wait or 0.0)
    except Exception as error:
        log.exception("Event %s could not be processed", event_pk)
        _fail(event_pk, f"Processing failed ({type(error).__name__}); the log tells more.", permanent=False)


@retried
def _process(event_pk: int) -> None:
    stored = InboundEvent.objects.select_related("connection").get(pk=event_pk)
    if not _is_due(stored):
        return
    event = _read(stored)
    with db.atomic():
        # Before the event's own row: whoever holds the customer may release other events of theirs.
        payments.lock_customer(stored.connection, event.customer)
        if isinstance(event, PaymentSucceeded | OrderEvent):
            orders.lock(stored.connection, payments.keys_of(stored.connection, event))
        locked = InboundEvent.objects.select_for_update(no_key=True, of=("self",)).select_related("connection")
        stored = locked.get(pk=event_pk)
        if not _is_due(stored):
            return
        had_failed = stored.state == EventState.FAILED
        HANDLERS[type(event)](stored, event)
        stored.save()
        if had_failed:
            event_recovered.send(InboundEvent, event=stored)
        failpoint("event-processed")


def _read(stored: InboundEvent) -> Event:
    webhook = _webhook(stored.connection)
    if stored.type == looking.TYPE and webhook.deals is not None:
        return webhook.deals.read(stored, looking.deal_of(stored))
    return webhook.read(stored)


def _webhook(connection: Connection) -> Webhook:
    info = PROVIDERS.get(connection.provider)
    if info is None or info.webhook is None:
        raise UnexpectedShape(f"Events of provider “{connection.provider}” are not understood here.")
    return info.webhook


def _is_due(event: InboundEvent) -> bool:
    return event.state in OPEN_STATES and event.due_at is not None and event.due_at <= clock.now()


@retried
def _fail(event_pk: int, message: str, *, permanent: bool, asks: bool = False, wait: float = 0.0) -> None:
    """``asks``: a vendor's failure, which may pass by itself. ``wait``: seconds before the next try, at least."""
    with db.atomic():
        event = InboundEvent.objects.select_for_update(no_key=True).get(pk=event_pk)
        if not _is_due(event):
            return
        last = permanent or (not asks and event.attempts + 1 >= MAX_ATTEMPTS)
        later = max(_backoff(event.attempts), timedelta(seconds=wait))
        event.attempts = min(event.attempts, MOST_ATTEMPTS)
        event.fail(outcome=message, retry_at=None if last else clock.now() + later)
        event.save()
        if last or event.attempts >= MAX_ATTEMPTS:
            event_failed.send(InboundEvent, event=event, message=message)


@retried
def retry_failed(connection_pk: int, *, actor: str) -> int:
    """Process a connection's failed events again (a price was added, say, or we were fixed). Returns how many."""
    with db.atomic():
        failed = InboundEvent.objects.filter(connection_id=connection_pk, state=EventState.FAILED, due_at=None)
        pks = list(failed.values_list("pk", flat=True))
        failed.filter(pk__in=pks).update(due_at=clock.now(), enqueued_until=None, attempts=0)
        audit.record_global("integrations.events.retried", actor=actor, data={"events": pks})
        for pk in pks:
            enqueue_event(pk)
    return len(pks)


def _backoff(attempts: int) -> timedelta:
    ceiling = min(settings.RETRY_BASE_SECONDS * 2**attempts, MAX_BACKOFF_SECONDS)
    return timedelta(seconds=random.uniform(ceiling / 2, ceiling))  # noqa: S311  (jitter)
