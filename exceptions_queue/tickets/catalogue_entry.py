"""What a catalogue entry says of a category of tickets, and the rules for whose queue they go to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from exceptions_queue.models import Ticket
from integrations.enums import System
from onboarding.enums import Category, SafeAction, Topic
from onboarding.payload import catalogue as fields
from onboarding.queues import QUEUES

TONES = OK, RISK, BAD, MUTED, INFO = "ok", "risk", "bad", "muted", "info"
"""Tones. Text always stands beside them."""
ENGINEERING, FINANCE, SALES, SUPPORT = "revenue-operations", "finance", "sales-ops", "support-ops"


@dataclass(frozen=True)
class Story:
    """A ticket in plain words: ``headline`` is the question; ``happened`` and ``todo`` are sentences."""

    headline: str
    happened: Sequence[str] = ()
    todo: str = ""


@dataclass(frozen=True)
class Circumstances:
    """What a ticket's row does not hold. ``progress``: how a stopped connection is, as a sentence."""

    waiting_runs: int = 0
    progress: str = ""


@dataclass(frozen=True)
class Failure:
    """What a queue rule decides by. ``step_queue``: what the playbook says of the step."""

    system: str
    problems: Sequence[dict[str, str]] = ()
    step_queue: str = ""

    @property
    def paths(self) -> list[str]:
        return [path for problem in self.problems if (path := problem.get("path", ""))]


@dataclass(frozen=True)
class QueueRule:
    """``text`` says it in the documentation."""

    text: str
    queue: Callable[[Failure], str]


def _of_step(failure: Failure) -> str:
    if failure.step_queue in QUEUES:
        return failure.step_queue
    return SUPPORT if failure.system == System.SUPPORT else ENGINEERING


def _of_approval(failure: Failure) -> str:
    return FINANCE if failure.step_queue not in QUEUES and failure.system == System.WORKFLOW else _of_step(failure)


def _of_match(failure: Failure) -> str:
    if failure.step_queue not in QUEUES and failure.system == System.CRM:
        return SALES
    return _of_step(failure)


def _of_fields(failure: Failure) -> str:
    """The owner of the first field that the field catalogue knows."""
    owners = [fields.BY_PATH[path].queue for path in failure.paths if path in fields.BY_PATH]
    return owners[0] if owners else SALES


TO_ENGINEERING = QueueRule("Revenue operations", lambda _: ENGINEERING)
TO_FINANCE = QueueRule("Finance", lambda _: FINANCE)
BY_STEP = QueueRule("The step's queue in the playbook; else by system: support, or revenue operations", _of_step)
BY_APPROVAL = QueueRule(
    "The step's queue in the playbook; else finance, or as by step before a vendor's step", _of_approval
)
BY_MATCH = QueueRule("As by step, but sales operations for the CRM", _of_match)
BY_FIELDS = QueueRule("The field's owner; sales operations where it has none", _of_fields)
BY_FIELDS_OR_STEP = QueueRule(
    "The field's owner, where the vendor names one of ours; else as by step",
    lambda failure: _of_fields(failure) if failure.paths else _of_step(failure),
)


def _message(ticket: Ticket) -> str:
    return ticket.message.partition(": {")[0]  # a vendor's raw answer is for the page


@dataclass(frozen=True)
class Entry:
    """All that is known of one category, or of one topic within it.

    ``remedies`` names the actions that may resolve it; whether one makes sense for a ticket the action itself says. ``meaning`` and
    ``runbook`` may name ``{vendor}``, ``{customer}`` and ``{object}``, which are filled in for a ticket.
    """

    category: Category
    tone: str
    queue: QueueRule
    meaning: str
    story: Callable[[Ticket, Circumstances], Story]
    runbook: tuple[str, ...]
    topic: Topic = Topic.NONE
    remedies: frozenset[str] = frozenset()
    safe_action: SafeAction = SafeAction.RETRY
    short: Callable[[Ticket], str] = field(default=_message)
    """One line for lists."""

    passed: str = "The step has passed."
    """The resolution of a ticket whose subject has passed."""

    @property
    def label(self) -> str:
        return (
            self.category.label
            if self.topic in (Topic.NONE, Topic.CONNECTION)
            else f"{self.category.label}: {self.topic.label}"
        )
