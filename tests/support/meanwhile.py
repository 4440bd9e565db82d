"""Changing something for real while the engine is in the middle of a transition: between what it has read and what it writes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from integrations import failpoints
from onboarding.working_set import LeanRows, TryAgain

Meanwhile = Callable[[str, Callable[[], object]], None]


class _Interruption:
    def __init__(self, name: str, change: Callable[[], object], *, here: bool) -> None:
        self.name, self.change, self.here = name, change, here
        self.left = True
        self.error: BaseException | None = None
        self.was_locked = False
        if name not in failpoints.NAMES:
            raise ValueError(f"there is no failpoint {name!r}")

    def hit(self, name: str, _about: str) -> None:
        if name != self.name or not self.left:
            return
        self.left = False
        self.was_locked = connection.in_atomic_block
        if self.here:
            self.change()
        elif not self.was_locked:  # else both would wait for each other
            with ThreadPoolExecutor(1) as pool:
                self.error = pool.submit(self._elsewhere).exception()

    def _elsewhere(self) -> None:
        try:
            self.change()
        finally:
            connection.close()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meanwhile]:
    """``meanwhile("before-intent", change)``: the first time that a transition comes by there, ``change()`` is done by
    another thread, on a database connection of its own. The transition has to be on the lean path then.
    """
    armed: list[_Interruption] = []

    def arm(name: str, change: Callable[[], object]) -> None:
        armed.append(_Interruption(name, change, here=False))
        monkeypatch.setattr(failpoints, "_armed", armed[-1])

    yield arm
    for each in armed:
        assert not each.left, f"{each.name} was never reached"
        assert not each.was_locked, f"{each.name} was reached on the general path"
        if each.error:
            raise each.error


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """``inside("before-intent", work)``: each time that a transition comes by there, ``work()`` is done as part of it."""

    def arm(name: str, work: Callable[[], object]) -> None:
        class Each(_Interruption):
            def hit(self, name: str, _about: str) -> None:
                self.left = True
                super().hit(name, _about)

        monkeypatch.setattr(failpoints, "_armed", Each(name, work, here=True))

    return arm


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each transition on the lean path that came to its end has ended there, in order: "written", or why it was not."""
    ends: list[str] = []
    write = LeanRows.write

    def noted(self: LeanRows, entries: list[object]) -> list[int]:
        try:
            messages = write(self, entries)  # type: ignore[arg-type]
        except TryAgain as again:
            ends.append(type(again).__name__)
            raise
        ends.append("written")
        return messages

    monkeypatch.setattr(LeanRows, "write", noted)
    return ends
