"""What must hold once the faults have healed (FAILURES, "The matrix the tests must cover"): a list of what does not."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from exceptions_queue.models import covering
from integrations.sandbox.control import SandboxControl
from onboarding import audit
from onboarding.engine.facts import facts_of
from onboarding.engine.policy import ATTEMPTS_IN_ALL
from onboarding.enums import INDETERMINATE, Category, Status, WaitsFor
from onboarding.models import Attempt, Intent, ObjectMapping, OnboardingTransaction, Step
from onboarding.queues import QUEUES
from onboarding.steps.base import EnsureHandler
from onboarding.steps.registry import HANDLERS

VENDOR_KINDS = {
    "company": "companies",
    "contact": "contacts",
    "deal": "deals",
    "note": "notes",
    "project": "projects",
    "task": "tasks",
    "organization": "organizations",
    "user": "users",
    "message": "messages",
    "account": "accounts",
    "workspace": "workspaces",
}
"""What the sandbox calls our kinds of object."""
OVER = (Status.COMPLETE, Status.CANCELLED, Status.ROLLED_BACK)
IN_TRANSACTION = "inside a database transaction"
"""What the guards say that keep vendor calls out of database transactions."""


def violations(sandbox: SandboxControl, *, log: str = "", lease_seconds: float = 0.0) -> list[str]:
    """In words; none where everything holds. ``log``: what the workers said; ``lease_seconds``: how long their leases last."""
    runs = list(OnboardingTransaction.objects.prefetch_related("steps"))
    return [
        *_doubled(sandbox, runs),
        *_not_taken_back(sandbox, runs),
        *_in_the_dark(runs),
        *_mapped_twice(),
        *_tried_too_often(),
        *_taken_too_early(lease_seconds),
        *_broken_inside(log),
        *audit.broken_links(),
    ]


def _doubled(sandbox: SandboxControl, runs: list[OnboardingTransaction]) -> Iterator[str]:
    """At most one vendor object an (event, step, item), by the vendor's own ledger."""
    counts = sandbox.counts()
    for each in counts["duplicate_keys"]:
        yield f"{each['vendor']} holds {each['kind']} {each['ids']} under one key {each['key']}"
    wanted: Counter[str] = Counter()
    for run in runs:
        for step in run.steps.all():
            handler = HANDLERS[step.uses]
            if isinstance(handler, EnsureHandler):
                facts = facts_of(run, step)
                parts = handler.parts(facts)
                items = len(handler.items(facts) if parts is None else parts)
                wanted[VENDOR_KINDS[handler.kind]] += items * (1 + step.round)  # each round, a person asked for
    for kinds in counts["vendors"].values():
        for kind, count in kinds.items():
            if count["created"] > wanted[kind]:
                yield f"{count['created']} {kind} were created for {wanted[kind]} (event, step, item)"


def _not_taken_back(sandbox: SandboxControl, runs: list[OnboardingTransaction]) -> Iterator[str]:
    """After a rollback exactly what that run did not create remains, but for mails and what cannot be undone."""
    if all(run.status != Status.ROLLED_BACK for run in runs):
        return
    living = ObjectMapping.objects.exclude(transaction__status=Status.ROLLED_BACK).exclude(kind="message")
    kept = {(VENDOR_KINDS[each.kind], each.external_id) for each in living}
    objects = [each for each in sandbox.objects() if each["kind"] != "messages"]
    there = {(each["kind"], each["id"]) for each in objects}
    for kind, external_id in kept - there:
        yield f"a run uses {kind} {external_id}, which is gone"
    if any(run.is_rolling_back for run in runs) or Intent.objects.filter(state__in=INDETERMINATE).exists():
        return
    made = {(each["kind"], each["id"]) for each in objects if not (each["seeded"] or irreversible(each))}
    for kind, external_id in made - kept:
        yield f"{kind} {external_id} was not removed"


def irreversible(made: dict[str, Any]) -> bool:
    """The mapping of these says nothing of taking one back."""
    return made["vendor"] == "widgets" and made["kind"] != "workspaces"


def _in_the_dark(runs: list[OnboardingTransaction]) -> Iterator[str]:
    """Every event is complete, waits for the kickoff, or is covered by an open ticket that a queue owns."""
    for run in runs:
        tickets = list(covering(run))
        done = run.status in OVER or bool(run.held_at) or waits_for_people(run)
        if not done and not tickets:
            steps = [f"{step.key}: {step.state} {step.waits_for} {step.message}" for step in run.steps.all()]
            yield f"{run.onboarding_transaction_id} is {run.status} and nobody was told: {steps}"
        for ticket in tickets:
            if ticket.queue not in QUEUES:
                yield f"nobody owns {ticket}"


def waits_for_people(run: OnboardingTransaction) -> bool:
    """Its kickoff task is with the implementation owner, and the P2 clock with it."""
    return run.status == Status.READY_FOR_KICKOFF and run.steps.filter(waits_for=WaitsFor.EVENT).exists()


def _mapped_twice() -> Iterator[str]:
    for name, rows in (
        ("step's item", ObjectMapping.objects.values_list("transaction", "step", "item")),
        ("project", ObjectMapping.objects.filter(kind="project").values_list("external_id")),
        (
            "created object",
            ObjectMapping.objects.filter(created_by_us=True).values_list("connection", "kind", "external_id"),
        ),
    ):
        for key, count in Counter(rows).items():
            if count > 1:
                yield f"{count} mappings of one {name}: {key}"


def _tried_too_often() -> Iterator[str]:
    for step in Step.objects.filter(attempts__gt=ATTEMPTS_IN_ALL):
        yield f"{step} was tried {step.attempts} times"


def _taken_too_early(lease_seconds: float) -> Iterator[str]:
    """Nobody takes a step over before its holder's lease is at its end."""
    for attempt in Attempt.objects.filter(outcome__in=("lease-expired", "late")).exclude(finished_at=None):
        held = (attempt.finished_at or attempt.started_at) - attempt.started_at
        if held < timedelta(seconds=lease_seconds):
            yield f"attempt {attempt} was taken over after {held.total_seconds():.1f} of {lease_seconds:.0f} s"


def _broken_inside(log: str) -> Iterator[str]:
    yield from (line for line in log.splitlines() if IN_TRANSACTION in line)
    for step in Step.objects.filter(category=Category.INTERNAL_ERROR):
        yield f"{step} broke: {step.message}"
