"""Claiming a step: lease, fencing token, reservation and intent, in one short transaction."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction as db

from integrations import clock, pace
from integrations.errors import DeadlinePassed
from integrations.models import Connection
from integrations.words import Breaker
from onboarding import audit
from onboarding.engine.facts import digest_of, facts_of
from onboarding.engine.failpoints import failpoint
from onboarding.engine.locks import lock_run, retried
from onboarding.engine.policy import ATTEMPTS_BEFORE_TICKET
from onboarding.engine.upkeep import identity_of, is_another
from onboarding.models import (
    Attempt,
    Intent,
    MatchChoice,
    ObjectMapping,
    OnboardingTransaction,
    RejectedMatch,
    Reservation,
    Step,
)
from onboarding.signals import step_blocked
from onboarding.steps.base import EnsureHandler, Facts, StepHandler, UpdateHandler
from onboarding.steps.registry import HANDLERS
from onboarding.words import Category, IntentState, StepState, WaitsFor

SLOT_WAIT = timedelta(seconds=1)
RESERVATION_WAIT = timedelta(seconds=3)


@dataclass(frozen=True)
class Claim:
    """What the holder of a step may do, and until when. ``deadline`` is monotonic: no write is sent after it."""

    step: Step
    run: OnboardingTransaction
    handler: StepHandler
    connection: Connection | None
    facts: Facts
    token: int
    deadline: float
    match_key: str = ""
    """Of a shared object: the reservation that this claim holds."""
    is_past: bool = False
    """The facts are those that an unsettled create was made from; the payload speaks of another object now."""
    rejected: frozenset[str] = frozenset()
    """Ids that a person said are not this customer's."""
    known_id: str = ""
    """The object's id where it is known already: from our mapping, or from another run's reservation."""
    known_from: str = ""
    mapping: ObjectMapping | None = None
    """Where the id is known from our own mapping."""
    intent: Intent | None = None
    choice: MatchChoice | None = None
    known_parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of a batch: (id, how it was matched) of what is mapped already, by item."""

    @property
    def lease_deadline(self) -> float:
        """Monotonic: from then on another may hold the step."""
        return float(self.deadline + settings.LEASE_SECONDS - settings.STEP_SECONDS)

    @property
    def slot_holder(self) -> str:
        return f"step:{self.step.pk}:{self.token}"


@retried
def claim(step_pk: int) -> Claim | None:
    """Claim the step if it is due and free; None where somebody else has it or it must wait."""
    run_pk = Step.objects.filter(pk=step_pk).values_list("transaction_id", flat=True).first()
    if run_pk is None:
        return None
    with db.atomic():
        run = lock_run(run_pk)
        failpoint("before-intent")
        claimed = claim_locked(run, Step.objects.select_related("connection").get(pk=step_pk))
    failpoint("after-intent")
    return claimed


def claim_locked(run: OnboardingTransaction, step: Step) -> Claim | None:
    """As ``claim``, inside a transaction that holds the run locked."""
    now = clock.now()
    if not _is_claimable(run, step, now):
        return None
    if step.state == StepState.RUNNING and not _take_over(run, step, now):
        return None
    deadline = time.monotonic() + settings.STEP_SECONDS
    handler = HANDLERS[step.uses]
    send_by = now + timedelta(seconds=settings.STEP_SECONDS)
    current = _facts_in_hand(run, step, handler)
    facts = _as_it_was(run, step, handler, current)
    details: dict[str, Any] = {}
    if isinstance(handler, EnsureHandler) and step.connection:
        prepared = _prepare(run, step, handler, facts, step.connection, now, send_by)
        if prepared is None:
            return None
        details = prepared
    if step.connection and not pace.acquire(
        step.connection, f"step:{step.pk}:{step.token + 1}", now + timedelta(seconds=settings.LEASE_SECONDS)
    ):
        _wait(run, step, WaitsFor.SLOT, max(now + SLOT_WAIT, step.connection.paused_until or now))
        return None
    step.claim(at=now, lease_until=now + timedelta(seconds=settings.LEASE_SECONDS), send_by=send_by)
    step.save()
    Attempt.objects.create(step=step, token=step.token, started_at=now)
    if intent := details.get("intent"):
        intent.token, intent.send_by = step.token, send_by
        intent.save()
    audit.record(run, "onboarding.step.claimed", data={"step": step.key, "token": step.token})
    is_past = facts is not current
    return Claim(step, run, handler, step.connection, facts, step.token, deadline, is_past=is_past, **details)


def _facts_in_hand(run: OnboardingTransaction, step: Step, handler: StepHandler) -> Facts:
    """The facts for the item in hand: the one where the step stopped, else the first."""
    facts = facts_of(run, step)
    if isinstance(handler, EnsureHandler) and facts.item not in (items := handler.items(facts)):
        step.item = items[0]
        facts = replace(facts, item=step.item)
    return facts


def _as_it_was(run: OnboardingTransaction, step: Step, handler: StepHandler, facts: Facts) -> Facts:
    """While a create's outcome is unknown, the step is about what that was to make, whomever the payload speaks of by now."""
    if not isinstance(handler, EnsureHandler) or not identity_of(handler, facts):
        return facts
    unsettled = Intent.objects.filter(step=step, item=facts.item, state__in=(IntentState.OPEN, IntentState.ACCEPTED))
    intent = unsettled.first()
    if intent is None or intent.reference == handler.reference(facts):
        return facts
    former = (replace(facts, content=snapshot.content) for snapshot in run.snapshots.order_by("-version"))
    return next((then for then in former if handler.reference(then) == intent.reference), facts)


def _is_claimable(run: OnboardingTransaction, step: Step, now: datetime) -> bool:
    if step.is_done or not may_be_done(run, step):
        return False
    if step.connection and step.connection.breaker == Breaker.OPEN:
        return False
    if step.state == StepState.RUNNING:
        return step.lease_until is not None and step.lease_until < now
    if step.waits_for == WaitsFor.RESERVATION:
        return True  # asking early costs a look, and the hint says that it may be free
    return step.due_at is not None and step.due_at <= now


def may_be_done(run: OnboardingTransaction, step: Step) -> bool:
    """Nothing is begun in a run that is on hold or over, but for what tells others how it stands."""
    handler = HANDLERS[step.uses]
    if isinstance(handler, UpdateHandler) and handler.follows_run and step.written:
        return True
    return not (run.held_at or run.is_over)


def _take_over(run: OnboardingTransaction, step: Step, now: datetime) -> bool:
    """The former holder's lease ran out. That was an attempt: work that kills its worker must not go round for ever."""
    step.attempts += 1
    Attempt.objects.filter(step=step, token=step.token, finished_at=None).update(
        finished_at=now, outcome="lease-expired"
    )
    audit.record(run, "onboarding.step.lease-expired", data={"step": step.key, "token": step.token})
    if step.attempts < ATTEMPTS_BEFORE_TICKET:
        return True
    step.category, step.http_status = Category.STALLED, None
    step.message = f"The worker was lost {step.attempts} times while it tried to {HANDLERS[step.uses].title}."
    step.attempts = 0
    step.block(due_at=None)
    step.save()
    audit.record(run, "onboarding.step.blocked", data={"step": step.key, "category": step.category})
    step_blocked.send(Step, step=step, fallback=False)
    return False


def _wait(
    run: OnboardingTransaction, step: Step, waits_for: WaitsFor, until: datetime, waits_on: int | None = None
) -> None:
    """Waiting for a slot or a turn is no attempt. A blocked step stays blocked: its ticket is open."""
    step.waits_on_id = waits_on
    if step.state == StepState.BLOCKED:
        step.due_at, step.hinted_until = until, None
    else:
        if step.waits_for != waits_for:
            audit.record(run, "onboarding.step.waiting", data={"step": step.key, "for": waits_for})
        step.wait(waits_for=waits_for, due_at=until)
    step.save()


def _prepare(
    run: OnboardingTransaction,
    step: Step,
    handler: EnsureHandler,
    facts: Facts,
    connection: Connection,
    now: datetime,
    send_by: datetime,
) -> dict[str, Any] | None:
    """Everything the holder needs to know; None where another run of the customer has its turn."""
    match_key = handler.match_key(facts)
    mapping, another = step.mappings.filter(item=facts.item).first(), False
    about = {"connection": connection, "kind": handler.kind, "match_key": match_key}
    details: dict[str, Any] = {
        "match_key": match_key,
        "rejected": frozenset(RejectedMatch.objects.filter(**about).values_list("external_id", flat=True)),
        "choice": MatchChoice.objects.filter(**about).first(),
    }
    if handler.parts(facts) is not None:
        rows = step.mappings.values_list("item", "external_id", "how")
        details["known_parts"] = {item: (external_id, how) for item, external_id, how in rows}
    elif mapping and not (another := is_another(handler, mapping, facts)):
        details |= {"known_id": mapping.external_id, "known_from": mapping.how, "mapping": mapping}
    elif handler.shared:
        reservation = reserve(connection, handler.kind, match_key, step, now)
        if not reservation.external_id and reservation.holder_id != step.pk:
            _wait(run, step, WaitsFor.RESERVATION, now + RESERVATION_WAIT, reservation.holder_id)
            return None
        if reservation.external_id:
            details |= {"known_id": reservation.external_id, "known_from": "reservation"}
    details["intent"] = _intent(run, step, handler, facts, now, send_by, another=another)
    return details


def reserve(connection: Connection, kind: str, match_key: str, step: Step, now: datetime) -> Reservation:
    """The turn with a shared object: ours, or another run's, or over with the object's id known."""
    reservation, _ = Reservation.objects.get_or_create(
        connection=connection, kind=kind, match_key=match_key, defaults={"holder": step, "created_at": now}
    )
    if not reservation.external_id and reservation.holder_id is None:
        free = Reservation.objects.filter(pk=reservation.pk, holder=None, external_id="")
        if free.update(holder=step):
            reservation.holder = step
    return reservation


@retried
def reopen(claim: Claim, handler: EnsureHandler) -> bool:
    """The object that was known is gone at the vendor: take the turn to make it again. False where another run was faster."""
    if not handler.shared:
        return True
    mine = Reservation.objects.filter(connection=claim.connection, kind=handler.kind, match_key=claim.match_key)
    if mine.filter(external_id="", holder=claim.step).exists():
        return True
    gone = mine.filter(external_id=claim.known_id)
    return bool(gone.update(external_id="", holder=claim.step))


@retried
def narrow(claim: Claim, params: dict[str, Any]) -> None:
    """Freeze other parameters before a first send, as some of a batch are there already. A retry carries what it carried."""
    intent = claim.intent
    assert intent is not None  # noqa: S101  (a batch is claimed with one)
    changed = {"params": params, "request_hash": digest_of(params), "created_at": clock.now()}
    if not Intent.objects.filter(pk=intent.pk, token=claim.token).update(**changed):
        raise DeadlinePassed
    for name, value in changed.items():
        setattr(intent, name, value)


@retried
def forget(choice: MatchChoice) -> None:
    """The object that a person chose is not there (any more): the choice must not stand in the way of another."""
    MatchChoice.objects.filter(pk=choice.pk, external_id=choice.external_id).delete()


def _intent(
    run: OnboardingTransaction,
    step: Step,
    handler: EnsureHandler,
    facts: Facts,
    now: datetime,
    send_by: datetime,
    *,
    another: bool,
) -> Intent:
    """The step's intent. Parameters are frozen from the first possible send until it is sure that nothing came of it.

    ``another``: what it made is an object that the payload speaks of no more.
    """
    intent = Intent.objects.filter(step=step, item=facts.item).first() or Intent(
        transaction=run, step=step, item=facts.item, created_at=now, send_by=send_by, state=IntentState.NO_EFFECT
    )
    if intent.state == IntentState.DONE and another:
        intent.state = IntentState.NO_EFFECT
    if intent.state == IntentState.DONE:
        # Its object vanished, or is only looked at: a lost holder must be noticed again.
        intent.state = IntentState.OPEN
        if handler.parts(facts) is not None:
            intent.unknown_since = None  # settled, and what a batch lacks now is another call
    elif intent.state == IntentState.NO_EFFECT:
        intent.reference = handler.reference(facts)
        intent.params = handler.params(facts)
        intent.request_hash = digest_of(intent.params)
        intent.created_at = now
        intent.unknown_since = None
        intent.state = IntentState.OPEN
    elif intent.state == IntentState.OPEN and intent.token == step.token and intent.unknown_since is None:
        # Its holder was lost between writing the intent and telling us how it ended: it may send until its send_by.
        intent.unknown_since = intent.send_by
    return intent
