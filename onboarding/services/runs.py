"""What people may do to a run as a whole: hold it, let it go on, cancel it; and what other systems report of it."""

from datetime import datetime
from typing import Any

from django.db import transaction as db

from integrations import clock
from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine import entry
from onboarding.engine.advance import advance, follow, is_rewritten
from onboarding.engine.dispatch import hint_step
from onboarding.engine.locks import lock_run, retried
from onboarding.engine.record import succeed
from onboarding.models import OnboardingTransaction, RunEvent, Step
from onboarding.services.base import Refused, given_reason
from onboarding.signals import run_cancelled, step_unblocked
from onboarding.steps.base import EnsureHandler
from onboarding.steps.registry import HANDLERS
from onboarding.words import RunEventType, StepState, WaitsFor


@retried
def readmit(run_pk: int, *, actor: str) -> None:
    """Let a run that waits at the gate try again, or one that stands still go on (a playbook or a plan was added, say)."""
    with db.atomic():
        run = lock_run(run_pk)
        entry.admit(run, actor=actor)
        advance(run)
        audit.record(run, "onboarding.run.readmitted", actor=actor)
        run.save()


@retried
def hold(run_pk: int, *, actor: str, reason: str) -> None:
    """Begin nothing more until ``resume``; what is under way ends. The P1 clock goes on. Raises ``Refused``."""
    text = given_reason(reason)
    with db.atomic():
        run = lock_run(run_pk)
        if run.is_over:
            raise Refused(f"The run is {run.get_status_display().lower()}; there is nothing to hold.")
        if run.held_at:
            raise Refused(f"{run.held_by} put the run on hold already.")
        run.held_at, run.held_by, run.hold_reason = clock.now(), actor[:150], text
        audit.record(run, "onboarding.run.held", actor=actor)
        follow(run)
        run.save()
        failpoint("person-acted")


@retried
def resume(run_pk: int, *, actor: str) -> None:
    """Let a run on hold go on. Raises ``Refused``."""
    with db.atomic():
        run = lock_run(run_pk)
        if not run.held_at:
            raise Refused("The run is not on hold.")
        run.held_at, run.held_by, run.hold_reason = None, "", ""
        audit.record(run, "onboarding.run.resumed", actor=actor)
        entry.admit(run, actor=actor)
        advance(run)
        run.save()
        for pk in run.steps.filter(due_at__lte=clock.now()).values_list("pk", flat=True):
            hint_step(pk)
        failpoint("person-acted")


@retried
def cancel(run_pk: int, *, actor: str, reason: str) -> None:
    """Do nothing more for this run, for good; what was made stays. Raises ``Refused`` for one that is over."""
    text = given_reason(reason)
    with db.atomic():
        run = lock_run(run_pk)
        if run.is_over:
            raise Refused(f"The run is {run.get_status_display().lower()} already.")
        now = clock.now()
        run.cancel(at=now, reason=text)
        audit.record(run, "onboarding.run.cancelled", actor=actor)
        for step in run.steps.all():
            if not step.is_done and not is_rewritten(step):
                # One in a worker's hands too: what that brings is late, and kept as evidence.
                step.skip(at=now, reason="The run was cancelled.")
                step.category, step.problems, step.candidates = "", [], []
                step.save()
                step_unblocked.send(Step, step=step)
        run_cancelled.send(OnboardingTransaction, run=run, at=now)
        follow(run)
        run.save()
        failpoint("person-acted")


@retried
def receive_event(
    run_pk: int, *, kind: RunEventType, event_id: str, occurred_at: datetime, data: dict[str, Any], actor: str
) -> bool:
    """Store a later business event of a run and do what follows from it. False where this event id is known already."""
    with db.atomic():
        run = lock_run(run_pk)
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
                raise Refused(f"The event {event_id} was a {event.type} before.")
            return False
        audit.record(run, "onboarding.event.received", actor=actor, data={"type": kind, "event": event_id})
        for step in run.steps.all():
            if _ends_with(step, kind):
                succeed(run, step, clock.now())
        advance(run)
        run.save()
        failpoint("person-acted")
        return True


def _ends_with(step: Step, kind: RunEventType) -> bool:
    """It waits for just this. One that a worker looks at right now sees the event when it records."""
    handler = HANDLERS[step.uses]
    if not isinstance(handler, EnsureHandler) or handler.finished_by != kind:
        return False
    waits = step.state == StepState.WAITING and step.waits_for == WaitsFor.EVENT
    return waits or (step.state == StepState.BLOCKED and step.mappings.exists())
