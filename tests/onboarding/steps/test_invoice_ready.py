"""Invoice readiness: reached once the order is confirmed at the ERP with all that an invoice is made from."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from exceptions_queue.models import Alert, ClockState, Milestone, SlaClock, Ticket
from exceptions_queue.sla import clocks
from integrations import clock
from integrations.connections import breaker
from integrations.errors import Kind, ProviderError
from integrations.models import Connection, WebhookDelivery
from integrations.outbound import services as endpoints
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine.periodic import polling
from onboarding.enums import Category, Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction, StepPoll
from tests.conftest import Drain, connect
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.steps.test_erp import BOUGHT, at_odoo, attempts, bodies, only

pytestmark = pytest.mark.usefixtures("connections")
READY = "erp.invoice-ready"
INVOICED = {**BOUGHT, "commercial__plan_sku": "invoiced"}


@pytest.fixture
def odoo(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("odoo", "erp", "/odoo", sandbox, longest_request="5")


@pytest.fixture
def provisioned(odoo: Connection, accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept(**INVOICED)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    return run


def confirm(sandbox: SandboxControl, **changes: Any) -> None:
    """As finance does at Odoo."""
    order = int(only(sandbox, "sale.order")["id"])
    if changes:
        at_odoo(sandbox, "sale.order", "write", ids=[order], vals=changes)
    at_odoo(sandbox, "sale.order", "action_confirm", ids=[order])


def look(run: OnboardingTransaction) -> None:
    """The next poll is due."""
    clock.shift(timedelta(minutes=6))
    polling.poll(step_of(run, READY).pk)


def clock_of(run: OnboardingTransaction) -> SlaClock:
    return SlaClock.objects.get(transaction=run, milestone=Milestone.INVOICE)


def test_a_draft_is_waited_for_and_polled_without_attempts(
    provisioned: OnboardingTransaction, settled: Settled
) -> None:
    step = step_of(provisioned, READY)
    assert (step.state, step.waits_for, step.due_at) == (StepState.WAITING, WaitsFor.EVENT, None)
    entries = provisioned.audit.count()
    for _ in range(3):
        look(provisioned)
    assert StepPoll.objects.get(step=step).count == 3
    assert (len(attempts(provisioned, READY)), provisioned.audit.count()) == (1, entries)
    running = clock_of(provisioned)
    assert (running.state, running.target_minutes, running.started_at) == (
        ClockState.RUNNING,
        480,
        OnboardingTransaction.objects.get(pk=provisioned.pk).provisioned_at,
    )
    settled()


def test_confirmed_it_is_reached_and_told(
    provisioned: OnboardingTransaction, sandbox: SandboxControl, drain: Drain, settled: Settled
) -> None:
    endpoints.make("https://hooks.example.com/erp", ["run.invoice_ready"], actor="tests")
    confirm(sandbox)
    look(provisioned)
    drain()
    assert status_of(provisioned) == Status.COMPLETE, shown(provisioned)
    assert attempts(provisioned, READY)[-1] == "The order S00001 can be invoiced."
    assert clock_of(provisioned).state == ClockState.MET
    delivery = WebhookDelivery.objects.get()
    assert (delivery.type, delivery.body["data"]["onboarding_transaction_id"]) == ("run.invoice_ready", "pay_12345")
    settled()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"payment_term_id": False}, "it has no payment terms"),
        ({"partner_id": 1}, "it is another customer's"),
    ],
)
def test_a_confirmed_order_that_cannot_be_invoiced_as_it_is_is_finances(
    provisioned: OnboardingTransaction,
    sandbox: SandboxControl,
    drain: Drain,
    settled: Settled,
    changes: dict[str, Any],
    told: str,
) -> None:
    if "partner_id" in changes:
        other = at_odoo(sandbox, "res.partner", "create", vals_list=[{"name": "Somebody else", "vat": "DE136695976"}])
        changes = {"partner_id": other[0], "payment_term_id": 2}
    confirm(sandbox, **changes)
    look(provisioned)
    drain()
    ticket = ticket_of(provisioned, READY)
    assert (ticket.queue, ticket.category) == ("finance", Category.VALIDATION_ERROR)
    assert ticket.message == f"The order S00001 is confirmed, and cannot be invoiced as it is: {told}."
    assert ticket.sla_due == clock_of(provisioned).due_at
    settled()
    order, partner = only(sandbox, "sale.order"), bodies(sandbox, "res.partner")[0]
    corrected = {"payment_term_id": 2, "partner_id": partner["id"]}
    at_odoo(sandbox, "sale.order", "write", ids=[int(order["id"])], vals=corrected)
    services.retry_step(step_of(provisioned, READY).pk, actor="fin")
    drain()
    assert status_of(provisioned) == Status.COMPLETE, shown(provisioned)


def test_a_confirmed_order_of_which_nothing_is_due_yet_is_waited_for(
    odoo: Connection, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    """Its products are invoiced once they are delivered."""
    at_odoo(sandbox, "product.product", "write", ids=[11], vals={"invoice_policy": "delivery"})
    run = accept(**INVOICED)
    drain()
    confirm(sandbox)
    look(run)
    assert step_of(run, READY).state == StepState.WAITING
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_an_order_that_was_cancelled_or_is_gone_is_a_ticket(
    provisioned: OnboardingTransaction, sandbox: SandboxControl, drain: Drain, settled: Settled
) -> None:
    order = [int(only(sandbox, "sale.order")["id"])]
    at_odoo(sandbox, "sale.order", "action_cancel", ids=order)
    look(provisioned)
    drain()
    assert ticket_of(provisioned, READY).message == "The order S00001 was cancelled at the ERP."
    at_odoo(sandbox, "sale.order", "unlink", ids=order)
    services.retry_step(step_of(provisioned, READY).pk, actor="fin")
    drain()
    assert "is not at the ERP any more" in ticket_of(provisioned, READY).message
    settled()


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_its_reads_say_nothing_of_whether_the_erp_takes_writes(
    provisioned: OnboardingTransaction, sandbox: SandboxControl, drain: Drain, odoo: Connection, is_cancelled: bool
) -> None:
    if is_cancelled:
        at_odoo(sandbox, "sale.order", "action_cancel", ids=[int(only(sandbox, "sale.order")["id"])])
    else:
        confirm(sandbox)
    for number in range(2):
        error = ProviderError(Kind.SERVER, "Odoo failed", 500)
        breaker.failed(Connection.objects.get(pk=odoo.pk), subject=f"step:other-{number}", error=error)
    look(provisioned)
    drain()
    step = step_of(provisioned, READY)
    assert step.state == (StepState.BLOCKED if is_cancelled else StepState.SUCCEEDED), shown(provisioned)
    assert Connection.objects.get(pk=odoo.pk).failures == 2


def test_its_clock_at_risk_and_missed_is_a_ticket_for_its_owner(
    provisioned: OnboardingTransaction, sandbox: SandboxControl, drain: Drain, people: dict[str, Any], settled: Settled
) -> None:
    running = clock_of(provisioned)
    clock.shift(running.at_risk_at - clock.now() + timedelta(seconds=30))
    clocks.tick()
    ticket = ticket_of(provisioned, READY)
    assert (ticket.category, ticket.queue, ticket.sla_due) == (Category.STALLED, "finance", running.due_at)
    assert ticket.message.endswith("the order cannot be invoiced yet.")
    assert Alert.objects.get(clock=running).recipient == people["finance"].email
    clock.shift(running.due_at - clock.now() + timedelta(seconds=30))
    clocks.tick()
    assert clock_of(provisioned).state == ClockState.BREACHED
    settled()
    confirm(sandbox)
    polling.poll(step_of(provisioned, READY).pk)
    drain()
    assert clock_of(provisioned).state == ClockState.MET_LATE
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_skipped_it_has_no_clock(provisioned: OnboardingTransaction, drain: Drain) -> None:
    services.skip_step(step_of(provisioned, READY).pk, actor="fin", reason="Invoiced by hand.")
    drain()
    assert clock_of(provisioned).state == ClockState.CANCELLED
    assert status_of(provisioned) == Status.COMPLETE


def test_other_playbooks_have_no_such_clock(odoo: Connection, accept: Accept, drain: Drain) -> None:
    run = accept(**BOUGHT)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert list(SlaClock.objects.values_list("milestone", flat=True)) == [Milestone.P1]


def test_submitted_at_erpnext_it_is_reached(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    import requests

    connect("erpnext", "erp", "/erpnext", sandbox, business_unit_field="business_unit")
    run = accept(**INVOICED)
    drain()
    (order,) = sandbox.objects("erpnext", "Sales Order")
    look(run)
    assert step_of(run, READY).state == StepState.WAITING, shown(run)
    with requests.Session() as session:
        session.trust_env = False
        session.put(
            f"{sandbox.base_url}/erpnext/api/resource/Sales Order/{order['id']}",
            json={"docstatus": 1},
            headers={"Authorization": "token sandbox-erpnext-token", "Accept": "application/json"},
            timeout=10,
        ).raise_for_status()
    look(run)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


# --- Where people and other systems see it


def test_the_api_and_the_lists_show_it(
    provisioned: OnboardingTransaction, api_key: Any, client: Client, people: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    detail = client.get("/api/v1/onboardings/pay_12345/", headers=headers).json()
    assert [each["name"] for each in detail["milestones"]] == ["accepted", "provisioned", "invoice-ready", "complete"]
    assert detail["milestones"][2]["at"] is None
    assert ("IR", "running") in [(each["milestone"], each["state"]) for each in detail["clocks"]]
    for state, count in (("running", 1), ("breached", 0)):
        found = client.get(f"/api/v1/onboardings/?invoice_state={state}", headers=headers).json()
        assert len(found["results"]) == count, state
    client.force_login(people["lead"])
    for value, count in (("on-track", 1), ("late", 0)):
        page = client.get(f"/admin/onboarding/onboardingtransaction/?invoicing={value}").content.decode()
        assert ("invoicing " in page) == bool(count)
    page = client.get(f"/admin/onboarding/onboardingtransaction/{provisioned.pk}/change/").content.decode()
    assert "Provisioned to invoice ready" in page
