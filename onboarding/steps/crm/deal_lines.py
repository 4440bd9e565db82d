"""What was bought, as lines of the CRM's deal."""

from integrations.connectors.base import Connector
from integrations.connectors.objects import DealLine
from integrations.enums import System
from onboarding.steps.base import Facts, RunHandler, bounded
from onboarding.steps.erp.customer import refuse
from onboarding.steps.erp.lines import LINES, bought, lacking
from onboarding.steps.handler import R, Work
from onboarding.steps.registry import register


@register
class Lines(RunHandler):
    """One an item, by its place; where the payload names no lines, the plan is one."""

    name = "crm.deal-lines"
    system = System.CRM
    title = "write the order's lines to the CRM deal"
    makes, kind = DealLine, DealLine.KIND
    paths = {"name": LINES, "sku": "commercial.plan_sku", "quantity": LINES, "unit_price": "commercial.amount"}
    makes_several = True
    needs = ("crm.deal",)
    reads = ("commercial.plan_sku", "commercial.amount", LINES)

    def execute(self, work: Work[R]) -> R:
        refuse(lacking(work.facts))
        return work.ensure(self)

    def items(self, facts: Facts) -> list[str]:
        return [str(place) for place, _ in enumerate(bought(facts), start=1)]

    def reference(self, facts: Facts) -> str:
        return bounded(f"firstvalue:{facts.run_id}/line-{facts.item}")

    def wanted(self, facts: Facts) -> DealLine:
        line = bought(facts)[int(facts.item) - 1]
        unit = line.amount / line.quantity if line.amount is not None and line.quantity else None
        return DealLine(
            name=line.name,
            sku=line.product,
            quantity=f"{line.quantity.normalize():f}",
            unit_price=None if unit is None else f"{round(unit, 6).normalize():f}",
        )

    def label(self, facts: Facts) -> str:
        return f"line {facts.item}"

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        connector.associate(self.kind, external_id, "deal", facts.related["crm.deal"])
