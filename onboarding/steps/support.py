"""Support steps: the customer's organization at the help desk."""

from typing import Any

from integrations.providers.base import MatchKey
from integrations.words import System
from onboarding.payload.plausibility import customer_domain
from onboarding.payload.schema import get
from onboarding.steps.base import Content, CustomerHandler
from onboarding.steps.registry import register


@register
class Organization(CustomerHandler):
    name = "support.organization"
    system = System.SUPPORT
    title = "find or create the support organization"
    kind = "organization"
    reads = ("customer.legal_name", "customer.domain", "commercial.billing_email")

    def keys(self, content: Content, reference: str) -> list[MatchKey]:
        # The help desk keeps names unique, so a namesake is found here or met as a conflict; its domain decides whose it is.
        name, domain = get(content, "customer.legal_name"), customer_domain(content)
        return [MatchKey("reference", reference), MatchKey("name", name, domain)]

    def params(self, content: Content, related: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        domain = customer_domain(content)
        return {"name": get(content, "customer.legal_name"), "domains": [domain] if domain else []}
