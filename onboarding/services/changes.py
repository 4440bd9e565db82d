"""What people decide about changed data: apply it everywhere, in playbook order, or leave the run as it is."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from integrations import clock
from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine.advancing import advance, make_due
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.planning import Effect, Planned, plan_change
from onboarding.engine.runs import gate_evaluation, step_selection, waits
from onboarding.enums import CHANGEABLE, NOT_BEGUN, Category, ChangeStatus, OriginKind, Status, StepState, WaitsFor
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.origins import Origin
from onboarding.payload import catalogue, change_requests
from onboarding.payload.accepted import accept_content, accepted_from
from onboarding.payload.change_requests import changed_by, with_changes
from onboarding.payload.gate import same_confirmed, still_confirmed
from onboarding.payload.schema import declared, digest, get, with_values
from onboarding.payload.snapshots import write_snapshot
from onboarding.playbooks.requirements import problems
from onboarding.services import confirmation
from onboarding.services.base import Refused, given_reason, try_again
from onboarding.services.data import check_confirmed, clean
from onboarding.signals import change_decided

NOT_FIXABLE_BY_DATA = (Category.AUTH_ERROR, Category.NOT_CONFIGURED)


@retried
def request_change(
    run_pk: int,
    fields: dict[str, Any],
    *,
    actor: str,
    confirmed: Collection[str] = frozenset(),
    version: int | None = None,
) -> ChangeRequest:
    """Record what a person wants changed, for somebody to look at and apply. None as a value takes the field out.

    ``confirmed``: as of ``fix``. ``version``: of the data that the person was shown; raises ``Outdated`` where one of the fields
    was changed since. Raises ``Refused`` for unknown fields, values that would count as missing, and what changes nothing.
    """
    check_confirmed(fields, confirmed)
    with locked_run(run_pk) as run:
        _check_changeable(run)
        values = {path: _wanted(path, value, confirmed=path in confirmed) for path, value in fields.items()}
        confirmation.check_unchanged(run, values, version=version)
        content = run.payload
        proposed = with_values(content, values)
        changed = [path for path in values if get(content, path, default=None) != get(proposed, path, default=None)]
        if not changed:
            raise Refused("Nothing would change: these values are there already.")
        _check_complete(run, proposed, confirmed)
        origin = Origin(OriginKind.PERSON, actor)
        open_ones = change_requests.of_origin(run, origin).open()
        same = open_ones.filter(digest=digest(proposed)).first()
        return same or change_requests.record(
            run, proposed, sorted(changed), origin=origin, actor=actor, confirmed=confirmed
        )


def change_preview(request_pk: int) -> list[Effect]:
    """What ``apply_change`` would do to each step that reads what changes, without doing it or asking a vendor."""
    request = ChangeRequest.objects.select_related("transaction").get(pk=request_pk)
    return [each.effect for each in _planned(request.transaction, request)]


def _planned(run: OnboardingTransaction, request: ChangeRequest) -> list[Planned]:
    if run.status in NOT_BEGUN or run.status not in CHANGEABLE:
        return []
    content = run.payload
    changed = changed_by(request, content)
    return plan_change(run, with_changes(content, request.proposed, changed), changed)


def change_fingerprint(run: OnboardingTransaction, request: ChangeRequest, effects: Iterable[Effect]) -> str:
    """Of all that the confirmation shows: the values before and after, what each step does, and whether it does so at once."""
    content = run.payload
    values = [
        (path, get(content, path, default=None), get(request.proposed, path, default=None)) for path in request.paths
    ]
    at_once = run.held_at is None and run.status not in NOT_BEGUN
    return confirmation.fingerprint(values, [effect.confirmed_facts for effect in effects], at_once)


@retried
def apply_change(request_pk: int, *, actor: str, seen: str | None = None) -> None:
    """Make the change the next version of the data, and have every step that reads it bring its object up to date.

    Steps that have passed are done again in playbook order, with the engine's retries, tickets and breakers; the others see the
    new data. Raises ``Refused`` for a request that is not open, a run that is over for good, and data that would not be complete.
    ``seen``: the fingerprint of what was confirmed; raises ``Outdated`` where another one holds.
    """
    with _open(request_pk) as (run, request):
        _check_changeable(run)
        before = run.payload
        changed = changed_by(request, before)
        content = with_changes(before, request.proposed, changed)
        confirmed = same_confirmed(request.confirmed, request.proposed, content)
        _check_complete(run, content, confirmed)
        found = _planned(run, request)
        confirmation.check(seen, change_fingerprint(run, request, (each.effect for each in found)))
        for mapping in (mapping for each in found for mapping in each.noted):
            mapping.save()
        if changed:
            write_snapshot(
                run,
                content,
                origin=Origin(OriginKind.CHANGE, str(request.pk)),
                actor=actor,
                changed=changed,
                provenance=dict.fromkeys(changed, Origin.of(request)),
                confirmed=confirmed,
            )
        _accept(run, request)
        request.apply(by=actor, at=clock.now())
        request.save()
        again = [each.step.key for each in found if each.is_done_again]
        by_hand = [each for each in found if each.by_hand]
        data = {"request": request.pk, "paths": declared(changed), "steps": again}
        data["by_hand"] = [each.step.key for each in by_hand]
        audit.record(run, "onboarding.change.applied", actor=actor, data=data)
        change_decided.send(ChangeRequest, request=request, by_hand=[each.by_hand for each in by_hand])
        for each in found:
            _reopen_affected(run, each, actor=actor)
        _go_on(run, reopened=bool(again), actor=actor)
        failpoint("person-acted")


@retried
def reject_change(request_pk: int, *, actor: str, reason: str) -> None:
    """Leave the run as it is. Raises ``Refused`` for a request that is not open, and for no reason."""
    text = given_reason(reason)
    with _open(request_pk) as (run, request):
        request.reject(by=actor, at=clock.now(), reason=text)
        request.save()
        audit.record(run, "onboarding.change.rejected", actor=actor, data={"request": request.pk})
        change_decided.send(ChangeRequest, request=request, by_hand=[])
        failpoint("person-acted")


def _wanted(path: str, value: Any, *, confirmed: bool) -> Any:
    return None if value is None and path in catalogue.BY_PATH else clean(path, value, confirmed=confirmed)


@contextmanager
def _open(request_pk: int) -> Iterator[tuple[OnboardingTransaction, ChangeRequest]]:
    """The request, still open, and its run, as of ``locked_run``. Raises ``Refused``."""
    with locked_run(ChangeRequest.objects.values_list("transaction_id", flat=True).get(pk=request_pk)) as run:
        request = ChangeRequest.objects.get(pk=request_pk)
        if request.status != ChangeStatus.OPEN:
            raise Refused(f"This change request is {request.get_status_display().lower()} already.")
        yield run, request


def _check_changeable(run: OnboardingTransaction) -> None:
    if run.status not in CHANGEABLE:
        raise Refused(f"The run is {run.get_status_display().lower()}; its data is not changed any more.")


def _check_complete(run: OnboardingTransaction, content: dict[str, Any], confirmed: Collection[str]) -> None:
    remaining = problems(content, {*confirmed, *still_confirmed(run.snapshot, content)}, run=run)
    if remaining and run.status not in NOT_BEGUN:
        raise Refused("With these values required fields would be missing.", remaining)


def _accept(run: OnboardingTransaction, request: ChangeRequest) -> None:
    """The source has been followed: what it told before is past, and its redelivery undoes nothing."""
    origin = Origin.of(request)
    if origin.kind == OriginKind.PERSON and not origin.label:
        return  # asked for at the console: no content of a source
    accepted = accepted_from(run, origin)
    told = with_changes(accepted.content, request.proposed, request.paths) if accepted else request.proposed
    accept_content(run, origin, told)


def _reopen_affected(run: OnboardingTransaction, found: Planned, *, actor: str) -> None:
    """What has passed is reopened; what waits begins anew with its first item; a worker checks what it has in hand by itself."""
    step = found.step
    if found.is_done_again:
        waits.reopen(step)
    elif step.waits_for == WaitsFor.EVENT:
        step.item = ""
        make_due(step, clock.now())
        step.save()
        enqueue_step(step.pk)
    elif step.state == StepState.BLOCKED and step.due_at is None and step.category not in NOT_FIXABLE_BY_DATA:
        step.item = ""
        try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
    elif step.state in (StepState.WAITING, StepState.BLOCKED):
        step.item = ""
        step.save()


def _go_on(run: OnboardingTransaction, *, reopened: bool, actor: str) -> None:
    if run.status in NOT_BEGUN:
        gate_evaluation.evaluate_gate(run, actor=actor)
        return
    added = step_selection.reselect(run, actor=actor)
    if (reopened or added) and run.status in (Status.READY_FOR_KICKOFF, Status.COMPLETE):
        run.reopen()
    advance(run)
