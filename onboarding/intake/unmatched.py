"""Later events that come before their run: kept, and applied once, in the order in which they occurred, when it opens."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction as db

from integrations import clock
from integrations.database.compiled_queries import Compiled
from integrations.enums import EventState
from integrations.inbound.events import OUR_ID, Key
from integrations.models import InboundEvent
from onboarding import working_set
from onboarding.engine.dispatch import enqueue_event
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.reported_events import EventIdConflict, report
from onboarding.enums import RunEventType, UnmatchedState
from onboarding.ids import comparable
from onboarding.intake import orders
from onboarding.intake.locks import lock_names, number_of
from onboarding.intake.payments import run_with
from onboarding.models import OnboardingTransaction, UnmatchedEvent
from onboarding.working_set import TryAgain

WAIT = timedelta(days=30)
"""After this it is shown as an event whose run never came. A run that opens even later still gets it."""
MOST_WAITING = 100
"""By REST for one id: a sender in a loop fills no table."""
FORGOTTEN = timedelta(minutes=1)
"""Whoever makes a run has looked by then."""
NEVER_CAME = "No onboarding that it is about has come within {days} days."

Pair = tuple[str, str]
log = logging.getLogger(__name__)


class TooMany(Exception):
    """Too many events wait for one id."""


@retried
def receive(
    onboarding_transaction_id: str,
    *,
    kind: RunEventType,
    event_id: str,
    occurred_at: datetime,
    data: dict[str, Any],
    actor: str,
) -> UnmatchedEvent | None:
    """Keep an event of a run that does not exist yet; None where it exists by now. Raises ``EventIdConflict``, ``TooMany``."""
    pair = _compared((OUR_ID, onboarding_transaction_id))
    with db.atomic():
        lock_names(_names([pair]))
        if OnboardingTransaction.objects.called(onboarding_transaction_id).exists():
            return None
        there = UnmatchedEvent.objects.filter(kind=pair[0], value=pair[1])
        known = there.filter(event_id=event_id).first()
        if known is None and there.filter(state=UnmatchedState.WAITING).count() >= MOST_WAITING:
            raise TooMany(f"{MOST_WAITING} events wait for an onboarding with this id already.")
        if known and known.type != kind:
            raise EventIdConflict(f"The event {event_id} was a {known.type} before.")
        return known or _keep(
            pair, kind=kind, event_id=event_id, occurred_at=occurred_at, data=data, actor=actor, inbound_event=None
        )


def keep_inbound(
    event: InboundEvent, pairs: Sequence[Key], *, kind: RunEventType, data: dict[str, Any], actor: str
) -> datetime:
    """Keep a webhook's event under each of its keys, after a look-up by the caller; returns until when.

    Raises ``TryAgain`` where its run was opened since that look-up. The caller is in a transaction.
    """
    return _keep_each(event, pairs, kind=kind, data=data, actor=actor, find=lambda: run_with(pairs))


def keep_order_event(
    event: InboundEvent, keys: Sequence[Key], *, kind: str, actor: str, find: Callable[[], int | None]
) -> datetime:
    """As ``keep_inbound``, for an event that joins its order's run: it is processed again when a run gets one of its keys, under
    whichever connection's name. ``keys``: as a run of its connection keeps them; ``find``: the caller's look-up.
    """
    pairs = orders.awaited(event.connection, keys)
    return _keep_each(event, pairs, kind=kind, data={}, actor=actor, find=find)


def _keep_each(
    event: InboundEvent,
    pairs: Sequence[Key],
    *,
    kind: str,
    data: dict[str, Any],
    actor: str,
    find: Callable[[], int | None],
) -> datetime:
    compared = list(dict.fromkeys(_compared(pair) for pair in pairs))
    lock_names(_names(compared))
    if find() is not None:
        raise TryAgain
    waiting = list(UnmatchedEvent.objects.filter(inbound_event=event))
    for pair in compared:
        if pair not in {(row.kind, row.value) for row in waiting}:
            row = _keep(
                pair,
                kind=kind,
                event_id=event.external_id,
                occurred_at=event.occurred_at or event.received_at,
                data=data,
                actor=actor,
                inbound_event=event,
            )
            waiting.append(row)
    return min((row.expires_at for row in waiting), default=clock.now())


def apply_to(run: OnboardingTransaction, pairs: Iterable[Pair]) -> None:
    """Apply what waits for a run with these keys. The caller holds the run locked (or has just made it) and saves it.

    Whoever keeps an event at this moment is waited for, or sees this run after us. What they have kept when a run is written on
    the lean path is found by ``apply_late``.
    """
    wanted = _wanted(pairs)
    if draft := working_set.draft_of(run):
        draft.hold([number_of(name) for name in _names(wanted)])
    else:
        lock_names(_names(wanted))
    found = _waiting(wanted)
    if found:
        run.end_made()
    for row in found:
        if orders.is_awaited(row.kind):
            _process_again(row)
            continue
        try:
            report(
                run,
                kind=RunEventType(row.type),
                event_id=row.event_id,
                occurred_at=row.occurred_at,
                data=row.data,
                actor=row.actor,
            )
        except EventIdConflict as error:
            if row.state == UnmatchedState.WAITING:
                row.expire(reason=str(error))
                row.save()
            continue
        _mark_applied(row, run)


@retried
def apply_late(run: OnboardingTransaction, pairs: Iterable[Pair]) -> None:
    """After a run was written: events that were being kept while it was made."""
    pairs = list(pairs)
    if not _waiting(_wanted(pairs)):
        return
    with locked_run(run.pk) as locked:
        apply_to(locked, pairs)


def apply_forgotten() -> None:
    """Events that wait beside their run, as the process that made it was lost before it could look again."""
    kinds = {kind for kind, _ in _wanted([(OUR_ID, "")])}
    rows = UnmatchedEvent.objects.filter(state=UnmatchedState.WAITING, kind__in=kinds)
    runs = OnboardingTransaction.objects.filter(id_key__in=rows.values("value"))
    for run in runs.filter(created_at__lt=clock.now() - FORGOTTEN)[:MOST_WAITING]:
        try:
            apply_late(run, [(OUR_ID, run.onboarding_transaction_id)])
        except Exception:
            log.exception("What was reported of run %s before it came could not be applied", run.pk)


def _wanted(run_keys: Iterable[Pair]) -> set[Pair]:
    """Under which pairs events wait for a run with these keys."""
    run_keys = list(run_keys)
    return {*(_compared(pair) for pair in run_keys), *((key.kind, key.value) for key in orders.awaited_by(run_keys))}


def _process_again(row: UnmatchedEvent) -> None:
    """Whether it is of this run, its handler decides. One that is being processed at this moment looks for its run once more before
    it is kept: to wait for it here could deadlock.
    """
    locked = InboundEvent.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    event = locked.filter(unmatched=row).exclude(state=EventState.PROCESSED).first()
    if event is None:
        return
    if event.state == EventState.IGNORED:
        event.reconsider(at=clock.now())
    else:
        event.due_at, event.enqueued_until = clock.now(), None
    event.save()
    enqueue_event(event.pk)


def note_joined(event: InboundEvent, run: OnboardingTransaction) -> None:
    """An event that may have waited for its run has joined it."""
    for row in UnmatchedEvent.objects.filter(inbound_event=event).exclude(state=UnmatchedState.APPLIED):
        row.apply(run=run)
        row.save()


def _waiting(pairs: Collection[Pair]) -> list[UnmatchedEvent]:
    return (
        [row for row in KEPT_EVENTS(*{value for _, value in pairs}) if (row.kind, row.value) in pairs] if pairs else []
    )


KEPT_EVENTS = Compiled[UnmatchedEvent](
    lambda *values: (
        UnmatchedEvent.objects.filter(value__in=values)
        .exclude(state=UnmatchedState.APPLIED)
        .order_by("occurred_at", "pk")
    )
)


def _mark_applied(row: UnmatchedEvent, run: OnboardingTransaction) -> None:
    """With its rows of other keys: an event is applied once."""
    same = UnmatchedEvent.objects.filter(inbound_event=row.inbound_event) if row.inbound_event else [row]
    for each in same:
        if each.state != UnmatchedState.APPLIED:
            each.apply(run=run)
            each.save()
    if row.inbound_event_id:
        event = InboundEvent.objects.select_for_update(no_key=True).get(pk=row.inbound_event_id)
        if event.state == EventState.IGNORED:
            event.reconsider(at=clock.now())
        if event.state != EventState.PROCESSED:
            event.process(outcome=f"{row.type} of {run}, kept until it came", at=clock.now())
            event.save()


def never_came(event: InboundEvent) -> str:
    """The wait of a webhook's event is over; returns the reason."""
    reason = NEVER_CAME.format(days=WAIT.days)
    _expire(UnmatchedEvent.objects.filter(inbound_event=event, state=UnmatchedState.WAITING), reason)
    return reason


@retried
def expire_due(now: datetime) -> None:
    """The wait of what came by REST is over: it is shown as such. Webhooks' events are looked at again by themselves."""
    due = UnmatchedEvent.objects.filter(expires_at__lte=now, state=UnmatchedState.WAITING, inbound_event=None)
    if not due.exists():
        return
    with db.atomic():
        _expire(due.select_for_update(skip_locked=True)[:MOST_WAITING], NEVER_CAME.format(days=WAIT.days))


def _expire(rows: Iterable[UnmatchedEvent], reason: str) -> None:
    for row in rows:
        row.expire(reason=reason)
        row.save()


def _keep(
    pair: Pair,
    *,
    kind: str,
    event_id: str,
    occurred_at: datetime,
    data: dict[str, Any],
    actor: str,
    inbound_event: InboundEvent | None,
) -> UnmatchedEvent:
    now = clock.now()
    return UnmatchedEvent.objects.create(
        kind=pair[0],
        value=pair[1],
        type=kind,
        event_id=event_id,
        occurred_at=occurred_at,
        data=data,
        actor=actor[:150],
        received_at=now,
        inbound_event=inbound_event,
        expires_at=now + WAIT,
    )


def _compared(pair: Pair) -> Pair:
    """Ids of runs are compared without regard to case and Unicode form."""
    return (pair[0], comparable(pair[1])) if pair[0] == OUR_ID else pair


def _names(pairs: Iterable[Pair]) -> list[str]:
    return list(dict.fromkeys(f"event:{orders.plain_kind(kind)}:{value}" for kind, value in pairs))
