"""What Paddle's events say of a payment. Pure: no database, no network.

Sources: https://developer.paddle.com/webhooks (transaction.paid, transaction.completed, adjustment.created, adjustment.updated,
subscription.*). A transaction is both bill and payment, and both of its events name it; ``transaction.paid`` comes before Paddle
has made the subscription.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from integrations.http.strict_json import without_nul
from integrations.inbound.amounts import major_units
from integrations.inbound.delivery import UnexpectedShape, problems_in
from integrations.inbound.events import (
    DEAL,
    ORDER,
    OUR_ID,
    Event,
    Ignored,
    Key,
    PaymentRefunded,
    PaymentSucceeded,
    Role,
    SubscriptionFacts,
    kind_of,
    nothing_paid,
)
from integrations.vendors.paddle import schemas

VENDOR = "paddle"
TRANSACTION, SUBSCRIPTION = kind_of(VENDOR, Role.INVOICE), kind_of(VENDOR, Role.SUBSCRIPTION)
MONEY_BACK = frozenset({"refund", "chargeback"})
"""``adjustment.action`` of what goes back to the customer; a credit lowers a bill, a warning is none yet."""


@dataclass(frozen=True)
class Reading:
    """What an event says, and whose ids of it are still to be looked up."""

    event: Event
    customer_id: str = ""
    business_id: str = ""
    address_id: str = ""
    partly_refunded: str = ""
    """A transaction of which a part was refunded now, and perhaps the rest before."""


def read(event: Mapping[str, Any]) -> Reading:
    """Raises ``UnexpectedShape``."""
    type_ = event.get("event_type")
    reader = READERS.get(type_) if isinstance(type_, str) else None
    if reader is None:
        return Reading(Ignored(reason="This type of event says nothing of a first payment."))
    try:
        return reader(schemas.Envelope.model_validate(without_nul(dict(event))))
    except ValidationError as error:
        what = f"{type_} is not as Paddle documents it"
        raise UnexpectedShape(f"{what} ({problems_in(error)}).") from None


def _transaction(envelope: schemas.Envelope) -> Reading:
    paid = schemas.Transaction.model_validate(envelope.data)
    about = _subscription_of(paid)
    totals = paid.details.totals
    if totals.settlement is None:
        return Reading(nothing_paid("Nothing was to be paid: a trial or a free plan.", about))
    if paid.is_later and about is None:
        return Reading(Ignored(reason="It does not name its subscription yet: transaction.completed does."))
    return Reading(
        PaymentSucceeded(
            told_by=Role.INVOICE,
            object_id=paid.id,
            keys=_keys(paid),
            amount_minor=totals.total,
            amount=major_units(totals.total, paid.currency_code),
            currency=paid.currency_code,
            occurred_at=envelope.occurred_at,
            customer=paid.customer_id,
            metadata=paid.custom_data,
            price_ids=paid.price_ids,
            term=paid.term,
            client_reference=paid.billing_details.purchase_order_number.strip(),
            settlement=totals.settlement,
            subscription=about,
            is_later_invoice=paid.is_later,
            period=(paid.billing_period.starts_at, paid.billing_period.ends_at) if paid.billing_period else None,
        ),
        paid.customer_id,
        paid.business_id,
        paid.address_id,
    )


def _subscription_of(paid: schemas.Transaction) -> SubscriptionFacts | None:
    if not paid.subscription_id:
        return None
    free = paid.details.totals.settlement is None
    return SubscriptionFacts(paid.subscription_id, paid.customer_id, is_start=not paid.is_later, is_free=free)


def _keys(paid: schemas.Transaction) -> tuple[Key, ...]:
    """The strongest first."""
    told = paid.custom_data
    order = told.get("commercial.order_id") or told.get("order_id") or paid.billing_details.purchase_order_number
    pairs = [
        (OUR_ID, told.get("onboarding_transaction_id", "")),
        (TRANSACTION, paid.id),
        (SUBSCRIPTION, paid.subscription_id),
        (DEAL, told.get("commercial.deal_id") or told.get("deal_id", "")),
        (ORDER, order),
    ]
    return tuple(Key(kind, value.strip()) for kind, value in pairs if value.strip())


def _adjustment(envelope: schemas.Envelope) -> Reading:
    told = schemas.Adjustment.model_validate(envelope.data)
    if told.action not in MONEY_BACK:
        return Reading(Ignored(reason="An adjustment by which no money goes back."))
    if told.status != "approved":
        return Reading(Ignored(reason="A refund that Paddle has not approved; it tells when it does."))
    whole = told.type == "full"
    refund = PaymentRefunded(
        charge=told.id, keys=(Key(TRANSACTION, told.transaction_id),), whole=whole, customer=told.customer_id
    )
    return Reading(refund, partly_refunded="" if whole else told.transaction_id)


def _subscription(envelope: schemas.Envelope) -> Reading:
    told = schemas.Subscription.model_validate(envelope.data)
    about = SubscriptionFacts(
        told.id,
        told.customer_id,
        is_start=envelope.event_type == "subscription.created",
        began_at=told.started_at or told.created_at,
        trial_end=told.trial_end,
    )
    return Reading(nothing_paid("It tells of a subscription; what is paid for it comes with its transaction.", about))


READERS: dict[str, Callable[[schemas.Envelope], Reading]] = {
    "transaction.paid": _transaction,
    "transaction.completed": _transaction,
    "adjustment.created": _adjustment,
    "adjustment.updated": _adjustment,
    "subscription.created": _subscription,
    "subscription.trialing": _subscription,
    "subscription.activated": _subscription,
    "subscription.updated": _subscription,
}
