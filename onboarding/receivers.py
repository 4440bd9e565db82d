"""What this app does with news from the outside world."""

import functools
from typing import Any

from django.db import transaction as db
from django.dispatch import receiver

from integrations.enums import Breaker
from integrations.models import Connection, InboundEvent
from integrations.signals import breaker_closed, connection_set, inbound_event_received
from onboarding import services
from onboarding.engine import connection_queue
from onboarding.engine.dispatch import enqueue_event


@receiver(inbound_event_received, dispatch_uid="onboarding.enqueue_event")
def enqueue_received_event(event: InboundEvent, **_: Any) -> None:
    enqueue_event(event.pk)


@receiver(breaker_closed, dispatch_uid="onboarding.resume_parked")
def resume_parked(connection: Connection, **_: Any) -> None:
    """The steps that its breaker had parked go on; how many runs they are is noted for the release's progress."""
    connection.release_total = connection_queue.runs_waiting(connection)
    connection.save(update_fields=["release_total"])
    _resume(connection)


@receiver(connection_set, dispatch_uid="onboarding.resume_unconfigured")
def resume_unconfigured(connection: Connection, **_: Any) -> None:
    """Steps that waited for a connection to exist go on."""
    if connection.breaker == Breaker.CLOSED:
        _resume(connection)


def _resume(connection: Connection) -> None:
    # After the commit: runs are locked before connections, never the other way round.
    db.on_commit(functools.partial(services.connection_restored, connection.system, connection.pk), robust=True)
