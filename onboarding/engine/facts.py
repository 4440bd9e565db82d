"""What a step may know of its run, gathered from rows."""

from dataclasses import replace
from typing import Any

from django.db.models import F

from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.payload.gate import still_confirmed
from onboarding.steps.handler import Facts, StepHandler
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
        step=step.key,
        item=step.item,
        round=step.round,
        options=step.options,
        related=related,
        links=links,
        confirmed=still_confirmed(run.snapshot, run.payload) if handler.checks and content is None else frozenset(),
    )


def match_key_of(run: OnboardingTransaction, step: Step, item: str | None = None) -> str:
    """The match key of the item in hand (or of ``item``); empty where the payload does not name that item any more."""
    handler, facts = HANDLERS[step.uses], facts_of(run, step)
    facts = facts if item is None else replace(facts, item=item)
    if facts.item and facts.item not in handler.named(facts):
        return ""
    return handler.match_key(facts) if facts.item or "" in handler.items(facts) else ""


def item_after(run: OnboardingTransaction, step: Step, item: str) -> str | None:
    """What comes after ``item``, by the payload as it is now: the next one, then whatever has no object yet; None: nothing.

    People may add to, and take out of, the payload while the step is at work.
    """
    handler, facts = HANDLERS[step.uses], facts_of(run, step)
    items = handler.items(facts)
    if handler.parts(facts) is None and item in items[:-1]:
        return items[items.index(item) + 1]
    mapped = {mapping.item for mapping in mappings_of(run, step)} | {item}
    return next((each for each in items if each not in mapped), None)


def _related(run: OnboardingTransaction, handler: StepHandler) -> tuple[dict[str, str], dict[str, str]]:
    names = (*handler.needs, *handler.ties_to)
    if not names:
        return {}, {}
    found = [(uses, each) for uses, each in _mapped(run) if each.item == "" and uses in names]
    return {uses: each.external_id for uses, each in found}, {uses: each.url for uses, each in found if each.url}


def mappings_of(run: OnboardingTransaction, step: Step) -> list[ObjectMapping]:
    """What a step has at its vendor. Read once for this instance of the run, with that of all its steps: whoever changes it
    calls ``note_mapping`` or ``forget_mappings``.
    """
    return [mapping for _, mapping in _mapped(run) if mapping.step_id == step.pk]


def note_mapping(run: OnboardingTransaction, step: Step, mapping: ObjectMapping) -> None:
    """A new one, saved."""
    if "_mapped" in run.__dict__:
        _mapped(run).append((step.uses, mapping))


def forget_mappings(run: OnboardingTransaction) -> None:
    run.__dict__.pop("_mapped", None)


def _mapped(run: OnboardingTransaction) -> list[tuple[str, ObjectMapping]]:
    kept: list[tuple[str, ObjectMapping]] | None = run.__dict__.get("_mapped")
    if kept is None:
        rows = run.mappings.annotate(uses=F("step__uses")) if run.pk is not None else ()  # one that is only planned
        kept = [(mapping.uses, mapping) for mapping in rows]
        run.__dict__["_mapped"] = kept
    return kept
