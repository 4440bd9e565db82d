"""Which events are of one payment: by a common id where there is one, else by customer, amount and currency.

An id that names one payment always joins. A deal or an order may be paid in parts: it joins only where nothing shows
that the run is another payment's. Customer and amount join only a payment intent that came alone with a session or an
invoice that named no intent, within ``SOFT_WINDOW``.
"""

import hashlib
from datetime import datetime, timedelta

from django.db import connection as database
from django.db.models import Q

from integrations import clock
from integrations.models import Connection, InboundEvent
from integrations.providers.stripe import (
    DEAL,
    INVOICE,
    ORDER,
    OUR_ID,
    PAYMENT_INTENT,
    SESSION,
    SUBSCRIPTION,
    PaymentFacts,
)
from onboarding.engine.dispatch import hint_event
from onboarding.ids import comparable
from onboarding.intake.billing import our_id, run_ids
from onboarding.models import CorrelationKey, OnboardingTransaction, PaymentTrace

STRENGTH = (OUR_ID, SESSION, INVOICE, PAYMENT_INTENT, SUBSCRIPTION, DEAL, ORDER)
WEAK = frozenset({DEAL, ORDER})
SOFT_WINDOW = timedelta(days=3)
IDS = ("checkout_session", "invoice", "payment_intent")
MAX_VALUE = 255

Keys = list[tuple[str, str]]


def lock_customer(connection: Connection, customer: str) -> None:
    """Let one transaction at a time correlate this customer's payments, until it ends.

    Soft matches have no constraint to rely on. SQLite's IMMEDIATE transactions are one at a time anyway.
    """
    if not customer or database.vendor != "postgresql":
        return
    number = int.from_bytes(hashlib.sha256(f"payment:{connection.pk}:{customer}".encode()).digest()[:8], signed=True)
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


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


def run_of_intent(payment_intent: str) -> int | None:
    """The run (primary key) of the payment with this intent."""
    if not payment_intent:
        return None
    row = CorrelationKey.objects.filter(kind=PAYMENT_INTENT, value=payment_intent).first()
    return row.transaction_id if row else None


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
    if not facts.customer or (facts.payment_intent and not facts.is_bare):
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


def starts_nothing(connection: Connection, facts: PaymentFacts) -> bool:
    """Whether an id says that this payment is one that never starts a run."""
    named = Q(payment_intent=facts.payment_intent) if facts.payment_intent else Q()
    named |= Q(invoice=facts.invoice) if facts.invoice else Q()
    return PaymentTrace.objects.filter(named, connection=connection, starts_nothing=True).exists()


def dismiss(connection: Connection, facts: PaymentFacts, at: datetime) -> None:
    """Remember a payment that starts nothing, so that its payment intent starts nothing either."""
    trace = PaymentTrace.objects.filter(connection=connection, starts_nothing=True, invoice=facts.invoice).first()
    trace = trace or new_trace(connection, facts, at)
    trace.starts_nothing = True
    learn(trace, facts)
    trace.save()
    release_held(connection, facts)


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
        amount_minor=facts.amount_minor,
        currency=facts.currency,
        occurred_at=at,
        checkout_session=facts.checkout_session,
        invoice=facts.invoice,
        payment_intent=facts.payment_intent,
    )


def learn(trace: PaymentTrace, facts: PaymentFacts) -> None:
    for name in IDS:
        setattr(trace, name, getattr(trace, name) or getattr(facts, name))
    trace.customer = trace.customer or facts.customer


def release_held(connection: Connection, facts: PaymentFacts) -> None:
    """Payment intents that waited for these ids are due now."""
    intents = [value for kind, value in facts.keys if kind == PAYMENT_INTENT]
    named = Q(payment_intent__in=intents) | (Q(invoice=facts.invoice) if facts.invoice else Q())
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
