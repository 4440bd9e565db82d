"""Replay from a step: do it, and everything that builds on it, again; what exists is looked at and never made twice."""

from integrations import clock
from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine.advancing import advance
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.objects import hand_over
from onboarding.engine.planning import Effect, plan_steps, title_of
from onboarding.engine.runs import waits
from onboarding.enums import Status, StepState
from onboarding.models import Attempt, OnboardingTransaction, Step
from onboarding.services import availability, confirmation
from onboarding.services.base import Refused, require_no
from onboarding.services.steps import dependents, skip_step
from onboarding.steps.registry import HANDLERS


def replay_preview(run_pk: int, from_step: str) -> list[Effect]:
    """What ``replay`` would do, without doing it or asking a vendor. Raises ``Refused`` as ``replay`` does."""
    run = OnboardingTransaction.objects.get(pk=run_pk)
    return _effects(run, _first(run, from_step))


def _effects(run: OnboardingTransaction, first: Step) -> list[Effect]:
    return [each.effect for each in plan_steps(run, _to_reopen(run, first))]


def retry_preview(step_pk: int) -> Effect:
    """What trying one step again would do."""
    step = Step.objects.select_related("transaction", "connection").get(pk=step_pk)
    (planned,) = plan_steps(step.transaction, [step])
    return planned.effect


def skip_preview(step_pk: int) -> list[Effect]:
    """What skipping one step would leave out."""
    step = Step.objects.select_related("transaction").get(pk=step_pk)
    text = "It is skipped, with your reason; the steps after it continue, and nothing is done at the vendor."
    needing = f"It depends on {step.key}: it can only be skipped with it."
    return [
        Effect(step.key, title_of(step), "skip", text),
        *(Effect(other.key, title_of(other), "skip", needing) for other in dependents(step.transaction, step)),
    ]


def skip_as_shown(step_pk: int, *, actor: str, reason: str, seen: str) -> None:
    """Skip the step along with what the preview showed, whose fingerprint is ``seen``. Raises ``Refused`` and ``Outdated``."""
    shown = skip_preview(step_pk)
    confirmation.check(seen, confirmation.of_preview(shown))
    along = [effect.step for effect in shown[1:]]
    skip_step(step_pk, actor=actor, reason=reason, with_dependents=True, confirmed=along)


@retried
def replay(run_pk: int, from_step: str, *, actor: str, seen: str | None = None) -> None:
    """Do ``from_step`` and all that comes after it again. Raises ``Refused`` where a worker has one of them in hand.

    ``seen``: the fingerprint of the preview that was confirmed; raises ``Outdated`` where another one holds.
    """
    with locked_run(run_pk) as run:
        first = _first(run, from_step)
        confirmation.check(seen, confirmation.of_preview(_effects(run, first)) if seen is not None else "")
        reopen_from(run, first, actor=actor)
        failpoint("person-acted")


def reopen_from(run: OnboardingTransaction, first: Step, *, actor: str) -> None:
    """The part of ``replay`` inside a transaction that holds the run locked."""
    steps = _to_reopen(run, first)
    now = clock.now()
    for step in steps:
        if step.state == StepState.RUNNING:
            lost = Attempt.objects.filter(step=step, token=step.token, finished_at=None)
            lost.update(finished_at=now, outcome="lease-expired")
        hand_over.begin_anew_if_decided(run, step)
        waits.reopen(step)
    audit.record(
        run,
        "onboarding.run.replayed",
        actor=actor,
        data={"from": first.key, "steps": [step.key for step in steps]},
    )
    if run.status in (Status.READY_FOR_KICKOFF, Status.COMPLETE):
        run.reopen()
    advance(run)


def _first(run: OnboardingTransaction, key: str) -> Step:
    step = run.steps.filter(key=key).first()
    if step is None:
        raise Refused(f"The run has no step {key}.")
    return step


def _to_reopen(run: OnboardingTransaction, first: Step) -> list[Step]:
    """``first`` and what comes after it, in playbook order. What a person skipped stays skipped, but for ``first`` itself."""
    require_no(availability.replay(run))
    steps = list(run.steps.select_related("connection").order_by("position"))
    affected = {first.key}
    for _ in steps:  # the playbook need not list a step after those that it comes after
        affected |= {step.key for step in steps if affected.intersection(step.after)}
    found = [step for step in steps if step.key in affected]
    now = clock.now()
    if busy := [step.key for step in found if step.lease_until and step.lease_until >= now]:
        raise Refused(f"{', '.join(busy)} is in progress right now; wait until it has ended.")
    redone = [step for step in found if step.key == first.key or step.state != StepState.SKIPPED]
    _check_needs(run, steps, redone)
    return redone


def _check_needs(run: OnboardingTransaction, steps: list[Step], redone: list[Step]) -> None:
    """Each must find the objects that it needs, or have them made along with it."""
    there = set(run.mappings.filter(item="").values_list("step__uses", flat=True)) | {step.uses for step in redone}
    skipped = {step.uses: step.key for step in steps if step.state == StepState.SKIPPED and step.uses not in there}
    for step in redone:
        if lacking := [skipped[need] for need in HANDLERS[step.uses].needs if need in skipped]:
            raise Refused(f"{step.key} needs {lacking[0]}, which was skipped: replay from {lacking[0]} instead.")
