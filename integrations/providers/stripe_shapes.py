"""The parts of Stripe's objects that we read, in the shapes before and after API version 2025-03-31.

Every reference may arrive expanded (https://docs.stripe.com/api/expanding_objects), and every optional member may be
null.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

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


class Address(BaseModel):
    country: Text = ""


class CustomerDetails(BaseModel):
    name: Text = ""
    business_name: Text = ""
    individual_name: Text = ""
    email: Text = ""
    address: Address | None = None

    @property
    def country(self) -> str:
        return self.address.country if self.address else ""


class CollectedInformation(BaseModel):
    business_name: Text = ""
    individual_name: Text = ""


class Recurring(BaseModel):
    interval: Text = ""
    interval_count: int | None = 1

    @property
    def term(self) -> str:
        months = {"month": 1, "year": 12}.get(self.interval, 0) * (self.interval_count or 1)
        return {1: "monthly", 3: "quarterly", 6: "semi-annual", 12: "annual"}.get(months, "")


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


class Line(BaseModel):
    """``price`` and ``plan`` before 2025-03-31, ``pricing`` after; a session's line items have ``price`` in both."""

    price: OptionalPrice = None
    plan: Plan | None = None
    pricing: Pricing | None = None

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
        return self.plan.term if self.plan else ""


class Lines(BaseModel):
    data: list[Line] = []


class WithLines(BaseModel):
    def _lines(self) -> Iterable[Line]:
        raise NotImplementedError

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

    def _lines(self) -> Iterable[Line]:
        return self.line_items.data if self.line_items else ()


class Charge(BaseModel):
    """https://docs.stripe.com/api/charges/object, as ``charge.refunded`` carries it."""

    id: Id
    payment_intent: Ref = None
    refunded: bool = False
    amount: Minor = 0
    amount_refunded: Minor = 0


class SubscriptionDetails(BaseModel):
    subscription: Ref = None
    metadata: Metadata = {}


class Parent(BaseModel):
    subscription_details: SubscriptionDetails | None = None


class InvoicePaymentTarget(BaseModel):
    payment_intent: Ref = None


class InvoicePayment(BaseModel):
    status: Text = ""
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
    total: int | None = None
    paid_out_of_band: bool | None = None
    currency: Currency
    customer: Ref = None
    customer_name: Text = ""
    customer_email: Text = ""
    customer_address: Address | None = None
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
        """What was paid, by card or (marked by hand) by other means."""
        return self.amount_paid or (max(self.total or 0, 0) if self.paid_out_of_band else 0)

    @property
    def payment_intents(self) -> list[Reference]:
        if self.payment_intent:
            return [self.payment_intent]
        payments = [item for item in (self.payments.data if self.payments else []) if item.status != "canceled"]
        return [item.payment.payment_intent for item in payments if item.payment and item.payment.payment_intent]

    @property
    def of_subscription(self) -> Reference | None:
        details = self.parent.subscription_details if self.parent else None
        return self.subscription or (details.subscription if details else None)

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
