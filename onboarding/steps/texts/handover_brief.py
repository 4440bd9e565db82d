"""The handover brief: what sales knows and delivery needs, the same words in the CRM's note and in the project."""

from collections.abc import Collection, Iterator
from html import escape
from typing import Any

from onboarding.steps.base import Facts

READS = (
    "customer.legal_name",
    "customer.segment",
    "customer.primary_contact.name",
    "commercial.plan_sku",
    "commercial.term",
    "ownership.implementation_owner_id",
    "kickoff.start_date",
    "kickoff.urgency",
    "first_value_target.milestone",
    "first_value_target.target_days",
    "handover.why_they_bought",
    "handover.success_criteria",
    "handover.constraints",
    "handover.stakeholders",
    "handover.risks",
    "handover.links",
)
_LINES = (
    ("Customer", "customer.legal_name"),
    ("Segment", "customer.segment"),
    ("Contact", "customer.primary_contact.name"),
    ("Plan", "commercial.plan_sku"),
    ("Term", "commercial.term"),
    ("Implementation owner", "ownership.implementation_owner_id"),
    ("Kickoff", "kickoff.start_date"),
    ("Urgency", "kickoff.urgency"),
    ("First value", "first_value_target.milestone"),
    ("Days to first value", "first_value_target.target_days"),
    ("Why they bought", "handover.why_they_bought"),
    ("Success criteria", "handover.success_criteria"),
    ("Constraints", "handover.constraints"),
    ("Stakeholders", "handover.stakeholders"),
    ("Risks", "handover.risks"),
    ("Links", "handover.links"),
)
MOST_CHARACTERS = 20_000
"""Below HubSpot's 65,536 for a note's body, and Asana's 65,535 for notes, escaped too."""


def lines(facts: Facts, leaves_out: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """(label, text) of everything that is known, but for the payload paths ``leaves_out``."""
    for label, path in _LINES:
        if path not in leaves_out and (text := _text(facts.get(path, None))):
            yield label, text


def text(facts: Facts, leaves_out: Collection[str] = ()) -> str:
    return "\n".join(f"{label}: {value}" for label, value in lines(facts, leaves_out))[:MOST_CHARACTERS]


def html(facts: Facts) -> str:
    """As the CRM's notes want it. Values are escaped: they come from outside."""
    rows, used = ["<strong>Handover brief</strong>"], 0
    for label, value in lines(facts):
        row = f"<strong>{escape(label)}:</strong> {escape(value)}"
        used += len(row)
        if used > MOST_CHARACTERS:
            break
        rows.append(row)
    return "<br>".join(rows)


def _text(value: Any) -> str:
    match value:
        case None | "" | [] | {}:
            return ""
        case dict():
            return "; ".join(f"{key}: {_text(item)}" for key, item in value.items() if _text(item))
        case list():
            return "; ".join(filter(None, map(_text, value)))
    return " ".join(str(value).split())
