"""Runs, and what must hold of them whatever went wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from exceptions_queue.models import Ticket, covering
from integrations.sandbox.control import SandboxControl
from onboarding import audit
from onboarding.engine.policy import ATTEMPTS_IN_ALL
from onboarding.enums import Status, WaitsFor
from onboarding.intake import service
from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.payload.schema import OnboardingPayload
from onboarding.queues import QUEUES
from tests.conftest import Payload

Accept = Callable[..., OnboardingTransaction]
Settled = Callable[[], list[OnboardingTransaction]]


def customer(name: str) -> dict[str, Any]:
    """Overrides that make the payload another customer's."""
    return {
        "onboarding_transaction_id": f"pay_{name}",
        "customer__legal_name": f"{name.capitalize()} Works",
        "customer__domain": f"{name}-works.com",
        "customer__primary_contact": {"name": f"Ann {name.capitalize()}", "email": f"ann@{name}-works.com"},
    }


@pytest.fixture
def accept(payload: Payload) -> Accept:
    """``accept(**overrides)``: the run of that payload, paid now."""

    def take(**overrides: Any) -> OnboardingTransaction:
        content = OnboardingPayload.model_validate(payload(**overrides)).content()
        return service.accept(content, actor="tests").run

    return take


@pytest.fixture
def settled(sandbox: SandboxControl) -> Settled:
    """The one promise: every run is complete or covered by an open, owned ticket, and nothing exists twice."""

    def check() -> list[OnboardingTransaction]:
        runs = list(OnboardingTransaction.objects.all())
        for run in runs:
            tickets = list(covering(run))
            assert (
                run.status in (Status.COMPLETE, Status.CANCELLED) or run.held_at or tickets or waits_for_people(run)
            ), f"{run} is {run.status} and nobody was told: {shown(run)}"
            assert all(ticket.queue in QUEUES for ticket in tickets)
        counts = sandbox.counts()
        assert counts["duplicates"] == 0, counts["duplicate_keys"]
        mapped = ObjectMapping.objects.values_list("transaction", "step", "item")
        assert len(mapped) == len(set(mapped))
        projects = ObjectMapping.objects.filter(kind="project").values_list("external_id", flat=True)
        assert len(projects) == len(set(projects))
        assert all(attempts <= ATTEMPTS_IN_ALL for attempts in Step.objects.values_list("attempts", flat=True))
        assert list(audit.broken_links()) == []
        return runs

    return check


def waits_for_people(run: OnboardingTransaction) -> bool:
    """Its kickoff task is with the implementation owner, and the P2 clock with it."""
    return run.status == Status.READY_FOR_KICKOFF and run.steps.filter(waits_for=WaitsFor.EVENT).exists()


def shown(run: OnboardingTransaction) -> list[str]:
    return [f"{step.key}: {step.state} {step.waits_for} {step.message}" for step in run.steps.all()]


def step_of(run: OnboardingTransaction, key: str) -> Step:
    return run.steps.get(key=key)


def status_of(run: OnboardingTransaction) -> str:
    return str(OnboardingTransaction.objects.values_list("status", flat=True).get(pk=run.pk))


def ticket_of(run: OnboardingTransaction, key: str | None = None) -> Ticket:
    """The run's one open ticket: that of a step, or with no key the run's own."""
    return Ticket.objects.get(transaction=run, step__key=key, resolved_at=None)
