"""Which steps are ready, and what a run has reached."""

from datetime import datetime

from integrations import clock
from integrations.connections import default_connection
from integrations.words import System
from onboarding import audit
from onboarding.engine import dispatch
from onboarding.engine.dispatch import hint_step
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import run_provisioned
from onboarding.words import Status, StepState

AFTER_PROVISIONING = frozenset({System.SCHEDULING, System.EMAIL, System.CHAT})
"""Systems whose steps belong to kickoff and welcome, not to the P1 promise."""


def make_due(step: Step, now: datetime) -> None:
    """Let a worker claim the step from now on. The caller saves it, and hints at it."""
    step.due_at = now
    step.hinted_until = now + dispatch.HINT_LIFETIME if dispatch.takes_hints() else None


def advance(run: OnboardingTransaction, *, inline: bool = False) -> Step | None:
    """Make ready steps due, and move the run where it has got to. The caller holds the run locked and saves it.

    All ready steps are hinted to workers, except one with ``inline``: that one is returned, for the caller to go on with.
    """
    if run.status not in (Status.PROVISIONING, Status.READY_FOR_KICKOFF):
        return None
    now = clock.now()
    steps = list(run.steps.all())
    done = {step.key for step in steps if step.is_done}
    ready = [
        step
        for step in steps
        if step.state == StepState.PENDING and step.due_at is None and done.issuperset(step.after)
    ]
    for step in ready:
        step.connection = step.connection or default_connection(System(step.system))
        make_due(step, now)
        step.save()
    _reach(run, steps, now)
    mine = ready.pop(0) if inline and ready else None
    for step in ready:
        hint_step(step.pk)
    return mine


def _reach(run: OnboardingTransaction, steps: list[Step], now: datetime) -> None:
    if run.status == Status.PROVISIONING and all(s.is_done for s in steps if s.system not in AFTER_PROVISIONING):
        run.become_ready(at=now)
        audit.record(run, "onboarding.run.ready-for-kickoff")
        run_provisioned.send(OnboardingTransaction, run=run)
    if run.status == Status.READY_FOR_KICKOFF and all(step.is_done for step in steps):
        run.complete(at=now)
        audit.record(run, "onboarding.run.complete")
