"""Rolling a run back: a saga of compensations in reverse order, each claimed, leased and fenced as every step is.

Only what this run created is removed: never what it matched, nor what another run maps too. What may still be made by a worker
that was interrupted is resolved first, as after any indeterminate outcome.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from integrations import clock
from integrations.connectors.base import Connector, CreateSafety, MatchKey
from integrations.errors import Kind, ProviderError
from integrations.failpoints import failpoint
from integrations.models import Connection
from onboarding import audit
from onboarding.engine.advancing import advance, is_rereported, make_due, refresh_status_reports, report_end
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.facts import facts_of, forget_mappings, match_key_of
from onboarding.engine.outcomes import Compensated, CompensatedObject, Failed, IndeterminateOutcome, Outcome, Waiting
from onboarding.engine.reconcile import facts_for_reference
from onboarding.engine.runs import prerequisites
from onboarding.engine.runs.left_over import ask_to_remove
from onboarding.enums import OVER, IntentState, StepState, WaitsFor
from onboarding.models import (
    Intent,
    MatchChoice,
    ObjectMapping,
    OnboardingTransaction,
    Reservation,
    Step,
)
from onboarding.signals import run_cancelled, step_unblocked
from onboarding.steps.handler import Facts, StepHandler
from onboarding.steps.registry import HANDLERS

ROLLED_BACK = "The run is rolled back."
SKEW = timedelta(seconds=10)
"""Between the vendor's clock and ours, before a change counts as somebody else's."""
HOLDER_WAIT = timedelta(seconds=3)
BATCH_POLL = timedelta(seconds=2)
OURS = ("reference", "email")
"""Keys by which what we made is recognised: our reference, or an address that the vendor keeps unique."""


@dataclass(frozen=True)
class CompensationTarget:
    """One object to remove; without an id one that may have been made, and is looked for under its reference."""

    item: str
    external_id: str = ""
    changed_since: bool = False
    indeterminate_since: datetime | None = None
    job_id: str = ""
    facts: Facts | None = None
    reference: str = ""
    batch_job_id: str = ""
    """A job that may make it, among others: nothing is known of any before it has ended."""


@dataclass(frozen=True)
class Plan:
    """What a claimed compensation is to do. ``force``: also what somebody has changed."""

    run_pk: int
    targets: tuple[CompensationTarget, ...]
    force: bool = False


@dataclass(frozen=True)
class HeldByOtherRun:
    """Another run has one of the objects in hand: not before ``until``. ``holder``: its step, where that is known."""

    until: datetime
    holder: int | None = None


# --- Beginning, and moving on -----------------------------------------------------------------------------------------


def begin_rollback(run: OnboardingTransaction, *, actor: str, reason: str, changed: Iterable[str]) -> None:
    """Fence every claim and mark what must be compensated. The caller holds the run locked.

    ``changed``: ids of objects that somebody has changed. They were looked at before, as the compensations themselves move
    the time of an object's last change (a note that goes changes its account).
    """
    now = clock.now()
    run.mappings.filter(external_id__in=changed).update(changed_since=True)
    run.roll_back(at=now, reason=reason)
    audit.record(run, "onboarding.run.rolling-back", actor=actor)
    prerequisites.withdraw(run, at=now, reason=ROLLED_BACK)
    for step in run.steps.all():
        stays = is_rereported(step) and not _target_is_removed(run, step)
        if stays and (step.is_done or report_end(run, step)):
            continue  # what it writes into stays, and is told how the run ends
        if may_have_created(step):
            step.begin_compensation()
        elif step.state != StepState.SKIPPED:
            step.mark_compensated(at=now)
        step.category, step.problems, step.candidates, step.message = "", [], [], ""
        step.save()
        step_unblocked.send(Step, step=step, resolution=ROLLED_BACK)
    run_cancelled.send(OnboardingTransaction, run=run, at=now, resolution=ROLLED_BACK)
    ask_to_remove(run)
    advance_rollback(run)


def last_touched(run: OnboardingTransaction) -> datetime:
    """When the run last finished something: what changed later, somebody else changed."""
    ended = run.steps.exclude(finished_at=None).order_by("-finished_at").values_list("finished_at", flat=True).first()
    return ended or clock.now()


def _target_is_removed(run: OnboardingTransaction, step: Step) -> bool:
    """Whether the object that an updating step writes into will be removed."""
    target = HANDLERS[step.uses].target
    return run.mappings.filter(step__uses=target, item="", created_by_us=True).exists()


def may_have_created(step: Step) -> bool:
    if not HANDLERS[step.uses].makes_objects:
        return False
    return step.mappings.filter(created_by_us=True).exists() or step.intents.indeterminate().exists()


def is_compensation(run: OnboardingTransaction, step: Step) -> bool:
    """Whether claiming the step now means compensating it."""
    return (
        run.is_rolling_back and not is_rereported(step) and step.state not in (StepState.SUCCEEDED, StepState.SKIPPED)
    )


def advance_rollback(run: OnboardingTransaction) -> None:
    """Make due what nothing depends on any more; the run is rolled back once nothing is left. The caller holds it locked."""
    steps = list(run.steps.all())
    left = {step.key for step in steps if is_compensation(run, step) and step.state != StepState.COMPENSATED}
    for step in steps:
        idle = step.state == StepState.COMPENSATING and step.due_at is None and step.lease_until is None
        if step.key in left and idle and not left.intersection(_descendants(steps, step)):
            make_due(step, clock.now())
            step.save()
            enqueue_step(step.pk)
    if not left:
        run.finish_rollback()
        audit.record(run, "onboarding.run.rolled-back")
    refresh_status_reports(run)


def advance_or_roll_back(run: OnboardingTransaction) -> None:
    """Advance the run, or its rollback. The caller holds it locked."""
    if run.is_rolling_back:
        advance_rollback(run)
    else:
        advance(run)


def _descendants(steps: list[Step], first: Step) -> set[str]:
    found = {first.key}
    for _ in steps:
        found |= {step.key for step in steps if found.intersection(step.after)}
    return found - {first.key}


# --- One compensation -------------------------------------------------------------------------------------------------


def prepare(run: OnboardingTransaction, step: Step, now: datetime) -> Plan | HeldByOtherRun:
    """What to remove, or whom to wait for as another run is about to link one of the objects. Under the run's lock."""
    handler, facts = HANDLERS[step.uses], facts_of(run, step)
    mine = [mapping for mapping in step.mappings.filter(created_by_us=True) if not is_used_elsewhere(mapping)]
    for mapping in mine:
        if not _claim_reservation(step, mapping):
            return HeldByOtherRun(now + HOLDER_WAIT)
    indeterminate = list(step.intents.indeterminate())
    for intent in indeterminate if handler.shared else ():
        then = facts_for_reference(run, handler, facts, intent.item, intent.reference) or facts
        if holder := _holder(step, handler, then, now):
            return HeldByOtherRun(now + HOLDER_WAIT, holder)
    known = set(step.mappings.values_list("item", flat=True))
    targets = [CompensationTarget(mapping.item, mapping.external_id, mapping.changed_since) for mapping in mine]
    for intent in indeterminate:
        targets += _indeterminate_targets(run, step, handler, facts, intent, known)
    return Plan(run.pk, tuple(targets), step.forced)


def is_used_elsewhere(mapping: ObjectMapping) -> bool:
    """Another run maps the object too, and not as one that gave way to another there: it stays."""
    same = _mappings_of(mapping.connection, mapping.kind, mapping.external_id, mapping.transaction_id)
    return same.exclude(transaction_id=mapping.transaction_id).exists()


def _must_be_kept(connection: Connection, kind: str, external_id: str, run_pk: int) -> bool:
    """Another run maps the object, or this one only matched it: whatever led to it, also a person's word, it stays."""
    same = _mappings_of(connection, kind, external_id, run_pk)
    return same.exclude(transaction_id=run_pk, created_by_us=True).exists()


def _mappings_of(connection: Connection, kind: str, external_id: str, run_pk: int) -> QuerySet[ObjectMapping]:
    """All that stand for the object; of other runs not those that gave way to another."""
    same = ObjectMapping.objects.filter(connection=connection, kind=kind, external_id=external_id)
    return same.filter(Q(transaction_id=run_pk) | ~Q(item__startswith=ObjectMapping.FORMER))


def _holder(step: Step, handler: StepHandler, facts: Facts, now: datetime) -> int | None:
    """The step of another run that has taken over this one's reservation, and its indeterminate create: it is about to
    find what was made.

    None where nobody has: the reservation is ours then, and nobody finds it while we remove it.
    """
    reservation, _ = Reservation.objects.select_related("holder").get_or_create(
        connection=step.connection,
        kind=handler.kind,
        match_key=handler.match_key(facts),
        defaults={"holder": step, "created_at": now},
    )
    if reservation.external_id or reservation.holder_id == step.pk:
        return None
    if reservation.holder is None or reservation.holder.state in OVER:
        taken = Reservation.objects.filter(pk=reservation.pk, holder=reservation.holder, external_id="").update(
            holder=step
        )
        return None if taken else step.pk
    return reservation.holder_id


def _claim_reservation(step: Step, mapping: ObjectMapping) -> bool:
    """Whoever looks for the object from now on waits for us; False while a worker runs it for another run."""
    held = Reservation.objects.filter(
        connection_id=mapping.connection_id, kind=mapping.kind, external_id=mapping.external_id
    )
    chosen = MatchChoice.objects.filter(
        connection_id=mapping.connection_id, kind=mapping.kind, external_id=mapping.external_id
    )
    keys = [*held.values_list("match_key", flat=True), *chosen.values_list("match_key", flat=True)]
    if keys and _claimed_by_other_run(step, mapping.connection, keys):
        return False
    held.update(external_id="", url="", holder=step)
    return True


def _claimed_by_other_run(step: Step, connection: Connection, keys: list[str]) -> bool:
    busy = Step.objects.filter(connection=connection, finished_at=None, uses=step.uses, state=StepState.RUNNING)
    others = busy.exclude(transaction_id=step.transaction_id).select_related("transaction")[:200]
    return any(match_key_of(other.transaction, other) in keys for other in others)


def _indeterminate_targets(
    run: OnboardingTransaction, step: Step, handler: StepHandler, facts: Facts, intent: Intent, known: set[str]
) -> list[CompensationTarget]:
    """What a create without a known end may have made: under the reference of the intent, or of each item of a batch.

    It is looked for by what the payload said when it was sent: today's contact may be somebody whom nobody here made.
    """
    since = intent.indeterminate_since or intent.send_by
    sent = intent.params.get("items")
    if sent is None:
        then = facts_for_reference(run, handler, facts, intent.item, intent.reference)
        if (chosen := _chosen(step, handler, then)) and chosen.chosen_at >= since:  # a person has looked
            return _created_by_intent(run, intent, chosen)
        return [CompensationTarget(intent.item, "", False, since, intent.job_id, then, intent.reference)]
    if (chosen := _chosen(step, handler, facts)) and chosen.chosen_at >= since:
        return _created_by_intent(run, intent, chosen)
    lacking = {each["key"]: each["reference"] for each in sent if each["key"] not in known}
    found = (
        (item, reference, facts_for_reference(run, handler, facts, item, reference))
        for item, reference in lacking.items()
    )
    targets = [CompensationTarget(item, "", False, since, "", then, reference) for item, reference, then in found]
    # Asked about once, not for each.
    return [replace(targets[0], batch_job_id=intent.job_id), *targets[1:]] if targets else []


def _chosen(step: Step, handler: StepHandler, facts: Facts | None) -> MatchChoice | None:
    key = handler.match_key(facts) if facts else ""
    return MatchChoice.objects.filter(connection=step.connection, kind=handler.kind, match_key=key).first()


def _created_by_intent(run: OnboardingTransaction, intent: Intent, chosen: MatchChoice) -> list[CompensationTarget]:
    """Linked before the rollback was asked for it was the customer's object; since then it is what that create made."""
    is_ours = bool(chosen.external_id) and run.rollback_at is not None and chosen.chosen_at >= run.rollback_at
    return [CompensationTarget(intent.item, chosen.external_id)] if is_ours else []


def compensate(plan: Plan, handler: StepHandler, connector: Connector) -> Outcome:
    """Remove what the plan names. Harmless to repeat. Raises ``ProviderError`` or ``DeadlinePassed``."""
    done: list[CompensatedObject] = []
    for each in plan.targets:
        settled = each if each.external_id else _resolve_target(each, handler, connector)
        if isinstance(settled, Waiting | IndeterminateOutcome):
            return settled
        if settled is None:
            continue
        if _must_be_kept(connector.connection, handler.kind, settled.external_id, plan.run_pk):
            done.append(CompensatedObject(each.item, settled.external_id, kept=True))
            continue
        found = connector.get(handler.kind, settled.external_id)
        if found is None or not connector.reversible(handler.kind):
            done.append(CompensatedObject(each.item, settled.external_id, kept=found is not None))
            continue
        if found.external_id != settled.external_id:
            # Merged into another: what would be deleted is not only what this run made.
            done.append(CompensatedObject(each.item, settled.external_id, kept=True))
            continue
        if each.changed_since and not plan.force:
            message = f"Somebody changed “{found.label}” after this run last touched it."
            return Failed(ProviderError(Kind.CONFLICT, message))
        failpoint("before-undo")
        connector.undo(handler.kind, settled.external_id)
        failpoint("after-undo")
        done.append(CompensatedObject(each.item, settled.external_id))
    return Compensated(tuple(done))


def _resolve_target(
    each: CompensationTarget, handler: StepHandler, connector: Connector
) -> CompensationTarget | Waiting | IndeterminateOutcome | None:
    """The object that a cut-off create made, if it made one."""
    if handler.irrevocable:
        return None  # it went out or it did not: nothing can be undone either way
    if each.job_id:
        try:
            made = connector.poll(handler.kind, each.job_id)
        except ProviderError as error:
            if error.kind not in (Kind.JOB_FAILED, Kind.NOT_FOUND, Kind.INVALID):
                raise
            made = None
        if made:
            return replace(each, external_id=made.external_id)
    if each.batch_job_id and _is_under_way(each.batch_job_id, handler, connector):
        return Waiting(WaitsFor.HOLD_OFF, clock.now() + BATCH_POLL)
    kind, asked_at = connector.kind(handler.kind), clock.now()
    caught_up = (each.indeterminate_since or asked_at) + timedelta(seconds=kind.search_lag)
    # Of an item that the payload does not name any more only the reference is known.
    keys = handler.keys(each.facts, each.reference) if each.facts else [MatchKey("reference", each.reference)]
    for key in keys:
        if key.name in OURS and (found := connector.find(handler.kind, key)):
            return replace(each, external_id=found[0].external_id)
    if asked_at <= caught_up:
        return Waiting(WaitsFor.HOLD_OFF, caught_up + timedelta(milliseconds=50))
    if kind.harmless or (kind.safety is not CreateSafety.NEITHER and each.facts):
        return None
    return IndeterminateOutcome(
        f"{connector.provider} may have made “{each.reference}”, and it cannot be found to be removed. Link it, or confirm "
        "that nothing is there."
    )


def _is_under_way(job_id: str, handler: StepHandler, connector: Connector) -> bool:
    """Whether the vendor still works on it. A job that it does not know any more has ended."""
    try:
        return connector.poll(handler.kind, job_id) is None
    except ProviderError as error:
        if error.kind not in (Kind.JOB_FAILED, Kind.NOT_FOUND, Kind.INVALID):
            raise
        return False


# --- Recording it -----------------------------------------------------------------------------------------------------


def record_compensated(run: OnboardingTransaction, step: Step, outcome: Compensated, now: datetime) -> None:
    """What was removed is ours no more. The caller holds the run locked, and lets it advance_rollback."""
    for each in outcome.done:
        step.mappings.filter(item=each.item, external_id=each.external_id).delete()
        forget_mappings(run)
        MatchChoice.objects.filter(connection=step.connection, external_id=each.external_id).delete()
        name = "onboarding.object.kept" if each.kept else "onboarding.object.taken-back"
        audit.record(run, name, data={"step": step.key, "id": each.external_id})
    Reservation.objects.filter(holder=step, external_id="").delete()
    step.intents.indeterminate().update(state=IntentState.NO_EFFECT, indeterminate_since=None)
    step.intents.filter(state=IntentState.DONE).update(state=IntentState.NO_EFFECT)
    step.mark_compensated(at=now)
    step.save()
    audit.record(run, "onboarding.step.compensated", data={"step": step.key})
    step_unblocked.send(Step, step=step, resolution=ROLLED_BACK)
