"""run(step): claim in a short transaction, call the vendor outside any, record in a second one, and go on inline."""

import logging
import math
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from django.db import InterfaceError, OperationalError
from django.db import connection as database

from integrations.connections import breaker
from integrations.connections import services as connections
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.failpoints import failpoint
from integrations.http import recording
from onboarding.engine import connection_queue, dispatch
from onboarding.engine.claiming import Claim, claim
from onboarding.engine.objects.claimed_work import ClaimedWork
from onboarding.engine.outcomes import (
    LATER,
    Broken,
    Checked,
    Failed,
    HandedOver,
    IndeterminateOutcome,
    Outcome,
    Waiting,
)
from onboarding.engine.recording import break_step, record
from onboarding.engine.threads import branches
from onboarding.enums import WaitsFor
from onboarding.log_context import about_run
from onboarding.models import OnboardingTransaction

CHAIN_SECONDS = 30.0
"""An inline chain gives its thread back after this."""
QUEUE_SECONDS = 5.0
"""From then on it goes on with no more steps of other runs, but leaves them to the next message."""

log = logging.getLogger(__name__)
stopping = threading.Event()
"""Set on shutdown: what is under way ends, and nothing more is begun."""


@dataclass
class _Chain:
    """One thread's way from step to step. Times are monotonic seconds."""

    started: float
    later: list[int] | None
    """Ready steps of the run that nobody else is told of; None where workers are told of them."""
    beside: "list[Future[None]]" = field(default_factory=list)
    quickest: float = math.inf
    """What the vendor's part of a step took, of the one that took the least: waiting for the processor is in the others."""

    @property
    def may_go_on(self) -> bool:
        return not stopping.is_set() and time.monotonic() - self.started < CHAIN_SECONDS

    @property
    def goes_in_order(self) -> bool:
        """Whether branches are done one after the other: others wait to compute, or the vendors are quick."""
        return dispatch.is_busy() or self.quickest < branches.WORTH_SECONDS


def run_step(step_pk: int, *, with_branches: bool = False) -> None:
    """Do the step if it is due and free, and inline what becomes ready after it.

    ``with_branches``: all that becomes ready in the run, beside each other where vendors take their time and this process
    has idle
    threads; else one branch, and workers are told of the others.
    """
    way = _Chain(time.monotonic(), [] if with_branches else None)
    try:
        with dispatch.chain():
            current = _claim(step_pk)
            while current is not None:
                current = _do(current, way)
    finally:
        for pk in way.later or ():
            dispatch.enqueue_step(pk)
        for each in way.beside:
            each.result()


def _do(current: Claim, way: _Chain) -> Claim | None:
    """Do a claimed step. What comes next in its run, claimed."""
    failpoint("after-intent", current.step.uses)
    with about_run(current.run.pk):
        began = time.monotonic()
        outcome = perform(current)
        way.quickest = min(way.quickest, time.monotonic() - began)
        failpoint("before-result")
        inline, in_order = way.may_go_on, way.goes_in_order
        later = way.later if inline else None
        following = record(current, outcome, inline=inline, later=later, takes_later=in_order)
    failpoint("after-result", current.step.uses)
    if later:
        if not in_order:
            _start_branches(later, way.beside)
        while following is None and later:
            following = _claim(later.pop(0), current.run)
    return _run_next_queued(current, following, way.started)


def _start_branches(later: list[int], beside: "list[Future[None]]") -> None:
    """While threads are idle; what is left of ``later`` is done one after the other."""
    while later and (branch := branches.start(partial(run_step, with_branches=True), later[0])):
        beside.append(branch)
        del later[0]


def _run_next_queued(done: Claim, following: Claim | None, started: float) -> Claim | None:
    """The slot that a step released at a limited connection goes to the next one there, of whatever run.

    That is done here where nothing is ``following`` in the step's own run; else workers are told.
    """
    if done.connection is None or not (done.is_limited or done.connection.is_stopped):
        return following
    if following is not None or stopping.is_set() or time.monotonic() - started >= QUEUE_SECONDS:
        connection_queue.enqueue_next(done.connection.pk)
        return following
    pk = connection_queue.take_next(done.connection.pk, inline=True)
    return _claim(pk) if pk is not None else None


def _claim(step_pk: int, known: OnboardingTransaction | None = None) -> Claim | None:
    try:
        return claim(step_pk, known)
    except (OperationalError, InterfaceError):
        raise  # the database is away: the row stays due
    except Exception as error:
        log.exception("Step %s could not be claimed", step_pk)
        break_step(step_pk, error)
        return None


def perform(current: Claim) -> Outcome:
    """The vendor's part of a claimed step. Never raises: whatever happens is an outcome that will be recorded."""
    if database.in_atomic_block:
        raise RuntimeError("A vendor call inside a database transaction.")
    outcome = _outcome_of(current)
    try:
        _tell_breaker(current, outcome)
    except Exception:
        # The outcome must still be recorded; the next call tells the breaker again.
        log.exception("The breaker of step %s could not be told", current.step.pk)
    return outcome


def _outcome_of(current: Claim) -> Outcome:
    try:
        outcome = _perform(current)
    except DeadlinePassed:
        error = ProviderError(Kind.SERVER, "The time for this step was over before everything was sent.")
        return Failed(error)
    except ProviderError as error:
        outcome = Failed(error)
    except Exception as error:
        log.exception("Step %s broke", current.step.pk)
        return Broken(f"{type(error).__name__} while Firstvalue tried to {current.handler.title}.")
    if isinstance(outcome, Failed):
        try:
            _guard_credentials(current, outcome.error)
        except (OperationalError, InterfaceError):
            # The outcome must still be recorded; the next refused call tries to open the breaker again.
            log.exception("The breaker of step %s could not be opened", current.step.pk)
        except Exception:
            log.exception("The breaker of step %s could not be opened; the step gets its own ticket", current.step.pk)
            outcome.error.kind = Kind.FORBIDDEN
    return outcome


def _perform(current: Claim) -> Outcome:
    work, handler = ClaimedWork(current), current.handler
    with recording.reads_together(current.calls):
        return handler.execute(work) if current.plan is None else handler.compensate(work)


def _tell_breaker(current: Claim, outcome: Outcome) -> None:
    """Whether the vendor works. What says nothing of that is not counted.

    Nor is a step that only looked whether an earlier create took effect: reads may pass where writes fail, so that it must
    neither close a half-open breaker nor end a row of failures.
    """
    only_looked = isinstance(outcome, IndeterminateOutcome) or (
        (isinstance(outcome, HandedOver) and not outcome.sent)
        or (isinstance(outcome, Waiting) and outcome.waits_for != WaitsFor.JOB)
        or (isinstance(outcome, Checked) and not outcome.asked)
    )
    if current.connection is None or isinstance(outcome, Broken) or only_looked:
        return
    error = outcome.error if isinstance(outcome, Failed) else None
    breaker.count(current.connection, error, subject=f"step:{current.step.pk}")


def _guard_credentials(current: Claim, error: ProviderError) -> None:
    """A 401 opens the connection's breaker; a 403 only where the connection's own probe fails as well."""
    if current.connection is None:
        return
    if error.kind is Kind.FORBIDDEN:
        probed = connections.probe(current.connection)
        if not probed.ok and probed.kind not in LATER:
            error.kind = Kind.AUTH
    if error.kind is Kind.AUTH:
        connections.record_auth_failure(
            current.connection.pk,
            credentials_version=current.connection.credentials_version,
            status=error.http_status,
            reason=error.message,
        )
