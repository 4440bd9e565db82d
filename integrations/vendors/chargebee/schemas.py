"""The parts of Chargebee's resources that we read, of both product catalogs.

Sources: https://apidocs.chargebee.com/docs/api/events (envelope, retries), /invoices, /customers, /transactions, /subscriptions,
and the types of its own library (https://github.com/chargebee/chargebee-node, types/resources). Amounts are in the currency's
smallest unit, times in Unix seconds; an attribute without a value is left out.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from integrations.connectors.answers import VendorAnswer
from integrations.inbound.events import Settlement
from integrations.inbound.terms import term_of

Id = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[int, Field(ge=946_684_800, le=7_258_118_400, description="The years 2000 to 2200.")]
Minor = Annotated[int, Field(ge=0, lt=10**15)]
PLANS = frozenset({"plan", "plan_item_price", "addon", "addon_item_price", "charge_item_price"})
"""``line_item.entity_type`` of what was bought, as against what was put on the invoice by hand."""


class WithCustomFields(VendorAnswer):
    """Custom fields stand among the others, as ``cf_…``."""

    model_config = ConfigDict(coerce_numbers_to_str=True, extra="allow")

    meta_data: dict[str, Any] = {}

    @property
    def metadata(self) -> dict[str, str]:
        own = {
            name.removeprefix("cf_"): each for name, each in (self.model_extra or {}).items() if name.startswith("cf_")
        }
        given = {**own, **self.meta_data}
        return {name: _text(each) for name, each in given.items() if isinstance(each, str | int | float)}


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Address(VendorAnswer):
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    company: str = ""
    country: str = ""


class Customer(WithCustomFields):
    id: Id
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    company: str = ""
    vat_number: str = ""
    vat_number_prefix: str = ""
    billing_address: Address = Address()


class Subscription(WithCustomFields):
    id: Id
    customer_id: str = ""
    billing_period: int = 0
    billing_period_unit: str = ""
    created_at: Seconds | None = None
    started_at: Seconds | None = None
    trial_end: Seconds | None = None

    @property
    def term(self) -> str:
        return term_of(self.billing_period_unit, self.billing_period)


class LineItem(VendorAnswer):
    entity_id: str = ""
    entity_type: str = ""
    subscription_id: str = ""
    date_from: Seconds | None = None
    date_to: Seconds | None = None
    amount: int = 0


class LinkedPayment(VendorAnswer):
    txn_id: str
    txn_status: str = ""


class CreditNote(VendorAnswer):
    cn_total: int = 0
    cn_status: str = ""


class Invoice(VendorAnswer):
    id: Id
    customer_id: str = ""
    subscription_id: str = ""
    status: str
    recurring: bool = False
    first_invoice: bool = False
    currency_code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    total: Minor = 0
    amount_paid: Minor = 0
    amount_adjusted: Minor = 0
    credits_applied: Minor = 0
    paid_at: Seconds | None = None
    po_number: str = ""
    line_items: list[LineItem] = []
    discounts: list[dict[str, Any]] = []
    linked_payments: list[LinkedPayment] = []
    issued_credit_notes: list[CreditNote] = []
    billing_address: Address = Address()

    @property
    def is_paid(self) -> bool:
        return self.status == "paid"

    @property
    def subscription(self) -> str:
        """Of an invoice for several, only its lines name them."""
        of_lines = {line.subscription_id for line in self.line_items if line.subscription_id}
        return self.subscription_id or (of_lines.pop() if len(of_lines) == 1 else "")

    @property
    def settlement(self) -> Settlement | None:
        """How it was settled; None where nothing was to be settled (a trial, a free plan)."""
        if self.amount_paid:
            return Settlement.PAID
        if not self.total:
            return Settlement.DISCOUNT if self.discounts else None
        if self.credits_applied:
            return Settlement.CREDIT_BALANCE
        return Settlement.CREDIT_NOTE if self.amount_adjusted else Settlement.UNKNOWN

    @property
    def payments(self) -> list[str]:
        return [each.txn_id for each in self.linked_payments if each.txn_status in ("", "success")]

    @property
    def price_ids(self) -> tuple[str, ...]:
        bought = (line.entity_id for line in self.line_items if line.entity_type in PLANS and line.entity_id)
        return tuple(dict.fromkeys(bought))

    @property
    def period(self) -> tuple[int, int] | None:
        """The earliest that it charges for."""
        lines = ((line.date_from, line.date_to) for line in self.line_items if line.amount > 0)
        return min(((start, end) for start, end in lines if start and end and end > start), default=None)

    @property
    def refunded(self) -> int:
        return sum(note.cn_total for note in self.issued_credit_notes if note.cn_status == "refunded")


class Transaction(VendorAnswer):
    id: Id
    type: str = ""
    status: str = ""
    amount: Minor = 0
    refunded_txn_id: str = ""


class Content(VendorAnswer):
    invoice: Invoice | None = None
    customer: Customer | None = None
    subscription: Subscription | None = None
    transaction: Transaction | None = None


class Envelope(VendorAnswer):
    id: Id
    event_type: Id
    occurred_at: Seconds
    content: Content
