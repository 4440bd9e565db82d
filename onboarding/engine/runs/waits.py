"""How long a step may wait for somebody, or for what other systems report, before a person is told."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from onboarding.enums import WaitsFor
from onboarding.models import Step, StepPoll

DEADLINE_HOURS = 72
"""Round the clock, where the playbook's step says nothing else: over a weekend."""
AWAITED = (WaitsFor.EVENT, WaitsFor.REPORT)
"""What may take for ever, as nothing but somebody else ends it."""


def begin(step: Step, now: datetime) -> None:
    """The step waits from now on, or goes on waiting: it is looked at again in a while, and at the latest by its deadline.

    A wait that was interrupted keeps its deadline, also one that has passed.
    """
    deadline = now + hours_of(step)
    kept = Coalesce(F("deadline_at"), Value(deadline))
    poll_at = None if step.waits_for == WaitsFor.REPORT else now + timedelta(seconds=settings.KICKOFF_POLL_SECONDS)
    # Nobody need be asked for what others report: there is only the deadline.
    StepPoll.objects.update_or_create(
        step=step,
        defaults={"due_at": poll_at or kept, "enqueued_until": None, "deadline_at": kept},
        create_defaults={"due_at": poll_at or deadline, "deadline_at": deadline},
    )


def forget_deadlines(steps: list[Step]) -> None:
    """What they waited for came, and is awaited anew: as for the first time."""
    StepPoll.objects.filter(step__in=steps).update(deadline_at=None, count=0)


def reopen(step: Step) -> None:
    """To be done again in its turn, and saved: what it waits for then is another wait."""
    step.reopen()
    step.save()
    forget_deadlines([step])


def hours_of(step: Step) -> timedelta:
    return timedelta(hours=step.deadline_hours or DEADLINE_HOURS)


def why_overdue(step: Step) -> str:
    """For people."""
    hours = f"{hours_of(step) // timedelta(hours=1)} hours"
    if step.waits_for == WaitsFor.REPORT:
        return f"For {hours} no other system has reported {step.awaits}, which the step waits for."
    return f"For {hours} nobody has done what the step waits for, nor reported it."
