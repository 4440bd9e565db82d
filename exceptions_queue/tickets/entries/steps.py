"""Failures of one step."""

from exceptions_queue.models import Milestone, Ticket
from exceptions_queue.tickets.catalogue_entry import (
    BAD,
    BY_APPROVAL,
    BY_FIELDS_OR_STEP,
    BY_MATCH,
    BY_STEP,
    INFO,
    MUTED,
    RISK,
    TO_ENGINEERING,
    Circumstances,
    Entry,
    Story,
)
from exceptions_queue.tickets.naming import article, customer, doing, held_up, kind, lowered, plural, task, vendor_of
from onboarding.enums import ApprovalState, Category, SafeAction, Topic, WaitsFor
from onboarding.queues import QUEUES
from onboarding.sla_targets import INVOICE
from onboarding.steps.registry import HANDLERS

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
ENGINEERS = QUEUES["revenue-operations"]
AGAIN = frozenset({"fix", "retry", "link-object", "replay", "skip", "rollback"})
"""What may help after most failures."""
WITHOUT_LINK = AGAIN - {"link-object"}
WAIT = "Usually nothing: {vendor} is tried again by itself."


def may_advance(ticket: Ticket) -> str:
    return "" if not ticket.next_retry else held_up(ticket) or "Firstvalue keeps retrying automatically."


def _ambiguous(ticket: Ticket, _: Circumstances) -> Story:
    name, step = vendor_of(ticket), ticket.step
    run = ticket.transaction
    on = f" on {run.domain}" if run and run.domain and kind(ticket) == "company" else ""
    count = len(ticket.candidates)
    if count == 1 and (state := ticket.candidates[0].get("inactive")):
        return _inactive(ticket, name, state)
    if count == 1:
        label = ticket.candidates[0].get("label", "")
        headline = f"{name} has {article(kind(ticket))} called {label}: is it {customer(ticket)}?"
        found, todo = "one that may be another customer's", "Look at it and decide"
    else:
        many = NUMBERS.get(count, str(count))
        headline = f"{name} has {many} {plural(kind(ticket))}{on}: which one is {customer(ticket)}?"
        found, todo = "more than it can decide", "Look at the candidates and choose"
    return Story(
        headline,
        [
            f"Firstvalue had to {doing(step.uses) if step else 'go on'} and found {found}.",
            "It does not guess: a wrong match would mix two customers.",
        ],
        f"{todo}. The choice is saved and used for this customer from now on.",
    )


def _inactive(ticket: Ticket, name: str, state: str) -> Story:
    """The one match is out of use at the vendor: suspended, archived or deleted."""
    label = ticket.candidates[0].get("label", "")
    return Story(
        f"{name} has {state} the {kind(ticket)} {label}; {customer(ticket)} waits",
        [
            f"Firstvalue was to {task(ticket)} and found one that is {state}.",
            "Nobody can use it in that state, and it may be intentional.",
        ],
        f"Restore it in {name} and then use it here, or have a new one created.",
    )


def _candidates(ticket: Ticket) -> str:
    count = len(ticket.candidates)
    return f"{count} {plural(kind(ticket)) if count > 1 else kind(ticket)} could be this customer"


def _approval(ticket: Ticket, _: Circumstances) -> Story:
    asked = ticket.step.approvals.last() if ticket.step else None
    if asked is not None and asked.state == ApprovalState.REJECTED:
        return Story(
            f"{asked.decided_by} has rejected this for {customer(ticket)}",
            [f"Asked was: {asked.question}", f"The reason given: {asked.reason}"],
            "Change the data and ask again, or roll the onboarding back.",
        )
    due = getattr(asked, "sla_clock", None)
    return Story(
        f"{customer(ticket)}: {asked.question if asked else ticket.message}",
        [
            "What comes after this waits until somebody has approved it.",
            f"It is to be decided by {due.due_at:%Y-%m-%d %H:%M} UTC." if due else "",
            f"Given by {', '.join(asked.requested_by)}, who may not approve it."
            if asked and asked.requested_by
            else "",
        ],
        "Look at the data, then approve or reject it.",
    )


def _rate_limit(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor_of(ticket)
    return Story(
        f"{name} is rate limiting us; {customer(ticket)} waits",
        [
            f"{name} received too many calls and refuses more for a while. Nothing is lost and nothing was created twice.",
            may_advance(ticket),
        ],
        "Usually no action is needed. Retry if the customer cannot wait.",
    )


def _server_error(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor_of(ticket)
    return Story(
        f"{name} has an outage; {customer(ticket)} waits",
        [
            f"{name} did not answer correctly when Firstvalue tried to {task(ticket)}.",
            "Retrying is safe: what may already exist is looked up first.",
            may_advance(ticket),
        ],
        f"Look at {name}'s status page. Retry when it works again.",
    )


def _auth(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor_of(ticket)
    return Story(
        f"{name} does not let us {task(ticket)} for {customer(ticket)}",
        [f"Our credentials at {name} are valid, but lack the permission for this."],
        f"Somebody with access to {name} must grant our account this permission. Then retry.",
    )


def _validation(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor_of(ticket)
    has_fields = any(problem.get("path") for problem in ticket.problems)
    if ticket.step and HANDLERS[ticket.step.uses].checks:
        return Story(
            f"The data of {customer(ticket)} did not pass a check",
            [f"Firstvalue was to {task(ticket)}.", "What depends on it waits; nothing was made from this data."],
            "Fix the fields that it names, then save.",
        )
    return Story(
        f"{name} refuses the data of {customer(ticket)}",
        [
            f"Firstvalue was to {task(ticket)}. {name} rejected the data.",
            "Retrying without a change would fail in the same way.",
        ],
        "Fix the fields that it names, then save." if has_fields else f"Fix the cause at {name}, then retry.",
    )


def _not_configured(ticket: Ticket, _: Circumstances) -> Story:
    if ticket.step is None:
        return Story(
            f"No playbook serves {customer(ticket)}",
            ["The plan and segment of this customer fit no playbook, so Firstvalue does not know what to set up."],
            "Correct the plan here, or have a playbook added and retry.",
        )
    connection = ticket.step.connection
    what = (
        f"The connection {connection} is not set up correctly"
        if connection
        else f"{ticket.get_system_display()} is not set up"
    )
    return Story(
        f"{what}; {customer(ticket)} waits",
        [f"Firstvalue was to {task(ticket)} but has no working connection for it."],
        f"{ENGINEERS} sets up the connection. What waits for it resumes automatically when its test has passed.",
    )


def _indeterminate(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor_of(ticket)
    if ticket.step and (handler := HANDLERS[ticket.step.uses]).reports_back:
        return Story(
            f"Has {name} done its part for {customer(ticket)}?",
            [
                ticket.message,
                f"It was to {handler.titled(ticket.step.options)}; {name} cannot be asked what has become of it.",
            ],
            f"Look at the flow's executions in {name}. A report that still comes closes this. Where it was done and does not "
            "report, skip the step; where it was not, have it handed over again.",
        )
    return Story(
        f"Did {name} create the {kind(ticket)} for {customer(ticket)}?",
        [
            "The call was sent, and its outcome is indeterminate: it may have been carried out.",
            f"The {kind(ticket)} cannot be found at {name}, which would accept a second one, so Firstvalue stopped.",
        ],
        f"Look for it at {name}. If it is there, link it by its id; if not, have it created.",
    )


def _stalled(ticket: Ticket, _: Circumstances) -> Story:
    if ticket.step and ticket.step.uses == INVOICE:
        return Story(
            f"The order of {customer(ticket)} cannot be invoiced yet",
            [
                "Everything is provisioned. The business day for confirming the order at the ERP is running out or has passed.",
                "The ticket closes automatically when the order can be invoiced.",
            ],
            "Look at the order at the ERP: confirm it, or find out what it lacks.",
        )
    if ticket.step and ticket.step.waits_for == WaitsFor.REPORT:
        return Story(
            f"{customer(ticket)} waits for what no other system has reported",
            [ticket.message, "The ticket closes automatically when the event is reported."],
            "Find out who reports it, and what delays them. Skip the step where it is not needed.",
        )
    current = getattr(ticket.transaction, "sla_clock", None)
    if current and current.milestone == Milestone.P2:
        return Story(
            f"The kickoff of {customer(ticket)} is not scheduled yet",
            [
                "Everything is provisioned. The business day for scheduling the kickoff is running out or has passed.",
                "The ticket closes automatically when the kickoff is scheduled.",
            ],
            "Find out who agrees on a date with the customer, and what delays them.",
        )
    return Story(
        f"The onboarding of {customer(ticket)} is stalled",
        [
            "The 30 minutes from payment to a provisioned customer are running out or have passed, and this is the cause.",
            may_advance(ticket),
        ],
        "Look at the steps below; retry what waits, or find out who can help.",
    )


def _internal(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"Firstvalue itself failed for {customer(ticket)}",
        ["This is a defect in Firstvalue, not in the customer's data. What was done at vendors is recorded."],
        f"{ENGINEERS} finds the details in the log. Retrying is safe.",
    )


def _rollback_failed(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor_of(ticket)
    return Story(
        f"What was made at {name} for {customer(ticket)} could not be removed",
        [
            f"The rollback is in progress and stopped here: {lowered(kind(ticket))} at {name}.",
            "Earlier steps of the playbook wait, so that nothing is left half removed.",
        ],
        "Look at it there. Retry, force the rollback, or skip it and leave it where it is.",
    )


ENTRIES = (
    Entry(
        Category.AMBIGUOUS_MATCH,
        RISK,
        BY_MATCH,
        "Several objects at the vendor could be this customer's, or one that is out of use.",
        _ambiguous,
        (
            "Open each candidate in {vendor} and compare domain, billing email and history with {customer}.",
            "Choose the one that is {customer}'s.",
            "Where none is, create a new {object}; where two are the same customer, merge them in {vendor} first.",
        ),
        remedies=frozenset({"fix", "choose-match", "link-object", "skip", "rollback"}),
        safe_action=SafeAction.MANUAL_FIX,
        short=_candidates,
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        BY_APPROVAL,
        "Somebody has to approve a step before it is done; what comes after it waits.",
        _approval,
        (
            "Look at the data that is to be approved, and at the order of {customer}.",
            "Approve it, or reject it with the reason. Whoever gave the data may not approve it.",
            "Where it was rejected, have the data changed and ask again with “Retry”, or roll the run back.",
        ),
        topic=Topic.APPROVAL,
        remedies=frozenset({"approve", "reject", "retry", "rollback"}),
        safe_action=SafeAction.RETRY,
        passed="It was approved.",
    ),
    Entry(
        Category.RATE_LIMIT,
        INFO,
        BY_STEP,
        "The vendor refuses calls for a while, and went on doing so.",
        _rate_limit,
        (
            WAIT,
            "Where it lasts, find out what else uses the account at {vendor}, or have its limit raised.",
            "Retry if {customer} cannot wait.",
        ),
        remedies=AGAIN,
    ),
    Entry(
        Category.SERVER_ERROR,
        BAD,
        BY_STEP,
        "The vendor did not answer properly, several times.",
        _server_error,
        (
            "Look at the status page of {vendor}.",
            WAIT,
            "Retry once it works again: what was done already is looked up.",
        ),
        remedies=AGAIN,
    ),
    Entry(
        Category.AUTH_ERROR,
        BAD,
        TO_ENGINEERING,
        "The vendor takes our credentials, but not for this call.",
        _auth,
        (
            "See under the calls which right {vendor} names.",
            "Have somebody with access to {vendor} give our account this right.",
            "Test the connection, then retry.",
        ),
        remedies=WITHOUT_LINK,
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.VALIDATION_ERROR,
        RISK,
        BY_FIELDS_OR_STEP,
        "The vendor read the data and refused it.",
        _validation,
        (
            "Read what {vendor} said of which field.",
            "Where it is a field of ours, correct it here.",
            "Else fix the cause at {vendor} (a required property, a closed pipeline, say), then retry.",
        ),
        remedies=AGAIN,
    ),
    Entry(
        Category.NOT_CONFIGURED,
        MUTED,
        TO_ENGINEERING,
        "No connection for the step's system, or no playbook for the customer's plan and segment.",
        _not_configured,
        (
            "Where the step has no connection, set it up and test it: what waits goes on by itself.",
            "Where no playbook serves {customer}, check plan and segment, and correct them here if they are wrong.",
            "Else add the plan to a playbook, then retry.",
        ),
        remedies=WITHOUT_LINK,
        safe_action=SafeAction.MANUAL_FIX,
        passed="A playbook serves this customer now.",
    ),
    Entry(
        Category.UNKNOWN_OUTCOME,
        MUTED,
        BY_STEP,
        "A create was sent, and it cannot be told whether it was carried out.",
        _indeterminate,
        (
            "Search {vendor} for the {object} by name, domain and our reference.",
            "Where it is there, link it by its id.",
            "Where it is not, have it created. A mail has no place to look: ask the recipient.",
        ),
        remedies=AGAIN | {"choose-match"},
    ),
    Entry(
        Category.STALLED,
        MUTED,
        BY_STEP,
        "A clock runs out and no failure explains it, or nothing is under way in the run.",
        _stalled,
        (
            "Look at the run's steps: what is waited for, and since when?",
            "Ask whoever has to do it; a kickoff is agreed on with {customer}.",
            "Retry what waits for nobody.",
        ),
        remedies=AGAIN,
        passed="The run resumed.",
    ),
    Entry(
        Category.ROLLBACK_FAILED,
        BAD,
        BY_STEP,
        "An object of a run that is rolled back could not be removed, or was changed since.",
        _rollback_failed,
        (
            "Look at the {object} in {vendor}: what is tied to it, who changed it?",
            "Retry where the cause is gone.",
            "Force it where the change may be lost; else skip the step, and the object stays.",
        ),
        remedies=AGAIN,
    ),
    Entry(
        Category.INTERNAL_ERROR,
        MUTED,
        TO_ENGINEERING,
        "A defect of Firstvalue itself.",
        _internal,
        ("Find the error in the log by the run's id.", "Retry: it is safe.", "Report the defect with the log's lines."),
        remedies=AGAIN,
    ),
)
