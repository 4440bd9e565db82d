"""What can go wrong in a call to a vendor. Each error says what to do about it; nobody parses its text."""

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    RATE_LIMIT = "rate-limit"
    SERVER = "server-error"
    AUTH = "auth-error"
    FORBIDDEN = "forbidden"
    INVALID = "validation-error"
    CONFLICT = "conflict"
    NOT_FOUND = "not-found"
    NOT_CONFIGURED = "not-configured"
    JOB_FAILED = "job-failed"
    """A job that the vendor had accepted ended without an object."""
    MALFORMED = "malformed"
    """A success status with a body that is not the vendor's documented answer."""


@dataclass(frozen=True)
class FieldProblem:
    """One field a vendor refused: its name at the vendor, our payload path where known, and the reason given."""

    name: str
    reason: str
    path: str = ""


@dataclass
class ProviderError(Exception):
    """A vendor call that did not do what was asked.

    ``effect_possible`` tells an indeterminate write (README, "The indeterminate create"): the request may have been carried out.
    """

    kind: Kind
    message: str
    http_status: int | None = None
    retry_after: float | None = None
    """Seconds, as the vendor asked."""
    effect_possible: bool = False
    stop_and_queue: bool = False
    """The vendor documents that retrying is no use (Zendesk's TooManyJobs)."""
    ours: bool = False
    """The vendor was not asked: the failure is on our side and says nothing about the connection."""
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
