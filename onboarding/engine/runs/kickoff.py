"""Whether the kickoff is scheduled, by what was reported of it, and what follows where it was called off.

An event may name its booking (``data``: ``booking``, and ``replaces`` of one that was moved); one that names none is about the
kickoff as it was agreed on until then.
"""

from collections.abc import Sequence

from onboarding import audit, working_set
from onboarding.engine.runs import waits
from onboarding.engine.runs.cancellation import decide
from onboarding.enums import Category, RunEventType, Status, StepState, Topic
from onboarding.models import OnboardingTransaction, RunEvent
from onboarding.signals import run_blocked
from onboarding.steps.registry import HANDLERS

CALLED_OFF = "The customer has called off the kickoff. Agree on another date: the onboarding waits for it."
AGAIN = "The kickoff is scheduled again."
ENDED = (Status.CANCELLED, Status.ROLLING_BACK, Status.ROLLED_BACK)
TOLD = (RunEventType.KICKOFF_SCHEDULED, RunEventType.KICKOFF_CANCELLED)


def scheduled_by(run: OnboardingTransaction) -> RunEvent | None:
    """The first event by which the kickoff is scheduled still, in whatever order they came; None where it is not."""
    return _standing(working_set.of(run).events(TOLD))


def _standing(events: Sequence[RunEvent]) -> RunEvent | None:
    scheduled = [event for event in events if event.type == RunEventType.KICKOFF_SCHEDULED]
    cancelled = [event for event in events if event.type == RunEventType.KICKOFF_CANCELLED]
    gone = {event.data.get("booking") for event in cancelled} | {event.data.get("replaces") for event in scheduled}
    unnamed = max((event.occurred_at for event in cancelled if not event.data.get("booking")), default=None)
    for event in scheduled:
        booking = event.data.get("booking")
        if not (booking and booking in gone) and not (unnamed and event.occurred_at <= unnamed):
            return event
    return None


def note_scheduled(run: OnboardingTransaction) -> None:
    """Nobody need ask the customer for another date any more. The caller holds the run locked."""
    decide(run, resolution=AGAIN, topic=Topic.KICKOFF)


def note_cancelled(run: OnboardingTransaction, *, actor: str) -> None:
    """What had ended with the kickoff's date waits for another one, and a ticket says so. Nothing of the run is held for it.

    The caller holds the run locked, advances and saves it.
    """
    if run.status in ENDED or scheduled_by(run):
        return
    ended = [
        step
        for step in run.steps.order_by("position")
        if HANDLERS[step.uses].finished_by == RunEventType.KICKOFF_SCHEDULED and step.state == StepState.SUCCEEDED
    ]
    if not ended:
        return
    for step in ended:
        waits.reopen(step)
    audit.record(run, "onboarding.kickoff.cancelled", actor=actor, data={"steps": [step.key for step in ended]})
    if run.status in (Status.READY_FOR_KICKOFF, Status.COMPLETE):
        run.reopen()
    run_blocked.send(
        OnboardingTransaction,
        run=run,
        category=Category.APPROVAL_OVERDUE,
        topic=Topic.KICKOFF,
        message=CALLED_OFF,
        problems=[],
    )
