"""What a ticket is about, named for people: the customer, the vendor, the object, the step's task, and why nothing
is tried now.
"""

from exceptions_queue.models import Ticket
from integrations.enums import Breaker, BreakerCause, vendor_name
from integrations.models import Connection
from onboarding.enums import StepState, WaitsFor
from onboarding.models import Step
from onboarding.steps.registry import HANDLERS

PLURALS = {"company": "companies"}
ELSEWHERE = (WaitsFor.RESERVATION, WaitsFor.SLOT, WaitsFor.HOLD_OFF, WaitsFor.JOB)
"""What a step waits for before it is tried."""


def vendor(connection: Connection | None) -> str:
    if connection is None:
        return "the vendor"
    return vendor_name(connection.provider)


def vendor_of(ticket: Ticket) -> str:
    subject = ticket.step or ticket.mapping
    return vendor(subject.connection if subject else ticket.connection)


def why_stopped(connection: Connection | None) -> str:
    auth = connection is not None and connection.breaker_cause == BreakerCause.AUTH
    return f"{vendor(connection)} {'refuses our credentials' if auth else 'does not work'}"


def customer(ticket: Ticket) -> str:
    run = ticket.transaction
    return (run.customer_name or run.onboarding_transaction_id) if run else ""


def doing(uses: str) -> str:
    """What a step does, as after "to": ``find or create the CRM account``."""
    return HANDLERS[uses].title if uses in HANDLERS else uses


def title(step: Step) -> str:
    text = HANDLERS[step.uses].titled(step.options) if step.uses in HANDLERS else step.uses
    return text[:1].upper() + text[1:]


def task(ticket: Ticket) -> str:
    return doing(ticket.step.uses) if ticket.step else "go on"


def kind(ticket: Ticket) -> str:
    """Of object, such as ``company``."""
    if ticket.mapping:
        return ticket.mapping.kind
    handler = HANDLERS.get(ticket.step.uses) if ticket.step else None
    return handler.kind if handler and handler.makes_objects else "object"


def article(word: str) -> str:
    return f"an {word}" if word[:1].lower() in "aeio" else f"a {word}"  # a user, an organization


def plural(word: str) -> str:
    return PLURALS.get(word, f"{word}s")


def lowered(text: str) -> str:
    """With a small first letter, unless it begins with an abbreviation."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def values(ticket: Ticket) -> dict[str, str]:
    """What texts of the catalogue and of cards may name."""
    return {
        "vendor": vendor_of(ticket),
        "customer": customer(ticket) or "the customer",
        "object": kind(ticket),
        "subject": "the step" if ticket.step else "it",
    }


def held_up(ticket: Ticket) -> str:
    """Why the ticket's step is not tried now though a retry was asked for or is due; empty where nothing keeps it back."""
    step, run = ticket.step, ticket.transaction
    if step is None or run is None or step.is_done or step.lease_until or step.due_at is None:
        return ""
    connection = step.connection
    if connection and connection.breaker == Breaker.OPEN:
        return f"Resumes when {vendor(connection)} is reconnected."
    if connection and connection.breaker == Breaker.HALF_OPEN:
        return f"{vendor(connection)} answers again and is tried with one step first; this one is next."
    if run.held_at and not run.is_rolling_back:
        return "The run is on hold: it continues when somebody resumes the run."
    if step.state == StepState.WAITING and step.waits_for in ELSEWHERE:
        return f"Waiting for {lowered(step.get_waits_for_display())}."
    return ""
