"""What Chargebee's events say of a payment. Pure: no database, no network.

Sources: https://apidocs.chargebee.com/docs/api/events (payment_succeeded, invoice_generated, invoice_updated, payment_refunded,
subscription_*), and what each carries in its own library's types (``WebhookEvent.d.ts`` in
https://github.com/chargebee/chargebee-node): an invoice's own events carry nothing but the invoice. Ids of invoices are numbers of
one site, so that ours begin with the connection's name.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
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
from integrations.name_matching import company_name
from integrations.vendors.chargebee import schemas

VENDOR = "chargebee"
INVOICE, PAYMENT, SUBSCRIPTION = (kind_of(VENDOR, role) for role in (Role.INVOICE, Role.PAYMENT, Role.SUBSCRIPTION))


def read(event: Mapping[str, Any], slug: str) -> Event:
    """``slug``: of the connection. Raises ``UnexpectedShape``."""
    type_ = event.get("event_type")
    reader = READERS.get(type_) if isinstance(type_, str) else None
    if reader is None:
        return Ignored(reason="This type of event says nothing of a first payment.")
    try:
        return reader(schemas.Envelope.model_validate(without_nul(dict(event))), slug)
    except ValidationError as error:
        what = f"{type_} is not as Chargebee documents it"
        raise UnexpectedShape(f"{what} ({problems_in(error)}).") from None


def _settled(envelope: schemas.Envelope, slug: str) -> Event:
    content = envelope.content
    invoice = content.invoice
    if invoice is None:
        return Ignored(reason="A payment in advance: the invoice that it pays tells of it.")
    if not invoice.is_paid:
        return Ignored(reason="The invoice is not paid in full yet.")
    about = _subscription_of(invoice)
    settlement = invoice.settlement
    if settlement is None:
        return nothing_paid("Nothing was to be paid: a trial or a free plan.", about)
    customer, subscription = content.customer, content.subscription
    address = customer.billing_address if customer else invoice.billing_address
    person = _name(customer) or _name(address)
    metadata = (customer.metadata if customer else {}) | (subscription.metadata if subscription else {})
    company = (customer.company if customer else "") or address.company
    period = invoice.period
    return PaymentSucceeded(
        told_by=Role.INVOICE,
        object_id=f"{slug}:{invoice.id}",
        keys=_keys(invoice, content.transaction, metadata, slug),
        amount_minor=invoice.total,
        amount=major_units(invoice.total, invoice.currency_code),
        currency=invoice.currency_code,
        occurred_at=_at(invoice.paid_at or envelope.occurred_at),
        customer=invoice.customer_id,
        metadata=metadata,
        business_name=company_name(company, person),
        contact_name=person,
        email=(customer.email if customer else "") or address.email,
        country=address.country,
        price_ids=invoice.price_ids,
        term=subscription.term if subscription else "",
        tax_id=f"{customer.vat_number_prefix}{customer.vat_number}" if customer and customer.vat_number else "",
        client_reference=invoice.po_number.strip(),
        settlement=settlement,
        subscription=about,
        is_later_invoice=invoice.recurring and not invoice.first_invoice,
        period=(_at(period[0]), _at(period[1])) if period else None,
    )


def _name(of: schemas.Customer | schemas.Address | None) -> str:
    return " ".join(f"{of.first_name} {of.last_name}".split()) if of else ""


def _subscription_of(invoice: schemas.Invoice) -> SubscriptionFacts | None:
    if not invoice.subscription:
        return None
    free = invoice.settlement is None
    return SubscriptionFacts(invoice.subscription, invoice.customer_id, is_start=invoice.first_invoice, is_free=free)


def _keys(
    invoice: schemas.Invoice, transaction: schemas.Transaction | None, metadata: Mapping[str, str], slug: str
) -> tuple[Key, ...]:
    """The strongest first."""
    paid_by = [transaction.id] if transaction and transaction.type in ("", "payment") else []
    pairs = [
        (OUR_ID, metadata.get("onboarding_transaction_id", "")),
        (INVOICE, f"{slug}:{invoice.id}"),
        *((PAYMENT, each) for each in dict.fromkeys([*paid_by, *invoice.payments])),
        (SUBSCRIPTION, invoice.subscription),
        (DEAL, metadata.get("commercial.deal_id") or metadata.get("deal_id", "")),
        (ORDER, metadata.get("commercial.order_id") or metadata.get("order_id") or invoice.po_number),
    ]
    return tuple(Key(kind, value.strip()) for kind, value in pairs if value.strip())


def _refunded(envelope: schemas.Envelope, slug: str) -> Event:
    told, invoice = envelope.content.transaction, envelope.content.invoice
    if told is None:
        raise UnexpectedShape(f"{envelope.event_type} has no transaction.")
    if told.status not in ("", "success"):
        return Ignored(reason="A refund that has not been carried out.")
    pairs = [(PAYMENT, told.refunded_txn_id), (INVOICE, f"{slug}:{invoice.id}" if invoice else "")]
    keys = tuple(Key(kind, value) for kind, value in pairs if value)
    if not keys:
        raise UnexpectedShape(f"{envelope.event_type} does not say which payment went back.")
    whole = invoice is None or max(told.amount, invoice.refunded) >= invoice.total
    return PaymentRefunded(charge=told.id, keys=keys, whole=whole, customer=invoice.customer_id if invoice else "")


def _subscription(envelope: schemas.Envelope, slug: str) -> Event:  # noqa: ARG001
    told = envelope.content.subscription
    if told is None:
        raise UnexpectedShape(f"{envelope.event_type} has no subscription.")
    began = told.started_at or told.created_at
    about = SubscriptionFacts(
        told.id,
        told.customer_id,
        is_start=envelope.event_type == "subscription_created",
        began_at=_at(began) if began else None,
        trial_end=_at(told.trial_end) if told.trial_end else None,
    )
    return nothing_paid("It tells of a subscription; what is paid for it comes with its invoice.", about)


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


READERS: dict[str, Callable[[schemas.Envelope, str], Event]] = {
    "payment_succeeded": _settled,
    "invoice_generated": _settled,
    "invoice_updated": _settled,
    "payment_refunded": _refunded,
    "subscription_created": _subscription,
    "subscription_started": _subscription,
    "subscription_activated": _subscription,
}
