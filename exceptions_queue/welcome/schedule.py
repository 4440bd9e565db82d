"""When a run's later mails are due: planned as the welcome has gone out, put off by a hold, stopped, and resumed."""

from datetime import datetime

from exceptions_queue.sla import business_calendar
from exceptions_queue.welcome import sequences
from integrations import clock
from integrations.database.statements import Table
from onboarding import audit, working_set
from onboarding.engine.locks import locked_run, retried
from onboarding.enums import WITHDRAWN, RunEventType
from onboarding.models import MailState, OnboardingTransaction, ScheduledMail, Step, StopCause
from onboarding.payload.schema import get
from onboarding.services.base import given_reason, require_no
from onboarding.steps.handler import bounded
from onboarding.steps.kickoff import WelcomeMail

STOPPED_BY_EVENT = {
    RunEventType.PAYMENT_REFUNDED: StopCause.REFUND,
    RunEventType.FIRST_VALUE_REACHED: StopCause.FIRST_VALUE,
}
MAILS = Table(ScheduledMail)
NONE_YET = " WHERE NOT EXISTS (SELECT 1 FROM onboarding_scheduledmail WHERE transaction_id = %s)"


def plan(step: Step) -> None:
    """The mails that follow the welcome that ``step`` has just sent, once a run, in the transaction that records it.

    Without a query of its own where the engine works without a lock. A welcome that is sent again plans nothing new.
    """
    run = step.transaction
    rows = _planned(run, clock.now())
    if not rows:
        return
    if lean := working_set.lean_of(run):
        sql, values = MAILS.insert(rows, fenced=True)
        lean.also(f"{sql}{NONE_YET} ON CONFLICT DO NOTHING", [*values, run.pk])
    elif not ScheduledMail.objects.filter(transaction=run).exists():
        ScheduledMail.objects.bulk_create(rows, ignore_conflicts=True)


def _planned(run: OnboardingTransaction, now: datetime) -> list[ScheduledMail]:
    content = run.payload
    sequence = sequences.choose(content)
    if sequence is None:
        return []
    calendar = business_calendar.configured()
    rows = []
    for spec in sequence.mails:
        due = calendar.business_day_after(now, spec.day)
        row = ScheduledMail(
            transaction=run,
            sequence=sequence.name,
            key=spec.key,
            template=spec.text,
            recipient=get(content, "customer.primary_contact.email"),
            reference=bounded(f"firstvalue:{run.onboarding_transaction_id}/welcome/{spec.key}"),
            scheduled_for=due,
            due_at=due,
            created_at=now,
        )
        rows.append(row)
    if rows and working_set.of(run).events([RunEventType.FIRST_VALUE_REACHED]):
        for row in rows:
            _stop(row, StopCause.FIRST_VALUE, now)
    return rows


def _stop(row: ScheduledMail, cause: StopCause, now: datetime, *, actor: str = "", reason: str = "") -> None:
    row.state, row.due_at, row.ended_at = MailState.STOPPED, None, now
    _note_cause(row, cause, actor=actor, reason=reason)


def _note_cause(row: ScheduledMail, cause: StopCause, *, actor: str, reason: str) -> None:
    row.stop_cause, row.stop_reason, row.stopped_by = cause, reason, actor[:150]


def put_off(run: OnboardingTransaction, since: datetime) -> None:
    """After a hold: whatever is still to be sent is sent so many business days later. The caller holds the run locked."""
    _put_off(list(run.scheduled_mails.pending()), since, clock.now())


def _put_off(rows: list[ScheduledMail], since: datetime, now: datetime) -> None:
    calendar = business_calendar.configured()
    days = calendar.business_days_between(since, now)
    for row in rows:
        if days:
            row.scheduled_for = calendar.business_day_after(row.scheduled_for, days)
            row.due_at = row.scheduled_for
        row.save()


def stop(
    run: OnboardingTransaction, cause: StopCause, *, actor: str = audit.SYSTEM, reason: str = ""
) -> list[ScheduledMail]:
    """Send none of what is still to be sent. The caller holds the run locked.

    One that is in a worker's hands may still go out; the cause is noted, so that it is not tried again where it does not.
    """
    rows, now = [], clock.now()
    for row in run.scheduled_mails.stoppable():
        if row.state == MailState.SENDING:
            _note_cause(row, cause, actor=actor, reason=reason)
        else:
            _stop(row, cause, now, actor=actor, reason=reason)
            rows.append(row)
        row.save()
    if rows:
        _record_stop(run, rows, cause, actor)
    return rows


def end_stopped(run: OnboardingTransaction, row: ScheduledMail) -> None:
    """One that was stopped while it was being sent, and did not go out. The caller holds the run locked."""
    cause, actor = StopCause(row.stop_cause), row.stopped_by
    _stop(row, cause, clock.now(), actor=actor, reason=row.stop_reason)
    row.save()
    _record_stop(run, [row], cause, actor)


def _record_stop(run: OnboardingTransaction, rows: list[ScheduledMail], cause: StopCause, actor: str) -> None:
    data = {"cause": str(cause), "mails": [row.key for row in rows]}
    audit.record(run, "onboarding.welcome.stopped", actor=actor, data=data)


# --- What people do -------------------------------------------------------------------------------------------------------


def stop_obstacle(run: OnboardingTransaction) -> str:
    return "" if _has(run, MailState.PENDING) else "No welcome mail is still to be sent."


def resume_obstacle(run: OnboardingTransaction) -> str:
    if run.status in WITHDRAWN:
        return f"The run is {run.get_status_display().lower()}."
    return "" if _has(run, MailState.STOPPED) else "No welcome mail was stopped."


def _has(run: OnboardingTransaction, state: MailState) -> bool:
    """Asks the database nothing where the caller has fetched them already."""
    return any(row.state == state for row in run.scheduled_mails.all())


@retried
def stop_by_person(run_pk: int, *, actor: str, reason: str) -> None:
    """Raises ``Refused``."""
    text = given_reason(reason)
    with locked_run(run_pk) as run:
        require_no(stop_obstacle(run))
        stop(run, StopCause.PERSON, actor=actor, reason=text)


@retried
def resume_by_person(run_pk: int, *, actor: str, reason: str) -> None:
    """What was stopped, by whatever, is scheduled again, so many business days later. Raises ``Refused``."""
    given_reason(reason)
    with locked_run(run_pk) as run:
        require_no(resume_obstacle(run))
        rows, now = list(run.scheduled_mails.stopped()), clock.now()
        run.scheduled_mails.filter(state=MailState.SENDING).update(stop_cause="", stop_reason="", stopped_by="")
        for row in rows:
            since = row.ended_at or now
            row.state, row.due_at, row.ended_at = MailState.PENDING, row.scheduled_for, None
            row.stop_cause = row.stop_reason = row.stopped_by = ""
            _put_off([row], since, now)
        data = {"mails": [row.key for row in rows]}
        audit.record(run, "onboarding.welcome.resumed", actor=actor, data=data)


def is_welcome(step: Step) -> bool:
    return step.uses == WelcomeMail.name
