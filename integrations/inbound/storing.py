"""Storing an event, once, before anybody is answered."""

from django.db import IntegrityError, transaction

from integrations import clock, crypto
from integrations.inbound.delivery import ReceivedEvent
from integrations.models import Connection, InboundEvent
from integrations.signals import inbound_event_received


def store(sender: Connection, event: ReceivedEvent) -> bool:
    """False where it is stored already: of two deliveries at once the unique constraint lets one through."""
    now = clock.now()
    try:
        with transaction.atomic():
            row = InboundEvent.objects.create(
                connection=sender,
                external_id=event.id,
                type=event.type,
                body=crypto.encrypt(event.body),
                occurred_at=event.occurred_at,
                received_at=now,
                due_at=now,
            )
            inbound_event_received.send(InboundEvent, event=row)
    except IntegrityError:
        if InboundEvent.objects.filter(connection=sender, external_id=event.id).exists():
            return False
        raise
    return True
