"""What is wrong with a connection, for all runs that need it."""

from exceptions_queue.models import Ticket
from exceptions_queue.tickets.catalogue_entry import BAD, MUTED, TO_ENGINEERING, Circumstances, Entry, Story
from exceptions_queue.tickets.naming import vendor
from onboarding.enums import Category, SafeAction, Topic
from onboarding.queues import QUEUES

ENGINEERS = QUEUES["revenue-operations"]


def _waiting(runs: int) -> str:
    return {0: "no run waits yet", 1: "1 run waits"}.get(runs, f"{runs} runs wait")


def _credentials(ticket: Ticket, now: Circumstances) -> Story:
    name = vendor(ticket.connection)
    return Story(
        f"{name} refuses our credentials; {_waiting(now.waiting_runs)}"
        if ticket.is_open
        else f"{name} refused our credentials",
        [
            f"Calls through the connection {ticket.connection} have stopped, so that the account is not locked.",
            "Runs that need it are parked; nothing is lost.",
            now.progress,
        ],
        "Enter new credentials on the connection's page. They are tested at once, and parked runs resume.",
    )


def _outage(ticket: Ticket, now: Circumstances) -> Story:
    name = vendor(ticket.connection)
    return Story(
        f"{name} does not work; {_waiting(now.waiting_runs)}" if ticket.is_open else f"{name} did not work",
        [
            f"Several calls in a row failed, so those through the connection {ticket.connection} have stopped.",
            "Runs that need it are parked; nothing is lost, and their other steps continue.",
            now.progress,
        ],
        f"Look at {name}'s status page, and at our own network. Once {name} works, everything resumes automatically.",
    )


def _event(ticket: Ticket, _: Circumstances) -> Story:
    return Story(
        f"An event from {vendor(ticket.connection)} could not be understood",
        [f"It came in through the connection {ticket.connection}, is stored, and can be processed again at any time."],
        f"{ENGINEERS} finds out why. Retry processes it again.",
    )


ENTRIES = (
    Entry(
        Category.AUTH_ERROR,
        BAD,
        TO_ENGINEERING,
        "The vendor refuses our credentials: the connection's breaker is open, and runs that need it are parked.",
        _credentials,
        (
            "Find out at {vendor} whether the token expired, was revoked or lost a right.",
            "Enter a new one on the connection's page: it is tested at once.",
            "Watch the runs that were parked go on, one first.",
        ),
        topic=Topic.CONNECTION,
        safe_action=SafeAction.MANUAL_FIX,
    ),
    Entry(
        Category.SERVER_ERROR,
        BAD,
        TO_ENGINEERING,
        "Several calls in a row failed: the connection's breaker is open, and runs that need it are parked.",
        _outage,
        (
            "Look at the status page of {vendor}, and at our own network.",
            "Usually nothing: it is tried again by itself, and everything goes on once it works.",
            "Retry has it tried at once.",
        ),
        topic=Topic.CONNECTION,
        remedies=frozenset({"retry"}),
    ),
    Entry(
        Category.INTERNAL_ERROR,
        MUTED,
        TO_ENGINEERING,
        "A webhook's event is stored and could not be understood.",
        _event,
        (
            "Open the event under the connection's events and read what was wrong.",
            "Fix the cause (a price without a plan, a defect), then retry: every failed event is processed again.",
        ),
        topic=Topic.EVENT,
        remedies=frozenset({"retry"}),
    ),
)
