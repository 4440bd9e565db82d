"""How a connection is, in words: for its page and list, the dashboard, the sandbox's page and tickets."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from exceptions_queue.admin.ui import badges
from integrations import clock
from integrations.enums import Breaker, BreakerCause
from integrations.models import Connection
from onboarding.engine import connection_queue


@dataclass(frozen=True)
class Health:
    tone: str
    text: str
    icon: str
    more: str = ""
    """What happens by itself, and when."""

    @property
    def badge(self) -> SafeString:
        return badges.badge(self.text, self.tone, self.icon)


def of(connection: Connection) -> Health:
    """As the rows say now; costs no query."""
    if not connection.enabled:
        return Health(badges.MUTED, "Disabled", "block")
    if connection.breaker == Breaker.OPEN and connection.breaker_cause == BreakerCause.SERVER:
        return Health(badges.BAD, "Does not work", "error", f"next try {badges.soon(connection.probe_at)}")
    if connection.breaker == Breaker.OPEN:
        return Health(badges.BAD, "Credentials refused", "error")
    if connection.breaker == Breaker.HALF_OPEN:
        return Health(badges.RISK, "Answers again", "published_with_changes", "one step tries it")
    if connection.paused_until and connection.paused_until > clock.now():
        return Health(badges.RISK, "Rate limited", "speed", f"resumes {badges.when(connection.paused_until)}")
    if connection.concurrency_limit is not None and connection.slow_start:
        return Health(badges.RISK, f"Slow start, {connection.concurrency_limit} at once", "speed")
    if connection.concurrency_limit is not None:
        return Health(badges.RISK, f"Rate limited, {connection.concurrency_limit} at once", "speed")
    return Health(badges.OK, "Healthy", "check_circle")


def left(connection: Connection) -> str:
    """How far the release of what was parked has got; empty where it is over."""
    count = connection_queue.runs_left(connection)
    return f"{count} of {connection.release_total} runs left" if count else ""


def last_try(connection: Connection) -> str:
    """When a stopped connection was last tried and will be again, as a sentence; empty before the first try."""
    if connection.breaker == Breaker.HALF_OPEN:
        return f"It answered again {badges.when(connection.probed_at)}; one trial step shows whether it works."
    if connection.breaker != Breaker.OPEN or connection.probe_at is None:
        return ""
    soon = badges.soon(connection.probe_at)
    if connection.probed_at is None:
        return f"It is retried automatically {soon}."
    return f"The last retry {badges.when(connection.probed_at)} failed; the next is {soon}."
