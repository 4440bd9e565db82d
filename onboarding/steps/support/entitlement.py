"""What the customer's organization is entitled to at the help desk: tags, SLA tier and support plan, by plan and segment."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from integrations.connectors.objects import SupportOrganization
from integrations.enums import System
from integrations.errors import FieldProblem, Kind, ProviderError
from onboarding.steps.base import Facts, UpdateHandler
from onboarding.steps.handler import R, Work
from onboarding.steps.registry import register
from onboarding.steps.tables import Table, Words

_PLAN, _SEGMENT = "commercial.plan_sku", "customer.segment"
Tag = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]


class Entitlement(Table):
    """A row: for which plan and segment it holds (an empty one holds for all), and what they are entitled to."""

    plan: Words = ()
    segment: Words = ()
    tags: tuple[Tag, ...] = ()
    sla_tier: str = ""
    support_plan: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.tags or self.sla_tier or self.support_plan):
            raise ValueError("a row must name tags, an sla_tier or a support_plan")
        return self

    def holds(self, plan: str, segment: str) -> bool:
        given = ((self.plan, plan), (self.segment, segment))
        return all(not named or value.casefold() in {each.casefold() for each in named} for named, value in given)


class Entitlements(Table):
    entitlements: Annotated[tuple[Entitlement, ...], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _leaves_nothing_behind(self) -> Self:
        """Where one row names a tier and another none, that of the former plan would stay after a change."""
        for name in ("sla_tier", "support_plan"):
            named = {bool(getattr(row, name)) for row in self.entitlements}
            if len(named) > 1:
                raise ValueError(f"either each row names {name}, or none does")
        return self

    def of_customer(self, facts: Facts) -> Entitlement | None:
        """The first row that fits."""
        plan, segment = str(facts.get(_PLAN)).strip(), str(facts.get(_SEGMENT)).strip()
        return next((row for row in self.entitlements if row.holds(plan, segment)), None)

    @property
    def tags(self) -> set[str]:
        return {tag for row in self.entitlements for tag in row.tags}


@register
class Entitle(UpdateHandler):
    """Written again when the plan changes: what the table gives other plans is taken off then, and what people added stays."""

    name = "support.entitlement"
    system = System.SUPPORT
    title = "write the support entitlement"
    target = "support.organization"
    kind = SupportOrganization.KIND
    paths = {"tags": _PLAN, "sla_tier": _PLAN, "support_plan": _PLAN}
    needs = ("support.organization",)
    reads = (_PLAN, _SEGMENT)

    def check_options(self, options: Mapping[str, Any]) -> None:
        Entitlements.of(options)

    def execute(self, work: Work[R]) -> R:
        """A plan that no row names is a ticket: a customer without support would show only when they need it."""
        if Entitlements.of(work.facts.options).of_customer(work.facts) is None:
            message = f"The playbook names no support entitlement for the plan “{work.facts.get(_PLAN)}”."
            problem = FieldProblem("plan", "has no row in the playbook's entitlements", path=_PLAN)
            raise ProviderError(Kind.INVALID, message, fields=[problem])
        return super().execute(work)

    def wanted(self, facts: Facts) -> SupportOrganization:
        table = Entitlements.of(facts.options)
        row = table.of_customer(facts)
        if row is None:
            return SupportOrganization()
        return SupportOrganization(
            tags=list(row.tags),
            former_tags=sorted(table.tags.difference(row.tags)),
            sla_tier=row.sla_tier,
            support_plan=row.support_plan,
        )
