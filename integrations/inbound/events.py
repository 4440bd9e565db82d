"""The events that the intake knows, whichever vendor tells of them: facts, and the keys by which their run is found.

A vendor's webhook module makes them; each is handled in one place, of the app above this one. A further event is a dataclass here
and a handler there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple


class Role(StrEnum):
    """What a correlation key names."""

    RUN = "id"
    CHECKOUT = "checkout_session"
    INVOICE = "invoice"
    PAYMENT = "payment_intent"
    SUBSCRIPTION = "subscription"
    DEAL = "deal"
    QUOTE = "quote"
    ORDER = "order"
    BOOKING = "booking"
    """An appointment in a scheduling system."""
    CUSTOMER_AMOUNT = "customer_amount"
    """Customer, amount and currency in one: ties a refund to a payment that no event names."""


PAYMENT_ROLES = (Role.CHECKOUT, Role.INVOICE, Role.PAYMENT)
"""Of the ids that one payment alone has."""


class Key(NamedTuple):
    """A correlation key, unique by kind and value."""

    kind: str
    """``<vendor>.<role>`` for what a vendor gives its ids to; the role alone for what people number, and for another system's id
    that was copied by hand (``subscription`` in an envelope).
    """
    value: str

    @property
    def role(self) -> Role:
        return Role(self.kind.rpartition(".")[2])

    @property
    def vendor(self) -> str:
        """Empty for what people number."""
        return self.kind.rpartition(".")[0]


def kind_of(vendor: str, role: Role) -> str:
    return f"{vendor}.{role}"


OUR_ID = kind_of("firstvalue", Role.RUN)
DEAL, QUOTE, ORDER = str(Role.DEAL), str(Role.QUOTE), str(Role.ORDER)
ORDER_NAMES: Mapping[str, tuple[str, ...]] = {
    OUR_ID: ("onboarding_transaction_id",),
    str(Role.SUBSCRIPTION): ("subscription_id",),
    DEAL: ("commercial.deal_id", "deal_id"),
    QUOTE: ("commercial.quote_id", "quote_id"),
    ORDER: ("commercial.order_id", "order_id"),
}
"""By which names a company writes an order's keys into what it sends: kind -> names, the strongest first. At every vendor the same
(metadata of a payment, custom fields of an envelope).
"""


def written_keys(fields: Mapping[str, str], *kinds: str) -> tuple[Key, ...]:
    """The keys that stand in these fields, of these kinds; all kinds where none is named."""
    found = (
        (kind, next((text for name in names if (text := fields.get(name, "").strip())), ""))
        for kind, names in ORDER_NAMES.items()
        if not kinds or kind in kinds
    )
    return tuple(Key(kind, value) for kind, value in found if value)


def customer_amount_keys(vendor: str, customer: str, amount_minor: int, currency: str) -> tuple[Key, ...]:
    """One key, or none for a payment without a customer or an amount."""
    kind = kind_of(vendor, Role.CUSTOMER_AMOUNT)
    return (Key(kind, f"{customer}:{amount_minor}:{currency.upper()}"),) if customer and amount_minor else ()


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a stored event means."""

    starts: ClassVar[bool | None] = None
    """Whether it starts a run (False: it joins one) where its connection does not say; None for what does neither."""
    customer: str = ""
    """The vendor's id of whom it is about: a customer's events are handled one at a time."""


@dataclass(frozen=True, kw_only=True)
class Ignored(Event):
    """Nothing follows from it."""

    reason: str
    """In words for people."""


@dataclass(frozen=True)
class SubscriptionFacts:
    """What an event tells of a subscription itself."""

    id: str
    customer: str = ""
    is_start: bool = False
    """It is told of as it begins: by its checkout, its first invoice, or its own event."""
    is_free: bool = False
    """A bill with nothing to pay says so."""
    began_at: datetime | None = None
    trial_end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class SubscriptionReported(Ignored):
    """Nothing was paid, but it tells of a subscription: whether its next payment is the first is judged by that."""

    subscription: SubscriptionFacts


def nothing_paid(reason: str, about: SubscriptionFacts | None = None) -> Ignored:
    """What tells of no payment, and perhaps of a subscription."""
    if about is None:
        return Ignored(reason=reason)
    return SubscriptionReported(reason=reason, subscription=about, customer=about.customer)


class Settlement(StrEnum):
    """How a bill was settled, in words for people."""

    PAID = "paid"
    OTHER_MEANS = "marked as paid by other means"
    CREDIT_BALANCE = "settled by the customer's credit balance"
    CREDIT_NOTE = "settled by a credit note"
    DISCOUNT = "settled by a full discount"
    CARRIED_OVER = "below the minimum charge, carried over to the next invoice"
    UNKNOWN = "settled without a payment, in a way that it does not tell"


@dataclass(frozen=True, kw_only=True)
class PaymentSucceeded(Event):
    """An order was settled, as one object at the billing system tells it; several may tell of one payment."""

    starts = True
    told_by: Literal[Role.CHECKOUT, Role.INVOICE, Role.PAYMENT]
    object_id: str
    keys: tuple[Key, ...]
    """The strongest first."""
    amount_minor: int
    amount: Decimal
    """In major units."""
    currency: str
    """ISO 4217, upper case."""
    occurred_at: datetime | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the seller's own systems wrote on it."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """Of a seller's system that knows our canonical payload: what it states of it."""
    business_name: str = ""
    """What the buyer gave as the company's name."""
    customer_name: str = ""
    """The name on the billing system's customer: often the company, sometimes the person who paid."""
    contact_name: str = ""
    email: str = ""
    country: str = ""
    price_ids: tuple[str, ...] = ()
    term: str = ""
    """From the price's interval, or the period that is paid for."""
    tax_id: str = ""
    client_reference: str = ""
    """The seller's own number of the checkout."""
    custom_fields: tuple[tuple[str, str], ...] = ()
    """What the buyer answered, or the account's owner wrote: (key or label, value)."""
    settlement: Settlement = Settlement.PAID
    subscription: SubscriptionFacts | None = None
    is_later_invoice: bool = False
    """Not the first invoice of its subscription. It may be the first with money all the same."""
    period: tuple[datetime, datetime] | None = None
    """The earliest full period that an invoice charges for."""
    credits_unused_time: bool = False

    @property
    def is_bare(self) -> bool:
        """A payment alone says neither what was bought nor whether it is a renewal."""
        return self.told_by is Role.PAYMENT

    @property
    def is_cash(self) -> bool:
        """Paid through the billing system: there is a payment, whether or not anything names it."""
        return self.settlement is Settlement.PAID

    @property
    def ids(self) -> dict[str, str]:
        """The payment's own, the first of each kind: kind -> value."""
        own: dict[str, str] = {}
        for key in self.keys:
            if key.role in PAYMENT_ROLES:
                own.setdefault(key.kind, key.value)
        return own

    @property
    def payments(self) -> tuple[str, ...]:
        """All payments that it names: an invoice may be paid by several."""
        return tuple(key.value for key in self.keys if key.role is Role.PAYMENT)

    @property
    def checkout(self) -> str:
        return self._first(Role.CHECKOUT)

    @property
    def invoice(self) -> str:
        return self._first(Role.INVOICE)

    @property
    def payment(self) -> str:
        return self._first(Role.PAYMENT)

    def _first(self, role: Role) -> str:
        return next((key.value for key in self.keys if key.role is role), "")


@dataclass(frozen=True, kw_only=True)
class PaymentAllocated(Event):
    """Which invoice a payment pays. Alone it starts nothing."""

    payment: Key
    invoice: Key


@dataclass(frozen=True, kw_only=True)
class PaymentRefunded(Event):
    """A payment went back."""

    charge: str
    """The vendor's id of what went back."""
    keys: tuple[Key, ...]
    """Of the payment."""
    whole: bool
    """All of it went back."""


@dataclass(frozen=True, kw_only=True)
class OrderFacts:
    """What another system than billing tells of a customer's order: it joins the order's run, or starts it."""

    starts: ClassVar[bool | None] = False
    object_id: str
    """The vendor's id of what tells it."""
    keys: tuple[Key, ...]
    """The strongest first."""
    occurred_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the seller's own systems wrote on it."""
    custom_fields: tuple[tuple[str, str], ...] = ()
    """What was filled in on it, under names that people chose: (label, value)."""
    company: str = ""
    domain: str = ""
    country: str = ""
    contact_name: str = ""
    email: str = ""
    """The contact's."""
    owner_id: str = ""
    """Who sold it, as the CRM knows them."""
    amount: Decimal | None = None
    """In major units. What was agreed is not always what is paid: it fills a gap, and contradicts nothing."""
    currency: str = ""
    """ISO 4217, upper case."""


@dataclass(frozen=True, kw_only=True)
class OrderSigned(OrderFacts, Event):
    """The customer's order was signed by everybody who had to."""


@dataclass(frozen=True, kw_only=True)
class ContractApproved(OrderFacts, Event):
    """The contract was approved by everybody who had to."""


@dataclass(frozen=True, kw_only=True)
class DealWon(OrderFacts, Event):
    """The CRM has the deal as won."""


OrderEvent = OrderSigned | ContractApproved | DealWon


@dataclass(frozen=True, kw_only=True)
class KickoffScheduled(Event):
    """A customer has booked the kickoff, or moved it."""

    booking: Key
    replaces: Key | None = None
    """The booking that was moved to this one."""
    keys: tuple[Key, ...] = ()
    """Of the run, as the booking names it."""
    starts_at: datetime


@dataclass(frozen=True, kw_only=True)
class KickoffCancelled(Event):
    """A booking was called off, and not moved to another time."""

    booking: Key
    keys: tuple[Key, ...] = ()
    """As of ``KickoffScheduled``."""


@dataclass(frozen=True, kw_only=True)
class WorkChanged(Event):
    """A task was changed at the delivery vendor. A hint: what it is now, the vendor is asked."""

    object_id: str
    """The vendor's id of the task."""


class MailOutcome(StrEnum):
    """What a mail's vendor tells of it, in words for people: after "The mail …"."""

    BOUNCED = "was returned by the recipient's mail server"
    REJECTED = "was not sent on by the mail vendor"
    COMPLAINED = "was reported as spam by its recipient"
    UNSUBSCRIBED = "made its recipient unsubscribe"


@dataclass(frozen=True, kw_only=True)
class MailBounced(Event):
    """A mail that was sent did not arrive, or is not wanted."""

    outcome: MailOutcome
    message_id: str
    """The vendor's, as it answered the send."""
    reference: str = ""
    """Ours, where the vendor brings it back."""
    reason: str = ""
    """What the other side said, without the address."""


class MadeObject(NamedTuple):
    """What a workflow tool says that it has made."""

    kind: str
    external_id: str
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class HandOverReported(Event):
    """A workflow tool has ended what it was handed over."""

    hand_over: str
    """As it was named when it was handed over."""
    succeeded: bool
    execution_id: str = ""
    """The tool's own."""
    execution_url: str = ""
    """Where people look at it."""
    objects: tuple[MadeObject, ...] = ()
    message: str = ""
