"""From a signature, an approved contract or a won deal to the canonical payload."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from integrations.inbound.delivery import UnexpectedShape
from integrations.inbound.events import DEAL, OrderEvent
from integrations.name_matching import is_same_name
from onboarding.intake import billing
from onboarding.models import OnboardingTransaction
from onboarding.payload.plausibility import normal_domain
from onboarding.payload.schema import OnboardingPayload, get, paths, plain_number, with_value
from onboarding.playbooks.requirements import problems_of


@dataclass(frozen=True)
class OrderPayload:
    content: dict[str, Any]
    inferred: frozenset[str]
    """Paths that nobody stated for this order: they fill gaps and contradict nothing."""


def payload(event: OrderEvent, *, run_id: str, source: str) -> OrderPayload:
    """What it says of the order. Raises ``UnexpectedShape`` where the vendor's values do not fit the payload."""
    stated = billing.from_form(event.custom_fields) | billing.from_metadata(event.metadata)
    stated |= {path: value for path, value in _stated(event).items() if value and path not in stated}
    inferred = {path: value for path, value in _inferred(event).items() if value and path not in stated}
    fixed = {
        "onboarding_transaction_id": run_id,
        "event_source": source,
        "occurred_at": event.occurred_at.isoformat() if event.occurred_at else None,
    }
    raw: dict[str, Any] = {}
    for path, value in (inferred | stated | fixed).items():
        raw = with_value(raw, path, value)
    try:
        content = OnboardingPayload.model_validate(raw).content()
    except ValidationError as error:
        names = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False)[:5])
        raise UnexpectedShape(f"What it says of the order does not fit the payload: {names}.") from None
    return OrderPayload(content, frozenset(inferred))


def without_contradictions(run: OnboardingTransaction, told: OrderPayload) -> dict[str, Any]:
    """The content without inferred values for fields that plausibly hold another."""
    known, fixed = paths(run.payload), {problem.path for problem in problems_of(run)}
    content = told.content
    for path in told.inferred:
        if path in known and path not in fixed:
            content = with_value(content, path, None)
    if is_same_name(get(content, "customer.legal_name"), get(run.payload, "customer.legal_name")):
        content = with_value(content, "customer.legal_name", None)
    return content


def _stated(event: OrderEvent) -> dict[str, Any]:
    return {
        "customer.legal_name": event.company,
        "customer.domain": normal_domain(event.domain),
        "commercial.deal_id": next((key.value for key in event.keys if key.kind == DEAL), ""),
    }


def _inferred(event: OrderEvent) -> dict[str, Any]:
    """A deal's amount is a forecast, a signer is not always the contact, and an owner may be handed over: each fills a gap."""
    money = {
        "commercial.amount": plain_number(event.amount) if event.amount is not None else None,
        "commercial.currency": event.currency,
    }
    return (money if event.amount is not None and event.currency else {}) | {
        "customer.country": event.country,
        "customer.primary_contact.name": event.contact_name,
        "customer.primary_contact.email": event.email,
        "ownership.crm_owner_id": event.owner_id,
    }
