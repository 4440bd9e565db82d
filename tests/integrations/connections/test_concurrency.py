"""Concurrency limit: no more slots than the limit, lowered by 429 answers and raised again without them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import connections, transaction

from integrations import clock
from integrations.connections import breaker, concurrency
from integrations.models import Connection, ConnectionSlot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection() -> Connection:
    return Connection.objects.create(slug="desk", system="support", provider="zendesk", max_concurrency=2)


def later(seconds: float):
    return clock.now() + timedelta(seconds=seconds)


def fresh() -> Connection:
    return Connection.objects.get()


def test_no_more_than_the_limit_at_once(connection):
    taken = [concurrency.acquire(connection, holder, later(60)) for holder in ("a", "b", "c")]
    assert taken == [True, True, False]
    concurrency.release(connection.pk, "a")
    assert concurrency.acquire(connection, "c", later(60))


def test_holder_has_one_slot(connection):
    assert all(concurrency.acquire(connection, "a", later(60)) for _ in range(3))
    assert ConnectionSlot.objects.exclude(holder="").count() == 1


def test_expired_slot_is_free_and_its_former_holder_cannot_release_it(connection):
    for holder in ("a", "b"):
        concurrency.acquire(connection, holder, later(60))
    clock.shift(timedelta(seconds=61))
    assert concurrency.acquire(connection, "c", later(60))
    concurrency.release(connection.pk, "a")
    assert ConnectionSlot.objects.filter(holder="c").exists()


def test_threads_together_take_no_more_than_the_limit(connection):
    def take(number: int) -> bool:
        try:
            return concurrency.acquire(connection, f"h{number}", later(60))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(16))) == 2


def test_without_a_limit_nothing_is_written(connection, django_assert_num_queries):
    connection.max_concurrency = None
    clock.now()
    with django_assert_num_queries(0):
        assert concurrency.acquire(connection, "a", later(60))


def test_a_429_pauses_and_halves_once_a_pause(connection):
    Connection.objects.update(max_concurrency=None)
    for wait in (5, 30, None):
        concurrency.slow_down(connection.pk, wait)
    assert fresh().limit == 4
    assert not concurrency.acquire(fresh(), "a", later(60))
    clock.shift(timedelta(seconds=29))
    assert not concurrency.acquire(fresh(), "a", later(60))
    clock.shift(timedelta(seconds=2))
    assert concurrency.acquire(fresh(), "a", later(60))
    for _ in range(4):
        concurrency.slow_down(connection.pk, 1)
        clock.shift(timedelta(seconds=2))
    assert fresh().limit == concurrency.MIN_LIMIT


def test_429s_at_one_moment_halve_once_even_if_they_ask_for_no_pause(connection):
    Connection.objects.update(max_concurrency=16)
    for _ in range(5):
        concurrency.slow_down(connection.pk, 0)
    assert fresh().concurrency_limit == 8


def test_lowered_limit_rises_by_one_per_success_up_to_the_maximum(connection):
    Connection.objects.update(max_concurrency=6)
    concurrency.slow_down(connection.pk, 1)
    clock.shift(timedelta(seconds=2))
    seen = []
    for _ in range(4):
        seen.append(fresh().concurrency_limit)
        breaker.succeeded(fresh())
    assert seen == [3, 4, 5, None]
    assert fresh().limit == 6


def test_the_success_of_a_call_from_before_the_429_raises_nothing(connection):
    Connection.objects.update(max_concurrency=None)
    concurrency.slow_down(connection.pk, 1)
    clock.shift(timedelta(seconds=2))
    before = fresh()
    concurrency.slow_down(connection.pk, 1)
    breaker.succeeded(before)
    assert fresh().concurrency_limit == concurrency.MIN_LIMIT
    breaker.succeeded(fresh())
    assert fresh().concurrency_limit == concurrency.MIN_LIMIT + 1


def test_lowered_limit_recovers_within_seconds_when_idle(connection):
    Connection.objects.update(max_concurrency=None)
    for _ in range(4):
        concurrency.slow_down(connection.pk, 30)
        clock.shift(timedelta(seconds=31))
    seen = []
    for _ in range(4):
        concurrency.recover(clock.now())
        seen.append(fresh().concurrency_limit)
        clock.shift(timedelta(seconds=2))
    assert seen == [2, 4, None, None]


def test_limit_recovers_with_one_429_in_twenty_calls(connection):
    """Of steps that come one after the other: after each 429 the limit is back before the next one."""
    Connection.objects.update(max_concurrency=16)
    seen = []
    for number in range(200):
        if number % 20 == 0:
            concurrency.slow_down(connection.pk, 1)
            clock.shift(timedelta(seconds=1, milliseconds=1))
        else:
            breaker.succeeded(fresh())
        seen.append(fresh().limit)
    assert min(seen) == 8
    assert sum(limit == 16 for limit in seen) > len(seen) / 2


def test_slots_above_a_lowered_limit_count_until_released(connection):
    Connection.objects.update(max_concurrency=4)
    assert all(concurrency.acquire(fresh(), holder, later(60)) for holder in ("a", "b", "c", "d"))
    concurrency.slow_down(connection.pk, 0)
    clock.shift(timedelta(milliseconds=1))
    concurrency.release(connection.pk, "a")
    concurrency.release(connection.pk, "b")
    assert not concurrency.acquire(fresh(), "e", later(60))  # c and d are still under way
    concurrency.release(connection.pk, "c")
    assert concurrency.acquire(fresh(), "e", later(60))


@pytest.mark.parametrize("left", ["ac", "bd", "ad", "cd", "bc"])
def test_lowered_limit_holds_for_any_remaining_holders(connection, left):
    Connection.objects.update(max_concurrency=4)
    assert all(concurrency.acquire(fresh(), holder, later(60)) for holder in "abcd")
    Connection.objects.update(max_concurrency=2)
    for holder in set("abcd") - set(left):
        concurrency.release(connection.pk, holder)
    assert not concurrency.acquire(fresh(), "e", later(60))
    concurrency.release(connection.pk, left[0])
    assert [concurrency.acquire(fresh(), holder, later(60)) for holder in "ef"] == [True, False]


def test_expired_slot_above_the_limit_is_not_renewed(connection):
    assert all(concurrency.acquire(fresh(), holder, later(60)) for holder in "ab")
    Connection.objects.update(max_concurrency=1)
    clock.shift(timedelta(seconds=61))
    assert [concurrency.acquire(fresh(), holder, later(60)) for holder in "bc"] == [True, False]


@pytest.mark.parametrize(("limit", "halved"), [(None, [4, 2, 2, 2]), (6, [3, 2, 2, 2]), (1, [1, 1, 1, 1])])
def test_each_429_halves_the_limit_down_to_the_minimum(connection, limit, halved):
    Connection.objects.update(max_concurrency=limit)
    seen = []
    for _ in range(4):
        concurrency.slow_down(connection.pk, 1)
        clock.shift(timedelta(seconds=2))
        seen.append(fresh().limit)
    assert seen == halved


def test_a_retry_after_holds_all_workers_without_a_limit_too(connection):
    Connection.objects.update(max_concurrency=None)
    concurrency.slow_down(connection.pk, 30)
    assert not any(concurrency.acquire(fresh(), f"w{number}", later(60)) for number in range(8))
    clock.shift(timedelta(seconds=31))
    assert [concurrency.acquire(fresh(), f"w{number}", later(60)) for number in range(8)] == [True] * 4 + [False] * 4


def test_remaining_holders_count_whatever_their_slot_numbers(connection):
    Connection.objects.update(max_concurrency=4)
    assert all(concurrency.acquire(fresh(), holder, later(60)) for holder in "abcd")
    for holder in "ac":
        concurrency.release(connection.pk, holder)
    Connection.objects.update(max_concurrency=2)
    assert not concurrency.acquire(fresh(), "e", later(60))  # b and d have the second and the fourth place
    concurrency.release(connection.pk, "b")
    assert concurrency.acquire(fresh(), "e", later(60))


def test_lowered_limit_above_a_newer_maximum_is_ignored(connection):
    Connection.objects.update(max_concurrency=2, concurrency_limit=6)
    assert [concurrency.acquire(fresh(), holder, later(60)) for holder in "abc"] == [True, True, False]


def test_short_wait_delays_only_its_call_until_others_are_refused(connection):
    Connection.objects.update(max_concurrency=None)
    for _ in range(concurrency.CONSECUTIVE_REFUSALS - 1):
        concurrency.slow_down(connection.pk, 1)
    assert fresh().concurrency_limit == 4
    assert concurrency.acquire(fresh(), "a", later(60)), "the others go on"
    concurrency.slow_down(connection.pk, 1)
    assert not concurrency.acquire(fresh(), "b", later(60))
    clock.shift(timedelta(seconds=2))
    assert concurrency.acquire(fresh(), "b", later(60))


def test_a_success_between_shows_that_not_the_whole_account_is_refused(connection):
    Connection.objects.update(max_concurrency=None)
    for _ in range(4):
        concurrency.slow_down(connection.pk, 1)
        breaker.succeeded(fresh())
    assert concurrency.acquire(fresh(), "a", later(60))


@pytest.mark.skipif(database.vendor != "postgresql", reason="SQLite waits for the disk with every commit")
def test_releasing_a_slot_keeps_the_transactions_durability(connection):
    concurrency.acquire(connection, "a", later(60))
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = on")
        concurrency.release(connection.pk, "a")
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)
    assert concurrency.acquire(connection, "b", later(60))
