"""What a rollback would do to each object, before anybody confirms it."""

import time
from dataclasses import dataclass
from typing import Literal

from integrations import providers
from integrations.errors import DeadlinePassed, ProviderError
from onboarding.engine.rollback import SKEW, is_used_elsewhere, last_touched
from onboarding.engine.upkeep import is_unsettled
from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.services.base import Refused
from onboarding.steps.base import EnsureHandler
from onboarding.steps.registry import HANDLERS
from onboarding.words import Status

LOOK_SECONDS = 8.0
"""For looking at all objects of a run; what was not reached is said to be looked at later."""
Fate = Literal["take-back", "keep", "changed-since", "cannot-be-undone", "gone", "settle-first"]


@dataclass(frozen=True)
class Verdict:
    """What becomes of one object, in a word and in a sentence."""

    step: str
    title: str
    kind: str
    external_id: str
    verdict: Fate
    text: str

    @property
    def promise(self) -> tuple[str, ...]:
        """Without the sentence, which also tells how the vendor answered just now."""
        return (self.step, self.kind, self.external_id, self.verdict)


def rollback_preview(run_pk: int) -> list[Verdict]:
    """The verdict on each object, in the order of the compensations. Vendors are asked whether objects were changed since.

    Call it outside database transactions. Raises ``Refused`` where there is nothing to roll back.
    """
    run = OnboardingTransaction.objects.get(pk=run_pk)
    if run.status in (Status.ROLLING_BACK, Status.ROLLED_BACK):
        raise Refused(f"The run is {run.get_status_display().lower()} already.")
    ends = time.monotonic() + LOOK_SECONDS
    found: list[Verdict] = []
    for step in reversed(list(run.steps.order_by("position"))):
        mappings = step.mappings.select_related("connection").order_by("-pk")
        found += [_verdict(step, mapping, ends) for mapping in mappings]
        if is_unsettled(step.intents.all(), (mapping.item for mapping in mappings)):
            text = "It may have been made: it is looked for first, and taken back if it is there."
            found.append(_of(step, "", "settle-first", text))
    return found


def _verdict(step: Step, mapping: ObjectMapping, ends: float) -> Verdict:
    if not mapping.created_by_us:
        return _of(step, mapping.external_id, "keep", "This run only found it: it stays as it is.")
    if is_used_elsewhere(mapping):
        return _of(step, mapping.external_id, "keep", "Another run uses it too: it stays.")
    try:
        connector = providers.connector(mapping.connection, subject="preview", deadline=ends)
        if not connector.reversible(mapping.kind):
            return _of(
                step, mapping.external_id, "cannot-be-undone", "It cannot be taken back, such as a mail that was sent."
            )
        there = connector.get(mapping.kind, mapping.external_id)
    except (ProviderError, DeadlinePassed) as error:
        text = f"It is taken back; whether it was changed since could not be looked at now ({error})."
        return _of(step, mapping.external_id, "take-back", text)
    if there is None:
        return _of(step, mapping.external_id, "gone", "It is not there any more.")
    if there.external_id != mapping.external_id:
        text = (
            f"It was merged into “{there.label}” ({there.external_id}), which holds more than this run made: it stays."
        )
        return _of(step, mapping.external_id, "keep", text)
    if there.changed_at and there.changed_at > last_touched(step.transaction) + SKEW:
        text = f"It was changed at {there.changed_at:%Y-%m-%d %H:%M} UTC, after this run last touched it: a person is asked then."
        return _of(step, mapping.external_id, "changed-since", text)
    return _of(step, mapping.external_id, "take-back", "It is taken back.")


def _of(step: Step, external_id: str, fate: Fate, text: str) -> Verdict:
    handler = HANDLERS[step.uses]
    kind = handler.kind if isinstance(handler, EnsureHandler) else ""
    return Verdict(step.key, handler.title[:1].upper() + handler.title[1:], kind, external_id, fate, text)
