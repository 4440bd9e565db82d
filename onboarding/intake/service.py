"""The intake: one door for every source (REST, webhooks, imports)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.db.models import F, FilteredRelation, Model, Q, QuerySet

from integrations import clock
from integrations.database.compiled_queries import Compiled
from integrations.failpoints import failpoint
from integrations.inbound.events import OUR_ID
from integrations.name_matching import is_same_name
from onboarding import audit, working_set
from onboarding.engine.locks import locked_run, new_run, retried
from onboarding.engine.runs import gate_evaluation, step_selection
from onboarding.engine.runs.cancellation import hold_and_ask
from onboarding.enums import NOT_BEGUN, OriginKind, Status, Topic
from onboarding.ids import comparable
from onboarding.intake import orders, unmatched
from onboarding.log_context import set_run
from onboarding.models import ChangeRequest, CorrelationKey, OnboardingTransaction
from onboarding.origins import Origin, Sender
from onboarding.payload import change_requests
from onboarding.payload.accepted import accept_content, accepted_from, is_redelivery
from onboarding.payload.schema import digest, free_paths, get, paths, with_values
from onboarding.payload.snapshots import write_snapshot
from onboarding.playbooks.requirements import problems_of
from onboarding.signals import run_accepted


class Verdict(Enum):
    CREATED = "created"
    REPLAYED = "replayed"
    FILLED = "filled"
    """The content only filled what was missing; it is the next snapshot."""
    CHANGE_REQUESTED = "change-requested"


@dataclass(frozen=True)
class Receipt:
    verdict: Verdict
    run: OnboardingTransaction
    change_request: ChangeRequest | None = None
    made: Mapping[str, Sequence[Model]] | None = None
    """All rows of a new run as they were written, by relation; None where they must be read."""


@retried
def accept(
    content: dict[str, Any],
    *,
    actor: str,
    sender: Sender | None = None,
    occurred_at: datetime | None = None,
    keys: Sequence[tuple[str, str]] | None = None,
    gather_for: timedelta = timedelta(0),
    confirmed: Collection[str] = frozenset(),
    question: str = "",
    also_known_by: Sequence[tuple[str, str]] | None = None,
) -> Receipt:
    """Take one canonical payload (``OnboardingPayload.content()``) and start, replay, fill or question its run.

    One database transaction. ``sender``: who sends it (default: an import by ``actor``); the content's ``event_source`` is only
    its label. ``keys`` are correlation keys, (kind, value), of a new run; None: those that its content names. ``occurred_at`` is
    when it was paid; a time in the future counts as now. ``gather_for``: how long to wait for the payment's other events before
    people are asked. ``confirmed``: paths of a new run whose value a person stands by. ``question``: a new run begins on hold,
    and a ticket asks this. ``also_known_by``: further keys by which events that came before the run know it.
    """
    sender = sender or Sender(OriginKind.IMPORT, actor)
    run_id, origin = content["onboarding_transaction_id"], sender.origin(content["event_source"])
    known = next(iter(KNOWN_RUN(run_id, comparable(run_id), origin.kind, origin.label)), None)
    if known is None:
        run, made = _create(
            content,
            sender,
            actor,
            occurred_at,
            orders.free_keys_of(content) if keys is None else keys,
            gather_for,
            confirmed=confirmed,
            question=question,
            also_known_by=also_known_by or [],
        )
        return Receipt(Verdict.CREATED, run, made=made)
    if _repeats(known, content):
        return Receipt(Verdict.REPLAYED, known)
    with locked_run(known.pk) as run:
        return _again(run, content, sender=sender, actor=actor)


def _known(run_id: str, id_key: str, origin: str, label: str) -> QuerySet[Any]:
    """The run of this id, with what the source told of it, as ``accepted_from`` finds that."""
    told = FilteredRelation("accepted", condition=Q(accepted__origin=origin, accepted__source=label))
    runs = OnboardingTransaction.objects.called_either(run_id, id_key).annotate(told=told)
    return runs.annotate(told_digest=F("told__digest"), told_earlier=F("told__earlier"))


KNOWN_RUN = Compiled(_known)


def _repeats(known: Any, content: dict[str, Any]) -> bool:
    """Whether it is what its source has told before, to the letter. That never changes, so no lock is needed to say it."""
    if known.told_digest is None:
        return False
    set_run(known.pk)
    new = digest({**content, "onboarding_transaction_id": known.onboarding_transaction_id})
    return new == known.told_digest or new in known.told_earlier


@retried
def join(
    run_pk: int, content: dict[str, Any], *, sender: Sender, actor: str, keys: Sequence[tuple[str, str]]
) -> Receipt:
    """A further event of a known payment: it fills empty fields; what contradicts them becomes a change request."""
    origin = sender.origin(content.get("event_source", ""))
    with locked_run(run_pk) as run:
        remember(run, keys)
        current = run.payload
        flat = paths(current)
        news = {path: value for path, value in paths(_payload_only(content)).items() if flat.get(path) != value}
        fillable = free_paths(flat, news) | _open_paths(run) | _guessed(run)
        fills = {path: value for path, value in news.items() if path in fillable}
        conflicts = [path for path in news if path not in fills]
        if fills:
            _fill(run, fills, origin=origin, actor=actor)
        request = _request_change(run, content, conflicts, origin=origin, actor=actor) if conflicts else None
    if request:
        return Receipt(Verdict.CHANGE_REQUESTED, run, request)
    return Receipt(Verdict.FILLED if fills else Verdict.REPLAYED, run)


def drop_payers_name(run_pk: int, contact: str, *, sender: Sender, actor: str) -> None:
    """A company's name that was only the billing customer's proves to be its contact's own: the company's is missing.

    Only until something was provisioned from it; what a person has confirmed stays. The caller is in a transaction.
    """
    with locked_run(run_pk) as run:
        current = run.payload
        name = get(current, "customer.legal_name")
        named = [trace.customer_name for trace in run.payment_traces.exclude(customer_name="")]
        origin = Origin.stored(run.snapshot.provenance.get("customer.legal_name"))
        by_person = origin is not None and origin.kind == OriginKind.PERSON
        if by_person or run.status not in (Status.QUEUED, Status.AWAITING_DATA):
            return
        if name in named and is_same_name(name, contact):
            _fill(run, {"customer.legal_name": None}, origin=sender.origin(), actor=actor)


def remember(run: OnboardingTransaction, keys: Sequence[tuple[str, str]]) -> None:
    """Add correlation keys that nobody holds yet. A key held by another run stays there: the first event wins.

    Events that waited for one of them are applied. The caller holds the run locked.
    """
    for kind, value in keys:
        CorrelationKey.objects.get_or_create(kind=kind, value=value, defaults={"transaction": run})
    unmatched.apply_to(run, run.correlation_keys.values_list("kind", "value"))


def _create(
    content: dict[str, Any],
    sender: Sender,
    actor: str,
    occurred_at: datetime | None,
    keys: Sequence[tuple[str, str]],
    gather_for: timedelta,
    *,
    confirmed: Collection[str],
    question: str,
    also_known_by: Sequence[tuple[str, str]],
) -> tuple[OnboardingTransaction, Mapping[str, Sequence[Model]] | None]:
    now = clock.now()
    origin = sender.origin(content["event_source"])
    run = OnboardingTransaction(
        onboarding_transaction_id=content["onboarding_transaction_id"],
        event_source=origin.label,
        origin=origin.kind,
        origin_name=origin.name,
        occurred_at=min(occurred_at, now) if occurred_at else now,
        created_at=now,
        gathers_until=now + gather_for if gather_for else None,
    )
    run.begin_made()
    with new_run(run):
        # Plain inserts: a key that another run just took makes the whole transaction start again, and then join that run.
        if keys:
            named = [CorrelationKey(transaction=run, kind=kind, value=value) for kind, value in keys]
            working_set.of(run).insert(*named)
        accept_content(run, origin, content)
        audit.record(run, "onboarding.run.accepted", actor=actor, data={"origin": origin.as_dict()})
        write_snapshot(run, content, origin=origin, actor=actor, confirmed=confirmed)
        run_accepted.send(OnboardingTransaction, run=run)
        if question:
            run.end_made()
            hold_and_ask(run, actor=actor, hold_reason=question, question=question, topic=Topic.PAYMENT)
        # Before anything is begun: a refund that came first holds the run.
        known_by = [(OUR_ID, run.onboarding_transaction_id), *keys, *also_known_by]
        unmatched.apply_to(run, known_by)
        gate_evaluation.evaluate_gate(run, actor=actor)
        is_draft = working_set.draft_of(run) is not None
        failpoint("accepting")
    if is_draft:
        unmatched.apply_late(run, known_by)
    return run, run.end_made()


def _again(run: OnboardingTransaction, content: dict[str, Any], *, sender: Sender, actor: str) -> Receipt:
    # The run keeps the spelling of its id that came first.
    content = {**content, "onboarding_transaction_id": run.onboarding_transaction_id}
    origin = sender.origin(content["event_source"])
    accepted = accepted_from(run, origin)
    if is_redelivery(accepted, digest(content)):
        return Receipt(Verdict.REPLAYED, run)
    current = run.payload
    flat = paths(current)
    after = paths(content)
    # A source that was not heard of before takes nothing out, and names itself.
    before = paths(accepted.content) if accepted else {path: flat[path] for path in after if path in flat}
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    changed = sorted(differing - {"event_source"})
    if not changed:
        return Receipt(Verdict.REPLAYED, run)
    fillable = free_paths(flat, changed) | _open_paths(run)
    fills = {path: after[path] for path in changed if path in after and path in fillable}
    is_waiting = run.status == Status.AWAITING_DATA and sender.may_fill(run.origin, run.origin_name)
    if is_waiting and len(fills) == len(changed):
        accept_content(run, origin, content)
        _fill(run, fills, origin=origin, actor=actor)
        return Receipt(Verdict.FILLED, run)
    request = _request_change(run, content, changed, origin=origin, actor=actor, whole=True)
    return Receipt(Verdict.CHANGE_REQUESTED, run, request)


def _open_paths(run: OnboardingTransaction) -> set[str]:
    return {problem.path for problem in problems_of(run)}


def _guessed(run: OnboardingTransaction) -> set[str]:
    """Defaults and derived values give way to what a source says, as long as nothing was provisioned from them."""
    if run.status not in (Status.QUEUED, Status.AWAITING_DATA):
        return set()
    origins = ((path, Origin.stored(value)) for path, value in run.snapshot.provenance.items())
    return {path for path, origin in origins if origin and origin.kind in (OriginKind.DEFAULT, OriginKind.DERIVED)}


def _payload_only(content: dict[str, Any]) -> dict[str, Any]:
    """Without what names the event rather than the customer: joining events differ there by nature."""
    return {
        key: value
        for key, value in content.items()
        if key not in ("onboarding_transaction_id", "event_source", "occurred_at")
    }


def _fill(run: OnboardingTransaction, fills: dict[str, Any], *, origin: Origin, actor: str) -> None:
    write_snapshot(run, with_values(run.payload, fills), origin=origin, actor=actor, changed=fills)
    if run.status in NOT_BEGUN:
        gate_evaluation.evaluate_gate(run, actor=actor)
    elif run.may_advance:
        step_selection.follow_payload(run, actor=actor)


def _request_change(
    run: OnboardingTransaction,
    content: dict[str, Any],
    changed: list[str],
    *,
    origin: Origin,
    actor: str,
    whole: bool = False,
) -> ChangeRequest:
    """Ask people once. ``whole``: all that the source has to say, in place of what it asked for before."""
    known = change_requests.of_origin(run, origin).filter(digest=digest(content)).first()
    if known:
        return known
    return change_requests.record(run, content, changed, origin=origin, actor=actor, supersedes=whole)
