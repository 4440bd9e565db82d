"""The P2 clock: provisioned to kickoff scheduled in one business day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage

from exceptions_queue.admin.ui import badges
from exceptions_queue.models import Alert, AlertState, ClockState, Milestone, SlaClock, Ticket, TicketStatus
from exceptions_queue.notifications import alerts
from exceptions_queue.sla import business_calendar
from exceptions_queue.sla import clocks as sla
from exceptions_queue.tickets import lifecycle
from integrations import clock
from integrations.models import Connection
from onboarding import services, signals
from onboarding.engine.locks import locked_run
from onboarding.engine.runs.failures import block
from onboarding.enums import Category, Status, StepState
from onboarding.models import AuditEntry, OnboardingTransaction, Step
from onboarding.sla_targets import KICKOFF
from tests.onboarding.conftest import Accept, step_of, ticket_of

Mails = list[EmailMessage]
FRIDAY_NOON = datetime(2027, 3, 5, 12, 0, tzinfo=UTC)
AT_RISK = datetime(2027, 3, 8, 10, 0, tzinfo=UTC)
DUE = datetime(2027, 3, 8, 12, 0, tzinfo=UTC)
"""In the built-in calendar: UTC, Monday to Friday, 9 to 17 o'clock."""
MOMENT = timedelta(seconds=30)


def go_to(instant: datetime) -> None:
    clock.shift(instant - clock.now())


def pass_of(instant: datetime) -> None:
    go_to(instant)
    sla.tick()
    alerts.deliver()


def p2(run: OnboardingTransaction) -> SlaClock:
    return SlaClock.objects.get(transaction=run, milestone=Milestone.P2)


def send(signal: Any, run: OnboardingTransaction, **facts: Any) -> None:
    """News as the engine sends it: of a locked run, inside a database transaction."""
    with locked_run(run.pk) as locked:
        signal.send(OnboardingTransaction, run=locked, **facts)


def fresh(run: OnboardingTransaction) -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(pk=run.pk)


def provision(run: OnboardingTransaction, *steps: dict[str, Any]) -> OnboardingTransaction:
    """The run has these steps left, and everything else is set up now."""
    with locked_run(run.pk) as locked:
        locked.steps.all().delete()
        for position, facts in enumerate(steps):
            Step.objects.create(transaction=locked, system="delivery", position=position, **facts)
        locked.become_ready(at=clock.now())
        signals.run_provisioned.send(OnboardingTransaction, run=locked)
    return locked


KICKOFF_WAITS = {"key": "kickoff", "uses": KICKOFF, "state": StepState.WAITING, "waits_for": "event"}


def to_be_scheduled(run: OnboardingTransaction, **facts: Any) -> OnboardingTransaction:
    looked_at = clock.now() + timedelta(days=9)
    return provision(run, {**KICKOFF_WAITS, "due_at": looked_at, **facts})


def blocked_step(run: OnboardingTransaction, key: str) -> Ticket:
    with locked_run(run.pk) as locked:
        block(locked, step_of(run, key), Category.VALIDATION_ERROR, "Refused.")
    return ticket_of(run, key)


@pytest.fixture
def accepted(transactional_db: None, accept: Accept, people: Any) -> OnboardingTransaction:
    """Paid on a Friday at noon."""
    go_to(FRIDAY_NOON)
    return accept()


@pytest.fixture
def ready(accepted: OnboardingTransaction) -> OnboardingTransaction:
    """Set up on a Friday at noon; the kickoff is to be scheduled."""
    return to_be_scheduled(accepted)


# --- When it goes -----------------------------------------------------------------------------------------------------


def test_it_starts_when_the_run_is_provisioned_and_counts_business_time(ready: OnboardingTransaction) -> None:
    started = p2(ready)
    assert started.started_at == ready.provisioned_at
    assert timedelta(0) <= started.at_risk_at - AT_RISK < MOMENT
    assert timedelta(0) <= started.due_at - DUE < MOMENT
    policy = (started.target_minutes, started.at_risk_percent, started.calendar)
    assert policy == (480, 75, business_calendar.configured().digest)


def test_the_runs_present_clock_is_the_later_one(ready: OnboardingTransaction) -> None:
    first, second = SlaClock.objects.filter(transaction=ready)
    assert (first.milestone, first.state, first.current_of_id) == ("P1", ClockState.MET, None)
    assert (second.milestone, second.current_of_id) == ("P2", ready.pk)


def test_it_goes_by_the_companys_own_calendar(accepted: Any, tmp_path: Path, settings: Any) -> None:
    (tmp_path / "calendar.toml").write_text('zone = "America/New_York"\n[hours]\nsaturday = ["08:00-18:00"]\n')
    settings.CONFIG_DIR = tmp_path
    due = p2(to_be_scheduled(accepted)).due_at
    assert due == datetime(2027, 3, 6, 21, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{"key": "welcome", "uses": "welcome.mail"}],
        [{"key": "kickoff", "uses": KICKOFF, "state": StepState.SUCCEEDED, "finished_at": FRIDAY_NOON}],
    ],
    ids=["nothing left", "no kickoff", "kickoff scheduled before"],
)
def test_run_without_a_kickoff_gets_no_p2_clock(accepted: Any, steps: list[dict[str, Any]]) -> None:
    provision(accepted, *steps)
    assert [each.milestone for each in accepted.clocks.all()] == ["P1"]


def test_a_run_provisioned_again_gets_no_second_clock(ready: OnboardingTransaction) -> None:
    due = p2(ready).due_at
    go_to(AT_RISK)
    send(signals.run_provisioned, ready)
    assert p2(ready).due_at == due


@pytest.mark.parametrize(
    ("hours", "noticed", "state"),
    [(3, False, ClockState.MET), (73, True, ClockState.MET_LATE), (73, False, ClockState.MET_LATE)],
)
def test_it_ends_when_the_kickoff_is_scheduled(ready: Any, hours: int, noticed: bool, state: str) -> None:
    go_to(FRIDAY_NOON + timedelta(hours=hours))
    if noticed:
        sla.tick()
    at = clock.now()
    send(signals.kickoff_scheduled, ready, at=at)
    ended = p2(ready)
    assert (ended.state, ended.ended_at, ended.next_transition_at) == (state, at, None)
    assert ended.breached_at == (ended.due_at if state == ClockState.MET_LATE else None)


@pytest.mark.parametrize("days", [-30, 300])
def test_wrong_sender_clock_cannot_move_the_end_out_of_range(ready: OnboardingTransaction, days: int) -> None:
    send(signals.kickoff_scheduled, ready, at=clock.now() + timedelta(days=days))
    ended = p2(ready)
    assert ended.state == ClockState.MET
    assert ended.started_at <= ended.ended_at <= clock.now()


def test_it_is_met_when_the_run_completes_without_a_kickoff(ready: OnboardingTransaction) -> None:
    pass_of(AT_RISK + MOMENT)
    with locked_run(ready.pk) as run:
        run.complete(at=clock.now())
    assert (p2(ready).state, p2(ready).ended_at) == (ClockState.MET, run.completed_at)


# --- At risk and late -------------------------------------------------------------------------------------------------


def test_kickoff_at_risk_opens_a_leads_ticket_and_polling_continues(
    ready: OnboardingTransaction, mailoutbox: Mails
) -> None:
    looked_at = step_of(ready, "kickoff").due_at
    pass_of(AT_RISK - MOMENT)
    assert not Ticket.objects.exists()
    for minutes in range(1, 5):
        pass_of(AT_RISK + timedelta(minutes=minutes))
    ticket = ticket_of(ready, "kickoff")
    assert (ticket.category, ticket.queue, ticket.sla_due) == (Category.STALLED, "leads", p2(ready).due_at)
    assert "the kickoff is not scheduled yet" in ticket.message
    assert step_of(ready, "kickoff").due_at == looked_at
    (mail,) = mailoutbox
    assert mail.to == ["lead@firstvalue.example"]
    assert mail.subject == "At risk: Acme Logistics is not scheduled for kickoff yet"
    assert "1 h 59 min of business time are left of 8 h, until 2027-03-08 12:00 UTC" in mail.body
    assert ticket.url in mail.body


def test_playbook_queue_takes_precedence_over_leads(accepted: OnboardingTransaction) -> None:
    run = to_be_scheduled(accepted, queue="support-ops")
    pass_of(AT_RISK + MOMENT)
    assert ticket_of(run, "kickoff").queue == "support-ops"


def test_past_failure_is_not_shown_for_a_waiting_kickoff(accepted: OnboardingTransaction) -> None:
    run = to_be_scheduled(accepted, message="Asana answered 503.", http_status=503)
    pass_of(AT_RISK + MOMENT)
    ticket = ticket_of(run, "kickoff")
    assert ticket.category == Category.STALLED
    assert "503" not in ticket.message


def test_breach_is_recorded_once(ready: OnboardingTransaction, mailoutbox: Mails) -> None:
    pass_of(DUE + timedelta(hours=1))
    late = p2(ready)
    assert (late.state, late.breached_at) == (ClockState.BREACHED, late.due_at)
    assert "it was due at 2027-03-08 12:00 UTC" in mailoutbox[0].body
    names = AuditEntry.objects.filter(transaction=ready, name__startswith="exceptions.sla").values_list("name", "data")
    told = [name.removeprefix("exceptions.sla.") for name, data in names if data["milestone"] == "P2"]
    assert told == ["started", "at-risk", "breached"]


def test_calendar_change_does_not_move_running_clocks(
    ready: OnboardingTransaction, mailoutbox: Mails, tmp_path: Path, settings: Any
) -> None:
    (tmp_path / "calendar.toml").write_text('zone = "UTC"\n[hours]\nsunday = ["08:00-18:00"]\n')
    settings.CONFIG_DIR = tmp_path
    pass_of(AT_RISK + MOMENT)
    assert "it is due at 2027-03-08 12:00 UTC" in mailoutbox[0].body
    assert p2(ready).due_at - DUE < MOMENT


def test_a_kickoff_nobody_worked_on_is_shown_as_the_runs_until_it_is_scheduled(
    accepted: OnboardingTransaction, mailoutbox: Mails
) -> None:
    run = to_be_scheduled(accepted, state=StepState.PENDING, waits_for="")
    pass_of(AT_RISK + MOMENT)
    ticket = ticket_of(run)
    assert (ticket.category, ticket.sla_due) == (Category.STALLED, p2(run).due_at)
    assert len(mailoutbox) == 1
    send(signals.kickoff_scheduled, run, at=clock.now())
    ticket = Ticket.objects.get(pk=ticket.pk)
    assert (ticket.status, ticket.resolution) == (TicketStatus.RESOLVED, "The kickoff is scheduled.")


def test_a_kickoff_that_begins_to_wait_when_it_is_late_already_is_shown_too(accepted: OnboardingTransaction) -> None:
    run = provision(
        accepted,
        {"key": "plan", "uses": "crm.account"},
        {"key": "kickoff", "uses": KICKOFF, "after": ["plan"]},
    )
    before = blocked_step(run, "plan")
    pass_of(AT_RISK + MOMENT)
    assert Alert.objects.get().ticket == before
    with locked_run(run.pk):
        step = step_of(run, "plan")
        step.succeed(at=clock.now())
        step.save()
        signals.step_unblocked.send(Step, step=step, resolution="The step has passed.")
        kickoff = step_of(run, "kickoff")
        kickoff.wait(waits_for="event", due_at=None)
        kickoff.save()
    sla.tick()
    assert ticket_of(run, "kickoff").category == Category.STALLED


def test_unrelated_blocked_step_sends_no_kickoff_alert(accepted: OnboardingTransaction) -> None:
    run = provision(
        accepted,
        {**KICKOFF_WAITS, "due_at": FRIDAY_NOON + timedelta(days=9)},
        {"key": "welcome", "uses": "crm.contact"},
        {"key": "survey", "uses": "crm.contact"},
    )
    blocked_step(run, "welcome")
    pass_of(AT_RISK + MOMENT)
    kickoff = ticket_of(run, "kickoff")
    blocked_step(run, "survey")
    assert [alert.ticket for alert in Alert.objects.all()] == [kickoff]


def test_early_kickoff_does_not_affect_the_p1_clock(accepted: OnboardingTransaction) -> None:
    Step.objects.create(transaction=accepted, system="delivery", position=99, **KICKOFF_WAITS)
    Step.objects.filter(transaction=accepted).exclude(uses=KICKOFF).update(state=StepState.PENDING, due_at=None)
    pass_of(FRIDAY_NOON + timedelta(minutes=16))
    assert [ticket.step for ticket in Ticket.objects.all()] == [None]


# --- Cancelled --------------------------------------------------------------------------------------------------------


def test_cancelling_a_run_ends_its_clock_ticket_and_alerts(ready: OnboardingTransaction, mailoutbox: Mails) -> None:
    blocked_step(ready, "kickoff")
    go_to(AT_RISK + MOMENT)
    lifecycle.for_run(fresh(ready), category=Category.STALLED, message="Slow.", problems=[])
    sla.tick()
    assert Alert.objects.exists()
    send(signals.run_cancelled, ready, at=clock.now(), resolution="The run was cancelled.")
    assert {(t.status, t.resolution) for t in Ticket.objects.all()} == {("resolved", "The run was cancelled.")}
    assert (p2(ready).state, p2(ready).breached_at) == (ClockState.CANCELLED, None)
    pass_of(DUE + timedelta(days=1))
    assert mailoutbox == []
    assert set(Alert.objects.values_list("state", flat=True)) == {AlertState.NOT_NEEDED}
    assert p2(ready).state == ClockState.CANCELLED


@pytest.mark.parametrize("noticed", [True, False])
def test_a_cancelled_runs_breach_stays_on_record(accepted: OnboardingTransaction, noticed: bool) -> None:
    go_to(FRIDAY_NOON + timedelta(minutes=45))
    if noticed:
        sla.tick()
    send(signals.run_cancelled, accepted, at=clock.now(), resolution="The run was cancelled.")
    p1 = SlaClock.objects.get(transaction=accepted)
    assert (p1.state, p1.breached_at) == (ClockState.CANCELLED, p1.due_at)


def test_a_cancelled_run_leaves_what_was_met_as_it_is(ready: OnboardingTransaction) -> None:
    send(signals.run_cancelled, ready, at=clock.now(), resolution="The run was cancelled.")
    assert [each.state for each in ready.clocks.all()] == [ClockState.MET, ClockState.CANCELLED]


# --- Where it is seen -------------------------------------------------------------------------------------------------


def test_tickets_are_due_by_the_clock_that_runs_now(accepted: OnboardingTransaction, asana: Connection) -> None:
    provision(
        accepted, {**KICKOFF_WAITS, "connection": asana, "due_at": DUE}, {"key": "welcome", "uses": "crm.contact"}
    )
    due = p2(accepted).due_at
    assert blocked_step(accepted, "welcome").sla_due == due
    assert lifecycle.for_connection(asana, category="auth-error", message="refused").sla_due == due


def test_open_tickets_become_due_by_the_next_clock(accepted: OnboardingTransaction) -> None:
    ticket = lifecycle.for_run(fresh(accepted), category=Category.MISSING_DATA, message="Gap.", problems=[])
    assert ticket.sla_due == accepted.occurred_at + timedelta(minutes=30)
    to_be_scheduled(accepted)
    assert Ticket.objects.get(pk=ticket.pk).sla_due == p2(accepted).due_at


def test_skipped_kickoff_cancels_the_clock_and_says_so(ready: OnboardingTransaction) -> None:
    services.skip_step(step_of(ready, "kickoff").pk, actor="kim", reason="They need none")
    assert p2(ready).state == ClockState.CANCELLED
    run = fresh(ready)
    assert run.status == Status.COMPLETE
    assert badges.run_sla(run).text == "kickoff skipped"
