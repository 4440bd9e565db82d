"""The customer success plan, beside the delivery project: what the customer is to reach, by when, and who sees to it."""

from collections.abc import Iterator
from datetime import date, timedelta
from html import escape

from integrations.connectors.base import Connector, MatchKey
from integrations.connectors.objects import SuccessPlan
from integrations.enums import System
from onboarding.payload.schema import is_date
from onboarding.steps.base import Facts, RunHandler, bounded
from onboarding.steps.registry import register

_START, _MILESTONE, _DAYS = "kickoff.start_date", "first_value_target.milestone", "first_value_target.target_days"
_PROJECT = "delivery.project"
_MOST_DAYS = 3650
_LINES = (
    ("First value", _MILESTONE),
    ("Success criteria", "handover.success_criteria"),
    ("Kickoff", _START),
)


@register
class Plan(RunHandler):
    """A task at the CRM's account, owned by customer success and due on the target date of the first value."""

    name = "crm.success-plan"
    system = System.CRM
    title = "write the customer success plan"
    makes, kind = SuccessPlan, SuccessPlan.KIND
    paths = {"name": "customer.legal_name", "body": _MILESTONE, "due_on": _DAYS, "owner_id": "ownership.crm_owner_id"}
    needs = ("crm.account",)
    ties_to = ("crm.deal", _PROJECT)
    reads = (
        "customer.legal_name",
        "ownership.crm_owner_id",
        _MILESTONE,
        _DAYS,
        "handover.success_criteria",
        _START,
    )

    def reference(self, facts: Facts) -> str:
        return bounded(f"firstvalue:{facts.run_id}/success-plan")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        return [MatchKey("reference", reference, within=facts.related["crm.account"])]

    def wanted(self, facts: Facts) -> SuccessPlan:
        return SuccessPlan(
            name=f"Success plan: {facts.get('customer.legal_name')}",
            body="<br>".join(_lines(facts)),
            due_on=_target(facts),
            owner_id=facts.get("ownership.crm_owner_id"),
            company_id=facts.related["crm.account"],
            deal_id=facts.related.get("crm.deal", ""),
        )

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        connector.associate(self.kind, external_id, "company", facts.related["crm.account"])
        if deal := facts.related.get("crm.deal"):
            connector.associate(self.kind, external_id, "deal", deal)


def _target(facts: Facts) -> str:
    """The day by which the customer is to have reached the first value, ISO 8601; empty where nobody has said."""
    start, days = facts.get(_START), facts.get(_DAYS, None)
    if not is_date(start) or isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _MOST_DAYS:
        return ""
    return (date.fromisoformat(start) + timedelta(days=days)).isoformat()


def _lines(facts: Facts) -> Iterator[str]:
    """As the CRM's texts want it. Values are escaped: they come from outside."""
    for label, path in _LINES:
        if text := " ".join(str(facts.get(path) or "").split()):
            yield f"<strong>{escape(label)}:</strong> {escape(text)}"
    if target := _target(facts):
        yield f"<strong>Target date:</strong> {target}"
    if _PROJECT in facts.related:
        yield f"<strong>Delivery project:</strong> {escape(facts.links.get(_PROJECT) or facts.related[_PROJECT])}"
