"""The parts of Paddle's entities that we read (https://developer.paddle.com/api-reference/overview and its SDK's
``Notifications/Entities``, https://github.com/PaddleHQ/paddle-python-sdk). Amounts are texts in the currency's smallest unit.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from integrations.connectors.answers import VendorAnswer
from integrations.inbound.events import Settlement
from integrations.inbound.terms import term_of

Id = Annotated[str, Field(min_length=1, max_length=255)]
Minor = Annotated[int, Field(ge=0, lt=10**15)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
RECURRING = "subscription_"
"""``transaction.origin`` of what is charged for a subscription that exists already begins so."""


def _texts(value: Any) -> Any:
    """Custom data is any JSON; what is nested in it is nobody's metadata."""
    if not isinstance(value, dict):
        return {}
    return {name: _text(item) for name, item in value.items() if isinstance(item, str | int | float)}


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Envelope(VendorAnswer):
    """https://developer.paddle.com/webhooks/overview"""

    event_id: Id
    event_type: Id
    occurred_at: AwareDatetime
    data: dict[str, Any]


class Period(VendorAnswer):
    starts_at: AwareDatetime
    ends_at: AwareDatetime


class BillingCycle(VendorAnswer):
    interval: str
    frequency: int = 1


class Price(VendorAnswer):
    id: Id
    billing_cycle: BillingCycle | None = None


class Item(VendorAnswer):
    price: Price | None = None
    trial_dates: Period | None = None
    """Of a subscription's item."""


class BillingDetails(VendorAnswer):
    purchase_order_number: str = ""


class Totals(VendorAnswer):
    """https://developer.paddle.com/api-reference/transactions/overview: ``total`` is after discount and tax, ``grand_total``
    after credit, too.
    """

    subtotal: Minor = 0
    discount: Minor = 0
    total: Minor
    credit: int = 0
    grand_total: Minor

    @property
    def settlement(self) -> Settlement | None:
        """How it was settled; None where nothing was to be settled (a trial, a free plan)."""
        if self.grand_total:
            return Settlement.PAID
        if not self.total:
            return Settlement.DISCOUNT if self.subtotal and self.discount else None
        return Settlement.CREDIT_BALANCE if self.credit else Settlement.UNKNOWN


class Details(VendorAnswer):
    totals: Totals
    adjusted_totals: Totals | None = None
    """After what was credited and refunded."""


class Transaction(VendorAnswer):
    """https://developer.paddle.com/webhooks/transactions/transaction-completed"""

    id: Id
    customer_id: str = ""
    address_id: str = ""
    business_id: str = ""
    subscription_id: str = ""
    origin: str = ""
    currency_code: Currency
    custom_data: Annotated[dict[str, str], BeforeValidator(_texts)] = {}
    billing_details: BillingDetails = BillingDetails()
    billing_period: Period | None = None
    items: list[Item] = []
    details: Details

    @property
    def is_later(self) -> bool:
        return self.origin.startswith(RECURRING)

    @property
    def price_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.price.id for item in self.items if item.price))

    @property
    def term(self) -> str:
        """The one term of all items; empty where they differ."""
        cycles = [item.price.billing_cycle for item in self.items if item.price and item.price.billing_cycle]
        terms = {term_of(cycle.interval, cycle.frequency) for cycle in cycles}
        return terms.pop() if len(terms) == 1 else ""


class Adjustment(VendorAnswer):
    """https://developer.paddle.com/webhooks/adjustments/adjustment-updated"""

    id: Id
    action: str
    status: str = ""
    type: str = ""
    transaction_id: Id
    customer_id: str = ""


class Subscription(VendorAnswer):
    """https://developer.paddle.com/webhooks/subscriptions/subscription-created"""

    id: Id
    customer_id: str = ""
    created_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    items: list[Item] = []

    @property
    def trial_end(self) -> datetime | None:
        return max((item.trial_dates.ends_at for item in self.items if item.trial_dates), default=None)


class Customer(VendorAnswer):
    name: str = ""
    email: str = ""


class Business(VendorAnswer):
    name: str = ""
    tax_identifier: str = ""


class Address(VendorAnswer):
    country_code: str = ""


class OneTransaction(VendorAnswer):
    data: Transaction


class OneCustomer(VendorAnswer):
    data: Customer


class OneBusiness(VendorAnswer):
    data: Business


class OneAddress(VendorAnswer):
    data: Address


class CustomerId(VendorAnswer):
    id: str


class Customers(VendorAnswer):
    data: list[CustomerId]
