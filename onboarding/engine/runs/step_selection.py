"""Which of its playbook's steps a run has, as its payload changes: some are added, and others are no part of it any more."""

from integrations import clock
from onboarding import audit
from onboarding.engine.advancing import advance, done_in_order
from onboarding.engine.runs import prerequisites
from onboarding.enums import LEASED, NOT_BEGUN, OVER, Status, StepState
from onboarding.models import OnboardingTransaction, Step
from onboarding.playbooks.conditions import Content
from onboarding.playbooks.selection import PinnedStep, belonging, pinned_steps, predecessors, why_not
from onboarding.signals import step_unblocked
from onboarding.steps.registry import HANDLERS


def follow_payload(run: OnboardingTransaction, *, actor: str) -> None:
    """The payload has changed: what the run's steps are now, and what is asked about them. The caller holds the run locked."""
    if reselect(run, actor=actor) and run.status in (Status.READY_FOR_KICKOFF, Status.COMPLETE):
        run.reopen()
    advance(run)


def reselect(run: OnboardingTransaction, *, actor: str) -> bool:
    """Bring the run's steps into line with its payload. Whether there is more to do than before.

    A step whose condition holds now is added, or no longer left out; one whose condition holds no more is skipped unless it has
    made something or was begun: what was made stays, and is a person's to decide on. The caller holds the run locked, and
    advances it.
    """
    prerequisites.ask_again(run, clock.now())
    specs = _conditional(run)
    if not specs:
        return False
    present = {step.key: step for step in run.steps.all()}
    wanted = belonging(specs, run.payload)
    added = [_add(run, spec, present, actor=actor) for spec in specs if spec.key in wanted]
    for spec in specs:
        step = present.get(spec.key)
        if step is not None and spec.key not in wanted and may_be_left_out(step):
            _leave_out(run, step, why_not(spec), actor=actor)
    _reorder(run, specs)
    return any(added)


def would_be_added(run: OnboardingTransaction, content: Content) -> list[Step]:
    """The steps that the run would have besides with another payload, not saved."""
    specs, present = _conditional(run), set(run.steps.values_list("key", flat=True))
    wanted = belonging(specs, content)
    return [_step_of(run, spec) for spec in specs if spec.key in wanted - present]


def would_be_dropped(run: OnboardingTransaction, content: Content) -> list[tuple[Step, str]]:
    """The steps that would be no part of the run with another payload, and why in a sentence."""
    reasons = {spec.key: why_not(spec) for spec in _conditional(run)}
    wanted = belonging(_conditional(run), content)
    dropped = run.steps.filter(key__in=reasons.keys() - wanted).exclude(state=StepState.SKIPPED).order_by("position")
    return [(step, reasons[step.key]) for step in dropped.select_related("connection")]


def may_be_left_out(step: Step) -> bool:
    """Nothing was made by it, and nobody has it in hand."""
    return (
        step.state not in (*LEASED, *OVER) and not step.mappings.exists() and not step.intents.indeterminate().exists()
    )


def _conditional(run: OnboardingTransaction) -> list[PinnedStep]:
    """All steps of a playbook that has conditions; none of one that has not, or of a run that has no steps yet."""
    if run.playbook is None or run.status in NOT_BEGUN:
        return []
    specs = pinned_steps(run.playbook)
    return specs if any(spec.when for spec in specs) else []


def _add(run: OnboardingTransaction, spec: PinnedStep, present: dict[str, Step], *, actor: str) -> bool:
    step = present.get(spec.key)
    if step is None:
        step = present[spec.key] = _step_of(run, spec)
        step.save(force_insert=True)
        audit.record(run, "onboarding.step.planned", actor=actor, data={"step": step.key})
        return True
    if step.state == StepState.SKIPPED and step.skip_reason == why_not(spec):  # what people skipped stays so
        step.reopen()
        step.save()
        audit.record(run, "onboarding.step.reopened", actor=actor, data={"step": step.key})
        return True
    return False


def _leave_out(run: OnboardingTransaction, step: Step, reason: str, *, actor: str) -> None:
    now = clock.now()
    step.skip(at=now, reason=reason)
    step.category, step.problems, step.candidates = "", [], []
    step.save()
    prerequisites.withdraw(run, at=now, reason=reason, step=step)
    audit.record(run, "onboarding.step.skipped", actor=actor, data={"step": step.key})
    step_unblocked.send(Step, step=step, resolution=reason)


def _reorder(run: OnboardingTransaction, specs: list[PinnedStep]) -> None:
    """What comes before a step, now that there are others in between."""
    steps = list(run.steps.all())
    keys = {step.key for step in steps}
    for step in steps:
        if step.position and (after := predecessors(specs, step.key, keys)) != step.after:
            step.after = after
            step.save()
    done = done_in_order(steps)
    for step in steps:
        # It was about to begin, or waits for what it needs: from now on it waits for what comes before it, too.
        is_early = step.due_at is not None or step.state == StepState.WAITING
        if is_early and not done.issuperset(step.after) and not step.category and may_be_left_out(step):
            step.reopen()
            step.save()


def _step_of(run: OnboardingTransaction, spec: PinnedStep) -> Step:
    return Step(
        transaction=run,
        key=spec.key,
        uses=spec.uses,
        system=HANDLERS[spec.uses].system,
        queue=spec.queue,
        after=list(spec.after),
        options=dict(spec.options),
        awaits=spec.waits_for,
        mode=spec.mode,
        position=spec.position,
    )
