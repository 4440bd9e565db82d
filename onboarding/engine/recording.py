"""Recording how a claimed step ended, moving its run on, and claiming the next step, in one transaction."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import DatabaseError, InterfaceError, OperationalError

from integrations import clock
from integrations.connections import concurrency
from integrations.database.instances import copied
from integrations.errors import Kind
from integrations.failpoints import failpoint
from onboarding import audit, working_set
from onboarding.engine import compensation, connection_queue, policy
from onboarding.engine.advancing import advance
from onboarding.engine.claiming import Claim, claim_locked, may_be_done
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.facts import facts_of, item_after, mappings_of
from onboarding.engine.locks import locked_run, locked_run_of, retried
from onboarding.engine.objects import hand_over
from onboarding.engine.objects.intents import move_intent
from onboarding.engine.objects.mappings import map_made, matches_request
from onboarding.engine.outcomes import (
    Ambiguous,
    Broken,
    Checked,
    Compensated,
    Ensured,
    Failed,
    HandedOver,
    IndeterminateOutcome,
    LookedUp,
    Outcome,
    Waiting,
    Written,
)
from onboarding.engine.reconcile import is_out_of_date, lagging
from onboarding.engine.runs import gate_evaluation, kickoff, waits
from onboarding.engine.runs.failures import block, category_of, is_parked, policy_for, step_has_ticket
from onboarding.enums import LEASED, Category, IntentState, OriginKind, RunEventType, StepState, WaitsFor
from onboarding.models import (
    Attempt,
    OnboardingTransaction,
    RunEvent,
    Step,
)
from onboarding.origins import Origin
from onboarding.payload.schema import get
from onboarding.playbooks.requirements import problems_of
from onboarding.signals import invoice_ready, kickoff_scheduled, step_unblocked
from onboarding.sla_targets import INVOICE
from onboarding.steps.handler import StepHandler
from onboarding.steps.registry import HANDLERS
from onboarding.working_set import TryAgain

RECORD_AGAIN_SECONDS = 1.0
log = logging.getLogger(__name__)


class _NotClaimable(Exception):
    """The step that would have been claimed along with the record of another."""


def record(
    claim: Claim, outcome: Outcome, *, inline: bool, later: list[int] | None = None, takes_later: bool = False
) -> Claim | None:
    """Write the outcome down; with ``inline`` return the next claimed step of the run, if one became ready.

    Other steps that became ready are put into ``later`` for the caller to do, which nobody else is told of; without it workers
    are. With ``takes_later``, where none became ready, the first one of ``later`` is taken out and claimed.

    Recording what a vendor did must not fail because of what follows from it: where routing or a ticket fails, a second
    transaction keeps the result and blocks the step behind a catch-all ticket.
    """
    _update_concurrency(claim, outcome)
    write: Callable[[], Claim | None] = partial(
        _record, claim, outcome, inline=inline, later=later, takes_later=takes_later
    )
    keeping = False
    while True:
        try:
            following = write()
        except (OperationalError, InterfaceError):
            # The database is away: what the vendor said is held on to for as long as nobody else may hold the step.
            if time.monotonic() > claim.lease_deadline:
                raise
            log.warning("The result of step %s cannot be recorded yet", claim.step.pk)
            time.sleep(RECORD_AGAIN_SECONDS)
        except _NotClaimable:
            # The one that has passed is recorded without it: whoever takes the message meets the fault again.
            log.exception("A step could not be claimed inline after step %s", claim.step.pk)
            write = partial(_record, claim, outcome, inline=False, later=None, takes_later=False)
        except Exception as error:
            if keeping:
                raise
            log.exception("What follows from step %s failed; its result is kept.", claim.step.pk)
            keeping, write = True, partial(_record_result_only, claim, outcome, error)
        else:
            claim.calls.clear()
            return following


@retried
def break_step(step_pk: int, error: Exception) -> None:
    """The step could not even be claimed, by a fault of ours: block it behind a catch-all ticket."""
    with locked_run_of(step_pk) as run:
        step = Step.objects.select_related("connection").get(pk=step_pk)
        if step.is_done or (step.lease_until and step.lease_until > clock.now()):
            return
        message = f"{type(error).__name__} while Firstvalue prepared to {HANDLERS[step.uses].title}."
        block(run, step, Category.INTERNAL_ERROR, message, fallback=True)


def _update_concurrency(claim: Claim, outcome: Outcome) -> None:
    """Give the slot back, slow the connection down after a 429, and hold it while the vendor says that it is away.

    A slot that cannot be given back expires by itself.
    """
    if claim.connection is None:
        return
    try:
        if claim.is_limited:
            concurrency.release(claim.connection.pk, claim.slot_holder)
        if isinstance(outcome, Failed):
            connection_queue.apply_backpressure(claim.connection.pk, outcome.error)
    except DatabaseError:
        log.exception("The concurrency limit of %s could not be updated", claim.connection.slug)


@retried
def _record(
    claim: Claim, outcome: Outcome, *, inline: bool, later: list[int] | None, takes_later: bool
) -> Claim | None:
    with locked_run(claim.run.pk, lean=True, known=claim.run) as run:
        run.adopt_snapshot(claim.run)
        rows = working_set.of(run)
        rows.save_calls(claim.calls)
        steps = rows.steps()
        step = next(each for each in steps if each.pk == claim.step.pk)
        if not _is_current_holder(run, step, claim, outcome):
            return None
        now = clock.now()
        if _is_rejected(run, claim, outcome) or hand_over.is_reported_meanwhile(claim, outcome):
            outcome = Waiting(WaitsFor.RETRY, now)
        outcome = _checked_without_answer(claim, step, outcome) or outcome
        _apply(run, step, claim, outcome, now)
        # What any other outcome brings about may have made or moved steps of the run.
        known = steps if isinstance(outcome, Ensured | Written) else None
        ready = _what_is_next(run, step, known, inline=inline, keep=later is not None)
        following = _claim_next(run, ready[0]) if ready else None
        if ready and not following:
            rows.save(ready[0])
            if not connection_queue.is_queued(ready[0]):
                enqueue_step(ready[0].pk)
        branch = rows.step(later[0]) if later and takes_later and not ready else None
        if branch:
            following = _claim_next(run, branch)
        failpoint("result-recorded", step.uses)
    if not step.is_done:
        connection_queue.enqueue_when_due(step)
    asked = ready[0] if ready else branch
    if asked and not following and asked.waits_for == WaitsFor.SLOT and asked.connection_id:
        connection_queue.enqueue_next(asked.connection_id)  # a slot may have come free before it was queued
    if later is not None:
        later += [each.pk for each in ready[1:]]
        if branch:
            del later[0]
    return following


def _what_is_next(
    run: OnboardingTransaction, step: Step, steps: list[Step] | None, *, inline: bool, keep: bool
) -> list[Step]:
    """The step's own next item, or what its end made ready; with ``inline`` for the caller, else enqueued."""
    if run.is_rolling_back:
        compensation.advance_rollback(run)
        return []
    if step.is_done:
        return advance(run, inline=inline, keep=keep, steps=steps)
    if step.state != StepState.WAITING or step.waits_for != WaitsFor.NOTHING or not may_be_done(run, step):
        return []
    if inline:
        return [step]
    enqueue_step(step.pk)
    return []


def _claim_next(run: OnboardingTransaction, ready: Step) -> Claim | None:
    """Raises ``_NotClaimable`` for whatever is wrong with the step itself."""
    try:
        return claim_locked(run, ready)
    except (OperationalError, InterfaceError, TryAgain):
        raise
    except Exception as error:
        raise _NotClaimable(ready.pk) from error


@retried
def _record_result_only(claim: Claim, outcome: Outcome, error: Exception) -> None:
    with locked_run(claim.run.pk) as run:
        run.adopt_snapshot(claim.run)
        working_set.of(run).save_calls(claim.calls)
        step = Step.objects.select_related("connection").get(pk=claim.step.pk)
        if not _is_current_holder(run, step, claim, outcome):
            return
        _keep_object(run, step, claim, outcome, clock.now())
        message = f"{type(error).__name__} while Firstvalue recorded the result; the result is kept."
        block(run, step, Category.INTERNAL_ERROR, message, fallback=True)
        step.save()


def _is_current_holder(run: OnboardingTransaction, step: Step, claim: Claim, outcome: Outcome) -> bool:
    """The fencing token decides. A late result is kept as evidence only; the new holder finds the object by its reference."""
    if step.token == claim.token and step.state in LEASED:
        return True
    found = f"{outcome.how} {outcome.external_id}" if isinstance(outcome, Ensured) else type(outcome).__name__
    Attempt.objects.filter(step=step, token=claim.token).update(outcome="late", message=found)
    audit.record(run, "onboarding.step.late-result", data={"step": step.key, "token": claim.token, "result": found})
    return False


def _is_rejected(run: OnboardingTransaction, claim: Claim, outcome: Outcome) -> bool:
    """Whether a person said meanwhile, in another run of the customer, that what was found is not theirs."""
    handler = claim.handler
    made = outcome.made if isinstance(outcome, Failed) else outcome if isinstance(outcome, Ensured) else None
    if made is None or made.created_by_us or not handler.shared:
        return False
    if made.external_id in claim.rejected or claim.connection is None:
        return False  # known before: a person chose it all the same
    return working_set.of(run).is_rejected(claim.connection, handler.kind, claim.match_key, made.external_id)


def _checked_without_answer(claim: Claim, step: Step, outcome: Outcome) -> Checked | None:
    """Of a check whose vendor gives no answer: it passes without where its playbook says so, once it was tried again."""
    if not (isinstance(outcome, Failed) and claim.handler.checks):
        return None
    finding = claim.handler.unanswered(claim.facts, outcome.error)
    if not finding or policy_for(claim, outcome, step.attempts + 1).action is policy.Action.RETRY:
        return None
    return Checked(claim.handler.digest(claim.facts), finding)


def _apply(run: OnboardingTransaction, step: Step, claim: Claim, outcome: Outcome, now: datetime) -> None:
    _keep_object(run, step, claim, outcome, now)
    match outcome:
        case Ensured() | HandedOver():
            _item_done(run, step, claim, outcome, now)
        case Compensated():
            compensation.record_compensated(run, step, outcome, now)
        case Written(digest=digest):
            step.written = digest
            if _payload_changed(run, claim) and is_out_of_date(run, step):
                step.wait(waits_for=WaitsFor.NOTHING, due_at=now)
            else:
                succeed(run, step, now)
        case LookedUp():
            _apply_facts(run, step, outcome, now)
        case Waiting():
            _wait(run, step, outcome)
        case Failed():
            _fail(run, step, claim, outcome, now)
        case Ambiguous():
            step.candidates = [found.as_dict() for found in outcome.candidates]
            block(run, step, Category.AMBIGUOUS_MATCH, outcome.message)
        case IndeterminateOutcome():
            block(run, step, Category.UNKNOWN_OUTCOME, outcome.message)
        case Broken():
            block(run, step, Category.INTERNAL_ERROR, outcome.message)
    if step.state != StepState.SUCCEEDED:  # else it was saved before others were told
        working_set.of(run).save(step)


def _keep_object(run: OnboardingTransaction, step: Step, claim: Claim, outcome: Outcome, now: datetime) -> None:
    """What the vendor did, as far as we know it: attempt, intent, mapping, reservation."""
    failed = outcome if isinstance(outcome, Failed) else None
    rows = working_set.of(run)
    rows.end_attempt(
        step,
        claim.token,
        finished_at=now,
        outcome=type(outcome).__name__.lower(),
        message=str(failed.error) if failed else getattr(outcome, "message", ""),
        http_status=failed.error.http_status if failed else None,
    )
    if claim.intent is None:
        return
    made = outcome if isinstance(outcome, Ensured) else getattr(outcome, "made", None)
    # Nobody else writes it while the step is ours. A copy, as this transaction may be undone and tried again.
    intent = copied(claim.intent)
    move_intent(intent, outcome, made, now)
    rows.save_intent(intent)
    if made:
        map_made(run, step, claim, made, now)
    elif intent.state == IntentState.NO_EFFECT:
        rows.release_reservations(step)


def _item_done(
    run: OnboardingTransaction, step: Step, claim: Claim, outcome: Ensured | HandedOver, now: datetime
) -> None:
    """The item in hand is there: on with the next one, or the step waits for people, or has passed."""
    if isinstance(outcome, HandedOver):
        follow_hand_over(run, step, now)
        return
    following = claim.facts.item if outcome.more else item_after(run, step, claim.facts.item)
    if _payload_changed(run, claim) or not matches_request(claim, outcome, claim.facts):
        following = _first_outdated_item(run, step)
    if following is not None:
        step.item, step.attempts, step.first_failed_at = following, 0, None
        step.wait(waits_for=WaitsFor.NOTHING, due_at=now)
        failpoint("between-items")
        return
    told = _received_event(run, claim.handler)
    if outcome.awaited and not told:
        _await_event(run, step, now)
    else:
        succeed(run, step, now, fixed_at=told.occurred_at if told else now)


def follow_hand_over(run: OnboardingTransaction, step: Step, now: datetime) -> None:
    """By what its tool has reported, or until when that is waited for. The caller holds the run locked and advances it."""
    report, due = hand_over.noted_report(run, step, now), hand_over.due_at(run, step)
    if report is None and now < due:
        _await_event(run, step, now, until=due)
    elif report is None:
        block(run, step, Category.UNKNOWN_OUTCOME, hand_over.OVERDUE.format(due=due))
    elif report.succeeded:
        succeed(run, step, now)
    else:
        block(run, step, Category.VALIDATION_ERROR, hand_over.failure(report))


def _await_event(run: OnboardingTransaction, step: Step, now: datetime, *, until: datetime | None = None) -> None:
    """It was looked at: what failed before is over. Only that it is late (the P2 clock says so) stays true.

    ``until``: when somebody is told that nothing has come; without it the vendor is polled.
    """
    step.attempts, step.first_failed_at = 0, None
    fixed = step_has_ticket(step) and step.category != Category.STALLED
    if fixed or not step_has_ticket(step):
        step.category, step.message, step.http_status = "", "", None
        step.problems, step.candidates = [], []
    if until is None:
        await_people(step, now)
    elif step_has_ticket(step):
        step.block(due_at=until)
    else:
        step.wait(waits_for=WaitsFor.EVENT, due_at=until)
    audit.record(run, "onboarding.step.waiting", data={"step": step.key, "for": WaitsFor.EVENT})
    if fixed:
        step_unblocked.send(Step, step=step, resolution="The cause is resolved.")


def _payload_changed(run: OnboardingTransaction, claim: Claim) -> bool:
    """The payload was changed since what the worker has in hand was asked for."""
    return claim.is_past or run.snapshot_version != claim.run.snapshot_version


def _first_outdated_item(run: OnboardingTransaction, step: Step) -> str | None:
    return lagging(HANDLERS[step.uses], mappings_of(run, step), facts_of(run, step))


def await_people(step: Step, now: datetime) -> None:
    """Somebody has to do it at the vendor; it is polled now and then, in case nobody tells us."""
    if step_has_ticket(step):
        step.block(due_at=None)
        step.waits_for = WaitsFor.EVENT
    else:
        step.wait(waits_for=WaitsFor.EVENT, due_at=None)
    waits.begin(step, now)


def _received_event(run: OnboardingTransaction, handler: StepHandler) -> RunEvent | None:
    """The event that somebody has done it, where one came."""
    return kickoff.scheduled_by(run) if handler.finished_by == RunEventType.KICKOFF_SCHEDULED else None


def succeed(run: OnboardingTransaction, step: Step, now: datetime, *, fixed_at: datetime | None = None) -> None:
    """The step has passed. The caller holds the run locked, advances and saves it.

    ``fixed_at``: when a kickoff's date was fixed, which may be well before anybody told us.
    """
    had_ticket = step_has_ticket(step)
    step.succeed(at=now)
    working_set.of(run).save(step)
    audit.record(run, "onboarding.step.succeeded", data={"step": step.key})
    if had_ticket:
        step_unblocked.send(Step, step=step, resolution="The step has passed.")
    if HANDLERS[step.uses].finished_by == RunEventType.KICKOFF_SCHEDULED:
        kickoff_scheduled.send(OnboardingTransaction, run=run, at=min(fixed_at or now, now))
    if step.uses == INVOICE:
        invoice_ready.send(OnboardingTransaction, run=run, at=now)


def _apply_facts(run: OnboardingTransaction, step: Step, outcome: LookedUp, now: datetime) -> None:
    """What the source of truth told fills empty fields only; then the gate decides again."""
    succeed(run, step, now)
    content = run.payload
    missing = {problem.path for problem in problems_of(run)}
    facts = {
        path: (value, Origin(OriginKind.LOOKUP, step.system, source))
        for path, (value, source) in outcome.facts.items()
        if path in missing or not get(content, path)
    }
    if facts:
        gate_evaluation.write_looked_up(run, facts)
    gate_evaluation.evaluate_gate(run)


def _wait(run: OnboardingTransaction, step: Step, outcome: Waiting) -> None:
    if outcome.waits_for == WaitsFor.EVENT:
        _await_event(run, step, outcome.until)
        return
    audit.record(run, "onboarding.step.waiting", data={"step": step.key, "for": outcome.waits_for})
    if step_has_ticket(step):
        step.block(due_at=outcome.until)
    else:
        step.wait(waits_for=outcome.waits_for, due_at=outcome.until)


def _fail(run: OnboardingTransaction, step: Step, claim: Claim, outcome: Failed, now: datetime) -> None:
    error, handler = outcome.error, HANDLERS[step.uses]
    parked = error.kind is Kind.AUTH or (error.kind is Kind.SERVER and is_parked(run, step))
    if not parked:
        step.first_failed_at = step.first_failed_at or now
        step.attempts += 1
    decision = policy_for(claim, outcome, step.attempts, parked=parked)
    step.http_status = error.http_status
    step.message = str(error)
    step.problems = [
        {"path": f.path or handler.path_of(f.field), "name": f.name, "reason": f.reason}
        | ({"may_be_confirmed": True} if f.may_be_confirmed else {})
        for f in error.fields
    ]
    due = now + timedelta(seconds=decision.delay) if decision.delay is not None else None
    match decision.action:
        case policy.Action.RETRY if not step_has_ticket(step):
            step.wait(waits_for=WaitsFor.RETRY, due_at=due)
            audit.record(run, "onboarding.step.retrying", data={"step": step.key, "status": error.http_status})
        case _ if claim.handler.writes and error.kind is not Kind.AUTH:
            # Nobody need fix the CRM's answer: a person can give what it would have filled.
            Attempt.objects.filter(step=step, token=claim.token).update(message=f"The CRM could not be asked: {error}")
            _apply_facts(run, step, LookedUp({}), now)
        case policy.Action.PARK:
            # Due at once: what keeps it is the connection's open breaker, which no step row repeats.
            if step_has_ticket(step):
                step.block(due_at=now)
            else:
                step.wait(waits_for=WaitsFor.CONNECTION, due_at=now)
            audit.record(
                run,
                "onboarding.step.parked",
                data={"step": step.key, "connection": claim.connection.slug if claim.connection else ""},
            )
        case _:
            block(run, step, category_of(run, decision.category), str(error), due_at=due)
