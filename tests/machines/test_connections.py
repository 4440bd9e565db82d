"""A connection's breaker and concurrency limit against small models: a table for the breaker, a dictionary of slots
for the limit.
"""

import time
from datetime import datetime, timedelta
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.connections import breaker, concurrency
from integrations.connections import services as service
from integrations.enums import Breaker, BreakerCause
from integrations.errors import Kind, ProviderError
from integrations.models import Connection, ConnectionSlot
from tests.machines.budget import budget
from tests.machines.conftest import Afresh
from tests.one_database import sized

SLUG = "crm"
CONSECUTIVE_REFUSALS = 5
BREAKER = {
    # (state, event) -> state; what is not listed changes nothing.
    (Breaker.CLOSED, "refused"): Breaker.OPEN,
    (Breaker.HALF_OPEN, "refused"): Breaker.OPEN,
    (Breaker.CLOSED, "fails, the fifth in a row"): Breaker.OPEN,
    (Breaker.HALF_OPEN, "fails"): Breaker.OPEN,
    (Breaker.HALF_OPEN, "works"): Breaker.CLOSED,
    (Breaker.OPEN, "tried: answers"): Breaker.HALF_OPEN,
    (Breaker.OPEN, "tried: answers, and nobody waits"): Breaker.CLOSED,
    (Breaker.HALF_OPEN, "tried: answers, and nobody waits"): Breaker.CLOSED,
    (Breaker.HALF_OPEN, "tried: is down"): Breaker.OPEN,
    (Breaker.HALF_OPEN, "tried: refuses"): Breaker.OPEN,
    (Breaker.OPEN, "a person tries: answers"): Breaker.CLOSED,
    (Breaker.HALF_OPEN, "a person tries: answers"): Breaker.CLOSED,
}


def fresh() -> Connection:
    return Connection.objects.get(slug=SLUG)


class ThePace(RuleBasedStateMachine):
    """``places``: who has which one, until when. One above a limit that was lowered meanwhile counts while it is held."""

    def __init__(self, afresh: Afresh) -> None:
        super().__init__()
        self.world = afresh()
        self.most: int | None = None
        self.concurrency_limit: int | None = None
        self.slow_start = False
        self.changed = self.paused = self.lowered = clock.now()
        self.lowered -= concurrency.WINDOW
        self.refusals = 0
        self.places: dict[str, tuple[int, datetime]] = {}

    @property
    def limit(self) -> int | None:
        return min((each for each in (self.most, self.concurrency_limit) if each is not None), default=None)

    @property
    def top(self) -> int:
        """Where a rising limit ends, and the maximum itself applies again."""
        return self.most or concurrency.UNLIMITED

    def may_recover(self) -> bool:
        now, every = clock.now(), concurrency.SLOW_START_INTERVAL if self.slow_start else concurrency.RAISE_INTERVAL
        return (
            self.concurrency_limit is not None
            and self.changed <= now - every
            and self.paused <= now - concurrency.RAISE_INTERVAL
        )

    def taken(self, now: datetime | None = None) -> dict[str, int]:
        """The numbers of the places that are taken now, by holder."""
        now = now or clock.now()
        return {holder: number for holder, (number, until) in self.places.items() if until >= now}

    @rule(most=st.sampled_from([0, 1, 2, 3, 6]))
    def configure(self, most: int) -> None:
        service.set_connection(SLUG, system="crm", provider="model", max_concurrency=most, actor="kim")
        self.most = most or None

    @rule(holder=st.sampled_from("abcdefg"), seconds=st.sampled_from([5, 60]))
    def acquire(self, holder: str, seconds: int) -> None:
        until = clock.now() + timedelta(seconds=seconds)
        paused, before = self.paused > clock.now(), self.taken()
        got = concurrency.acquire(fresh(), holder, until)
        if paused:
            assert not got, "a paused connection takes nobody"
        elif self.limit is None:
            assert got
        else:
            assert got == (holder in before or len(before) < self.limit), "as many as the limit, and no more"
            if got:
                self.places[holder] = (self._place_of(holder), until)

    def _place_of(self, holder: str) -> int:
        return ConnectionSlot.objects.get(holder=holder, leased_until__gte=clock.now()).number

    @rule(holder=st.sampled_from("abcdefg"))
    def release(self, holder: str) -> None:
        concurrency.release(fresh().pk, holder)
        self.places.pop(holder, None)

    @rule(retry_after=st.sampled_from([None, 0.5, 20]))
    def too_many_requests(self, retry_after: float | None) -> None:
        now = clock.now()
        concurrency.slow_down(fresh().pk, retry_after)
        if self.concurrency_limit is None or max(self.paused, self.lowered + concurrency.WINDOW) <= now:
            limit = self.limit or concurrency.UNLIMITED
            self.concurrency_limit = max(min(concurrency.MIN_LIMIT, limit), limit // 2)
            self.changed = self.lowered = now
        seconds = concurrency.PAUSE_SECONDS if retry_after is None else retry_after
        self.refusals, self.slow_start = self.refusals + 1, False
        if seconds > concurrency.OWN_SECONDS or self.refusals >= concurrency.CONSECUTIVE_REFUSALS:
            self.paused = max(self.paused, now + timedelta(seconds=seconds))

    @rule()
    def works(self) -> None:
        breaker.succeeded(fresh())
        if self.concurrency_limit is not None:
            self.refusals = 0
            self.rise(self.concurrency_limit + 1)

    @rule(seconds=st.sampled_from([1, 3, 10, 61]))
    def wait(self, seconds: int) -> None:
        clock.shift(timedelta(seconds=seconds))
        self.recover()

    def recover(self) -> None:
        rises = self.may_recover()
        concurrency.recover(clock.now())
        if rises:
            lower = self.concurrency_limit or 0
            self.rise(lower + 1 if self.slow_start else 2 * lower)

    def rise(self, raised: int) -> None:
        self.concurrency_limit, self.changed = (None if raised >= self.top else raised), clock.now()
        self.slow_start = self.slow_start and self.concurrency_limit is not None

    @invariant()
    def holds(self) -> None:
        clock.shift(timedelta(milliseconds=1))  # no two things happen at the same moment
        connection = fresh()
        assert (connection.max_concurrency, connection.concurrency_limit, connection.slow_start) == (
            self.most,
            self.concurrency_limit,
            self.slow_start,
        )
        assert connection.concurrency_limit is None or connection.concurrency_limit >= 1
        now = clock.now()
        rows = ConnectionSlot.objects.filter(leased_until__gte=now).values_list("holder", "number")
        assert set(rows) == set(self.taken(now).items())

    def teardown(self) -> None:
        clock.reset()


class TheBreaker(ThePace):
    """The limit above, stopped and resumed by a slow start.

    ``row``: failures in a row; ``of``: who had them all; ``failed_probes``: failed probes.
    """

    def __init__(self, afresh: Afresh) -> None:
        super().__init__(afresh)
        self.state, self.version = Breaker.CLOSED, fresh().credentials_version
        self.cause, self.row, self.of, self.vain = "", 0, "", 0
        self.last = self.early = fresh()

    @property
    def stopped(self) -> bool:
        return self.state != Breaker.CLOSED

    @property
    def tries_by_itself(self) -> bool:
        return self.stopped and self.cause == BreakerCause.SERVER

    def may_recover(self) -> bool:
        return super().may_recover() and not self.stopped

    def moves(self, event: str) -> None:
        """As the table says, with what each state brings along."""
        was, self.state = self.state, BREAKER.get((self.state, event), self.state)
        if self.state == was:
            return
        if self.state == Breaker.CLOSED:
            self.concurrency_limit, self.changed, self.slow_start, self.vain = 1, clock.now(), True, 0
        elif self.state == Breaker.HALF_OPEN:
            self.concurrency_limit, self.changed, self.slow_start = 1, clock.now(), False

    @initialize(begun=st.sampled_from(["well", "stopped", "tried", "tried"]))
    def begins(self, begun: str) -> None:
        """Not always at the far end of a long row of rules."""
        if begun != "well":
            self._fails_in_a_row("abcde", down=True)
        if begun == "tried":
            self._is_tried("answers")

    # --- What steps meet ---

    @precondition(lambda self: self.state != Breaker.OPEN or self.tries_by_itself)
    @rule()
    def is_refused(self) -> None:
        known = self.state == Breaker.OPEN and self.cause == BreakerCause.AUTH
        opened = service.record_auth_failure(fresh().pk, credentials_version=self.version, status=401, reason="refused")
        assert opened == (not known)
        self.moves("refused")
        self.cause = BreakerCause.AUTH

    @precondition(lambda self: self.state != Breaker.OPEN)
    @rule(steps=st.sampled_from(["a", "b", "aaaaa", "abcde"]), down=st.booleans())
    def fails(self, steps: str, down: bool) -> None:
        self._fails_in_a_row(steps, down=down)

    def _fails_in_a_row(self, steps: str, *, down: bool) -> None:
        for step in steps:
            if self.state != Breaker.OPEN:
                self._fails(step, down=down)

    def _fails(self, step: str, *, down: bool) -> None:
        self.world.answers, self.world.credentials = not down, True
        breaker.failed(fresh(), subject=step, error=ProviderError(Kind.SERVER, "It fails.", http_status=500))
        self.of = step if self.row == 0 or self.of == step else ""
        self.row += 1
        if self.row < CONSECUTIVE_REFUSALS:
            return
        if self.of == step and not down:
            # Its own trouble; to the next one, half-open, it is left to show whether the vendor works.
            self.row, self.of = (CONSECUTIVE_REFUSALS - 1, step) if self.stopped else (0, "")
            return
        if self.state == Breaker.HALF_OPEN:
            self.vain, self.of = self.vain + 1, step
        self.opens("fails" if self.stopped else "fails, the fifth in a row")

    def opens(self, event: str) -> None:
        self.moves(event)
        self.cause, self.row, self.slow_start = BreakerCause.SERVER, CONSECUTIVE_REFUSALS, False
        opened = fresh()
        assert opened.probe_at == (opened.breaker_changed_at or clock.now()) + self.wait_for_a_try()

    def wait_for_a_try(self) -> timedelta:
        return timedelta(seconds=min(10 * 2**self.vain, 300))

    @precondition(lambda self: self.state != Breaker.OPEN)
    @rule()
    def works(self) -> None:
        breaker.succeeded(fresh())
        if self.concurrency_limit is not None or self.row or self.state != Breaker.CLOSED:
            self.refusals = 0
        self.row, self.of = 0, ""
        self.moves("works")
        if self.concurrency_limit is not None:
            self.rise(self.concurrency_limit + 1)

    @precondition(lambda self: self.early.breaker_changed_at != fresh().breaker_changed_at)
    @rule(fails=st.booleans())
    def a_late_answer_comes(self, fails: bool) -> None:
        """From before it last opened, closed or was tried: it changes nothing."""
        if fails:
            breaker.failed(self.early, subject="late", error=ProviderError(Kind.SERVER, "It failed.", http_status=500))
        else:
            breaker.succeeded(self.early)

    # --- Trying again ---

    @precondition(lambda self: self.tries_by_itself)
    @rule(answer=st.sampled_from(["answers", "answers, and nobody waits", "is down", "refuses"]))
    def is_tried(self, answer: str) -> None:
        self._is_tried(answer)

    def _is_tried(self, answer: str) -> None:
        seen = fresh()
        assert seen.probe_at
        clock.shift(max(seen.probe_at - clock.now(), timedelta(0)) + timedelta(milliseconds=1))
        assert breaker.take_due_probes(clock.now()) == [seen.pk]
        assert breaker.take_due_probes(clock.now()) == [], "handed out once"
        self.world.answers, self.world.credentials = answer != "is down", answer != "refuses"
        may_advance = breaker.apply_probe_result(seen, service.probe(seen), waiting="nobody" not in answer)
        assert may_advance == answer.startswith("answers")
        was = self.state
        if answer == "is down":
            self.vain += 1
        if answer == "is down" and was == Breaker.HALF_OPEN:
            self.of = ""
            self.opens(f"tried: {answer}")
            return
        self.moves(f"tried: {answer}")
        if answer == "refuses":
            self.cause = BreakerCause.AUTH
        elif answer == "is down":
            tried = fresh()
            assert tried.probe_at == (tried.probed_at or clock.now()) + self.wait_for_a_try()
        elif self.state == Breaker.CLOSED:
            self.row = CONSECUTIVE_REFUSALS - 1

    @precondition(lambda self: self.stopped)
    @rule(answer=st.sampled_from(["answers", "is down", "refuses"]))
    def a_person_tries(self, answer: str) -> None:
        self.world.answers, self.world.credentials = answer != "is down", answer != "refuses"
        assert service.close_after_probe(fresh().pk, actor="kim").ok == (answer == "answers")
        if answer == "answers":
            self.moves("a person tries: answers")

    @rule()
    def new_credentials(self) -> None:
        """With them, what the former ones met is past."""
        self.version += 1
        token = [f"t{self.version}"]
        service.set_connection(SLUG, system="crm", provider="model", secrets={"token": token}, actor="kim")
        assert not service.record_auth_failure(
            fresh().pk, credentials_version=self.version - 1, status=401, reason="refused"
        )

    # --- Always ---

    @invariant()
    def is_as_the_table_says(self) -> None:
        connection = fresh()
        if connection.breaker_changed_at != self.last.breaker_changed_at:
            self.early = self.last
        self.last = connection
        assert (connection.breaker, connection.credentials_version) == (self.state, self.version)
        assert (connection.breaker_cause, connection.failures, connection.failures_of) == (
            self.cause,
            self.row,
            self.of,
        )
        assert connection.failed_probes == self.vain
        assert bool(connection.breaker_reason) == self.stopped
        assert (connection.probe_at is not None) == self.tries_by_itself
        told = Ticket.objects.filter(connection=connection, status__in=UNRESOLVED)
        assert [ticket.category for ticket in told] == [self.cause] * self.stopped, (
            "one while it is stopped, and none else"
        )


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes where the machine says so: a slow computer must not outlast a pause meanwhile."""
    at = time.time()
    monkeypatch.setattr(clock, "_carried", lambda: at)


def test_breaker_follows_its_state_table(afresh: Afresh) -> None:
    run_state_machine_as_test(partial(TheBreaker, afresh), settings=budget(sized(40, 10), steps=25))


def test_concurrency_limit_is_never_exceeded(afresh: Afresh) -> None:
    run_state_machine_as_test(partial(ThePace, afresh), settings=budget(sized(25, 6), steps=25))
