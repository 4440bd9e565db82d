"""Sending what is due of the welcome sequences, each mail at most once.

A mail is claimed in a short transaction, sent outside of any, and recorded in a second one. What is claimed and never
recorded (a worker was lost in between) may have gone out, and so may one whose send ended without a clear answer: neither is
sent again, and a ticket says so.
"""

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError

from exceptions_queue.welcome import schedule, texts
from integrations import clock
from integrations.connections import breaker
from integrations.connections import services as connections
from integrations.connectors import registry
from integrations.connectors.base import Created
from integrations.connectors.objects import Mail
from integrations.enums import Breaker, System
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.http.redaction import redact_text
from integrations.models import Connection
from onboarding import audit
from onboarding.engine.facts import facts_of
from onboarding.engine.locks import locked_run, retried
from onboarding.enums import WITHDRAWN, StepState
from onboarding.models import MailState, ObjectMapping, OnboardingTransaction, ScheduledMail, Step, StopCause
from onboarding.signals import mail_bounced
from onboarding.steps import kickoff
from onboarding.steps.kickoff import WelcomeMail
from onboarding.steps.registry import HANDLERS

LEASE = timedelta(minutes=5)
SEND_SECONDS = 60.0
"""Within so much of the lease a mail has to have left."""
AGAIN = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=6)
TRIES = 8
WITHOUT_CONNECTION = timedelta(days=3)
"""So long after its day a mail waits for a connection to be sent through."""
AT_ONCE = 50
REFUSED = (Kind.INVALID, Kind.CONFLICT, Kind.NOT_FOUND, Kind.JOB_FAILED)
"""Failures that another try does not change."""
RECIPIENT = "to"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Claim:
    """A mail that is ours to send until its lease is over."""

    pk: int
    step_pk: int
    attempt: int
    connection: Connection
    mail: Mail
    reference: str


@dataclass(frozen=True)
class _Outcome:
    message_id: str = ""
    error: ProviderError | None = None


def deliver(within: float = 20.0) -> int:
    """Send what is due; how many went out. One that cannot be sent keeps no other; the rest stays due after ``within`` seconds."""
    sent, ends = 0, time.monotonic() + within
    for pk in list(ScheduledMail.objects.due(clock.now()).values_list("pk", flat=True)[:AT_ONCE]):
        if time.monotonic() > ends:
            break
        try:
            sent += send(pk)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            log.exception("The scheduled mail %s could not be sent; the sweep looks at it again", pk)
    return sent


def send(pk: int) -> bool:
    """Whether it went out now."""
    claim = _claim(pk)
    if claim is None:
        return False
    outcome = _ask_vendor(claim)
    record(claim, outcome)
    return not outcome.error


# --- Claiming -------------------------------------------------------------------------------------------------------------


@retried
def _claim(pk: int) -> _Claim | None:
    """None where it is not to be sent now: then its row says why."""
    run_pk = ScheduledMail.objects.values_list("transaction_id", flat=True).get(pk=pk)
    with locked_run(run_pk) as run:
        row, now = ScheduledMail.objects.get(pk=pk), clock.now()
        if row.due_at is None or row.due_at > now:
            return None  # somebody else was here first
        if row.state == MailState.SENDING:
            _end_unsent(run, row, MailState.INDETERMINATE, "Sending it was interrupted.")
            return None
        if run.status in WITHDRAWN:
            schedule.stop(run, StopCause.CANCELLED)
            return None
        if run.held_at:
            return None
        step = welcome_step(run)
        if step is None and not run.steps.filter(uses=WelcomeMail.name).exclude(state=StepState.SKIPPED).exists():
            schedule.stop(run, StopCause.SKIPPED)
            return None
        connection = _connection_of(step) if step else None
        obstacle = _obstacle(step, connection)
        if step and connection is None and now > row.scheduled_for + WITHOUT_CONNECTION:
            _end_unsent(run, row, MailState.FAILED, obstacle)
            return None
        if step is None or connection is None or obstacle:
            row.wait(now + AGAIN, obstacle)
            return None
        return _take(run, row, step, connection)


def welcome_step(run: OnboardingTransaction) -> Step | None:
    welcomes = run.steps.filter(uses=WelcomeMail.name, state=StepState.SUCCEEDED)
    return welcomes.select_related("connection").first()


def _connection_of(step: Step) -> Connection | None:
    """The welcome's own; where it is switched off, the one through which mail is sent now."""
    if step.connection and step.connection.enabled:
        return step.connection
    return connections.default_connection(System(step.system), HANDLERS[step.uses].provider)


def _obstacle(step: Step | None, connection: Connection | None) -> str:
    """Why nothing can be sent for now. A ticket of the connection's own tells people, where it is stopped."""
    if step is None:
        return "The welcome has not gone out yet."
    if connection is None:
        return "The connection for mail is switched off."
    if connection.breaker != Breaker.CLOSED:
        return f"The connection {connection.slug} is stopped."
    paused = connection.paused_until
    return "The vendor has asked us to wait." if paused and paused > clock.now() else ""


def _take(run: OnboardingTransaction, row: ScheduledMail, step: Step, connection: Connection) -> _Claim | None:
    try:
        written = written_for(run, row.template, step)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # whatever a filter or a tag of the company's own raises
        log.exception("The mail %s could not be written", row)
        _end_unsent(run, row, MailState.FAILED, f"Its template failed: {type(error).__name__}: {error}")
        return None
    mail = written.to(run.payload)
    row.state, row.due_at = MailState.SENDING, clock.now() + LEASE
    row.attempts, row.error = row.attempts + 1, ""
    row.recipient, row.language, row.connection = mail.to[:254], written.language, connection
    row.save()
    return _Claim(row.pk, step.pk, row.attempts, connection, mail, row.reference)


def written_for(
    run: OnboardingTransaction,
    template: str,
    step: Step | None,
    *,
    content: dict[str, Any] | None = None,
    language: str = "",
) -> texts.Written:
    """With the run's payload as it is now, or ``content`` in its place."""
    content = run.payload if content is None else content
    link = facts_of(run, step).links.get("kickoff.link", "") if step else ""
    return texts.write(template, content, kickoff.owner_of(content), link, language=language)


# --- Sending ----------------------------------------------------------------------------------------------------------------


def _ask_vendor(claim: _Claim) -> _Outcome:
    """Never raises: whatever happens is recorded."""
    deadline = time.monotonic() + SEND_SECONDS
    try:
        connector = registry.connector(
            claim.connection,
            subject=f"step:{claim.step_pk}",
            deadline=deadline,
            before_write=partial(_check_time, deadline),
        )
        made = connector.create(claim.mail, claim.reference)
    except DeadlinePassed:
        return _Outcome(error=ProviderError(Kind.SERVER, "The time to send it was over.", ours=True))
    except ProviderError as error:
        _tell_breaker(claim, error)
        return _Outcome(error=error)
    except Exception as error:
        log.exception("The scheduled mail %s broke", claim.pk)
        words = f"{type(error).__name__} while it was sent."
        return _Outcome(error=ProviderError(Kind.SERVER, words, effect_possible=True, ours=True))
    _tell_breaker(claim, None)
    return _Outcome(message_id=made.external_id if isinstance(made, Created) else "")


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DeadlinePassed


def _tell_breaker(claim: _Claim, error: ProviderError | None) -> None:
    """And a refusal of the credentials stops the connection, as where a step meets it."""
    try:
        breaker.count(claim.connection, error, subject=f"mail:{claim.pk}")
        if error is not None and error.kind is Kind.AUTH:
            connections.record_auth_failure(
                claim.connection.pk,
                credentials_version=claim.connection.credentials_version,
                status=error.http_status,
                reason=error.message,
            )
    except Exception:
        # The outcome must still be recorded; the next call tells the breaker again.
        log.exception("The breaker of the scheduled mail %s could not be told", claim.pk)


# --- Recording ----------------------------------------------------------------------------------------------------------------


@retried
def record(claim: _Claim, outcome: _Outcome) -> None:
    run_pk = ScheduledMail.objects.values_list("transaction_id", flat=True).get(pk=claim.pk)
    with locked_run(run_pk) as run:
        row = ScheduledMail.objects.get(pk=claim.pk)
        if row.state != MailState.SENDING or row.attempts != claim.attempt:
            _keep_late(run, row, outcome)
        elif outcome.error is None:
            _sent(run, row, outcome.message_id)
        else:
            _failed(run, row, outcome.error)


def _sent(run: OnboardingTransaction, row: ScheduledMail, message_id: str) -> None:
    row.end(MailState.SENT, at=clock.now(), message_id=message_id[:255])
    audit.record(run, "onboarding.welcome.sent", data={"mail": row.key, "language": row.language})


def _keep_late(run: OnboardingTransaction, row: ScheduledMail, outcome: _Outcome) -> None:
    """The lease was over: people were told that it may have gone out. Now it is known, where it has."""
    if row.state == MailState.INDETERMINATE and outcome.error is None:
        _sent(run, row, outcome.message_id)


def _failed(run: OnboardingTransaction, row: ScheduledMail, error: ProviderError) -> None:
    said = redact_text(str(error), 300)
    if error.effect_possible:
        _end_unsent(run, row, MailState.INDETERMINATE, said)
    elif error.kind in REFUSED or row.attempts >= TRIES:
        _end_unsent(run, row, MailState.FAILED, said, error)
    elif row.stop_cause:
        schedule.end_stopped(run, row)
    else:
        wait = min(AGAIN * 2.0 ** (row.attempts - 1), LONGEST_WAIT)
        row.wait(clock.now() + max(wait, timedelta(seconds=error.retry_after or 0.0)), said)


def _end_unsent(
    run: OnboardingTransaction, row: ScheduledMail, state: MailState, said: str, error: ProviderError | None = None
) -> None:
    """It is not sent again by itself; the ticket of mails that did not arrive says so."""
    row.end(state, at=clock.now(), error=said)
    audit.record(run, f"onboarding.welcome.{state}", data={"mail": row.key})
    mapping = mapping_of(run)
    if mapping is None or run.status in WITHDRAWN:
        return
    path = HANDLERS[WelcomeMail.name].paths[RECIPIENT]
    named = any(problem.field == RECIPIENT for problem in error.fields) if error else False
    problems = [{"path": path, "name": RECIPIENT, "reason": said}] if named else []
    what = "may or may not have gone out, and is not sent again" if state == MailState.INDETERMINATE else "was not sent"
    mail_bounced.send(
        ObjectMapping, mapping=mapping, message=f"The welcome mail “{row.key}” {what}: {said}", problems=problems
    )


def mapping_of(run: OnboardingTransaction) -> ObjectMapping | None:
    """The welcome itself, whose ticket tells of the mails after it, too."""
    sent = ObjectMapping.objects.filter(transaction=run, step__uses=WelcomeMail.name, kind=Mail.KIND)
    return sent.select_related("step", "transaction", "connection").order_by("pk").first()
