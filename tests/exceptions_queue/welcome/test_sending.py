"""Each mail at most once: whatever fails, whoever is lost, and however many send."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from exceptions_queue.models import Ticket, TicketStatus
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from exceptions_queue.welcome import schedule, sending
from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import Breaker
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Scope, Topic
from onboarding.models import MailState, OnboardingTransaction, StopCause
from tests.conftest import Drain
from tests.exceptions_queue.welcome.conftest import FIRST_STEPS, Welcome, deliver_at, go_to, mail_of, subjects
from tests.onboarding.conftest import step_of


class Killed(BaseException):
    """In place of SIGKILL: nothing handles it."""


def later(**passed: float) -> int:
    return deliver_at(clock.now() + timedelta(**passed))


def ticket() -> Ticket:
    return Ticket.objects.get(topic=Topic.MAIL, status=TicketStatus.OPEN)


def test_a_worker_killed_between_sending_and_recording_sends_no_second_mail(
    welcome: Welcome, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = welcome()
    go_to(FIRST_STEPS)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(sending, "record", killed)
        with pytest.raises(Killed):
            sending.deliver()
    assert mail_of(run).state == MailState.SENDING
    assert len(subjects(sandbox)) == 2
    assert later(minutes=4) == 0
    assert mail_of(run).state == MailState.SENDING, "its lease is not over"
    assert later(minutes=2) == 0
    assert mail_of(run).state == MailState.INDETERMINATE
    assert later(days=30) == 1, "the next one goes on"
    assert len(subjects(sandbox)) == 3
    assert "“first-steps” may or may not have gone out, and is not sent again" in ticket().message


def test_a_result_after_the_lease_is_kept(
    welcome: Welcome, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = welcome()
    go_to(FIRST_STEPS)
    record = sending.record

    def slowly(claim: Any, outcome: Any) -> None:
        assert later(minutes=6) == 0
        assert mail_of(run).state == MailState.INDETERMINATE
        record(claim, outcome)

    monkeypatch.setattr(sending, "record", slowly)
    assert sending.deliver() == 1
    assert mail_of(run).state == MailState.SENT
    assert mail_of(run).message_id


def test_two_workers_send_one_mail(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    pk = mail_of(run).pk
    go_to(FIRST_STEPS)

    def one(_: int) -> bool:
        try:
            return sending.send(pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == [False, False, False, True]
    assert len(subjects(sandbox)) == 2
    assert mail_of(run).attempts == 1


def test_a_lost_answer_is_not_sent_again(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_after", method="DATA", count=1)
    assert deliver_at(FIRST_STEPS) == 0
    assert mail_of(run).state == MailState.INDETERMINATE
    assert later(hours=12) == 0
    assert len(subjects(sandbox)) == 2
    assert ticket().queue


def test_greylisting_delays_it(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_before", method="RCPT", status=450, count=1)
    assert deliver_at(FIRST_STEPS) == 0
    assert (mail_of(run).state, mail_of(run).attempts) == (MailState.PENDING, 1)
    assert "450" in mail_of(run).error
    assert later(minutes=4) == 0
    assert later(minutes=2) == 1
    assert not Ticket.objects.filter(topic=Topic.MAIL).exists()


def test_a_refused_recipient_is_the_bounce_ticket_with_the_address_to_fix(
    welcome: Welcome, sandbox: SandboxControl, drain: Drain
) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_before", method="RCPT", status=550, path="jordan@*")
    assert deliver_at(FIRST_STEPS) == 0
    assert mail_of(run).state == MailState.FAILED
    assert [problem["path"] for problem in ticket().problems] == ["customer.primary_contact.email"]
    fields = {"customer.primary_contact.email": "lee@acme-logistics.com"}
    actions.perform(ticket().pk, "fix", Actor("kim", Scope.OPERATE), fields=fields)
    drain()
    check_in = mail_of(run, "check-in")
    go_to(check_in.scheduled_for)
    assert sending.deliver() == 1
    assert mail_of(run, "check-in").recipient == "lee@acme-logistics.com", "later mails go to the corrected address"


def test_what_fails_again_and_again_is_given_up_with_a_ticket(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_before", method="RCPT", status=450)
    deliver_at(FIRST_STEPS)
    for _ in range(sending.TRIES):
        later(hours=7)
    assert (mail_of(run).state, mail_of(run).attempts) == (MailState.FAILED, sending.TRIES)
    assert "was not sent" in ticket().message


def test_a_stopped_connection_delays_it_without_attempts(
    welcome: Welcome, sandbox: SandboxControl, smtp: Connection
) -> None:
    run = welcome()
    Connection.objects.filter(pk=smtp.pk).update(breaker=Breaker.OPEN)
    assert deliver_at(FIRST_STEPS) == 0
    assert (mail_of(run).state, mail_of(run).attempts) == (MailState.PENDING, 0)
    assert mail_of(run).error == "The connection mail is stopped."
    Connection.objects.filter(pk=smtp.pk).update(breaker=Breaker.CLOSED)
    assert later(minutes=6) == 1


def test_a_mail_server_that_is_away_opens_the_breaker(welcome: Welcome, sandbox: SandboxControl, settings: Any) -> None:
    runs = [welcome(onboarding_transaction_id=f"pay_{number}") for number in range(5)]
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, 9
    assert deliver_at(FIRST_STEPS) == 0
    assert Connection.objects.get(slug="mail").breaker == Breaker.OPEN
    assert {mail_of(run).state for run in runs} == {MailState.PENDING}
    settings.EMAIL_PORT = port


def test_a_template_that_fails_is_a_ticket(
    welcome: Welcome, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = welcome()

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("of a filter")

    monkeypatch.setattr(sending.texts, "write", broken)
    assert deliver_at(FIRST_STEPS) == 0
    assert mail_of(run).state == MailState.FAILED
    assert "ZeroDivisionError" in ticket().message


def test_it_is_written_in_the_customers_language_with_english_for_the_others(
    welcome: Welcome, sandbox: SandboxControl
) -> None:
    austrian = welcome(customer__language="de-AT")
    french = welcome(onboarding_transaction_id="pay_2", customer__language="fr")
    deliver_at(FIRST_STEPS)
    assert sorted(subjects(sandbox)[-2:]) == ["Acme Logistics: die ersten Schritte", "Acme Logistics: your first steps"]
    assert (mail_of(austrian).language, mail_of(french).language) == ("de", "en")
    assert sorted(subjects(sandbox)[:2]) == [
        "Welcome, Acme Logistics: your onboarding has begun",
        "Willkommen, Acme Logistics: Ihr Onboarding hat begonnen",
    ], "the welcome too"


def test_hostile_values_stay_text(welcome: Welcome, sandbox: SandboxControl) -> None:
    hostile = "Acme <b>& Sons</b>\nBcc: all@example.com"
    welcome(customer__legal_name=hostile, first_value_target__milestone=hostile)
    deliver_at(FIRST_STEPS)
    body = sandbox.objects("mail", "messages")[-1]["body"]
    assert body["subject"] == "Acme <b>& Sons</b> Bcc: all@example.com: your first steps"
    assert "work towards with you: Acme <b>& Sons</b> Bcc: all@example.com.\n" in body["text"]
    assert body["to"] == ["jordan@acme-logistics.com"]


def test_its_call_is_recorded_with_the_welcome_step(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    deliver_at(FIRST_STEPS)
    calls = ApiCall.objects.filter(subject=f"step:{step_of(run, 'welcome.mail').pk}", method="SMTP")
    assert calls.count() == 2
    assert "Jordan" not in str(list(calls.values()))


def test_a_run_that_is_cancelled_while_a_mail_is_being_sent_keeps_its_record(
    welcome: Welcome, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: OnboardingTransaction = welcome()
    go_to(FIRST_STEPS)
    record = sending.record

    def after_cancelling(claim: Any, outcome: Any) -> None:
        services.cancel(run.pk, actor="kim", reason="Withdrawn")
        record(claim, outcome)

    monkeypatch.setattr(sending, "record", after_cancelling)
    assert sending.deliver() == 1
    assert (mail_of(run).state, mail_of(run, "check-in").state) == (MailState.SENT, MailState.STOPPED)
    assert not mail_of(run).stop_cause, "it went out"


@pytest.mark.parametrize("resumed", [False, True])
def test_one_that_is_stopped_while_it_is_being_sent_is_not_tried_again(
    welcome: Welcome, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_before", method="RCPT", status=450, count=1)
    go_to(FIRST_STEPS)
    record = sending.record

    def after_stopping(claim: Any, outcome: Any) -> None:
        schedule.stop_by_person(run.pk, actor="kim", reason="They are on holiday")
        assert mail_of(run).state == MailState.SENDING
        if resumed:
            schedule.resume_by_person(run.pk, actor="kim", reason="They are back")
        record(claim, outcome)

    with monkeypatch.context() as patched:
        patched.setattr(sending, "record", after_stopping)
        assert sending.deliver() == 0
    if resumed:
        assert later(minutes=6) == 1
        return
    mail = mail_of(run)
    assert (mail.state, mail.due_at) == (MailState.STOPPED, None)
    assert (mail.stop_cause, mail.stop_reason, mail.stopped_by) == (StopCause.PERSON, "They are on holiday", "kim")
    assert [entry.data["mails"] for entry in run.audit.filter(name="onboarding.welcome.stopped", actor="kim")] == [
        ["check-in"],
        ["first-steps"],
    ]
    assert later(days=30) == 0
    assert len(subjects(sandbox)) == 1, "the welcome alone"


def test_after_a_move_to_another_connection_for_mail_they_go_through_that(
    welcome: Welcome, sandbox: SandboxControl, smtp: Connection
) -> None:
    run = welcome()
    Connection.objects.filter(pk=smtp.pk).update(enabled=False)
    other = set_connection("mail-2", system="email", provider="smtp", environment="sandbox", actor="tests")
    assert deliver_at(FIRST_STEPS) == 1
    assert (mail_of(run).state, mail_of(run).connection) == (MailState.SENT, other)


def test_without_any_connection_for_mail_they_fail_with_a_ticket(
    welcome: Welcome, sandbox: SandboxControl, smtp: Connection
) -> None:
    run = welcome()
    Connection.objects.filter(pk=smtp.pk).update(enabled=False)
    assert deliver_at(FIRST_STEPS) == 0
    assert (mail_of(run).state, mail_of(run).error) == (MailState.PENDING, "The connection for mail is switched off.")
    assert later(days=2) == 0
    assert mail_of(run).state == MailState.PENDING
    assert later(days=2) == 0
    assert (mail_of(run).state, mail_of(run).due_at) == (MailState.FAILED, None)
    assert ticket().message == ("The welcome mail “first-steps” was not sent: The connection for mail is switched off.")
