"""A workflow tool's report comes in: stored once, and what follows for its step."""

from datetime import datetime

from integrations.inbound.events import HandOverReported
from onboarding import audit
from onboarding.engine.advancing import advance, make_due
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.recording import follow_hand_over
from onboarding.engine.runs.left_over import ask_to_remove
from onboarding.enums import WITHDRAWN, StepState, WaitsFor
from onboarding.models import HandOverReport, OnboardingTransaction, Step

AWAITING = (StepState.WAITING, StepState.BLOCKED)


def receive(
    run: OnboardingTransaction, step: Step, told: HandOverReported, *, number: int, actor: str, at: datetime
) -> bool:
    """False where as much is known. ``number``: which of the step's hand-overs it is about. The caller holds the run locked."""
    _, is_new = HandOverReport.objects.get_or_create(
        step=step,
        round=number,
        succeeded=told.succeeded,
        defaults={
            "execution_id": told.execution_id,
            "execution_url": told.execution_url,
            "message": told.message,
            "objects_made": [each._asdict() for each in told.objects],
            "actor": actor[:150],
            "received_at": at,
        },
    )
    if not is_new:
        return False
    about = {"step": step.key, "round": number, "succeeded": told.succeeded}
    audit.record(run, "onboarding.hand-over.reported", actor=actor, data=about)
    if _is_too_late(run, step, number):
        if told.succeeded or told.objects:
            ask_to_remove(run)
        return True
    if step.state in AWAITING:
        _go_on(run, step, at)
    advance(run)
    return True


def _is_too_late(run: OnboardingTransaction, step: Step, number: int) -> bool:
    """Nobody waits for it any more: what the tool has made is left over."""
    withdrawn = run.status in WITHDRAWN or step.state in (StepState.SKIPPED, StepState.COMPENSATED)
    return withdrawn or number != step.round


def _go_on(run: OnboardingTransaction, step: Step, at: datetime) -> None:
    if step.mappings.filter(item="").exists():
        follow_hand_over(run, step, at)
        step.save()
        return
    # Whether it was handed over was not known: the claim takes the report for an answer.
    if step.category:
        step.waits_for = WaitsFor.NOTHING
    else:
        step.wait(waits_for=WaitsFor.NOTHING, due_at=at)
    make_due(step, at)
    step.save()
    enqueue_step(step.pk)
