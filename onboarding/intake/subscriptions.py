"""First payment or renewal: told from what is known of the subscription, never from the bill alone.

A trial or a free plan ends with a bill whose ``billing_reason`` is that of a renewal, and a bill may be settled without any
payment; so what counts is whether this subscription was settled before.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from integrations.inbound.events import PaymentSucceeded, Settlement, SubscriptionFacts
from integrations.models import Connection, InboundEvent
from onboarding.models import BillingSubscription

LATE = timedelta(days=3)
"""For how long billing systems deliver an event again, and may be late with it."""
NEAR = timedelta(days=1)
"""Between the end of a trial and the start of the period that is paid after it."""
LONGEST_PERIOD = timedelta(days=366)


class Kind(Enum):
    FIRST = "first"
    RENEWAL = "renewal"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Verdict:
    """What a payment is, and why, in words for people."""

    kind: Kind
    reason: str = ""


@dataclass(frozen=True)
class Known:
    """What was seen of a subscription before."""

    began_here: bool = False
    free_bill_seen: bool = False
    trial_end: datetime | None = None
    settled_by: str = ""


FIRST = Verdict(Kind.FIRST)


def judge(facts: PaymentSucceeded, known: Known | None, listening_since: datetime | None, at: datetime) -> Verdict:
    """Pure. ``listening_since``: the first event that the connection stored; ``at``: when it was settled."""
    if facts.settlement is Settlement.UNKNOWN:
        first = _judge(facts, known, listening_since, at)
        return Verdict(Kind.UNCLEAR, f"The invoice is {facts.settlement}.") if first.kind is Kind.FIRST else first
    return _judge(facts, known, listening_since, at)


def _judge(facts: PaymentSucceeded, known: Known | None, listening_since: datetime | None, at: datetime) -> Verdict:
    about = facts.subscription
    if about is None or about.is_start:
        return FIRST
    if known and known.settled_by:
        if known.settled_by == settled_by(facts):
            return FIRST
        return Verdict(Kind.RENEWAL, f"A renewal: the subscription was settled before, by {known.settled_by}.")
    if not facts.is_later_invoice:
        return FIRST
    if (known and known.began_here) or _follows_trial(facts, known):
        return FIRST
    if facts.credits_unused_time:
        return Verdict(Kind.RENEWAL, "A renewal: it credits unused time of what was paid before.")
    if not about.id:
        return Verdict(Kind.UNCLEAR, "The invoice does not say which subscription it is of.")
    if known and known.free_bill_seen:
        return Verdict(
            Kind.UNCLEAR,
            "Nothing was paid for the subscription since its first event here, but its beginning was not seen.",
        )
    if listening_since and listening_since + _length(facts) + LATE < at:
        return Verdict(
            Kind.UNCLEAR,
            "The subscription's beginning was not seen, nor a bill for the period before, though events came since "
            f"{listening_since:%Y-%m-%d}.",
        )
    return Verdict(Kind.RENEWAL, "A renewal: the subscription is older than the customer's first event here.")


def _follows_trial(facts: PaymentSucceeded, known: Known | None) -> bool:
    trial_end = known.trial_end if known else None
    return bool(trial_end and facts.period and abs(facts.period[0] - trial_end) <= NEAR)


def _length(facts: PaymentSucceeded) -> timedelta:
    """Of one period: a renewal would have had a bill that long ago, too."""
    return facts.period[1] - facts.period[0] if facts.period else LONGEST_PERIOD


def settled_by(facts: PaymentSucceeded) -> str:
    return facts.invoice or facts.object_id


# --- What was seen ----------------------------------------------------------------------------------------------------


def verdict_on(connection: Connection, facts: PaymentSucceeded, at: datetime) -> Verdict:
    row = _row(connection, facts.subscription)
    known = Known(row.began_here, row.free_bill_seen, row.trial_end, row.settled_by) if row else None
    return judge(facts, known, _listening_since(connection), at)


def note(connection: Connection, about: SubscriptionFacts | None) -> bool:
    """Remember what an event tells of its subscription; True where it shows only now that it began here."""
    if about is None or not about.id:
        return False
    row, _ = BillingSubscription.objects.get_or_create(
        connection=connection, subscription=about.id, defaults={"customer": about.customer}
    )
    since = _listening_since(connection)
    began_here = about.is_start or bool(about.began_at and since and about.began_at >= since)
    is_news = began_here and not row.began_here
    row.began_here, row.trial_end = row.began_here or began_here, about.trial_end or row.trial_end
    row.customer, row.free_bill_seen = row.customer or about.customer, row.free_bill_seen or about.is_free
    row.save()
    return is_news


def note_settled(connection: Connection, facts: PaymentSucceeded, at: datetime) -> None:
    """Remember what settled its subscription first."""
    note(connection, facts.subscription)
    row = _row(connection, facts.subscription)
    if row and not row.settled_by:
        row.settled_by, row.settled_at = settled_by(facts), at
        row.save()


def forget_settled(connection: Connection, subscription: str) -> None:
    """What was taken for a renewal was not: judge it anew."""
    BillingSubscription.objects.filter(connection=connection, subscription=subscription).update(
        settled_by="", settled_at=None
    )


def _row(connection: Connection, about: SubscriptionFacts | None) -> BillingSubscription | None:
    if about is None or not about.id:
        return None
    return BillingSubscription.objects.filter(connection=connection, subscription=about.id).first()


def _listening_since(connection: Connection) -> datetime | None:
    first = InboundEvent.objects.filter(connection=connection).order_by("pk").values_list("received_at", flat=True)
    return first.first()
