"""A signature, an approved contract or a won deal joins the run of its order, or starts it where its connection says so."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from django.conf import settings

from integrations import clock
from integrations.inbound.delivery import UnexpectedShape
from integrations.inbound.events import ContractApproved, DealWon, OrderEvent, OrderSigned
from integrations.models import InboundEvent
from onboarding.engine.locks import locked_run
from onboarding.engine.reported_events import report
from onboarding.enums import Category, RunEventType, Topic
from onboarding.intake import order_payload, orders, payments, service, unmatched
from onboarding.intake.billing import our_id
from onboarding.intake.handlers.base import actor_of, await_run, handles, sender_of
from onboarding.models import OnboardingTransaction
from onboarding.signals import run_blocked
from onboarding.working_set import TryAgain

TYPES: Mapping[type[OrderEvent], RunEventType] = MappingProxyType(
    {
        OrderSigned: RunEventType.ORDER_SIGNED,
        ContractApproved: RunEventType.CONTRACT_APPROVED,
        DealWon: RunEventType.DEAL_WON,
    }
)
NO_KEY = "It names no order, deal, quote, subscription or onboarding: it is of none."


@handles(OrderSigned)
def order_signed(stored: InboundEvent, event: OrderSigned) -> None:
    _handle(stored, event)


@handles(ContractApproved)
def contract_approved(stored: InboundEvent, event: ContractApproved) -> None:
    _handle(stored, event)


@handles(DealWon)
def deal_won(stored: InboundEvent, event: DealWon) -> None:
    _handle(stored, event)


def _handle(stored: InboundEvent, event: OrderEvent) -> None:
    connection = stored.connection
    keys = payments.keys_of(connection, event)
    if not keys:
        stored.ignore(outcome=NO_KEY, at=clock.now())
        return
    try:
        run_pk = orders.run_of(connection, keys)
    except orders.SeveralRuns as several:
        raise UnexpectedShape(f"{several} Join them, then process the failed events again.") from None
    if run_pk is not None:
        _join(stored, event, run_pk, keys)
    elif orders.starts_runs(connection, type(event)):
        _open(stored, event, keys)
    else:
        kind = TYPES[type(event)]
        await_run(stored, keys, kind=kind, noun=kind.label, find=lambda: orders.run_of(connection, keys))


def _open(stored: InboundEvent, event: OrderEvent, keys: payments.Keys) -> None:
    """The P1 clock counts from this event: it is the one that starts."""
    run_id = our_id(event) or f"{stored.connection.provider}-{event.object_id}"
    content = order_payload.payload(event, run_id=run_id, source=_source(stored, event)).content
    receipt = service.accept(
        content,
        actor=actor_of(stored),
        sender=sender_of(stored),
        occurred_at=_at(stored, event),
        keys=payments.free_keys(keys),
        gather_for=timedelta(seconds=settings.HOLD_SECONDS),
    )
    if receipt.verdict is not service.Verdict.CREATED:
        raise TryAgain  # another source has just made this run: look again, and join it
    with locked_run(receipt.run.pk) as run:
        _report(stored, event, run)
        unmatched.note_joined(stored, run)
    stored.process(outcome=f"{receipt.verdict.value}: {receipt.run.onboarding_transaction_id}", at=clock.now())


def _join(stored: InboundEvent, event: OrderEvent, run_pk: int, keys: payments.Keys) -> None:
    others = orders.other_runs(stored.connection, keys, run_pk)
    with locked_run(run_pk) as run:
        told = order_payload.payload(event, run_id=run.onboarding_transaction_id, source=_source(stored, event))
        content = order_payload.without_contradictions(run, told)
        receipt = service.join(run_pk, content, sender=sender_of(stored), actor=actor_of(stored), keys=keys)
        _report(stored, event, run)
        unmatched.note_joined(stored, run)
        if others:
            _ask_to_join(run, others, event)
    stored.process(outcome=f"joined {run.onboarding_transaction_id}: {receipt.verdict.value}", at=clock.now())


def _report(stored: InboundEvent, event: OrderEvent, run: OnboardingTransaction) -> None:
    """Known to the run as what it is, whether it started it or joined it."""
    report(
        run,
        kind=TYPES[type(event)],
        event_id=stored.external_id,
        occurred_at=_at(stored, event),
        data={"object": event.object_id, "connection": stored.connection.slug},
        actor=actor_of(stored),
    )


def _ask_to_join(run: OnboardingTransaction, others: list[int], event: OrderEvent) -> None:
    """One order was started twice, under keys that only this event ties together: a person joins the runs."""
    names = OnboardingTransaction.objects.filter(pk__in=others).order_by("pk")
    listed = ", ".join(names.values_list("onboarding_transaction_id", flat=True))
    run_blocked.send(
        OnboardingTransaction,
        run=run,
        category=Category.APPROVAL_OVERDUE,
        topic=Topic.TWO_RUNS,
        message=f"{TYPES[type(event)].label}: by its keys it is of this onboarding and of {listed}.",
        problems=[],
    )


def _source(stored: InboundEvent, event: OrderEvent) -> str:
    """The label of what told it: each envelope and each deal is a source of its own."""
    return f"{stored.connection.provider}:{event.object_id}"[:64]


def _at(stored: InboundEvent, event: OrderEvent) -> datetime:
    return event.occurred_at or stored.occurred_at or stored.received_at
