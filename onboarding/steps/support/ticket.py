"""The first ticket at the help desk: agents learn of a new customer before the customer asks for anything."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from integrations.connectors.objects import SupportTicket
from integrations.domains import same_address
from integrations.enums import System
from onboarding.steps.base import Facts, RunHandler
from onboarding.steps.registry import register
from onboarding.steps.support.entitlement import Tag
from onboarding.steps.tables import Table

_CONTACT = "customer.primary_contact"
_SEEN = (("CRM account", "crm.account"), ("Handover note in the CRM", "crm.note"), ("Project", "delivery.project"))


class TicketOptions(Table):
    tags: tuple[Tag, ...] = ("onboarding",)
    note: str = Field("", max_length=2000)
    """For the agents, at the top of the ticket."""


@register
class FirstTicket(RunHandler):
    """Internal: the customer neither sees it nor is written to. Of what it says, the subject is kept up to date."""

    name = "support.ticket"
    system = System.SUPPORT
    title = "open the first support ticket"
    makes, kind = SupportTicket, SupportTicket.KIND
    paths = {"subject": "customer.legal_name", "requester": f"{_CONTACT}.email"}
    needs = ("support.organization",)
    ties_to = tuple(name for _, name in _SEEN)
    reads = ("customer.legal_name",)

    def check_options(self, options: Mapping[str, Any]) -> None:
        TicketOptions.of(options)

    def wanted(self, facts: Facts) -> SupportTicket:
        options = TicketOptions.of(facts.options)
        return SupportTicket(
            subject=self._subject(facts),
            body="\n".join(filter(None, [options.note, *self._lines(facts)])),
            organization_id=facts.related.get("support.organization", ""),
            requester=same_address(facts.get(f"{_CONTACT}.email")),
            requester_name=facts.get(f"{_CONTACT}.name"),
            tags=list(options.tags),
        )

    def state(self, facts: Facts) -> dict[str, Any]:
        """A comment cannot be changed, and the requester is who they were when it was opened."""
        return {"subject": self._subject(facts)}

    @staticmethod
    def _subject(facts: Facts) -> str:
        return f"Onboarding: {facts.get('customer.legal_name')}"

    @staticmethod
    def _lines(facts: Facts) -> list[str]:
        where = [
            f"{label}: {facts.links.get(name) or facts.related[name]}" for label, name in _SEEN if name in facts.related
        ]
        return [f"A new customer is being onboarded (run {facts.run_id}).", *where]
