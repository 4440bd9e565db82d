"""Before anything is made at the ERP: the customer's tax id is one, as far as that can be checked, and is theirs."""

from collections.abc import Mapping
from typing import Any

from integrations.connectors.register import RegisterConnector, RegisterEntry
from integrations.enums import System
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.name_matching import is_same_company
from onboarding.payload import catalogue
from onboarding.steps.base import Facts, StepHandler
from onboarding.steps.erp import tax_ids
from onboarding.steps.erp.customer import LEGAL_ENTITY, legal_entity
from onboarding.steps.handler import Preview, R, View, Work
from onboarding.steps.registry import register

NOT_NEEDED_IN, UNAVAILABLE = "not_needed_in", "register_unavailable"
TICKET, UNCHECKED = "ticket", "unchecked"
_NO_ANSWER = (Kind.TEMPORARY, Kind.RATE_LIMIT, Kind.SERVER)


@register
class TaxCheck(StepHandler):
    """A bad number, an implausible one, and none where one is needed, is a ticket with the form to fix it.

    Where a register is connected it is asked as well; without one the step says that it was not.
    """

    name = "erp.tax-check"
    system = System.REGISTER
    title = "check the customer's tax id"
    reads = (tax_ids.TAX_ID, tax_ids.COUNTRY, LEGAL_ENTITY, "customer.legal_name")
    checks = True
    confirmable = (tax_ids.TAX_ID,)

    def check_options(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - {NOT_NEEDED_IN, UNAVAILABLE}:
            raise ValueError(f"{self.name} knows no option {min(unknown)}")
        listed = options.get(NOT_NEEDED_IN, [])
        if not isinstance(listed, list) or any(tax_ids.country_code(str(each)) != each for each in listed):
            raise ValueError(f"{NOT_NEEDED_IN} must list two-letter country codes in capitals")
        if options.get(UNAVAILABLE, TICKET) not in (TICKET, UNCHECKED):
            raise ValueError(f"{UNAVAILABLE} must be {TICKET} or {UNCHECKED}")

    def execute(self, work: Work[R]) -> R:
        facts = work.facts
        country, tax_id = self._given(facts)
        if problem := tax_ids.problem(country, tax_id, facts.options.get(NOT_NEEDED_IN, [])):
            raise _refused([problem], ours=True)
        known = tax_ids.finding(country, tax_id)
        if not tax_id.strip():
            return work.checked(f"{known}.")
        if not work.is_connected:
            return work.checked(f"{known}, register not checked.")
        connector = work.connector
        if not isinstance(connector, RegisterConnector):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{connector.provider} is no register of tax ids.")
        code = tax_ids.country_code(country)
        if not connector.covers(code):
            return work.checked(f"{known}, register not checked: {connector.connection} has none of {code}.")
        entry = self._look_up(connector, facts)
        if problems := _problems(entry, facts):
            raise _refused(problems, ours=False)
        return work.checked(f"{known}; {_finding(entry, facts)}", asked=True)

    def _look_up(self, connector: RegisterConnector, facts: Facts) -> RegisterEntry:
        """Raises ``ProviderError``."""
        country, tax_id = self._given(facts)
        number, code = tax_ids.normal(country, tax_id), tax_ids.country_code(country)
        try:
            return connector.look_up(country=code, tax_id=number, name=legal_entity(facts))
        except ProviderError as error:
            if error.kind is Kind.SERVER and _passes_unchecked(facts):
                error.kind = Kind.TEMPORARY  # no breaker keeps back what does not need the answer
            raise

    def unanswered(self, facts: Facts, error: ProviderError) -> str:
        if error.kind not in _NO_ANSWER or not _passes_unchecked(facts):
            return ""
        return f"{tax_ids.finding(*self._given(facts))}, register not checked: {error.message}."

    def preview(self, view: View) -> Preview:
        if view.is_later:
            return Preview("later", "It is not done yet: it checks the new data.")
        return Preview("look-up", "It is checked; nothing is written.")

    @staticmethod
    def _given(facts: Facts) -> tuple[str, str]:
        return facts.get(tax_ids.COUNTRY), facts.get(tax_ids.TAX_ID)


def _passes_unchecked(facts: Facts) -> bool:
    return bool(facts.options.get(UNAVAILABLE, TICKET) == UNCHECKED)


def _problems(entry: RegisterEntry, facts: Facts) -> list[tax_ids.TaxIdProblem]:
    """What speaks against the entry; a person who stands by the tax id knows why it is registered under another name."""
    if not entry.is_valid:
        return [tax_ids.TaxIdProblem(tax_ids.TAX_ID, f"is not registered ({entry.evidence})")]
    if tax_ids.TAX_ID in facts.confirmed or not _is_anothers(entry, facts):
        return []
    ours, theirs = legal_entity(facts), f"“{entry.name}”" if entry.name else "another name, which it does not tell"
    return [
        tax_ids.TaxIdProblem(
            tax_ids.TAX_ID, f"is registered for {theirs}, and not for “{ours}”", may_be_confirmed=True
        ),
        tax_ids.TaxIdProblem(LEGAL_ENTITY, f"is not as the register has it: {theirs}"),
    ]


def _is_anothers(entry: RegisterEntry, facts: Facts) -> bool:
    if entry.name:
        return not any(is_same_company(each, legal_entity(facts)) for each in entry.name.split("||"))
    return entry.is_same_name is False


def _finding(entry: RegisterEntry, facts: Facts) -> str:
    if tax_ids.TAX_ID in facts.confirmed and _is_anothers(entry, facts):
        name = f"for “{entry.name}”" if entry.name else "under another name"
        return f"registered {name}, which a person has confirmed ({entry.evidence})."
    name = "name as registered" if entry.name or entry.is_same_name else "the register does not tell the name"
    return f"registered, {name} ({entry.evidence})."


def _refused(found: list[tax_ids.TaxIdProblem], *, ours: bool) -> ProviderError:
    problems = [
        FieldProblem(
            problem.path.rpartition(".")[2],
            problem.reason,
            path=problem.path,
            may_be_confirmed=problem.may_be_confirmed,
        )
        for problem in found
    ]
    first = found[0]
    return ProviderError(Kind.INVALID, f"{catalogue.label(first.path)}: {first.reason}.", fields=problems, ours=ours)
