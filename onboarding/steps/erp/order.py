"""The order at the ERP, as a draft: finance confirms it."""

from collections.abc import Mapping
from typing import Any

from integrations.connectors.objects import ErpOrder
from integrations.enums import System
from onboarding.steps.base import Facts, RunHandler
from onboarding.steps.erp.customer import entity, lacking_entity, refuse, with_subsidiary
from onboarding.steps.erp.lines import LINES, lacking, lines
from onboarding.steps.erp.schedule import schedule
from onboarding.steps.erp.tables import OrderTables
from onboarding.steps.handler import R, Work
from onboarding.steps.registry import register


@register
class Order(RunHandler):
    """Its lines are what was bought, bundles split as the playbook says, each at its cost centre and business unit."""

    name = "erp.order"
    system = System.ERP
    title = "create the ERP order"
    makes, kind = ErpOrder, ErpOrder.KIND
    paths = {
        "name": "customer.legal_name",
        "currency": "commercial.currency",
        "payment_terms": "commercial.payment_terms",
        "schedule": "commercial.term",
        "lines": "commercial.plan_sku",
    }
    needs = ("erp.customer",)
    reads = (
        "customer.legal_name",
        "customer.country",
        "commercial.plan_sku",
        "commercial.term",
        "commercial.amount",
        "commercial.currency",
        "commercial.payment_terms",
        "commercial.cost_centre",
        LINES,
        "kickoff.start_date",
    )
    owned_fields = frozenset({"name"})

    def path_of(self, field: str) -> str:
        return "commercial.cost_centre" if field == "cost_centre" else super().path_of(field)

    def check_options(self, options: Mapping[str, Any]) -> None:
        OrderTables.of(options)

    def execute(self, work: Work[R]) -> R:
        """An order that says less than the payload should is none: what is lacking is a ticket."""
        facts = work.facts
        found = lacking_entity(facts, OrderTables.of(facts.options)) | lacking(facts)
        if not facts.get("commercial.currency"):
            found["commercial.currency"] = "is missing"
        if schedule(facts) is None:
            found["commercial.term"] = "names no length, such as annual, monthly or 24 months"
        refuse(found)
        return work.ensure(self)

    def wanted(self, facts: Facts) -> ErpOrder:
        tables, days = OrderTables.of(facts.options), schedule(facts)
        return ErpOrder(
            name=f"{facts.get('customer.legal_name')}: {facts.get('commercial.plan_sku')}",
            customer_id=facts.related.get("erp.customer", ""),
            currency=facts.get("commercial.currency").upper(),
            payment_terms=tables.terms(facts.get("commercial.payment_terms")),
            subsidiary=entity(facts, tables)["subsidiary"],
            schedule=days,
            lines=lines(facts, tables, days),
        )

    def changes(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """With the lines that the new ones replace: others that somebody has added there stay."""
        changed = with_subsidiary(super().changes(before, now), now)
        return changed | {"former_lines": before.get("lines", [])} if "lines" in changed else changed
