"""Creates whose outcome is indeterminate, at vendors that enforce no unique key: never simply sent again."""

from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.connections.services import set_connection
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, IntentState, Scope, Status, StepState, WaitsFor
from onboarding.models import Intent, OnboardingTransaction, Reservation
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_faults import resume
from tests.onboarding.engine.test_flow import CREATED, created

KIM = Actor("kim", Scope.OPERATE)
CREATE = {"method": "POST", "path": "*/objects/companies"}


@pytest.fixture
def plain(connections: dict[str, Connection]) -> Connection:
    """A HubSpot account without a reference property: nothing keeps two companies apart."""
    hubspot = connections["hubspot"]
    return set_connection(
        hubspot.slug,
        system="crm",
        provider="hubspot",
        options={"reference_property": "", "search_lag": "20"},
        actor="t",
    )


def companies(sandbox: SandboxControl) -> int:
    return int(sandbox.counts()["vendors"]["hubspot"]["companies"]["created"])


def creates(sandbox: SandboxControl) -> int:
    return sum(request["path"] == "/crm/v3/objects/companies" for request in sandbox.requests("hubspot"))


@pytest.mark.usefixtures("plain")
def test_create_without_a_fault(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED
    settled()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    "fault", ["error_after", "reset_after", "timeout_after", "malformed", "wrong_shape", "slow_drip"]
)
def test_created_object_is_found_by_search(
    fault: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, settings: Any
) -> None:
    settings.CALL_SECONDS = 0.4
    sandbox.add_fault("hubspot", fault, count=1, **CREATE)
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert (creates(sandbox), companies(sandbox)) == (1, 1)
    settled()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("fault", ["error_before", "reset_before", "timeout_before"])
def test_indeterminate_create_is_not_repeated(
    fault: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, settings: Any
) -> None:
    settings.CALL_SECONDS = 0.4
    sandbox.add_fault("hubspot", fault, count=1, **CREATE)
    run = accept()
    drain()
    assert ticket_of(run, "crm.account").category == Category.UNKNOWN_OUTCOME
    assert (creates(sandbox), companies(sandbox)) == (1, 0)
    settled()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("fault", ["rate_limit", "unauthorized", "forbidden"])
def test_definitely_refused_create_is_sent_again(
    fault: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", fault, count=1, **CREATE)
    run = accept()
    drain()
    resume(drain)
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert (creates(sandbox), companies(sandbox)) == (2, 1)
    settled()


@pytest.mark.usefixtures("plain")
def test_empty_search_within_the_lag_is_inconclusive(accept: Accept, sandbox: SandboxControl) -> None:
    sandbox.configure("hubspot", search_lag="never")
    sandbox.add_fault("hubspot", "error_after", count=1, **CREATE)
    run = accept()
    scheduling.one_pass(publish=False)
    clock.shift(timedelta(seconds=5))
    scheduling.one_pass(publish=False)
    step = step_of(run, "crm.account")
    assert (step.state, step.waits_for) == (StepState.WAITING, WaitsFor.HOLD_OFF)
    intent = Intent.objects.get(step=step)
    assert intent.indeterminate_since is not None
    assert step.due_at is not None
    assert (step.due_at - intent.indeterminate_since).total_seconds() == pytest.approx(20, abs=1)
    assert creates(sandbox) == 1


@pytest.mark.usefixtures("plain")
def test_search_lag_is_waited_out(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    sandbox.configure("hubspot", search_lag="never")
    sandbox.add_fault("hubspot", "reset_after", count=1, **CREATE)
    run = accept()
    scheduling.one_pass(publish=False)
    clock.shift(timedelta(seconds=5))
    scheduling.one_pass(publish=False)
    sandbox.configure("hubspot", search_lag=0)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert (creates(sandbox), companies(sandbox)) == (1, 1)
    settled()


@pytest.fixture
def unknown(plain: Connection, accept: Accept, drain: Drain, sandbox: SandboxControl, request: Any) -> Ticket:
    """The ticket of an account whose create may or may not have happened; ``param``: the fault that made it so."""
    sandbox.configure("hubspot", search_lag="never")
    sandbox.add_fault("hubspot", request.param, count=1, **CREATE)
    run = accept()
    drain()
    return ticket_of(run, "crm.account")


both = pytest.mark.parametrize("unknown", ["error_before", "error_after"], indirect=True)
made = pytest.mark.parametrize("unknown", ["error_after"], indirect=True)
not_made = pytest.mark.parametrize("unknown", ["error_before"], indirect=True)


@both
def test_object_that_cannot_be_found_is_decided_by_a_person(
    unknown: Ticket, sandbox: SandboxControl, settled: Settled
) -> None:
    assert unknown.category == Category.UNKNOWN_OUTCOME
    assert creates(sandbox) == 1
    settled()


@both
def test_retrying_it_never_creates_again(
    unknown: Ticket, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for _ in range(3):
        actions.perform(unknown.pk, "retry", KIM)
        drain()
    assert creates(sandbox) == 1
    assert Ticket.objects.get().category == Category.UNKNOWN_OUTCOME
    settled()


@made
def test_linking_the_created_object_resolves_it(
    unknown: Ticket, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (company,) = sandbox.objects("hubspot", "companies")
    actions.perform(unknown.pk, "link-object", KIM, external_id=company["id"])
    drain()
    run = unknown.transaction
    assert run is not None
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.get(kind="company").how == "person"
    assert (creates(sandbox), companies(sandbox)) == (1, 1)
    settled()


@made
def test_linking_an_id_that_is_not_there_asks_again(unknown: Ticket, drain: Drain, sandbox: SandboxControl) -> None:
    actions.perform(unknown.pk, "link-object", KIM, external_id="404404")
    drain()
    ticket = Ticket.objects.get()
    assert ticket.is_open
    assert "404404" in ticket.message
    assert creates(sandbox) == 1


@not_made
def test_confirming_that_nothing_is_there_creates_once(
    unknown: Ticket, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    actions.perform(unknown.pk, "choose-match", KIM, create=True)
    drain()
    run = unknown.transaction
    assert run is not None
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert (creates(sandbox), companies(sandbox)) == (2, 1)
    settled()


@not_made
def test_a_confirmation_does_not_cover_the_create_sent_after_it(
    unknown: Ticket, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "error_after", count=1, **CREATE)
    actions.perform(unknown.pk, "choose-match", KIM, create=True)
    drain()
    assert Ticket.objects.get(resolved_at=None).category == Category.UNKNOWN_OUTCOME
    assert (creates(sandbox), companies(sandbox)) == (2, 1)
    settled()


@both
def test_other_runs_wait_for_the_indeterminate_outcome(
    unknown: Ticket, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    other = accept(onboarding_transaction_id="pay_2")
    drain()
    step = step_of(other, "crm.account")
    assert (step.waits_for, step.attempts) == (WaitsFor.RESERVATION, 0)
    assert creates(sandbox) == 1
    assert Reservation.objects.get(kind="company").holder_id == unknown.step_id


@not_made
def test_resolved_outcome_resumes_the_other_runs(
    unknown: Ticket, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    other = accept(onboarding_transaction_id="pay_2")
    drain()
    actions.perform(unknown.pk, "choose-match", KIM, create=True)
    drain()
    assert status_of(other) == Status.COMPLETE, shown(other)
    assert companies(sandbox) == 1
    settled()


@pytest.mark.usefixtures("connections")
def test_a_project_that_cannot_be_found_is_linked_by_a_person(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("asana", "error_before", method="POST", path="*instantiateProject", count=1)
    run = accept()
    drain()
    ticket = ticket_of(run, "delivery.project")
    assert ticket.category == Category.UNKNOWN_OUTCOME
    team = {"gid": "1100000000000001"}
    (project,) = sandbox.seed("asana", "projects", [{"name": "Acme by hand", "team": team}])
    actions.perform(ticket.pk, "link-object", KIM, external_id=project)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert run.mappings.get(kind="project").external_id == project
    settled()


@pytest.mark.usefixtures("connections")
def test_a_project_confirmed_absent_is_made_once(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("asana", "error_before", method="POST", path="*instantiateProject", count=1)
    run = accept()
    drain()
    actions.perform(ticket_of(run, "delivery.project").pk, "choose-match", KIM, create=True)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED
    settled()


@pytest.mark.usefixtures("connections")
def test_a_job_that_failed_left_nothing_and_is_made_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("asana", job_outcome="failed")
    run = accept()
    drain()
    ticket = ticket_of(run, "delivery.project")
    assert ticket.category == Category.VALIDATION_ERROR
    assert Intent.objects.get(step__key="delivery.project").state == IntentState.NO_EFFECT
    sandbox.configure("asana", job_outcome="succeeded")
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED
    settled()


@pytest.mark.usefixtures("connections")
def test_a_job_is_polled_without_using_attempts(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("asana", job_seconds="never")
    run = accept()
    for _ in range(8):
        scheduling.one_pass(publish=False)
        clock.shift(timedelta(seconds=3))
    step = step_of(run, "delivery.project")
    assert (step.waits_for, step.attempts) == (WaitsFor.JOB, 0)
    sandbox.configure("asana", job_seconds=0)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED


@pytest.mark.usefixtures("connections")
def test_a_job_that_never_ends_is_shown_to_a_person(accept: Accept, sandbox: SandboxControl, settled: Settled) -> None:
    sandbox.configure("asana", job_seconds="never")
    run = accept()
    for _ in range(10):
        scheduling.one_pass(publish=False)
        clock.shift(timedelta(minutes=2))
    assert ticket_of(run, "delivery.project").category == Category.UNKNOWN_OUTCOME
    assert sum(r["method"] == "POST" for r in sandbox.requests("asana")) == 1
    settled()


def forget_the_job(run: OnboardingTransaction) -> None:
    """The vendor does not know the project's job any more."""
    scheduling.one_pass(publish=False)
    while not Intent.objects.filter(transaction=run, state=IntentState.ACCEPTED).update(job_id="404404404404"):
        clock.shift(timedelta(seconds=11))
        scheduling.one_pass(publish=False)


@pytest.mark.usefixtures("connections")
def test_a_project_whose_job_is_forgotten_is_found_by_its_reference(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    forget_the_job(run)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    project = run.mappings.get(kind="project")
    assert (project.how, project.created_by_us) == ("reference", True)
    assert created(sandbox) == CREATED
    settled()


@pytest.mark.usefixtures("connections")
def test_a_forgotten_job_without_a_project_ends_with_a_persons_link(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("asana", job_outcome="failed")
    run = accept()
    forget_the_job(run)
    drain()
    ticket = ticket_of(run, "delivery.project")
    assert ticket.category == Category.UNKNOWN_OUTCOME
    assert sum(r["method"] == "POST" for r in sandbox.requests("asana")) == 1
    settled()
    (project,) = sandbox.seed("asana", "projects", [{"name": "Acme by hand", "team": {"gid": "1100000000000001"}}])
    actions.perform(ticket.pk, "link-object", KIM, external_id=project)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.get(kind="project").external_id == project
    settled()


@pytest.mark.usefixtures("connections")
def test_an_object_that_is_found_after_its_create_counts_as_made_by_us(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("asana", "error_after", method="POST", path="*instantiateProject", count=1)
    run = accept()
    drain()
    project = run.mappings.get(kind="project")
    assert (project.how, project.created_by_us) == ("reference", True)
    assert run.audit.filter(name="onboarding.object.created", data__step="delivery.project").count() == 1


@pytest.mark.usefixtures("connections")
def test_an_object_that_is_tied_again_was_created_once(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "error_before", method="PUT", path="*associations*", count=3)
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert step_of(run, "crm.contact").attempt_rows.count() == 4
    written = run.audit.filter(name__startswith="onboarding.object.", data__step="crm.contact")
    assert [entry.name for entry in written] == ["onboarding.object.created"]
    assert run.mappings.get(kind="contact").created_by_us


@pytest.mark.usefixtures("connections")
def test_fix_during_an_indeterminate_create_keeps_one_reservation(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (known,) = sandbox.seed("hubspot", "companies", [{"name": "Acme", "domain": "acme.com"}])
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert", count=1)
    fixed = accept()
    scheduling.one_pass(publish=False)
    assert step_of(fixed, "crm.account").waits_for == WaitsFor.RETRY
    services.fix(fixed.pk, {"customer.domain": "acme.com"}, actor="kim")
    drain()
    reservations = dict(Reservation.objects.filter(kind="company").values_list("match_key", "external_id"))
    assert reservations == {"domain:acme.com": known}
    other = accept(
        onboarding_transaction_id="pay_other",
        customer__legal_name="Another Acme Logistics",
        customer__primary_contact={"name": "Bo Ek", "email": "bo@acme-logistics.com"},
    )
    drain()
    assert [status_of(run) for run in (fixed, other)] == [Status.COMPLETE] * 2, shown(other)
    assert fixed.mappings.get(kind="company").external_id == known
    assert other.mappings.get(kind="company").external_id != known
    assert other.mappings.get(kind="company").created_by_us
    settled()


@pytest.mark.usefixtures("plain")
def test_customers_of_other_domains_are_not_delayed(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("hubspot", search_lag="never")
    sandbox.add_fault("hubspot", "error_before", count=1, **CREATE)
    blocked = accept()
    drain()
    other = accept(**customer("beta"))
    drain()
    assert status_of(blocked) == Status.PROVISIONING
    assert status_of(other) == Status.COMPLETE
    settled()
