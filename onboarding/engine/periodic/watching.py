"""Having a vendor tell of a task that a step awaits, where it does so only for what it is asked to (Asana).

It spares looks and decides nothing: where it fails, the task is polled as ever. It ends when nobody awaits the task any more.
"""

import logging
import time

from django.conf import settings
from django.db.models import Q

from integrations.connectors import registry
from integrations.connectors.base import Connector
from integrations.errors import DeadlinePassed, ProviderError
from integrations.models import Connection
from onboarding.models import ObjectMapping, StepPoll
from onboarding.steps.registry import HANDLERS

NEEDLESSLY_WATCHED = ~Q(watch="") & Q(step__finished_at__isnull=False)
"""One that is only tried again, or put back, awaits the task again."""
log = logging.getLogger(__name__)


def begin(row: StepPoll) -> None:
    """With the first look, and no later: a vendor that refuses it is not asked again and again."""
    step, connection = row.step, row.step.connection
    mapping = step.mappings.filter(item=step.item).first()
    if row.count or row.watch or connection is None or mapping is None or not _may_be_asked(connection):
        return
    try:
        watch = _connector(connection, row).watch(HANDLERS[step.uses].kind, mapping.external_id)
    except (ProviderError, DeadlinePassed) as error:
        log.warning("%s is not asked to tell of a task: %s", connection.slug, error)
        return
    StepPoll.objects.filter(pk=row.pk).update(watch=watch)


def end_if_needless(step_pk: int) -> None:
    """A vendor that cannot be asked now deletes it by itself: our address takes nothing more of it."""
    row = StepPoll.objects.select_related("step__connection").filter(NEEDLESSLY_WATCHED, pk=step_pk).first()
    if row is None:
        return
    if not StepPoll.objects.filter(pk=step_pk, due_at=row.due_at).update(watch="", due_at=None):
        return  # meanwhile it waits again
    connection = row.step.connection
    mapping: ObjectMapping | None = row.step.mappings.filter(connection=connection).order_by("pk").first()
    if connection is None or mapping is None or not connection.enabled:
        return
    try:
        _connector(connection, row).unwatch(row.watch, mapping.external_id)
    except (ProviderError, DeadlinePassed) as error:
        log.warning("%s still tells of the task %s: %s", connection.slug, mapping.external_id, error)


def _may_be_asked(connection: Connection) -> bool:
    info = registry.PROVIDERS.get(connection.provider)
    if info is None or info.connector is None or not info.connector.watches:
        return False
    return connection.secret_rows.filter(name=registry.WEBHOOK_SECRET, active=True).exists()


def _connector(connection: Connection, row: StepPoll) -> Connector:
    deadline = time.monotonic() + settings.CALL_SECONDS
    return registry.connector(connection, subject=f"step:{row.pk}", deadline=deadline)
