"""Every fault of a vendor at every kind of step: once it has healed, one object each and nobody left in the dark."""

from dataclasses import dataclass
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations.connections import services as connections
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, Status, StepState
from onboarding.models import Step
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of


@dataclass(frozen=True)
class Site:
    """Where a step kind writes."""

    step: str
    vendor: str
    kind: str
    path: str


SITES = [
    Site("crm.account", "hubspot", "companies", "*/batch/upsert"),
    Site("crm.contact", "hubspot", "contacts", "*/objects/contacts"),
    Site("delivery.project", "asana", "projects", "*instantiateProject"),
    Site("support.organization", "zendesk", "organizations", "*create_or_update"),
]
FAULTS: dict[str, dict[str, Any]] = {
    "error_before": {},
    "error_after": {},
    "timeout_before": {},
    "timeout_after": {},
    "reset_before": {},
    "reset_after": {},
    "malformed": {},
    "wrong_shape": {},
    "slow_drip": {},
    "rate_limit": {},
    "rate_limit, with Retry-After": {"kind": "rate_limit", "retry_after": 7},
    "unauthorized": {},
    "forbidden": {},
}


def resume(drain: Drain) -> None:
    """What people do once the fault is gone: fix the credentials, and retry what is still blocked."""
    for connection in Connection.objects.filter(breaker="open"):
        assert connections.close_after_probe(connection.pk, actor="kim").ok
    for pk in Step.objects.filter(state=StepState.BLOCKED, due_at=None).values_list("pk", flat=True):
        services.retry_step(pk, actor="kim")
    drain()


@pytest.fixture(autouse=True)
def short_calls(settings: Any) -> None:
    settings.CALL_SECONDS = 0.4


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_each_create(
    fault: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    rule = {"kind": fault, "count": 1} | FAULTS[fault]
    for site in SITES:
        sandbox.add_fault(site.vendor, method="POST", path=site.path, **rule)
    run = accept()
    drain()
    settled()
    for _ in SITES:
        resume(drain)
        settled()
    assert [each["count"] for each in sandbox.faults()] == [0] * len(SITES), "a fault never struck"
    done = {step.key for step in run.steps.all() if step.is_done}
    for site in SITES:
        there = sandbox.counts()["vendors"][site.vendor][site.kind]["created"]
        if site.step in done:
            assert there == 1, shown(run)
            continue
        # Nothing enforces one project a name: a create that may have happened is a person's to judge.
        assert site.step == "delivery.project", shown(run)
        assert ticket_of(run, site.step).category == Category.UNKNOWN_OUTCOME
        assert there == 0
    assert Ticket.objects.filter(resolved_at=None).count() == len(SITES) - len(done)


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("fault", ["error_before", "malformed", "unauthorized"])
def test_vendor_outage_of_all_calls(
    fault: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("*", fault)
    run = accept()
    drain()
    settled()
    assert Ticket.objects.filter(resolved_at=None).exists()
    sandbox.clear_faults()
    resume(drain)
    settled()
    assert status_of(run) == Status.COMPLETE, shown(run)


@pytest.mark.usefixtures("connections")
def test_lasting_fault_is_retried_up_to_the_cap(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert")
    run = accept()
    drain()
    step = step_of(run, "crm.account")
    assert (step.attempts, step.due_at, step.state) == (20, None, StepState.BLOCKED)
    sent = [request for request in sandbox.requests("hubspot") if request["path"].endswith("/batch/upsert")]
    assert len(sent) == 20


@pytest.mark.usefixtures("connections")
def test_each_repeat_sends_the_same_reference_and_parameters(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("hubspot", "error_after", method="POST", path="*/batch/upsert", count=1)
    sandbox.add_fault("hubspot", "error_before", method="GET", path="*/companies/*", count=2)
    accept()
    drain()
    sent = {request["body"] for request in sandbox.requests("hubspot") if request["path"].endswith("/batch/upsert")}
    assert len(sent) == 1


@pytest.mark.usefixtures("connections")
def test_a_retry_after_is_honoured(accept: Accept, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "rate_limit", retry_after=600, count=1)
    run = accept()
    scheduling.one_pass(publish=False)
    step = step_of(run, "crm.account")
    assert step.due_at is not None
    failed = step.attempt_rows.get()
    assert failed.finished_at is not None
    assert (step.due_at - failed.finished_at).total_seconds() == pytest.approx(600, abs=1)
