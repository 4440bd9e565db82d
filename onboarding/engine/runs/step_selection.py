"""Which of its playbook's steps a run has, as its payload changes: some are added, and others are no part of it any more."""

from integrations import clock
from onboarding import audit
from onboarding.engine.advancing import advance, done_in_order
from onboarding.engine.reconcile import is_out_of_date
from onboarding.engine.runs import prerequisites, waits
from onboarding.enums import LEASED, NOT_BEGUN, OVER, Status, StepState
from onboarding.models import OnboardingTransaction, Step
from onboarding.playbooks.conditions import Content
from onboarding.playbooks.selection import PinnedStep, belonging, new_step, pinned_steps, predecessors, why_not
from onboarding.signals import step_unblocked
from onboarding.steps.registry import HANDLERS

MOST_REASON = 500


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
    more, specs = _judge_anew(run, actor=actor), _conditional(run)
    if specs:
        more |= _bring_into_line(run, specs, actor=actor)
    if more:
        _keep_order(run)
    return more


def _bring_into_line(run: OnboardingTransaction, specs: list[PinnedStep], *, actor: str) -> bool:
    """Whether steps were added."""
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
    specs, present = _conditional(run), {step.key: step for step in run.steps.all()}
    wanted = belonging(specs, content)
    lacking = [spec for spec in specs if spec.key in wanted and _is_left_out(present.get(spec.key), spec)]
    return [present.get(spec.key) or _step_of(run, spec) for spec in lacking]


def would_be_dropped(run: OnboardingTransaction, content: Content) -> list[tuple[Step, str]]:
    """The steps that would be no part of the run with another payload, and why in a sentence."""
    specs = _conditional(run)
    reasons = {spec.key: why_not(spec) for spec in specs}
    gone = belonging(specs, run.payload) - belonging(specs, content)
    dropped = run.steps.filter(key__in=gone).exclude(state=StepState.SKIPPED).order_by("position")
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
    if _is_left_out(step, spec):
        waits.reopen(step)
        audit.record(run, "onboarding.step.reopened", actor=actor, data={"step": step.key})
        return True
    return False


def _is_left_out(step: Step | None, spec: PinnedStep) -> bool:
    """It is no part of the run, by its condition; what people skipped stays so."""
    return step is None or (step.state == StepState.SKIPPED and step.skip_reason == why_not(spec)[:MOST_REASON])


def _judge_anew(run: OnboardingTransaction, *, actor: str) -> bool:
    """What was approved about other data is asked again, and checks of other data are done again, before anything is done with
    this one.
    """
    outdated = [step for step in run.steps.all() if prerequisites.is_outdated(run, step) or _saw_other_data(run, step)]
    for step in outdated:
        waits.reopen(step)
        audit.record(run, "onboarding.step.reopened", actor=actor, data={"step": step.key})
    return bool(outdated)


def _saw_other_data(run: OnboardingTransaction, step: Step) -> bool:
    return step.state == StepState.SUCCEEDED and HANDLERS[step.uses].checks and is_out_of_date(run, step)


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


def _keep_order(run: OnboardingTransaction) -> None:
    """Steps were added, or approvals are asked anew: what was about to begin, or waits, does so after them.

    Of steps that people were told of, only those that come after an approval: the others' tickets are right as they are.
    """
    steps = list(run.steps.all())
    done, unapproved = done_in_order(steps), _after_approvals(steps)
    for step in steps:
        is_early = step.due_at is not None or step.state in (StepState.WAITING, StepState.BLOCKED)
        is_kept = bool(step.category) and step.key not in unapproved
        if is_early and not is_kept and not done.issuperset(step.after) and may_be_left_out(step):
            _put_back(run, step)


def _after_approvals(steps: list[Step]) -> set[str]:
    """Keys of the steps that come after an approval that was not given yet, however far after."""
    lacking = {step.key for step in steps if HANDLERS[step.uses].asks and not step.is_done}
    found: set[str] = set()
    while more := {step.key for step in steps if (lacking | found).intersection(step.after)} - found:
        found |= more
    return found


def _put_back(run: OnboardingTransaction, step: Step) -> None:
    """It is begun anew in its turn; what people were told of it until then is over."""
    had_ticket, step.category = bool(step.category), ""
    waits.reopen(step)
    prerequisites.withdraw(run, at=clock.now(), reason="Other steps come before it now.", step=step)
    if had_ticket:
        step_unblocked.send(Step, step=step, resolution="Other steps come before it now; it is tried again after them.")


def _step_of(run: OnboardingTransaction, spec: PinnedStep) -> Step:
    return new_step(run, spec, spec.after, spec.mode, spec.position)
