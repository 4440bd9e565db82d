"""What people may do to one step: try it again, approve it, skip it, send its mail again."""

from collections.abc import Collection
from contextlib import suppress

from integrations import clock
from integrations.failpoints import failpoint
from integrations.models import Connection
from onboarding import audit
from onboarding.engine import connection_queue
from onboarding.engine.advancing import advance
from onboarding.engine.compensation import advance_or_roll_back
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.facts import match_key_of
from onboarding.engine.locks import retried
from onboarding.engine.runs import gate_evaluation, prerequisites
from onboarding.engine.runs.failures import block
from onboarding.enums import Category, IntentState, Status, StepState
from onboarding.models import Intent, MatchChoice, OnboardingTransaction, Step
from onboarding.services import availability, confirmation
from onboarding.services.base import Refused, given_reason, locked_step, require_no, try_again
from onboarding.services.confirmation import Outdated
from onboarding.signals import step_unblocked
from onboarding.steps.registry import HANDLERS


@retried
def retry_step(step_pk: int, *, actor: str) -> None:
    """Try a blocked or waiting step again now, with a fresh count of attempts. Raises ``Refused``."""
    with locked_step(step_pk) as (run, step):
        if step.state not in (StepState.BLOCKED, StepState.WAITING):
            raise Refused(f"The step {step.key} is {step.get_state_display().lower()}; there is nothing to retry.")
        try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
        failpoint("person-acted")


@retried
def flag_slow_step(step_pk: int, message: str, *, category: Category = Category.STALLED) -> bool:
    """The P1 clock is at risk and nobody was told of this step yet: block it, and let its retries go on. True if it did."""
    with locked_step(step_pk) as (run, step):
        if step.state not in (StepState.PENDING, StepState.WAITING) or step.category:
            return False
        block(run, step, category, message, due_at=step.due_at)
        return True


def connection_restored(system: str, connection_pk: int) -> None:
    """Credentials were fixed or a connection was made: what was parked or not configured may go on."""
    waiting = Step.objects.filter(system=system, state__in=(StepState.BLOCKED, StepState.WAITING, StepState.PENDING))
    lacking = waiting.filter(category__in=(Category.NOT_CONFIGURED, Category.AUTH_ERROR))
    for pk in lacking.values_list("pk", flat=True):
        retry_if_possible(pk, actor=audit.SYSTEM)
    connection_queue.reset_enqueued(connection_pk)
    if Connection.objects.get(pk=connection_pk).limit is not None:
        connection_queue.take_next(connection_pk, inline=False)
        return
    for pk in waiting.filter(connection_id=connection_pk, due_at__isnull=False).values_list("pk", flat=True)[:300]:
        enqueue_step(pk)


def retry_if_possible(step_pk: int, *, actor: str) -> None:
    """One that went on meanwhile must not hold up the others."""
    with suppress(Refused):
        retry_step(step_pk, actor=actor)


@retried
def decide_approval(step_pk: int, *, approved: bool, actor: str, reason: str, seen: str | None = None) -> None:
    """Approve the step, which is then done, or reject it, which keeps it blocked. Nobody approves data that they gave.

    ``seen``: the approval's ``subject`` that was shown; raises ``Outdated`` where it is other data by now. Raises ``Refused`` where
    nobody is asked, and without a reason.
    """
    text = given_reason(reason)
    with locked_step(step_pk) as (run, step):
        require_no(availability.approve(step, actor=actor if approved else ""))
        approval = step.approvals.open().get()
        confirmation.check(approval.subject, prerequisites.subject_of(run, step))
        confirmation.check(seen, approval.subject)
        prerequisites.decide(run, step, approval, approved=approved, by=actor, at=clock.now(), reason=text)
        failpoint("person-acted")


@retried
def skip_step(
    step_pk: int, *, actor: str, reason: str, with_dependents: bool = False, confirmed: Collection[str] | None = None
) -> None:
    """Skip the step, and ``with_dependents`` without those that need what it would make.

    ``confirmed``: the keys of those that a person agreed to leave out along with it; raises ``Outdated`` where there are others.
    Raises ``Refused`` where there are such and they are not to be left out. An outcome that is unknown stays so: nothing is
    looked up, created or undone at the vendor.
    """
    text = given_reason(reason)
    with locked_step(step_pk) as (run, step):
        require_no(availability.skip(run, step))
        needing = dependents(run, step)
        if confirmed is not None and {other.key for other in needing} - set(confirmed):
            raise Outdated("other steps than those shown would be skipped with it.")
        if needing and not with_dependents:
            listed = ", ".join(other.key for other in needing)
            raise Refused(f"{listed} cannot do without it: link its object instead, or skip them along with it.")
        _skip(run, step, actor=actor, reason=text)
        for other in needing:
            _skip(run, other, actor=actor, reason=f"Needs {step.key}, which was skipped: {text}")
        gate_evaluation.evaluate_gate(
            run, actor=actor
        )  # the look-up at the gate, say: whoever was to be asked after it is asked now
        advance_or_roll_back(run)
        failpoint("person-acted")


def _skip(run: OnboardingTransaction, step: Step, *, actor: str, reason: str) -> None:
    now = clock.now()
    step.skip(at=now, reason=reason)
    prerequisites.withdraw(run, at=now, reason=reason, step=step)
    step.category, step.problems, step.candidates = "", [], []
    step.save()
    audit.record(run, "onboarding.step.skipped", actor=actor, data={"step": step.key})
    step_unblocked.send(Step, step=step, resolution="The step was skipped.")


def dependents(run: OnboardingTransaction, step: Step) -> list[Step]:
    """Unfinished steps that need the step's object, where there is none, and those that need theirs; in playbook order."""
    if step.mappings.filter(item="").exists() or run.is_rolling_back:
        return []
    lacking, found = {step.uses}, []
    for other in run.steps.order_by("position"):
        if other.pk != step.pk and not other.is_done and lacking.intersection(HANDLERS[other.uses].needs):
            found.append(other)
            if not other.mappings.filter(item="").exists():
                lacking.add(other.uses)
    return found


@retried
def force_rollback(step_pk: int, *, actor: str) -> None:
    """Remove the step's objects though somebody changed them since. Raises ``Refused``."""
    with locked_step(step_pk) as (run, step):
        if not run.is_rolling_back or step.state != StepState.BLOCKED:
            raise Refused("Nothing of this step waits to be removed.")
        step.forced = True
        try_again(run, step, actor=actor, name="onboarding.step.rollback-forced")
        failpoint("person-acted")


@retried
def resend(step_pk: int, *, actor: str) -> None:
    """Send again what was sent, on purpose: a new message under a new reference. Raises ``Refused``."""
    with locked_step(step_pk) as (run, step):
        handler = HANDLERS[step.uses]
        require_no(availability.resend(run, step))
        step.mappings.all().delete()
        # Whoever said that the last one went out, or chose to send it, said nothing about this one.
        MatchChoice.objects.filter(
            connection=step.connection, kind=handler.kind, match_key=match_key_of(run, step)
        ).delete()
        Intent.objects.filter(step=step).update(state=IntentState.NO_EFFECT, indeterminate_since=None)
        step.round += 1
        step.reopen()
        step.save()
        audit.record(run, "onboarding.step.resend-requested", actor=actor, data={"step": step.key, "round": step.round})
        if run.status == Status.COMPLETE:
            run.reopen()
        advance(run)
        failpoint("person-acted")
