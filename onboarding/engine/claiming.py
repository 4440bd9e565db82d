"""Claiming a step: lease, fencing token, reservation and intent, in one short transaction."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings

from integrations import clock
from integrations.database.instances import instance_of
from integrations.enums import Breaker
from integrations.errors import DeadlinePassed
from integrations.failpoints import failpoint
from integrations.models import ApiCall, Connection
from onboarding import audit, working_set
from onboarding.engine import compensation, connection_queue
from onboarding.engine.facts import facts_of, mappings_of
from onboarding.engine.locks import locked_run_of, retried
from onboarding.engine.policy import ATTEMPTS_BEFORE_TICKET
from onboarding.engine.reconcile import facts_for_reference
from onboarding.engine.runs import prerequisites
from onboarding.enums import INDETERMINATE, LEASED, Category, IntentState, Status, StepState, WaitsFor
from onboarding.models import (
    Attempt,
    Intent,
    MatchChoice,
    ObjectMapping,
    OnboardingTransaction,
    Reservation,
    Step,
)
from onboarding.signals import step_blocked
from onboarding.steps.handler import Facts, StepHandler, digest_of
from onboarding.steps.registry import HANDLERS

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
    """The facts are those that an indeterminate create was made from; the payload speaks of another object now."""
    rejected: frozenset[str] = frozenset()
    """Ids that a person said are not this customer's."""
    known_id: str = ""
    """The object's id where it is known already: from our mapping, or from another run's reservation."""
    known_from: str = ""
    mapping: ObjectMapping | None = None
    """Where the id is known from our own mapping."""
    intent: Intent | None = None
    choice: MatchChoice | None = None
    known_parts: Mapping[str, ObjectMapping] = field(default_factory=dict)
    """Of a batch: what is mapped already, by item."""
    calls: list[ApiCall] = field(default_factory=list)
    """Records of what was asked under it, yet to be written down with the result."""
    plan: compensation.Plan | None = None
    """What to remove, where the claim compensates."""
    is_limited: bool = False
    """It holds a place at its connection, which must be given back, even if there is no limit any more."""
    slot_holder: str = ""
    """Who holds that place: this claim alone. Two workers may claim one step at once, and the one that comes too late gives back
    what it took.
    """

    @property
    def lease_deadline(self) -> float:
        """Monotonic: from then on another may hold the step."""
        return float(self.deadline + settings.LEASE_SECONDS - settings.STEP_SECONDS)


@retried
def claim(step_pk: int, known: OnboardingTransaction | None = None) -> Claim | None:
    """Claim the step if it is due and free; None where somebody else has it or it must wait.

    ``known``: its run as this worker last had it.
    """
    try:
        with locked_run_of(step_pk, lean=True, known=known) as run:
            return claim_locked(run, working_set.of(run).step(step_pk))
    except OnboardingTransaction.DoesNotExist:
        return None


def claim_locked(run: OnboardingTransaction, step: Step) -> Claim | None:
    """As ``claim``, inside a transaction that holds the run locked."""
    now, rows = clock.now(), working_set.of(run)
    rows.fresh_connection(step)
    compensates = compensation.is_compensation(run, step)
    if not _is_claimable(run, step, now) or not (compensates or prerequisites.may_begin(run, step, now)):
        return None
    if step.connection and step.due_at and connection_queue.is_paused_for_a_moment(step.connection):
        # It stays due: who gives out the places then finds it.
        if step.enqueued_until:
            step.enqueued_until = None
            rows.save(step)
        return None
    if step.state in LEASED and step.lease_until and not _take_over(run, step, now):
        return None
    deadline = time.monotonic() + settings.STEP_SECONDS
    handler = HANDLERS[step.uses]
    send_by = now + timedelta(seconds=settings.STEP_SECONDS)
    facts, past = _facts_in_hand(run, step, handler), None
    details: dict[str, Any] = {}
    if compensates:
        plan = compensation.prepare(run, step, now)
        if isinstance(plan, compensation.HeldByOtherRun):
            _wait(run, step, WaitsFor.RESERVATION, plan.until, plan.holder)
            return None
        details = {"plan": plan}
    elif handler.makes_objects and step.connection:
        # A step that nobody has claimed yet has none.
        intent = rows.intent(step, facts.item) if step.token else None
        past = _facts_of_sent_create(run, handler, facts, intent)
        facts = past or facts
        prepared = _prepare(run, step, handler, facts, intent, now, send_by)
        if prepared is None:
            return None
        details = prepared
    holder = f"step:{step.pk}:{step.token + 1}:{uuid4().hex[:12]}"
    if step.connection and not rows.take_slot(step.connection, holder, now + timedelta(seconds=settings.LEASE_SECONDS)):
        # In line at once: whoever gives a place back tells the next one.
        _wait(run, step, WaitsFor.SLOT, max(now, step.connection.paused_until or now))
        return None
    lease_until = now + timedelta(seconds=settings.LEASE_SECONDS)
    if compensates:
        step.claim_compensation(lease_until=lease_until, send_by=send_by)
    else:
        step.claim(at=now, lease_until=lease_until, send_by=send_by)
    rows.save(step)
    rows.begin_attempt(step, now)
    if intent := details.get("intent"):
        intent.token, intent.send_by = step.token, send_by
        rows.save_intent(intent)
    audit.record(run, "onboarding.step.claimed", data={"step": step.key, "token": step.token})
    failpoint("before-intent", step.uses)
    details["is_past"] = past is not None
    details["is_limited"] = step.connection is not None and step.connection.limit is not None
    details["slot_holder"] = holder
    return Claim(step, run, handler, step.connection, facts, step.token, deadline, **details)


def _facts_in_hand(run: OnboardingTransaction, step: Step, handler: StepHandler) -> Facts:
    """The facts for the item in hand: the one where the step stopped, else the first."""
    facts = facts_of(run, step)
    if handler.makes_objects and facts.item not in (items := handler.items(facts)):
        step.item = items[0]
        facts = replace(facts, item=step.item)
    return facts


def _facts_of_sent_create(
    run: OnboardingTransaction, handler: StepHandler, facts: Facts, intent: Intent | None
) -> Facts | None:
    """While a create's outcome is indeterminate, the step is about what that was to make, whomever the payload speaks of by now.

    None where that is the same.
    """
    if intent is None or intent.state not in INDETERMINATE:
        return None
    if not handler.identity_of(facts) or intent.reference == handler.reference(facts):
        return None
    return facts_for_reference(run, handler, facts, facts.item, intent.reference)


def _is_claimable(run: OnboardingTransaction, step: Step, now: datetime) -> bool:
    if step.is_done or not may_be_done(run, step):
        return False
    if step.connection and step.connection.breaker == Breaker.OPEN:
        return False
    if step.state in LEASED and step.lease_until:
        return step.lease_until < now
    if step.waits_for == WaitsFor.RESERVATION:
        return True  # asking early costs one query, and the message says that it may be free
    if step.waits_for == WaitsFor.NOTHING:
        return (
            step.due_at is not None
        )  # due since it became ready, by the clock of another process, which may be ahead of ours
    return step.due_at is not None and step.due_at <= now


def may_be_done(run: OnboardingTransaction, step: Step) -> bool:
    """Nothing is begun in a run that is on hold or over, but for what tells others how it stands."""
    told_once = step.written or run.status == Status.CANCELLED  # the first telling was under way then
    if told_once and HANDLERS[step.uses].reports_run_status:
        return True
    if run.is_rolling_back:
        return compensation.is_compensation(run, step) and step.state != StepState.COMPENSATED
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
    working_set.of(run).save(step)
    audit.record(run, "onboarding.step.blocked", data={"step": step.key, "category": step.category})
    step_blocked.send(Step, step=step, fallback=False)
    return False


def _wait(
    run: OnboardingTransaction, step: Step, waits_for: WaitsFor, until: datetime, waits_on: int | None = None
) -> None:
    """Waiting for a slot or a reservation is no attempt. A blocked step stays blocked: its ticket is open."""
    step.waits_on_id = waits_on
    if step.state == StepState.BLOCKED:
        step.due_at, step.enqueued_until = until, None
    else:
        if step.waits_for != waits_for:
            audit.record(run, "onboarding.step.waiting", data={"step": step.key, "for": waits_for})
        step.wait(waits_for=waits_for, due_at=until)
    working_set.of(run).save(step)


def _prepare(
    run: OnboardingTransaction,
    step: Step,
    handler: StepHandler,
    facts: Facts,
    known: Intent | None,
    now: datetime,
    send_by: datetime,
) -> dict[str, Any] | None:
    """Everything the holder needs to know; None where another run of the customer holds the reservation."""
    connection = step.connection
    assert connection  # noqa: S101  (the caller has looked)
    match_key, left, another = handler.match_key(facts), None, False
    mapped = mappings_of(run, step)
    mapping = next((each for each in mapped if each.item == facts.item), None)
    rows = working_set.of(run)
    rejected, choice = rows.decided(connection, handler.kind, match_key)
    details: dict[str, Any] = {"match_key": match_key, "rejected": rejected, "choice": choice}
    if handler.parts(facts) is not None:
        details["known_parts"] = {each.item: each for each in mapped}
    elif mapping and not (another := handler.is_another(mapping, facts)):
        details |= {"known_id": mapping.external_id, "known_from": mapping.how, "mapping": mapping}
        if handler.shared and handler.update_of(mapping, facts):
            _register_new_key(mapping, match_key, step, now)
    elif handler.shared:
        reservation, left = rows.claim_reservation(connection, handler.kind, match_key, step, now)
        if not reservation.external_id and reservation.holder_id != step.pk:
            _wait(run, step, WaitsFor.RESERVATION, now + RESERVATION_WAIT, reservation.holder_id)
            return None
        if reservation.external_id:
            details |= {"known_id": reservation.external_id, "known_from": "reservation"}
    intent = details["intent"] = _intent(run, step, handler, facts, now, send_by, known=known, another=another)
    if left:
        _adopt_abandoned_create(run, intent, left, step, now)
    return details


def _register_new_key(mapping: ObjectMapping, match_key: str, step: Step, now: datetime) -> None:
    """The customer may go by another key (their domain, say) from now on: who looks for that links this object.

    Before it is written at the vendor, whose search lags behind.
    """
    Reservation.objects.get_or_create(
        connection=mapping.connection,
        kind=mapping.kind,
        match_key=match_key,
        defaults={"holder": step, "external_id": mapping.external_id, "url": mapping.url, "created_at": now},
    )


def _adopt_abandoned_create(run: OnboardingTransaction, intent: Intent, left: Step, step: Step, now: datetime) -> None:
    """The former holder of the reservation may still be sending, or have sent: its indeterminate create is ours, too.

    Saved at once: the reservation is ours from now on, and nobody would see the indeterminate create again.
    """
    earlier = left.intents.indeterminate().filter(reference=intent.reference)
    for each in earlier:
        since = now if each.state == IntentState.ACCEPTED else each.indeterminate_since or each.send_by
        intent.indeterminate_since = max(since, intent.indeterminate_since or since)
        intent.created_at = min(intent.created_at, each.created_at)
        intent.token = step.token
        working_set.of(run).save_intent(intent)


@retried
def reopen(claim: Claim, handler: StepHandler) -> bool:
    """The object that was known is gone at the vendor: claim the reservation to create it again. False where another
    run was faster.
    """
    if not handler.shared:
        return True
    mine = Reservation.objects.filter(connection=claim.connection, kind=handler.kind, match_key=claim.match_key)
    if mine.filter(external_id="", holder=claim.step).exists():
        return True
    gone = mine.filter(external_id=claim.known_id)
    return bool(gone.update(external_id="", holder=claim.step))


@retried
def replace_params(claim: Claim, params: dict[str, Any]) -> None:
    """Freeze other parameters before a first send, as some of a batch are there already. A retry carries what it carried."""
    intent = claim.intent
    assert intent is not None  # noqa: S101  (a batch is claimed with one)
    changed = {"params": params, "request_hash": digest_of(params), "created_at": clock.now()}
    if not Intent.objects.filter(pk=intent.pk, token=claim.token).update(**changed):
        raise DeadlinePassed
    for name, value in changed.items():
        setattr(intent, name, value)


@retried
def discard_choice(choice: MatchChoice) -> None:
    """The object that a person chose is not there (any more): the choice must not stand in the way of another."""
    MatchChoice.objects.filter(pk=choice.pk, external_id=choice.external_id).delete()


def _intent(
    run: OnboardingTransaction,
    step: Step,
    handler: StepHandler,
    facts: Facts,
    now: datetime,
    send_by: datetime,
    *,
    known: Intent | None,
    another: bool,
) -> Intent:
    """The step's intent. Parameters are frozen from the first possible send until it is sure that nothing came of it.

    ``another``: what it made is an object that the payload speaks of no more.
    """
    times = {"created_at": now, "send_by": send_by}
    intent = known or instance_of(
        Intent,
        {"transaction_id": run.pk, "step_id": step.pk, "item": facts.item, **times, "state": IntentState.NO_EFFECT},
    )
    if intent.state == IntentState.DONE and another:
        intent.state = IntentState.NO_EFFECT
    if intent.state == IntentState.DONE:
        # Its object vanished, or is only looked at: a lost holder must be noticed again. What was indeterminate before
        # is resolved.
        intent.state, intent.indeterminate_since = IntentState.INDETERMINATE, None
    elif intent.state == IntentState.NO_EFFECT:
        intent.reference = handler.reference(facts)
        intent.params = handler.params(facts)
        intent.request_hash = digest_of(intent.params)
        intent.created_at = now
        intent.indeterminate_since = None
        intent.state = IntentState.INDETERMINATE
        if handler.shared and (left := working_set.of(run).abandoned_create(step, intent.reference)):
            intent.params, intent.request_hash = left.params, left.request_hash
            intent.state, intent.job_id, intent.job_started_at = left.state, left.job_id, left.job_started_at
            intent.indeterminate_since = left.indeterminate_since or left.send_by
    elif (
        intent.state == IntentState.INDETERMINATE and intent.token == step.token and intent.indeterminate_since is None
    ):
        # Its holder was lost between writing the intent and telling us how it ended: it may send until its send_by.
        intent.indeterminate_since = intent.send_by
    return intent
