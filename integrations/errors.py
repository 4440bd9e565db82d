"""What can go wrong in a call to a vendor. Each error says what to do about it; nobody parses its text."""

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    RATE_LIMIT = "rate-limit"
    SERVER = "server-error"
    AUTH = "auth-error"
    FORBIDDEN = "forbidden"
    INVALID = "validation-error"
    TEMPORARY = "temporary"
    """Refused for now and nothing done, such as a locked record: the same request may be sent again later."""
    CONFLICT = "conflict"
    NOT_FOUND = "not-found"
    NOT_CONFIGURED = "not-configured"
    JOB_FAILED = "job-failed"
    """A job that the vendor had accepted ended without an object."""
    MALFORMED = "malformed"
    """A success status with a body that is not the vendor's documented answer."""


@dataclass(frozen=True)
class FieldProblem:
    """One field a vendor refused: its name at the vendor, and the reason given."""

    name: str
    reason: str
    field: str = ""
    """The field of ours that was sent in it (``integrations.connectors.objects``); empty where that is not known or
    not to be fixed."""
    path: str = ""
    """The payload path that it came from, where a mapping says so; else the step's handler tells it by ``field``."""
    may_be_confirmed: bool = False
    """It is a doubt: a person may stand by the value as it is."""


@dataclass(frozen=True)
class TemporaryRefusal:
    """An answer by which a vendor refuses for now, as its documentation says. Nothing was done.

    ``wait``: seconds before the next try, at least; a longer ``Retry-After`` rules. ``code``: only where the body's ``error``,
    ``code`` or ``category`` says so. ``whole_account``: see ``ProviderError``.
    """

    status: int
    wait: float = 0.0
    code: str = ""
    whole_account: bool = False

    def covers(self, status: int, body: object) -> bool:
        if status != self.status:
            return False
        said = [body.get(name) for name in ("error", "code", "category")] if isinstance(body, dict) else []
        return not self.code or self.code in said


@dataclass
class ProviderError(Exception):
    """A vendor call that did not do what was asked.

    ``effect_possible`` tells an indeterminate write (docs/architecture.md): the request may have been carried out.
    """

    kind: Kind
    message: str
    http_status: int | None = None
    retry_after: float | None = None
    """Seconds, as the vendor asked, on whichever status: the next try is never before it."""
    whole_account: bool = False
    """It is not about this object: until ``retry_after`` has passed, nothing at all is sent on the connection."""
    effect_possible: bool = False
    backpressure_applied: bool = False
    """The connection was paused for it already."""
    stop_and_queue: bool = False
    """The vendor documents that retrying is no use (Zendesk's TooManyJobs)."""
    of_object: bool = False
    """It met this one object, such as a mail's recipient, after the connection had shown that it works: no breaker counts it."""
    ours: bool = False
    """The failure is on our side, or our judgement of what was only read: it says nothing about the connection."""
    fields: list[FieldProblem] = field(default_factory=list)
    existing_id: str = ""
    """Of a conflict: the object that exists already, where the vendor names it."""
    existing_by: str = ""
    """The unique key that it was met by; empty where that does not show whose it is."""

    def __str__(self) -> str:
        status = f" (HTTP {self.http_status})" if self.http_status else ""
        return f"{self.message}{status}"


class DeadlinePassed(Exception):
    """The holder's time to write is over: somebody else may own the step now. Nothing was sent."""
