"""When the mails after the welcome are due, and what stops or puts them off."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database

from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.runs.actions import ACTIONS, perform
from exceptions_queue.runs.declaration import Target
from exceptions_queue.sla.business_calendar import parse
from exceptions_queue.welcome import schedule
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.enums import RunEventType, Scope, Status
from onboarding.models import MailState, OnboardingTransaction, ScheduledMail, StopCause
from onboarding.services import Refused
from tests.conftest import Drain
from tests.exceptions_queue.welcome.conftest import (
    CHECK_IN,
    FIRST_STEPS,
    THURSDAY,
    Welcome,
    deliver_at,
    go_to,
    mail_of,
    states,
    subjects,
)
from tests.onboarding.conftest import Accept, status_of, step_of

BY = {"actor": "kim", "reason": "The customer asked us to wait"}
WEEK = {name: ["09:00-17:00"] for name in ("monday", "tuesday", "wednesday", "thursday", "friday")}
PENDING = {"first-steps": MailState.PENDING, "check-in": MailState.PENDING}
STOPPED = {"first-steps": MailState.STOPPED, "check-in": MailState.STOPPED}


def report(run: OnboardingTransaction, kind: RunEventType, event_id: str = "evt_1") -> None:
    services.receive_event(run.pk, kind=kind, event_id=event_id, occurred_at=clock.now(), data={}, actor="tests")


def causes(run: OnboardingTransaction) -> set[str]:
    return set(run.scheduled_mails.values_list("stop_cause", flat=True))


# --- Business days ------------------------------------------------------------------------------------------------------


def test_business_days_skip_weekends_and_holidays() -> None:
    calendar = parse({"zone": "Europe/Berlin", "hours": WEEK, "holidays": [date(2027, 3, 8)]})
    due = calendar.business_day_after(THURSDAY, 3)
    assert due.isoformat() == "2027-03-10T08:00:00+00:00", "Friday, Tuesday, Wednesday at nine in Berlin"
    assert calendar.business_days_between(THURSDAY, due) == 3
    assert calendar.business_days_between(due, THURSDAY) == 0
    assert calendar.business_day_after(THURSDAY + timedelta(days=2), 1).day == 9, "from a Saturday on"
    with pytest.raises(ValueError, match="number 1"):
        calendar.business_day_after(THURSDAY, 0)


def test_the_mails_are_planned_as_the_welcome_goes_out(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    assert {mail.key: mail.scheduled_for for mail in run.scheduled_mails.all()} == {
        "first-steps": FIRST_STEPS,
        "check-in": CHECK_IN,
    }
    assert deliver_at(FIRST_STEPS - timedelta(seconds=1)) == 0
    assert len(subjects(sandbox)) == 1, "the welcome alone"


@pytest.mark.skipif(database.vendor != "postgresql", reason="the lean path is PostgreSQL's")
def test_planning_adds_no_statement_where_the_engine_needs_no_lock(
    welcome: Welcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("written by a statement of its own")

    monkeypatch.setattr(type(ScheduledMail.objects), "bulk_create", refuse)
    assert states(welcome()) == PENDING


def test_a_holiday_puts_them_off(welcome: Welcome, tmp_path: Path, settings: Any, accept: Accept, drain: Drain) -> None:
    (tmp_path / "calendar.toml").write_text(
        'zone = "UTC"\nholidays = [2027-03-05]\n[hours]\n'
        + "\n".join(f"{day} = {hours}" for day, hours in WEEK.items())
    )
    settings.CONFIG_DIR = tmp_path
    assert mail_of(welcome()).scheduled_for == FIRST_STEPS + timedelta(days=1)


def test_they_do_not_hold_up_completion(welcome: Welcome, drain: Drain) -> None:
    run = welcome()
    report(run, RunEventType.KICKOFF_SCHEDULED)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert states(run) == PENDING


def test_they_go_out_when_they_are_due_once_each(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    assert deliver_at(FIRST_STEPS) == 1
    assert deliver_at(FIRST_STEPS + timedelta(minutes=10)) == 0
    assert deliver_at(CHECK_IN) == 1
    assert deliver_at(CHECK_IN + timedelta(days=30)) == 0
    assert subjects(sandbox) == [
        "Welcome, Acme Logistics: your onboarding has begun",
        "Acme Logistics: your first steps",
        "Acme Logistics: how is it going?",
    ]
    assert set(states(run).values()) == {MailState.SENT}
    assert run.audit.filter(name="onboarding.welcome.sent").count() == 2
    assert list(audit.broken_links()) == []


def test_segment_chooses_the_sequence(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    chosen = schedule.sequences.choose({"customer": {"segment": " Enterprise "}})
    assert chosen is not None
    assert [mail.key for mail in chosen.mails] == ["preparation", "first-steps", "check-in"]


def test_a_welcome_that_is_sent_again_plans_nothing_anew(
    welcome: Welcome, drain: Drain, sandbox: SandboxControl
) -> None:
    run = welcome()
    before = list(run.scheduled_mails.values())
    services.resend(step_of(run, "welcome.mail").pk, actor="kim")
    drain()
    assert len(subjects(sandbox)) == 2
    assert list(run.scheduled_mails.values()) == before


# --- Stopping -------------------------------------------------------------------------------------------------------------


def test_a_cancelled_run_sends_none(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    services.cancel(run.pk, **BY)
    assert (states(run), causes(run)) == (STOPPED, {StopCause.CANCELLED})
    assert deliver_at(CHECK_IN) == 0
    assert len(subjects(sandbox)) == 1


def test_a_rollback_sends_none(welcome: Welcome) -> None:
    run = welcome()
    services.rollback(run.pk, **BY)
    assert (states(run), causes(run)) == (STOPPED, {StopCause.CANCELLED})


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (RunEventType.PAYMENT_REFUNDED, StopCause.REFUND),
        (RunEventType.FIRST_VALUE_REACHED, StopCause.FIRST_VALUE),
    ],
)
def test_refund_and_first_value_stop_them(
    welcome: Welcome, sandbox: SandboxControl, kind: RunEventType, cause: StopCause
) -> None:
    run = welcome()
    report(run, kind)
    assert (states(run), causes(run)) == (STOPPED, {cause})
    if run.__class__.objects.get(pk=run.pk).held_at:
        services.keep(run.pk, **BY)
    assert deliver_at(CHECK_IN) == 0, "not by a person's decision about the run, either"
    assert len(subjects(sandbox)) == 1


def test_first_value_before_the_welcome_schedules_none(
    accept: Accept, drain: Drain, connections: dict[str, Connection], smtp: Connection
) -> None:
    go_to(THURSDAY)
    run = accept()
    report(run, RunEventType.FIRST_VALUE_REACHED)
    drain()
    assert (states(run), causes(run)) == (STOPPED, {StopCause.FIRST_VALUE})


def test_a_welcome_that_is_skipped_as_it_is_sent_again_stops_them(
    welcome: Welcome, drain: Drain, sandbox: SandboxControl
) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_before", method="RCPT", status=550, path="jordan@*")
    services.resend(step_of(run, "welcome.mail").pk, actor="kim")
    drain()
    assert states(run) == PENDING
    services.skip_step(step_of(run, "welcome.mail").pk, **BY)
    assert (states(run), causes(run)) == (STOPPED, {StopCause.SKIPPED})
    schedule.resume_by_person(run.pk, **BY)
    assert deliver_at(CHECK_IN) == 0
    assert (states(run), causes(run)) == (STOPPED, {StopCause.SKIPPED}), "nothing has welcomed them yet"


def test_cancelling_while_the_welcome_is_sent_again_keeps_its_own_cause(
    welcome: Welcome, drain: Drain, sandbox: SandboxControl
) -> None:
    run = welcome()
    sandbox.add_fault("mail", "error_before", method="RCPT", status=550, path="jordan@*")
    services.resend(step_of(run, "welcome.mail").pk, actor="kim")
    drain()
    services.cancel(run.pk, **BY)
    assert (states(run), causes(run)) == (STOPPED, {StopCause.CANCELLED})


def test_other_events_stop_nothing(welcome: Welcome) -> None:
    run = welcome()
    report(run, RunEventType.KICKOFF_SCHEDULED)
    assert states(run) == PENDING


def test_a_person_stops_and_resumes_them(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    by = Actor("kim", Scope.OPERATE)
    perform(ACTIONS["stop-welcome"], Target(run), by, {"reason": "They are on holiday"})
    mail = mail_of(run)
    assert (mail.stop_cause, mail.stop_reason, mail.stopped_by) == (StopCause.PERSON, "They are on holiday", "kim")
    with pytest.raises(Refused, match="No welcome mail is still to be sent"):
        schedule.stop_by_person(run.pk, **BY)
    assert deliver_at(FIRST_STEPS) == 0
    perform(ACTIONS["resume-welcome"], Target(run), by, {"reason": "They are back"})
    assert mail_of(run).scheduled_for == FIRST_STEPS + timedelta(days=3), "three business days later, on Friday"
    assert not mail_of(run).stop_reason
    assert deliver_at(FIRST_STEPS + timedelta(days=3)) == 1
    assert [entry.name for entry in run.audit.filter(name__startswith="onboarding.welcome.")] == [
        "onboarding.welcome.stopped",
        "onboarding.welcome.resumed",
        "onboarding.welcome.sent",
    ]


def test_stopping_and_resuming_need_a_reason_and_something_to_stop(welcome: Welcome) -> None:
    run = welcome()
    with pytest.raises(Refused, match="reason"):
        schedule.stop_by_person(run.pk, actor="kim", reason=" ")
    with pytest.raises(Refused, match="No welcome mail was stopped"):
        schedule.resume_by_person(run.pk, **BY)
    services.cancel(run.pk, **BY)
    with pytest.raises(Refused, match="The run is cancelled"):
        schedule.resume_by_person(run.pk, **BY)


# --- Hold -------------------------------------------------------------------------------------------------------------------


def test_a_hold_pauses_them_and_they_go_on_later(welcome: Welcome, sandbox: SandboxControl) -> None:
    run = welcome()
    services.hold(run.pk, **BY)
    assert deliver_at(CHECK_IN) == 0
    assert states(run) == PENDING
    services.resume(run.pk, actor="kim")
    assert mail_of(run).scheduled_for == FIRST_STEPS + timedelta(days=9), "seven business days later: not all at once"
    assert deliver_at(CHECK_IN) == 0
    assert deliver_at(FIRST_STEPS + timedelta(days=9)) == 1
    assert subjects(sandbox)[-1] == "Acme Logistics: your first steps"


def test_a_short_hold_moves_nothing(welcome: Welcome) -> None:
    run = welcome()
    services.hold(run.pk, **BY)
    go_to(THURSDAY + timedelta(hours=2))
    services.resume(run.pk, actor="kim")
    assert mail_of(run).scheduled_for == FIRST_STEPS


def test_a_decision_to_keep_the_run_ends_the_hold_too(welcome: Welcome) -> None:
    run = welcome()
    services.hold(run.pk, **BY)
    go_to(THURSDAY + timedelta(days=1))
    services.keep(run.pk, **BY)
    assert mail_of(run).scheduled_for == FIRST_STEPS + timedelta(days=1)


def test_no_ticket_comes_of_all_this(welcome: Welcome) -> None:
    run = welcome()
    deliver_at(FIRST_STEPS)
    deliver_at(CHECK_IN)
    assert not Ticket.objects.filter(transaction=run, resolved_at=None).exists()
    assert not ScheduledMail.objects.exclude(due_at=None).exists()
