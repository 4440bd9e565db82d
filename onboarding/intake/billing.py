"""From a payment at the billing system to the canonical payload: one explicit table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from integrations.inbound.delivery import UnexpectedShape
from integrations.inbound.events import OUR_ID, OrderEvent, PaymentSucceeded
from integrations.name_matching import company_name
from onboarding.intake.prices import plan_for
from onboarding.payload.schema import OnboardingPayload, TransactionId, paths, plain_number, with_values

SOURCE = "billing"

METADATA: dict[str, tuple[str, ...]] = {
    "customer.legal_name": ("legal_name",),
    "customer.domain": ("domain",),
    "customer.no_domain": ("no_domain",),
    "customer.segment": ("segment",),
    "customer.territory": ("territory",),
    "customer.legal_entity": ("legal_entity",),
    "customer.tax_id": ("tax_id",),
    "customer.country": ("country",),
    "customer.primary_contact.name": ("primary_contact.name", "primary_contact_name", "contact_name"),
    "customer.primary_contact.email": ("primary_contact.email", "primary_contact_email", "contact_email"),
    "commercial.plan_sku": ("plan_sku",),
    "commercial.term": ("term",),
    "commercial.billing_email": ("billing_email",),
    "commercial.order_id": ("order_id",),
    "commercial.deal_id": ("deal_id",),
    "commercial.payment_terms": ("payment_terms",),
    "commercial.cost_centre": ("cost_centre",),
    "commercial.nonstandard_terms": ("nonstandard_terms",),
    "ownership.crm_owner_id": ("crm_owner_id",),
    "ownership.implementation_owner_id": ("implementation_owner_id",),
    "kickoff.start_date": ("start_date",),
    "kickoff.urgency": ("urgency",),
    "first_value_target.milestone": ("milestone",),
    "first_value_target.target_days": ("target_days",),
    "security.review_required": ("review_required",),
    "handover.success_criteria": ("success_criteria",),
}
"""Metadata keys that are understood: payload path (itself a key, and the strongest) -> its short forms.

Amount and currency are missing on purpose: the payment itself says them.
"""
ANSWERS: dict[str, tuple[str, ...]] = {
    "customer.legal_name": ("company", "companyname", "business", "businessname", "organization", "organisation"),
    "customer.domain": ("website", "companydomain"),
    "customer.tax_id": ("vat", "vatid", "vatnumber", "taxnumber"),
    "customer.primary_contact.name": ("contact", "fullname"),
    "customer.primary_contact.email": ("email",),
    "commercial.order_id": ("order", "ordernumber", "po", "ponumber", "purchaseorder"),
    "commercial.cost_centre": ("costcenter",),
    "kickoff.start_date": ("kickoffdate",),
}
"""What buyers are usually asked at the checkout, beside the forms of ``METADATA``: payload path -> names as ``_plain`` has them."""
FLAGS = frozenset({"customer.no_domain", "commercial.nonstandard_terms", "security.review_required"})
NUMBERS = frozenset({"first_value_target.target_days"})
MAX_DIGITS = 3
TRUE, FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})

_transaction_id: TypeAdapter[str] = TypeAdapter(TransactionId)


@dataclass(frozen=True)
class BillingPayload:
    content: dict[str, Any]
    inferred: frozenset[str]
    """Paths read off the payer or the price rather than stated by anyone: they fill gaps and contradict nothing."""


def payload(facts: PaymentSucceeded) -> BillingPayload:
    """The canonical payload of one payment. Raises ``UnexpectedShape`` where the vendor's values do not fit it."""
    told = _from_answers(facts.custom_fields) | from_metadata(facts.metadata)
    stated = (paths(_content(facts, {})) if facts.content else {}) | told
    if facts.business_name and "customer.legal_name" not in stated:
        stated["customer.legal_name"] = told["customer.legal_name"] = facts.business_name
    inferred = {path: value for path, value in _inferred(facts, stated).items() if value and path not in stated}
    fixed = {
        "commercial.amount": plain_number(facts.amount) if facts.currency else None,
        "commercial.currency": facts.currency,
    }
    content = _content(facts, inferred | told | fixed)
    # One of several payments of an invoice pays a part: what it was told of alone is no statement of the order's amount.
    return BillingPayload(content, frozenset(inferred) | ({"commercial.amount"} if facts.is_bare else set()))


def _content(facts: PaymentSucceeded, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the seller's system stated of the payload, with these values by their paths. Raises ``UnexpectedShape``."""
    named = {
        "onboarding_transaction_id": run_ids(facts)[0],
        "event_source": SOURCE,
        "occurred_at": facts.occurred_at.isoformat() if facts.occurred_at else None,
    }
    raw = with_values(dict(facts.content), {**values, **named})
    try:
        return OnboardingPayload.model_validate(raw).content()
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False)[:5])
        raise UnexpectedShape(f"The payment does not fit the payload: {wrong}.") from None


def from_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Payload path -> value for every key that is understood. A flag or number that is neither counts as absent."""
    found: dict[str, Any] = {}
    for path, short_forms in METADATA.items():
        text = next((text for name in (path, *short_forms) if (text := metadata.get(name, "").strip())), "")
        value = _typed(path, text)
        if value not in ("", None):
            found[path] = value
    return found


def _from_answers(custom_fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What the buyer answered at the checkout. What no field takes is kept as it is, beside the order's terms."""
    found = from_form(custom_fields)
    for name, value in custom_fields:
        if _answer(name, value)[1] in ("", None):
            found[f"commercial.custom_fields.{_plain(name) or 'field'}"] = value
    return found


def from_form(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Payload path -> value for what is understood of fields under names that people chose: (name, value)."""
    found: dict[str, Any] = {}
    for path, value in (_answer(name, value) for name, value in fields):
        if value not in ("", None):
            found.setdefault(path, value)
    return found


def _answer(name: str, value: str) -> tuple[str, Any]:
    """(payload path, typed value); the value is empty where no field takes it."""
    path = _ANSWER_PATHS.get(_plain(name), "")
    return path, _typed(path, value) if path else ""


def _plain(name: str) -> str:
    """A checkout's field has letters and digits alone in its key, so that is all that is compared."""
    return "".join(character for character in name.casefold() if character.isalnum())


_ANSWER_PATHS = {
    _plain(name): path
    for table in (ANSWERS, METADATA)
    for path, names in table.items()
    for name in (path, path.rpartition(".")[2], *names)
    if _plain(name) not in ("name", "email") or path.startswith("customer.primary_contact.")
}


def run_ids(facts: PaymentSucceeded) -> list[str]:
    """What a run of this payment may be called, best first: our id from the metadata, else the billing system's strongest id."""
    names = (our_id(facts), facts.payment, facts.invoice, facts.checkout)
    return [name for name in names if name]


def our_id(facts: PaymentSucceeded | OrderEvent) -> str:
    """``metadata.onboarding_transaction_id`` where it can be one of our ids."""
    value = next((value for kind, value in facts.keys if kind == OUR_ID), "")
    try:
        return _transaction_id.validate_python(value)
    except ValidationError:
        return ""


def _inferred(facts: PaymentSucceeded, stated: Mapping[str, Any]) -> dict[str, Any]:
    plan, plan_term = plan_for(facts.price_ids) or ("", "")
    contact = str(stated.get("customer.primary_contact.name") or facts.contact_name)
    return {
        "customer.legal_name": company_name(facts.customer_name, contact),
        "customer.tax_id": facts.tax_id,
        "commercial.order_id": facts.client_reference,
        "customer.country": facts.country,
        "customer.primary_contact.name": facts.contact_name,
        "customer.primary_contact.email": facts.email,
        "commercial.plan_sku": plan,
        "commercial.term": plan_term or facts.term,
        "commercial.billing_email": facts.email,
        "commercial.lines": [{"price_id": price_id} for price_id in facts.price_ids],
    }


def _typed(path: str, text: str) -> Any:
    if path in FLAGS:
        word = text.casefold()
        return True if word in TRUE else False if word in FALSE else None
    if path in NUMBERS:
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
    return text
