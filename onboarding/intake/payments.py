"""Which events are of one payment: by a common id where there is one, else by customer, amount and currency.

An id that names one payment always joins. A deal or an order may be paid in parts: it joins only where nothing shows
that the run is another payment's. Customer and amount join only payment intents that came alone with a session or an
invoice that named no intent, within ``SOFT_WINDOW``: one of the same amount, or several whose amounts add up to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations

from django.db.models import Q

from integrations import clock
from integrations.models import Connection, InboundEvent
from integrations.providers.stripe import (
    CUSTOMER_AMOUNT,
    DEAL,
    INVOICE,
    ORDER,
    OUR_ID,
    PAYMENT_INTENT,
    SESSION,
    SUBSCRIPTION,
    PaymentFacts,
    customer_amount_key,
)
from onboarding.engine.dispatch import hint_event
from onboarding.ids import comparable
from onboarding.intake.billing import our_id, run_ids
from onboarding.intake.locks import lock_names
from onboarding.models import (
    BillingSubscription,
    CorrelationKey,
    InvoicePaymentLink,
    OnboardingTransaction,
    PaymentTrace,
)

STRENGTH = (OUR_ID, SESSION, INVOICE, PAYMENT_INTENT, SUBSCRIPTION, DEAL, ORDER)
WEAK = frozenset({DEAL, ORDER})
SOFT_WINDOW = timedelta(days=3)
IDS = ("checkout_session", "invoice", "payment_intent")
MAX_VALUE = 255
MOST_PARTS = 8
"""Intents of one customer that are tried for a sum: 2**8 subsets at most."""

Keys = list[tuple[str, str]]


def lock_customer(connection: Connection, customer: str) -> None:
    """Let one transaction at a time correlate this customer's payments, until it ends: soft matches have no constraint."""
    lock_names([f"payment:{connection.pk}:{customer}"] if customer else [])


def keys_of(connection: Connection, facts: PaymentFacts) -> Keys:
    """The correlation keys to store: an order's number is unique only at the system that gave it."""
    found = []
    for kind, value in facts.keys:
        if kind == OUR_ID and not our_id(facts):
            continue
        # People type the numbers of orders and deals; Stripe gives its own ids, whose case tells them apart.
        value = comparable(value) if kind in WEAK else value  # noqa: PLW2901
        stored = f"{connection.slug}:{value}" if kind == ORDER else value
        if len(stored) <= MAX_VALUE:
            found.append((kind, stored))
    return found


def run_with(pairs: Iterable[tuple[str, str]]) -> int | None:
    """The run (primary key) that one of these keys names: by id, or where there is none by customer and amount."""
    pairs = list(pairs)
    if called := _runs_called([value for kind, value in pairs if kind == OUR_ID]):
        return called
    held = {(row.kind, row.value): row.transaction_id for row in _holders(pairs)}
    if by_id := next((held[pair] for pair in pairs if pair in held), None):
        return by_id
    for value in (value for kind, value in pairs if kind == CUSTOMER_AMOUNT):
        customer, amount, currency = value.rsplit(":", 2)
        traces = PaymentTrace.objects.filter(customer=customer, amount_minor=int(amount), currency=currency)
        unnamed = traces.filter(payment_intent="", transaction__isnull=False).order_by("-occurred_at")
        if run_pk := unnamed.values_list("transaction_id", flat=True).first():
            return run_pk
    return None


def awaits_payment(onboarding_transaction_id: str) -> bool:
    """Whether there is a run with this id of which no payment was seen."""
    run_pk = _runs_called([onboarding_transaction_id])
    return run_pk is not None and not PaymentTrace.objects.filter(transaction=run_pk).exists()


def unnamed_intent(facts: PaymentFacts) -> Keys:
    """By what a refund knows this payment where neither names the intent."""
    if facts.intents or not facts.is_cash:
        return []
    return list(customer_amount_key(facts.customer, facts.amount_minor, facts.currency))


def known_run(facts: PaymentFacts, keys: Keys) -> int | None:
    """The run (primary key) to which this payment's ids belong."""
    if own := _runs_called([our_id(facts)]):
        return own
    held = {(row.kind, row.value): row.transaction_id for row in _holders(keys)}
    names = run_ids(facts)
    for key in sorted(keys, key=lambda key: STRENGTH.index(key[0])):
        run_pk = held.get(key)
        if run_pk is None or (key[0] in WEAK and _is_another(run_pk, facts)):
            continue
        if key[0] == PAYMENT_INTENT and _wrongly_paired(run_pk, facts):
            names.remove(facts.payment_intent)
            continue
        return run_pk
    return _runs_called(names)


def new_run_id(facts: PaymentFacts) -> str:
    """Our id where the metadata carries one, else the strongest Stripe id of this event that names no run yet."""
    names = run_ids(facts)
    if own := our_id(facts):
        return own
    return next((name for name in names if not _runs_called([name])), names[0])


def free_keys(keys: Keys) -> Keys:
    """Without deals and orders that another run already stands for."""
    held = {(row.kind, row.value) for row in _holders([key for key in keys if key[0] in WEAK])}
    return [key for key in keys if key not in held]


def soft_match(connection: Connection, facts: PaymentFacts, at: datetime) -> PaymentTrace | None:
    """The nearest payment of the same customer, amount and currency that can be this one though no id says so."""
    if not facts.customer or not facts.is_cash or (facts.payment_intent and not facts.is_bare):
        return None
    candidates = PaymentTrace.objects.filter(
        connection=connection,
        customer=facts.customer,
        amount_minor=facts.amount_minor,
        currency=facts.currency,
        held_event=None,
        occurred_at__range=(at - SOFT_WINDOW, at + SOFT_WINDOW),
    )
    if facts.is_bare:
        candidates = candidates.filter(payment_intent="")
    else:
        candidates = candidates.filter(checkout_session="", invoice="", transaction__isnull=False)
    fitting = [trace for trace in candidates if _fits(trace, facts)]
    return min(fitting, key=lambda trace: (abs(trace.occurred_at - at), trace.pk), default=None)


def starts_nothing(connection: Connection, intent: str, invoice: str) -> bool:
    """Whether an id says that this payment is one that never starts a run."""
    named = Q(payment_intent=intent) if intent else Q()
    named |= Q(invoice=invoice) if invoice else Q()
    return bool(named) and PaymentTrace.objects.filter(named, connection=connection, starts_nothing=True).exists()


def dismiss(connection: Connection, facts: PaymentFacts, at: datetime, event: InboundEvent) -> bool:
    """Remember a payment that starts nothing, so that its payment intents start nothing either; False where that is known."""
    known = PaymentTrace.objects.filter(connection=connection, starts_nothing=True, invoice=facts.invoice).first()
    trace = known or new_trace(connection, facts, at)
    trace.starts_nothing = True
    trace.dismissed_event = trace.dismissed_event or event
    trace.subscription = facts.subscription.id if facts.subscription else ""
    learn(trace, facts)
    trace.save()
    release_held(connection, facts)
    return known is None


def reconsider(connection: Connection, subscription: str) -> InboundEvent | None:
    """The earliest bill of a subscription that was dismissed as a renewal, to be processed again; None where there is none."""
    traces = PaymentTrace.objects.filter(
        connection=connection, subscription=subscription, starts_nothing=True, dismissed_event__isnull=False
    )
    trace = traces.order_by("occurred_at", "pk").first()
    if trace is None or trace.dismissed_event_id is None:
        return None
    event = InboundEvent.objects.select_for_update(no_key=True).get(pk=trace.dismissed_event_id)
    trace.delete()
    return event


# --- Several intents of one invoice -----------------------------------------------------------------------------------


def link(connection: Connection, intent: str, invoice: str, *, guessed: bool = False) -> None:
    """Remember which invoice an intent pays. An id corrects a guess; a guess corrects nothing."""
    row, new = InvoicePaymentLink.objects.get_or_create(
        connection=connection, payment_intent=intent, defaults={"invoice": invoice, "guessed": guessed}
    )
    if not new and row.guessed and not guessed:
        row.invoice, row.guessed = invoice, False
        row.save()


def with_invoice(connection: Connection, facts: PaymentFacts) -> PaymentFacts:
    """A bare intent with the invoice that it is known to pay; an invoice with the intents that are known to pay it."""
    if facts.is_bare and facts.invoice:
        link(connection, facts.payment_intent, facts.invoice)
        return facts
    if facts.is_bare:
        invoice = invoice_of(connection, facts.payment_intent)
        return replace(facts, invoice=invoice, keys=(*facts.keys, (INVOICE, invoice))) if invoice else facts
    if facts.kind != "invoice":
        return facts
    for intent in facts.intents:
        link(connection, intent, facts.invoice)
    further = [intent for intent in intents_of(connection, facts.invoice) if intent not in facts.intents]
    if not further:
        return facts
    keys = (*facts.keys, *((PAYMENT_INTENT, intent) for intent in further))
    return replace(facts, keys=keys, payment_intent=facts.payment_intent or further[0])


def invoice_of(connection: Connection, intent: str) -> str:
    row = InvoicePaymentLink.objects.filter(connection=connection, payment_intent=intent).first()
    return row.invoice if row else ""


def intents_of(connection: Connection, invoice: str) -> list[str]:
    if not invoice:
        return []
    links = InvoicePaymentLink.objects.filter(connection=connection, invoice=invoice)
    return list(links.order_by("pk").values_list("payment_intent", flat=True))


def guessed_parts(connection: Connection, invoice: str) -> list[PaymentTrace]:
    """The runs' intents that only their amounts tie to this invoice."""
    links = InvoicePaymentLink.objects.filter(connection=connection, invoice=invoice, guessed=True)
    intents = list(links.values_list("payment_intent", flat=True))
    return list(
        PaymentTrace.objects.filter(connection=connection, payment_intent__in=intents, transaction__isnull=False)
    )


def link_parts(connection: Connection, facts: PaymentFacts, at: datetime) -> bool:
    """Guess which of a customer's bare intents pay one invoice together, where nothing names them; True where some do."""
    if not facts.customer or not facts.is_cash or facts.checkout_session:
        return False
    if not facts.is_bare:
        if not facts.invoice or facts.intents:
            return False
        return _link_parts(connection, facts.invoice, facts.amount_minor, _bare(connection, facts, at), [])
    invoices = PaymentTrace.objects.filter(
        connection=connection,
        customer=facts.customer,
        currency=facts.currency,
        payment_intent="",
        amount_minor__gt=facts.amount_minor,
        occurred_at__range=(at - SOFT_WINDOW, at + SOFT_WINDOW),
    ).exclude(invoice="")
    mine = (facts.payment_intent, facts.amount_minor)
    others = [part for part in _bare(connection, facts, at) if part[0] != facts.payment_intent]
    return any(
        _link_parts(connection, invoice, amount, others, [mine])
        for invoice, amount in invoices.values_list("invoice", "amount_minor")
    )


Part = tuple[str, int]
"""A payment intent and its amount."""


def _bare(connection: Connection, facts: PaymentFacts, at: datetime) -> list[Part]:
    """The customer's intents that no session, invoice or link names, the nearest first."""
    traces = PaymentTrace.objects.filter(
        connection=connection,
        customer=facts.customer,
        currency=facts.currency,
        checkout_session="",
        invoice="",
        starts_nothing=False,
        occurred_at__range=(at - SOFT_WINDOW, at + SOFT_WINDOW),
    ).exclude(payment_intent="")
    linked = InvoicePaymentLink.objects.filter(connection=connection).values("payment_intent")
    nearest = sorted(
        traces.exclude(payment_intent__in=linked), key=lambda trace: (abs(trace.occurred_at - at), trace.pk)
    )
    return [(trace.payment_intent, trace.amount_minor) for trace in nearest[:MOST_PARTS]]


def _link_parts(
    connection: Connection, invoice: str, amount: int, others: Sequence[Part], always: Sequence[Part]
) -> bool:
    """Link the smallest set of two or more intents whose amounts add up to the invoice's."""
    for size in range(max(1, 2 - len(always)), len(others) + 1):
        for chosen in combinations(others, size):
            parts = [*always, *chosen]
            if sum(part[1] for part in parts) == amount:
                for intent, _ in parts:
                    link(connection, intent, invoice, guessed=True)
                return True
    return False


def is_known_customer(connection: Connection, facts: PaymentFacts) -> bool:
    """Whether this customer has paid here before, by what is known of others of their payments."""
    if not facts.customer:
        return False
    others = PaymentTrace.objects.filter(connection=connection, customer=facts.customer, held_event=None)
    paid = others.filter(Q(transaction__isnull=False) | Q(starts_nothing=True))
    settled = BillingSubscription.objects.filter(connection=connection, customer=facts.customer).exclude(settled_by="")
    return paid.exists() or settled.exists()


def smaller_payment(connection: Connection, facts: PaymentFacts, at: datetime) -> PaymentTrace | None:
    """A run's bare intent that may be a part of this invoice, of which others are still to come."""
    if facts.is_bare or facts.intents or not facts.invoice or not facts.is_cash:
        return None
    parts = {intent for intent, amount in _bare(connection, facts, at) if amount < facts.amount_minor}
    traces = PaymentTrace.objects.filter(connection=connection, payment_intent__in=parts, transaction__isnull=False)
    return traces.select_related("transaction").order_by("-occurred_at").first()


# --- Traces -----------------------------------------------------------------------------------------------------------


def trace_of(run: OnboardingTransaction, connection: Connection, facts: PaymentFacts, at: datetime) -> PaymentTrace:
    """What is known of this payment, with what ``facts`` add; the caller saves it."""
    traces = PaymentTrace.objects.filter(transaction=run, connection=connection).order_by("pk")
    trace = next((trace for trace in traces if _fits(trace, facts)), None) or new_trace(connection, facts, at)
    trace.transaction = run
    learn(trace, facts)
    return trace


def new_trace(connection: Connection, facts: PaymentFacts, at: datetime) -> PaymentTrace:
    return PaymentTrace(
        connection=connection,
        customer=facts.customer,
        amount_minor=facts.amount_minor if facts.is_cash else 0,  # no intent is looked for by its amount
        currency=facts.currency,
        occurred_at=at,
        checkout_session=facts.checkout_session,
        invoice=facts.invoice,
        payment_intent=facts.payment_intent,
    )


def learn(trace: PaymentTrace, facts: PaymentFacts) -> None:
    for name in (*IDS, "customer"):
        setattr(trace, name, getattr(trace, name) or getattr(facts, name))


def release_held(connection: Connection, facts: PaymentFacts) -> None:
    """Payment intents that waited for these ids are due now."""
    intents = {*facts.intents, *intents_of(connection, facts.invoice)}
    release_intents(connection, intents, facts.invoice)


def release_intents(connection: Connection, intents: Iterable[str], invoice: str = "") -> None:
    """As ``release_held``, for these ids."""
    named = Q(payment_intent__in=list(intents)) | (Q(invoice=invoice) if invoice else Q())
    waiting = PaymentTrace.objects.filter(named, connection=connection, held_event__isnull=False)
    # A locked event is being processed at this moment: waiting for it here could deadlock with its own locks.
    events = InboundEvent.objects.select_for_update(skip_locked=True).filter(
        pk__in=list(waiting.values_list("held_event_id", flat=True)), due_at__isnull=False
    )
    for event in events:
        event.due_at, event.hinted_until = clock.now(), None
        event.save(update_fields=["due_at", "hinted_until"])
        hint_event(event.pk)


def _holders(keys: Keys) -> list[CorrelationKey]:
    wanted = set(keys)
    rows = CorrelationKey.objects.filter(value__in={value for _, value in keys})
    return [row for row in rows if (row.kind, row.value) in wanted]


def _runs_called(ids: list[str]) -> int | None:
    wanted = [run_id for run_id in ids if run_id]
    if not wanted:
        return None
    called = Q(onboarding_transaction_id__in=wanted) | Q(id_key__in=[comparable(run_id) for run_id in wanted])
    return OnboardingTransaction.objects.filter(called).order_by("pk").values_list("pk", flat=True).first()


def _fits(trace: PaymentTrace, facts: PaymentFacts) -> bool:
    """No id of one kind differs."""
    return all(getattr(trace, name) in ("", getattr(facts, name)) or not getattr(facts, name) for name in IDS)


def _is_another(run_pk: int, facts: PaymentFacts) -> bool:
    """Whether ids show that the run is of other payments only."""
    traces = list(PaymentTrace.objects.filter(transaction=run_pk))
    return bool(traces) and not any(_fits(trace, facts) for trace in traces)


def _wrongly_paired(run_pk: int, facts: PaymentFacts) -> bool:
    """Whether this intent had only been guessed to be that run's, and its own session or invoice now says otherwise.

    The guess is then undone: the intent's key becomes free for the run of its own payment.
    """
    trace = PaymentTrace.objects.filter(transaction=run_pk, payment_intent=facts.payment_intent, paired=True).first()
    if trace is None or _fits(trace, facts):
        return False
    trace.payment_intent, trace.paired = "", False
    trace.save()
    CorrelationKey.objects.filter(transaction=run_pk, kind=PAYMENT_INTENT, value=facts.payment_intent).delete()
    return True
