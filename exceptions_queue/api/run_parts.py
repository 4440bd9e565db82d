"""A run's rows as the detail representation shows them: as they were just written, or read."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Count, F, Model, QuerySet

from exceptions_queue.models import SlaClock, Ticket, open_tickets
from integrations.database.compiled_queries import Compiled
from onboarding.ids import comparable
from onboarding.models import (
    ArchivedRun,
    ChangeRequest,
    ObjectMapping,
    OnboardingTransaction,
    PayloadSnapshot,
    Step,
)


def _run(run_id: str, id_key: str) -> QuerySet[OnboardingTransaction]:
    return OnboardingTransaction.objects.select_related("sla_clock", "playbook").called_either(run_id, id_key)


def _steps(run_pk: int) -> QuerySet[Step]:
    steps = Step.objects.filter(transaction=run_pk).select_related("poll")
    return steps.annotate(attempt_count=Count("attempt_rows")).order_by("position")


def _mappings(run_pk: int) -> QuerySet[ObjectMapping]:
    mappings = ObjectMapping.objects.filter(transaction=run_pk).select_related("connection", "step")
    return mappings.order_by("step__position", F("pk"))


def _archived(run_pk: int) -> QuerySet[ArchivedRun]:
    return ArchivedRun.objects.filter(transaction=run_pk).select_related("batch").order_by("last_sequence")


def _tickets(run_pk: int) -> QuerySet[Ticket]:
    tickets = open_tickets(OnboardingTransaction(pk=run_pk))
    return tickets.select_related("transaction", "step", "connection", "owner", "mapping__step")


RUN = Compiled(_run)
PARTS: Mapping[str, Compiled[Any]] = {
    "steps": Compiled(_steps),
    "mappings": Compiled(_mappings),
    "clocks": Compiled(lambda run_pk: SlaClock.objects.filter(transaction=run_pk)),
    "snapshots": Compiled(lambda run_pk: PayloadSnapshot.objects.filter(transaction=run_pk)),
    "change_requests": Compiled(lambda run_pk: ChangeRequest.objects.filter(transaction=run_pk)),
    "archived": Compiled(_archived),
}
"""By relation."""
TICKETS = Compiled(_tickets)


def read(onboarding_transaction_id: str) -> OnboardingTransaction | None:
    """The run of this id with its parts, with one query each."""
    for run in RUN(onboarding_transaction_id, comparable(onboarding_transaction_id)):
        parts = {name: part(run.pk) for name, part in PARTS.items()}
        for rows in parts.values():
            for row in rows:
                row.transaction = run
        return _with_parts(run, parts)
    return None


def as_made(run: OnboardingTransaction, made: Mapping[str, Sequence[Model]]) -> OnboardingTransaction:
    """The run as ``read`` gives it, from what was written: none of its rows is read again."""
    steps: list[Any] = sorted(made.get("steps", ()), key=lambda step: step.position)
    for step in steps:
        step.attempt_count = 0
        Step._meta.get_field("poll").set_cached_value(step, None)
    return _with_parts(run, {**made, "steps": steps})


def covering_tickets(run: OnboardingTransaction) -> list[Ticket]:
    """The open ones."""
    return TICKETS(run.pk)


def _with_parts(run: OnboardingTransaction, parts: Mapping[str, Sequence[Model]]) -> OnboardingTransaction:
    """As ``prefetch_related`` leaves it. Each row refers to this instance already."""
    run._prefetched_objects_cache = {}  # type: ignore[attr-defined]
    for name in PARTS:
        rows = getattr(run, name).all()
        rows._result_cache = list(parts.get(name, ()))
        run._prefetched_objects_cache[name] = rows  # type: ignore[attr-defined]
    return run
