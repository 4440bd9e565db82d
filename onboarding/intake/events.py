"""From a stored inbound event to a run: once, whatever is delivered how often and in which order.

Deciding, the run and the event's mark are one database transaction. What cannot be processed stays stored, can be
processed again, and is shown to a person.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction as db

from integrations import clock
from integrations.failpoints import failpoint
from integrations.models import InboundEvent
from integrations.providers import stripe
from integrations.providers.stripe import (
    INVOICE,
    PAYMENT_INTENT,
    InvoicePaid,
    NotAPayment,
    PaymentFacts,
    Refund,
    SubscriptionFacts,
    UnexpectedShape,
)
from integrations.providers.stripe_shapes import Settlement
from integrations.signals import event_failed, event_recovered
from integrations.strict_json import BadJson, parse_object
from integrations.words import Environment, EventState
from onboarding import audit
from onboarding.engine.dispatch import hint_event
from onboarding.engine.locks import lock_run, retried
from onboarding.engine.reports import report
from onboarding.intake import billing, late, payments, service, subscriptions, unmatched
from onboarding.models import OnboardingTransaction, PaymentTrace
from onboarding.origins import Sender
from onboarding.payload.gate import problems_of
from onboarding.payload.schema import digest, get, paths, with_value
from onboarding.words import OriginKind, RunEventType
from onboarding.working_set import TryAgain

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


Told = PaymentFacts | NotAPayment | Refund | InvoicePaid


def _read_stripe(event: InboundEvent) -> Told:
    body = parse_object(event.raw.encode())
    if reason := stripe.of_another_account(body, event.connection.options):
        return NotAPayment(reason)
    if body.get("livemode") is False and event.connection.environment == Environment.PRODUCTION:
        return NotAPayment("A test-mode event on a production connection.")
    return stripe.refund(body) or stripe.invoice_paid(body) or stripe.facts(body)


READERS: dict[str, Callable[[InboundEvent], Told]] = {"stripe": _read_stripe}


@retried
def _process(event_pk: int) -> None:
    event = InboundEvent.objects.select_related("connection").get(pk=event_pk)
    if not _is_due(event):
        return
    if event.connection.provider not in READERS:
        raise UnexpectedShape(f"Events of provider “{event.connection.provider}” are not understood here.")
    told = READERS[event.connection.provider](event)
    with db.atomic():
        # Before the event's own row: whoever holds the customer may release other events of theirs.
        payments.lock_customer(event.connection, _customer(told))
        locked = InboundEvent.objects.select_for_update(no_key=True, of=("self",)).select_related("connection")
        event = locked.get(pk=event_pk)
        if not _is_due(event):
            return
        had_failed = event.state == EventState.FAILED
        if isinstance(told, NotAPayment):
            _ignore(event, told)
        elif isinstance(told, Refund):
            _refund(event, told)
        elif isinstance(told, InvoicePaid):
            _link(event, told)
        else:
            _correlate(event, told)
        event.save()
        if had_failed:
            event_recovered.send(InboundEvent, event=event)
        failpoint("event-processed")


def _is_due(event: InboundEvent) -> bool:
    return event.state in OPEN_STATES and event.due_at is not None and event.due_at <= clock.now()


def _customer(told: Told) -> str:
    if isinstance(told, NotAPayment):
        return told.subscription.customer if told.subscription else ""
    return "" if isinstance(told, InvoicePaid) else told.customer


def _ignore(event: InboundEvent, told: NotAPayment) -> None:
    _note_subscription(event, told.subscription)
    event.ignore(outcome=told.reason, at=clock.now())


def _note_subscription(event: InboundEvent, about: SubscriptionFacts | None) -> None:
    """Where it shows only now that a subscription began here, what was taken for its renewal is judged again."""
    if about is None or not subscriptions.note(event.connection, about):
        return
    if earlier := payments.reconsider(event.connection, about.id):
        subscriptions.forget_settled(event.connection, about.id)
        if earlier.state == EventState.IGNORED:
            earlier.reconsider(at=clock.now())
            earlier.save()
            hint_event(earlier.pk)


def _refund(event: InboundEvent, told: Refund) -> None:
    """A payment that went back holds its run, and a person decides. A part of it is no reason to stop.

    One that overtakes its payment waits for it.
    """
    if not told.whole:
        event.ignore(outcome="A part of the payment was refunded.", at=clock.now())
        return
    intents = [value for kind, value in told.keys if kind == PAYMENT_INTENT]
    invoice = next((found for intent in intents if (found := payments.invoice_of(event.connection, intent))), "")
    pairs = [*told.keys, *([(INVOICE, invoice)] if invoice else [])]
    run_pk = payments.run_with(pairs)
    if run_pk is None:
        _keep_refund(event, told, pairs)
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


def _keep_refund(event: InboundEvent, told: Refund, pairs: payments.Keys) -> None:
    named = dict(pairs)
    if payments.starts_nothing(event.connection, named.get(PAYMENT_INTENT, ""), named.get(INVOICE, "")):
        event.ignore(outcome="The refund of a payment that starts nothing, such as a renewal.", at=clock.now())
        return
    kind, data = RunEventType.PAYMENT_REFUNDED, {"charge": told.charge}
    until = unmatched.keep_inbound(event, pairs, kind=kind, data=data, actor=_actor(event))
    if until <= clock.now():
        event.ignore(outcome=unmatched.never_came(event), at=clock.now())
        return
    _hold(event, until, "A refund of a payment that is not known yet: kept, and applied when its onboarding opens.")


def _link(event: InboundEvent, told: InvoicePaid) -> None:
    """Which invoice an intent pays may come before either of them, or after both have been taken for others."""
    connection, actor = event.connection, _actor(event)
    payments.link(connection, told.payment_intent, told.invoice)
    if payments.starts_nothing(connection, "", told.invoice):
        for pk in sorted(late.runs_of_intents(connection, [told.payment_intent], told.invoice)):
            late.withdraw(lock_run(pk), reason=late.RENEWAL.format(invoice=told.invoice), actor=actor)
    else:
        late.merge(connection, payments.intents_of(connection, told.invoice), told.invoice, actor=actor)
        pairs = [(INVOICE, told.invoice), (PAYMENT_INTENT, told.payment_intent)]
        if (run_pk := payments.run_with(pairs)) is not None:
            service.remember(lock_run(run_pk), pairs)
    payments.release_intents(connection, [told.payment_intent], told.invoice)
    event.process(outcome=f"{told.payment_intent} pays {told.invoice}", at=clock.now())


def _correlate(event: InboundEvent, facts: PaymentFacts) -> None:
    connection, at = event.connection, _paid_at(event, facts)
    verdict = _verdict(event, facts)
    _note_subscription(event, facts.subscription)
    payments.link_parts(connection, payments.with_invoice(connection, facts), at)
    facts = payments.with_invoice(connection, facts)
    if verdict.kind is subscriptions.Kind.RENEWAL:
        _dismiss(event, facts, verdict.reason)
        return
    intents = {*facts.intents, *payments.intents_of(connection, facts.invoice)}
    late.merge(connection, intents, facts.invoice, actor=_actor(event))
    keys = payments.keys_of(connection, facts)
    run_pk = payments.known_run(facts, keys)
    if run_pk is not None:
        _end_hold(event)
        _join(event, run_pk, facts, keys)
    elif facts.is_bare and payments.starts_nothing(connection, facts.payment_intent, facts.invoice):
        _end_hold(event)
        event.ignore(outcome="The payment of an invoice that starts nothing, such as a renewal.", at=clock.now())
        return
    elif facts.is_bare and _held(event, facts):
        return
    else:
        _end_hold(event)
        _match_or_open(event, facts, keys, verdict.reason)
    if event.state == EventState.PROCESSED:
        subscriptions.note_settled(connection, facts, at)


def _verdict(event: InboundEvent, facts: PaymentFacts) -> subscriptions.Verdict:
    """A bill that was dismissed stays so. A run that another system opened under our id, and that no payment was seen of, is
    what is paid here.
    """
    if facts.kind == "invoice" and payments.starts_nothing(event.connection, "", facts.invoice):
        return subscriptions.Verdict(subscriptions.Kind.RENEWAL, "A renewal, as another event of the invoice has told.")
    verdict = subscriptions.verdict_on(event.connection, facts, _paid_at(event, facts))
    if verdict.kind is not subscriptions.Kind.FIRST and payments.awaits_payment(billing.our_id(facts)):
        return subscriptions.FIRST
    return verdict


def _dismiss(event: InboundEvent, facts: PaymentFacts, reason: str) -> None:
    """A renewal starts nothing, nor do its intents; what those have opened before it was known is looked at."""
    connection, at = event.connection, _paid_at(event, facts)
    if payments.dismiss(connection, facts, at, event):
        parts = payments.guessed_parts(connection, facts.invoice)
        named = [key for key in facts.keys if key[1] not in {part.payment_intent for part in parts}]
        alone = payments.soft_match(connection, facts, at)
        late.dismiss(
            connection, replace(facts, keys=tuple(named)), [*parts, *([alone] if alone else [])], actor=_actor(event)
        )
    subscriptions.note_settled(connection, facts, at)
    event.ignore(outcome=reason, at=clock.now())


def _match_or_open(event: InboundEvent, facts: PaymentFacts, keys: payments.Keys, doubt: str) -> None:
    trace = payments.soft_match(event.connection, facts, _paid_at(event, facts))
    if trace is None:
        _open(event, facts, keys, doubt or _doubt(event, facts))
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
    _hold(event, until, "A payment intent alone: waiting for its checkout session or invoice.")
    return True


def _hold(event: InboundEvent, until: datetime, outcome: str) -> None:
    if event.state == EventState.RECEIVED:
        event.hold(until=until, outcome=outcome)
    else:
        event.due_at, event.outcome = until, outcome


def _end_hold(event: InboundEvent) -> None:
    PaymentTrace.objects.filter(held_event=event).delete()


def _doubt(event: InboundEvent, facts: PaymentFacts) -> str:
    """Why it is not plain that this payment opens an onboarding; empty where nothing speaks against it."""
    if facts.is_bare and payments.is_known_customer(event.connection, facts):
        return f"{late.UNNAMED} {facts.payment_intent}."
    smaller = payments.smaller_payment(event.connection, facts, _paid_at(event, facts))
    if smaller is None:
        return ""
    return (
        f"The customer paid {smaller.payment_intent} shortly before, which {smaller.transaction} onboards: it may be a part of "
        "this invoice."
    )


def _open(event: InboundEvent, facts: PaymentFacts, keys: payments.Keys, doubt: str) -> None:
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
        question=f"{doubt} {late.ASK}" if doubt else "",
        also_known_by=payments.unnamed_intent(facts),
    )
    if receipt.verdict is not service.Verdict.CREATED:
        raise TryAgain  # another source has just made this run: look again, and join it
    _note(event, receipt.run, facts, _told(paid, keys))
    trace = payments.trace_of(receipt.run, event.connection, facts, at)
    _note_name(receipt.run, trace, paid, content)
    how = "" if facts.settlement is Settlement.PAID else f" ({facts.settlement})"
    asked = f"; on hold: {doubt}" if doubt else ""
    event.process(
        outcome=f"{receipt.verdict.value}: {receipt.run.onboarding_transaction_id}{how}{asked}", at=clock.now()
    )


def _join(event: InboundEvent, run_pk: int, facts: PaymentFacts, keys: payments.Keys) -> None:
    run = lock_run(run_pk)
    paid = billing.payload(facts)
    told = _told(paid, keys)
    trace = payments.trace_of(run, event.connection, facts, _paid_at(event, facts))
    outcome = "nothing new"
    # Compared with what this object last said, never with the snapshot: a repetition must not question a person's fix.
    if trace.told.get(facts.object_id) != told:
        content = _without_contradictions(run, paid)
        _note_name(run, trace, paid, content)
        # First, as with the contact's name nothing else may be missing: the run would start.
        contact = str(get(content, "customer.primary_contact.name"))
        service.drop_payers_name(run_pk, contact, sender=_sender(event), actor=_actor(event))
        receipt = service.join(run_pk, content, sender=_sender(event), actor=_actor(event), keys=keys)
        outcome = receipt.verdict.value
    else:
        service.remember(run, keys)
    late.clear_doubt(lock_run(run_pk), facts, actor=_actor(event))
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
    if "customer.legal_name" in paid.inferred and stripe.is_same_name(
        get(content, "customer.legal_name"), get(current, "customer.primary_contact.name")
    ):
        content = with_value(content, "customer.legal_name", None)
    return content


def _note_name(
    run: OnboardingTransaction, trace: PaymentTrace, paid: billing.BillingPayload, content: dict[str, Any]
) -> None:
    """Note whether the company's name is only that of the billing system's customer."""
    name = str(get(content, "customer.legal_name"))
    if name and "customer.legal_name" in paid.inferred:
        trace.customer_name = name[: payments.MAX_VALUE]
        trace.save()
    elif name:  # somebody states it
        PaymentTrace.objects.filter(transaction=run).update(customer_name="")


def _note(event: InboundEvent, run: OnboardingTransaction, facts: PaymentFacts, told: str) -> None:
    trace = payments.trace_of(run, event.connection, facts, _paid_at(event, facts))
    trace.told = {**trace.told, facts.object_id: told}
    trace.save()
    payments.release_held(event.connection, facts)


def _told(paid: billing.BillingPayload, keys: payments.Keys) -> str:
    # When it was paid, our id, and which intents pay which invoice differ between an object's events without telling anything new.
    content = {
        key: value for key, value in paid.content.items() if key not in ("occurred_at", "onboarding_transaction_id")
    }
    named = [key for key in keys if key[0] not in (INVOICE, PAYMENT_INTENT)]
    return digest({"content": content, "keys": sorted(named)})


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
