"""Ending a run for good, putting one on hold for a person to decide, and letting it go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from integrations import clock
from onboarding import audit
from onboarding.engine.advancing import advance, refresh_status_reports, report_end
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.runs import gate_evaluation, prerequisites
from onboarding.enums import Category, Status, Topic
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import run_blocked, run_cancelled, run_decided, run_resumed, step_unblocked

LONGEST_HOLD_REASON = 500


def cancel(run: OnboardingTransaction, *, actor: str, reason: str, into: OnboardingTransaction | None = None) -> None:
    """Do nothing more for this run; what was made stays. ``into``: another of the same order goes on in its place.

    The caller holds the run locked.
    """
    now = clock.now()
    if into is None:
        run.cancel(at=now, reason=reason)
    else:
        run.join(into=into, at=now, reason=reason)
    audit.record(run, "onboarding.run.cancelled", actor=actor)
    prerequisites.withdraw(run, at=now, reason="The run was cancelled.")
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
        run.held_at, run.held_by, run.hold_reason = clock.now(), actor[:150], hold_reason[:LONGEST_HOLD_REASON]
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


@dataclass(frozen=True)
class Questions:
    """What a decision answered about a run, and what is still asked about it, each in the words of its ticket."""

    answered: Sequence[str] = ()
    still_open: Sequence[str] = ()


def decide(run: OnboardingTransaction, *, resolution: str, topic: Topic | None = None, asked: str = "") -> Questions:
    """Close what is asked about the run as a whole: all of it, or the question of one ``topic`` (where it says ``asked``).

    The run is held no more for a question that is answered, but for the next one that is not. The caller holds the run locked.
    """
    said: Any = run_decided.send(OnboardingTransaction, run=run, resolution=resolution, topic=topic, asked=asked)
    found: list[Questions] = [each for _, each in said if isinstance(each, Questions)]
    questions = Questions(
        [text for each in found for text in each.answered], [text for each in found for text in each.still_open]
    )
    if questions.still_open and is_held_for(run, questions.answered):
        run.hold_reason = questions.still_open[0][:LONGEST_HOLD_REASON]
    return questions


def is_held_for(run: OnboardingTransaction, questions: Sequence[str]) -> bool:
    """One of them put the run on hold, and no person did: a question begins with the reason of the hold that came with it."""
    return run.held_at is not None and any(question.startswith(run.hold_reason) for question in questions)


def resume_if_answered(run: OnboardingTransaction, *, actor: str, topic: Topic, asked: str, resolution: str) -> None:
    """Close the question that says ``asked``, which has answered itself, and resume a run that was held for nothing else.

    Another question stays open, and so does a person's hold. The caller holds the run locked.
    """
    questions = decide(run, resolution=resolution, topic=topic, asked=asked)
    if not questions.still_open and is_held_for(run, questions.answered):
        _go_on(run, actor=actor)


def resume(run: OnboardingTransaction, *, actor: str, resolution: str) -> None:
    """Resume a run on hold; ``resolution`` closes all tickets that asked. The caller holds the run locked."""
    decide(run, resolution=resolution)
    _go_on(run, actor=actor)


def release(run: OnboardingTransaction) -> None:
    """The run is on hold no more. The caller holds it locked, and has it go on."""
    held_at = run.held_at
    run.held_at, run.held_by, run.hold_reason = None, "", ""
    if held_at is not None:
        run_resumed.send(OnboardingTransaction, run=run, held_at=held_at)


def _go_on(run: OnboardingTransaction, *, actor: str) -> None:
    release(run)
    audit.record(run, "onboarding.run.resumed", actor=actor)
    gate_evaluation.evaluate_gate(run, actor=actor)
    advance(run)
    for pk in run.steps.filter(due_at__lte=clock.now()).values_list("pk", flat=True):
        enqueue_step(pk)
