"""What a step may know of its run, gathered from rows."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from onboarding.models import OnboardingTransaction, Step
from onboarding.steps.base import EnsureHandler, Facts, StepHandler
from onboarding.steps.registry import HANDLERS

ON_HOLD = "on-hold"


def facts_of(run: OnboardingTransaction, step: Step, *, content: dict[str, Any] | None = None) -> Facts:
    """The facts of ``step``, for the item in hand. ``content``: the payload, where the caller has it already."""
    handler = HANDLERS[step.uses]
    related, links = _related(run, handler)
    return Facts(
        content=run.payload if content is None else content,
        run_id=run.onboarding_transaction_id,
        status=ON_HOLD if run.held_at else run.status,
        occurred_at=run.occurred_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        item=step.item,
        round=step.round,
        options=step.options,
        related=related,
        links=links,
    )


def match_key_of(run: OnboardingTransaction, step: Step, item: str | None = None) -> str:
    """The match key of the item in hand (or of ``item``); empty where the payload does not name that item any more."""
    handler, facts = HANDLERS[step.uses], facts_of(run, step)
    assert isinstance(handler, EnsureHandler)  # noqa: S101  (only objects are matched)
    facts = facts if item is None else replace(facts, item=item)
    known = handler.parts(facts)
    if facts.item and facts.item not in (handler.items(facts) if known is None else known):
        return ""
    return handler.match_key(facts) if facts.item or "" in handler.items(facts) else ""


def item_after(run: OnboardingTransaction, step: Step, item: str) -> str | None:
    """What comes after ``item``, by the payload as it is now: the next one, then whatever has no object yet; None: nothing.

    People may add to, and take out of, the payload while the step is at work.
    """
    handler, facts = HANDLERS[step.uses], facts_of(run, step)
    if not isinstance(handler, EnsureHandler):
        return None
    items = handler.items(facts)
    if handler.parts(facts) is None and item in items[:-1]:
        return items[items.index(item) + 1]
    mapped = set(step.mappings.values_list("item", flat=True)) | {item}
    return next((each for each in items if each not in mapped), None)


def digest_of(params: dict[str, Any]) -> str:
    """SHA-256 over the parameters' canonical JSON."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def _related(run: OnboardingTransaction, handler: StepHandler) -> tuple[dict[str, str], dict[str, str]]:
    names = (*handler.needs, *handler.ties_to)
    if not names:
        return {}, {}
    rows = run.mappings.filter(step__uses__in=names, item="").values_list("step__uses", "external_id", "url")
    found = list(rows)
    return {uses: external_id for uses, external_id, _ in found}, {uses: url for uses, _, url in found if url}
