"""Find or create, written once: at most one object, however often and by whomever it is tried.

The order is: what we know, what a person chose, what can be found by the strongest key, and only then a create. A create whose
outcome is indeterminate is never simply sent again (docs/architecture.md, "The indeterminate create").
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings

from integrations import clock
from integrations.connectors.base import Connector, Created, CreateSafety, Found, JobAccepted, MatchKey
from integrations.enums import vendor_name
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.failpoints import failpoint
from onboarding.engine.claiming import RESERVATION_WAIT, Claim, discard_choice, reopen
from onboarding.engine.objects.intents import JOB_TIMEOUT
from onboarding.engine.outcomes import Ambiguous, Ensured, Failed, IndeterminateOutcome, Outcome, Waiting
from onboarding.enums import IntentState, WaitsFor
from onboarding.models import Intent, MatchChoice
from onboarding.steps.handler import StepHandler

JOB_POLL = timedelta(seconds=2)
LONGEST_ID, LONGEST_URL = 255, 500


def ensure(claim: Claim, handler: StepHandler, connector: Connector) -> Outcome:
    """Make sure that the step's object exists once, and is tied to the others. Raises ``ProviderError`` or ``DeadlinePassed``."""
    outcome = storable(_find_or_create(claim, handler, connector), connector)
    if isinstance(outcome, Ensured):
        outcome = replace(outcome, awaited=handler.finished_by is not None and not outcome.done)
        failpoint("before-tie")
        try:
            handler.associate(connector, outcome.external_id, claim.facts)
        except ProviderError as error:
            return Failed(error, made=outcome)
        except DeadlinePassed:
            return Failed(
                ProviderError(Kind.SERVER, "The time for this step was over before everything was sent."), made=outcome
            )
    return outcome


def _find_or_create(claim: Claim, handler: StepHandler, connector: Connector) -> Outcome:
    intent = claim.intent
    assert intent is not None  # noqa: S101  (every ensuring step is claimed with one)
    if claim.known_id:
        if known := _known(claim, handler, connector):
            return known
        if not reopen(claim, handler):
            return Waiting(WaitsFor.RESERVATION, clock.now() + RESERVATION_WAIT)
    chosen, note = claim.choice, ""
    if chosen and chosen.external_id:
        if there := _as_chosen(chosen, handler, connector):
            return there
        note = f"{connector.provider} has no {handler.kind} {chosen.external_id}, which was chosen. "
        discard_choice(chosen)
        chosen = None
    if intent.state == IntentState.ACCEPTED:
        return _poll(handler, connector, intent)
    create_anyway = chosen is not None and not is_stale(chosen, intent)
    seek = partial(find, handler, connector, intent, rejected=claim.rejected, inactive_too=not create_anyway)
    keys = handler.keys(claim.facts, intent.reference)
    if create_anyway:
        keys = [key for key in keys if key.name == "reference"]
    asked_at = clock.now()
    outcome = seek(keys)
    if outcome is None and not create_anyway:
        outcome = resolve_indeterminate(handler, connector, intent, asked_at)
    if isinstance(outcome, Ambiguous | IndeterminateOutcome):
        outcome = replace(outcome, message=note + outcome.message)
    if outcome:
        return outcome
    made = _create(claim, handler, connector, lambda: seek(keys), replays=not create_anyway)
    if isinstance(made, Ensured) and made.created_by_us and made.external_id == claim.known_id:
        return _replayed_the_gone(claim, handler, connector) or made
    return made


def _as_chosen(chosen: MatchChoice, handler: StepHandler, connector: Connector) -> Ensured | Ambiguous | None:
    """The object that a person chose; None where it is not there (any more)."""
    found = connector.get(handler.kind, chosen.external_id)
    if found is None:
        return None
    told = _merged(found, chosen.external_id, handler, connector) or inactive(found, handler, connector)
    return told or Ensured(found.external_id, found.url, "person", done=found.done)


def _known(claim: Claim, handler: StepHandler, connector: Connector) -> Ensured | Ambiguous | None:
    """The object that is known, brought up to date where the payload has changed; None where it is gone.

    What was archived or merged since is a person's to judge: None as well once they have.
    """
    found = connector.get(handler.kind, claim.known_id)
    if found is None:
        return None if _is_decided(claim) else archived(claim.known_id, handler, connector)
    if told := _merged(found, claim.known_id, handler, connector) or inactive(found, handler, connector):
        return None if _is_decided(claim) else told
    changed = handler.update_of(claim.mapping, claim.facts) if claim.mapping else {}
    if changed:
        try:
            connector.update(claim.known_id, handler.restored(changed))
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise
    return Ensured(found.external_id, found.url, claim.known_from, done=found.done, updated=tuple(sorted(changed)))


def _is_decided(claim: Claim) -> bool:
    """A person has named another object than the one that is known, or asked for a new one after that was known."""
    chosen = claim.choice
    if chosen is None or chosen.external_id == claim.known_id:
        return False
    known_since = claim.mapping.created_at if claim.mapping else claim.run.created_at
    return bool(chosen.external_id) or chosen.chosen_at > known_since


def archived(known_id: str, handler: StepHandler, connector: Connector) -> Ambiguous | None:
    """What is known and not shown any more, where somebody has put it out of use; None where it is gone for good."""
    there = connector.archived(handler.kind, known_id)
    return inactive(replace(there, inactive=there.inactive or "archived"), handler, connector) if there else None


def inactive(found: Found, handler: StepHandler, connector: Connector) -> Ambiguous | None:
    """Whoever put it out of use may have meant it: it is neither a success nor a reason to make another one."""
    if not found.inactive:
        return None
    message = f"{vendor_name(connector.provider)} has {found.inactive} the {handler.kind} “{found.label}” ({found.external_id})."
    return Ambiguous([found], f"{message} Restore it there and then use it, or have a new one created.")


def _merged(found: Found, asked_for: str, handler: StepHandler, connector: Connector) -> Ambiguous | None:
    """A vendor that answers for one object with another has merged the two: the other may hold somebody else's data."""
    if found.external_id == asked_for:
        return None
    survivor = f"“{found.label}” ({found.external_id})"
    message = f"{vendor_name(connector.provider)} has merged the {handler.kind} {asked_for} into {survivor}."
    return Ambiguous([found], f"{message} Is that this customer's?")


def _replayed_the_gone(claim: Claim, handler: StepHandler, connector: Connector) -> Outcome | None:
    """A vendor that still remembers the key answers with the object that it no longer has."""
    if connector.kind(handler.kind).safety is not CreateSafety.IDEMPOTENCY_KEY:
        return None
    return IndeterminateOutcome(
        f"{connector.provider} no longer has the {handler.kind} {claim.known_id}, and answers with it when asked for "
        "another one: restore it there, or link another one."
    )


def storable(outcome: Outcome, connector: Connector) -> Outcome:
    """An id that fits no column is no id that the vendor documents: the create's outcome is indeterminate. A long
    link is left out.
    """
    match outcome:
        case Ensured(external_id=name) | Waiting(job_id=name) if len(name) > LONGEST_ID:
            error = ProviderError(
                Kind.MALFORMED, f"{connector.provider} names an id of {len(name)} characters.", effect_possible=True
            )
            return Failed(error, sent=True)
        case Ensured(url=url) if len(url) > LONGEST_URL:
            return replace(outcome, url="")
    return outcome


def is_stale(chosen: MatchChoice, intent: Intent) -> bool:
    """A person's "nothing is there, create it" says nothing about a create that was sent after they looked."""
    return intent.indeterminate_since is not None and chosen.chosen_at < intent.indeterminate_since


def find(
    handler: StepHandler,
    connector: Connector,
    intent: Intent,
    keys: list[MatchKey],
    *,
    rejected: frozenset[str],
    inactive_too: bool = True,
) -> Outcome | None:
    """``inactive_too`` false: a person has seen what is out of use, and said that a new one is to be made."""
    for key in keys:
        found = [each for each in connector.find(handler.kind, key) if each.external_id not in rejected]
        found = [each for each in found if inactive_too or not each.inactive]
        # Under our reference, after a create whose answer was lost: that create made it.
        ours = key.name == "reference" and intent.indeterminate_since is not None
        if key.name == "id" and len(found) == 1 and (merged := _merged(found[0], key.value, handler, connector)):
            return merged
        if len(found) == 1 and (told := inactive(found[0], handler, connector)):
            return told
        if outcome := _judge(found, key, ours=ours, wary=bool(rejected)):
            return outcome
    return None


def _judge(found: list[Found], key: MatchKey, *, ours: bool, wary: bool) -> Outcome | None:
    """One match is linked, several are never guessed among, and a mere namesake is shown to a person.

    ``wary``: a match of this customer was wrong before, so that another one is a person's to judge too.
    """
    if not found:
        return None
    if len(found) == 1 and wary and key.name != "reference":
        return Ambiguous(found, f"Another match was unlinked before. Is “{found[0].label}” this customer's?")
    if len(found) == 1 and found[0].conclusive:
        only = found[0]
        return Ensured(only.external_id, only.url, key.name, created_by_us=ours, done=only.done)
    if len(found) == 1:
        return Ambiguous(found, f"“{found[0].label}” has the same name, but nothing shows that it is this customer.")
    return Ambiguous(found, f"{len(found)} objects have the same {key.name} “{key.value}”.")


def resolve_indeterminate(
    handler: StepHandler, connector: Connector, intent: Intent, asked_at: datetime
) -> Outcome | None:
    """An indeterminate create whose object was not found: wait out the vendor's search lag, then decide.

    ``asked_at``: when the search began, which alone says what it can have seen, however long its answer took.

    None: the same create may be sent again, as the vendor recognises it by its key.
    """
    if intent.indeterminate_since is None:
        return None
    kind = connector.kind(handler.kind)
    caught_up: datetime = intent.indeterminate_since + timedelta(seconds=kind.search_lag)
    # What this holder sends, it sends before its send_by; parameters and key are as old as created_at.
    forgotten = intent.created_at + timedelta(seconds=kind.key_lifetime)
    replayable = kind.safety is CreateSafety.IDEMPOTENCY_KEY and intent.send_by <= forgotten
    if replayable and caught_up + timedelta(seconds=settings.STEP_SECONDS) > forgotten:
        return None  # the key would be forgotten before the search has caught up
    if asked_at <= caught_up:
        return Waiting(WaitsFor.HOLD_OFF, caught_up + timedelta(milliseconds=50))
    if kind.safety is CreateSafety.UNIQUE_UPSERT or replayable or kind.harmless:
        return None
    return IndeterminateOutcome(
        f"{connector.provider} may have carried out an earlier create of “{intent.reference}”, it cannot be found, "
        "and a second one might be a duplicate."
    )


def send(claim: Claim, handler: StepHandler, connector: Connector, *, replays: bool) -> Created | JobAccepted | Failed:
    """Create once. ``replays``: an indeterminate outcome, where there is one, is not resolved by a person."""
    intent = claim.intent
    assert intent is not None  # noqa: S101  (as above)
    try:
        made = connector.create(handler.restored(intent.params), intent.reference)
    except ProviderError as error:
        # A vendor that refuses a replay says nothing about the create that it replays; one with unique keys does.
        by_key = connector.kind(handler.kind).safety is CreateSafety.IDEMPOTENCY_KEY
        return Failed(error, sent=True, indeterminate=replays and by_key and intent.indeterminate_since is not None)
    failpoint("after-answer")
    return made


def _create(
    claim: Claim, handler: StepHandler, connector: Connector, seek: Callable[[], Outcome | None], *, replays: bool
) -> Outcome:
    match send(claim, handler, connector, replays=replays):
        case Failed(error=error) as failed if error.kind is Kind.CONFLICT:
            # The vendor enforces a key that somebody else holds, or that our search has not caught up with.
            return seek() or _existing(claim, handler, connector, error) or failed
        case Failed() as failed:
            return failed
        case JobAccepted(job_id):
            return Waiting(WaitsFor.JOB, clock.now() + JOB_POLL / 2, job_id)
        case Created(external_id, url):
            return Ensured(external_id, url, "created", created_by_us=True)


def _existing(claim: Claim, handler: StepHandler, connector: Connector, error: ProviderError) -> Outcome | None:
    """The object that the vendor names in a conflict, where it is there and nobody said that it is another customer's."""
    if not error.existing_id or error.existing_id in claim.rejected:
        return None
    found = connector.get(handler.kind, error.existing_id)
    if found is None:
        return None
    if told := _merged(found, error.existing_id, handler, connector) or inactive(found, handler, connector):
        return told
    ours = (
        error.existing_by == "reference" and claim.intent is not None and claim.intent.indeterminate_since is not None
    )
    conclusive = found.conclusive and bool(error.existing_by)
    return _judge(
        [replace(found, conclusive=conclusive)], MatchKey(error.existing_by, ""), ours=ours, wary=bool(claim.rejected)
    )


def _poll(handler: StepHandler, connector: Connector, intent: Intent) -> Outcome:
    made = polled(intent, partial(connector.poll, handler.kind, intent.job_id))
    return Ensured(made.external_id, made.url, "created", created_by_us=True) if isinstance(made, Created) else made


def polled(intent: Intent, ask: Callable[[], Created | None]) -> Created | Outcome:
    """What the job has made by now, or how the step goes on without it."""
    failpoint("before-poll")
    try:
        made = ask()
        failpoint("after-poll")
    except ProviderError as error:
        if error.kind is Kind.JOB_FAILED:
            return Failed(error, job_ended=True)
        if error.kind not in (Kind.NOT_FOUND, Kind.INVALID):
            raise
        return _lost_job()
    if made:
        return made
    now = clock.now()
    if intent.job_started_at and now - intent.job_started_at > JOB_TIMEOUT:
        return _lost_job()
    # Ever further apart: each look is a claim, and a job that takes minutes would fill the run's history with them.
    so_far = now - intent.job_started_at if intent.job_started_at else JOB_POLL
    return Waiting(WaitsFor.JOB, now + max(JOB_POLL, so_far / 2))


def _lost_job() -> Outcome:
    """The vendor does not know its job, or never ends it: what it made is looked for, as after any indeterminate outcome."""
    return Waiting(WaitsFor.HOLD_OFF, clock.now(), job_lost=True)
