"""What people may do to a run. Workers, console, REST and commands all come through here: lock, check, move, audit."""

from contextlib import suppress
from typing import Any

from django.db import transaction as db

from integrations import clock
from integrations.connections import default_connection
from integrations.words import System
from onboarding import audit
from onboarding.engine import entry
from onboarding.engine.advance import advance, make_due
from onboarding.engine.dispatch import hint_step
from onboarding.engine.locks import lock_run, retried
from onboarding.engine.record import block
from onboarding.models import ChangeRequest, MatchChoice, OnboardingTransaction, Step
from onboarding.payload import catalogue
from onboarding.payload.gate import Problem, problems
from onboarding.payload.plausibility import implausible, normal_domain
from onboarding.payload.schema import with_value
from onboarding.payload.snapshots import write_snapshot
from onboarding.signals import step_retrying
from onboarding.steps.base import EnsureHandler
from onboarding.steps.registry import HANDLERS
from onboarding.words import Category, Status, StepState

LONGEST_TEXT = 2000


class Refused(Exception):
    """The action cannot be done; ``problems`` names fields where it is about those."""

    def __init__(self, message: str, problems: list[Problem] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


@retried
def retry_step(step_pk: int, *, actor: str) -> None:
    """Try a blocked or waiting step again now, with a fresh count of attempts. Raises ``Refused``."""
    with db.atomic():
        run, step = _locked(step_pk)
        if step.state not in (StepState.BLOCKED, StepState.WAITING):
            raise Refused(f"The step {step.key} is {step.get_state_display().lower()}; there is nothing to retry.")
        _try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
        run.save()


@retried
def fix(run_pk: int, fields: dict[str, Any], *, actor: str, step_pk: int | None = None) -> list[Problem]:
    """Write the next snapshot from a person's values and go on: with the gate, or with the step that the vendor refused.

    Returns what is still missing. Raises ``Refused`` for unknown fields, wrong types and values that would count as missing.
    """
    clean = {path: _clean(path, value) for path, value in fields.items()}
    if not clean:
        raise Refused("Give at least one field.")
    with db.atomic():
        run = lock_run(run_pk)
        if run.status == Status.COMPLETE:
            raise Refused("This run is complete; its payload is not mended any more.")
        content = run.payload
        for path, value in clean.items():
            content = with_value(content, path, value)
        step = run.steps.get(pk=step_pk) if step_pk else None
        remaining = problems(content)
        if remaining and run.status not in (Status.QUEUED, Status.AWAITING_DATA):
            raise Refused("With these values required fields would be missing.", remaining)
        write_snapshot(run, content, source=f"person:{actor}", actor=actor, changed=clean)
        audit.record(run, "onboarding.payload.fixed", actor=actor, data={"paths": sorted(clean)})
        if step is None:
            entry.admit(run, actor=actor)
        elif not step.is_done and step.state != StepState.RUNNING:
            _try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
        run.save()
        return problems(run.payload) if run.status == Status.AWAITING_DATA else []


@retried
def choose_match(step_pk: int, *, external_id: str, actor: str) -> None:
    """Keep a person's choice for this customer and go on: that object, or with an empty id a new one. Raises ``Refused``.

    Other runs of the customer that wait for the same answer go on as well.
    """
    with db.atomic():
        run, step = _locked(step_pk)
        handler = HANDLERS[step.uses]
        if step.state != StepState.BLOCKED or not isinstance(handler, EnsureHandler) or step.connection is None:
            raise Refused(f"The step {step.key} does not wait for a choice.")
        if step.category in (Category.AUTH_ERROR, Category.NOT_CONFIGURED):
            raise Refused(f"The step {step.key} is blocked by something else: {step.get_category_display().lower()}.")
        match_key = handler.match_key(run.payload, run.onboarding_transaction_id)
        MatchChoice.objects.update_or_create(
            connection=step.connection,
            kind=handler.kind,
            match_key=match_key,
            defaults={"external_id": external_id, "chosen_by": actor, "chosen_at": clock.now()},
        )
        audit.record(
            run,
            "onboarding.match.chosen",
            actor=actor,
            data={"step": step.key, "id": external_id or None, "create": not external_id},
        )
        _try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
        run.save()
        siblings = _same_question(step, handler, match_key)
    for sibling in siblings:
        _retry_if_possible(sibling, actor=actor)


@retried
def dismiss_change(request_pk: int, *, actor: str) -> None:
    """Leave the run as it is. Raises ``Refused`` for a request that is not open."""
    with db.atomic():
        request = ChangeRequest.objects.get(pk=request_pk)
        run = lock_run(request.transaction_id)
        request = ChangeRequest.objects.get(pk=request_pk)
        if request.status != "open":
            raise Refused("This change request was dismissed already.")
        request.dismiss()
        request.save()
        audit.record(run, "onboarding.change.dismissed", actor=actor, data={"request": request.pk})


@retried
def flag_slow_step(step_pk: int, message: str, *, category: Category = Category.STALLED) -> bool:
    """The P1 clock is at risk and nobody was told of this step yet: block it, and let its retries go on. True if it did."""
    with db.atomic():
        run, step = _locked(step_pk)
        if step.state not in (StepState.PENDING, StepState.WAITING) or step.category:
            return False
        block(run, step, category, message, due_at=step.due_at)
        run.save()
        return True


def connection_restored(system: str, connection_pk: int) -> None:
    """Credentials were mended or a connection was made: what was parked or not configured may go on."""
    waiting = Step.objects.filter(system=system, state__in=(StepState.BLOCKED, StepState.WAITING, StepState.PENDING))
    lacking = waiting.filter(category__in=(Category.NOT_CONFIGURED, Category.AUTH_ERROR))
    for pk in lacking.values_list("pk", flat=True):
        _retry_if_possible(pk, actor=audit.SYSTEM)
    for pk in waiting.filter(connection_id=connection_pk, due_at__isnull=False).values_list("pk", flat=True)[:300]:
        hint_step(pk)


def _retry_if_possible(step_pk: int, *, actor: str) -> None:
    """One that went on meanwhile must not hold up the others."""
    with suppress(Refused):
        retry_step(step_pk, actor=actor)


def _locked(step_pk: int) -> tuple[OnboardingTransaction, Step]:
    run = lock_run(Step.objects.values_list("transaction_id", flat=True).get(pk=step_pk))
    return run, Step.objects.select_related("connection").get(pk=step_pk)


def _try_again(run: OnboardingTransaction, step: Step, *, actor: str, name: str) -> None:
    now = clock.now()
    step.attempts, step.first_failed_at = 0, None
    if step.category == Category.NOT_CONFIGURED or step.connection is None or not step.connection.enabled:
        step.connection = default_connection(System(step.system)) or step.connection
    make_due(step, now)
    step.save()
    audit.record(run, name, actor=actor, data={"step": step.key})
    step_retrying.send(Step, step=step, requested=True)
    hint_step(step.pk)


def _same_question(step: Step, handler: EnsureHandler, match_key: str) -> list[int]:
    asked = Step.objects.filter(
        connection=step.connection, uses=step.uses, state=StepState.BLOCKED, category=Category.AMBIGUOUS_MATCH
    ).exclude(pk=step.pk)
    return [
        other.pk
        for other in asked.select_related("transaction")[:200]
        if handler.match_key(other.transaction.payload, other.transaction.onboarding_transaction_id) == match_key
    ]


def _clean(path: str, value: Any) -> Any:
    try:
        field = catalogue.entry(path)
    except KeyError:
        raise Refused(f"There is no field {path}.", [Problem(path, "is not in the field catalogue")]) from None
    match field.type:
        case catalogue.Type.FLAG:
            if not isinstance(value, bool):
                raise Refused(f"{field.label} must be true or false.", [Problem(path, "must be true or false")])
            return value
        case catalogue.Type.NUMBER:
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise Refused(f"{field.label} must be a number from 0.", [Problem(path, "must be a number from 0")])
            return value
    if not isinstance(value, str) or not value.strip() or "\x00" in value or len(value) > LONGEST_TEXT:
        raise Refused(
            f"{field.label} must be a text of 1 to {LONGEST_TEXT} characters.", [Problem(path, "must be a text")]
        )
    text = normal_domain(value) if field.type is catalogue.Type.DOMAIN else value.strip()
    if reason := implausible(text, field.type):
        raise Refused(f"{field.label}: {reason}.", [Problem(path, reason)])
    return text


@retried
def readmit(run_pk: int, *, actor: str) -> None:
    """Let a run that waits at the gate try again, or one that stands still go on (a playbook or a plan was added, say)."""
    with db.atomic():
        run = lock_run(run_pk)
        entry.admit(run, actor=actor)
        advance(run)
        audit.record(run, "onboarding.run.readmitted", actor=actor)
        run.save()
