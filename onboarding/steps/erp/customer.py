"""The customer at the ERP: a legal entity, with what its invoices need."""

from collections.abc import Mapping
from typing import Any

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import ErpCustomer
from integrations.enums import System
from integrations.errors import FieldProblem, Kind, ProviderError
from onboarding.payload import catalogue
from onboarding.steps.base import CustomerHandler, Facts, bounded
from onboarding.steps.erp import tax_ids
from onboarding.steps.erp.tables import CustomerTables
from onboarding.steps.handler import R, Work
from onboarding.steps.registry import register

LEGAL_ENTITY = "customer.legal_entity"


@register
class Customer(CustomerHandler):
    """Matched by tax id, where there is one: companies of one group share a domain, and each has invoices of its own."""

    name = "erp.customer"
    system = System.ERP
    title = "find or create the ERP customer"
    makes, kind = ErpCustomer, ErpCustomer.KIND
    paths = {
        "name": LEGAL_ENTITY,
        "country": "customer.country",
        "tax_id": "customer.tax_id",
        "email": "commercial.billing_email",
        "currency": "commercial.currency",
        "payment_terms": "commercial.payment_terms",
    }
    reads = (
        "customer.legal_name",
        LEGAL_ENTITY,
        "customer.domain",
        "customer.no_domain",
        "customer.country",
        "customer.tax_id",
        "commercial.billing_email",
        "commercial.plan_sku",
        "commercial.currency",
        "commercial.payment_terms",
    )

    def check_options(self, options: Mapping[str, Any]) -> None:
        CustomerTables.of(options)

    def execute(self, work: Work[R]) -> R:
        refuse(lacking_entity(work.facts, CustomerTables.of(work.facts.options)))
        return work.ensure(self)

    def match_key(self, facts: Facts) -> str:
        tax_id = _tax_id(facts)
        return bounded(f"tax-id:{tax_id}") if tax_id else super().match_key(facts)

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        named = [MatchKey("tax-id", _tax_id(facts)), MatchKey("name", legal_entity(facts))]
        return [MatchKey("reference", reference), *(key for key in named if key.value)]

    def wanted(self, facts: Facts) -> ErpCustomer:
        tables = CustomerTables.of(facts.options)
        return ErpCustomer(
            name=legal_entity(facts),
            country=tax_ids.country_code(facts.get("customer.country")),
            tax_id=_tax_id(facts),
            email=facts.get("commercial.billing_email"),
            currency=facts.get("commercial.currency").upper(),
            payment_terms=tables.terms(facts.get("commercial.payment_terms")),
            subsidiary=entity(facts, tables)["subsidiary"],
        )

    def changes(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        return with_subsidiary(super().changes(before, now), now)


def legal_entity(facts: Facts) -> str:
    return str(facts.get(LEGAL_ENTITY) or facts.get("customer.legal_name"))


def entity(facts: Facts, tables: CustomerTables) -> dict[str, str]:
    """Which of our entities the order as a whole belongs to."""
    country, currency = tax_ids.country_code(facts.get("customer.country")), facts.get("commercial.currency")
    return tables.entity(country, currency, facts.get("commercial.plan_sku"))


def lacking_entity(facts: Facts, tables: CustomerTables) -> dict[str, str]:
    """Payload path -> why no subsidiary is found, where the playbook's table has some."""
    if not tables.names_subsidiaries or entity(facts, tables)["subsidiary"]:
        return {}
    why = "no row of the playbook's table of entities fits country, currency and plan"
    return {"customer.country": why, "commercial.currency": why}


def refuse(lacking: Mapping[str, str]) -> None:
    """Raises ``ProviderError`` where something is lacking: payload path -> why."""
    if not lacking:
        return
    problems = [FieldProblem(path.rpartition(".")[2], reason, path=path) for path, reason in lacking.items()]
    told = "; ".join(f"{catalogue.label(path)}: {reason}" for path, reason in lacking.items())
    raise ProviderError(Kind.INVALID, f"{told}.", fields=problems, ours=True)


def with_subsidiary(changed: dict[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """With the one whose payment terms and currencies are meant, where one of these has changed."""
    own = {"currency", "payment_terms"} & changed.keys()
    return changed | {"subsidiary": now["subsidiary"]} if own and now.get("subsidiary") else changed


def _tax_id(facts: Facts) -> str:
    return tax_ids.normal(facts.get("customer.country"), facts.get("customer.tax_id"))
