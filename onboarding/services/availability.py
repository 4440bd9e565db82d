"""What may be done to a run or a step as it is now: one rule for whoever offers it, and for the service that does it.

Each function says why not, in a sentence; nothing where it may be done.
"""

from onboarding.engine.advancing import reports_run_status
from onboarding.enums import OVER, WITHDRAWN, Status, StepState
from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.steps.registry import HANDLERS


def hold(run: OnboardingTransaction) -> str:
    if not run.may_advance:
        return f"The run is {_status(run)}; it cannot be held."
    return f"{run.held_by} put the run on hold already." if run.held_at else ""


def resume(run: OnboardingTransaction) -> str:
    return "" if run.held_at else "The run is not on hold."


def cancel(run: OnboardingTransaction) -> str:
    return "" if run.may_advance else f"The run is {_status(run)} already."


def join(run: OnboardingTransaction) -> str:
    """Into another run: one that is complete as well, where an order was onboarded twice."""
    return "" if _may_be_redone(run) else f"The run is {_status(run)} already."


def takes_joined(run: OnboardingTransaction) -> str:
    """Another run of its order."""
    return f"The run {run} is {_status(run)}: it takes no other one." if run.status in WITHDRAWN else ""


def rollback(run: OnboardingTransaction) -> str:
    return f"The run is {_status(run)} already." if run.status in (Status.ROLLING_BACK, Status.ROLLED_BACK) else ""


def replay(run: OnboardingTransaction) -> str:
    if not _may_be_redone(run):
        return f"The run is {_status(run)}."
    if run.status in (Status.QUEUED, Status.AWAITING_DATA):
        return "The run has not begun yet; there is nothing to replay."
    return ""


def skip(run: OnboardingTransaction, step: Step) -> str:
    if step.state in OVER or (run.is_over and not reports_run_status(step)):
        return f"The step {step.key} is {step.get_state_display().lower()}; there is nothing to skip."
    if HANDLERS[step.uses].asks:
        return "An approval is given or rejected, and not skipped."
    return ""


def unlink(run: OnboardingTransaction, step: Step, mapping: ObjectMapping | None) -> str:
    """What this run created is no match of anybody's; removing that is a rollback's."""
    if mapping is None or not HANDLERS[step.uses].makes_objects or mapping.item.startswith(ObjectMapping.FORMER):
        return f"The step {step.key} has no object to unlink."
    if mapping.created_by_us:
        return "This run created that object; it was not matched."
    return replay(run)


def approve(step: Step, *, actor: str = "") -> str:
    """``actor``: who would; empty asks whether anybody may."""
    approval = step.approvals.open().first()
    if approval is None:
        return f"Nobody is asked to approve the step {step.key}."
    if actor and actor in approval.requested_by:
        return "You gave the data that is to be approved: somebody else has to decide."
    return ""


def resend(run: OnboardingTransaction, step: Step) -> str:
    if not HANDLERS[step.uses].irrevocable:
        return f"The step {step.key} sends nothing."
    if run.held_at or not _may_be_redone(run):
        return f"The run is {'on hold' if run.held_at else _status(run)}."
    return "" if step.state == StepState.SUCCEEDED else "It was not sent yet; retry the step instead."


def _may_be_redone(run: OnboardingTransaction) -> bool:
    return run.may_advance or run.status == Status.COMPLETE


def _status(run: OnboardingTransaction) -> str:
    return run.get_status_display().lower()
