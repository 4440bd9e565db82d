"""What keeps a step from being done though the steps before it are: an event that is awaited, an approval, its rollout mode.

All of it is looked at when the step is claimed, so that however it became due it is not begun without it.
"""

from datetime import datetime

from integrations.enums import vendor_name
from onboarding import audit, working_set
from onboarding.engine.advancing import advance, make_due
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.facts import facts_of
from onboarding.engine.runs import waits
from onboarding.enums import OVER, ApprovalState, Category, Mode, OriginKind, RunEventType, StepState, WaitsFor
from onboarding.models import Approval, OnboardingTransaction, Step
from onboarding.origins import Origin
from onboarding.signals import approval_asked, approval_decided, step_blocked, step_retrying, step_unblocked
from onboarding.steps.approval import BUSINESS_HOURS
from onboarding.steps.handler import View, digest_of
from onboarding.steps.registry import HANDLERS

HOUR = 60


def may_begin(run: OnboardingTransaction, step: Step, now: datetime) -> bool:
    """Whether the step may be done now; else it waits, or is skipped as it is only observed. The run is held locked."""
    # Most steps have none of it, and are claimed without a look.
    if not step.awaits and step.mode == Mode.AUTOMATE and not HANDLERS[step.uses].asks:
        return True
    if step.awaits and not working_set.of(run).events((step.awaits,)):
        _await_report(run, step, now)
        return False
    if step.mode == Mode.OBSERVE and not HANDLERS[step.uses].asks:
        _observe(run, step, now)
        return False
    if not needs_approval(step) or _is_approved(run, step) or _approve_by_early_report(run, step):
        return True
    _ask(run, step, now)
    return False


def _observe(run: OnboardingTransaction, step: Step, now: datetime) -> None:
    """Nothing is written, and no vendor asked: what would be done is noted."""
    vendor = vendor_name(step.connection.provider) if step.connection else ""
    told = HANDLERS[step.uses].preview(View(facts_of(run, step), vendor=vendor))
    had_ticket, step.category = bool(step.category), ""
    step.skip(at=now, reason=f"Observed only: {told.text}")
    working_set.of(run).save(step)
    audit.record(run, "onboarding.step.observed", data={"step": step.key, "verdict": told.verdict})
    if had_ticket:
        step_unblocked.send(Step, step=step, resolution="The step is only observed.")
    advance(run)


def _await_report(run: OnboardingTransaction, step: Step, now: datetime) -> None:
    if step.state == StepState.BLOCKED:
        step.waits_for, step.due_at, step.enqueued_until = WaitsFor.REPORT, None, None
        step_retrying.send(Step, step=step, requested=False)
    else:
        step.wait(waits_for=WaitsFor.REPORT, due_at=None)
    working_set.of(run).save(step)
    waits.begin(step, now)
    audit.record(run, "onboarding.step.waiting", data={"step": step.key, "for": step.awaits})


def follow_report(run: OnboardingTransaction, kind: RunEventType, *, at: datetime, actor: str) -> None:
    """Steps that waited for this event are begun, and approvals that it stands for are given. The run is held locked."""
    ask_again(run, at)
    for step in run.steps.exclude(state__in=OVER):
        if step.awaits == kind and step.waits_for == WaitsFor.REPORT:
            waits.forget_deadlines([step])
            _begin(step, at)
        if HANDLERS[step.uses].asks and step.options.get("event") == kind:
            for approval in step.approvals.open():
                if actor not in approval.requested_by:
                    decide(run, step, approval, approved=True, by=actor, at=at, reason=f"Reported as {kind}.")


def gave_what_it_approves(run: OnboardingTransaction, kind: RunEventType, actor: str) -> bool:
    """Whether this event would stand for an approval of data that its reporter gave. The run is held locked."""
    asked = (step for step in run.steps.exclude(state__in=OVER) if HANDLERS[step.uses].asks)
    return any(step.options.get("event") == kind and actor in _requesters(run, step) for step in asked)


# --- Approvals


def needs_approval(step: Step) -> bool:
    """Whether somebody has to approve it before it is done."""
    return HANDLERS[step.uses].asks or step.mode == Mode.ASSIST


def _is_approved(run: OnboardingTransaction, step: Step) -> bool:
    """For the data as it is now."""
    return step.approvals.filter(state=ApprovalState.APPROVED, subject=subject_of(run, step)).exists()


def _approve_by_early_report(run: OnboardingTransaction, step: Step) -> bool:
    """Whether the event that stands for its approval came before anybody was asked: it approves the data as it is now.

    Not where whoever reported it gave that data.
    """
    event = step.options.get("event") if HANDLERS[step.uses].asks else None
    if not event or step.approvals.exists():
        return False
    requesters = _requesters(run, step)
    reported = next((each for each in run.events.filter(type=event) if each.actor not in requesters), None)
    if reported is None:
        return False
    approval = _new_approval(run, step, reported.occurred_at)
    approval.approve(by=reported.actor, at=reported.occurred_at, reason=f"Reported as {event} before it was asked.")
    approval.save()
    return True


def is_outdated(run: OnboardingTransaction, step: Step) -> bool:
    """It was approved, and by now the data is other data than that."""
    return HANDLERS[step.uses].asks and step.state == StepState.SUCCEEDED and not _is_approved(run, step)


def subject_of(run: OnboardingTransaction, step: Step) -> str:
    """Digest of the data that is approved."""
    return digest_of(HANDLERS[step.uses].subject(facts_of(run, step)))


def _ask(run: OnboardingTransaction, step: Step, now: datetime) -> None:
    """Open the question, unless it is open already about the same data. The step is blocked until it is answered."""
    subject, approval = subject_of(run, step), step.approvals.open().first()
    if approval is not None and approval.subject != subject:
        _withdraw(run, step, approval, now, "It is asked anew, for other data.")
        approval = None
    is_new = approval is None
    if approval is None:
        approval = _new_approval(run, step, now)
        approval.save()
        audit.record(run, "onboarding.approval.asked", data={"step": step.key, "approval": approval.pk})
    again = step.category == Category.APPROVAL_OVERDUE
    step.category, step.message, step.http_status = Category.APPROVAL_OVERDUE, approval.question, None
    step.problems, step.candidates = [], []
    step.block(due_at=None)
    working_set.of(run).save(step)
    audit.record(run, "onboarding.step.blocked", data={"step": step.key, "category": step.category})
    if again:
        step_retrying.send(Step, step=step, requested=False)
    else:
        step_blocked.send(Step, step=step, fallback=False)
    if is_new:
        approval_asked.send(Approval, approval=approval)


def _new_approval(run: OnboardingTransaction, step: Step, at: datetime) -> Approval:
    """Not saved."""
    facts, handler = facts_of(run, step), HANDLERS[step.uses]
    hours = step.options.get("business_hours", BUSINESS_HOURS) if handler.asks else BUSINESS_HOURS
    return Approval(
        transaction=run,
        step=step,
        question=handler.question(facts)[:500],
        asked_at=at,
        business_minutes=hours * HOUR,
        requested_by=sorted(_requesters(run, step)),
        subject=subject_of(run, step),
    )


def ask_again(run: OnboardingTransaction, now: datetime) -> None:
    """What is asked about other data than the run has by now is asked about that. The caller holds the run locked."""
    for approval in run.approvals.open().select_related("step"):
        if approval.subject != subject_of(run, approval.step) and approval.step.state == StepState.BLOCKED:
            _ask(run, approval.step, now)


def _requesters(run: OnboardingTransaction, step: Step) -> set[str]:
    """People and keys that gave the data that is to be approved, or began the run: as they are called when they act."""
    paths = HANDLERS[step.uses].reads
    given = {
        _actor(OriginKind(origin.kind), origin.name)
        for path, value in run.snapshot.provenance.items()
        if (origin := Origin.stored(value)) and any(path == read or path.startswith(f"{read}.") for read in paths)
    }
    return (given | {_actor(OriginKind(run.origin), run.origin_name)}) - {""}


def _actor(kind: OriginKind, name: str) -> str:
    """Empty for what nobody who may approve can act as."""
    if kind == OriginKind.REST and name:
        return f"key:{name}"
    return name if kind in (OriginKind.PERSON, OriginKind.IMPORT) else ""


def decide(
    run: OnboardingTransaction, step: Step, approval: Approval, *, approved: bool, by: str, at: datetime, reason: str
) -> None:
    """Somebody has answered. Approved, the step is done; rejected, it stays blocked. The caller holds the run locked."""
    (approval.approve if approved else approval.reject)(by=by, at=at, reason=reason)
    approval.save()
    audit.record(
        run,
        f"onboarding.approval.{approval.state}",
        actor=by,
        data={"step": step.key, "approval": approval.pk},
    )
    if approved and step.state == StepState.BLOCKED:  # else it is done in its turn
        step.category, step.message = "", ""
        _begin(step, at)
        step_unblocked.send(Step, step=step, resolution=f"{by} has approved it.")
    elif not approved:
        step.message = f"{approval.question} {by} has rejected it: {reason}"
        step.save()
        step_retrying.send(Step, step=step, requested=False)
    approval_decided.send(Approval, approval=approval)


def withdraw(run: OnboardingTransaction, *, at: datetime, reason: str, step: Step | None = None) -> None:
    """Nobody need decide any more, about this step or about any. The caller holds the run locked."""
    asked = run.approvals.open() if step is None else step.approvals.open()
    for approval in asked.select_related("step"):
        _withdraw(run, approval.step, approval, at, reason)


def _withdraw(run: OnboardingTransaction, step: Step, approval: Approval, at: datetime, reason: str) -> None:
    approval.withdraw(at=at, reason=reason)
    approval.save()
    audit.record(run, "onboarding.approval.withdrawn", data={"step": step.key, "approval": approval.pk})
    approval_decided.send(Approval, approval=approval)


def _begin(step: Step, at: datetime) -> None:
    if step.category:  # its ticket is open until it has passed
        step.waits_for = WaitsFor.NOTHING
    else:
        step.wait(waits_for=WaitsFor.NOTHING, due_at=at)
    make_due(step, at)
    step.save()
    enqueue_step(step.pk)
