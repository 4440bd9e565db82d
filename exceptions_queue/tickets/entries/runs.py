"""What is asked about a run as a whole: its data, and what becomes of it."""

from exceptions_queue.models import Ticket
from exceptions_queue.tickets.catalogue_entry import (
    BAD,
    BY_FIELDS,
    BY_STEP,
    RISK,
    TO_ENGINEERING,
    TO_FINANCE,
    Circumstances,
    Entry,
    Story,
)
from exceptions_queue.tickets.naming import customer, kind, lowered, vendor
from onboarding.enums import WITHDRAWN, Category, SafeAction, Topic
from onboarding.payload import catalogue as fields

DECIDE = frozenset({"skip", "rollback"})
"""Keep the run (a skip of the question), or roll it back."""


def missing_fields(ticket: Ticket) -> str:
    return fields.labels(problem["path"] for problem in ticket.problems if problem.get("path")) or "data"


def _missing_data(ticket: Ticket, _: Circumstances) -> Story:
    names = [lowered(name) for name in missing_fields(ticket).split(", ")]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    verb = "is" if len(names) == 1 else "are"
    absent = all(problem.get("reason", "").startswith("is missing") for problem in ticket.problems)
    return Story(
        f"{customer(ticket)} paid, but the {listed} {verb} {'missing' if absent else 'missing or unusable'}",
        [
            "The onboarding has not started, so nothing is created from wrong data.",
            "Checked the available sources; none has it.",
        ],
        "Fill in what is missing. The onboarding starts as soon as you save.",
    )


def _refund(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"{customer(ticket)} was refunded: what happens to the onboarding?",
        [
            "The payment was refunded, so no further step is started for this customer.",
            "What was already created at the vendors is still there.",
        ],
        "Roll it back (you see first what would be removed), or keep it and continue.",
    )


def _payment(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"Is the payment of {customer(ticket)} a new order?",
        [
            "It may be a renewal, or a part of another payment, so nothing more is begun for this customer.",
            "What was already created at the vendors is still there.",
        ],
        "Look at the payment. Keep the run if it is a new order; else roll it back.",
    )


def _kickoff(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"{customer(ticket)} has called off the kickoff",
        [
            "The booking was cancelled and not moved to another time, so the kickoff is open again.",
            "What was already created at the vendors is still there.",
        ],
        "Agree on another date with the customer. The ticket closes by itself when the kickoff is booked again.",
    )


def _decision(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"What becomes of the onboarding of {customer(ticket)}?",
        ["Somebody has to decide, and nothing more is begun until then."],
        "Roll it back (you see first what would be removed), or keep it and continue.",
    )


def _change(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"A change of {customer(ticket)}'s data waits for a decision",
        ["The onboarding continues with the previous data until somebody decides."],
        "Look at what would change, then apply or reject it.",
    )


def _by_hand(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"A change for {customer(ticket)} must be made manually",
        ["The change was applied, and no step of the playbook writes this part of it."],
        "Make the change there, then say here what you did.",
    )


def _object(ticket: Ticket, _: Circumstances) -> Story:
    name = vendor(ticket.mapping.connection if ticket.mapping else None)
    external_id = ticket.mapping.external_id if ticket.mapping else ""
    return Story(
        f"Is the {kind(ticket)} {external_id} at {name} still {customer(ticket)}'s?",
        [f"What {name} says of it is not what the run has on record."],
        f"Look at it in {name}. Fix it there, or unlink it on the run's page.",
    )


def _two_runs(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"Was the order of {customer(ticket)} started twice?",
        [ticket.message],
        "Join the two runs where they are of one order; else keep both.",
    )


def _surplus(ticket: Ticket, _: Circumstances) -> Story:
    run = ticket.transaction
    if run is not None and run.joined_into_id is None:
        withdrawn = run.status in WITHDRAWN
        return Story(
            f"What a workflow tool made for {customer(ticket)} is to be removed"
            if withdrawn
            else f"A workflow tool has done something for {customer(ticket)} that nobody waited for any more",
            [
                ticket.message,
                "The onboarding was withdrawn, and Firstvalue cannot undo what a flow has done."
                if withdrawn
                else "Its step was skipped, or handed over anew, before this was reported.",
            ],
            "Remove what is one too many where the flow made it, or leave it there on purpose.",
        )
    return Story(
        f"{customer(ticket)} was onboarded twice: objects are left over",
        [ticket.message],
        "Remove them at their vendors, or move what is in them.",
    )


def _mail(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"A mail to {customer(ticket)} did not arrive, or is not wanted",
        ["The mail vendor tells so of a mail that was sent.", "The onboarding continues; nothing else waits for it."],
        "Correct the contact's address: the mail is sent again, to that one. Where it was reported as spam, write to nobody there "
        "without having asked.",
    )


def _audit(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"The audit trail of {customer(ticket)} is not as it was written"
        if ticket.transaction
        else "The audit trail is not as it was written",
        ["An entry is missing, was added or was changed after it was written, or an anchor does not fit."],
        "Keep the database as it is, compare it with a backup, and find out who had access.",
    )


ENTRIES = (
    Entry(
        Category.MISSING_DATA,
        RISK,
        BY_FIELDS,
        "A required field is missing or implausible; the run waits at the gate.",
        _missing_data,
        (
            "Look for the value in the CRM and in the order.",
            "Ask the deal's owner, then {customer}.",
            "Fill it in: the run starts as soon as everything is there.",
        ),
        remedies=frozenset({"fix", "rollback"}),
        safe_action=SafeAction.MANUAL_FIX,
        short=lambda ticket: f"Missing: {missing_fields(ticket)}",
        passed="The data is complete.",
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        TO_FINANCE,
        "A person has to decide about the run, which is on hold.",
        _decision,
        ("Read what is asked.", "Keep the run, or roll it back."),
        remedies=DECIDE,
        safe_action=SafeAction.ROLLBACK,
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        TO_FINANCE,
        "The payment was refunded; the run is on hold.",
        _refund,
        (
            "Find out from billing why {customer} was refunded, and whether in full.",
            "Where the order stands, keep the run.",
            "Else roll it back: the preview says what would be removed.",
        ),
        topic=Topic.REFUND,
        remedies=DECIDE,
        safe_action=SafeAction.ROLLBACK,
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        TO_FINANCE,
        "It cannot be told whether the payment is a new order; the run is on hold.",
        _payment,
        (
            "Look at the payment, its invoice and {customer}'s earlier ones at the billing vendor.",
            "Where it is a new order, keep the run.",
            "Where it is a renewal or a part of another payment, cancel the run or roll it back.",
        ),
        topic=Topic.PAYMENT,
        remedies=DECIDE,
        safe_action=SafeAction.ROLLBACK,
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        BY_STEP,
        "The customer has called off the kickoff; the run waits for another date.",
        _kickoff,
        (
            "Ask {customer} what has changed.",
            "Agree on another date, or have them book one.",
            "Where there will be none, cancel the run or roll it back.",
        ),
        topic=Topic.KICKOFF,
        remedies=DECIDE,
        safe_action=SafeAction.ROLLBACK,
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        TO_ENGINEERING,
        "The keys of one event name two runs: their order may have been started twice. It holds nothing up.",
        _two_runs,
        (
            "Compare the two runs: are they of one order of {customer}?",
            "If so, join the one that got less far into the other (Join into another, on its page).",
            "If not, keep both.",
        ),
        topic=Topic.TWO_RUNS,
        remedies=DECIDE,
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.APPROVAL_OVERDUE,
        RISK,
        BY_FIELDS,
        "Other data, or a change that a person wants, waits for a decision. It holds nothing up.",
        _change,
        (
            "Look at what would change, and at what each step would do.",
            "Ask the field's owner where it is not clear.",
            "Apply or reject it.",
        ),
        topic=Topic.CHANGE,
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.VALIDATION_ERROR,
        RISK,
        BY_FIELDS,
        "A change was applied of which no step writes a part. It holds nothing up.",
        _by_hand,
        ("Make the change at the vendor that is named.", "Say here what you did; that closes the ticket."),
        topic=Topic.CHANGE,
        remedies=frozenset({"done"}),
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.VALIDATION_ERROR,
        RISK,
        TO_ENGINEERING,
        "An object at a vendor is not what the run has on record. It holds nothing up.",
        _object,
        (
            "Open the {object} in {vendor}: is it there, is it {customer}'s?",
            "Fix it there, or unlink it on the run's page and let the step look for the right one.",
        ),
        topic=Topic.OBJECT,
        remedies=frozenset({"done"}),
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.VALIDATION_ERROR,
        RISK,
        TO_ENGINEERING,
        "A run was joined into another, or a workflow tool has worked for a run or a step that is not to be, and objects are left "
        "over. It holds nothing up.",
        _surplus,
        (
            "Open each object that is listed: is it used, or is something in it that {customer} needs?",
            "Move what is needed into the object of the onboarding that goes on, where one does, then remove the other one.",
            "Say here what you did; that closes the ticket.",
        ),
        topic=Topic.SURPLUS,
        remedies=frozenset({"done"}),
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.VALIDATION_ERROR,
        RISK,
        BY_FIELDS,
        "A mail was returned, rejected or reported as spam. It holds nothing up.",
        _mail,
        (
            "Read what the other side said.",
            "Ask {customer} for an address that works, by another way; enter it here: the mail is sent again.",
            "Where nothing is to be sent again, say here what you did instead.",
        ),
        topic=Topic.MAIL,
        remedies=frozenset({"fix", "done"}),
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.INTERNAL_ERROR,
        BAD,
        TO_ENGINEERING,
        "`manage.py audit verify` found the audit trail changed. It holds nothing up.",
        _audit,
        (
            "Run `manage.py audit verify` again and keep what it prints.",
            "Compare the database with the last backup, and find out who had access to it since.",
            "Restore the trail, or keep the finding on record.",
        ),
        topic=Topic.AUDIT,
        remedies=frozenset({"done"}),
        safe_action=SafeAction.MANUAL_FIX,
    ),
)
