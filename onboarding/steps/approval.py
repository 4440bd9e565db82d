"""A person's approval as a step of its own: what comes after it is not begun before somebody has approved.

In a playbook::

    uses = "approval"
    queue = "finance"
    with = { question = "Are the terms acceptable?", event = "contract.approved", business_hours = 8 }
"""

from collections.abc import Mapping
from typing import Any

from integrations.config_files import nearest
from integrations.enums import System
from onboarding.enums import RunEventType
from onboarding.steps.handler import Facts, Preview, R, StepHandler, View, Work, digest_of
from onboarding.steps.registry import register

BUSINESS_HOURS = 8
MOST_BUSINESS_HOURS = 8 * 250
LONGEST_QUESTION = 300


@register
class Approval(StepHandler):
    """``event``: other systems may report the decision in place of a person here, such as ``security.approved``."""

    name = "approval"
    system = System.WORKFLOW
    title = "have somebody approve it"
    reads = (
        "customer.legal_entity",
        "customer.tax_id",
        "commercial.plan_sku",
        "commercial.term",
        "commercial.amount",
        "commercial.currency",
        "commercial.payment_terms",
        "commercial.cost_centre",
        "commercial.lines",
        "commercial.nonstandard_terms",
        "security.review_required",
    )
    asks = True

    def check_options(self, options: Mapping[str, Any]) -> None:
        known = ("question", "event", "business_hours")
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(f"{self.name} knows no option {unknown[0]}{nearest(unknown[0], known)}")
        question = options.get("question")
        if not isinstance(question, str) or not 0 < len(question.strip()) <= LONGEST_QUESTION:
            raise ValueError(f"{self.name} needs a question of 1 to {LONGEST_QUESTION} characters under “with”")
        event = options.get("event", RunEventType.CONTRACT_APPROVED)
        if event not in RunEventType.values:
            raise ValueError(f"event: {event} is no event of a run{nearest(str(event), RunEventType.values)}")
        hours = options.get("business_hours", BUSINESS_HOURS)
        if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= MOST_BUSINESS_HOURS:
            raise ValueError(f"business_hours must be a whole number from 1 to {MOST_BUSINESS_HOURS}")

    def titled(self, options: Mapping[str, Any]) -> str:
        return str(options.get("question", self.title))

    def question(self, facts: Facts) -> str:
        return str(facts.options.get("question", self.title))

    def execute(self, work: Work[R]) -> R:
        """Somebody has approved: it would not have been claimed before."""
        return work.written(self.digest(work.facts))

    def digest(self, facts: Facts) -> str:
        return digest_of(self.subject(facts))

    def preview(self, view: View) -> Preview:
        return Preview("by-hand", f"Somebody is asked: {self.question(view.facts)}", waits=not view.is_done)
