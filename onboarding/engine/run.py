"""run(step): claim in a short transaction, call the vendor outside any, record in a second one, and go on inline."""

import logging
import threading
import time

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db import connection as database

from integrations import connections, providers
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.failpoints import failpoint
from integrations.providers.base import Connector, CrmConnector
from onboarding.engine.claims import Claim, claim
from onboarding.engine.ensure import ensure
from onboarding.engine.facts import digest_of
from onboarding.engine.outcomes import Broken, Failed, LookedUp, Outcome, Written
from onboarding.engine.record import break_step, record
from onboarding.payload.enrichment import CRM_PATHS
from onboarding.payload.plausibility import customer_domain
from onboarding.steps.base import EnsureHandler, UpdateHandler

CHAIN_SECONDS = 30.0
"""An inline chain gives its thread back after this."""

log = logging.getLogger(__name__)
stopping = threading.Event()
"""Set on shutdown: what is under way ends, and nothing more is begun."""


def run_step(step_pk: int) -> None:
    """Do the step if it is due and free, and inline what becomes ready after it."""
    started = time.monotonic()
    current = _claim(step_pk)
    while current:
        failpoint("after-intent", current.step.uses)
        outcome = perform(current)
        failpoint("before-result")
        may_go_on = not stopping.is_set() and time.monotonic() - started < CHAIN_SECONDS
        done, current = current, record(current, outcome, inline=may_go_on)
        failpoint("after-result", done.step.uses)


def _claim(step_pk: int) -> Claim | None:
    try:
        return claim(step_pk)
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
    if current.connection is None:
        raise ProviderError(Kind.NOT_CONFIGURED, f"No connection is set up for the system “{current.handler.system}”.")
    if not current.connection.enabled:
        raise ProviderError(Kind.NOT_CONFIGURED, f"The connection {current.connection.slug} is switched off.")
    try:
        connector = providers.connector(
            current.connection,
            subject=f"step:{current.step.pk}",
            deadline=current.deadline,
            before_write=lambda: _check_time(current),
        )
    except DatabaseError as error:
        raise ProviderError(Kind.SERVER, f"The credentials could not be read ({type(error).__name__}).") from error
    if isinstance(current.handler, EnsureHandler):
        return ensure(current, current.handler, connector)
    if isinstance(current.handler, UpdateHandler):
        return _write(current, current.handler, connector)
    if not isinstance(connector, CrmConnector):
        raise ProviderError(Kind.NOT_CONFIGURED, f"{connector.provider} cannot be asked for missing data.")
    return _look_up(current, connector)


def _write(current: Claim, handler: UpdateHandler, connector: Connector) -> Written:
    """No intent is needed: written twice, it says the same."""
    params = handler.params(current.facts)
    failpoint("before-update")
    connector.update(handler.kind, current.facts.related[handler.target], params)
    failpoint("after-update")
    return Written(digest_of(params))


def _look_up(current: Claim, connector: CrmConnector) -> LookedUp:
    facts = connector.lookup_owner(
        domain=customer_domain(current.facts.content),
        deal_id=current.facts.get("commercial.deal_id"),
    )
    if not facts.owner_id:
        return LookedUp({}, "The CRM was asked and does not tell.")
    return LookedUp(dict.fromkeys(CRM_PATHS, (facts.owner_id, facts.source)))


def _check_time(current: Claim) -> None:
    """Before each write: past ``send_by`` somebody else may hold the step."""
    if time.monotonic() > current.deadline:
        raise DeadlinePassed


def _guard_credentials(current: Claim, error: ProviderError) -> None:
    """A 401 opens the connection's breaker; a 403 only where the connection's own probe fails as well."""
    if current.connection is None:
        return
    if error.kind is Kind.FORBIDDEN and not connections.probe(current.connection).ok:
        error.kind = Kind.AUTH
    if error.kind is Kind.AUTH:
        connections.record_auth_failure(
            current.connection.pk,
            credentials_version=current.connection.credentials_version,
            status=error.http_status,
            reason=error.message,
        )
