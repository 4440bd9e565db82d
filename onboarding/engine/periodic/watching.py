"""Having a vendor tell of a task that a step awaits, where it does so only for what it is asked to (Asana).

It spares looks and decides nothing: where it fails, the task is polled as ever. It ends when nobody awaits the task any more.
"""

import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from integrations import clock
from integrations.connectors import registry
from integrations.connectors.base import Connector
from integrations.crypto import SecretUnreadable
from integrations.errors import DeadlinePassed, ProviderError
from integrations.models import Connection
from onboarding.engine import connection_queue
from onboarding.models import ObjectMapping, StepPoll
from onboarding.steps.registry import HANDLERS

NEEDLESSLY_WATCHED = ~Q(watch="") & Q(step__finished_at__isnull=False)
"""One that is only tried again, or put back, awaits the task again."""
ENDED_ANEW = timedelta(hours=1)
log = logging.getLogger(__name__)


def begin(row: StepPoll) -> None:
    """With the first look of a wait, and no later: a vendor that refuses it is not asked again and again.

    The caller holds the connection's slot.
    """
    step, connection = row.step, row.step.connection
    mapping = step.mappings.filter(item=step.item).first()
    if row.count or connection is None or mapping is None or not watches(connection):
        return
    if not connection.secret_rows.filter(name=registry.WEBHOOK_SECRET, active=True).exists():
        return
    if row.watch:  # of an earlier wait; perhaps its end was tried, so that nothing that it tells is taken
        _is_ended(row, connection, mapping.external_id)
        row.watch = ""
    try:
        row.watch = _connector(connection, row).watch(HANDLERS[step.uses].kind, mapping.external_id)
    except (ProviderError, DeadlinePassed, SecretUnreadable) as error:
        _note(connection, error, "%s is not asked to tell of the task %s: %s", mapping.external_id)
    StepPoll.objects.filter(pk=row.pk).update(watch=row.watch)


def end_if_needless(step_pk: int) -> None:
    """Tried until the vendor has ended it. Of a connection that is switched off it deletes it by itself: nothing that it tells is
    taken any more.
    """
    row = StepPoll.objects.select_related("step__connection").filter(NEEDLESSLY_WATCHED, pk=step_pk).first()
    if row is None:
        return
    connection, now = row.step.connection, clock.now()
    later = max(now + ENDED_ANEW, (connection and connection.paused_until) or now)
    if not StepPoll.objects.filter(pk=step_pk, due_at=row.due_at).update(due_at=later, enqueued_until=None):
        return  # meanwhile it waits again
    mapping: ObjectMapping | None = row.step.mappings.filter(connection=connection).order_by("pk").first()
    if connection is None or mapping is None or _is_ended(row, connection, mapping.external_id):
        StepPoll.objects.filter(pk=step_pk, due_at=later).update(watch="", due_at=None)


def watches(connection: Connection) -> bool:
    """Whether its vendor tells of a task only where it is asked to."""
    info = registry.PROVIDERS.get(connection.provider)
    return info is not None and info.connector is not None and info.connector.watches


def _is_ended(row: StepPoll, connection: Connection, external_id: str) -> bool:
    """Whether the vendor need not be asked again. Nothing more that it tells is taken in any case."""
    info = registry.PROVIDERS.get(connection.provider)
    if info is None or info.connector is None or not info.connector.watches:
        return True
    info.connector.forget_watch(connection, external_id)
    if not connection.enabled:
        return True
    try:
        _connector(connection, row).unwatch(row.watch)
    except (ProviderError, DeadlinePassed, SecretUnreadable) as error:
        _note(connection, error, "%s still tells of the task %s: %s", external_id)
        return False
    return True


def _note(connection: Connection, error: Exception, text: str, external_id: str) -> None:
    if isinstance(error, ProviderError):
        connection_queue.apply_backpressure(connection.pk, error)
    log.warning(text, connection.slug, external_id, error)


def _connector(connection: Connection, row: StepPoll) -> Connector:
    deadline = time.monotonic() + settings.CALL_SECONDS
    return registry.connector(connection, subject=f"step:{row.pk}", deadline=deadline)
