"""What other systems report of a run after its payment: stored once, and what follows from it."""

from datetime import datetime
from typing import Any

from integrations import clock
from onboarding import audit
from onboarding.engine.compensation import advance_or_roll_back
from onboarding.engine.recording import succeed
from onboarding.engine.runs import kickoff, prerequisites
from onboarding.engine.runs.cancellation import hold_and_ask
from onboarding.enums import RunEventType, StepState, Topic
from onboarding.models import OnboardingTransaction, RunEvent, Step
from onboarding.signals import event_reported
from onboarding.steps.registry import HANDLERS

REFUNDED = "The payment was refunded."
AFTER_REFUND = "Roll the run back, cancel it, or keep it as it is?"


class EventIdConflict(Exception):
    """The event's id was used for an event of another type before."""


def report(
    run: OnboardingTransaction,
    *,
    kind: RunEventType,
    event_id: str,
    occurred_at: datetime,
    data: dict[str, Any],
    actor: str,
) -> bool:
    """Store the event and do what follows; False where it is known. The caller holds the run locked. Raises
    ``EventIdConflict``.
    """
    event, new = RunEvent.objects.get_or_create(
        transaction=run,
        event_id=event_id,
        defaults={
            "type": kind,
            "occurred_at": occurred_at,
            "data": data,
            "actor": actor[:150],
            "received_at": clock.now(),
        },
    )
    if not new:
        if event.type != kind:
            raise EventIdConflict(f"The event {event_id} was a {event.type} before.")
        return False
    audit.record(run, "onboarding.event.received", actor=actor, data={"type": kind, "event": event_id})
    event_reported.send(OnboardingTransaction, run=run, kind=kind, actor=actor)
    if kind == RunEventType.PAYMENT_REFUNDED:
        # Nothing more is begun until a person has decided what becomes of the customer.
        hold_and_ask(run, actor=actor, hold_reason=REFUNDED, question=f"{REFUNDED} {AFTER_REFUND}", topic=Topic.REFUND)
    elif kind == RunEventType.KICKOFF_CANCELLED:
        kickoff.note_cancelled(run, actor=actor)
    elif kind == RunEventType.KICKOFF_SCHEDULED and kickoff.scheduled_by(run):
        kickoff.note_scheduled(run)
        for step in run.steps.all():
            if not run.is_rolling_back and _ends_with(step, kind):
                prerequisites.withdraw(run, at=clock.now(), reason="It is done already.", step=step)
                succeed(run, step, clock.now(), fixed_at=event.occurred_at)
    if not run.is_rolling_back:
        prerequisites.follow_report(run, kind, at=clock.now(), actor=actor)
    advance_or_roll_back(run)
    return True


def _ends_with(step: Step, kind: RunEventType) -> bool:
    """It is there and not done, whatever keeps it. One that a worker looks at right now sees the event when it records."""
    if HANDLERS[step.uses].finished_by != kind:
        return False
    return step.state in (StepState.PENDING, StepState.WAITING, StepState.BLOCKED) and step.mappings.exists()
