"""A connection's breaker and pace against small models: a table for the breaker, a dictionary of places for the pace."""

from datetime import datetime, timedelta
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock, pace
from integrations import connections as service
from integrations.models import Connection, ConnectionSlot
from integrations.words import Breaker
from tests.machines.budget import budget
from tests.machines.conftest import Afresh

SLUG = "crm"
BREAKER = {
    # (state, event) -> state; what is not listed changes nothing.
    (Breaker.CLOSED, "refused"): Breaker.OPEN,
    (Breaker.OPEN, "probe passes"): Breaker.CLOSED,
}
EVENTS = ["refused", "refused before the credentials changed", "probe passes", "probe fails", "new credentials"]


def fresh() -> Connection:
    return Connection.objects.get(slug=SLUG)


class TheBreaker(RuleBasedStateMachine):
    def __init__(self, afresh: Afresh) -> None:
        super().__init__()
        self.world = afresh()
        self.state, self.version = Breaker.CLOSED, fresh().credentials_version

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event: str) -> None:
        getattr(self, event.replace(" ", "_"))()
        self.state = BREAKER.get((self.state, event), self.state)

    def refused(self, version: int = 0) -> None:
        was = self.state
        opened = service.record_auth_failure(
            fresh().pk, credentials_version=version or self.version, status=401, reason="refused"
        )
        assert opened == (was == Breaker.CLOSED and not version)

    def refused_before_the_credentials_changed(self) -> None:
        self.new_credentials()
        self.refused(self.version - 1)

    def probe_passes(self) -> None:
        self.world.credentials = True
        assert service.close_after_probe(fresh().pk, actor="kim").ok

    def probe_fails(self) -> None:
        self.world.credentials = False
        assert not service.close_after_probe(fresh().pk, actor="kim").ok

    def new_credentials(self) -> None:
        self.version += 1
        token = [f"t{self.version}"]
        service.set_connection(SLUG, system="crm", provider="model", secrets={"token": token}, actor="kim")

    @invariant()
    def holds(self) -> None:
        connection = fresh()
        assert (connection.breaker, connection.credentials_version) == (self.state, self.version)
        assert bool(connection.breaker_reason) == (self.state != Breaker.CLOSED)
        told = Ticket.objects.filter(connection=connection, status__in=UNRESOLVED).count()
        assert told == (self.state != Breaker.CLOSED), "one open ticket while it is open, and none else"


class ThePace(RuleBasedStateMachine):
    """``places``: who has which one, until when. One that lies above a limit lowered meanwhile counts until it is over."""

    def __init__(self, afresh: Afresh) -> None:
        super().__init__()
        afresh()
        self.most: int | None = None
        self.pace: int | None = None
        self.changed = self.paused = clock.now()
        self.places: dict[str, tuple[int, datetime]] = {}

    @property
    def limit(self) -> int | None:
        return self.most if self.pace is None else self.pace

    def taken(self) -> dict[str, int]:
        """The numbers of the places that are taken now, by holder."""
        now = clock.now()
        return {holder: number for holder, (number, until) in self.places.items() if until >= now}

    @rule(most=st.sampled_from([0, 1, 2, 3, 6]))
    def configure(self, most: int) -> None:
        service.set_connection(SLUG, system="crm", provider="model", max_concurrency=most, actor="kim")
        self.most = most or None

    @rule(holder=st.sampled_from("abcdefg"), seconds=st.sampled_from([5, 60]))
    def acquire(self, holder: str, seconds: int) -> None:
        until = clock.now() + timedelta(seconds=seconds)
        paused, before = self.paused > clock.now(), self.taken()
        got = pace.acquire(fresh(), holder, until)
        if paused:
            assert not got, "a paused connection takes nobody"
        elif self.limit is None:
            assert got
        else:
            assert got == (holder in before or len(before) < self.limit), "as many as the limit, and no more"
            if got:
                slot = ConnectionSlot.objects.get(holder=holder, leased_until=until)
                self.places[holder] = (slot.number, until)

    @rule(holder=st.sampled_from("abcdefg"))
    def release(self, holder: str) -> None:
        pace.release(fresh().pk, holder)
        self.places.pop(holder, None)

    @rule(retry_after=st.sampled_from([None, 0.5, 20]))
    def too_many_requests(self, retry_after: float | None) -> None:
        now = clock.now()
        pace.slow_down(fresh().pk, retry_after)
        if self.paused <= now or self.pace is None:
            self.pace = max(1, (self.limit or pace.UNLIMITED) // 2)
        seconds = pace.PAUSE_SECONDS if retry_after is None else retry_after
        self.paused, self.changed = max(self.paused, now + timedelta(seconds=seconds)), now

    @rule(seconds=st.sampled_from([1, 10, 61]))
    def wait(self, seconds: int) -> None:
        clock.shift(timedelta(seconds=seconds))

    @rule()
    def recover(self) -> None:
        now = clock.now()
        pace.recover(now)
        if self.pace is not None and self.changed <= now - pace.RAISE_EVERY and self.paused <= now:
            raised = self.pace + 1
            self.pace, self.changed = (None if raised >= (self.most or pace.UNLIMITED) else raised), now

    @invariant()
    def holds(self) -> None:
        connection = fresh()
        assert (connection.max_concurrency, connection.pace) == (self.most, self.pace)
        assert connection.pace is None or connection.pace >= 1
        rows = ConnectionSlot.objects.filter(leased_until__gte=clock.now()).values_list("holder", "number")
        assert set(rows) == set(self.taken().items())

    def teardown(self) -> None:
        clock.reset()


def test_the_breaker_does_what_its_table_says(afresh: Afresh) -> None:
    run_state_machine_as_test(partial(TheBreaker, afresh), settings=budget(10, steps=15))


def test_no_more_calls_at_once_than_the_pace_allows(afresh: Afresh) -> None:
    run_state_machine_as_test(partial(ThePace, afresh), settings=budget(25, steps=25))
