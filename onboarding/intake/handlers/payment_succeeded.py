"""A payment opens a run, joins one, waits for what tells more of it, or is a renewal's and starts nothing."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings

from integrations import clock
from integrations.enums import EventState
from integrations.inbound.events import PaymentSucceeded, Role, Settlement, kind_of
from integrations.models import InboundEvent
from integrations.name_matching import is_same_name
from onboarding.engine.locks import locked_run
from onboarding.intake import billing, late, orders, payments, service, subscriptions, unmatched
from onboarding.intake.handlers import subscription_reported
from onboarding.intake.handlers.base import actor_of, await_run, handles, hold, sender_of
from onboarding.models import OnboardingTransaction, PaymentTrace
from onboarding.payload.schema import digest, get, paths, with_value
from onboarding.playbooks.requirements import problems_of
from onboarding.working_set import TryAgain

PAYMENT = "payment.succeeded"


@handles(PaymentSucceeded)
def payment_succeeded(stored: InboundEvent, facts: PaymentSucceeded) -> None:
    connection, at = stored.connection, _paid_at(stored, facts)
    verdict = _verdict(stored, facts)
    subscription_reported.note(stored, facts.subscription)
    payments.link_parts(connection, payments.with_invoice(connection, facts), at)
    facts = payments.with_invoice(connection, facts)
    if verdict.kind is subscriptions.Kind.RENEWAL:
        _dismiss(stored, facts, verdict.reason)
        return
    parts = {*facts.payments, *payments.payments_of(connection, facts.invoice)}
    late.merge(connection, parts, facts.invoice, actor=actor_of(stored))
    keys = payments.keys_of(connection, facts)
    run_pk = payments.known_run(connection, facts, keys)
    if run_pk is not None:
        _end_hold(stored)
        _join(stored, run_pk, facts, keys)
    elif facts.is_bare and payments.starts_nothing(connection, facts.keys):
        _end_hold(stored)
        stored.ignore(outcome="The payment of an invoice that starts nothing, such as a renewal.", at=clock.now())
        return
    elif facts.is_bare and _held(stored, facts):
        return
    else:
        _end_hold(stored)
        _match_or_open(stored, facts, keys, verdict.reason)
    if stored.state == EventState.PROCESSED:
        subscriptions.note_settled(connection, facts, at)


def _verdict(stored: InboundEvent, facts: PaymentSucceeded) -> subscriptions.Verdict:
    """A bill that was dismissed stays so. A run that another system opened under our id, and that no payment was seen of, is
    what is paid here.
    """
    invoices = [key for key in facts.keys if key.role is Role.INVOICE]
    if facts.told_by is Role.INVOICE and payments.starts_nothing(stored.connection, invoices):
        return subscriptions.Verdict(subscriptions.Kind.RENEWAL, "A renewal, as another event of the invoice has told.")
    verdict = subscriptions.verdict_on(stored.connection, facts, _paid_at(stored, facts))
    if verdict.kind is not subscriptions.Kind.FIRST and payments.awaits_payment(billing.our_id(facts)):
        return subscriptions.FIRST
    return verdict


def _dismiss(stored: InboundEvent, facts: PaymentSucceeded, reason: str) -> None:
    """A renewal starts nothing, nor do its payments; what those have opened before it was known is looked at."""
    connection, at = stored.connection, _paid_at(stored, facts)
    if payments.dismiss(connection, facts, at, stored):
        likely = payments.guessed_parts(connection, facts.invoice)
        named = tuple(key for key in facts.keys if key.value not in likely)
        if alone := payments.soft_match(connection, facts, at):
            likely[alone.ids.get(kind_of(connection.provider, Role.PAYMENT), "")] = alone
        late.dismiss(connection, replace(facts, keys=named), likely, actor=actor_of(stored))
    subscriptions.note_settled(connection, facts, at)
    stored.ignore(outcome=reason, at=clock.now())


def _match_or_open(stored: InboundEvent, facts: PaymentSucceeded, keys: payments.Keys, open_question: str) -> None:
    connection = stored.connection
    trace = payments.soft_match(connection, facts, _paid_at(stored, facts))
    if trace is None and not orders.starts_runs(connection, PaymentSucceeded):
        find = partial(payments.known_run, connection, facts, keys)
        await_run(stored, keys, kind=PAYMENT, noun="The order was paid", find=find)
    elif trace is None:
        _open(stored, facts, keys, open_question or _doubt(stored, facts))
    elif trace.transaction_id is None:
        payments.learn(trace, facts)
        trace.paired = True
        trace.save()
        stored.ignore(outcome="By customer and amount the payment of a renewal.", at=clock.now())
    else:
        payments.learn(trace, facts)
        trace.paired = True
        trace.save()
        _join(stored, trace.transaction_id, facts, keys)


def _held(stored: InboundEvent, facts: PaymentSucceeded) -> bool:
    """Let a bare payment wait for its checkout or invoice; False once it has waited long enough."""
    now = clock.now()
    trace = PaymentTrace.objects.filter(held_event=stored).first()
    if trace is None:
        if settings.HOLD_SECONDS <= 0:
            return False
        trace = payments.new_trace(stored.connection, facts, _paid_at(stored, facts))
        trace.held_event, trace.held_until = stored, now + timedelta(seconds=settings.HOLD_SECONDS)
        trace.save()
    until = trace.held_until or now
    if until <= now:
        return False
    hold(stored, until, "A payment intent alone: waiting for its checkout session or invoice.")
    return True


def _end_hold(stored: InboundEvent) -> None:
    PaymentTrace.objects.filter(held_event=stored).delete()


def _doubt(stored: InboundEvent, facts: PaymentSucceeded) -> str:
    """Why it is not plain that this payment opens an onboarding; empty where nothing speaks against it."""
    if facts.is_bare and payments.is_known_customer(stored.connection, facts):
        return f"{late.UNNAMED} {facts.payment}."
    smaller = payments.smaller_payment(stored.connection, facts, _paid_at(stored, facts))
    if smaller is None:
        return ""
    payment, trace = smaller
    return (
        f"The customer paid {payment} shortly before, which {trace.transaction} onboards: it may be a part of "
        "this invoice."
    )


def _open(stored: InboundEvent, facts: PaymentSucceeded, keys: payments.Keys, open_question: str) -> None:
    paid = billing.payload(facts)
    at = _paid_at(stored, facts)
    content = with_value(paid.content, "onboarding_transaction_id", payments.new_run_id(facts))
    receipt = service.accept(
        content,
        actor=actor_of(stored),
        sender=sender_of(stored),
        occurred_at=at,
        keys=payments.free_keys(keys),
        gather_for=timedelta(seconds=settings.HOLD_SECONDS),
        question=f"{open_question} {late.ASK}" if open_question else "",
        also_known_by=payments.unnamed_payment(stored.connection, facts),
    )
    if receipt.verdict is not service.Verdict.CREATED:
        raise TryAgain  # another source has just made this run: look again, and join it
    trace = payments.trace_of(receipt.run, stored.connection, facts, at)
    _note_name(trace, paid, content)
    _note(stored, trace, facts, _told(paid, keys))
    how = "" if facts.settlement is Settlement.PAID else f" ({facts.settlement})"
    asked = f"; on hold: {open_question}" if open_question else ""
    stored.process(
        outcome=f"{receipt.verdict.value}: {receipt.run.onboarding_transaction_id}{how}{asked}", at=clock.now()
    )


def _join(stored: InboundEvent, run_pk: int, facts: PaymentSucceeded, keys: payments.Keys) -> None:
    with locked_run(run_pk) as run:
        paid = billing.payload(facts)
        told = _told(paid, keys)
        trace = payments.trace_of(run, stored.connection, facts, _paid_at(stored, facts))
        outcome = "nothing new"
        # Compared with what this object last said, never with the snapshot: a repetition must not question a person's fix.
        if trace.object_digests.get(facts.object_id) != told:
            content = _without_contradictions(run, paid)
            _note_name(trace, paid, content)
            # First, as with the contact's name nothing else may be missing: the run would start.
            contact = str(get(content, "customer.primary_contact.name"))
            service.drop_payers_name(run_pk, contact, sender=sender_of(stored), actor=actor_of(stored))
            receipt = service.join(run_pk, content, sender=sender_of(stored), actor=actor_of(stored), keys=keys)
            outcome = receipt.verdict.value
        else:
            service.remember(run, keys)
        late.clear_question(run, facts, actor=actor_of(stored))
        unmatched.note_joined(stored, run)
    _note(stored, trace, facts, told)
    stored.process(outcome=f"joined {run.onboarding_transaction_id}: {outcome}", at=clock.now())


def _without_contradictions(run: OnboardingTransaction, paid: billing.BillingPayload) -> dict[str, Any]:
    """The content without inferred values for fields that plausibly hold another: a guess is no question for people."""
    current = run.payload
    known, fixed = paths(current), {problem.path for problem in problems_of(run)}
    content = with_value(paid.content, "onboarding_transaction_id", run.onboarding_transaction_id)
    for path in paid.inferred:
        if path in known and path not in fixed:
            content = with_value(content, path, None)
    if "customer.legal_name" in paid.inferred and is_same_name(
        get(content, "customer.legal_name"), get(current, "customer.primary_contact.name")
    ):
        content = with_value(content, "customer.legal_name", None)
    return content


def _note_name(trace: PaymentTrace, paid: billing.BillingPayload, content: dict[str, Any]) -> None:
    """Note whether the company's name is only that of the billing system's customer."""
    name = str(get(content, "customer.legal_name"))
    if name and "customer.legal_name" in paid.inferred:
        trace.customer_name = name[: orders.MAX_VALUE]
        trace.save()
    elif name:  # somebody states it
        trace.customer_name = ""
        PaymentTrace.objects.filter(transaction=trace.transaction).update(customer_name="")


def _note(stored: InboundEvent, trace: PaymentTrace, facts: PaymentSucceeded, told: str) -> None:
    trace.object_digests = {**trace.object_digests, facts.object_id: told}
    trace.save()
    payments.release_held(stored.connection, facts)


def _told(paid: billing.BillingPayload, keys: payments.Keys) -> str:
    # When it was paid, our id, and which payments pay which invoice differ between an object's events without telling
    # anything new.
    content = {
        key: value for key, value in paid.content.items() if key not in ("occurred_at", "onboarding_transaction_id")
    }
    named = [key for key in keys if key.role not in (Role.INVOICE, Role.PAYMENT)]
    return digest({"content": content, "keys": sorted(named)})


def _paid_at(stored: InboundEvent, facts: PaymentSucceeded) -> datetime:
    return facts.occurred_at or stored.occurred_at or stored.received_at
