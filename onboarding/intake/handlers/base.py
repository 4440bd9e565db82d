"""The registry of handlers, and what they do to the stored event that they were called with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

from integrations import clock
from integrations.enums import EventState, System
from integrations.inbound.events import Event, Key
from integrations.models import InboundEvent
from onboarding.engine.locks import locked_run
from onboarding.engine.reported_events import report
from onboarding.enums import OriginKind, RunEventType
from onboarding.intake import unmatched
from onboarding.origins import Sender

E = TypeVar("E", bound=Event)
Handler = Callable[[InboundEvent, E], None]
"""(the stored event, locked; what it means). Moves the stored event on; whoever calls it saves that one.

In the caller's transaction, which also holds the event's customer. A ``TryAgain`` is answered by doing it all anew.
"""

_handlers: dict[type[Event], Handler[Any]] = {}
HANDLERS: Mapping[type[Event], Handler[Any]] = MappingProxyType(_handlers)


def handles(kind: type[E]) -> Callable[[Handler[E]], Handler[E]]:
    """Decorator: the handler of one kind of event. Raises ``ValueError`` for a kind that has one."""

    def register(handler: Handler[E]) -> Handler[E]:
        if kind in _handlers:
            raise ValueError(f"{kind.__name__} is handled twice")
        _handlers[kind] = handler
        return handler

    return register


@dataclass(frozen=True)
class LaterEvent:
    """What is told of a run after its payment."""

    kind: RunEventType
    data: dict[str, Any]
    noun: str
    """Such as "refund", for people."""
    about: str
    """Such as "payment": what it is a ``noun`` of."""


def report_to(run_pk: int, stored: InboundEvent, news: LaterEvent) -> None:
    with locked_run(run_pk) as run:
        report(
            run,
            kind=news.kind,
            event_id=stored.external_id,
            occurred_at=stored.occurred_at or stored.received_at,
            data=news.data,
            actor=actor_of(stored),
        )
    stored.process(outcome=f"{news.noun} of {run}", at=clock.now())


def keep_until_known(keys: list[Key], stored: InboundEvent, news: LaterEvent) -> None:
    """It overtook what it is about: it is reported when a run with one of these keys opens."""
    until = unmatched.keep_inbound(stored, keys, kind=news.kind, data=news.data, actor=actor_of(stored))
    if until <= clock.now():
        stored.ignore(outcome=unmatched.never_came(stored), at=clock.now())
        return
    outcome = f"A {news.noun} of a {news.about} that is not known yet: kept, and applied when its onboarding opens."
    hold(stored, until, outcome)


def await_run(
    stored: InboundEvent, keys: Sequence[Key], *, kind: str, noun: str, find: Callable[[], int | None]
) -> None:
    """It joins the run of its order, which no event has started yet: it is processed again when one does."""
    until = unmatched.keep_order_event(stored, keys, kind=kind, actor=actor_of(stored), find=find)
    if until <= clock.now():
        stored.ignore(outcome=unmatched.never_came(stored), at=clock.now())
        return
    hold(stored, until, f"{noun}: kept, and joined to its order's onboarding when that starts.")


def hold(stored: InboundEvent, until: datetime, outcome: str) -> None:
    if stored.state != EventState.HELD:
        stored.hold(until=until, outcome=outcome)
    else:
        stored.due_at, stored.outcome = until, outcome


_ORIGINS = {System.ESIGN: OriginKind.ESIGN_EVENT, System.CRM: OriginKind.CRM_EVENT}


def sender_of(stored: InboundEvent) -> Sender:
    kind = _ORIGINS.get(System(stored.connection.system), OriginKind.BILLING_EVENT)
    return Sender(kind, stored.connection.slug)


def actor_of(stored: InboundEvent) -> str:
    return f"event:{stored.connection.slug}"
