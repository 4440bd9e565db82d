"""Find or create for one call that makes many objects: one intent, as an indeterminate outcome concerns the call; a
mapping an item.

The order is that of ``ensure``, for each item: known, chosen, found; then one create for all that are lacking, or for as many
as the handler takes at once. After an indeterminate outcome each item is looked up, and only what was frozen before it is ever
sent again. Where the vendor makes them by a job, the step waits for its end; what it refused is one failure that names each.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from integrations import clock
from integrations.connectors.base import Connector, Created, Found, JobAccepted, MatchKey
from integrations.enums import vendor_name
from integrations.errors import FieldProblem, Kind, ProviderError
from onboarding.engine.claiming import Claim, discard_choice, replace_params
from onboarding.engine.objects.ensure import (
    JOB_POLL,
    archived,
    find,
    inactive,
    is_stale,
    polled,
    resolve_indeterminate,
    send,
    storable,
)
from onboarding.engine.outcomes import Ambiguous, Ensured, Failed, IndeterminateOutcome, Outcome, Waiting
from onboarding.enums import IntentState, WaitsFor
from onboarding.models import Intent, MatchChoice, ObjectMapping
from onboarding.steps.handler import StepHandler

_MOST_NAMED = 10


def ensure_batch(claim: Claim, handler: StepHandler, connector: Connector, items: list[str]) -> Outcome:
    """Make sure that each item's object exists once, as the payload has it. Raises ``ProviderError`` or ``DeadlinePassed``.

    A person may link several objects at once: ids with commas between, in the order in which the lacking items are named.
    """
    intent = claim.intent
    assert intent is not None  # noqa: S101  (every ensuring step is claimed with one)
    if intent.state == IntentState.ACCEPTED:
        return _job(claim, handler, connector, intent)
    if not items:
        return _all({})
    chosen = _chosen(claim, handler, connector)
    asked_at = clock.now()
    in_hand = _in_hand(claim, handler, intent, items)
    found = _found(claim, handler, connector, intent, in_hand, chosen)
    if isinstance(found, Ambiguous):
        return found
    lacking = [item for item in in_hand if item not in found]
    found |= _as_chosen(found, lacking, chosen)
    lacking = [item for item in in_hand if item not in found]
    if failed := _associate(claim, handler, connector, found):
        return failed
    if not lacking:
        return _all(found, more=len(in_hand) < len(items))
    create_anyway = claim.choice is not None and not claim.choice.external_id and not is_stale(claim.choice, intent)
    if not create_anyway and (outcome := resolve_indeterminate(handler, connector, intent, asked_at)):
        return _with_names(outcome, claim, handler, lacking)
    if intent.indeterminate_since is None or create_anyway:
        _freeze(claim, handler, intent, lacking)
    sent = send(claim, handler, connector, replays=not create_anyway)
    if isinstance(sent, Failed) and sent.error.kind is Kind.CONFLICT and not sent.indeterminate:
        # Some exist already: those are met by a search that has caught up meanwhile.
        again = _found(claim, handler, connector, intent, in_hand, chosen)
        if isinstance(again, Ambiguous):
            return again
        return _all(again, more=True) if len(again) > len(found) else sent
    if isinstance(sent, Failed):
        return sent
    if isinstance(sent, JobAccepted):
        return storable(Waiting(WaitsFor.JOB, clock.now() + JOB_POLL / 2, sent.job_id), connector)
    return _made(sent, connector, intent, found, lacking, more=len(in_hand) < len(items))


def _in_hand(claim: Claim, handler: StepHandler, intent: Intent, items: list[str]) -> list[str]:
    """What is known, and of the rest as many as are taken at once: first those of a create whose outcome is indeterminate."""
    unknown = [item for item in items if item not in claim.known_parts]
    if not handler.most_at_once or len(unknown) <= handler.most_at_once:
        return items
    sent = {each["key"] for each in intent.params.get("items", ())} if intent.indeterminate_since else set()
    taken = set(sorted(unknown, key=lambda item: item not in sent)[: handler.most_at_once])
    return [item for item in items if item in claim.known_parts or item in taken]


def _chosen(claim: Claim, handler: StepHandler, connector: Connector) -> dict[str, Found]:
    """What a person linked, by id; all of it must be there."""
    if claim.choice is None or not claim.choice.external_id:
        return {}
    ids = _ids(claim.choice)
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
    """The items that are there, each looked at and brought up to date, or found by its own keys."""
    there: dict[str, Ensured] = {}
    gone: list[Ambiguous] = []
    known = [claim.known_parts[item].external_id for item in items if item in claim.known_parts]
    unknown = {item: _keys(claim, handler, item) for item in items if item not in claim.known_parts}
    connector.look_ahead(handler.kind, known, [key for keys in unknown.values() for key in keys])
    for item in items:
        facts = replace(claim.facts, item=item)
        mapping = claim.known_parts.get(item)
        if mapping and (made := connector.get(handler.kind, mapping.external_id)):
            if told := inactive(made, handler, connector):
                return replace(told, message=f"{handler.label(facts)}: {told.message}")
            changed = handler.update_of(mapping, facts) if handler.updates else {}
            if changed:
                connector.update(made.external_id, handler.restored(changed))
            there[item] = Ensured(made.external_id, made.url, mapping.how, updated=tuple(sorted(changed)))
            continue
        if mapping and not _is_decided(claim, mapping) and (told := archived(mapping.external_id, handler, connector)):
            gone.append(replace(told, message=f"{handler.label(facts)}: {told.message}"))
            continue
        keys = unknown[item] if item in unknown else _keys(claim, handler, item)
        outcome = find(handler, connector, intent, keys, rejected=claim.rejected)
        if isinstance(outcome, Ambiguous):
            decided = [each for each in outcome.candidates if each.external_id in chosen and not each.inactive]
            if len(decided) != 1:
                return replace(outcome, message=f"{handler.label(facts)}: {outcome.message}")
            outcome = Ensured(decided[0].external_id, decided[0].url, "person")
        if isinstance(outcome, Ensured):
            there[item] = outcome
    if gone:  # all at once: whoever wants new ones then has seen each
        return Ambiguous([made for told in gone for made in told.candidates], _listed(gone))
    return there


def _listed(gone: list[Ambiguous]) -> str:
    more = f" And {len(gone) - _MOST_NAMED} more." if len(gone) > _MOST_NAMED else ""
    return " ".join(told.message for told in gone[:_MOST_NAMED]) + more


def _is_decided(claim: Claim, mapping: ObjectMapping) -> bool:
    """A person has linked others than the one that is known, or asked for new ones after that was known."""
    chosen = claim.choice
    if chosen is None:
        return False
    if chosen.external_id:
        return mapping.external_id not in _ids(chosen)
    return chosen.chosen_at > mapping.created_at


def _ids(chosen: MatchChoice) -> list[str]:
    return [part.strip() for part in chosen.external_id.split(",") if part.strip()]


def _keys(claim: Claim, handler: StepHandler, item: str) -> list[MatchKey]:
    facts = replace(claim.facts, item=item)
    return handler.keys(facts, handler.reference(facts))


def _as_chosen(found: dict[str, Ensured], lacking: list[str], chosen: dict[str, Found]) -> dict[str, Ensured]:
    taken = {each.external_id for each in found.values()}
    free = [made for external_id, made in chosen.items() if external_id not in taken]
    if len(free) != len(lacking):
        return {}
    return {item: Ensured(made.external_id, made.url, "person") for item, made in zip(lacking, free, strict=True)}


def _associate(claim: Claim, handler: StepHandler, connector: Connector, found: Mapping[str, Ensured]) -> Failed | None:
    """Tie what was there to the others; what a create makes is tied by that."""
    for item, made in found.items():
        try:
            handler.associate(connector, made.external_id, replace(claim.facts, item=item))
        except ProviderError as error:
            return Failed(error, made=_all(dict(found)))
    return None


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


def _job(claim: Claim, handler: StepHandler, connector: Connector, intent: Intent) -> Outcome:
    """What became of each item once the job has ended. What was there before it is looked at again then."""
    wanted = handler.restored(intent.params)
    made = polled(intent, partial(connector.poll_many, handler.kind, intent.job_id, wanted))
    if not isinstance(made, Created):
        return made
    outcome = _made(made, connector, intent, {}, [], more=True)
    if not made.refused or not isinstance(outcome, Ensured):
        return outcome
    error = _refusal(claim, handler, connector, made.refused)
    return Failed(error, made=outcome) if made.items else Failed(error, job_ended=True)


def _refusal(claim: Claim, handler: StepHandler, connector: Connector, refused: Mapping[str, str]) -> ProviderError:
    """One failure for all items that the vendor refused, by their names."""
    named = {handler.label(replace(claim.facts, item=item)): why for item, why in refused.items()}
    listed = "; ".join(f"{name}: {why}" for name, why in list(named.items())[:_MOST_NAMED])
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    message = f"{vendor_name(connector.provider)} refused {len(named)} of them: {listed}{more}"
    return ProviderError(Kind.INVALID, message, fields=[FieldProblem(name, why, name) for name, why in named.items()])


def _made(
    sent: Created,
    connector: Connector,
    intent: Intent,
    found: dict[str, Ensured],
    lacking: list[str],
    *,
    more: bool = False,
) -> Outcome:
    made: dict[str, Ensured] = {}
    # Each item was looked for, and lacking, before the first send: what exists by the second one, the first has made.
    again = intent.indeterminate_since is not None
    for item, each in sent.items.items():
        how, ours = ("reference" if again else "email", again) if each.existed else ("created", True)
        outcome = storable(Ensured(each.external_id, each.url, how, created_by_us=ours), connector)
        if not isinstance(outcome, Ensured):
            return outcome
        made[item] = outcome
    # A repeated call was about what was lacking then; what the payload has gained since comes next.
    return _all(made | found, more=more or not made.keys() >= set(lacking))


def _all(items: dict[str, Ensured], *, more: bool = False) -> Ensured:
    return Ensured("", "", "batch", items=items, more=more)
