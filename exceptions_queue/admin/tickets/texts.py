"""A ticket as the console tells it: the catalogue's story with what the page knows besides; and names for steps' objects."""

from dataclasses import replace
from typing import Any

from exceptions_queue.admin.connections import health
from exceptions_queue.models import Ticket
from exceptions_queue.tickets import catalogue
from exceptions_queue.tickets.catalogue_entry import Circumstances, Story
from integrations.enums import BreakerCause
from integrations.http.redaction import redact_text
from onboarding.enums import Category
from onboarding.models import Attempt, Step
from onboarding.payload import catalogue as fields
from onboarding.steps.base import Facts
from onboarding.steps.registry import HANDLERS

OUTCOMES = {
    "": "in progress",
    "ensured": "passed",
    "written": "passed",
    "handedover": "handed over",
    "lookedup": "looked up",
    "waiting": "waits",
    "failed": "failed",
    "ambiguous": "ambiguous match",
    "indeterminateoutcome": "outcome indeterminate",
    "unknownoutcome": "outcome indeterminate",  # as rows and archives from before have it
    "broken": "internal error",
    "late": "late; kept as evidence",
    "lease-expired": "worker lost",
}


def story(ticket: Ticket, *, waiting_runs: int = 0, may_see: bool = True) -> Story:
    """``waiting_runs``: how many runs a connection's ticket holds up. ``may_see``: personal data."""
    told = catalogue.story(ticket, Circumstances(waiting_runs, _progress(ticket)))
    return told if may_see else replace(told, headline=redact_text(told.headline))


def _progress(ticket: Ticket) -> str:
    """When a stopped connection is tried again; once it works, how far those have got that were parked."""
    connection = ticket.connection
    if connection is None:
        return ""
    if ticket.is_open and connection.breaker_cause == BreakerCause.SERVER and (tried := health.last_try(connection)):
        return tried
    left = health.left(connection)
    return f"They resume now, one first and then more: {left}." if left else ""


def short(ticket: Ticket) -> str:
    """One line for lists. Addresses are for those who may see them on the page."""
    return redact_text(catalogue.of(ticket).short(ticket))


def place(ticket: Ticket) -> str:
    """The failed step, as lists name it."""
    if ticket.step or ticket.connection:
        return ticket.failed_step
    if ticket.change_request_id:
        return "a change of the data"
    if ticket.mapping_id or ticket.finding_id:
        return ticket.failed_step
    return "required data" if ticket.category == Category.MISSING_DATA else "the run as a whole"


def item_name(step: Step, item: str, content: dict[str, Any], *, may_see: bool) -> str:
    """Which one of a step's objects, as its handler calls it: a task's name, a user's address."""
    handler = HANDLERS[step.uses]
    if not item or not handler.makes_objects:
        return item
    if handler.reports_back:
        return "as the flow reported" if item.startswith("made:") else "an earlier hand-over"
    facts = Facts(content, step.transaction.onboarding_transaction_id, item=item, options=step.options)
    if item not in handler.items(facts):
        return "one that the data does not name any more"
    name = handler.label(facts)
    return name if may_see else redact_text(name)


def field_label(path: str) -> str:
    """The catalogue's label, or for a field that it does not list its path, readable: ``Lines (commercial)``."""
    if path in fields.BY_PATH:
        return fields.label(path)
    *parents, name = path.replace("_", " ").replace("*", "other fields").split(".")
    within = f" ({', '.join(parents)})" if parents else ""
    return f"{name[:1].upper()}{name[1:]}{within}"


def outcome(attempt: Attempt) -> str:
    return OUTCOMES.get(attempt.outcome, attempt.outcome)
