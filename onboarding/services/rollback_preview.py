"""What a rollback would do to each object, before anybody confirms it."""

import time

from integrations.connectors import registry
from integrations.errors import DeadlinePassed, ProviderError
from onboarding.engine.compensation import SKEW, last_touched
from onboarding.engine.planning import Effect, Planned, of_object, plan_rollback
from onboarding.models import OnboardingTransaction
from onboarding.services import availability
from onboarding.services.base import require_no

LOOK_SECONDS = 8.0
"""For looking at all objects of a run; what was not reached is said to be looked at later."""


def rollback_preview(run_pk: int) -> list[Effect]:
    """The effect on each object, in the order of the compensations. Vendors are asked whether objects were changed since.

    Call it outside database transactions. Raises ``Refused`` where there is nothing to roll back.
    """
    run = OnboardingTransaction.objects.get(pk=run_pk)
    require_no(availability.rollback(run))
    ends = time.monotonic() + LOOK_SECONDS
    return [_looked_at(planned, ends).effect for planned in plan_rollback(run)]


def _looked_at(planned: Planned, ends: float) -> Planned:
    """As planned, unless the vendor has another state of the object than this run left."""
    step, mapping = planned.step, planned.mapping
    if mapping is None or planned.effect.verdict != "take-back":
        return planned
    try:
        connector = registry.connector(mapping.connection, subject="preview", deadline=ends)
        there = connector.get(mapping.kind, mapping.external_id)
    except (ProviderError, DeadlinePassed) as error:
        text = f"It is removed; whether it was changed since could not be checked now ({error})."
        return of_object(step, mapping, "take-back", text)
    if there is None:
        return of_object(step, mapping, "gone", "It is not there any more.")
    if there.external_id != mapping.external_id:
        text = (
            f"It was merged into “{there.label}” ({there.external_id}), which holds more than this run made: it stays."
        )
        return of_object(step, mapping, "keep", text)
    if there.changed_at and there.changed_at > last_touched(step.transaction) + SKEW:
        text = f"It was changed at {there.changed_at:%Y-%m-%d %H:%M} UTC, after this run last touched it: a person is asked then."
        return of_object(step, mapping, "changed-since", text)
    return planned
