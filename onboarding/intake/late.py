"""What is learnt of a payment after its run was opened: it was a renewal, or it belongs to another run.

Nobody is provisioned twice: of two runs of one payment the one that got further stays.
"""

from collections.abc import Collection, Iterable

from integrations.models import Connection
from integrations.providers.stripe import INVOICE, PAYMENT_INTENT, PaymentFacts
from onboarding import audit
from onboarding.engine.cancellation import cancel, hold_and_ask, resume
from onboarding.engine.entry import LOOKUP
from onboarding.engine.locks import lock_run
from onboarding.models import CorrelationKey, OnboardingTransaction, PaymentTrace
from onboarding.words import Status, Topic

DECIDE = "Roll the run back, cancel it, or keep it as it is?"
ASK = "Is it a new onboarding? Keep the run if it is; else cancel it or roll it back."
"""What a run is held with that was opened in doubt."""
UNNAMED = "The customer has paid before, and neither a checkout nor an invoice names the payment"
RENEWAL = "Its payment was that of a renewal, the invoice {invoice}."
OVER = (Status.CANCELLED, Status.ROLLING_BACK, Status.ROLLED_BACK)


def withdraw(run: OnboardingTransaction, *, reason: str, actor: str) -> None:
    """Cancel a run that should not have been opened, or ask a person where something was begun already.

    The caller holds it locked; it is saved here.
    """
    if run.status in OVER:
        return
    if is_untouched(run):
        cancel(run, actor=actor, reason=reason)
    else:
        hold_and_ask(run, actor=actor, hold_reason=reason, question=f"{reason} {DECIDE}", topic=Topic.PAYMENT)
    run.save()


def ask(run: OnboardingTransaction, *, question: str, actor: str) -> None:
    """As ``withdraw``, for what is only likely: a person decides."""
    hold_and_ask(run, actor=actor, hold_reason=question, question=f"{question} {DECIDE}", topic=Topic.PAYMENT)
    run.save()


def is_untouched(run: OnboardingTransaction) -> bool:
    """No worker has ever had one of its steps: nothing was written at a vendor. Under the run's lock that stays so."""
    return not run.steps.exclude(key=LOOKUP).filter(token__gt=0).exists()


def runs_of_intents(connection: Connection, intents: Collection[str], invoice: str) -> set[int]:
    """Runs (primary keys) that only these payment intents opened, before anybody told whose they are."""
    keys = CorrelationKey.objects.filter(kind=PAYMENT_INTENT, value__in=intents)
    found = set(keys.values_list("transaction_id", flat=True))
    if invoice:
        named = CorrelationKey.objects.filter(kind=INVOICE, value=invoice)
        found |= set(named.values_list("transaction_id", flat=True))
    traces = PaymentTrace.objects.filter(transaction__in=found, connection=connection)
    with_traces = set(traces.values_list("transaction_id", flat=True))
    others = {trace.transaction_id for trace in traces if not _is_intent_of(trace, intents, invoice)}
    return {pk for pk in found if pk in with_traces and pk not in others}


def _is_intent_of(trace: PaymentTrace, intents: Collection[str], invoice: str) -> bool:
    """Nothing but one of these intents has told of it."""
    return (
        trace.payment_intent in intents
        and not trace.checkout_session
        and trace.invoice in ("", invoice)
        and set(trace.told) <= set(intents)
    )


def merge(connection: Connection, intents: Collection[str], invoice: str, *, actor: str) -> None:
    """Leave one run of what has proved to be one invoice's: the one that got furthest. The others are withdrawn.

    Two runs are locked at once, always in one order; whoever else locks a run locks one.
    """
    named = CorrelationKey.objects.filter(kind=INVOICE, value=invoice).values_list("transaction_id", flat=True)
    own = set(named) if invoice else set()
    found = runs_of_intents(connection, intents, invoice) | own
    if len(found) < 2:  # noqa: PLR2004
        return
    runs = [lock_run(pk) for pk in sorted(found)]
    kept = max(runs, key=lambda run: (_progress(run), run.pk in own, -run.pk))
    others = [run for run in runs if run.pk != kept.pk]
    CorrelationKey.objects.filter(transaction__in=others).update(transaction=kept)
    PaymentTrace.objects.filter(transaction__in=others).update(transaction=kept)
    for run in others:
        audit.record(run, "onboarding.run.merged", actor=actor, data={"into": kept.onboarding_transaction_id})
        reason = f"Its payment is a part of the invoice {invoice}, which {kept.onboarding_transaction_id} onboards."
        withdraw(run, reason=reason, actor=actor)
    if kept.held_at and kept.hold_reason.endswith(ASK):
        resume(kept, actor=actor, resolution=f"All its payments are known: they are of the invoice {invoice}.")


def clear_doubt(run: OnboardingTransaction, facts: PaymentFacts, *, actor: str) -> None:
    """The session or invoice of a payment that came alone has come: nobody need be asked. The caller holds the run locked."""
    if run.held_at and run.hold_reason.startswith(UNNAMED) and not facts.is_bare:
        resume(run, actor=actor, resolution=f"{facts.object_id} tells what was paid.")


def _progress(run: OnboardingTransaction) -> int:
    return 0 if run.status in OVER else 1 if is_untouched(run) else 2


def dismiss(connection: Connection, facts: PaymentFacts, likely: Iterable[PaymentTrace], *, actor: str) -> None:
    """A bill proved to be a renewal: what its intents have opened meanwhile is withdrawn, what is likely theirs asked about."""
    for pk in sorted(runs_of_intents(connection, facts.intents, facts.invoice)):
        withdraw(lock_run(pk), reason=RENEWAL.format(invoice=facts.invoice), actor=actor)
    for trace in likely:
        if trace.transaction_id is None:
            continue
        # From now on it counts as told of: a second event of the bill asks nobody again.
        trace.invoice, trace.paired = facts.invoice, True
        trace.save()
        question = (
            f"The same customer's subscription was renewed by the invoice {facts.invoice}; the payment {trace.payment_intent}, "
            "which opened this run, is probably that renewal's."
        )
        ask(lock_run(trace.transaction_id), question=question, actor=actor)
