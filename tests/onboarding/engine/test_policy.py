"""What follows from a vendor's failure."""

import pytest

from integrations.errors import Kind, ProviderError
from onboarding.engine.policy import (
    ATTEMPTS_BEFORE_TICKET,
    ATTEMPTS_IN_ALL,
    LONGEST_BACKOFF,
    SECONDS_BEFORE_TICKET,
    Action,
    Circumstances,
    Decision,
    backoff,
    decide,
)
from onboarding.enums import Category


def facts(attempts: int = 1, *, elapsed: float = 0.0, at_risk: bool = False, jitter: float = 0.5) -> Circumstances:
    return Circumstances(attempts=attempts, elapsed=elapsed, at_risk=at_risk, jitter=jitter)


def error(kind: Kind, **details: object) -> ProviderError:
    return ProviderError(kind, "said so", **details)


@pytest.mark.parametrize("kind", [Kind.SERVER, Kind.TEMPORARY, Kind.MALFORMED])
@pytest.mark.parametrize("attempts", [1, ATTEMPTS_BEFORE_TICKET])
def test_the_next_try_is_neither_before_the_retry_after_nor_before_the_backoff(kind: Kind, attempts: int) -> None:
    assert decide(error(kind, retry_after=600.0), facts(attempts)).delay == 600.0
    assert decide(error(kind, retry_after=0.5), facts(attempts)).delay == backoff(facts(attempts))


@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.SERVER, Kind.TEMPORARY])
def test_long_waits_open_a_ticket_at_once_and_retrying_continues(kind: Kind) -> None:
    decision = decide(error(kind, retry_after=86_400.0), facts())
    assert (decision.action, decision.delay) == (Action.BLOCK, 86_400.0)


def test_transient_refusal_is_retried_like_a_server_error() -> None:
    decision = decide(error(Kind.TEMPORARY, retry_after=20.0), facts())
    assert decision == Decision(Action.RETRY, Category.SERVER_ERROR, delay=20.0)


def test_429_waits_for_retry_after_and_lowers_the_limit() -> None:
    decision = decide(error(Kind.RATE_LIMIT, retry_after=17.0), facts())
    assert decision == Decision(Action.RETRY, Category.RATE_LIMIT, delay=17.0, slow_down=True)


@pytest.mark.parametrize(
    ("attempts", "asked", "delay"),
    [
        (1, 600.0, 600.0),
        (ATTEMPTS_BEFORE_TICKET, 600.0, 600.0),
        (1, 0.5, 0.5),
        (2, 0.5, 1.0),
        (3, 0.5, 2.0),
        (3, 5.0, 8.8),
    ],
)
def test_after_a_429_the_next_try_comes_when_the_vendor_says_and_later_with_each_further_one(
    attempts: int, asked: float, delay: float
) -> None:
    assert decide(error(Kind.RATE_LIMIT, retry_after=asked), facts(attempts)).delay == pytest.approx(delay)


def test_a_429_that_names_no_seconds_at_all_backs_off() -> None:
    assert decide(error(Kind.RATE_LIMIT, retry_after=0.0), facts()).delay == backoff(facts())


def test_a_429_that_names_no_time_backs_off() -> None:
    decision = decide(error(Kind.RATE_LIMIT), facts())
    assert decision == Decision(Action.RETRY, Category.RATE_LIMIT, delay=backoff(facts()), slow_down=True)


def test_a_fifth_429_opens_a_ticket_and_goes_on() -> None:
    decision = decide(error(Kind.RATE_LIMIT, retry_after=90.0), facts(ATTEMPTS_BEFORE_TICKET))
    assert decision == Decision(Action.BLOCK, Category.RATE_LIMIT, delay=90.0, slow_down=True)


def test_too_many_jobs_stops_and_queues_at_once() -> None:
    decision = decide(error(Kind.RATE_LIMIT, retry_after=9.0, stop_and_queue=True), facts())
    assert decision == Decision(Action.BLOCK, Category.RATE_LIMIT, delay=None, slow_down=True)


@pytest.mark.parametrize("attempts", range(1, ATTEMPTS_BEFORE_TICKET))
def test_a_server_error_is_retried_silently_at_first(attempts: int) -> None:
    decision = decide(error(Kind.SERVER), facts(attempts))
    assert decision == Decision(Action.RETRY, Category.SERVER_ERROR, delay=backoff(facts(attempts)))


@pytest.mark.parametrize(
    "circumstances",
    [facts(ATTEMPTS_BEFORE_TICKET), facts(elapsed=SECONDS_BEFORE_TICKET), facts(at_risk=True)],
    ids=["five attempts", "half an hour", "P1 at risk"],
)
def test_a_server_error_opens_a_ticket_and_retrying_goes_on(circumstances: Circumstances) -> None:
    decision = decide(error(Kind.SERVER), circumstances)
    assert decision == Decision(Action.BLOCK, Category.SERVER_ERROR, delay=backoff(circumstances))


@pytest.mark.parametrize("kind", [Kind.SERVER, Kind.RATE_LIMIT, Kind.MALFORMED])
def test_retrying_ends_at_the_cap(kind: Kind) -> None:
    assert decide(error(kind), facts(ATTEMPTS_IN_ALL)).delay is None
    assert decide(error(kind), facts(ATTEMPTS_IN_ALL)).action is Action.BLOCK


@pytest.mark.parametrize("attempts", [1, 2, 3, 8, 12, 1000])
def test_backoff_doubles_with_full_jitter_up_to_a_ceiling(attempts: int) -> None:
    ceiling = min(LONGEST_BACKOFF, 2.0 * 2**attempts)
    assert backoff(facts(attempts, jitter=0.0)) == pytest.approx(ceiling * 0.1)
    assert backoff(facts(attempts, jitter=1.0)) == pytest.approx(ceiling)


def test_a_401_parks_behind_the_connection() -> None:
    assert decide(error(Kind.AUTH), facts(at_risk=True)) == Decision(Action.PARK, Category.AUTH_ERROR)


def test_a_malformed_answer_is_shown_at_once_and_retried() -> None:
    decision = decide(error(Kind.MALFORMED), facts())
    assert decision == Decision(Action.BLOCK, Category.SERVER_ERROR, delay=backoff(facts()))


@pytest.mark.parametrize(
    ("kind", "category"),
    [
        (Kind.FORBIDDEN, Category.AUTH_ERROR),
        (Kind.NOT_CONFIGURED, Category.NOT_CONFIGURED),
        (Kind.INVALID, Category.VALIDATION_ERROR),
        (Kind.CONFLICT, Category.VALIDATION_ERROR),
        (Kind.NOT_FOUND, Category.VALIDATION_ERROR),
    ],
)
def test_permanent_failure_is_queued_at_once(kind: Kind, category: Category) -> None:
    assert decide(error(kind), facts()) == Decision(Action.BLOCK, category, delay=None)


def test_every_kind_of_failure_has_a_decision() -> None:
    assert {decide(error(kind), facts()).action for kind in Kind} == set(Action)
