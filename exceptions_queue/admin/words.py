"""A ticket in plain words, for people who are no engineers: the question, what happened, what to do about it."""

from dataclasses import dataclass, field, replace
from typing import Any

from exceptions_queue.admin import health
from exceptions_queue.models import Milestone, Ticket
from integrations.models import Connection
from integrations.redact import redact_text
from integrations.words import Breaker, BreakerCause, vendor_name
from onboarding.models import Attempt, Step
from onboarding.payload import catalogue
from onboarding.queues import QUEUES
from onboarding.steps.base import Facts
from onboarding.steps.registry import HANDLERS
from onboarding.words import Category, StepState, WaitsFor

ENGINEERING = QUEUES["revenue-operations"]
PLURALS = {"company": "companies"}
OUTCOMES = {
    "": "under way",
    "ensured": "passed",
    "written": "passed",
    "lookedup": "looked up",
    "waiting": "waits",
    "failed": "failed",
    "ambiguous": "needs a choice",
    "unknownoutcome": "outcome unknown",
    "broken": "a fault of ours",
    "late": "too late to count",
    "lease-expired": "not heard of again",
}
ELSEWHERE = (WaitsFor.RESERVATION, WaitsFor.SLOT, WaitsFor.HOLD_OFF, WaitsFor.JOB)
"""What a step waits for before it is tried."""
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True)
class Story:
    """``headline`` is the question; ``happened`` and ``todo`` are sentences."""

    headline: str
    happened: list[str] = field(default_factory=list)
    todo: str = ""


def vendor(connection: Connection | None) -> str:
    if connection is None:
        return "the vendor"
    return vendor_name(connection.provider)


def why_stopped(connection: Connection | None) -> str:
    auth = connection is not None and connection.breaker_cause == BreakerCause.AUTH
    return f"{vendor(connection)} {'refuses our credentials' if auth else 'does not work'}"


def customer(ticket: Ticket) -> str:
    run = ticket.transaction
    return (run.customer_name or run.onboarding_transaction_id) if run else ""


def doing(uses: str) -> str:
    """What a step does, as after "to": ``find or create the CRM account``."""
    return HANDLERS[uses].title if uses in HANDLERS else uses


def title(uses: str) -> str:
    text = doing(uses)
    return text[:1].upper() + text[1:]


def kind(ticket: Ticket) -> str:
    handler = HANDLERS[ticket.step.uses] if ticket.step else None
    return handler.kind if handler and handler.makes_objects else "object"


def item_name(step: Step, item: str, content: dict[str, Any], *, may_see: bool) -> str:
    """Which one of a step's objects, as its handler calls it: a task's name, a user's address."""
    handler = HANDLERS[step.uses]
    if not item or not handler.makes_objects:
        return item
    facts = Facts(content, step.transaction.onboarding_transaction_id, item=item, options=step.options)
    if item not in handler.items(facts):
        return "one that the data does not name any more"
    name = handler.label(facts)
    return name if may_see else redact_text(name)


def article(word: str) -> str:
    return f"an {word}" if word[:1].lower() in "aeio" else f"a {word}"  # a user, an organization


def plural(word: str) -> str:
    return PLURALS.get(word, f"{word}s")


def field_label(path: str) -> str:
    """The catalogue's label, or for a field that it does not list its path, readable: ``Lines (commercial)``."""
    if path in catalogue.BY_PATH:
        return catalogue.label(path)
    *parents, name = path.replace("_", " ").replace("*", "other fields").split(".")
    within = f" ({', '.join(parents)})" if parents else ""
    return f"{name[:1].upper()}{name[1:]}{within}"


def outcome(attempt: Attempt) -> str:
    return OUTCOMES.get(attempt.outcome, attempt.outcome)


def story(ticket: Ticket, *, waiting_runs: int = 0, may_see: bool = True) -> Story:
    """The ticket's story. ``waiting_runs``: how many runs a connection's ticket holds up. ``may_see``: personal data."""
    if ticket.connection:
        return _of_connection(ticket, waiting_runs)
    tell = _change if ticket.change_request else _STORIES.get(Category(ticket.category), _other)
    told = tell(ticket)
    return told if may_see else replace(told, headline=redact_text(told.headline))


def place(ticket: Ticket) -> str:
    """The failed step, as lists name it."""
    if ticket.step or ticket.connection:
        return ticket.failed_step
    if ticket.change_request_id:
        return "a change of the data"
    return "required data" if ticket.category == Category.MISSING_DATA else "the run as a whole"


def short(ticket: Ticket) -> str:
    """One line for lists."""
    if ticket.category == Category.MISSING_DATA:
        return f"Missing: {_fields(ticket)}"
    if ticket.category == Category.AMBIGUOUS_MATCH:
        count = len(ticket.candidates)
        return f"{count} {plural(kind(ticket)) if count > 1 else kind(ticket)} could be this customer"
    # A vendor's raw answer is for the page, and addresses are for those who may see them there.
    return redact_text(ticket.message.partition(": {")[0])


def _fields(ticket: Ticket) -> str:
    return catalogue.labels(problem["path"] for problem in ticket.problems if problem.get("path")) or "data"


def _missing_data(ticket: Ticket) -> Story:
    fields = [lowered(name) for name in _fields(ticket).split(", ")]
    listed = fields[0] if len(fields) == 1 else f"{', '.join(fields[:-1])} and {fields[-1]}"
    verb = "is" if len(fields) == 1 else "are"
    absent = all(problem.get("reason", "").startswith("is missing") for problem in ticket.problems)
    return Story(
        f"{customer(ticket)} paid, but the {listed} {verb} {'missing' if absent else 'missing or unusable'}",
        [
            "The onboarding has not started, so that nothing is set up from wrong data.",
            "Checked the available sources; none has it.",
        ],
        "Fill in what is missing. The onboarding starts as soon as you save.",
    )


def lowered(text: str) -> str:
    """With a small first letter, unless it begins with an abbreviation."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _inactive(ticket: Ticket, name: str, state: str) -> Story:
    """The one match is out of use at the vendor: suspended, archived or deleted."""
    label = ticket.candidates[0].get("label", "")
    return Story(
        f"{name} has {state} the {kind(ticket)} {label}; {customer(ticket)} waits",
        [
            f"Firstvalue was to {doing(ticket.step.uses) if ticket.step else 'go on'} and found one that is {state}.",
            "Nobody can use it like that, and whoever did it may have had a reason.",
        ],
        f"Restore it in {name} and then use it here, or have a new one created.",
    )


def _ambiguous(ticket: Ticket) -> Story:
    name, step = vendor(ticket.step.connection if ticket.step else None), ticket.step
    run = ticket.transaction
    on = f" on {run.domain}" if run and run.domain and kind(ticket) == "company" else ""
    count = len(ticket.candidates)
    if count == 1 and (state := ticket.candidates[0].get("inactive")):
        return _inactive(ticket, name, state)
    if count == 1:
        label = ticket.candidates[0].get("label", "")
        headline = f"{name} has {article(kind(ticket))} called {label}: is it {customer(ticket)}?"
    else:
        many = NUMBERS.get(count, str(count))
        headline = f"{name} has {many} {plural(kind(ticket))}{on}: which one is {customer(ticket)}?"
    found, todo = (
        ("one that may be another customer's", "Look at it and decide")
        if count == 1
        else ("more than it can decide", "Look at the candidates and choose")
    )
    return Story(
        headline,
        [
            f"Firstvalue was to {doing(step.uses) if step else 'go on'} and found {found}.",
            "It does not guess: a wrong choice would mix up two customers.",
        ],
        f"{todo}. The choice is kept and used for this customer from now on.",
    )


def _rate_limit(ticket: Ticket) -> Story:
    name = vendor(ticket.step.connection if ticket.step else None)
    return Story(
        f"{name} asks us to slow down; {customer(ticket)} waits",
        [
            f"{name} took too many calls and refuses more for a while. Nothing is lost and nothing was made twice.",
            _goes_on(ticket),
        ],
        "Usually you need not do anything. Retry if the customer cannot wait.",
    )


def _server_error(ticket: Ticket) -> Story:
    name = vendor(ticket.step.connection if ticket.step else None)
    return Story(
        f"{name} has trouble of its own; {customer(ticket)} waits",
        [
            f"{name} did not answer properly when Firstvalue was to {_task(ticket)}.",
            "Retrying is safe: what may have been done already is looked up first.",
            _goes_on(ticket),
        ],
        f"Look at {name}'s status page. Retry once it is well again.",
    )


def _auth(ticket: Ticket) -> Story:
    name = vendor(ticket.step.connection if ticket.step else None)
    return Story(
        f"{name} does not let us {_task(ticket)} for {customer(ticket)}",
        [f"Our credentials at {name} are valid, but they may not do this."],
        f"Somebody with access to {name} must give our account this right. Then retry.",
    )


def _validation(ticket: Ticket) -> Story:
    name = vendor(ticket.step.connection if ticket.step else None)
    return Story(
        f"{name} refuses the data of {customer(ticket)}",
        [
            f"Firstvalue was to {_task(ticket)}. {name} read the data and said no.",
            "Trying again unchanged would fail in the same way.",
        ],
        "Mend the fields that it names, then save."
        if _has_fields(ticket)
        else f"Mend the cause at {name}, then retry.",
    )


def _not_configured(ticket: Ticket) -> Story:
    if ticket.step is None:
        return Story(
            f"No playbook serves {customer(ticket)}",
            ["The plan and segment of this customer fit no playbook, so Firstvalue does not know what to set up."],
            "Correct the plan here, or have a playbook added and retry.",
        )
    connection = ticket.step.connection
    what = (
        f"The connection {connection} is not set up rightly"
        if connection
        else f"{ticket.get_system_display()} is not set up"
    )
    return Story(
        f"{what}; {customer(ticket)} waits",
        [f"Firstvalue was to {_task(ticket)} and has no working connection for that."],
        f"{ENGINEERING} sets up the connection. What waits for it goes on by itself when its test has passed.",
    )


def _unknown(ticket: Ticket) -> Story:
    name = vendor(ticket.step.connection if ticket.step else None)
    return Story(
        f"Did {name} make the {kind(ticket)} for {customer(ticket)}?",
        [
            "The call was sent, and it is not known whether it was carried out.",
            f"The {kind(ticket)} cannot be found at {name}, which would let us make a second one, so Firstvalue stopped.",
        ],
        f"Look for it at {name}. If it is there, link it by its id; if not, have it created.",
    )


def _stalled(ticket: Ticket) -> Story:
    current = getattr(ticket.transaction, "sla_clock", None)
    if current and current.milestone == Milestone.P2:
        return Story(
            f"The kickoff of {customer(ticket)} is not scheduled yet",
            [
                "Everything is set up. The business day for scheduling the kickoff is running out, or over.",
                "The ticket closes by itself as soon as the kickoff is scheduled.",
            ],
            "Find out whose it is to agree on a date with the customer, and what keeps them.",
        )
    return Story(
        f"{customer(ticket)} is not moving",
        [
            "The 30 minutes from payment to a set-up customer are running out or over, and this is what holds it up.",
            _goes_on(ticket),
        ],
        "See the steps below; retry what waits, or find out who can help.",
    )


def _internal(ticket: Ticket) -> Story:
    return Story(
        f"Firstvalue itself failed for {customer(ticket)}",
        ["This is a fault of ours and not of the customer's data. What was done at vendors is recorded."],
        f"{ENGINEERING} finds the details in the log. Retrying is safe.",
    )


def _other(ticket: Ticket) -> Story:
    return Story(f"{ticket.get_category_display()}: {customer(ticket)}", [], "")


def _of_connection(ticket: Ticket, waiting_runs: int) -> Story:
    connection = ticket.connection
    name = vendor(connection)
    if ticket.category == Category.AUTH_ERROR:
        return Story(
            f"{name} refuses our credentials; {_waiting(waiting_runs)}"
            if ticket.is_open
            else f"{name} refused our credentials",
            [
                f"Calls through the connection {connection} have stopped, so that the account is not locked.",
                "Runs that need it are parked and lose nothing.",
                *_release(connection),
            ],
            "Enter new credentials on the connection's page. They are tested at once, and what waits goes on.",
        )
    if ticket.category == Category.SERVER_ERROR and connection:
        return _of_outage(ticket, connection, waiting_runs)
    return Story(
        f"An event from {name} could not be understood",
        [f"It came in through the connection {connection}, is stored, and can be processed again at any time."],
        f"{ENGINEERING} finds out why. Retry processes it again.",
    )


def _of_outage(ticket: Ticket, connection: Connection, waiting_runs: int) -> Story:
    name = vendor(connection)
    tried = health.last_try(connection) if ticket.is_open else ""
    return Story(
        f"{name} does not work; {_waiting(waiting_runs)}" if ticket.is_open else f"{name} did not work",
        [
            f"Several calls in a row failed, so those through the connection {connection} have stopped.",
            "Runs that need it are parked and lose nothing; what they do elsewhere goes on.",
            *([tried] if tried else _release(connection)),
        ],
        f"Look at {name}'s status page, and at our own network. Once {name} works, everything goes on by itself.",
    )


def _waiting(runs: int) -> str:
    return {0: "no run waits yet", 1: "1 run waits"}.get(runs, f"{runs} runs wait")


def _release(connection: Connection | None) -> list[str]:
    """How far those have got that were parked."""
    left = health.left(connection) if connection else ""
    return [f"They go on now, one first and then more: {left}."] if left else []


def _task(ticket: Ticket) -> str:
    return doing(ticket.step.uses) if ticket.step else "go on"


def _has_fields(ticket: Ticket) -> bool:
    return any(problem.get("path") for problem in ticket.problems)


def _goes_on(ticket: Ticket) -> str:
    return "" if not ticket.next_retry else held_up(ticket) or "Firstvalue keeps trying by itself."


def held_up(ticket: Ticket) -> str:
    """Why the ticket's step is not tried now though a retry was asked for or is due; empty where nothing keeps it back."""
    step, run = ticket.step, ticket.transaction
    if step is None or run is None or step.is_done or step.lease_until or step.due_at is None:
        return ""
    connection = step.connection
    if connection and connection.breaker == Breaker.OPEN:
        return f"It goes on as soon as the connection {connection} is mended."
    if connection and connection.breaker == Breaker.HALF_OPEN:
        return f"{vendor(connection)} answers again and is tried with one step first; this one follows."
    if run.held_at and not run.is_rolling_back:
        return "The run is on hold: it is tried once somebody resumes the run."
    if step.state == StepState.WAITING and step.waits_for in ELSEWHERE:
        return f"It waits for {lowered(step.get_waits_for_display())}."
    return ""


def _decision(ticket: Ticket) -> Story:
    return Story(
        f"{customer(ticket)} got the money back: what becomes of the onboarding?",
        [
            "The payment was refunded, so nothing more is begun for this customer.",
            "What was set up already is still there at the vendors.",
        ],
        "Roll it back (you see first what would be taken back), or keep it and let it go on.",
    )


def _change(ticket: Ticket) -> Story:
    if ticket.is_by_hand:
        return Story(
            f"A change for {customer(ticket)} is to be made by hand",
            ["The change was applied, and no step of the playbook writes this part of it."],
            "Make the change there, then say here what you did.",
        )
    return Story(
        f"A change of {customer(ticket)}'s data waits for a decision",
        ["The onboarding goes on with the data as it was until somebody decides."],
        "Look at what would change, then apply or reject it.",
    )


def _rollback_failed(ticket: Ticket) -> Story:
    name = vendor(ticket.step.connection if ticket.step else None)
    return Story(
        f"What was made at {name} for {customer(ticket)} could not be taken back",
        [
            f"The rollback is under way and stopped here: {lowered(kind(ticket))} at {name}.",
            "What comes before it in the playbook waits, so that nothing is left half tied.",
        ],
        "Look at it there. Retry, take it back all the same, or skip it and leave it where it is.",
    )


_STORIES = {
    Category.MISSING_DATA: _missing_data,
    Category.AMBIGUOUS_MATCH: _ambiguous,
    Category.RATE_LIMIT: _rate_limit,
    Category.SERVER_ERROR: _server_error,
    Category.AUTH_ERROR: _auth,
    Category.VALIDATION_ERROR: _validation,
    Category.NOT_CONFIGURED: _not_configured,
    Category.UNKNOWN_OUTCOME: _unknown,
    Category.STALLED: _stalled,
    Category.INTERNAL_ERROR: _internal,
    Category.APPROVAL_OVERDUE: _decision,
    Category.ROLLBACK_FAILED: _rollback_failed,
}
