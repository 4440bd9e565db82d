"""Keeping the ids of what a step made or found, and the state that the payload gave each object then."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from integrations.database.instances import instance_of
from onboarding import audit, working_set
from onboarding.engine.claiming import Claim
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.facts import forget_mappings, mappings_of, note_mapping
from onboarding.engine.outcomes import Ensured
from onboarding.engine.reconcile import state_when_sent, was_sent_with_current_data
from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.steps.handler import Facts, StepHandler


def map_made(run: OnboardingTransaction, step: Step, claim: Claim, made: Ensured, now: datetime) -> None:
    handler = claim.handler
    of_items = {claim.facts.item: made} if made.items is None else made.items
    for item, each in of_items.items():
        _map_one(run, step, claim, item, each, now)
    if handler.shared:
        # A create with the former payload has claimed the reservation under its key.
        was_other_data = _was_made_from_other_data(claim, handler, made)
        waiting = working_set.of(run).complete_reservation(
            step,
            handler.kind,
            claim.match_key,
            external_id=made.external_id,
            url=made.url,
            was_other_data=was_other_data,
        )
        for pk in waiting:
            enqueue_step(pk)


def _was_made_from_other_data(claim: Claim, handler: StepHandler, made: Ensured) -> bool:
    """A create whose outcome was indeterminate has carried what the payload said before."""
    assert claim.intent is not None  # noqa: S101  (as above)
    return made.created_by_us and claim.intent.reference != handler.reference(claim.facts)


def _map_one(run: OnboardingTransaction, step: Step, claim: Claim, item: str, made: Ensured, now: datetime) -> None:
    handler, intent = claim.handler, claim.intent
    assert intent is not None  # noqa: S101  (what makes objects is claimed with one, and with a connection)
    assert claim.connection  # noqa: S101
    facts = replace(claim.facts, item=item)
    noted: dict[str, Any] = {"state": handler.kept_state(facts), "identity": handler.identity_of(facts)}
    # The caller holds the run locked: nobody maps the item meanwhile, and no savepoint is needed.
    mapping = next((each for each in mappings_of(run, step) if each.item == item), None)
    if mapping and mapping.external_id == made.external_id:
        _note_update(run, step, mapping, made, noted)
        return
    if not matches_request(claim, made, facts):
        # It is as the payload was then; what differs is written next. All of it, where no version of the payload was so.
        unlike = {"state": {}, "identity": handler.identity(facts, intent.reference)} if made.created_by_us else noted
        noted = state_when_sent(run, handler, intent, facts) or unlike
    created_by_us = made.created_by_us
    if mapping and mapping.state is not None and mapping.identity != noted["identity"]:
        created_by_us = _replace_mapping(run, step, mapping, made) or created_by_us
        mapping = None
    is_new = mapping is None
    mapping = mapping or instance_of(ObjectMapping, {"transaction_id": run.pk, "step_id": step.pk, "item": item})
    mapping.connection_id, mapping.kind, mapping.created_at = claim.connection.pk, handler.kind, now
    mapping.external_id, mapping.url = made.external_id, made.url
    mapping.created_by_us, mapping.how = created_by_us, made.how
    mapping.state, mapping.identity = noted["state"], noted["identity"]
    working_set.of(run).save_mapping(mapping)
    if is_new:
        note_mapping(run, step, mapping)
    name = "onboarding.object.created" if made.created_by_us else "onboarding.object.linked"
    audit.record(run, name, data={"step": step.key, "kind": handler.kind, "id": made.external_id, "how": made.how})


def _note_update(
    run: OnboardingTransaction, step: Step, mapping: ObjectMapping, made: Ensured, noted: dict[str, Any]
) -> None:
    """It was looked at again, and perhaps brought up to date."""
    if made.updated:
        data = {"step": step.key, "kind": mapping.kind, "id": mapping.external_id, "fields": list(made.updated)}
        audit.record(run, "onboarding.object.updated", data=data)
    if (mapping.state, mapping.identity) != (noted["state"], noted["identity"]):
        mapping.state, mapping.identity = noted["state"], noted["identity"]
        mapping.save()


def _replace_mapping(run: OnboardingTransaction, step: Step, old: ObjectMapping, made: Ensured) -> bool:
    """Keep the object that another takes the place of, as this run may have made it. True where it made the other one, too."""
    old.item = f"{ObjectMapping.FORMER}{old.pk}"
    old.save()
    audit.record(run, "onboarding.object.replaced", data={"step": step.key, "kind": old.kind, "id": old.external_id})
    back = step.mappings.filter(item__startswith=ObjectMapping.FORMER, external_id=made.external_id)
    ours = back.filter(created_by_us=True).exists()
    back.delete()
    forget_mappings(run)
    return ours


def matches_request(claim: Claim, made: Ensured, facts: Facts) -> bool:
    """False for what was made by a create with other parameters, as those stay frozen until its outcome is known.

    What is found after a create whose outcome was indeterminate may be what that made.
    """
    handler, intent = claim.handler, claim.intent
    if intent is None:
        return True
    if not made.created_by_us and intent.indeterminate_since is None:
        return True
    return was_sent_with_current_data(handler, intent, facts)
