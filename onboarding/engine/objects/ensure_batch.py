"""Find or create for one call that makes many objects: one intent, as an indeterminate outcome concerns the call; a
mapping an item.

The order is that of ``ensure``, for each item: known, chosen, found; then one create for all that are lacking. After an
indeterminate
outcome each item is looked up, and only what was frozen before it is ever sent again.
"""

from dataclasses import replace

from integrations import clock
from integrations.connectors.base import Connector, Created, Found, JobAccepted
from integrations.errors import Kind
from onboarding.engine.claiming import Claim, discard_choice, replace_params
from onboarding.engine.objects.ensure import find, inactive, is_stale, resolve_indeterminate, send, storable
from onboarding.engine.outcomes import Ambiguous, Ensured, Failed, IndeterminateOutcome, Outcome
from onboarding.models import Intent
from onboarding.steps.handler import StepHandler


def ensure_batch(claim: Claim, handler: StepHandler, connector: Connector, items: list[str]) -> Outcome:
    """Make sure that each item's object exists once. Raises ``ProviderError`` or ``DeadlinePassed``.

    A person may link several objects at once: ids with commas between, in the order in which the lacking items are named.
    """
    intent = claim.intent
    assert intent is not None  # noqa: S101  (every ensuring step is claimed with one)
    if not items:
        return _all({})
    chosen = _chosen(claim, handler, connector)
    asked_at = clock.now()
    found = _found(claim, handler, connector, intent, items, chosen)
    if isinstance(found, Ambiguous):
        return found
    lacking = [item for item in items if item not in found]
    found |= _as_chosen(found, lacking, chosen)
    lacking = [item for item in items if item not in found]
    if not lacking:
        return _all(found)
    create_anyway = claim.choice is not None and not claim.choice.external_id and not is_stale(claim.choice, intent)
    if not create_anyway and (outcome := resolve_indeterminate(handler, connector, intent, asked_at)):
        return _with_names(outcome, claim, handler, lacking)
    if intent.indeterminate_since is None or create_anyway:
        _freeze(claim, handler, intent, lacking)
    sent = send(claim, handler, connector, replays=not create_anyway)
    if isinstance(sent, Failed) and sent.error.kind is Kind.CONFLICT and not sent.indeterminate:
        # Some exist already: those are met by a search that has caught up meanwhile.
        again = _found(claim, handler, connector, intent, items, chosen)
        if isinstance(again, Ambiguous):
            return again
        return _all(again, more=True) if len(again) > len(found) else sent
    if isinstance(sent, Failed):
        return sent
    return _made(sent, connector, found, lacking)


def _chosen(claim: Claim, handler: StepHandler, connector: Connector) -> dict[str, Found]:
    """What a person linked, by id; all of it must be there."""
    if claim.choice is None or not claim.choice.external_id:
        return {}
    ids = [part.strip() for part in claim.choice.external_id.split(",") if part.strip()]
    there = {external_id: made for external_id in ids if (made := connector.get(handler.kind, external_id))}
    if len(there) != len(ids):
        discard_choice(claim.choice)
        return {}
    return there


def _found(
    claim: Claim,
    handler: StepHandler,
    connector: Connector,
    intent: Intent,
    items: list[str],
    chosen: dict[str, Found],
) -> dict[str, Ensured] | Ambiguous:
    """The items that are there, each looked at, or found by its own keys."""
    there: dict[str, Ensured] = {}
    for item in items:
        known_id, how = claim.known_parts.get(item, ("", ""))
        facts = replace(claim.facts, item=item)
        if known_id and (made := connector.get(handler.kind, known_id)):
            if told := inactive(made, handler, connector):
                return replace(told, message=f"{handler.label(facts)}: {told.message}")
            there[item] = Ensured(made.external_id, made.url, how)
            continue
        keys = handler.keys(facts, handler.reference(facts))
        outcome = find(handler, connector, intent, keys, rejected=claim.rejected)
        if isinstance(outcome, Ambiguous):
            decided = [each for each in outcome.candidates if each.external_id in chosen and not each.inactive]
            if len(decided) != 1:
                return replace(outcome, message=f"{handler.label(facts)}: {outcome.message}")
            outcome = Ensured(decided[0].external_id, decided[0].url, "person")
        if isinstance(outcome, Ensured):
            there[item] = outcome
    return there


def _as_chosen(found: dict[str, Ensured], lacking: list[str], chosen: dict[str, Found]) -> dict[str, Ensured]:
    taken = {each.external_id for each in found.values()}
    free = [made for external_id, made in chosen.items() if external_id not in taken]
    if len(free) != len(lacking):
        return {}
    return {item: Ensured(made.external_id, made.url, "person") for item, made in zip(lacking, free, strict=True)}


def _with_names(outcome: Outcome, claim: Claim, handler: StepHandler, lacking: list[str]) -> Outcome:
    if not isinstance(outcome, IndeterminateOutcome):
        return outcome
    names = ", ".join(handler.label(replace(claim.facts, item=item)) for item in lacking)
    how = "To link what is there, give the ids in this order, with commas between."
    return replace(outcome, message=f"{outcome.message} Lacking: {names}. {how}")


def _freeze(claim: Claim, handler: StepHandler, intent: Intent, lacking: list[str]) -> None:
    """What is there already is not asked for."""
    params = handler.params(claim.facts)
    params["items"] = [item for item in params["items"] if item["key"] in lacking]
    if params != intent.params:
        replace_params(claim, params)


def _made(sent: Created | JobAccepted, connector: Connector, found: dict[str, Ensured], lacking: list[str]) -> Outcome:
    if isinstance(sent, JobAccepted):
        raise TypeError(f"{connector.provider} makes a batch by a job, which is not supported")
    made: dict[str, Ensured] = {}
    for item, each in sent.items.items():
        outcome = storable(Ensured(each.external_id, each.url, "created", created_by_us=True), connector)
        if not isinstance(outcome, Ensured):
            return outcome
        made[item] = outcome
    # A repeated call was about what was lacking then; what the payload has gained since comes next.
    return _all(made | found, more=not made.keys() >= set(lacking))


def _all(items: dict[str, Ensured], *, more: bool = False) -> Ensured:
    return Ensured("", "", "batch", items=items, more=more)
