"""Keeping what a run has at vendors up to date: what an update of an object would write, and which of a step's objects lag
behind.

Beside each object's id stands the state that the payload gave it when it was made, linked or last updated. What differs from
that is written, and nothing else: an object that was found there is never overwritten whole. An update is harmless to repeat, so
it needs no intent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from onboarding.engine.facts import facts_of, match_key_of
from onboarding.enums import INDETERMINATE
from onboarding.models import Intent, ObjectMapping, OnboardingTransaction, Step
from onboarding.steps.handler import Facts, StepHandler
from onboarding.steps.registry import HANDLERS


def is_out_of_date(run: OnboardingTransaction, step: Step) -> bool:
    """Whether an updating step would write something else now than it has written, or a check would see other data."""
    handler = HANDLERS[step.uses]
    return (handler.checks or bool(handler.target)) and handler.digest(facts_of(run, step)) != step.written


def lagging(handler: StepHandler, mappings: list[ObjectMapping], facts: Facts) -> str | None:
    """The first item that is not there yet, or not as the payload has it now; None where all are."""
    parts = handler.parts(facts)
    there = {mapping.item: mapping for mapping in mappings}
    if parts is not None:
        lacks = any(
            item not in there or (handler.updates and handler.update_of(there[item], replace(facts, item=item)))
            for item in parts
        )
        return "" if lacks else None
    for item in handler.items(facts):
        of_item = replace(facts, item=item)
        mapping = there.get(item)
        if mapping is None or handler.is_another(mapping, of_item) or handler.update_of(mapping, of_item):
            return item
    return None


def facts_for_reference(
    run: OnboardingTransaction, handler: StepHandler, facts: Facts, item: str, reference: str
) -> Facts | None:
    """The facts that an intent's reference was made from: by the payload as it is, or as it last was; None where by none."""
    for then in _facts_through_time(run, facts, item):
        if item in handler.named(then) and handler.reference(then) == reference:
            return then
    return None


def match_key_in_hand(run: OnboardingTransaction, step: Step) -> str:
    """What people decide about: the key of what an indeterminate create was to make, else of the item in hand as it
    is named now.
    """
    handler = HANDLERS[step.uses]
    intent = step.intents.indeterminate().filter(item=step.item).first()
    if intent:
        then = facts_for_reference(run, handler, facts_of(run, step), intent.item, intent.reference)
        if then:
            return handler.match_key(then)
    return match_key_of(run, step)


def is_indeterminate(intents: Iterable[Intent], mapped: Iterable[str]) -> bool:
    """Whether a create of a step may have worked. One whose object is only looked at again is open, too, in a worker's hands."""
    known = set(mapped)
    return any(
        intent.state in INDETERMINATE and (intent.indeterminate_since is not None or intent.item not in known)
        for intent in intents
    )


def state_when_sent(
    run: OnboardingTransaction, handler: StepHandler, intent: Intent, facts: Facts
) -> dict[str, Any] | None:
    """State and identity of what an intent's frozen parameters say; None where no version of the payload says so."""
    for then in _facts_through_time(run, facts, facts.item):
        if facts.item in handler.items(then) and was_sent_with_current_data(handler, intent, then):
            return {"state": handler.kept_state(then), "identity": handler.identity_of(then)}
    return None


def _facts_through_time(run: OnboardingTransaction, facts: Facts, item: str) -> Iterator[Facts]:
    yield replace(facts, item=item)
    for content in run.snapshots.order_by("-version").values_list("content", flat=True):
        yield replace(facts, item=item, content=content)


def was_sent_with_current_data(handler: StepHandler, intent: Intent, facts: Facts) -> bool:
    """False where a create carried what the payload said before: its parameters stay frozen until its outcome is known."""
    if not handler.updates or handler.irrevocable:
        return True  # nobody asks
    if handler.parts(facts) is not None:
        sent = next((each for each in intent.params.get("items", ()) if each["key"] == facts.item), None)
        return sent is None or sent == handler.part_params(facts)
    return intent.request_hash == handler.digest(facts)


def note_baseline(handler: StepHandler, mapping: ObjectMapping, facts: Facts) -> None:
    """For an object of which nobody noted what it was made from: what the payload says of it before it changes. Not saved."""
    of_item = replace(facts, item=mapping.item)
    mapping.state, mapping.identity = handler.kept_state(of_item), handler.identity_of(of_item)
