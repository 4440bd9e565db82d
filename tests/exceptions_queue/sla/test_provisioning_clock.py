"""The P1 clock: paid to provisioned in 30 minutes, and one mail where that is at risk."""

import threading
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import InterfaceError

from exceptions_queue import scheduling
from exceptions_queue.models import (
    Alert,
    AlertState,
    ClockState,
    CrmOwner,
    Milestone,
    Queue,
    SlaClock,
    Ticket,
    covering,
)
from exceptions_queue.notifications import alerts
from exceptions_queue.roles import Actor
from exceptions_queue.sla import clocks as sla
from exceptions_queue.tickets import actions, lifecycle
from integrations import clock
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, Scope, Status, StepState, WaitsFor
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Drain, Payload
from tests.onboarding.conftest import Accept, Settled, customer, status_of, step_of, ticket_of
from tests.support.threads import together

Mails = list[EmailMessage]


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def p1(run: OnboardingTransaction) -> SlaClock:
    return SlaClock.objects.get(transaction=run, milestone=Milestone.P1)


def one_pass() -> None:
    scheduling.one_pass(publish=False)


@pytest.fixture
def waiting(transactional_db: None, accept: Accept, people: Any) -> OnboardingTransaction:
    """A run that waits for its term, which the deal's owner in sales is asked for."""
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    return accept(commercial__term=None)


def test_the_clock_starts_with_the_payment(transactional_db: None, payload: Payload) -> None:
    paid = clock.now() - minutes(10)
    content = OnboardingPayload.model_validate(payload()).content()
    run = service.accept(content, actor="t", occurred_at=paid).run
    started = p1(run)
    assert (started.started_at, started.at_risk_at, started.due_at) == (paid, paid + minutes(15), paid + minutes(30))


def test_a_payment_of_the_future_counts_as_now(transactional_db: None, payload: Payload) -> None:
    content = OnboardingPayload.model_validate(payload()).content()
    run = service.accept(content, actor="t", occurred_at=clock.now() + timedelta(days=300)).run
    assert p1(run).started_at <= clock.now()


@pytest.mark.usefixtures("connections")
def test_provisioned_in_time_is_met(accept: Accept, drain: Drain, mailoutbox: Mails) -> None:
    run = accept()
    drain()
    clock.shift(minutes(40))
    one_pass()
    assert p1(run).state == ClockState.MET
    assert p1(run).ended_at == OnboardingTransaction.objects.get(pk=run.pk).provisioned_at
    assert mailoutbox == []


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("noticed", [True, False])
def test_provisioned_too_late_is_met_late(noticed: bool, accept: Accept, drain: Drain) -> None:
    run = accept()
    clock.shift(minutes(31))
    if noticed:
        sla.tick()
        assert p1(run).state == ClockState.BREACHED
    drain()
    late = p1(run)
    assert (late.state, late.breached_at) == (ClockState.MET_LATE, late.due_at)


def test_at_risk_the_owner_gets_one_mail(waiting: OnboardingTransaction, mailoutbox: Mails) -> None:
    for _ in range(40):
        clock.shift(minutes(1))
        one_pass()
    (mail,) = mailoutbox
    assert mail.to == ["sales@firstvalue.example"]
    assert "Acme Logistics" in mail.subject
    assert "Term: missing or implausible." in mail.body
    assert ticket_of(waiting).url in mail.body
    assert p1(waiting).state == ClockState.BREACHED


def test_before_half_time_nobody_is_mailed(waiting: OnboardingTransaction, mailoutbox: Mails) -> None:
    clock.shift(minutes(14.9))
    one_pass()
    assert mailoutbox == []


def test_two_schedulers_send_it_once(waiting: OnboardingTransaction, mailoutbox: Mails) -> None:
    clock.shift(minutes(16))
    together([one_pass] * 4)
    together([one_pass] * 4)
    assert len(mailoutbox) == 1
    assert Alert.objects.get().state == AlertState.SENT


@pytest.mark.usefixtures("connections")
def test_no_mail_once_it_is_resolved(accept: Accept, drain: Drain, people: Any, mailoutbox: Mails) -> None:
    run = accept(commercial__term=None)
    clock.shift(minutes(16))
    sla.tick()
    assert Alert.objects.get().state == AlertState.PENDING
    services.fix(run.pk, {"commercial.term": "annual"}, actor="kim")
    drain()
    assert mailoutbox == []
    assert Alert.objects.get().state == AlertState.NOT_NEEDED


def test_without_an_owner_the_queues_members_are_mailed(
    transactional_db: None, accept: Accept, people: Any, mailoutbox: Mails
) -> None:
    accept(commercial__term=None)
    clock.shift(minutes(16))
    one_pass()
    assert [mail.to for mail in mailoutbox] == [["sales@firstvalue.example"]]


def test_a_queues_own_address_goes_before_its_members(
    transactional_db: None, accept: Accept, people: Any, mailoutbox: Mails
) -> None:
    Queue.objects.filter(slug="sales-ops").update(email="team@firstvalue.example")
    accept(commercial__term=None)
    clock.shift(minutes(16))
    one_pass()
    assert [mail.to for mail in mailoutbox] == [["team@firstvalue.example"]]


def test_an_empty_queues_mail_goes_to_the_leads(
    transactional_db: None, accept: Accept, people: Any, mailoutbox: Mails
) -> None:
    people["sales"].delete()
    accept(commercial__term=None)
    clock.shift(minutes(16))
    one_pass()
    assert [mail.to for mail in mailoutbox] == [["lead@firstvalue.example"]]


def test_a_mail_server_that_fails_is_tried_again(
    waiting: OnboardingTransaction, mailoutbox: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.shift(minutes(16))
    with monkeypatch.context() as failing:
        failing.setattr(EmailMessage, "send", lambda _: 1 / 0)
        one_pass()
    assert Alert.objects.get().state == AlertState.PENDING
    clock.shift(minutes(2))
    one_pass()
    assert len(mailoutbox) == 1
    assert Alert.objects.get().state == AlertState.SENT


def test_alert_fails_after_the_last_attempt(waiting: OnboardingTransaction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmailMessage, "send", lambda _: 1 / 0)
    clock.shift(minutes(16))
    for _ in range(alerts.TRIES + 3):
        one_pass()
        clock.shift(minutes(2))
    assert (Alert.objects.get().state, Alert.objects.get().attempts) == (AlertState.FAILED, alerts.TRIES)


def test_lost_sender_is_replaced_and_the_mail_says_so(
    waiting: OnboardingTransaction, mailoutbox: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_: EmailMessage) -> None:
        raise KeyboardInterrupt

    clock.shift(minutes(16))
    sla.tick()
    with monkeypatch.context() as failing:
        failing.setattr(EmailMessage, "send", dies)
        with pytest.raises(KeyboardInterrupt):
            alerts.deliver()
    alerts.deliver()
    assert mailoutbox == []
    clock.shift(minutes(6))
    alerts.deliver()
    assert "may have received this mail before" in mailoutbox[0].body


@pytest.mark.usefixtures("connections")
def test_silent_retry_gets_a_ticket_at_risk_and_keeps_retrying(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any, mailoutbox: Mails, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "rate_limit", retry_after=1200)
    run = accept()
    one_pass()
    assert not Ticket.objects.exists()
    clock.shift(minutes(15.1))
    one_pass()
    ticket = ticket_of(run, "crm.account")
    assert (ticket.category, ticket.queue) == (Category.RATE_LIMIT, "revenue-operations")
    step = step_of(run, "crm.account")
    assert step.state == StepState.BLOCKED
    assert step.due_at is not None
    assert [mail.to for mail in mailoutbox] == [["engineer@firstvalue.example"]]
    settled()
    sandbox.clear_faults()
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.filter(resolved_at=None).exists()


@pytest.mark.usefixtures("connections")
def test_untouched_run_gets_a_ticket_at_risk(accept: Accept, drain: Drain, people: Any, mailoutbox: Mails) -> None:
    run = accept()
    clock.shift(minutes(16))
    sla.tick()
    assert ticket_of(run).category == Category.STALLED
    drain()
    assert status_of(run) == Status.COMPLETE
    assert Ticket.objects.get().resolution == "The customer is provisioned."


@pytest.mark.usefixtures("connections")
def test_a_parked_runs_mail_names_the_connection(
    accept: Accept, sandbox: SandboxControl, people: Any, mailoutbox: Mails, settled: Settled
) -> None:
    sandbox.set_tokens("hubspot", ["another"])
    runs = [accept(), accept(**customer("beta"))]
    one_pass()
    clock.shift(minutes(16))
    one_pass()
    assert Ticket.objects.count() == 1
    assert sorted(mail.to[0] for mail in mailoutbox) == ["engineer@firstvalue.example"] * len(runs)
    assert all(Ticket.objects.get().message in mail.body and "HubSpot" in mail.body for mail in mailoutbox)
    settled()


@pytest.mark.usefixtures("connections")
def test_a_ticket_that_opens_when_its_run_is_at_risk_already_mails_its_owner_once(
    accept: Accept, drain: Drain, sandbox: SandboxControl, people: Any, mailoutbox: Mails
) -> None:
    same = {"domain": "acme-logistics.com"}
    sandbox.seed("hubspot", "companies", [{"name": name, **same} for name in ("Acme", "ACME")])
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    run = accept()
    clock.shift(minutes(16))
    sla.tick()  # nobody worked on the run: engineering learns of it
    drain()
    ticket = ticket_of(run, "crm.account")
    assert (ticket.category, ticket.owner) == (Category.AMBIGUOUS_MATCH, people["sales"])
    services.flag_slow_step(step_of(run, "support.organization").pk, "slow")
    lifecycle.for_step(step_of(run, "crm.account"))  # renewed
    for _ in range(20):
        clock.shift(minutes(1))
        one_pass()
    assert Counter(mail.to[0] for mail in mailoutbox)["sales@firstvalue.example"] == 1
    assert ticket.url in next(mail.body for mail in mailoutbox if mail.to == ["sales@firstvalue.example"])


def test_whoever_gets_a_ticket_of_a_run_at_risk_is_mailed_once(
    waiting: OnboardingTransaction, people: Any, mailoutbox: Mails
) -> None:
    clock.shift(minutes(16))
    one_pass()
    ticket = ticket_of(waiting)
    for owner in ("finance", "lead", "finance"):
        actions.perform(ticket.pk, "assign", Actor("kim", Scope.OPERATE), queue="finance", owner=owner)
        one_pass()
    assert [mail.to[0].partition("@")[0] for mail in mailoutbox] == ["sales", "finance", "lead"]


def test_a_ticket_given_on_before_half_time_mails_nobody(
    waiting: OnboardingTransaction, people: Any, mailoutbox: Mails
) -> None:
    actions.perform(ticket_of(waiting).pk, "assign", Actor("kim", Scope.OPERATE), owner="lead")
    one_pass()
    assert mailoutbox == []


def test_what_a_mail_server_says_is_stored_without_addresses(
    waiting: OnboardingTransaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: EmailMessage) -> None:
        raise ConnectionError("550 no such user jordan.lee@acme-logistics.com")

    monkeypatch.setattr(EmailMessage, "send", refuses)
    clock.shift(minutes(16))
    one_pass()
    error = Alert.objects.get().error
    assert error.startswith("ConnectionError: 550 no such user")
    assert "jordan.lee" not in error


def test_a_slow_mail_server_costs_a_pass_no_more_than_its_share(
    waiting: OnboardingTransaction, accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        accept(**customer(f"slow{number}"), commercial__term=None)
    clock.shift(minutes(16))
    sla.tick()
    assert Alert.objects.count() == 5
    passed = [0.0]

    def slow(_: EmailMessage) -> None:
        passed[0] += 9

    monkeypatch.setattr(EmailMessage, "send", slow)
    monkeypatch.setattr(alerts, "time", SimpleNamespace(monotonic=lambda: passed[0]))
    assert alerts.deliver() == 3
    assert Alert.objects.filter(state=AlertState.PENDING, attempts=0).count() == 2
    assert alerts.deliver() == 2


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("waits_for", [WaitsFor.RETRY, WaitsFor.SLOT])
def test_long_wait_of_a_late_run_gets_a_ticket(
    waits_for: str,
    accept: Accept,
    drain: Drain,
    sandbox: SandboxControl,
    people: Any,
    mailoutbox: Mails,
    settled: Settled,
) -> None:
    run = accept(commercial__term=None)
    clock.shift(minutes(40))
    one_pass()
    sandbox.add_fault("hubspot", "rate_limit", retry_after=3000, count=1)
    if waits_for == WaitsFor.SLOT:
        accept(**customer("beta"))
        one_pass()
    services.fix(run.pk, {"commercial.term": "annual"}, actor="kim")
    one_pass()
    assert step_of(run, "crm.account").waits_for == waits_for
    for _ in range(3):
        clock.shift(minutes(1))
        one_pass()
    assert list(covering(run)) == [ticket_of(run, "crm.account")]
    assert step_of(run, "crm.account").due_at is not None
    assert "engineer@firstvalue.example" in [mail.to[0] for mail in mailoutbox]
    drain()
    assert status_of(run) == Status.COMPLETE
    settled()


def test_one_failing_clock_stops_no_other(
    waiting: OnboardingTransaction, accept: Accept, mailoutbox: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(**customer("beta"), commercial__term=None)
    queue = alerts.queue_at_risk

    def poisoned(clock_: SlaClock, ticket: Ticket) -> None:
        if clock_.transaction_id == waiting.pk:
            raise LookupError("no such group")
        queue(clock_, ticket)

    monkeypatch.setattr(alerts, "queue_at_risk", poisoned)
    clock.shift(minutes(16))
    one_pass()
    assert [mail.subject for mail in mailoutbox] == ["At risk: Beta Works is not provisioned yet"]


def test_the_scheduler_outlives_a_pass_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[object] = []
    stop = threading.Event()

    def failing(**asked: object) -> None:
        passes.append(asked)
        if len(passes) == 3:
            stop.set()
        raise InterfaceError("connection already closed") if len(passes) == 1 else LookupError("a defect")

    monkeypatch.setattr(scheduling, "one_pass", failing)
    monkeypatch.setattr(scheduling.alerts, "deliver", lambda: 0)
    monkeypatch.setattr(scheduling.retention, "delete_old_calls", lambda _: 0)
    monkeypatch.setattr(scheduling.execution.stopping, "set", lambda: None)
    scheduling.run_forever(stop, every=0.01)
    assert len(passes) == 3
