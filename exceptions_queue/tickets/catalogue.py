"""The catalogue of tickets: one entry a failure category, and one for each topic within it.

Console, API, mails, routing and the documentation read it; what is said of a category is said here and nowhere else.
"""

from exceptions_queue.models import Ticket
from exceptions_queue.tickets import naming
from exceptions_queue.tickets.catalogue_entry import Circumstances, Entry, Story
from exceptions_queue.tickets.entries import connections, runs, steps
from onboarding.enums import Category, SafeAction, Topic

ENTRIES = {(entry.category, entry.topic): entry for entry in (*runs.ENTRIES, *steps.ENTRIES, *connections.ENTRIES)}


def entry_of(category: str, topic: str = Topic.NONE) -> Entry:
    """A topic without an entry in this category is told as the category itself."""
    plain = Category(category)
    return ENTRIES.get((plain, Topic(topic)), ENTRIES[plain, Topic.NONE])


def of(ticket: Ticket) -> Entry:
    return entry_of(ticket.category, ticket.topic)


def story(ticket: Ticket, circumstances: Circumstances | None = None) -> Story:
    told = of(ticket).story(ticket, circumstances or Circumstances())
    return Story(told.headline, [sentence for sentence in told.happened if sentence], told.todo)


def safe_action(ticket: Ticket) -> SafeAction:
    """What is safe to begin with. Where the vendor names what is wrong with the data, that is fixed first."""
    usual = of(ticket).safe_action
    return SafeAction.MANUAL_FIX if usual is SafeAction.RETRY and ticket.problems else usual


def runbook(ticket: Ticket) -> list[str]:
    """The entry's checklist, with the ticket's values filled in."""
    values = naming.values(ticket)
    return [line.format(**values) for line in of(ticket).runbook]
