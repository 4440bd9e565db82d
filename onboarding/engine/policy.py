"""What follows from a failure: a pure function from facts to a decision."""

from dataclasses import dataclass
from enum import Enum

from integrations.errors import Kind, ProviderError
from onboarding.enums import Category

ATTEMPTS_BEFORE_TICKET = 5
ATTEMPTS_IN_ALL = 20
SECONDS_BEFORE_TICKET = 30 * 60
LONGEST_BACKOFF = 5 * 60.0


class Action(Enum):
    RETRY = "retry"
    """Later, without anybody."""
    BLOCK = "block"
    """A ticket; where ``delay`` is set retrying goes on meanwhile."""
    PARK = "park"
    """The connection's breaker is open: its own ticket covers this step."""


@dataclass(frozen=True)
class Circumstances:
    """``attempts`` counts this failure; ``elapsed`` seconds since the first one; ``at_risk``: the P1 clock is half consumed.

    ``parked``: the connection's breaker is open.

    ``jitter`` is a number from [0, 1), so that the decision is a function of its arguments.
    """

    attempts: int
    elapsed: float
    at_risk: bool
    jitter: float
    base: float = 2.0
    parked: bool = False


@dataclass(frozen=True)
class Decision:
    action: Action
    category: Category
    delay: float | None = None
    slow_down: bool = False


def decide(error: ProviderError, facts: Circumstances) -> Decision:
    """The decision for a vendor's failure."""
    match error.kind:
        case Kind.AUTH:
            return Decision(Action.PARK, Category.AUTH_ERROR)
        case Kind.FORBIDDEN:
            return Decision(Action.BLOCK, Category.AUTH_ERROR)
        case Kind.NOT_CONFIGURED:
            return Decision(Action.BLOCK, Category.NOT_CONFIGURED)
        case Kind.RATE_LIMIT:
            return _rate_limited(error, facts)
        case Kind.TEMPORARY:
            return _transient(Category.SERVER_ERROR, error, facts)
        case Kind.SERVER if facts.parked:
            return Decision(Action.PARK, Category.SERVER_ERROR)
        case Kind.SERVER:
            return _transient(Category.SERVER_ERROR, error, facts)
        case Kind.MALFORMED:
            # People see it at once, as the vendor may have changed; most often the next answer is correct again.
            return Decision(Action.BLOCK, Category.SERVER_ERROR, delay=_go_on(facts, wait(error, facts)))
        case _:
            return Decision(Action.BLOCK, Category.VALIDATION_ERROR)


def backoff(facts: Circumstances) -> float:
    """Seconds: exponential with full jitter, but never under a tenth of the step (AWS architecture blog,
    "Exponential backoff").
    """
    ceiling = min(LONGEST_BACKOFF, facts.base * 2 ** min(facts.attempts, 12))
    return float(ceiling * (0.1 + 0.9 * facts.jitter))


def wait(error: ProviderError, facts: Circumstances) -> float:
    """Seconds until the next try: the backoff, but never before the time that the vendor asked for.

    A 429 that names a time knows when calls are taken again (RFC 6585, 4): the backoff is no longer than that time, doubled with
    each refusal after the first. The connection's concurrency limit spreads those that come back together.
    """
    asked = error.retry_after or 0.0
    if error.kind is Kind.RATE_LIMIT and asked:
        return max(asked, min(backoff(facts), asked * 2.0 ** (facts.attempts - 1)))
    return max(backoff(facts), asked)


def _transient(category: Category, error: ProviderError, facts: Circumstances) -> Decision:
    delay = wait(error, facts)
    if facts.attempts >= ATTEMPTS_BEFORE_TICKET or _takes_long(delay, facts) or facts.at_risk:
        return Decision(Action.BLOCK, category, delay=_go_on(facts, delay))
    return Decision(Action.RETRY, category, delay=delay)


def _rate_limited(error: ProviderError, facts: Circumstances) -> Decision:
    if error.stop_and_queue:
        return Decision(Action.BLOCK, Category.RATE_LIMIT, slow_down=True)
    delay = wait(error, facts)
    if facts.attempts >= ATTEMPTS_BEFORE_TICKET or _takes_long(delay, facts):
        return Decision(Action.BLOCK, Category.RATE_LIMIT, delay=_go_on(facts, delay), slow_down=True)
    return Decision(Action.RETRY, Category.RATE_LIMIT, delay=delay, slow_down=True)


def _takes_long(delay: float, facts: Circumstances) -> bool:
    """People are told at once of what the vendor says will not pass in time."""
    return facts.elapsed + delay >= SECONDS_BEFORE_TICKET


def _go_on(facts: Circumstances, delay: float) -> float | None:
    return delay if facts.attempts < ATTEMPTS_IN_ALL else None
