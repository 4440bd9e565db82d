"""CRM steps: the customer's account and contact, the deal, and the handover brief as a note."""

from integrations.connectors.base import Connector, CrmConnector, MatchKey
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal
from integrations.domains import same_address, spellings
from integrations.enums import System
from integrations.errors import Kind, ProviderError
from onboarding.payload.enrichment import CRM_PATHS
from onboarding.payload.plausibility import customer_domain
from onboarding.steps.base import CustomerHandler, EnsureHandler, Facts, RunHandler, StepHandler, UpdateHandler, bounded
from onboarding.steps.handler import Preview, R, View, Work
from onboarding.steps.registry import register
from onboarding.steps.texts import handover_brief


@register
class Lookup(StepHandler):
    """Asks the CRM for what the gate finds missing, before any person is asked."""

    name = "crm.lookup"
    system = System.CRM
    title = "look up missing data in the CRM"
    reads = ("customer.domain", "commercial.deal_id")
    writes = tuple(sorted(CRM_PATHS))

    def execute(self, work: Work[R]) -> R:
        connector, facts, note = work.connector, work.facts, ""
        if not isinstance(connector, CrmConnector):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{connector.provider} cannot be asked for missing data.")
        for domain in spellings(customer_domain(facts.content)):
            found = connector.lookup_owner(domain=domain, deal_id=facts.get("commercial.deal_id"))
            if found.owner_id:
                return work.looked_up(dict.fromkeys(self.writes, (found.owner_id, found.source)))
            note = note or found.note
        return work.looked_up({}, note or "The CRM was asked and does not know it.")

    def preview(self, view: View) -> Preview:  # noqa: ARG002
        return Preview("look-up", "The CRM is asked; what it tells fills only what is empty.")


@register
class Account(CustomerHandler):
    name = "crm.account"
    system = System.CRM
    title = "find or create the CRM account"
    makes, kind = CrmAccount, CrmAccount.KIND
    paths = {
        "name": "customer.legal_name",
        "domain": "customer.domain",
        "country": "customer.country",
        "owner_id": "ownership.crm_owner_id",
    }
    reads = (
        "customer.legal_name",
        "customer.domain",
        "customer.no_domain",
        "customer.country",
        "ownership.crm_owner_id",
        "commercial.billing_email",
    )

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        keys = [MatchKey("reference", reference)]
        if domain := customer_domain(facts.content):
            return [*keys, *(MatchKey("domain", each) for each in spellings(domain))]
        name, email = facts.get("customer.legal_name"), facts.get("commercial.billing_email")
        return [*keys, MatchKey("name+billing-email", name, email)]

    def wanted(self, facts: Facts) -> CrmAccount:
        return CrmAccount(
            name=facts.get("customer.legal_name"),
            domain=customer_domain(facts.content),
            country=facts.get("customer.country"),
            owner_id=facts.get("ownership.crm_owner_id"),
        )


@register
class Contact(EnsureHandler):
    name = "crm.contact"
    system = System.CRM
    title = "find or create the CRM contact"
    makes, kind = CrmContact, CrmContact.KIND
    paths = {
        "email": "customer.primary_contact.email",
        "first_name": "customer.primary_contact.name",
        "last_name": "customer.primary_contact.name",
    }
    shared = True
    needs = ("crm.account",)
    reads = ("customer.primary_contact.name", "customer.primary_contact.email")

    def match_key(self, facts: Facts) -> str:
        return bounded(f"email:{_contact_email(facts)}")

    def reference(self, facts: Facts) -> str:
        return f"firstvalue:{self.match_key(facts)}"

    def identity(self, facts: Facts, reference: str) -> str:  # noqa: ARG002
        """Another address is another person: theirs is found or created, and nobody is renamed."""
        return reference

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return [MatchKey("email", _contact_email(facts))]

    def wanted(self, facts: Facts) -> CrmContact:
        first, _, last = facts.get("customer.primary_contact.name").partition(" ")
        return CrmContact(email=_contact_email(facts), first_name=first, last_name=last.strip())

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        connector.associate("contact", external_id, "company", facts.related["crm.account"])


@register
class RunDeal(RunHandler):
    """The deal that was won; where the payload names none, one that stands for this payment."""

    name = "crm.deal"
    system = System.CRM
    title = "find or create the CRM deal"
    makes, kind = Deal, Deal.KIND
    paths = {
        "name": "customer.legal_name",
        "amount": "commercial.amount",
        "currency": "commercial.currency",
        "owner_id": "ownership.crm_owner_id",
    }
    needs = ("crm.account",)
    reads = (
        "customer.legal_name",
        "commercial.deal_id",
        "commercial.plan_sku",
        "commercial.amount",
        "commercial.currency",
        "ownership.crm_owner_id",
    )
    owned_fields = frozenset({"name"})

    def identity(self, facts: Facts, reference: str) -> str:  # noqa: ARG002
        return str(facts.get("commercial.deal_id"))

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        keys = [MatchKey("reference", reference)]
        if deal_id := facts.get("commercial.deal_id"):
            return [MatchKey("id", deal_id), *keys]
        return keys

    def wanted(self, facts: Facts) -> Deal:
        return Deal(
            name=f"{facts.get('customer.legal_name')}: {facts.get('commercial.plan_sku')}",
            amount=facts.get("commercial.amount"),
            currency=facts.get("commercial.currency"),
            owner_id=facts.get("ownership.crm_owner_id"),
            transaction_id=facts.run_id,
        )

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        connector.associate("deal", external_id, "company", facts.related["crm.account"])


@register
class DealStatus(UpdateHandler):
    """The deal says where the onboarding stands, and is kept up to date as the run moves."""

    name = "crm.deal-status"
    system = System.CRM
    title = "keep the deal's onboarding status up to date"
    target = "crm.deal"
    kind = Deal.KIND
    paths = {"implementation_owner": "ownership.implementation_owner_id"}
    needs = ("crm.deal",)
    reads = ("ownership.implementation_owner_id",)
    reports_run_status = True

    def wanted(self, facts: Facts) -> Deal:
        return Deal(
            onboarding_status=facts.status,
            transaction_id=facts.run_id,
            implementation_owner=facts.get("ownership.implementation_owner_id"),
        )


@register
class Note(RunHandler):
    """The handover brief, where everybody who looks at the account finds it."""

    name = "crm.note"
    system = System.CRM
    title = "write the handover brief into the CRM"
    makes, kind = CrmNote, CrmNote.KIND
    paths = {"body": "handover"}
    needs = ("crm.account",)
    ties_to = ("crm.deal",)
    reads = handover_brief.READS

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        return [MatchKey("reference", reference, within=facts.related["crm.account"])]

    def wanted(self, facts: Facts) -> CrmNote:
        return CrmNote(
            body=handover_brief.html(facts),
            at=facts.occurred_at,
            company_id=facts.related["crm.account"],
            deal_id=facts.related.get("crm.deal", ""),
        )

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        """Created at its account; where that was unlinked since, the note is known and belongs to the new one too."""
        connector.associate("note", external_id, "company", facts.related["crm.account"])
        if deal := facts.related.get("crm.deal"):
            connector.associate("note", external_id, "deal", deal)


def _contact_email(facts: Facts) -> str:
    return same_address(facts.get("customer.primary_contact.email"))
