"""Looking whether somebody has done at the vendor what a step awaits. A look that finds nothing new changes nothing of the run.

A step that waits beyond its deadline is a ticket, and goes on waiting: also one for whose event no vendor is asked.

It is no attempt: no lease, no token, no audit entry and no recorded call, only a count beside the step. Whatever is new makes the
step due, and a claim decides what follows.
"""

import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from integrations import clock
from integrations.connections import concurrency
from integrations.connectors import registry
from integrations.connectors.base import Connector
from integrations.database.process_cache import ProcessCache
from integrations.enums import STOPPED
from integrations.errors import DeadlinePassed, ProviderError
from integrations.http import recording
from integrations.inbound.events import WorkChanged
from integrations.models import Connection, InboundEvent
from onboarding.engine import connection_queue, dispatch, execution
from onboarding.engine.claiming import SLOT_WAIT
from onboarding.engine.facts import facts_of
from onboarding.engine.locks import locked_run_of, retried
from onboarding.engine.outcomes import LATER
from onboarding.engine.periodic import watching
from onboarding.engine.periodic.watching import NEEDLESSLY_WATCHED
from onboarding.engine.runs import waits
from onboarding.engine.runs.failures import block
from onboarding.enums import Category, StepState, WaitsFor
from onboarding.models import Step, StepPoll
from onboarding.signals import wait_overdue
from onboarding.steps.registry import HANDLERS

MOST_AT_ONCE = 100
RARER_WITH_WEBHOOKS = 12
"""An hour, with the usual setting."""
RECENT = timedelta(days=1)
ASKED_ANEW = timedelta(minutes=1)
_arrivals: ProcessCache[int, tuple[datetime, bool]] = ProcessCache(64)
"""Connection -> (when it was asked, whether its webhooks arrive)."""


def due(now: datetime) -> QuerySet[StepPoll]:
    """Polls that nobody was told of, the longest due first."""
    is_awaited = Q(
        step__state__in=(StepState.WAITING, StepState.BLOCKED),
        step__waits_for__in=waits.AWAITED,
        step__due_at=None,
        step__transaction__held_at=None,
    )
    awaited = StepPoll.objects.filter(is_awaited | NEEDLESSLY_WATCHED, due_at__lte=now)
    awaited = awaited.exclude(enqueued_until__gt=now).exclude(step__connection__breaker__in=STOPPED)
    return awaited.order_by("due_at", "pk")


def forget(now: datetime) -> None:
    """Due polls of steps that await nothing any more are not looked at again."""
    gone = StepPoll.objects.filter(due_at__lte=now, watch="").exclude(step__waits_for__in=waits.AWAITED)
    # Said outside the subquery too, which PostgreSQL does not ask again where a wait begins meanwhile.
    StepPoll.objects.filter(pk__in=gone.values("pk"), due_at__lte=now).update(due_at=None)


def look_now(step_pks: Collection[int]) -> None:
    """The vendor says that something was changed there: these are polled once the surrounding transaction has committed."""
    now = clock.now()
    # Also one that is in the broker: the row is the truth.
    StepPoll.objects.filter(pk__in=step_pks).update(due_at=now, enqueued_until=None)
    for pk in step_pks:
        transaction.on_commit(partial(dispatch.publish, dispatch.POLL_STEP, pk), robust=True)


def poll(step_pk: int) -> None:
    """One look, if it is still due. Nobody is kept from looking at the same moment: it only reads."""
    row = due_now(step_pk)
    if row is None:
        watching.end_if_needless(step_pk)
        return
    now, step = clock.now(), row.step
    if step.waits_for == WaitsFor.REPORT:
        _tell_if_overdue(row)
        _wait_on(row, now)
        return
    connection, holder = step.connection, f"poll:{step_pk}"
    if connection and not concurrency.acquire(connection, holder, now + timedelta(seconds=settings.LEASE_SECONDS)):
        _again(step_pk, max(now + SLOT_WAIT, connection.paused_until or now))
        return
    try:
        is_new = _is_new(step)
        if not is_new:
            watching.begin(row)
    except ProviderError as error:
        _failed(row, error)
        return
    finally:
        if connection and connection.limit is not None:
            concurrency.release(connection.pk, holder)
    if is_new:
        _make_due(step_pk, clock.now())
    else:
        _tell_if_overdue(row)
        _again(step_pk, clock.now() + _interval(row, connection), looked=row)


def _interval(row: StepPoll, connection: Connection | None) -> timedelta:
    """Until the next look; longer where the vendor's webhooks arrive, so that a look only makes up for one that was lost."""
    usual = timedelta(seconds=settings.KICKOFF_POLL_SECONDS)
    if connection is None or (watching.watches(connection) and not row.watch):
        return usual  # what arrives is of other tasks
    return usual * RARER_WITH_WEBHOOKS if _webhooks_arrive(connection) else usual


def _webhooks_arrive(connection: Connection) -> bool:
    """Whether such an event came within a day. Asked once a minute a process: it reads the connection's events."""
    info = registry.PROVIDERS.get(connection.provider)
    told = info.webhook.events if info is not None and info.webhook is not None else {}
    if not any(WorkChanged in events for events in told.values()):
        return False
    now, known = clock.now(), _arrivals.get(connection.pk)
    if known is None or not known[0] <= now < known[0] + ASKED_ANEW:
        events = InboundEvent.objects.filter(connection=connection, type__in=told, received_at__gt=now - RECENT)
        known = (now, events.exists())
        _arrivals.put(connection.pk, known)
    return known[1]


def due_now(step_pk: int) -> StepPoll | None:
    now = clock.now()
    rows = StepPoll.objects.select_related("step__connection").filter(pk=step_pk, due_at__lte=now)
    return rows.filter(step__waits_for__in=waits.AWAITED, step__due_at=None, step__transaction__held_at=None).first()


def _tell_if_overdue(row: StepPoll) -> None:
    if row.deadline_at is not None and row.deadline_at <= clock.now() and not row.step.category:
        _tell_overdue(row.pk)


@retried
def _tell_overdue(step_pk: int) -> None:
    """A person is told, unless an open ticket covers the wait."""
    with locked_run_of(step_pk) as run:
        step = Step.objects.get(pk=step_pk)
        if step.state != StepState.WAITING or step.waits_for not in waits.AWAITED or step.category:
            return
        step.transaction = run
        if not any(covered for _, covered in wait_overdue.send(Step, step=step)):
            block(run, step, Category.STALLED, waits.why_overdue(step), due_at=None)


def _wait_on(row: StepPoll, now: datetime) -> None:
    """Only its deadline is looked at: again in a while where that has passed, as what covers the wait now may be closed."""
    if row.deadline_at is None or row.deadline_at <= now:
        _again(row.pk, now + timedelta(seconds=settings.KICKOFF_POLL_SECONDS))
    else:
        _again(row.pk, row.deadline_at)


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


def _failed(row: StepPoll, error: ProviderError) -> None:
    """Where the vendor only asks for patience the next look waits; else a claim meets the failure, with all that follows."""
    step = row.step
    connection, now = step.connection, clock.now()
    wait = error.retry_after or 0.0
    if connection:
        connection_queue.apply_backpressure(connection.pk, error)
    if error.kind in LATER:
        _tell_if_overdue(row)
        _again(step.pk, now + timedelta(seconds=max(wait, settings.KICKOFF_POLL_SECONDS)))
    else:
        _make_due(step.pk, now + timedelta(seconds=wait))


def _again(step_pk: int, at: datetime, *, looked: StepPoll | None = None) -> None:
    """``looked``: as the row was when a look began; what has made it due meanwhile is not put off."""
    rows = StepPoll.objects.filter(pk=step_pk)
    if looked is None:
        rows.update(due_at=at, enqueued_until=None)
        return
    rows.update(count=F("count") + 1, last_at=clock.now())
    rows.filter(due_at=looked.due_at).update(due_at=at, enqueued_until=None)


def _make_due(step_pk: int, at: datetime) -> None:
    if _let_claim(step_pk, at) and at <= clock.now():
        execution.run_step(step_pk)
        # It may wait on, beyond its deadline; the next look may fail again.
        _tell_if_overdue(StepPoll.objects.select_related("step").get(pk=step_pk))


@retried
def _let_claim(step_pk: int, at: datetime) -> bool:
    with locked_run_of(step_pk):
        step = Step.objects.get(pk=step_pk)
        if step.waits_for != WaitsFor.EVENT or step.due_at is not None:
            return False
        step.due_at = at
        step.save(update_fields=["due_at"])
        return True
