"""Work at a given time: done by then, each for itself, and by a thread that ends when nothing waits."""

from collections.abc import Iterator
from threading import Event

import pytest

from onboarding.engine.threads import timers

LONG = 60.0
"""Seconds that no test waits in full."""


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    timers.forget()


def test_work_is_done_after_its_time_and_the_sooner_one_first() -> None:
    done: list[str] = []
    over = Event()

    def finish() -> None:
        done.append("later")
        over.set()

    timers.after(0.05, finish)
    timers.after(0.0, lambda: done.append("sooner"))
    assert over.wait(LONG)
    assert done == ["sooner", "later"]


def test_failing_alarm_does_not_delay_others(caplog: pytest.LogCaptureFixture) -> None:
    over = Event()

    def fail() -> None:
        raise ZeroDivisionError

    timers.after(0.0, fail)
    timers.after(0.01, over.set)
    assert over.wait(LONG)
    assert "An alarm came to nothing" in caplog.text


def test_earlier_alarm_is_not_delayed_by_waiting_ones() -> None:
    over = Event()
    timers.after(LONG * 10, lambda: None)
    timers.after(0.0, over.set)
    assert over.wait(LONG)


def test_the_thread_ends_when_nothing_waits_and_another_is_started_for_what_comes() -> None:
    for _ in range(2):
        over = Event()
        timers.after(0.0, over.set)
        thread = timers.thread()
        assert over.wait(LONG)
        if thread is not None:
            thread.join(LONG)
        assert timers.thread() is None


def test_alarms_per_process_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "MOST", 2)
    assert [timers.after(LONG * 10, lambda: None) for _ in range(3)] == [True, True, False]
