"""Keeping what a run has at vendors up to date: what an update of an object would write, and which of a step's objects lag behind.

Beside each object's id stands the state that the payload gave it when it was made, linked or last updated. What differs from
that is written, and nothing else: an object that was found there is never overwritten whole. An update is harmless to repeat, so
it needs no intent.
"""

import json
from dataclasses import replace
from typing import Any

from onboarding.engine.facts import digest_of
from onboarding.models import Intent, ObjectMapping
from onboarding.steps.base import EnsureHandler, Facts


def state_of(handler: EnsureHandler, facts: Facts) -> dict[str, Any]:
    """The handler's state of the item in hand, as a JSON column gives it back."""
    state: dict[str, Any] = json.loads(json.dumps(handler.state(facts)))
    return state


def identity_of(handler: EnsureHandler, facts: Facts) -> str:
    return handler.identity(facts, handler.reference(facts))


def update_of(handler: EnsureHandler, mapping: ObjectMapping, facts: Facts) -> dict[str, Any]:
    """What an update of this object would write; empty where it is up to date, or nobody knows what it was made from."""
    if mapping.state is None:
        return {}
    now = state_of(handler, facts)
    if not mapping.created_by_us:
        now = {name: value for name, value in now.items() if name not in handler.own_words}
    return handler.changes(mapping.state, now)


def is_another(handler: EnsureHandler, mapping: ObjectMapping, facts: Facts) -> bool:
    """The payload speaks of another object now: this one is not touched, and that one is found or created."""
    if mapping.state is None:
        return False
    identity = identity_of(handler, facts)
    return bool(identity) and identity != mapping.identity


def lagging(handler: EnsureHandler, mappings: list[ObjectMapping], facts: Facts) -> str | None:
    """The first item that is not there yet, or not as the payload has it now; None where all are."""
    parts = handler.parts(facts)
    there = {mapping.item: mapping for mapping in mappings}
    if parts is not None:
        return "" if set(parts) - there.keys() else None
    for item in handler.items(facts):
        of_item = replace(facts, item=item)
        mapping = there.get(item)
        if mapping is None or is_another(handler, mapping, of_item) or update_of(handler, mapping, of_item):
            return item
    return None


def was_sent_as_asked(handler: EnsureHandler, intent: Intent, facts: Facts) -> bool:
    """False where a create carried what the payload said before: its parameters stay frozen until its outcome is known."""
    if not handler.updates or handler.irrevocable:
        return True  # nobody asks
    return intent.request_hash == digest_of(handler.params(facts))


def note_baseline(handler: EnsureHandler, mapping: ObjectMapping, facts: Facts) -> None:
    """For an object of which nobody noted what it was made from: what the payload says of it before it changes. Not saved."""
    of_item = replace(facts, item=mapping.item)
    mapping.state, mapping.identity = state_of(handler, of_item), identity_of(handler, of_item)
