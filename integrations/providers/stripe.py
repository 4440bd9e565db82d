"""Stripe's webhooks: is it from Stripe, and what does it say of a payment. Pure: no database, no network.

Sources: signatures, https://docs.stripe.com/webhooks#verify-manually; objects, https://docs.stripe.com/api
(checkout/sessions, invoices, payment_intents); the change of 2025-03-31, https://docs.stripe.com/changelog/basil under
"Adds support for multiple partial payments on invoices". Both shapes arrive side by side: a webhook endpoint keeps the
API version that it was made with.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

import stripe
from pydantic import ValidationError

from integrations.providers import stripe_shapes as shapes
from integrations.providers.stripe_shapes import Settlement
from integrations.strict_json import parse_object, without_nul

TOLERANCE_SECONDS = 300

SESSION, INVOICE, PAYMENT_INTENT, SUBSCRIPTION = (
    "stripe.checkout_session",
    "stripe.invoice",
    "stripe.payment_intent",
    "stripe.subscription",
)
T = TypeVar("T")
OUR_ID, ORDER, DEAL = "firstvalue.id", "order", "deal"

CUSTOMER_AMOUNT = "stripe.customer_amount"
"""Customer, amount and currency in one key: ties a refund to a payment of which no event names an intent."""
LATER = frozenset({"subscription_cycle", "subscription_update", "subscription_threshold", "subscription"})
"""``invoice.billing_reason`` of an invoice that is not its subscription's first. It may be the first with money all the same."""
OWN_ACCOUNT = "own"
ACCOUNTS_HELP = (
    "Whose events are taken: own for the account itself, connected accounts' ids (acct_…); commas between. Empty: own."
)
_ACCOUNT = re.compile(r"own|acct_[A-Za-z0-9]+")

ZERO_DECIMAL = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
THREE_DECIMAL = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


class BadSignature(Exception):
    """The body cannot be shown to come from Stripe."""


class OutsideTolerance(BadSignature):
    """Signed by Stripe, but too long ago (a replay) or in the future."""


class UnexpectedShape(Exception):
    """Verified, but not what Stripe documents: a person must look. The text names fields and repeats no values."""


@dataclass(frozen=True)
class PaymentFacts:
    """One payment as one Stripe object tells it."""

    kind: Literal["checkout_session", "invoice", "payment_intent"]
    object_id: str
    keys: tuple[tuple[str, str], ...]
    """Correlation keys, (kind, value), the strongest first."""
    amount_minor: int
    currency: str
    """ISO 4217, upper case."""
    occurred_at: datetime | None
    checkout_session: str = ""
    invoice: str = ""
    payment_intent: str = ""
    customer: str = ""
    metadata: Mapping[str, str] | None = None
    business_name: str = ""
    """What the buyer gave as the company's name."""
    customer_name: str = ""
    """The name on the Stripe customer: often the company, sometimes the person who paid."""
    contact_name: str = ""
    email: str = ""
    country: str = ""
    price_ids: tuple[str, ...] = ()
    term: str = ""
    """From the price's interval, or the period that is paid for."""
    tax_id: str = ""
    client_reference: str = ""
    """A session's ``client_reference_id``."""
    custom_fields: tuple[tuple[str, str], ...] = ()
    """What the buyer answered, or the account's owner wrote: (key or label, value)."""
    settlement: Settlement = Settlement.PAID
    subscription: "SubscriptionFacts | None" = None
    is_later_invoice: bool = False
    """Not the first invoice of its subscription."""
    period: tuple[datetime, datetime] | None = None
    """The earliest full period that an invoice charges for."""
    credits_unused_time: bool = False

    @property
    def amount(self) -> Decimal:
        return major_units(self.amount_minor, self.currency)

    @property
    def is_bare(self) -> bool:
        """A payment intent alone says neither what was bought nor whether it is a renewal."""
        return self.kind == "payment_intent"

    @property
    def is_cash(self) -> bool:
        """Paid through Stripe: there is a payment intent, whether or not anything names it."""
        return self.settlement is Settlement.PAID

    @property
    def intents(self) -> tuple[str, ...]:
        """All payment intents that it names: an invoice may be paid by several."""
        return tuple(value for kind, value in self.keys if kind == PAYMENT_INTENT)


@dataclass(frozen=True)
class SubscriptionFacts:
    """What an event tells of a subscription itself."""

    id: str
    customer: str = ""
    is_start: bool = False
    """It is told of as it begins: by its checkout, its first invoice or ``customer.subscription.created``."""
    is_free: bool = False
    """Told by a bill with nothing to pay."""
    began_at: datetime | None = None
    trial_end: datetime | None = None


@dataclass(frozen=True)
class NotAPayment:
    """Nothing that starts an onboarding, and why."""

    reason: str
    subscription: SubscriptionFacts | None = None
    """Set where it tells of a subscription: its first payment is told from that later."""


@dataclass(frozen=True)
class InvoicePaid:
    """``invoice_payment.paid``: which intent pays which invoice. Alone it starts nothing."""

    payment_intent: str
    invoice: str


def verify(raw: bytes, header: str, secrets: list[str], now: datetime) -> dict[str, Any]:
    """The event, once one of the active secrets matches one of the header's ``v1`` signatures over the raw body.

    ``now`` decides the tolerance of 300 s in both directions; stripe-python itself accepts any time in the future
    (``stripe/_webhook.py``). Raises ``BadSignature``, ``OutsideTolerance``, ``strict_json.BadJson``.
    """
    if not header or not header.isascii():  # compare_digest takes no other text
        raise BadSignature("The Stripe-Signature header is missing or malformed.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSignature("The body is not UTF-8.") from None
    # Every secret is tried, so that the time taken does not tell which one matched.
    if not any([_signed_with(text, header, secret) for secret in secrets]):  # noqa: C419
        raise BadSignature("No signature in Stripe-Signature matches this body.")
    if abs(now.timestamp() - _signed_at(header)) > TOLERANCE_SECONDS:
        raise OutsideTolerance(f"The signature's time is more than {TOLERANCE_SECONDS} seconds away from now.")
    return parse_object(raw)


def _signed_with(text: str, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(text, header, secret, tolerance=None)
    except stripe.SignatureVerificationError:
        return False
    return True


def _signed_at(header: str) -> int:
    """The time that the library has just verified: the first ``t``."""
    return next(int(item.split("=", 2)[1]) for item in header.split(",") if item.startswith("t="))


def major_units(minor: int, currency: str) -> Decimal:
    """An API amount in major units.

    https://docs.stripe.com/currencies#minor-units: two decimals unless listed. UGX stands in the list of zero-decimal
    currencies, but its special case says otherwise, as for ISK ("to charge 5 UGX, provide an amount value of 500"); HUF
    and TWD are zero-decimal for payouts only.
    """
    code = currency.upper()
    decimals = 0 if code in ZERO_DECIMAL else 3 if code in THREE_DECIMAL else 2
    return Decimal(minor).scaleb(-decimals)


@dataclass(frozen=True)
class Refund:
    """A payment that went back. ``whole``: all of it."""

    charge: str
    keys: tuple[tuple[str, str], ...]
    """Correlation keys of the payment."""
    customer: str
    whole: bool


def refund(event: Mapping[str, Any]) -> Refund | None:
    """What ``charge.refunded`` says; None for other events. Raises ``UnexpectedShape``."""
    if event.get("type") != "charge.refunded":
        return None
    charge = _as_documented(event, lambda envelope: shapes.Charge.model_validate(envelope.data.object))
    customer = _id(charge.customer)
    keys = _keys("", charge.payment_intent, charge.invoice, None, charge.metadata)
    by_amount = customer_amount_key(customer, charge.amount, charge.currency)
    return Refund(charge.id, (*keys, *by_amount), customer, charge.refunded)


def customer_amount_key(customer: str, amount_minor: int, currency: str) -> tuple[tuple[str, str], ...]:
    """One key, or none for a payment without a customer or an amount."""
    return ((CUSTOMER_AMOUNT, f"{customer}:{amount_minor}:{currency.upper()}"),) if customer and amount_minor else ()


def invoice_paid(event: Mapping[str, Any]) -> InvoicePaid | NotAPayment | None:
    """What ``invoice_payment.paid`` says; None for other events. Raises ``UnexpectedShape``."""
    if event.get("type") != "invoice_payment.paid":
        return None
    told = _as_documented(event, lambda envelope: shapes.InvoicePayment.model_validate(envelope.data.object))
    intent = told.payment.payment_intent if told.payment else None
    if intent is None or told.invoice is None:
        return NotAPayment("It names no payment intent: the invoice itself tells that it is paid.")
    return InvoicePaid(intent.id, told.invoice.id)


def check_options(options: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` in plain words."""
    if wrong := [part for part in _accounts(options.get("accounts")) if not _ACCOUNT.fullmatch(part)]:
        raise ValueError(
            f"accounts: {', '.join(sorted(wrong))} is neither own nor the id of a connected account (acct_…)"
        )


def _accounts(option: Any) -> set[str]:
    return {part.strip() for part in str(option or "").split(",") if part.strip()} or {OWN_ACCOUNT}


def of_another_account(event: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Why a connection with these options does not take the event; empty where it does. Raises ``UnexpectedShape``."""
    try:
        origin = shapes.Origin.model_validate(without_nul(dict(event)))
    except ValidationError as error:
        raise UnexpectedShape(
            f"The event does not say whose it is as Stripe documents it ({_problems(error)})."
        ) from None
    account = origin.account or origin.context.rpartition("/")[2]
    if (account or OWN_ACCOUNT) in _accounts(options.get("accounts")):
        return ""
    if account:
        return f"An event of the connected account {account}, which this connection does not take."
    return "An event of the account itself: this connection takes those of connected accounts alone."


def facts(event: Mapping[str, Any]) -> PaymentFacts | NotAPayment:
    """What a verified event says of a payment. Raises ``UnexpectedShape``."""
    type_ = event.get("type")
    reader = READERS.get(type_) if isinstance(type_, str) else None
    if reader is None:
        return NotAPayment("This type of event says nothing of a first payment.")
    return _as_documented(event, reader)


def _as_documented(event: Mapping[str, Any], reader: Callable[[shapes.Envelope], T]) -> T:
    """What ``reader`` finds in the event. Raises ``UnexpectedShape``."""
    try:
        return reader(shapes.Envelope.model_validate(without_nul(dict(event))))
    except ValidationError as error:
        what = f"{event.get('type')} is not as Stripe documents it"
        raise UnexpectedShape(f"{what} ({_problems(error)}).") from None


def _problems(error: ValidationError) -> str:
    items = error.errors(include_input=False, include_url=False)[:5]
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in items)


def _session(envelope: shapes.Envelope) -> PaymentFacts | NotAPayment:
    session = shapes.Session.model_validate(envelope.data.object)
    began = (
        SubscriptionFacts(session.subscription.id, _id(session.customer), is_start=True)
        if session.subscription
        else None
    )
    if session.mode == "setup":
        return NotAPayment("The session only saved a payment method.")
    if session.payment_status not in ("paid", "no_payment_required"):
        return NotAPayment("The session is not paid yet.", began)
    settlement = Settlement.PAID
    if session.payment_status == "no_payment_required" or not session.amount_total:
        if not (session.amount_subtotal or 0) > (session.amount_total or 0):
            return NotAPayment("Nothing was to be paid: a trial or a free plan.", began)
        settlement = Settlement.DISCOUNT
    if not session.currency:
        raise UnexpectedShape("A paid session without a currency.")
    details = session.customer_details or shapes.CustomerDetails()
    names = session.collected_information or shapes.CollectedInformation()
    person = details.individual_name or names.individual_name
    business = company_name(details.business_name or names.business_name, person)
    contact = person or company_name(details.name, business)
    return PaymentFacts(
        kind="checkout_session",
        object_id=session.id,
        keys=_keys(
            session.id,
            session.payment_intent,
            session.invoice,
            session.subscription,
            session.metadata,
            order=session.client_reference_id,
        ),
        amount_minor=session.amount_total or 0,
        currency=session.currency,
        occurred_at=_time(envelope.created),
        checkout_session=session.id,
        invoice=_id(session.invoice),
        payment_intent=_id(session.payment_intent),
        customer=_id(session.customer),
        metadata=session.metadata,
        business_name=business,
        customer_name=company_name(session.customer.name, contact) if session.customer else "",
        contact_name=contact,
        email=details.email or session.customer_email or _email(session.customer),
        country=details.country,
        price_ids=session.price_ids,
        term=session.term,
        tax_id=_first(details.tax_ids),
        client_reference=session.client_reference_id.strip(),
        custom_fields=_answers(session.custom_fields),
        settlement=settlement,
        subscription=began,
    )


def _invoice(envelope: shapes.Envelope) -> PaymentFacts | NotAPayment:
    invoice = shapes.Invoice.model_validate(envelope.data.object)
    subscription = _subscription_of(invoice)
    if invoice.settlement is None:
        return NotAPayment(
            "Nothing was to be paid: a trial, a free plan or a credit.",
            subscription and replace(subscription, is_free=True),
        )
    intents = invoice.payment_intents
    first = intents[0] if intents else None
    paid_at = invoice.status_transitions.paid_at if invoice.status_transitions else None
    period = invoice.period
    return PaymentFacts(
        kind="invoice",
        object_id=invoice.id,
        keys=_keys("", first, invoice.reference, invoice.of_subscription, invoice.all_metadata, *intents[1:]),
        amount_minor=invoice.amount,
        currency=invoice.currency,
        occurred_at=_time(paid_at or envelope.created),
        invoice=invoice.id,
        payment_intent=_id(first),
        customer=_id(invoice.customer),
        metadata=invoice.all_metadata,
        customer_name=invoice.customer_name or (invoice.customer.name if invoice.customer else ""),
        email=invoice.customer_email or _email(invoice.customer),
        country=invoice.country,
        price_ids=invoice.price_ids,
        term=invoice.term,
        tax_id=_first(invoice.customer_tax_ids),
        custom_fields=tuple((item.name, item.value.strip()) for item in invoice.custom_fields if item.value.strip()),
        settlement=invoice.settlement,
        subscription=subscription,
        is_later_invoice=invoice.billing_reason in LATER,
        period=(_at(period.start), _at(period.end)) if period else None,
        credits_unused_time=invoice.credits_unused_time,
    )


def _subscription_of(invoice: shapes.Invoice) -> SubscriptionFacts | None:
    reference = invoice.of_subscription
    if reference is None and invoice.billing_reason not in LATER:
        return None
    is_start = invoice.billing_reason == "subscription_create"
    return SubscriptionFacts(_id(reference), _id(invoice.customer), is_start)


def _subscription(envelope: shapes.Envelope) -> NotAPayment:
    told = shapes.Subscription.model_validate(envelope.data.object)
    is_start = envelope.type == "customer.subscription.created"
    began_at, trial_end = _time(told.start_date or told.created), _time(told.trial_end)
    about = SubscriptionFacts(told.id, _id(told.customer), is_start, began_at=began_at, trial_end=trial_end)
    return NotAPayment("It tells of a subscription; what is paid for it comes with its invoice.", about)


def _payment_intent(envelope: shapes.Envelope) -> PaymentFacts | NotAPayment:
    intent = shapes.PaymentIntent.model_validate(envelope.data.object)
    if not intent.amount_received:
        return NotAPayment("Nothing was paid: the payment intent received nothing.")
    return PaymentFacts(
        kind="payment_intent",
        object_id=intent.id,
        keys=_keys("", intent.reference, intent.of_invoice, None, intent.metadata),
        amount_minor=intent.amount_received,
        currency=intent.currency,
        occurred_at=_time(envelope.created),
        invoice=_id(intent.of_invoice),
        payment_intent=intent.id,
        customer=_id(intent.customer),
        metadata=intent.metadata,
        email=intent.receipt_email or _email(intent.customer),
    )


Reader = Callable[[shapes.Envelope], PaymentFacts | NotAPayment]
READERS: dict[str, Reader] = {
    "checkout.session.completed": _session,
    "checkout.session.async_payment_succeeded": _session,
    "invoice.paid": _invoice,
    "invoice.payment_succeeded": _invoice,
    "payment_intent.succeeded": _payment_intent,
    "customer.subscription.created": _subscription,
    "customer.subscription.updated": _subscription,
    "customer.subscription.trial_will_end": _subscription,
}


def _keys(
    session: str,
    intent: shapes.Reference | None,
    invoice: shapes.Reference | None,
    subscription: shapes.Reference | None,
    metadata: Mapping[str, str],
    *further_intents: shapes.Reference,
    order: str = "",
) -> tuple[tuple[str, str], ...]:
    pairs = [
        (OUR_ID, metadata.get("onboarding_transaction_id", "")),
        (SESSION, session),
        (INVOICE, _id(invoice)),
        (PAYMENT_INTENT, _id(intent)),
        *((PAYMENT_INTENT, further.id) for further in further_intents),
        (SUBSCRIPTION, _id(subscription)),
        (DEAL, metadata.get("commercial.deal_id") or metadata.get("deal_id", "")),
        (ORDER, metadata.get("commercial.order_id") or metadata.get("order_id") or order),
    ]
    return tuple(dict.fromkeys((kind, value.strip()) for kind, value in pairs if value.strip()))


def company_name(name: str, person: str) -> str:
    """``name``, unless it is the person's own, whatever case, spacing or order of the words: the name on a card is no company's."""
    return "" if name and is_same_name(name, person) else name


def is_same_name(one: str, other: str) -> bool:
    return bool(_words(one)) and _words(one) == _words(other)


def _words(name: str) -> list[str]:
    text = unicodedata.normalize("NFKC", name).casefold()
    return sorted("".join(character if character.isalnum() else " " for character in text).split())


def _answers(custom_fields: Sequence[shapes.CustomField]) -> tuple[tuple[str, str], ...]:
    named = ((item.key or (item.label.custom if item.label else ""), item.value) for item in custom_fields)
    return tuple((name, value) for name, value in named if name and value)


def _first(tax_ids: Sequence[shapes.TaxId]) -> str:
    return next((item.value.strip() for item in tax_ids if item.value.strip()), "")


def _id(reference: shapes.Reference | None) -> str:
    return reference.id if reference else ""


def _email(reference: shapes.Reference | None) -> str:
    return reference.email if reference else ""


def _time(seconds: int | None) -> datetime | None:
    return _at(seconds) if seconds else None


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
