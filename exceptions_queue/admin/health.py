"""How a connection is, in words: for its page and list, the dashboard, the sandbox's page and tickets."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from exceptions_queue.admin import looks
from integrations import clock
from integrations.models import Connection
from integrations.words import Breaker, BreakerCause
from onboarding.engine import line


@dataclass(frozen=True)
class Health:
    tone: str
    text: str
    icon: str
    more: str = ""
    """What happens by itself, and when."""

    @property
    def badge(self) -> SafeString:
        return looks.badge(self.text, self.tone, self.icon)


def of(connection: Connection) -> Health:
    """As the rows say now; costs no query."""
    if not connection.enabled:
        return Health(looks.MUTED, "Switched off", "block")
    if connection.breaker == Breaker.OPEN and connection.breaker_cause == BreakerCause.SERVER:
        return Health(looks.BAD, "Does not work", "error", f"next try {looks.soon(connection.probe_at)}")
    if connection.breaker == Breaker.OPEN:
        return Health(looks.BAD, "Credentials refused", "error")
    if connection.breaker == Breaker.HALF_OPEN:
        return Health(looks.RISK, "Answers again", "published_with_changes", "one step tries it")
    if connection.paused_until and connection.paused_until > clock.now():
        return Health(looks.RISK, "Slowed down", "speed", f"goes on {looks.when(connection.paused_until)}")
    if connection.pace is not None and connection.ramping:
        return Health(looks.RISK, f"Going on again, {connection.pace} at once", "speed")
    if connection.pace is not None:
        return Health(looks.RISK, f"Slowed down, {connection.pace} at once", "speed")
    return Health(looks.OK, "Well", "check_circle")


def left(connection: Connection) -> str:
    """How far the release of what was parked has got; empty where it is over."""
    count = line.runs_left(connection)
    return f"{count} of {connection.release_total} runs left" if count else ""


def last_try(connection: Connection) -> str:
    """When a stopped connection was last tried and will be again, as a sentence; empty before the first try."""
    if connection.breaker == Breaker.HALF_OPEN:
        return f"It answered again {looks.when(connection.probed_at)}; one step shows whether it works."
    if connection.breaker != Breaker.OPEN or connection.probe_at is None:
        return ""
    soon = looks.soon(connection.probe_at)
    if connection.probed_at is None:
        return f"It is tried again by itself {soon}."
    return f"It was tried again {looks.when(connection.probed_at)}, in vain; the next try is {soon}."
