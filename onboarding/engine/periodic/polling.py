"""Looking whether somebody has done at the vendor what a step awaits. A look that finds nothing new changes nothing of the run.

It is no attempt: no lease, no token, no audit entry and no recorded call, only a count beside the step. Whatever is new makes the
step due, and a claim decides what follows.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, QuerySet

from integrations import clock
from integrations.connections import concurrency
from integrations.connectors import registry
from integrations.connectors.base import Connector
from integrations.enums import STOPPED
from integrations.errors import DeadlinePassed, ProviderError
from integrations.http import recording
from onboarding.engine import connection_queue, execution
from onboarding.engine.claiming import SLOT_WAIT
from onboarding.engine.facts import facts_of
from onboarding.engine.locks import locked_run_of, retried
from onboarding.engine.outcomes import LATER
from onboarding.enums import StepState, WaitsFor
from onboarding.models import Step, StepPoll
from onboarding.steps.registry import HANDLERS

MOST_AT_ONCE = 100


def due(now: datetime) -> QuerySet[StepPoll]:
    """Polls that nobody was told of, the longest due first."""
    awaited = StepPoll.objects.filter(
        due_at__lte=now,
        step__state__in=(StepState.WAITING, StepState.BLOCKED),
        step__waits_for=WaitsFor.EVENT,
        step__due_at=None,
        step__transaction__held_at=None,
    )
    awaited = awaited.exclude(enqueued_until__gt=now).exclude(step__connection__breaker__in=STOPPED)
    return awaited.order_by("due_at", "pk")


def forget(now: datetime) -> None:
    """Due polls of steps that await nothing any more are not looked at again."""
    StepPoll.objects.filter(due_at__lte=now).exclude(step__waits_for=WaitsFor.EVENT).update(due_at=None)


def poll(step_pk: int) -> None:
    """One look, if it is still due. Nobody is kept from looking at the same moment: it only reads."""
    row = due_now(step_pk)
    if row is None:
        return
    now, step = clock.now(), row.step
    connection, holder = step.connection, f"poll:{step_pk}"
    if connection and not concurrency.acquire(connection, holder, now + timedelta(seconds=settings.LEASE_SECONDS)):
        _again(step_pk, max(now + SLOT_WAIT, connection.paused_until or now))
        return
    try:
        is_new = _is_new(step)
    except ProviderError as error:
        _failed(step, error)
        return
    finally:
        if connection and connection.limit is not None:
            concurrency.release(connection.pk, holder)
    if is_new:
        _make_due(step_pk, clock.now())
    else:
        _again(step_pk, clock.now() + timedelta(seconds=settings.KICKOFF_POLL_SECONDS), looked_at=clock.now())


def due_now(step_pk: int) -> StepPoll | None:
    now = clock.now()
    rows = StepPoll.objects.select_related("step__connection").filter(pk=step_pk, due_at__lte=now)
    return rows.filter(step__waits_for=WaitsFor.EVENT, step__due_at=None, step__transaction__held_at=None).first()


def _is_new(step: Step) -> bool:
    """Whether a claim has to see to it: it is done, or gone, or cannot even be asked for. Raises ``ProviderError``."""
    connection, look = step.connection, _look_of(step)
    if look is None or connection is None or not connection.enabled:
        return True
    deadline = time.monotonic() + settings.STEP_SECONDS
    with recording.reads_together() as calls:
        connector = registry.connector(connection, subject=f"step:{step.pk}", deadline=deadline)
        try:
            if look(connector):
                return True
        except DeadlinePassed:
            return True
        calls.clear()
    return False


def _look_of(step: Step) -> Callable[[Connector], bool] | None:
    """What tells whether there is anything new; None where only a claim can tell."""
    handler = HANDLERS[step.uses]
    if handler.awaits_vendor:
        facts = facts_of(step.transaction, step)
        return (lambda connector: handler.is_news(connector, facts)) if facts.related else None
    mapping = step.mappings.filter(item=step.item).first()
    if not handler.makes_objects or mapping is None:
        return None
    kind, external_id = handler.kind, mapping.external_id

    def is_done_or_gone(connector: Connector) -> bool:
        found = connector.get(kind, external_id)
        return found is None or found.done

    return is_done_or_gone


def _failed(step: Step, error: ProviderError) -> None:
    """Where the vendor only asks for patience the next look waits; else a claim meets the failure, with all that follows."""
    connection, now = step.connection, clock.now()
    wait = error.retry_after or 0.0
    if connection:
        connection_queue.apply_backpressure(connection.pk, error)
    if error.kind in LATER:
        _again(step.pk, now + timedelta(seconds=max(wait, settings.KICKOFF_POLL_SECONDS)))
    else:
        _make_due(step.pk, now + timedelta(seconds=wait))


def _again(step_pk: int, at: datetime, *, looked_at: datetime | None = None) -> None:
    counted = {"count": F("count") + 1, "last_at": looked_at} if looked_at else {}
    StepPoll.objects.filter(pk=step_pk).update(due_at=at, enqueued_until=None, **counted)


def _make_due(step_pk: int, at: datetime) -> None:
    if _let_claim(step_pk, at) and at <= clock.now():
        execution.run_step(step_pk)


@retried
def _let_claim(step_pk: int, at: datetime) -> bool:
    with locked_run_of(step_pk):
        step = Step.objects.get(pk=step_pk)
        if step.waits_for != WaitsFor.EVENT or step.due_at is not None:
            return False
        step.due_at = at
        step.save(update_fields=["due_at"])
        return True
