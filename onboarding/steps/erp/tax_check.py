"""Before anything is made at the ERP: the customer's tax id is one, as far as that can be checked."""

from collections.abc import Mapping
from typing import Any

from integrations.enums import System
from integrations.errors import FieldProblem, Kind, ProviderError
from onboarding.payload import catalogue
from onboarding.steps.base import Facts, StepHandler
from onboarding.steps.erp import tax_ids
from onboarding.steps.handler import Preview, R, View, Work
from onboarding.steps.registry import register


@register
class TaxCheck(StepHandler):
    """A bad number, an implausible one, and none where one is needed, is a ticket with the form to fix it."""

    name = "erp.tax-check"
    system = System.ERP
    title = "check the customer's tax id"
    reads = (tax_ids.TAX_ID, tax_ids.COUNTRY)
    checks = True

    def check_options(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - {"not_needed_in"}:
            raise ValueError(f"{self.name} knows no option {min(unknown)}")
        listed = options.get("not_needed_in", [])
        if not isinstance(listed, list) or any(tax_ids.country_code(str(each)) != each for each in listed):
            raise ValueError("not_needed_in must list two-letter country codes in capitals")

    def execute(self, work: Work[R]) -> R:
        country, tax_id = self._given(work.facts)
        doubt = tax_ids.problem(country, tax_id, work.facts.options.get("not_needed_in", []))
        if doubt:
            problem = FieldProblem(doubt.path.rpartition(".")[2], doubt.reason, path=doubt.path)
            message = f"{catalogue.label(doubt.path)}: {doubt.reason}."
            raise ProviderError(Kind.INVALID, message, fields=[problem], ours=True)
        return work.checked(tax_ids.finding(country, tax_id))

    def preview(self, view: View) -> Preview:
        if view.is_later:
            return Preview("later", "It is not done yet: it checks the new data.")
        return Preview("look-up", "It is checked; nothing is written.")

    @staticmethod
    def _given(facts: Facts) -> tuple[str, str]:
        return facts.get(tax_ids.COUNTRY), facts.get(tax_ids.TAX_ID)
