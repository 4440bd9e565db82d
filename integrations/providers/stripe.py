"""Stripe's webhooks: is it from Stripe, and what does it say of a payment. Pure: no database, no network.

Sources: signatures, https://docs.stripe.com/webhooks#verify-manually; objects, https://docs.stripe.com/api
(checkout/sessions, invoices, payment_intents); the change of 2025-03-31, https://docs.stripe.com/changelog/basil under
"Adds support for multiple partial payments on invoices". Both shapes arrive side by side: a webhook endpoint keeps the
API version that it was made with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import stripe
from pydantic import ValidationError

from integrations.providers import stripe_shapes as shapes
from integrations.strict_json import parse_object, without_nul

TOLERANCE_SECONDS = 300

SESSION, INVOICE, PAYMENT_INTENT, SUBSCRIPTION = (
    "stripe.checkout_session",
    "stripe.invoice",
    "stripe.payment_intent",
    "stripe.subscription",
)
OUR_ID, ORDER, DEAL = "firstvalue.id", "order", "deal"

NEVER_FIRST = frozenset({"subscription_cycle", "subscription_update", "subscription_threshold"})
"""``invoice.billing_reason`` of money from a customer whom we already have."""

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
    """From the price's interval."""

    @property
    def amount(self) -> Decimal:
        return major_units(self.amount_minor, self.currency)

    @property
    def is_bare(self) -> bool:
        """A payment intent alone says neither what was bought nor whether it is a renewal."""
        return self.kind == "payment_intent"


@dataclass(frozen=True)
class NotAPayment:
    """Nothing that starts an onboarding, and why."""

    reason: str
    payment: PaymentFacts | None = None
    """Set for a real payment that starts nothing, such as a renewal: its payment intent must start nothing either."""


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
    payment_intent: str
    whole: bool


def refund(event: Mapping[str, Any]) -> Refund | None:
    """What ``charge.refunded`` says; None for other events. Raises ``UnexpectedShape``."""
    if event.get("type") != "charge.refunded":
        return None
    try:
        envelope = shapes.Envelope.model_validate(without_nul(dict(event)))
        charge = shapes.Charge.model_validate(envelope.data.object)
    except ValidationError as error:
        raise UnexpectedShape(f"charge.refunded is not as Stripe documents it ({_problems(error)}).") from None
    return Refund(charge.id, _id(charge.payment_intent), charge.refunded)


def facts(event: Mapping[str, Any]) -> PaymentFacts | NotAPayment:
    """What a verified event says of a payment. Raises ``UnexpectedShape``."""
    type_ = event.get("type")
    reader = READERS.get(type_) if isinstance(type_, str) else None
    if reader is None:
        return NotAPayment("This type of event says nothing of a first payment.")
    try:
        envelope = shapes.Envelope.model_validate(without_nul(dict(event)))
        return reader(envelope)
    except ValidationError as error:
        raise UnexpectedShape(f"{type_} is not as Stripe documents it ({_problems(error)}).") from None


def _problems(error: ValidationError) -> str:
    items = error.errors(include_input=False, include_url=False)[:5]
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in items)


def _session(envelope: shapes.Envelope) -> PaymentFacts | NotAPayment:
    session = shapes.Session.model_validate(envelope.data.object)
    if session.mode == "setup":
        return NotAPayment("The session only saved a payment method.")
    if session.payment_status == "no_payment_required":
        return NotAPayment("Nothing was paid: the session needed no payment (a trial or a full discount).")
    if session.payment_status != "paid":
        return NotAPayment("The session is not paid yet.")
    if not session.amount_total:
        return NotAPayment("Nothing was paid: the session's total is zero.")
    if not session.currency:
        raise UnexpectedShape("A paid session without a currency.")
    details = session.customer_details or shapes.CustomerDetails()
    names = session.collected_information or shapes.CollectedInformation()
    business = details.business_name or names.business_name
    contact = details.individual_name or names.individual_name or details.name
    return PaymentFacts(
        kind="checkout_session",
        object_id=session.id,
        keys=_keys(session.id, session.payment_intent, session.invoice, session.subscription, session.metadata),
        amount_minor=session.amount_total,
        currency=session.currency,
        occurred_at=_time(envelope.created),
        checkout_session=session.id,
        invoice=_id(session.invoice),
        payment_intent=_id(session.payment_intent),
        customer=_id(session.customer),
        metadata=session.metadata,
        business_name=business,
        contact_name=contact if contact != business else "",
        email=details.email or session.customer_email or _email(session.customer),
        country=details.country,
        price_ids=session.price_ids,
        term=session.term,
    )


def _invoice(envelope: shapes.Envelope) -> PaymentFacts | NotAPayment:
    invoice = shapes.Invoice.model_validate(envelope.data.object)
    if not invoice.amount:
        return NotAPayment("Nothing was paid: the invoice's paid amount is zero.")
    intents = invoice.payment_intents
    first = intents[0] if intents else None
    paid_at = invoice.status_transitions.paid_at if invoice.status_transitions else None
    payment = PaymentFacts(
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
    )
    if invoice.billing_reason in NEVER_FIRST:
        return NotAPayment(f"Never a first payment: the invoice's billing reason is {invoice.billing_reason}.", payment)
    return payment


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
}


def _keys(
    session: str,
    intent: shapes.Reference | None,
    invoice: shapes.Reference | None,
    subscription: shapes.Reference | None,
    metadata: Mapping[str, str],
    *further_intents: shapes.Reference,
) -> tuple[tuple[str, str], ...]:
    pairs = [
        (OUR_ID, metadata.get("onboarding_transaction_id", "")),
        (SESSION, session),
        (INVOICE, _id(invoice)),
        (PAYMENT_INTENT, _id(intent)),
        *((PAYMENT_INTENT, further.id) for further in further_intents),
        (SUBSCRIPTION, _id(subscription)),
        (DEAL, metadata.get("commercial.deal_id") or metadata.get("deal_id", "")),
        (ORDER, metadata.get("commercial.order_id") or metadata.get("order_id", "")),
    ]
    return tuple(dict.fromkeys((kind, value.strip()) for kind, value in pairs if value.strip()))


def _id(reference: shapes.Reference | None) -> str:
    return reference.id if reference else ""


def _email(reference: shapes.Reference | None) -> str:
    return reference.email if reference else ""


def _time(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
