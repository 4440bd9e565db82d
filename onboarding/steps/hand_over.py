"""A step that a workflow tool does: it is handed over once, and ends with the tool's report (docs/workflow-tools.md).

In a playbook::

    uses = "workflow.hand_over"
    with = { title = "assign the sales territory", minutes = 240, fields = ["customer.legal_name", "customer.territory"] }
"""

from collections.abc import Mapping
from typing import Any

from integrations.config_files import nearest
from integrations.connectors.base import MatchKey
from integrations.connectors.objects import HandOver
from integrations.enums import System
from onboarding.payload import catalogue
from onboarding.payload.schema import get, with_values
from onboarding.steps.base import Facts, RunHandler, bounded
from onboarding.steps.handler import Preview, R, View, Work
from onboarding.steps.registry import register

MINUTES = 24 * 60
MOST_MINUTES = 90 * 24 * 60
LONGEST_TITLE = 100
HANDED_OVER = (
    "It was handed over: its report is looked for, and waited for. It is handed over again only where the flow has failed, or "
    "where a person has asked for that."
)
OPTIONS = ("title", "minutes", "fields")


@register
class WorkflowHandOver(RunHandler):
    """``minutes``: from the hand-over, by the clock on the wall, until a person is told that no report has come."""

    name = "workflow.hand_over"
    system = System.WORKFLOW
    title = "have the workflow tool do its part"
    makes, kind = HandOver, HandOver.KIND
    reads = tuple(catalogue.BY_PATH)
    irrevocable = True
    reports_back = True

    def check_options(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - set(OPTIONS):
            raise ValueError(f"{self.name} knows no option {min(unknown)}")
        title = options.get("title", self.title)
        if not isinstance(title, str) or not 0 < len(title.strip()) <= LONGEST_TITLE or not title.isprintable():
            raise ValueError(f"title must be one line of 1 to {LONGEST_TITLE} characters")
        minutes = options.get("minutes", MINUTES)
        if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= MOST_MINUTES:
            raise ValueError(f"minutes must be a whole number from 1 to {MOST_MINUTES}")
        fields = options.get("fields", [])
        if not isinstance(fields, list) or not all(isinstance(path, str) for path in fields):
            raise ValueError("fields must be a list of payload fields")
        for path in fields:
            if path not in catalogue.BY_PATH:
                raise ValueError(f"{path} is no field of the payload{nearest(path, catalogue.BY_PATH)}")

    def titled(self, options: Mapping[str, Any]) -> str:
        return str(options.get("title", self.title))

    def execute(self, work: Work[R]) -> R:
        return work.hand_over(self)

    def preview(self, view: View) -> Preview:
        if view.before is None and any(each.item == "" for each in view.objects):
            return Preview("look-up", HANDED_OVER)
        return super().preview(view)

    def match_key(self, facts: Facts) -> str:
        return bounded(f"run:{facts.run_id}/{facts.step}")

    def reference(self, facts: Facts) -> str:
        return bounded(f"firstvalue:{hand_over_id(facts)}")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return []  # no tool tells what it was handed over

    def wanted(self, facts: Facts) -> HandOver:
        return HandOver(
            hand_over=hand_over_id(facts),
            transaction_id=facts.run_id,
            step=facts.step,
            minutes=minutes_of(facts.options),
            payload=_payload_of(facts),
        )


def hand_over_id(facts: Facts) -> str:
    """By which the tool names it in its report: the run, the step, and which of the step's hand-overs it is."""
    return f"{facts.run_id}/{facts.step}/{facts.round}"


def minutes_of(options: Mapping[str, Any]) -> int:
    return int(options.get("minutes", MINUTES))


def _payload_of(facts: Facts) -> dict[str, Any]:
    """Of the payload what the playbook names, or all fields that are known."""
    fields = facts.options.get("fields") or WorkflowHandOver.reads
    return with_values(
        {}, {path: value for path in fields if (value := get(facts.content, path, None)) not in (None, [], {})}
    )
