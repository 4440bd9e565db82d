"""What is learnt of a payment after its run was opened: it was a renewal, or it belongs to another run.

Nobody is provisioned twice: of two runs of one payment the one that got further stays.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack

from integrations.inbound.events import PAYMENT_ROLES, PaymentSucceeded, Role, kind_of
from integrations.models import Connection
from onboarding import audit
from onboarding.engine.locks import locked_run
from onboarding.engine.runs.cancellation import cancel, hold_and_ask, resume_if_answered
from onboarding.engine.runs.gate_evaluation import LOOKUP
from onboarding.enums import Status, Topic
from onboarding.models import CorrelationKey, OnboardingTransaction, PaymentTrace

DECIDE = "Roll the run back, cancel it, or keep it as it is?"
ASK = "Is it a new onboarding? Keep the run if it is; else cancel it or roll it back."
"""The question that a run is held with whose payment is unclear."""
UNNAMED = "The customer has paid before, and neither a checkout nor an invoice names the payment"
RENEWAL = "Its payment was that of a renewal, the invoice {invoice}."
OVER = (Status.CANCELLED, Status.ROLLING_BACK, Status.ROLLED_BACK)


def withdraw(run: OnboardingTransaction, *, reason: str, actor: str) -> None:
    """Cancel a run that should not have been opened, or ask a person where something was begun already.

    The caller holds it locked.
    """
    if run.status in OVER:
        return
    if is_untouched(run):
        cancel(run, actor=actor, reason=reason)
    else:
        hold_and_ask(run, actor=actor, hold_reason=reason, question=f"{reason} {DECIDE}", topic=Topic.PAYMENT)


def ask(run: OnboardingTransaction, *, question: str, actor: str) -> None:
    """As ``withdraw``, for what is only likely: a person decides."""
    hold_and_ask(run, actor=actor, hold_reason=question, question=f"{question} {DECIDE}", topic=Topic.PAYMENT)


def is_untouched(run: OnboardingTransaction) -> bool:
    """No worker has ever had one of its steps: nothing was written at a vendor. Under the run's lock that stays so."""
    return not run.steps.exclude(key=LOOKUP).filter(token__gt=0).exists()


def runs_of_payments(connection: Connection, payments: Collection[str], invoice: str) -> set[int]:
    """Runs (primary keys) that only these payments opened, before anybody told whose they are."""
    keys = CorrelationKey.objects.filter(kind=kind_of(connection.provider, Role.PAYMENT), value__in=payments)
    found = set(keys.values_list("transaction_id", flat=True)) | _runs_of_invoice(connection, invoice)
    traces = PaymentTrace.objects.filter(transaction__in=found, connection=connection).with_ids()
    with_traces = {trace.transaction_id for trace in traces}
    others = {trace.transaction_id for trace in traces if not _is_payment_of(connection, trace, payments, invoice)}
    return {pk for pk in found if pk in with_traces and pk not in others}


def _runs_of_invoice(connection: Connection, invoice: str) -> set[int]:
    if not invoice:
        return set()
    named = CorrelationKey.objects.filter(kind=kind_of(connection.provider, Role.INVOICE), value=invoice)
    return set(named.values_list("transaction_id", flat=True))


def _is_payment_of(connection: Connection, trace: PaymentTrace, payments: Collection[str], invoice: str) -> bool:
    """Nothing but one of these payments has told of it."""
    ids = (trace.ids.get(kind_of(connection.provider, role), "") for role in PAYMENT_ROLES)
    checkout, named, payment = ids
    return (
        payment in payments and not checkout and named in ("", invoice) and set(trace.object_digests) <= set(payments)
    )


def merge(connection: Connection, payments: Collection[str], invoice: str, *, actor: str) -> None:
    """Leave one run of what has proved to be one invoice's: the one that got furthest. The others are withdrawn.

    Two runs are locked at once, always in one order; whoever else locks a run locks one.
    """
    own = _runs_of_invoice(connection, invoice)
    found = runs_of_payments(connection, payments, invoice) | own
    if len(found) < 2:  # noqa: PLR2004
        return
    with ExitStack() as locks:
        runs = [locks.enter_context(locked_run(pk)) for pk in sorted(found)]
        _merge(runs, own, invoice, actor=actor)


def _merge(runs: list[OnboardingTransaction], own: set[int], invoice: str, *, actor: str) -> None:
    kept = max(runs, key=lambda run: (_progress(run), run.pk in own, -run.pk))
    others = [run for run in runs if run.pk != kept.pk]
    CorrelationKey.objects.filter(transaction__in=others).update(transaction=kept)
    PaymentTrace.objects.filter(transaction__in=others).update(transaction=kept)
    for run in others:
        audit.record(run, "onboarding.run.merged", actor=actor, data={"into": kept.onboarding_transaction_id})
        reason = f"Its payment is a part of the invoice {invoice}, which {kept.onboarding_transaction_id} onboards."
        withdraw(run, reason=reason, actor=actor)
    if kept.held_at:
        known = f"All its payments are known: they are of the invoice {invoice}."
        resume_if_answered(kept, actor=actor, topic=Topic.PAYMENT, asked=ASK, resolution=known)


def clear_question(run: OnboardingTransaction, facts: PaymentSucceeded, *, actor: str) -> None:
    """The checkout or invoice of a payment that came alone has come: nobody need be asked that. What else is asked about the
    run, such as a refund, stays open. The caller holds the run locked.
    """
    if run.held_at and not facts.is_bare:
        told = f"{facts.object_id} tells what was paid."
        resume_if_answered(run, actor=actor, topic=Topic.PAYMENT, asked=UNNAMED, resolution=told)


def _progress(run: OnboardingTransaction) -> int:
    return 0 if run.status in OVER else 1 if is_untouched(run) else 2


def dismiss(connection: Connection, facts: PaymentSucceeded, likely: Mapping[str, PaymentTrace], *, actor: str) -> None:
    """A bill proved to be a renewal: what its payments have opened meanwhile is withdrawn, what is likely theirs asked about.

    ``likely``: by the payments' ids.
    """
    for pk in sorted(runs_of_payments(connection, facts.payments, facts.invoice)):
        with locked_run(pk) as run:
            withdraw(run, reason=RENEWAL.format(invoice=facts.invoice), actor=actor)
    for payment, trace in likely.items():
        if trace.transaction_id is None:
            continue
        # From now on it counts as told of: a second event of the bill asks nobody again.
        trace.add_ids({kind_of(connection.provider, Role.INVOICE): facts.invoice})
        trace.paired = True
        trace.save()
        question = (
            f"The same customer's subscription was renewed by the invoice {facts.invoice}; the payment {payment}, "
            "which opened this run, is probably that renewal's."
        )
        with locked_run(trace.transaction_id) as run:
            ask(run, question=question, actor=actor)
