"""What people may do to a run's payload."""

from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine.advancing import refresh_status_reports
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.runs import gate_evaluation, step_selection
from onboarding.enums import NOT_BEGUN, OriginKind, Status, StepState
from onboarding.origins import Origin
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.gate import Problem, still_confirmed
from onboarding.payload.plausibility import implausible, normal_domain, unusable
from onboarding.payload.schema import OnboardingPayload, declared, get, with_value, with_values
from onboarding.payload.snapshots import write_snapshot
from onboarding.playbooks.requirements import problems, problems_of
from onboarding.services.base import Refused, try_again
from onboarding.services.confirmation import check_unchanged

LONGEST_TEXT = 2000


@retried
def fix(
    run_pk: int,
    fields: dict[str, Any],
    *,
    actor: str,
    step_pk: int | None = None,
    confirmed: Collection[str] = frozenset(),
    version: int | None = None,
) -> list[Problem]:
    """Write the next snapshot from a person's values and go on: with the gate, or with the step that the vendor refused.

    ``confirmed``: paths of ``fields`` whose value the person stands by though it looks like a placeholder; it passes from then
    on. ``version``: of the data that the person was shown; raises ``Outdated`` where one of the fields was changed since.
    Returns what is still missing. Raises ``Refused`` for unknown fields, wrong types and values that would count as missing.
    """
    check_confirmed(fields, confirmed)
    values = {path: clean(path, value, confirmed=path in confirmed) for path, value in fields.items()}
    if not values:
        raise Refused("Give at least one field.")
    with locked_run(run_pk) as run:
        if run.status == Status.COMPLETE:
            raise Refused("This run is complete: request a change of its data instead.")
        if not run.may_advance:
            raise Refused(f"This run is {run.get_status_display().lower()}; its payload cannot be changed any more.")
        check_unchanged(run, values, version=version)
        content = with_values(run.payload, values)
        step = run.steps.get(pk=step_pk) if step_pk else None
        remaining = problems(content, {*confirmed, *still_confirmed(run.snapshot, content)}, run=run)
        if remaining and run.status not in (Status.QUEUED, Status.AWAITING_DATA):
            raise Refused("With these values required fields would be missing.", remaining)
        origin = Origin(OriginKind.PERSON, actor)
        write_snapshot(run, content, origin=origin, actor=actor, changed=values, confirmed=confirmed)
        data = {"paths": declared(values), "confirmed": declared(confirmed)}
        audit.record(run, "onboarding.payload.fixed", actor=actor, data=data)
        has_begun = run.status not in NOT_BEGUN
        if step is None:
            gate_evaluation.evaluate_gate(run, actor=actor)
        elif not step.is_done and step.state != StepState.RUNNING:
            try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
        if has_begun:
            step_selection.follow_payload(run, actor=actor)
        refresh_status_reports(run)
        failpoint("person-acted")
        return problems_of(run) if run.status == Status.AWAITING_DATA else []


def check_confirmed(fields: Collection[str], confirmed: Collection[str]) -> None:
    """Raises ``Refused`` where something else is confirmed than what is given."""
    if other := sorted(set(confirmed) - set(fields)):
        raise Refused(
            "Confirm only fields that you give.", [Problem(path, "is not among the fields") for path in other]
        )


def clean(path: str, value: Any, *, confirmed: bool = False) -> Any:
    """The value as the payload keeps it. Raises ``Refused`` for an unknown field, a wrong type, and what counts as missing.

    A value that a person has ``confirmed`` is judged by whether it can be used at all.
    """
    try:
        field = catalogue.entry(path)
    except KeyError:
        raise Refused(f"There is no field {path}.", [Problem(path, "is not in the field catalogue")]) from None
    match field.type:
        case Type.FLAG:
            if not isinstance(value, bool):
                raise Refused(f"{field.label} must be true or false.", [Problem(path, "must be true or false")])
            return value
        case Type.NUMBER:
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise Refused(f"{field.label} must be a number from 0.", [Problem(path, "must be a number from 0")])
            return value
        case Type.WHOLE | Type.LIST | Type.PEOPLE | Type.STRUCTURE:
            return _clean_structure(field, value)
    if not isinstance(value, str) or not value.strip() or "\x00" in value or len(value) > LONGEST_TEXT:
        raise Refused(
            f"{field.label} must be a text of 1 to {LONGEST_TEXT} characters.", [Problem(path, "must be a text")]
        )
    text = normal_domain(value) if field.type is Type.DOMAIN else value.strip()
    if reason := (unusable if confirmed else implausible)(text, field.type):
        raise Refused(f"{field.label}: {reason}.", [Problem(path, reason)])
    return text


def _clean_structure(field: catalogue.Field, value: Any) -> Any:
    """As the payload's schema takes it, each person with a plausible address."""
    around = {"onboarding_transaction_id": "checked", "event_source": "checked"}
    try:
        content = OnboardingPayload.model_validate(with_value(around, field.path, value)).content()
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Refused(f"{field.label}: {reason}.", [Problem(field.path, reason)]) from None
    cleaned = get(content, field.path, default=None)
    if cleaned in (None, [], {}):
        raise Refused(f"{field.label} must not be empty.", [Problem(field.path, "must not be empty")])
    if field.type is Type.PEOPLE:
        for person in cleaned:
            if reason := implausible(str(person.get("email", "")), Type.EMAIL):
                raise Refused(f"{field.label}: {reason}.", [Problem(field.path, reason)])
    return cleaned
