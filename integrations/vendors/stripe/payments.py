"""Stripe's webhooks: is it from Stripe, and what does it say of a payment. Pure: no database, no network.

Sources: signatures, https://docs.stripe.com/webhooks#verify-manually; objects, https://docs.stripe.com/api
(checkout/sessions, invoices, payment_intents); the change of 2025-03-31, https://docs.stripe.com/changelog/basil under
"Adds support for multiple partial payments on invoices". Both shapes arrive side by side: a webhook endpoint keeps the
API version that it was made with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import stripe
from pydantic import ValidationError

from integrations.connectors.options import parts_of
from integrations.http.strict_json import parse_object, without_nul
from integrations.inbound.delivery import NotVerified, UnexpectedShape, problems_in
from integrations.inbound.events import (
    DEAL,
    ORDER,
    OUR_ID,
    QUOTE,
    Event,
    Ignored,
    Key,
    PaymentAllocated,
    PaymentRefunded,
    PaymentSucceeded,
    Role,
    Settlement,
    SubscriptionFacts,
    customer_amount_keys,
    kind_of,
    nothing_paid,
    written_keys,
)
from integrations.name_matching import company_name
from integrations.vendors.stripe import schemas as shapes

TOLERANCE_SECONDS = 300

VENDOR = "stripe"
SESSION, INVOICE, PAYMENT_INTENT, SUBSCRIPTION = (
    kind_of(VENDOR, role) for role in (Role.CHECKOUT, Role.INVOICE, Role.PAYMENT, Role.SUBSCRIPTION)
)
T = TypeVar("T")

LATER = frozenset({"subscription_cycle", "subscription_update", "subscription_threshold", "subscription"})
"""``invoice.billing_reason`` of an invoice that is not its subscription's first. It may be the first with money all the same."""
OWN_ACCOUNT = "own"
ACCOUNT = r"own|acct_[A-Za-z0-9]+"

ZERO_DECIMAL = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
THREE_DECIMAL = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


class BadSignature(NotVerified):
    """The body cannot be shown to come from Stripe."""


class OutsideTolerance(BadSignature):
    """Signed by Stripe, but too long ago (a replay) or in the future."""


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


def _refund(envelope: shapes.Envelope) -> Event:
    charge = shapes.Charge.model_validate(envelope.data.object)
    customer = _id(charge.customer)
    keys = _keys("", charge.payment_intent, charge.invoice, None, charge.metadata)
    by_amount = customer_amount_keys(VENDOR, customer, charge.amount, charge.currency)
    return PaymentRefunded(charge=charge.id, keys=(*keys, *by_amount), customer=customer, whole=charge.refunded)


def _invoice_payment(envelope: shapes.Envelope) -> Event:
    told = shapes.InvoicePayment.model_validate(envelope.data.object)
    intent = told.payment.payment_intent if told.payment else None
    if intent is None or told.invoice is None:
        return Ignored(reason="It names no payment intent: the invoice itself tells that it is paid.")
    return PaymentAllocated(payment=Key(PAYMENT_INTENT, intent.id), invoice=Key(INVOICE, told.invoice.id))


def _accounts(option: Any) -> set[str]:
    return set(parts_of(str(option or ""))) or {OWN_ACCOUNT}


def of_another_account(event: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Why a connection with these options does not take the event; empty where it does. Raises ``UnexpectedShape``."""
    try:
        origin = shapes.Origin.model_validate(without_nul(dict(event)))
    except ValidationError as error:
        raise UnexpectedShape(
            f"The event does not say whose it is as Stripe documents it ({problems_in(error)})."
        ) from None
    account = origin.account or origin.context.rpartition("/")[2]
    if (account or OWN_ACCOUNT) in _accounts(options.get("accounts")):
        return ""
    if account:
        return f"An event of the connected account {account}, which this connection does not take."
    return "An event of the account itself: this connection takes those of connected accounts alone."


def read(event: Mapping[str, Any]) -> Event:
    """What a verified event means. Raises ``UnexpectedShape``."""
    type_ = event.get("type")
    reader = READERS.get(type_) if isinstance(type_, str) else None
    if reader is None:
        return Ignored(reason="This type of event says nothing of a first payment.")
    return _as_documented(event, reader)


def _as_documented(event: Mapping[str, Any], reader: Callable[[shapes.Envelope], T]) -> T:
    """What ``reader`` finds in the event. Raises ``UnexpectedShape``."""
    try:
        return reader(shapes.Envelope.model_validate(without_nul(dict(event))))
    except ValidationError as error:
        what = f"{event.get('type')} is not as Stripe documents it"
        raise UnexpectedShape(f"{what} ({problems_in(error)}).") from None


def _session(envelope: shapes.Envelope) -> Event:
    session = shapes.Session.model_validate(envelope.data.object)
    began = (
        SubscriptionFacts(session.subscription.id, _id(session.customer), is_start=True)
        if session.subscription
        else None
    )
    if session.mode == "setup":
        return nothing_paid("The session only saved a payment method.")
    if session.payment_status not in ("paid", "no_payment_required"):
        return nothing_paid("The session is not paid yet.", began)
    settlement = Settlement.PAID
    if session.payment_status == "no_payment_required" or not session.amount_total:
        if not (session.amount_subtotal or 0) > (session.amount_total or 0):
            return nothing_paid("Nothing was to be paid: a trial or a free plan.", began)
        settlement = Settlement.DISCOUNT
    if not session.currency:
        raise UnexpectedShape("A paid session without a currency.")
    details = session.customer_details or shapes.CustomerDetails()
    names = session.collected_information or shapes.CollectedInformation()
    person = details.individual_name or names.individual_name
    business = company_name(details.business_name or names.business_name, person)
    contact = person or company_name(details.name, business)
    return PaymentSucceeded(
        told_by=Role.CHECKOUT,
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
        amount=major_units(session.amount_total or 0, session.currency),
        currency=session.currency,
        occurred_at=_time(envelope.created),
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


def _invoice(envelope: shapes.Envelope) -> Event:
    invoice = shapes.Invoice.model_validate(envelope.data.object)
    subscription = _subscription_of(invoice)
    if invoice.settlement is None:
        return nothing_paid(
            "Nothing was to be paid: a trial, a free plan or a credit.",
            subscription and replace(subscription, is_free=True),
        )
    intents = invoice.payment_intents
    first = intents[0] if intents else None
    paid_at = invoice.status_transitions.paid_at if invoice.status_transitions else None
    period = invoice.period
    return PaymentSucceeded(
        told_by=Role.INVOICE,
        object_id=invoice.id,
        keys=_keys("", first, invoice.reference, invoice.of_subscription, invoice.all_metadata, *intents[1:]),
        amount_minor=invoice.amount,
        amount=major_units(invoice.amount, invoice.currency),
        currency=invoice.currency,
        occurred_at=_time(paid_at or envelope.created),
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


def _subscription(envelope: shapes.Envelope) -> Event:
    told = shapes.Subscription.model_validate(envelope.data.object)
    is_start = envelope.type == "customer.subscription.created"
    began_at, trial_end = _time(told.start_date or told.created), _time(told.trial_end)
    about = SubscriptionFacts(told.id, _id(told.customer), is_start, began_at=began_at, trial_end=trial_end)
    return nothing_paid("It tells of a subscription; what is paid for it comes with its invoice.", about)


def _payment_intent(envelope: shapes.Envelope) -> Event:
    intent = shapes.PaymentIntent.model_validate(envelope.data.object)
    if not intent.amount_received:
        return nothing_paid("Nothing was paid: the payment intent received nothing.")
    return PaymentSucceeded(
        told_by=Role.PAYMENT,
        object_id=intent.id,
        keys=_keys("", intent.reference, intent.of_invoice, None, intent.metadata),
        amount_minor=intent.amount_received,
        amount=major_units(intent.amount_received, intent.currency),
        currency=intent.currency,
        occurred_at=_time(envelope.created),
        customer=_id(intent.customer),
        metadata=intent.metadata,
        email=intent.receipt_email or _email(intent.customer),
    )


READERS: dict[str, Callable[[shapes.Envelope], Event]] = {
    "checkout.session.completed": _session,
    "checkout.session.async_payment_succeeded": _session,
    "invoice.paid": _invoice,
    "invoice.payment_succeeded": _invoice,
    "payment_intent.succeeded": _payment_intent,
    "customer.subscription.created": _subscription,
    "customer.subscription.updated": _subscription,
    "customer.subscription.trial_will_end": _subscription,
    "charge.refunded": _refund,
    "invoice_payment.paid": _invoice_payment,
}


def _keys(
    session: str,
    intent: shapes.Reference | None,
    invoice: shapes.Reference | None,
    subscription: shapes.Reference | None,
    metadata: Mapping[str, str],
    *further_intents: shapes.Reference,
    order: str = "",
) -> tuple[Key, ...]:
    pairs = [
        (OUR_ID, metadata.get("onboarding_transaction_id", "")),
        (SESSION, session),
        (INVOICE, _id(invoice)),
        (PAYMENT_INTENT, _id(intent)),
        *((PAYMENT_INTENT, further.id) for further in further_intents),
        (SUBSCRIPTION, _id(subscription)),
    ]
    own = [Key(kind, value.strip()) for kind, value in pairs if value.strip()]
    written = written_keys(metadata, DEAL, QUOTE, ORDER)
    if order.strip() and not any(key.kind == ORDER for key in written):
        written = (*written, Key(ORDER, order.strip()))
    return tuple(dict.fromkeys([*own, *written]))


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
