"""Two runs of one order become one: a source started each, and no key told that they belong together."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta

from django.db.models import Q, QuerySet

from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine.advancing import reports_run_status
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.reported_events import EventIdConflict, report
from onboarding.engine.runs import cancellation, gate_evaluation, step_selection
from onboarding.enums import CHANGEABLE, NOT_BEGUN, Category, RunEventType, Topic
from onboarding.models import (
    CorrelationKey,
    ObjectMapping,
    OnboardingTransaction,
    PaymentTrace,
    RunEvent,
    UnmatchedEvent,
)
from onboarding.origins import Origin
from onboarding.payload.gate import Problem
from onboarding.payload.schema import free_paths, paths, with_values
from onboarding.payload.snapshots import write_snapshot
from onboarding.services import availability
from onboarding.services.base import Refused, given_reason, require_no
from onboarding.signals import run_blocked

NEAR = timedelta(days=90)
"""For so long two runs of one customer may be of one order."""
MOST_LISTED = 20


@retried
def join(run_pk: int, into: str, *, actor: str, reason: str) -> None:
    """Cancel the run in favour of the run with the id ``into``, which takes its correlation keys, its events and what only its
    payload says. What it has created stays at the vendors; a ticket says what is surplus.

    Raises ``Refused``.
    """
    text = given_reason(reason)
    other = OnboardingTransaction.objects.called(into.strip()).first()
    if other is None:
        raise Refused(f"There is no onboarding “{into.strip()}”.", [Problem("into", "is no onboarding")])
    if other.pk == run_pk:
        raise Refused("A run cannot be joined into itself.", [Problem("into", "is this onboarding")])
    with ExitStack() as locks:
        # Always in one order; whoever else locks a run locks one.
        runs = {pk: locks.enter_context(locked_run(pk)) for pk in sorted((run_pk, other.pk))}
        run, kept = runs[run_pk], runs[other.pk]
        require_no(availability.join(run))
        require_no(availability.takes_joined(kept))
        _move(run, kept, actor=actor)
        _fill(run, kept, actor=actor)
        _report_nothing_more(run, kept)
        cancellation.cancel(run, actor=actor, reason=f"Joined into {kept}: {text}", into=kept)
        audit.record(run, "onboarding.run.joined", actor=actor, data={"into": kept.onboarding_transaction_id})
        audit.record(kept, "onboarding.run.took-over", actor=actor, data={"from": run.onboarding_transaction_id})
        cancellation.decide(kept, topic=Topic.TWO_RUNS, asked=str(run), resolution=f"{run} was joined into this one.")
        if surplus := _surplus(run, kept):
            _open_ticket(run, kept, surplus)
        gate_evaluation.evaluate_gate(kept, actor=actor)
        if kept.status in CHANGEABLE and kept.status not in NOT_BEGUN:
            step_selection.follow_payload(kept, actor=actor)
        failpoint("person-acted")


def join_candidates(run: OnboardingTransaction) -> list[OnboardingTransaction]:
    """Runs of the same customer, by domain or name, at about that time."""
    same = Q()
    if run.domain:
        same |= Q(domain=run.domain)
    if run.customer_name:
        same |= Q(customer_name__iexact=run.customer_name)
    if not same:
        return []
    near = OnboardingTransaction.objects.filter(
        same, status__in=CHANGEABLE, occurred_at__range=(run.occurred_at - NEAR, run.occurred_at + NEAR)
    )
    return list(near.exclude(pk=run.pk).order_by("pk")[:MOST_LISTED])


def _move(run: OnboardingTransaction, kept: OnboardingTransaction, *, actor: str) -> None:
    """What was told of the one is from now on told of the other: a refund holds that one, too."""
    CorrelationKey.objects.filter(transaction=run).update(transaction=kept)
    PaymentTrace.objects.filter(transaction=run).update(transaction=kept)
    UnmatchedEvent.objects.filter(transaction=run).update(transaction=kept)
    for event in RunEvent.objects.filter(transaction=run).order_by("occurred_at", "pk"):
        with suppress(EventIdConflict):  # the other one knows an event of this id
            report(
                kept,
                kind=RunEventType(event.type),
                event_id=event.event_id,
                occurred_at=event.occurred_at,
                data=event.data,
                actor=event.actor or actor,
            )
            event.delete()


def _report_nothing_more(run: OnboardingTransaction, kept: OnboardingTransaction) -> None:
    """Of an object that both have, such as the deal, the other one says how it stands: not that it was cancelled."""
    used = _objects(kept.mappings.all())
    if not used & _objects(run.mappings.all()):
        return
    for step in run.steps.all():
        if step.written and reports_run_status(step):
            step.written = ""
            step.save()


def _fill(run: OnboardingTransaction, kept: OnboardingTransaction, *, actor: str) -> None:
    """What only the joined run's payload says, with where that came from."""
    told, current = paths(run.payload), paths(kept.payload)
    free = free_paths(current, told) - {"onboarding_transaction_id", "event_source", "occurred_at"}
    fills = {path: told[path] for path in free if told[path] not in ("", None, [], {})}
    if not fills:
        return
    provenance = run.snapshot.provenance
    origins = {path: origin for path in fills if (origin := Origin.stored(provenance.get(path)))}
    write_snapshot(
        kept,
        with_values(kept.payload, fills),
        origin=Origin.of(run.snapshot),
        actor=actor,
        changed=fills,
        provenance=origins,
    )


def _surplus(run: OnboardingTransaction, kept: OnboardingTransaction) -> Sequence[ObjectMapping]:
    """What the joined run has created, and the other one does not use."""
    used = _objects(kept.mappings.all())
    made = run.mappings.filter(created_by_us=True).select_related("connection").order_by("pk")
    return [each for each in made if (each.connection_id, each.kind, each.external_id) not in used]


def _objects(mappings: QuerySet[ObjectMapping]) -> set[tuple[int, str, str]]:
    return set(mappings.values_list("connection_id", "kind", "external_id"))


def _open_ticket(run: OnboardingTransaction, kept: OnboardingTransaction, surplus: Sequence[ObjectMapping]) -> None:
    named = [f"{each.connection.slug}: {each.kind} {each.external_id}" for each in surplus]
    listed = "; ".join(named[:MOST_LISTED]) + ("; …" if len(named) > MOST_LISTED else "")
    run_blocked.send(
        OnboardingTransaction,
        run=run,
        category=Category.VALIDATION_ERROR,
        topic=Topic.SURPLUS,
        message=f"Joined into {kept}, which does not use what was created here: {listed}.",
        problems=[],
    )
