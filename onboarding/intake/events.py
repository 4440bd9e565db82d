"""From a stored inbound event to a run: once, whatever is delivered how often and in which order.

Deciding, the run and the event's mark are one database transaction. What cannot be processed stays stored, can be
processed again, and is shown to a person.
"""

import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction as db

from integrations import clock
from integrations.failpoints import failpoint
from integrations.models import InboundEvent
from integrations.providers import stripe
from integrations.providers.stripe import NotAPayment, PaymentFacts, Refund, UnexpectedShape
from integrations.signals import event_failed, event_recovered
from integrations.strict_json import BadJson, parse_object
from integrations.words import Environment, EventState
from onboarding import audit
from onboarding.engine.dispatch import hint_event
from onboarding.engine.locks import TryAgain, lock_run, retried
from onboarding.engine.reports import report
from onboarding.intake import billing, payments, service
from onboarding.models import OnboardingTransaction, PaymentTrace
from onboarding.origins import Sender
from onboarding.payload.gate import problems_of
from onboarding.payload.schema import digest, paths, with_value
from onboarding.words import OriginKind, RunEventType

MAX_ATTEMPTS = 5
MAX_BACKOFF_SECONDS = 300.0
OPEN_STATES = (EventState.RECEIVED, EventState.HELD, EventState.FAILED)

log = logging.getLogger(__name__)


def process_event(event_pk: int) -> None:
    """Process one stored event if it is due. Raises only where the database itself is gone."""
    try:
        _process(event_pk)
    except (UnexpectedShape, BadJson) as error:
        _fail(event_pk, str(error), permanent=True)
    except Exception as error:
        log.exception("Event %s could not be processed", event_pk)
        _fail(event_pk, f"Processing failed ({type(error).__name__}); the log tells more.", permanent=False)


Told = PaymentFacts | NotAPayment | Refund


def _read_stripe(event: InboundEvent) -> Told:
    body = parse_object(event.raw.encode())
    if body.get("livemode") is False and event.connection.environment == Environment.PRODUCTION:
        return NotAPayment("A test-mode event on a production connection.")
    return stripe.refund(body) or stripe.facts(body)


READERS: dict[str, Callable[[InboundEvent], Told]] = {"stripe": _read_stripe}


@retried
def _process(event_pk: int) -> None:
    event = InboundEvent.objects.select_related("connection").get(pk=event_pk)
    if not _is_due(event):
        return
    if event.connection.provider not in READERS:
        raise UnexpectedShape(f"Events of provider “{event.connection.provider}” are not understood here.")
    told = READERS[event.connection.provider](event)
    payment = told if isinstance(told, PaymentFacts) else getattr(told, "payment", None)
    with db.atomic():
        # Before the event's own row: whoever holds the customer may release other events of theirs.
        payments.lock_customer(event.connection, payment.customer if payment else "")
        locked = InboundEvent.objects.select_for_update(no_key=True, of=("self",)).select_related("connection")
        event = locked.get(pk=event_pk)
        if not _is_due(event):
            return
        had_failed = event.state == EventState.FAILED
        if isinstance(told, NotAPayment):
            _ignore(event, told)
        elif isinstance(told, Refund):
            _refund(event, told)
        else:
            _correlate(event, told)
        event.save()
        if had_failed:
            event_recovered.send(InboundEvent, event=event)
        failpoint("event-processed")


def _is_due(event: InboundEvent) -> bool:
    return event.state in OPEN_STATES and event.due_at is not None and event.due_at <= clock.now()


def _ignore(event: InboundEvent, told: NotAPayment) -> None:
    if told.payment:
        payments.dismiss(event.connection, told.payment, _paid_at(event, told.payment))
    event.ignore(outcome=told.reason, at=clock.now())


def _refund(event: InboundEvent, told: Refund) -> None:
    """A payment that went back holds its run, and a person decides. A part of it is no reason to stop."""
    run_pk = payments.run_of_intent(told.payment_intent)
    if not told.whole or run_pk is None:
        outcome = (
            "A part of the payment was refunded." if not told.whole else "No run is known of the refunded payment."
        )
        event.ignore(outcome=outcome, at=clock.now())
        return
    run = lock_run(run_pk)
    report(
        run,
        kind=RunEventType.PAYMENT_REFUNDED,
        event_id=event.external_id,
        occurred_at=event.occurred_at or event.received_at,
        data={"charge": told.charge},
        actor=_actor(event),
    )
    event.process(outcome=f"refund of {run}", at=clock.now())


def _correlate(event: InboundEvent, facts: PaymentFacts) -> None:
    keys = payments.keys_of(event.connection, facts)
    run_pk = payments.known_run(facts, keys)
    if run_pk is not None:
        _end_hold(event)
        _join(event, run_pk, facts, keys)
    elif facts.is_bare and payments.starts_nothing(event.connection, facts):
        _end_hold(event)
        event.ignore(outcome="The payment of an invoice that starts nothing, such as a renewal.", at=clock.now())
    elif not (facts.is_bare and _held(event, facts)):
        _end_hold(event)
        _match_or_open(event, facts, keys)


def _match_or_open(event: InboundEvent, facts: PaymentFacts, keys: payments.Keys) -> None:
    trace = payments.soft_match(event.connection, facts, _paid_at(event, facts))
    if trace is None:
        _open(event, facts, keys)
    elif trace.transaction_id is None:
        payments.learn(trace, facts)
        trace.paired = True
        trace.save()
        event.ignore(outcome="By customer and amount the payment of a renewal.", at=clock.now())
    else:
        payments.learn(trace, facts)
        trace.paired = True
        trace.save()
        _join(event, trace.transaction_id, facts, keys)


def _held(event: InboundEvent, facts: PaymentFacts) -> bool:
    """Let a bare payment intent wait for its session or invoice; False once it has waited long enough."""
    now = clock.now()
    trace = PaymentTrace.objects.filter(held_event=event).first()
    if trace is None:
        if settings.HOLD_SECONDS <= 0:
            return False
        trace = payments.new_trace(event.connection, facts, _paid_at(event, facts))
        trace.held_event, trace.held_until = event, now + timedelta(seconds=settings.HOLD_SECONDS)
        trace.save()
    until = trace.held_until or now
    if until <= now:
        return False
    outcome = "A payment intent alone: waiting for its checkout session or invoice."
    if event.state == EventState.RECEIVED:
        event.hold(until=until, outcome=outcome)
    else:
        event.due_at, event.outcome = until, outcome
    return True


def _end_hold(event: InboundEvent) -> None:
    PaymentTrace.objects.filter(held_event=event).delete()


def _open(event: InboundEvent, facts: PaymentFacts, keys: payments.Keys) -> None:
    paid = billing.payload(facts)
    at = _paid_at(event, facts)
    content = with_value(paid.content, "onboarding_transaction_id", payments.new_run_id(facts))
    receipt = service.accept(
        content,
        actor=_actor(event),
        sender=_sender(event),
        occurred_at=at,
        keys=payments.free_keys(keys),
        gather_for=timedelta(seconds=settings.HOLD_SECONDS),
    )
    if receipt.verdict is not service.Verdict.CREATED:
        raise TryAgain  # another source has just made this run: look again, and join it
    _note(event, receipt.run, facts, _told(paid, keys))
    event.process(outcome=f"{receipt.verdict.value}: {receipt.run.onboarding_transaction_id}", at=clock.now())


def _join(event: InboundEvent, run_pk: int, facts: PaymentFacts, keys: payments.Keys) -> None:
    run = lock_run(run_pk)
    paid = billing.payload(facts)
    told = _told(paid, keys)
    trace = payments.trace_of(run, event.connection, facts, _paid_at(event, facts))
    outcome = "nothing new"
    # Compared with what this object last said, never with the snapshot: a repetition must not question a person's fix.
    if trace.told.get(facts.object_id) != told:
        content = _without_contradictions(run, paid)
        receipt = service.join(run_pk, content, sender=_sender(event), actor=_actor(event), keys=keys)
        outcome = receipt.verdict.value
    _note(event, run, facts, told)
    event.process(outcome=f"joined {run.onboarding_transaction_id}: {outcome}", at=clock.now())


def _without_contradictions(run: OnboardingTransaction, paid: billing.BillingPayload) -> dict[str, Any]:
    """The content without inferred values for fields that plausibly hold another: a guess is no question for people."""
    current = run.payload
    known, mended = paths(current), {problem.path for problem in problems_of(run)}
    content = with_value(paid.content, "onboarding_transaction_id", run.onboarding_transaction_id)
    for path in paid.inferred:
        if path in known and path not in mended:
            content = with_value(content, path, None)
    return content


def _note(event: InboundEvent, run: OnboardingTransaction, facts: PaymentFacts, told: str) -> None:
    trace = payments.trace_of(run, event.connection, facts, _paid_at(event, facts))
    trace.told = {**trace.told, facts.object_id: told}
    trace.save()
    payments.release_held(event.connection, facts)


def _told(paid: billing.BillingPayload, keys: payments.Keys) -> str:
    # When it was paid and our id differ between an object's events without telling anything new.
    content = {key: value for key, value in paid.content.items() if key != "occurred_at"}
    return digest({"content": content, "keys": sorted(keys)})


def _paid_at(event: InboundEvent, facts: PaymentFacts) -> datetime:
    return facts.occurred_at or event.occurred_at or event.received_at


def _sender(event: InboundEvent) -> Sender:
    return Sender(OriginKind.BILLING_EVENT, event.connection.slug)


def _actor(event: InboundEvent) -> str:
    return f"event:{event.connection.slug}"


@retried
def _fail(event_pk: int, message: str, *, permanent: bool) -> None:
    with db.atomic():
        event = InboundEvent.objects.select_for_update(no_key=True).get(pk=event_pk)
        if not _is_due(event):
            return
        permanent = permanent or event.attempts + 1 >= MAX_ATTEMPTS
        event.fail(outcome=message, retry_at=None if permanent else clock.now() + _backoff(event.attempts))
        event.save()
        if permanent:
            event_failed.send(InboundEvent, event=event, message=message)


@retried
def retry_failed(connection_pk: int, *, actor: str) -> int:
    """Process a connection's failed events again (a price was added, say, or we were mended). Returns how many."""
    with db.atomic():
        failed = InboundEvent.objects.filter(connection_id=connection_pk, state=EventState.FAILED, due_at=None)
        pks = list(failed.values_list("pk", flat=True))
        failed.filter(pk__in=pks).update(due_at=clock.now(), hinted_until=None, attempts=0)
        audit.record_elsewhere("integrations.events.retried", actor=actor, data={"events": pks})
        for pk in pks:
            hint_event(pk)
    return len(pks)


def _backoff(attempts: int) -> timedelta:
    ceiling = min(settings.RETRY_BASE_SECONDS * 2**attempts, MAX_BACKOFF_SECONDS)
    return timedelta(seconds=random.uniform(ceiling / 2, ceiling))  # noqa: S311  (jitter)
