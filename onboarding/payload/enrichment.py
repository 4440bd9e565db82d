"""Missing fields are looked up at their source of truth before anybody is asked."""

from typing import Any

from onboarding.enums import OriginKind
from onboarding.origins import Origin
from onboarding.payload.gate import MISSING, Problem
from onboarding.payload.plausibility import domain_of
from onboarding.payload.schema import get

DEFAULT_URGENCY = "normal"
CONTACT_EMAIL = "customer.primary_contact.email"
CRM_PATHS = frozenset({"ownership.crm_owner_id"})
"""What the CRM can be asked for."""


def known_here(content: dict[str, Any], found: list[Problem]) -> dict[str, tuple[str, Origin]]:
    """Fields that need no vendor: path -> (value, where it comes from). Only for what the gate ``found`` missing."""
    missing = {problem.path for problem in found if problem.reason.startswith(MISSING)}
    facts: dict[str, tuple[str, Origin]] = {}
    if "customer.domain" in missing and (domain := domain_of(get(content, CONTACT_EMAIL))):
        facts["customer.domain"] = (domain, Origin(OriginKind.DERIVED, CONTACT_EMAIL))
    if "kickoff.start_date" in missing:
        facts["kickoff.urgency"] = (DEFAULT_URGENCY, Origin(OriginKind.DEFAULT))
    return facts


def needs_crm(content: dict[str, Any], found: list[Problem]) -> bool:
    """Whether the CRM could fill something that is missing: it needs a deal or a domain to look it up by."""
    missing = {problem.path for problem in found}
    by_deal = bool(get(content, "commercial.deal_id"))
    return bool(missing & CRM_PATHS) and (by_deal or "customer.domain" not in missing)
