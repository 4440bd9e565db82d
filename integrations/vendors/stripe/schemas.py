"""The parts of Stripe's objects that we read, in the shapes before and after API version 2025-03-31.

Every reference may arrive expanded (https://docs.stripe.com/api/expanding_objects), and every optional member may be
null.
"""

from abc import ABC, abstractmethod
from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from integrations.inbound.events import Settlement
from integrations.inbound.terms import TERMS, term_of

Id = Annotated[str, Field(min_length=1, max_length=255)]
Seconds = Annotated[int, Field(ge=946_684_800, le=7_258_118_400, description="The years 2000 to 2200.")]
Minor = Annotated[int, Field(ge=0, lt=10**15)]


def _empty_for_null(value: Any) -> Any:
    return "" if value is None else value


def _code(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else _empty_for_null(value)


def _expanded(value: Any) -> Any:
    if value == "":
        return None
    return {"id": value} if isinstance(value, str) else value


def _strings(value: Any) -> Any:
    if value is None:
        return {}
    return {key: str(item) for key, item in value.items() if item is not None} if isinstance(value, dict) else value


Text = Annotated[str, BeforeValidator(_empty_for_null)]
Currency = Annotated[str, BeforeValidator(_code), Field(pattern=r"^[A-Z]{3,5}$")]
Metadata = Annotated[dict[str, str], BeforeValidator(_strings)]


class Reference(BaseModel):
    """An id, with what an expanded customer adds."""

    id: Id
    name: Text = ""
    email: Text = ""


Ref = Annotated[Reference | None, BeforeValidator(_expanded)]


class Payload(BaseModel):
    object: dict[str, Any]


class Envelope(BaseModel):
    """https://docs.stripe.com/api/events/object"""

    id: Id
    type: Id
    created: Seconds | None = None
    data: Payload


class Origin(BaseModel):
    """Whose event it is: ``account`` is set for those of connected accounts, ``context`` for those of an organization's.

    https://docs.stripe.com/connect/webhooks, https://docs.stripe.com/api/events/object
    """

    account: Annotated[str, BeforeValidator(_empty_for_null), Field(max_length=255)] = ""
    context: Annotated[str, BeforeValidator(_empty_for_null), Field(max_length=255)] = ""


class Address(BaseModel):
    country: Text = ""


class TaxId(BaseModel):
    value: Text = ""


TaxIds = Annotated[list[TaxId], BeforeValidator(lambda value: value or [])]


class CustomerDetails(BaseModel):
    name: Text = ""
    business_name: Text = ""
    individual_name: Text = ""
    email: Text = ""
    address: Address | None = None
    tax_ids: TaxIds = []

    @property
    def country(self) -> str:
        return self.address.country if self.address else ""


class CollectedInformation(BaseModel):
    business_name: Text = ""
    individual_name: Text = ""


class FieldLabel(BaseModel):
    custom: Text = ""


class FieldValue(BaseModel):
    value: Text = ""


class CustomField(BaseModel):
    """https://docs.stripe.com/payments/checkout/custom-fields: the answer stands under the field's type."""

    key: Text = ""
    label: FieldLabel | None = None
    text: FieldValue | None = None
    numeric: FieldValue | None = None
    dropdown: FieldValue | None = None

    @property
    def value(self) -> str:
        answers = (self.text, self.numeric, self.dropdown)
        return next((answer.value.strip() for answer in answers if answer and answer.value.strip()), "")


class InvoiceField(BaseModel):
    """An invoice's own custom field, as the account's owner named it."""

    name: Text = ""
    value: Text = ""


class Recurring(BaseModel):
    interval: Text = ""
    interval_count: int | None = 1

    @property
    def term(self) -> str:
        return term_of(self.interval, self.interval_count or 1)


class Period(BaseModel):
    """What a line pays for: Unix times, the end not included (https://docs.stripe.com/api/invoice-line-item/object)."""

    start: Seconds
    end: Seconds

    @property
    def term(self) -> str:
        """The term whose months lead from the start to the end, give or take a day (time zones, summer time)."""
        start, end = (datetime.fromtimestamp(seconds, UTC).date() for seconds in (self.start, self.end))
        near = (name for months, name in TERMS.items() if abs((_months_after(start, months) - end).days) <= 1)
        return next(near, "")


def _months_after(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


class Price(BaseModel):
    id: Id
    recurring: Recurring | None = None


OptionalPrice = Annotated[Price | None, BeforeValidator(_expanded)]


class Plan(Recurring):
    id: Id


class PriceDetails(BaseModel):
    price: OptionalPrice = None


class Pricing(BaseModel):
    price_details: PriceDetails | None = None


class ItemDetails(BaseModel):
    proration: bool | None = None
    subscription: Ref = None


class LineParent(BaseModel):
    subscription_item_details: ItemDetails | None = None


class Line(BaseModel):
    """``price``, ``plan`` and ``proration`` before 2025-03-31, ``pricing`` and ``parent`` after; a session's line items have
    ``price`` in both."""

    amount: int | None = None
    price: OptionalPrice = None
    plan: Plan | None = None
    pricing: Pricing | None = None
    period: Period | None = None
    proration: bool | None = None
    parent: LineParent | None = None

    @property
    def is_proration(self) -> bool:
        details = self.parent.subscription_item_details if self.parent else None
        return bool(self.proration or (details and details.proration))

    @property
    def full_period(self) -> Period | None:
        """The period that it charges for; None for a part of one, for what is free, and for what is bought once."""
        if self.period is None or self.is_proration or self.amount == 0 or self.period.end <= self.period.start:
            return None
        return self.period

    @property
    def the_price(self) -> Price | None:
        if self.pricing and self.pricing.price_details and self.pricing.price_details.price:
            return self.pricing.price_details.price
        return self.price or (Price(id=self.plan.id) if self.plan else None)

    @property
    def term(self) -> str:
        price = self.the_price
        if price and price.recurring and price.recurring.term:
            return price.recurring.term
        if self.plan and self.plan.term:
            return self.plan.term
        return self.full_period.term if self.full_period else ""


class Lines(BaseModel):
    data: list[Line] = []


class WithLines(BaseModel, ABC):
    @abstractmethod
    def _lines(self) -> Iterable[Line]: ...

    @property
    def price_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(price.id for line in self._lines() if (price := line.the_price)))

    @property
    def term(self) -> str:
        """The one term of all lines; empty where they differ."""
        terms = {line.term for line in self._lines() if line.term}
        return terms.pop() if len(terms) == 1 else ""


class Session(WithLines):
    id: Id
    mode: Text = ""
    payment_status: str
    amount_total: Minor | None = None
    amount_subtotal: int | None = None
    currency: Annotated[str, BeforeValidator(_code), Field(pattern=r"^([A-Z]{3,5})?$")] = ""
    customer: Ref = None
    customer_email: Text = ""
    customer_details: CustomerDetails | None = None
    collected_information: CollectedInformation | None = None
    payment_intent: Ref = None
    invoice: Ref = None
    subscription: Ref = None
    metadata: Metadata = {}
    line_items: Lines | None = None
    client_reference_id: Text = ""
    custom_fields: Annotated[list[CustomField], BeforeValidator(lambda value: value or [])] = []

    def _lines(self) -> Iterable[Line]:
        return self.line_items.data if self.line_items else ()


class Charge(BaseModel):
    """https://docs.stripe.com/api/charges/object, as ``charge.refunded`` carries it."""

    id: Id
    payment_intent: Ref = None
    invoice: Ref = None
    customer: Ref = None
    refunded: bool = False
    amount: Minor = 0
    amount_refunded: Minor = 0
    currency: Text = ""
    metadata: Metadata = {}


class Subscription(BaseModel):
    """https://docs.stripe.com/api/subscriptions/object, as ``customer.subscription.*`` carries it."""

    id: Id
    customer: Ref = None
    start_date: Seconds | None = None
    created: Seconds | None = None
    trial_end: Seconds | None = None


class SubscriptionDetails(BaseModel):
    subscription: Ref = None
    metadata: Metadata = {}


class Parent(BaseModel):
    subscription_details: SubscriptionDetails | None = None


class InvoicePaymentTarget(BaseModel):
    payment_intent: Ref = None


class InvoicePayment(BaseModel):
    """https://docs.stripe.com/api/invoice-payment/object: in an invoice's ``payments``, and of ``invoice_payment.paid``."""

    status: Text = ""
    invoice: Ref = None
    payment: InvoicePaymentTarget | None = None


class InvoicePayments(BaseModel):
    data: list[InvoicePayment] = []


class StatusTransitions(BaseModel):
    paid_at: Seconds | None = None


class Invoice(WithLines):
    """``payments`` is there only where the sender expanded it, so the link to the payment intent is often missing."""

    id: Id
    billing_reason: Text = ""
    amount_paid: Minor
    amount_due: int | None = None
    subtotal: int | None = None
    total: int | None = None
    starting_balance: int | None = None
    ending_balance: int | None = None
    pre_payment_credit_notes_amount: int | None = None
    post_payment_credit_notes_amount: int | None = None
    paid_out_of_band: bool | None = None
    currency: Currency
    customer: Ref = None
    customer_name: Text = ""
    customer_email: Text = ""
    customer_address: Address | None = None
    customer_tax_ids: TaxIds = []
    custom_fields: Annotated[list[InvoiceField], BeforeValidator(lambda value: value or [])] = []
    payment_intent: Ref = None
    payments: InvoicePayments | None = None
    subscription: Ref = None
    subscription_details: SubscriptionDetails | None = None
    parent: Parent | None = None
    metadata: Metadata = {}
    lines: Lines | None = None
    status_transitions: StatusTransitions | None = None

    def _lines(self) -> Iterable[Line]:
        return self.lines.data if self.lines else ()

    @property
    def reference(self) -> Reference:
        return Reference(id=self.id)

    @property
    def amount(self) -> int:
        """What the order costs: what was paid, or what was settled in another way; 0 where nothing was charged."""
        return self.amount_paid or max(self.total or 0, 0)

    @property
    def settlement(self) -> Settlement | None:
        """How it was settled; None where nothing was to be settled (a trial, a free plan, a credit).

        A customer's balance is negative where we owe them; an amount below the minimum charge is added to it
        (https://docs.stripe.com/billing/customer/balance, https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).
        """
        before, after = self.starting_balance or 0, self.ending_balance
        if self.amount_paid:
            return Settlement.PAID
        if (self.total or 0) <= 0:
            return Settlement.DISCOUNT if (self.subtotal or 0) > 0 else None
        if self.paid_out_of_band:
            return Settlement.OTHER_MEANS
        if self.pre_payment_credit_notes_amount or self.post_payment_credit_notes_amount:
            return Settlement.CREDIT_NOTE
        if before < 0:
            return Settlement.CREDIT_BALANCE
        return Settlement.CARRIED_OVER if after is not None and after > before else Settlement.UNKNOWN

    @property
    def period(self) -> Period | None:
        """The earliest full period that it charges for."""
        periods = [line.full_period for line in self._lines() if line.full_period]
        return min(periods, key=lambda period: period.start, default=None)

    @property
    def credits_unused_time(self) -> bool:
        """A line gives back money for what was paid before."""
        return any(line.is_proration and (line.amount or 0) < 0 for line in self._lines())

    @property
    def payment_intents(self) -> list[Reference]:
        if self.payment_intent:
            return [self.payment_intent]
        payments = [item for item in (self.payments.data if self.payments else []) if item.status != "canceled"]
        return [item.payment.payment_intent for item in payments if item.payment and item.payment.payment_intent]

    @property
    def of_subscription(self) -> Reference | None:
        details = self.parent.subscription_details if self.parent else None
        return self.subscription or (details.subscription if details else None) or self._of_lines

    @property
    def _of_lines(self) -> Reference | None:
        """Of an invoice made by hand for items of one subscription, which its lines alone name."""
        items = [line.parent.subscription_item_details for line in self._lines() if line.parent]
        found = {item.subscription.id: item.subscription for item in items if item and item.subscription}
        return next(iter(found.values())) if len(found) == 1 else None

    @property
    def all_metadata(self) -> dict[str, str]:
        """The subscription's, overridden by the invoice's own."""
        sources = [self.subscription_details, self.parent.subscription_details if self.parent else None]
        merged: dict[str, str] = {}
        for source in sources:
            merged |= source.metadata if source else {}
        return merged | self.metadata

    @property
    def country(self) -> str:
        return self.customer_address.country if self.customer_address else ""


class PaymentDetails(BaseModel):
    order_reference: Text = ""


class PaymentIntent(BaseModel):
    """``invoice`` until 2025-03-31; later versions name it in ``payment_details.order_reference``."""

    id: Id
    amount_received: Minor
    currency: Currency
    customer: Ref = None
    receipt_email: Text = ""
    invoice: Ref = None
    payment_details: PaymentDetails | None = None
    metadata: Metadata = {}

    @property
    def reference(self) -> Reference:
        return Reference(id=self.id)

    @property
    def of_invoice(self) -> Reference | None:
        order = self.payment_details.order_reference if self.payment_details else ""
        return self.invoice or (Reference(id=order) if order.startswith("in_") else None)
