"""Which steps are ready, and what a run has reached."""

from collections.abc import Sequence
from datetime import datetime

from integrations import clock
from onboarding import audit, working_set
from onboarding.engine import dispatch
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.reconcile import is_out_of_date
from onboarding.enums import Status, StepState
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import run_provisioned
from onboarding.steps.registry import HANDLERS


def make_due(step: Step, now: datetime) -> None:
    """Let a worker claim the step from now on. The caller saves it, and enqueues it."""
    step.due_at = now
    step.enqueued_until = now + dispatch.MESSAGE_LIFETIME if dispatch.accepts_messages() else None


def advance(
    run: OnboardingTransaction,
    *,
    inline: bool = False,
    keep: bool = False,
    steps: Sequence[Step] | None = None,
) -> list[Step]:
    """Make ready steps due, and move the run where it has got to. The caller holds the run locked.

    All ready steps are enqueued, except one with ``inline``, and all with ``keep``: those are returned for the caller to
    go on with, the first one due but not saved. ``steps``: all of the run's, in playbook order, where the caller has them as they
    are now.
    """
    if run.status not in (Status.PROVISIONING, Status.READY_FOR_KICKOFF):
        refresh_status_reports(run)
        return []
    now = clock.now()
    rows = working_set.of(run)
    steps = rows.steps() if steps is None else list(steps)
    done = done_in_order(steps)
    # Where a step between the two was skipped, only this keeps one from beginning before what it needs is there.
    lacking = {step.uses for step in steps} - {step.uses for step in steps if step.key in done}
    ready = [
        step
        for step in steps
        if step.state == StepState.PENDING
        and step.due_at is None
        and done.issuperset(step.after)
        and lacking.isdisjoint(HANDLERS[step.uses].needs)
    ]
    mine = ready if keep else ready[:1] if inline else []
    _connect(run, ready)
    if unconnected := [step for step in ready if HANDLERS[step.uses].optional and step.connection is None]:
        _pass_over(run, unconnected, now)
        return advance(run, inline=inline, keep=keep, steps=steps)
    for step in ready:
        make_due(step, now)
        if step not in mine[:1]:
            rows.save(step)
        if step not in mine:
            enqueue_step(step.pk)
    _reach(run, steps, now)
    refresh_status_reports(run, steps)
    return mine


def _connect(run: OnboardingTransaction, steps: list[Step]) -> None:
    """What each is written through, where that is not decided yet."""
    new = [step for step in steps if step.connection_id is None]
    needs = {step: (step.system, HANDLERS[step.uses].provider) for step in new}
    if not needs:
        return
    found = working_set.of(run).default_connections(needs.values())
    for step, need in needs.items():
        step.connection = found[need]


def _pass_over(run: OnboardingTransaction, steps: list[Step], now: datetime) -> None:
    """The company has no such system, and needs none for the rest of the playbook."""
    for step in steps:
        step.skip(at=now, reason=HANDLERS[step.uses].passed_over)
        working_set.of(run).save(step)
        audit.record(run, "onboarding.step.skipped", data={"step": step.key})


def done_in_order(steps: list[Step]) -> set[str]:
    """Keys of the steps that are done with all that comes before them: what is reopened is done again in playbook order."""
    done = {step.key for step in steps if step.is_done or is_rereported(step)}
    while early := {step.key for step in steps if step.key in done and not done.issuperset(step.after)}:
        done -= early
    return done


def _reach(run: OnboardingTransaction, steps: list[Step], now: datetime) -> None:
    done = [step.is_done or is_rereported(step) for step in steps]
    provisioning = [HANDLERS[step.uses].provisions for step in steps]
    if run.status == Status.PROVISIONING and all(
        passed for passed, counts in zip(done, provisioning, strict=True) if counts
    ):
        run.become_ready(at=now)
        audit.record(run, "onboarding.run.ready-for-kickoff")
        run_provisioned.send(OnboardingTransaction, run=run)
    if run.status == Status.READY_FOR_KICKOFF and all(done) and not run.held_at:
        run.complete(at=now)
        audit.record(run, "onboarding.run.complete")


def reports_run_status(step: Step) -> bool:
    """It tells others how the run stands, after the run's end too."""
    return HANDLERS[step.uses].reports_run_status


def is_rereported(step: Step) -> bool:
    """It has passed once, and only tells others how the run moved on: nothing waits for that."""
    return bool(step.written) and reports_run_status(step)


def report_end(run: OnboardingTransaction, step: Step) -> bool:
    """Have the run's end told, whatever became of the step's last try; False where there is nothing to tell it to.

    One in a worker's hands is told again once that has ended. The caller holds the run locked.
    """
    if not reports_run_status(step):
        return False
    if step.state != StepState.RUNNING:
        if not step.written or not _has_target(run, step):
            return False
        step.reopen()
        make_due(step, clock.now())
        enqueue_step(step.pk)
    step.category, step.problems, step.candidates, step.message = "", [], [], ""
    step.save()
    return True


def refresh_status_reports(run: OnboardingTransaction, steps: list[Step] | None = None) -> None:
    """Have written again what tells others how the run stands, where that has changed. The caller holds the run locked."""
    for step in working_set.of(run).steps() if steps is None else steps:
        if not is_rereported(step):
            continue
        # In the middle of a replay it may run only after the hold: that is reported at once.
        put_off = bool(run.held_at) and step.state == StepState.PENDING and step.due_at is None
        if not (step.state == StepState.SUCCEEDED or (put_off and _has_target(run, step))):
            continue
        if is_out_of_date(run, step):
            step.reopen()
            make_due(step, clock.now())
            working_set.of(run).save(step)
            enqueue_step(step.pk)


def _has_target(run: OnboardingTransaction, step: Step) -> bool:
    return run.mappings.filter(step__uses=HANDLERS[step.uses].target, item="").exists()
