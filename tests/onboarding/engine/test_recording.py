"""What a vendor did is written down, whatever happens to our side meanwhile."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations.connectors.base import Created
from integrations.enums import Breaker
from integrations.http import client as http
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.signals import breaker_opened
from integrations.vendors.asana import connector
from integrations.vendors.hubspot.connector import HubSpot
from onboarding import services
from onboarding.engine import claiming, locks, recording
from onboarding.engine import execution as engine
from onboarding.engine.claiming import Claim
from onboarding.engine.recording import record
from onboarding.enums import Category, IntentState, Status, StepState, WaitsFor
from onboarding.models import Attempt, Intent, OnboardingTransaction, Reservation
from onboarding.steps.crm.records import Account, Contact
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created

pytestmark = pytest.mark.usefixtures("connections")


@pytest.fixture
def run(accept: Accept) -> OnboardingTransaction:
    return accept()


@pytest.fixture
def account(run: OnboardingTransaction) -> Claim:
    """The account's step, claimed."""
    current = claiming.claim(step_of(run, "crm.account").pk)
    assert current is not None
    return current


def defect(*_: Any, **__: Any) -> Any:
    raise LookupError("a defect")


# --- The database is away -------------------------------------------------------------------------------------------


class Outage:
    """The next so many transactions that need a run find no database; whoever sleeps only moves a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.left, self.slept, self.lock_run = failures, 0.0, locks._lock
        fake = SimpleNamespace(sleep=self.sleep, monotonic=lambda: time.monotonic() + self.slept)
        monkeypatch.setattr(locks, "_lock", self.lock)
        monkeypatch.setattr(locks.LeanRows, "write", self.write)
        monkeypatch.setattr(recording, "time", fake)
        monkeypatch.setattr(locks, "time", fake)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def lock(self, pk: int) -> OnboardingTransaction:
        self._fail()
        return self.lock_run(pk)

    def write(self, *_: Any) -> None:
        """The lean path takes no lock; what fails there is tried again under one."""
        raise OperationalError("the database system is starting up")

    def _fail(self) -> None:
        if self.left:
            self.left -= 1
            raise OperationalError("the database system is starting up")


def test_result_is_kept_until_the_database_is_back(
    run: OnboardingTransaction,
    account: Claim,
    drain: Drain,
    sandbox: SandboxControl,
    monkeypatch: pytest.MonkeyPatch,
    settled: Settled,
) -> None:
    outcome = engine.perform(account)
    outage = Outage(monkeypatch, failures=60)
    record(account, outcome, inline=False)
    assert outage.left == 0
    assert outage.slept > 5
    step = step_of(run, "crm.account")
    assert (step.state, step.token) == (StepState.SUCCEEDED, 1)
    assert Attempt.objects.get(step=step).outcome == "ensured"
    assert not Ticket.objects.exists()
    drain()
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 1
    settled()


def test_result_is_dropped_after_the_lease(
    run: OnboardingTransaction, account: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = engine.perform(account)
    with monkeypatch.context() as away:
        outage = Outage(away, failures=10_000)
        with pytest.raises(OperationalError):
            record(account, outcome, inline=False)
        assert account.lease_deadline < time.monotonic() + outage.slept < account.lease_deadline + 10
    assert step_of(run, "crm.account").state == StepState.RUNNING


def test_secrets_that_the_database_does_not_hand_out_are_asked_for_again(
    run: OnboardingTransaction, drain: Drain, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    read, failures = Connection.secrets, [OperationalError("server closed the connection unexpectedly")]

    def secrets(self: Connection, name: str) -> list[str]:
        if failures:
            raise failures.pop()
        return read(self, name)

    monkeypatch.setattr(Connection, "secrets", secrets)
    scheduling.one_pass(publish=False)
    step = step_of(run, "crm.account")
    assert (step.state, step.waits_for) == (StepState.WAITING, WaitsFor.RETRY)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert not Ticket.objects.exists()
    settled()


# --- What no column takes -------------------------------------------------------------------------------------------


def test_unstorable_id_leaves_the_outcome_indeterminate(
    run: OnboardingTransaction,
    drain: Drain,
    sandbox: SandboxControl,
    monkeypatch: pytest.MonkeyPatch,
    settled: Settled,
) -> None:
    create = HubSpot.create

    def endless(*args: Any) -> Created:
        create(*args)
        return Created("7" * 256, "")

    with monkeypatch.context() as strange:
        strange.setattr(HubSpot, "create", endless)
        engine.run_step(step_of(run, "crm.account").pk)
    intent = Intent.objects.get(step__key="crm.account")
    assert intent.state == IntentState.INDETERMINATE
    assert intent.indeterminate_since is not None
    assert "an id of 256 characters" in ticket_of(run, "crm.account").message
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 1
    settled()


def test_unstorable_link_is_omitted(run: OnboardingTransaction, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "_url", lambda project: f"https://app.asana.com/0/{project.gid}/" + "x" * 500)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.get(kind="project").url == ""


def test_unstorable_characters_do_not_prevent_recording(
    accept: Accept, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch, settled: Settled
) -> None:
    parsed, names = http._parsed, ("Ac\x00me", "Ac(surrogate)me")
    monkeypatch.setattr(http, "_parsed", lambda content: parsed(content.replace(b"(surrogate)", rb"\udc80")))
    sandbox.seed("hubspot", "companies", [{"name": name, "domain": "acme-logistics.com"} for name in names])
    run = accept()
    drain()
    ticket = ticket_of(run, "crm.account")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert {candidate["label"] for candidate in ticket.candidates} == {"Acme", "Ac?me"}
    settled()


# --- A defect of ours -----------------------------------------------------------------------------------------------


def test_a_breaker_that_the_database_cannot_open_now_is_opened_by_the_next_call(
    run: OnboardingTransaction, hubspot: Connection, sandbox: SandboxControl, settled: Settled
) -> None:
    def away(**_: Any) -> None:
        raise OperationalError("deadlock detected")

    sandbox.set_tokens("hubspot", ["another"])
    breaker_opened.connect(away)
    try:
        engine.run_step(step_of(run, "crm.account").pk)
    finally:
        breaker_opened.disconnect(away)
    step = step_of(run, "crm.account")
    assert (step.state, step.waits_for, step.http_status) == (StepState.WAITING, WaitsFor.CONNECTION, 401)
    assert Attempt.objects.get(step=step).finished_at is not None
    scheduling.one_pass(publish=False)
    assert Connection.objects.get(pk=hubspot.pk).breaker == Breaker.OPEN
    settled()


def test_refused_credentials_are_shown_though_the_connections_ticket_cannot_be_opened(
    run: OnboardingTransaction, drain: Drain, hubspot: Connection, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.set_tokens("hubspot", ["another"])
    breaker_opened.connect(defect)
    try:
        drain()
        assert ticket_of(run, "crm.account").category == Category.AUTH_ERROR
        settled()
    finally:
        breaker_opened.disconnect(defect)
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token"])
    services.retry_step(step_of(run, "crm.account").pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_a_step_that_cannot_be_claimed_is_shown_at_once(
    run: OnboardingTransaction,
    drain: Drain,
    sandbox: SandboxControl,
    monkeypatch: pytest.MonkeyPatch,
    settled: Settled,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Account, "params", defect)
        scheduling.one_pass(publish=False)
    ticket = ticket_of(run, "crm.account")
    assert (ticket.category, ticket.queue) == (Category.INTERNAL_ERROR, "revenue-operations")
    assert sandbox.requests("hubspot") == []
    settled()
    services.retry_step(ticket.step_id or 0, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_a_step_that_cannot_be_claimed_inline_leaves_the_one_before_done(
    run: OnboardingTransaction,
    drain: Drain,
    sandbox: SandboxControl,
    monkeypatch: pytest.MonkeyPatch,
    settled: Settled,
) -> None:
    monkeypatch.setattr(Contact, "params", defect)
    scheduling.one_pass(publish=False)
    assert step_of(run, "crm.account").state == StepState.SUCCEEDED
    assert run.mappings.get(kind="company").created_by_us
    assert not Reservation.objects.filter(kind="contact").exists()  # nothing of the claim stays
    drain()
    assert ticket_of(run, "crm.contact").category == Category.INTERNAL_ERROR
    assert not Ticket.objects.filter(step__key="crm.account").exists()
    assert created(sandbox)["companies"] == 1
    settled()


def test_step_without_a_handler_opens_a_ticket_and_blocks_no_other(
    accept: Accept, drain: Drain, connections: dict[str, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider mapping was removed while runs still name its steps."""
    run = accept()
    run.steps.filter(key="support.organization").update(uses="http:gone")
    drain()
    assert ticket_of(run, "support.organization").category == Category.NOT_CONFIGURED
    assert "does “http:gone” any more" in ticket_of(run, "support.organization").message
    assert step_of(run, "delivery.project").state == StepState.SUCCEEDED
