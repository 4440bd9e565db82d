"""What people decide about matches: which object is the customer's, and which is not."""

from collections.abc import Collection
from typing import Any

from integrations import clock
from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine.facts import match_key_of
from onboarding.engine.locks import retried
from onboarding.engine.reconcile import match_key_in_hand
from onboarding.enums import Category, IntentState, StepState
from onboarding.models import Intent, MatchChoice, ObjectMapping, RejectedMatch, Reservation, Step
from onboarding.services import availability
from onboarding.services.base import Refused, given_reason, locked_step, require_no, try_again
from onboarding.services.confirmation import Outdated
from onboarding.services.replay import reopen_from
from onboarding.services.steps import retry_if_possible
from onboarding.steps.registry import HANDLERS

MOST_LISTED = 20


@retried
def choose_match(step_pk: int, *, external_id: str, actor: str, seen: Collection[str] | None = None) -> None:
    """Keep a person's choice for this customer and go on: that object, or with an empty id a new one. Raises ``Refused``.

    ``seen``: the ids of the candidates that the person was shown; raises ``Outdated`` for a new object where there are others.

    Other runs of the customer that wait for the same answer go on as well.
    """
    with locked_step(step_pk) as (run, step):
        handler = HANDLERS[step.uses]
        if step.state != StepState.BLOCKED or not handler.makes_objects or step.connection is None:
            raise Refused(f"The step {step.key} does not wait for a choice.")
        if step.category in (Category.AUTH_ERROR, Category.NOT_CONFIGURED):
            raise Refused(f"The step {step.key} is blocked by something else: {step.get_category_display().lower()}.")
        others = {candidate["external_id"] for candidate in step.candidates} - set(seen or ())
        if seen is not None and not external_id and others:
            raise Outdated("another candidate was found since you opened the page.")
        match_key = match_key_in_hand(run, step)
        if not match_key:
            raise Refused("The data does not name this item any more: retry the step instead.")
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
        try_again(run, step, actor=actor, name="onboarding.step.retry-requested")
        failpoint("person-acted")
        siblings = _same_question(step, match_key)
    for sibling in siblings:
        retry_if_possible(sibling, actor=actor)


def _same_question(step: Step, match_key: str) -> list[int]:
    asked = Step.objects.filter(
        connection=step.connection,
        finished_at=None,
        uses=step.uses,
        state=StepState.BLOCKED,
        category=Category.AMBIGUOUS_MATCH,
    ).exclude(pk=step.pk)
    return [
        other.pk
        for other in asked.select_related("transaction")[:200]
        if match_key_of(other.transaction, other) == match_key
    ]


def also_linked(step: Step, item: str = "") -> list[str]:
    """Other runs that are linked to the same object, by their transaction ids: an ``unlink`` leaves them as they are."""
    mapping = step.mappings.filter(item=item).first()
    if mapping is None:
        return []
    same = ObjectMapping.objects.filter(
        connection=mapping.connection_id, kind=mapping.kind, external_id=mapping.external_id
    ).exclude(transaction=step.transaction_id)
    same = same.exclude(item__startswith=ObjectMapping.FORMER)
    ids = same.order_by("transaction").values_list("transaction__onboarding_transaction_id", flat=True)
    return list(ids.distinct()[:MOST_LISTED])


@retried
def unlink(step_pk: int, *, actor: str, reason: str, item: str = "") -> None:
    """The object that was found is not this customer's: never link it for them again, and do the step and what builds on it anew.

    Nothing is changed at the vendor, nor in other runs that are linked to it (``also_linked``).

    Raises ``Refused`` for an object that this run created (that is for a rollback).
    """
    text = given_reason(reason)
    with locked_step(step_pk) as (run, step):
        mapping = step.mappings.filter(item=item).select_related("connection").first()
        require_no(availability.unlink(run, step, mapping))
        assert mapping is not None  # noqa: S101  (as availability says)
        reopen_from(run, step, actor=actor)
        reopened = Step.objects.get(pk=step_pk)
        reopened.item = item
        key = match_key_of(run, reopened)
        about: dict[str, Any] = {"connection": mapping.connection, "kind": mapping.kind, "match_key": key}
        # Locked first: another run that is about to record the same match does so before this, or sees that it is rejected.
        list(Reservation.objects.select_for_update(no_key=True).filter(**about).values_list("pk"))
        RejectedMatch.objects.update_or_create(
            **about,
            external_id=mapping.external_id,
            defaults={"rejected_by": actor, "reason": text, "rejected_at": clock.now()},
        )
        MatchChoice.objects.filter(**about, external_id=mapping.external_id).delete()
        Reservation.objects.filter(**about, external_id=mapping.external_id).update(external_id="", url="", holder=None)
        # What is indeterminate stays so: making the object anew, after it was linked and vanished, may have worked.
        Intent.objects.filter(step=step, item=item, state=IntentState.DONE).update(
            state=IntentState.NO_EFFECT, indeterminate_since=None
        )
        ObjectMapping.objects.filter(pk=mapping.pk).delete()
        audit.record(
            run,
            "onboarding.object.unlinked",
            actor=actor,
            data={"step": step.key, "kind": mapping.kind, "id": mapping.external_id},
        )
        failpoint("person-acted")
