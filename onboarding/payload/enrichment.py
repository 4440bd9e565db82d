"""Missing fields are looked up at their source of truth before anybody is asked."""

from typing import Any

from onboarding.payload.gate import problems
from onboarding.payload.plausibility import domain_of
from onboarding.payload.schema import get

DEFAULT_URGENCY = "normal"
CRM_PATHS = frozenset({"ownership.crm_owner_id"})
"""What the CRM can be asked for."""


def known_here(content: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Fields that need no vendor: path -> (value, where it comes from). Only for what the gate finds missing."""
    missing = {problem.path for problem in problems(content) if problem.reason.startswith("is missing")}
    facts: dict[str, tuple[str, str]] = {}
    if "customer.domain" in missing and (domain := domain_of(get(content, "customer.primary_contact.email"))):
        facts["customer.domain"] = (domain, "derived:customer.primary_contact.email")
    if "kickoff.start_date" in missing:
        facts["kickoff.urgency"] = (DEFAULT_URGENCY, "default")
    return facts


def needs_crm(content: dict[str, Any]) -> bool:
    """Whether the CRM could fill something that is missing: it needs a deal or a domain to look it up by."""
    missing = {problem.path for problem in problems(content)}
    by_deal = bool(get(content, "commercial.deal_id"))
    return bool(missing & CRM_PATHS) and (by_deal or "customer.domain" not in missing)
