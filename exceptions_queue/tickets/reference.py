"""The catalogue, the actions and their permissions as a page of the documentation."""

from collections.abc import Iterable, Sequence

from exceptions_queue.tickets.actions import ACTIONS
from exceptions_queue.tickets.catalogue import ENTRIES
from exceptions_queue.tickets.catalogue_entry import Entry
from onboarding.queues import QUEUES

HEAD = """# Exceptions: what each one means, and what may be done

Made by `manage.py ticket_reference` from the catalogue (`exceptions_queue/tickets/entries/`) and the declared actions; a test
compares. A subject (a run, a step, a change request, an object, a connection, a finding of an audit) has at most one open exception
for each topic.
"""
NAMES = {"vendor": "the vendor", "customer": "the customer", "object": "object"}


def page() -> str:
    parts = [HEAD, "## Categories and topics\n", _categories(), "## Runbooks\n", *map(_runbook, ENTRIES.values())]
    return "\n".join([*parts, "## Actions\n", _actions(), "## Who may do what\n", _matrix()])


def _categories() -> str:
    heads = (
        "Category",
        "Topic",
        "What it means",
        "Queue",
        "Safe action",
        "Actions besides assigning, snoozing and notes",
    )
    return _table(
        heads,
        (
            (
                f"`{entry.category}`",
                f"`{entry.topic}`" if entry.topic else "",
                entry.meaning,
                entry.queue.text,
                f"`{entry.safe_action}`",
                ", ".join(f"`{name}`" for name in ACTIONS if name in entry.remedies),
            )
            for entry in ENTRIES.values()
        ),
    )


def _runbook(entry: Entry) -> str:
    lines = (f"{number}. {line.format(**NAMES)}" for number, line in enumerate(entry.runbook, start=1))
    return "\n".join([f"**{entry.label}{_of_connection(entry)}**", "", *lines, ""])


def _of_connection(entry: Entry) -> str:
    return " (a connection's)" if entry.label == entry.category.label and entry.topic else ""


def _actions() -> str:
    rows = (
        (f"`{name}`", action.summary, ", ".join(f"`{each.name}`" for each in action.form.fields), _doors(name))
        for name, action in ACTIONS.items()
    )
    return _table(("Action", "What it does", "Takes", "Where"), rows)


def _doors(name: str) -> str:
    return f"`POST /api/v1/exceptions/{{id}}/{name}/`, console{', many at once' if ACTIONS[name].bulk else ''}"


def _matrix() -> str:
    rows = (
        (f"`{name}`", *("yes" if group in action.permission.granted else "" for group in QUEUES))
        for name, action in ACTIONS.items()
    )
    return _table(("Action", *QUEUES.values()), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
