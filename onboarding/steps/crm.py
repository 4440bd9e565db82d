"""CRM steps: the customer's account and its primary contact."""

from typing import Any

from integrations.providers.base import Connector, MatchKey
from integrations.words import System
from onboarding.payload.plausibility import customer_domain
from onboarding.payload.schema import get, without_empty
from onboarding.steps.base import Content, CustomerHandler, EnsureHandler, StepHandler, bounded
from onboarding.steps.registry import register


@register
class Lookup(StepHandler):
    """Asks the CRM for what the gate finds missing, before any person is asked."""

    name = "crm.lookup"
    system = System.CRM
    title = "look up missing data in the CRM"
    reads = ("customer.domain", "commercial.deal_id")


@register
class Account(CustomerHandler):
    name = "crm.account"
    system = System.CRM
    title = "find or create the CRM account"
    kind = "company"
    reads = (
        "customer.legal_name",
        "customer.domain",
        "customer.country",
        "ownership.crm_owner_id",
        "commercial.billing_email",
    )

    def keys(self, content: Content, reference: str) -> list[MatchKey]:
        keys = [MatchKey("reference", reference)]
        if domain := customer_domain(content):
            return [*keys, MatchKey("domain", domain)]
        name, email = get(content, "customer.legal_name"), get(content, "commercial.billing_email")
        return [*keys, MatchKey("name+billing-email", name, email)]

    def params(self, content: Content, related: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        return _filled(
            name=get(content, "customer.legal_name"),
            domain=customer_domain(content),
            country=get(content, "customer.country"),
            owner_id=get(content, "ownership.crm_owner_id"),
        )


@register
class Contact(EnsureHandler):
    name = "crm.contact"
    system = System.CRM
    title = "find or create the CRM contact"
    kind = "contact"
    shared = True
    needs = ("crm.account",)
    reads = ("customer.primary_contact.name", "customer.primary_contact.email")

    def match_key(self, content: Content, run_id: str) -> str:  # noqa: ARG002
        return bounded(f"email:{get(content, 'customer.primary_contact.email').lower()}")

    def reference(self, content: Content, run_id: str) -> str:
        return f"firstvalue:{self.match_key(content, run_id)}"

    def keys(self, content: Content, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return [MatchKey("email", get(content, "customer.primary_contact.email").lower())]

    def params(self, content: Content, related: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        first, _, last = get(content, "customer.primary_contact.name").partition(" ")
        return _filled(email=get(content, "customer.primary_contact.email").lower(), first_name=first, last_name=last)

    def settle(self, connector: Connector, external_id: str, related: dict[str, str]) -> None:
        connector.associate("contact", external_id, "company", related["crm.account"])


def _filled(**params: str) -> dict[str, Any]:
    filled: dict[str, Any] = without_empty(params)
    return filled
