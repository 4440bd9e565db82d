"""Which events are of one payment: by a common id where there is one, else by customer, amount and currency.

An id that names one payment always joins. A deal or an order may be paid in parts: it joins only where nothing shows
that the run is another payment's. Customer and amount join only payments that came alone with a checkout or an
invoice that named no payment, within ``SOFT_WINDOW``: one of the same amount, or several whose amounts add up to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations

from django.db.models import Q, QuerySet

from integrations import clock
from integrations.inbound.events import (
    OUR_ID,
    Key,
    OrderEvent,
    PaymentSucceeded,
    Role,
    customer_amount_keys,
    kind_of,
)
from integrations.models import Connection, InboundEvent
from onboarding.engine.dispatch import enqueue_event
from onboarding.intake import orders
from onboarding.intake.billing import our_id, run_ids
from onboarding.intake.locks import lock_names
from onboarding.intake.orders import MAX_VALUE, STRENGTH, WEAK
from onboarding.models import (
    BillingSubscription,
    CorrelationKey,
    InvoicePaymentLink,
    OnboardingTransaction,
    PaymentTrace,
    PaymentTraceKey,
)
from onboarding.models.correlation import PaymentTraces

SOFT_WINDOW = timedelta(days=3)
MOST_PARTS = 8
"""Payments of one customer that are tried for a sum: 2**8 subsets at most."""

Keys = list[Key]


def lock_customer(connection: Connection, customer: str) -> None:
    """Let one transaction at a time correlate this customer's payments, until it ends: soft matches have no constraint."""
    lock_names([f"payment:{connection.pk}:{customer}"] if customer else [])


def keys_of(connection: Connection, facts: PaymentSucceeded | OrderEvent) -> Keys:
    """The correlation keys to store."""
    named = [key for key in facts.keys if key.kind != OUR_ID or our_id(facts)]
    return [key for key in (orders.stored(connection, each) for each in named) if len(key.value) <= MAX_VALUE]


def run_with(keys: Iterable[Key]) -> int | None:
    """The run (primary key) that one of these keys names: by id, or where there is none by customer and amount."""
    keys = list(keys)
    if called := orders.runs_called([key.value for key in keys if key.kind == OUR_ID]):
        return called
    held = {(row.kind, row.value): row.transaction_id for row in orders.rows_of(keys)}
    if by_id := next((held[key] for key in keys if key in held), None):
        return by_id
    for key in (key for key in keys if key.role is Role.CUSTOMER_AMOUNT):
        customer, amount, currency = key.value.rsplit(":", 2)
        traces = PaymentTrace.objects.filter(customer=customer, amount_minor=int(amount), currency=currency)
        unnamed = traces.without(kind_of(key.vendor, Role.PAYMENT)).filter(transaction__isnull=False)
        if run_pk := unnamed.order_by("-occurred_at").values_list("transaction_id", flat=True).first():
            return run_pk
    return None


def awaits_payment(onboarding_transaction_id: str) -> bool:
    """Whether there is a run with this id of which no payment was seen."""
    run_pk = orders.runs_called([onboarding_transaction_id])
    return run_pk is not None and not PaymentTrace.objects.filter(transaction=run_pk).exists()


def unnamed_payment(connection: Connection, facts: PaymentSucceeded) -> Keys:
    """By what a refund knows this payment where neither names it."""
    if facts.payments or not facts.is_cash:
        return []
    return list(customer_amount_keys(connection.provider, facts.customer, facts.amount_minor, facts.currency))


def known_run(connection: Connection, facts: PaymentSucceeded, keys: Keys) -> int | None:
    """The run (primary key) to which this payment's ids belong."""
    if own := orders.runs_called([our_id(facts)]):
        return own
    held = orders.holders(connection, keys)
    names = run_ids(facts)
    for key in sorted(keys, key=lambda key: STRENGTH.index(key.role)):
        run_pk = held.get(key)
        if run_pk is None or (key.kind in WEAK and _is_another(run_pk, facts)):
            continue
        if key.role is Role.PAYMENT and _wrongly_paired(run_pk, key.kind, facts):
            names.remove(facts.payment)
            continue
        return run_pk
    return orders.runs_called(names)


def new_run_id(facts: PaymentSucceeded) -> str:
    """Our id where the metadata carries one, else the strongest id of this event that names no run yet."""
    names = run_ids(facts)
    if own := our_id(facts):
        return own
    return next((name for name in names if not orders.runs_called([name])), names[0])


def free_keys(keys: Keys) -> Keys:
    """Without deals and orders that another run already stands for."""
    held = {(row.kind, row.value) for row in orders.rows_of([key for key in keys if key.kind in WEAK])}
    return [key for key in keys if key not in held]


def soft_match(connection: Connection, facts: PaymentSucceeded, at: datetime) -> PaymentTrace | None:
    """The nearest payment of the same customer, amount and currency that can be this one though no id says so."""
    if not facts.customer or not facts.is_cash or (facts.payment and not facts.is_bare):
        return None
    candidates = _near(connection, facts, at).filter(amount_minor=facts.amount_minor, held_event=None).with_ids()
    if facts.is_bare:
        candidates = candidates.without(_kind(connection, Role.PAYMENT))
    else:
        candidates = candidates.without(*_papers(connection)).filter(transaction__isnull=False)
    fitting = [trace for trace in candidates if _fits(trace, facts)]
    return min(fitting, key=lambda trace: (abs(trace.occurred_at - at), trace.pk), default=None)


def starts_nothing(connection: Connection, keys: Iterable[Key]) -> bool:
    """Whether an id of the payment or its invoice says that it is one that never starts a run."""
    own = [key for key in keys if key.role in (Role.INVOICE, Role.PAYMENT)]
    return PaymentTrace.objects.named(own).filter(connection=connection, starts_nothing=True).exists()


def dismiss(connection: Connection, facts: PaymentSucceeded, at: datetime, event: InboundEvent) -> bool:
    """Remember what starts nothing, so that the payments of its invoice start nothing either; False where that is known."""
    invoice = Key(_kind(connection, Role.INVOICE), facts.invoice)
    known = PaymentTrace.objects.named([invoice]).filter(connection=connection, starts_nothing=True).first()
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


# --- Several payments of one invoice ----------------------------------------------------------------------------------


def link(connection: Connection, payment: str, invoice: str, *, guessed: bool = False) -> None:
    """Remember which invoice a payment pays. An id corrects a guess; a guess corrects nothing."""
    row, new = InvoicePaymentLink.objects.get_or_create(
        connection=connection, payment=payment, defaults={"invoice": invoice, "guessed": guessed}
    )
    if not new and row.guessed and not guessed:
        row.invoice, row.guessed = invoice, False
        row.save()


def with_invoice(connection: Connection, facts: PaymentSucceeded) -> PaymentSucceeded:
    """A bare payment with the invoice that it is known to pay; an invoice with the payments that are known to pay it."""
    if facts.is_bare and facts.invoice:
        link(connection, facts.payment, facts.invoice)
        return facts
    if facts.is_bare:
        found = invoice_of(connection, facts.payment)
        return replace(facts, keys=(*facts.keys, *found))
    if facts.told_by is not Role.INVOICE:
        return facts
    for payment in facts.payments:
        link(connection, payment, facts.invoice)
    further = [each for each in payments_of(connection, facts.invoice) if each not in facts.payments]
    kind = _kind(connection, Role.PAYMENT)
    return replace(facts, keys=(*facts.keys, *(Key(kind, payment) for payment in further)))


def invoice_of(connection: Connection, payment: str) -> Keys:
    """One key, or none."""
    row = InvoicePaymentLink.objects.filter(connection=connection, payment=payment).first()
    return [Key(_kind(connection, Role.INVOICE), row.invoice)] if row else []


def payments_of(connection: Connection, invoice: str) -> list[str]:
    if not invoice:
        return []
    links = InvoicePaymentLink.objects.filter(connection=connection, invoice=invoice)
    return list(links.order_by("pk").values_list("payment", flat=True))


def guessed_parts(connection: Connection, invoice: str) -> dict[str, PaymentTrace]:
    """The runs' payments that only their amounts tie to this invoice, by their ids."""
    links = InvoicePaymentLink.objects.filter(connection=connection, invoice=invoice, guessed=True)
    opened = PaymentTrace.objects.filter(connection=connection, transaction__isnull=False)
    named = _named(connection, Role.PAYMENT, opened).filter(value__in=list(links.values_list("payment", flat=True)))
    return {key.value: key.trace for key in named.select_related("trace")}


def link_parts(connection: Connection, facts: PaymentSucceeded, at: datetime) -> bool:
    """Guess which of a customer's bare payments pay one invoice together, where nothing names them; True where some do."""
    if not facts.customer or not facts.is_cash or facts.checkout:
        return False
    if not facts.is_bare:
        if not facts.invoice or facts.payments:
            return False
        return _link_parts(connection, facts.invoice, facts.amount_minor, _bare(connection, facts, at), [])
    larger = _near(connection, facts, at).filter(amount_minor__gt=facts.amount_minor)
    invoices = _named(connection, Role.INVOICE, larger.without(_kind(connection, Role.PAYMENT)))
    mine = (facts.payment, facts.amount_minor)
    others = [part for part in _bare(connection, facts, at) if part[0] != facts.payment]
    return any(
        _link_parts(connection, invoice, amount, others, [mine])
        for invoice, amount in invoices.values_list("value", "trace__amount_minor")
    )


Part = tuple[str, int]
"""A payment and its amount."""


def _bare(connection: Connection, facts: PaymentSucceeded, at: datetime) -> list[Part]:
    """The customer's payments that no checkout, invoice or link names, the nearest first."""
    traces = _near(connection, facts, at).filter(starts_nothing=False).without(*_papers(connection))
    linked = InvoicePaymentLink.objects.filter(connection=connection).values("payment")
    named = _named(connection, Role.PAYMENT, traces).exclude(value__in=linked).select_related("trace")
    nearest = sorted(named, key=lambda key: (abs(key.trace.occurred_at - at), key.trace.pk))
    return [(key.value, key.trace.amount_minor) for key in nearest[:MOST_PARTS]]


def _link_parts(
    connection: Connection, invoice: str, amount: int, others: Sequence[Part], always: Sequence[Part]
) -> bool:
    """Link the smallest set of two or more payments whose amounts add up to the invoice's."""
    for size in range(max(1, 2 - len(always)), len(others) + 1):
        for chosen in combinations(others, size):
            parts = [*always, *chosen]
            if sum(part[1] for part in parts) == amount:
                for payment, _ in parts:
                    link(connection, payment, invoice, guessed=True)
                return True
    return False


def is_known_customer(connection: Connection, facts: PaymentSucceeded) -> bool:
    """Whether this customer has paid here before, by what is known of others of their payments."""
    if not facts.customer:
        return False
    others = PaymentTrace.objects.filter(connection=connection, customer=facts.customer, held_event=None)
    paid = others.filter(Q(transaction__isnull=False) | Q(starts_nothing=True))
    settled = BillingSubscription.objects.filter(connection=connection, customer=facts.customer).exclude(settled_by="")
    return paid.exists() or settled.exists()


def smaller_payment(connection: Connection, facts: PaymentSucceeded, at: datetime) -> tuple[str, PaymentTrace] | None:
    """A run's bare payment that may be a part of this invoice, of which others are still to come."""
    if facts.is_bare or facts.payments or not facts.invoice or not facts.is_cash:
        return None
    parts = [payment for payment, amount in _bare(connection, facts, at) if amount < facts.amount_minor]
    opened = PaymentTrace.objects.filter(connection=connection, transaction__isnull=False)
    named = _named(connection, Role.PAYMENT, opened).filter(value__in=parts).select_related("trace__transaction")
    latest = named.order_by("-trace__occurred_at").first()
    return (latest.value, latest.trace) if latest else None


# --- Traces -----------------------------------------------------------------------------------------------------------


def trace_of(run: OnboardingTransaction, connection: Connection, facts: PaymentSucceeded, at: datetime) -> PaymentTrace:
    """What is known of this payment, with what ``facts`` add; the caller saves it."""
    traces = PaymentTrace.objects.filter(transaction=run, connection=connection).order_by("pk").with_ids()
    trace = next((trace for trace in traces if _fits(trace, facts)), None) or new_trace(connection, facts, at)
    trace.transaction = run
    learn(trace, facts)
    return trace


def new_trace(connection: Connection, facts: PaymentSucceeded, at: datetime) -> PaymentTrace:
    trace = PaymentTrace(
        connection=connection,
        amount_minor=facts.amount_minor if facts.is_cash else 0,  # no payment is looked for by its amount
        currency=facts.currency,
        occurred_at=at,
    )
    learn(trace, facts)
    return trace


def learn(trace: PaymentTrace, facts: PaymentSucceeded) -> None:
    trace.customer = trace.customer or facts.customer
    trace.add_ids(facts.ids)


def release_held(connection: Connection, facts: PaymentSucceeded) -> None:
    """Payments that waited for these ids are due now."""
    further = payments_of(connection, facts.invoice)
    release(connection, {*facts.keys, *(Key(_kind(connection, Role.PAYMENT), payment) for payment in further)})


def release(connection: Connection, keys: Iterable[Key]) -> None:
    """As ``release_held``, for these ids."""
    own = [key for key in keys if key.role in (Role.INVOICE, Role.PAYMENT)]
    waiting = PaymentTrace.objects.named(own).filter(connection=connection, held_event__isnull=False)
    # A locked event is being processed at this moment: waiting for it here could deadlock with its own locks.
    events = InboundEvent.objects.select_for_update(skip_locked=True).filter(
        pk__in=list(waiting.values_list("held_event_id", flat=True)), due_at__isnull=False
    )
    for event in events:
        event.due_at, event.enqueued_until = clock.now(), None
        event.save(update_fields=["due_at", "enqueued_until"])
        enqueue_event(event.pk)


def _kind(connection: Connection, role: Role) -> str:
    return kind_of(connection.provider, role)


def _papers(connection: Connection) -> tuple[str, str]:
    """Kinds of what tells what was bought."""
    return _kind(connection, Role.CHECKOUT), _kind(connection, Role.INVOICE)


def _near(connection: Connection, facts: PaymentSucceeded, at: datetime) -> PaymentTraces:
    """The customer's payments in the same currency at about that time."""
    about = PaymentTrace.objects.filter(connection=connection, customer=facts.customer, currency=facts.currency)
    return about.filter(occurred_at__range=(at - SOFT_WINDOW, at + SOFT_WINDOW))


def _named(connection: Connection, role: Role, traces: PaymentTraces) -> QuerySet[PaymentTraceKey]:
    """What these payments are called in that role, where they are."""
    return PaymentTraceKey.objects.filter(kind=_kind(connection, role), trace__in=traces)


def _fits(trace: PaymentTrace, facts: PaymentSucceeded) -> bool:
    """No id of one kind differs."""
    return all(trace.ids.get(kind, value) == value for kind, value in facts.ids.items())


def _is_another(run_pk: int, facts: PaymentSucceeded) -> bool:
    """Whether ids show that the run is of other payments only."""
    traces = list(PaymentTrace.objects.filter(transaction=run_pk).with_ids())
    return bool(traces) and not any(_fits(trace, facts) for trace in traces)


def _wrongly_paired(run_pk: int, kind: str, facts: PaymentSucceeded) -> bool:
    """Whether this payment had only been guessed to be that run's, and its own checkout or invoice now says otherwise.

    The guess is then undone: the payment's key becomes free for the run of its own order.
    """
    guessed = PaymentTrace.objects.filter(transaction=run_pk, paired=True)
    trace = guessed.named([Key(kind, facts.payment)]).with_ids().first()
    if trace is None or _fits(trace, facts):
        return False
    trace.remove_id(kind)
    trace.paired = False
    trace.save()
    CorrelationKey.objects.filter(transaction=run_pk, kind=kind, value=facts.payment).delete()
    return True
