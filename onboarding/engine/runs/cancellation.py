"""Ending a run for good, putting one on hold for a person to decide, and letting it go on."""

from integrations import clock
from onboarding import audit
from onboarding.engine.advancing import advance, refresh_status_reports, report_end
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.runs import gate_evaluation
from onboarding.enums import Category, Status, Topic
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import run_blocked, run_cancelled, run_decided, step_unblocked


def cancel(run: OnboardingTransaction, *, actor: str, reason: str) -> None:
    """Do nothing more for this run; what was made stays. The caller holds the run locked."""
    now = clock.now()
    run.cancel(at=now, reason=reason)
    audit.record(run, "onboarding.run.cancelled", actor=actor)
    for step in run.steps.all():
        if not step.is_done and not report_end(run, step):
            # One in a worker's hands too: what that brings is late, and kept as evidence.
            step.skip(at=now, reason="The run was cancelled.")
            step.category, step.problems, step.candidates = "", [], []
            step.save()
            step_unblocked.send(Step, step=step, resolution="The step was skipped.")
    run_cancelled.send(OnboardingTransaction, run=run, at=now, resolution="The run was cancelled.")
    refresh_status_reports(run)


def hold_and_ask(run: OnboardingTransaction, *, actor: str, hold_reason: str, question: str, topic: Topic) -> None:
    """Begin nothing more until a person has decided what the ticket asks. The caller holds the run locked.

    A run that is cancelled or rolled back is left alone; of one that is complete it is asked without a hold.
    """
    if run.status in (Status.CANCELLED, Status.ROLLING_BACK, Status.ROLLED_BACK):
        return
    if not run.is_over and not run.held_at:
        run.held_at, run.held_by, run.hold_reason = clock.now(), actor[:150], hold_reason[:500]
        audit.record(run, "onboarding.run.held", actor=actor)
        refresh_status_reports(run)
    run_blocked.send(
        OnboardingTransaction,
        run=run,
        category=Category.APPROVAL_OVERDUE,
        topic=topic,
        message=question,
        problems=[],
    )


def resume(run: OnboardingTransaction, *, actor: str, resolution: str) -> None:
    """Resume a run on hold; ``resolution`` closes the tickets that asked. The caller holds the run locked."""
    run.held_at, run.held_by, run.hold_reason = None, "", ""
    audit.record(run, "onboarding.run.resumed", actor=actor)
    run_decided.send(OnboardingTransaction, run=run, resolution=resolution)
    gate_evaluation.evaluate_gate(run, actor=actor)
    advance(run)
    for pk in run.steps.filter(due_at__lte=clock.now()).values_list("pk", flat=True):
        enqueue_step(pk)
