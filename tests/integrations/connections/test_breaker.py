"""Refused credentials and crowded vendors belong to the connection, not to each of its steps."""

from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket, TicketStatus, covering
from integrations import clock
from integrations.connections import services as service
from integrations.enums import Breaker
from integrations.models import Connection, ConnectionSlot
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction, Step
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of
from tests.support.threads import together

pytestmark = pytest.mark.usefixtures("connections")


def fresh(connection: Connection) -> Connection:
    return Connection.objects.get(pk=connection.pk)


def revoke(sandbox: SandboxControl) -> None:
    sandbox.set_tokens("hubspot", ["another"])


def restore(sandbox: SandboxControl) -> None:
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token"])


# --- 401 ------------------------------------------------------------------------------------------------------------------


def test_a_401_parks_every_run_behind_one_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    revoke(sandbox)
    runs = [accept(**customer(name)) for name in ("one", "two", "three", "four", "five", "six")]
    drain()
    ticket = Ticket.objects.get()
    assert (ticket.connection, ticket.category, ticket.queue) == (hubspot, Category.AUTH_ERROR, "revenue-operations")
    assert fresh(hubspot).breaker == Breaker.OPEN
    assert all(list(covering(run)) == [ticket] for run in runs)
    assert ticket.sla_due is not None
    settled()


def test_behind_an_open_breaker_nothing_is_sent_and_no_attempt_is_used(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    revoke(sandbox)
    run = accept()
    drain()
    asked = len(sandbox.requests("hubspot"))
    later = accept(**customer("beta"))
    clock.shift(timedelta(minutes=5))
    drain()
    assert len(sandbox.requests("hubspot")) == asked
    assert [step_of(each, "crm.account").attempts for each in (run, later)] == [0, 0]


def test_active_run_is_parked_at_its_current_step(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    sandbox.add_fault("hubspot", "unauthorized", method="POST", path="*/objects/contacts", count=1)
    drain()
    assert step_of(run, "crm.contact").waits_for == WaitsFor.CONNECTION
    assert step_of(run, "delivery.project").state == StepState.SUCCEEDED
    assert step_of(run, "support.organization").state == StepState.SUCCEEDED
    settled()


def test_passed_test_closes_the_breaker_and_resumes_runs(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    revoke(sandbox)
    runs = [accept(**customer(name)) for name in ("one", "two", "three")]
    drain()
    restore(sandbox)
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    assert Ticket.objects.get().status == TicketStatus.RESOLVED
    drain()
    assert [status_of(run) for run in runs] == [Status.COMPLETE] * 3
    assert Ticket.objects.count() == 1
    settled()


def test_failed_test_leaves_the_breaker_open(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    revoke(sandbox)
    accept()
    drain()
    assert not service.close_after_probe(hubspot.pk, actor="kim").ok
    assert fresh(hubspot).breaker == Breaker.OPEN
    assert Ticket.objects.get().is_open


def test_many_concurrent_401s_open_the_breaker_once(
    accept: Accept, sandbox: SandboxControl, hubspot: Connection
) -> None:
    revoke(sandbox)
    steps = [step_of(accept(**customer(f"many{number}")), "crm.account").pk for number in range(6)]
    together([lambda pk=pk: engine.run_step(pk) for pk in steps])
    assert Ticket.objects.count() == 1
    assert fresh(hubspot).breaker == Breaker.OPEN


def test_401_with_older_credentials_does_not_open_the_breaker(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    run = accept()
    current = claiming.claim(step_of(run, "crm.account").pk)
    assert current is not None
    sandbox.set_tokens("hubspot", ["new"])
    service.set_connection("hubspot", system="crm", provider="hubspot", secrets={"token": ["new"]}, actor="kim")
    stale = claiming.Claim(**{**vars(current), "connection": hubspot})
    sandbox.add_fault("hubspot", "unauthorized", count=1)
    record(stale, engine.perform(stale), inline=False)
    assert fresh(hubspot).breaker == Breaker.CLOSED
    assert not Ticket.objects.exists()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


def test_new_credentials_and_a_passed_test_close_the_breaker(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    revoke(sandbox)
    run = accept()
    drain()
    service.set_connection("hubspot", system="crm", provider="hubspot", secrets={"token": ["another"]}, actor="kim")
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    drain()
    assert status_of(run) == Status.COMPLETE
    settled()


# --- 403 ------------------------------------------------------------------------------------------------------------------


def test_a_403_with_a_healthy_connection_is_the_steps_own_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "forbidden", method="POST", path="*/objects/contacts")
    run = accept()
    other = accept(**customer("beta"))
    drain()
    assert fresh(hubspot).breaker == Breaker.CLOSED
    assert ticket_of(run, "crm.contact").category == Category.AUTH_ERROR
    assert ticket_of(other, "crm.contact").http_status == 403
    assert step_of(run, "delivery.project").state == StepState.SUCCEEDED
    settled()


def test_a_403_whose_probe_fails_too_opens_the_breaker(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "forbidden")
    accept()
    drain()
    assert fresh(hubspot).breaker == Breaker.OPEN
    assert Ticket.objects.get().connection == hubspot
    settled()


# --- Not configured -------------------------------------------------------------------------------------------------------


def test_a_disabled_connection_is_replaced_on_retry(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "error_before", status=400, method="POST", path="*/batch/upsert", count=1)
    run = accept()
    drain()
    Connection.objects.filter(pk=hubspot.pk).update(enabled=False)
    other = service.set_connection(
        "hubspot-eu",
        system="crm",
        provider="hubspot",
        base_url=hubspot.base_url,
        environment="sandbox",
        secrets={"token": ["sandbox-hubspot-token"]},
        actor="kim",
    )
    services.retry_step(step_of(run, "crm.account").pk, actor="kim")
    drain()
    assert step_of(run, "crm.account").connection == other
    assert status_of(run) == Status.COMPLETE
    settled()


def test_a_connection_that_is_switched_off_is_not_called_until_it_is_on_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert", count=1)
    run = accept()
    scheduling.one_pass(publish=False)
    assert step_of(run, "crm.account").waits_for == WaitsFor.RETRY
    Connection.objects.filter(pk=hubspot.pk).update(enabled=False)
    asked = len(sandbox.requests("hubspot"))
    drain()
    ticket = ticket_of(run, "crm.account")
    assert (ticket.category, ticket.queue) == (Category.NOT_CONFIGURED, "revenue-operations")
    assert "disabled" in ticket.message
    assert len(sandbox.requests("hubspot")) == asked
    settled()
    Connection.objects.filter(pk=hubspot.pk).update(enabled=True)
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


def test_a_secret_that_is_entered_again_lets_its_steps_go_on(
    accept: Accept, drain: Drain, hubspot: Connection, settled: Settled
) -> None:
    hubspot.secret_rows.all().delete()
    run = accept()
    drain()
    assert ticket_of(run, "crm.account").category == Category.NOT_CONFIGURED
    secrets = {"token": ["sandbox-hubspot-token"]}
    service.set_connection("hubspot", system="crm", provider="hubspot", secrets=secrets, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


def test_unreadable_secret_is_reported(accept: Accept, drain: Drain, hubspot: Connection, settled: Settled) -> None:
    hubspot.secret_rows.all().delete()
    run = accept()
    drain()
    ticket = ticket_of(run, "crm.account")
    assert ticket.category == Category.NOT_CONFIGURED
    assert "the secret 'token' is missing" in ticket.message
    settled()


# --- Concurrency limit
# -----------------------------------------------------------------------------------------------------------------


def test_429_lowers_the_concurrency_limit_and_pauses_the_connection(
    accept: Accept, sandbox: SandboxControl, hubspot: Connection
) -> None:
    sandbox.add_fault("hubspot", "rate_limit", retry_after=30, count=1)
    accept()
    scheduling.one_pass(publish=False)
    slowed = fresh(hubspot)
    assert slowed.concurrency_limit == 4
    assert slowed.paused_until is not None
    assert (slowed.paused_until - clock.now()).total_seconds() == pytest.approx(30, abs=2)


def test_waiting_for_a_paused_connection_uses_no_attempt(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "rate_limit", retry_after=30, count=1)
    accept()
    scheduling.one_pass(publish=False)
    asked = len(sandbox.requests("hubspot"))
    run = accept(**customer("beta"))
    scheduling.one_pass(publish=False)
    step = step_of(run, "crm.account")
    assert (step.waits_for, step.attempts, step.attempt_rows.count()) == (WaitsFor.SLOT, 0, 0)
    assert len(sandbox.requests("hubspot")) == asked
    drain()
    assert status_of(run) == Status.COMPLETE
    settled()


def test_no_more_steps_at_once_than_the_connection_takes(accept: Accept, hubspot: Connection) -> None:
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=2)
    steps = [step_of(accept(**customer(f"slot{number}")), "crm.account").pk for number in range(6)]
    held = [claim for claim in together([lambda pk=pk: claiming.claim(pk) for pk in steps]) if claim]
    assert len(held) == 2
    assert ConnectionSlot.objects.filter(connection=hubspot).exclude(holder="").count() == 2
    assert Step.objects.filter(waits_for=WaitsFor.SLOT, attempts=0).count() == 4


def test_slot_is_released_with_the_result(accept: Accept, drain: Drain, hubspot: Connection, settled: Settled) -> None:
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=1)
    for number in range(3):
        accept(**customer(f"slot{number}"))
    drain(max_passes=200)
    assert set(OnboardingTransaction.objects.values_list("status", flat=True)) == {Status.COMPLETE}
    assert not ConnectionSlot.objects.exclude(holder="").exists()
    settled()


def test_a_lost_workers_slot_expires_with_its_lease(
    accept: Accept, drain: Drain, hubspot: Connection, settled: Settled, settings: Any
) -> None:
    settings.LEASE_SECONDS = 60
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=1)
    run = accept()
    assert claiming.claim(step_of(run, "crm.account").pk) is not None
    other = accept(**customer("beta"))
    drain(max_passes=200)
    assert [status_of(each) for each in (run, other)] == [Status.COMPLETE, Status.COMPLETE]
    settled()
