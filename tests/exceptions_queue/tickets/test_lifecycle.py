"""An exception is a ticket: opened with what it is about, owned, renewed and resolved with it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from exceptions_queue import scheduling
from exceptions_queue.models import CrmOwner, Ticket, TicketStatus, tries_counted
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions, lifecycle, routing
from exceptions_queue.tickets.catalogue import safe_action
from integrations import clock
from integrations.enums import System
from integrations.sandbox.control import SandboxControl
from onboarding import services, signals
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, SafeAction, Scope, Status, StepState
from onboarding.models import AuditEntry, Step
from onboarding.payload import catalogue
from onboarding.queues import QUEUES
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of

KIM = Actor("kim", Scope.OPERATE)
REFUSED = {"kind": "error_before", "method": "POST", "path": "*create_or_update", "status": 400}


def broken(*_: Any, **__: Any) -> None:
    raise LookupError("the routing table is gone")


# --- The receiver fails -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("connections")
def test_where_routing_fails_the_catch_all_ticket_is_opened(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.add_fault("zendesk", count=1, **REFUSED)
    run = accept()
    with monkeypatch.context() as failing:
        failing.setattr(routing, "queue_for", broken)
        drain()
    ticket = ticket_of(run, "support.organization")
    assert (ticket.category, ticket.queue) == (Category.INTERNAL_ERROR, "revenue-operations")
    assert step_of(run, "support.organization").state == StepState.BLOCKED
    settled()
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


@pytest.mark.usefixtures("connections")
def test_where_what_follows_a_create_fails_its_result_is_kept(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = accept()
    with monkeypatch.context() as failing:
        failing.setattr("onboarding.engine.recording.advance", broken)
        engine.run_step(step_of(run, "crm.account").pk)
    (company,) = sandbox.objects("hubspot", "companies")
    assert run.mappings.get(kind="company").external_id == company["id"]
    assert ticket_of(run, "crm.account").category == Category.INTERNAL_ERROR
    settled()
    services.retry_step(step_of(run, "crm.account").pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert sum(request["path"].endswith("/batch/upsert") for request in sandbox.requests("hubspot")) == 1
    settled()


@pytest.mark.usefixtures("connections")
def test_our_own_defect_is_an_internal_error_not_a_crash(
    accept: Accept, drain: Drain, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr("onboarding.engine.objects.claimed_work.ensure", broken)
        run = accept()
        drain()
    ticket = ticket_of(run, "crm.account")
    assert ticket.category == Category.INTERNAL_ERROR
    assert "find or create the CRM account" in ticket.message
    settled()
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


# --- One transaction --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("connections")
def test_ticket_and_its_subject_commit_together(
    accept: Accept, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.add_fault("hubspot", "error_before", status=400)
    run = accept()
    current = claiming.claim(step_of(run, "crm.account").pk)
    assert current is not None
    outcome = engine.perform(current)
    seen: list[bool] = []

    def watch(step: Step, **_: Any) -> None:
        seen.append(transaction.get_connection().in_atomic_block)
        assert Ticket.objects.filter(step=step).exists()

    signals.step_blocked.connect(watch)
    try:
        with transaction.atomic():
            record(current, outcome, inline=False)
            transaction.set_rollback(True)
    finally:
        signals.step_blocked.disconnect(watch)
    assert seen == [True]
    assert not Ticket.objects.exists()
    assert step_of(run, "crm.account").state == StepState.RUNNING
    assert not AuditEntry.objects.filter(name="exceptions.ticket.opened").exists()


# --- Its life -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("connections")
def test_a_step_has_one_open_ticket_however_often_it_fails(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("zendesk", **REFUSED)
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    for _ in range(3):
        services.retry_step(ticket.step_id or 0, actor="kim")
        assert Ticket.objects.get().status == TicketStatus.RETRYING
        drain()
        assert Ticket.objects.get().status == TicketStatus.OPEN
    assert Ticket.objects.get().attempts == 4
    settled()


@pytest.mark.usefixtures("connections")
def test_a_step_that_fails_in_another_way_renews_its_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("zendesk", count=1, **REFUSED)
    run = accept()
    drain()
    first = ticket_of(run, "support.organization")
    sandbox.add_fault("zendesk", "forbidden", method="POST")
    services.retry_step(first.step_id or 0, actor="kim")
    drain()
    again = Ticket.objects.get()
    assert (again.pk, again.category, again.queue) == (first.pk, Category.AUTH_ERROR, "revenue-operations")
    assert again.http_status == 403
    settled()


@pytest.mark.usefixtures("connections")
def test_a_ticket_given_to_a_person_stays_theirs(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any
) -> None:
    sandbox.add_fault("zendesk", **REFUSED)
    run = accept()
    drain()
    Ticket.objects.update(owner=people["support"])
    services.retry_step(step_of(run, "support.organization").pk, actor="kim")
    drain()
    assert Ticket.objects.get().owner == people["support"]


@pytest.mark.usefixtures("connections")
def test_renewed_failure_keeps_a_persons_assignment(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any, settled: Settled
) -> None:
    sandbox.add_fault("zendesk", **REFUSED)
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    actions.perform(ticket.pk, "assign", KIM, queue="finance", owner=None)
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    lifecycle.for_step(step_of(run, "support.organization"))
    assert (ticket_of(run, "support.organization").queue, Ticket.objects.get().owner) == ("finance", None)
    settled()


@pytest.mark.usefixtures("connections")
def test_partial_fix_keeps_the_assignee(accept: Accept, people: Any) -> None:
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    run = accept(customer__legal_name=None, commercial__term=None)
    ticket = ticket_of(run)
    assert ticket.owner == people["sales"]
    actions.perform(ticket.pk, "assign", KIM, queue="finance", owner="")
    actions.perform(ticket.pk, "fix", KIM, fields={"customer.legal_name": "Acme"})
    assert (ticket_of(run).queue, ticket_of(run).owner) == ("finance", None)


@pytest.mark.usefixtures("connections")
def test_different_failure_is_routed_anew(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", count=1, **REFUSED)
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    actions.perform(ticket.pk, "assign", KIM, queue="finance", owner=None)
    sandbox.add_fault("zendesk", "forbidden", method="POST")
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert ticket_of(run, "support.organization").queue == "revenue-operations"


@pytest.mark.usefixtures("connections")
def test_waiting_and_polling_are_no_attempts(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("asana", job_seconds="never")
    run = accept()
    for _ in range(16):
        scheduling.one_pass(publish=False)
        clock.shift(timedelta(minutes=2))
    ticket = ticket_of(run, "delivery.project")
    assert ticket.category == Category.UNKNOWN_OUTCOME
    assert step_of(run, "delivery.project").attempt_rows.count() > 3
    assert ticket.attempts == 1
    assert Ticket.objects.annotate(tried=tries_counted()).get(pk=ticket.pk).tried == 1


@pytest.mark.usefixtures("connections")
def test_a_new_ticket_of_the_same_subject_names_the_one_before(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept(commercial__term=None)
    before = ticket_of(run)
    lifecycle.resolve(Ticket.objects.all(), resolution="by hand")
    again = lifecycle.for_run(run, category=Category.MISSING_DATA, message="still", problems=[])
    assert again.retry_of == before


@pytest.mark.usefixtures("connections")
def test_refused_field_is_fixed_and_the_step_continues(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Acme Logistics", "domain_names": ["acme-logistics.fr"]}])
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    services.fix(run.pk, {"customer.legal_name": "Acme Logistics GmbH"}, actor="kim", step_pk=ticket.step_id)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    (sent,) = [each["body"] for each in sandbox.requests("zendesk") if each["method"] == "POST"]
    assert "Acme Logistics GmbH" in sent
    settled()


@pytest.mark.usefixtures("hubspot", "asana")
def test_a_missing_connection_is_a_ticket_and_setting_it_up_resumes(
    accept: Accept, drain: Drain, request: pytest.FixtureRequest, settled: Settled
) -> None:
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    assert (ticket.category, ticket.queue) == (Category.NOT_CONFIGURED, "revenue-operations")
    assert step_of(run, "delivery.project").state == StepState.SUCCEEDED
    settled()
    request.getfixturevalue("zendesk")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


@pytest.mark.usefixtures("connections")
def test_what_the_ticket_says_to_do(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", **REFUSED)
    waiting, failing = accept(**customer("beta"), commercial__term=None), accept()
    drain()
    assert safe_action(ticket_of(waiting)) == SafeAction.MANUAL_FIX
    assert safe_action(ticket_of(failing, "support.organization")) == SafeAction.RETRY


# --- Routing ------------------------------------------------------------------------------------------------------------

DOMAIN = [{"path": "customer.domain", "reason": ""}]
TAX = [{"path": "customer.tax_id", "reason": ""}]


@pytest.mark.parametrize(
    ("category", "system", "problems", "step_queue", "queue"),
    [
        (Category.MISSING_DATA, System.WORKFLOW, DOMAIN, "", "sales-ops"),
        (Category.MISSING_DATA, System.WORKFLOW, TAX, "", "finance"),
        (Category.MISSING_DATA, System.WORKFLOW, [], "", "sales-ops"),
        (Category.VALIDATION_ERROR, System.SUPPORT, DOMAIN, "support-ops", "sales-ops"),
        (Category.VALIDATION_ERROR, System.SUPPORT, [], "", "support-ops"),
        (Category.VALIDATION_ERROR, System.DELIVERY, [], "", "revenue-operations"),
        (Category.AMBIGUOUS_MATCH, System.CRM, [], "", "sales-ops"),
        (Category.AMBIGUOUS_MATCH, System.SUPPORT, [], "", "support-ops"),
        (Category.SERVER_ERROR, System.DELIVERY, [], "", "revenue-operations"),
        (Category.SERVER_ERROR, System.DELIVERY, [], "leads", "leads"),
        (Category.SERVER_ERROR, System.DELIVERY, [], "nobody", "revenue-operations"),
        (Category.SERVER_ERROR, System.SUPPORT, [], "", "support-ops"),
        (Category.AUTH_ERROR, System.SUPPORT, [], "support-ops", "revenue-operations"),
        (Category.NOT_CONFIGURED, System.SUPPORT, [], "support-ops", "revenue-operations"),
        (Category.INTERNAL_ERROR, System.SUPPORT, [], "support-ops", "revenue-operations"),
    ],
)
def test_routing(
    category: Category, system: System, problems: list[dict[str, str]], step_queue: str, queue: str
) -> None:
    assert routing.queue_for(category, system, problems, step_queue) == queue


@pytest.mark.parametrize("category", Category)
@pytest.mark.parametrize("system", System)
def test_everything_has_a_queue(category: Category, system: System) -> None:
    assert routing.queue_for(category, system, []) in QUEUES


@pytest.mark.parametrize("path", [field.path for field in catalogue.FIELDS])
def test_a_missing_field_goes_to_its_owner(path: str) -> None:
    queue = routing.queue_for(Category.MISSING_DATA, System.WORKFLOW, [{"path": path, "reason": ""}])
    assert queue == catalogue.entry(path).queue


def test_the_deals_owner_owns_what_sales_is_asked(transactional_db: None, accept: Accept, people: Any) -> None:
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    run = accept(commercial__term=None)
    assert routing.owner_for("sales-ops", run) == people["sales"]
    assert routing.owner_for("finance", run) is None
    people["sales"].is_active = False
    people["sales"].save()
    assert routing.owner_for("sales-ops", run) is None


def test_tickets_of_one_cause_have_one_fingerprint() -> None:
    def of(message: str, status: int = 500) -> str:
        return routing.fingerprint("crm", "crm.account", "server-error", status, message)

    assert of("HubSpot failed: “Acme” (id 12)") == of("HubSpot failed: “Beta” (id 99)")
    assert of("HubSpot failed") != of("HubSpot failed", 502)
    assert of("HubSpot failed") != of("HubSpot did not answer in time")
