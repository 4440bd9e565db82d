"""One step's ticket against a small model: what the engine does to it, and what people do."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.models import User
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from exceptions_queue.models import UNRESOLVED, Ticket, TicketNote, TicketStatus
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.errors import Kind
from integrations.models import Connection
from onboarding import audit, services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.facts import match_key_of
from onboarding.engine.recording import record
from onboarding.enums import Category, Scope, StepState
from onboarding.intake import service
from onboarding.models import Intent, MatchChoice, Step
from onboarding.queues import QUEUES
from onboarding.services import Refused
from tests.machines.budget import budget
from tests.machines.conftest import Afresh, payment
from tests.machines.vendor import Fault
from tests.one_database import sized

ENGINEERS, SALES = "revenue-operations", "sales-ops"
READ = frozenset({"find"})
FAULTS = {
    "invalid": Fault("invalid", READ, Kind.INVALID),
    "strange answer": Fault("strange answer", READ, Kind.MALFORMED),
    "forbidden": Fault("forbidden", READ, Kind.FORBIDDEN),
    "several": Fault("several", READ),
    "defect": Fault("defect", READ),
    "too many jobs": Fault("too many jobs", READ, Kind.RATE_LIMIT, stop=True),
}
HEARD_AS = {
    "invalid": (Category.VALIDATION_ERROR, ENGINEERS),
    "strange answer": (Category.SERVER_ERROR, ENGINEERS),
    "forbidden": (Category.AUTH_ERROR, ENGINEERS),
    "several": (Category.AMBIGUOUS_MATCH, SALES),
    "defect": (Category.INTERNAL_ERROR, ENGINEERS),
    "too many jobs": (Category.RATE_LIMIT, ENGINEERS),
}
"""Failures that people hear of at once: as what, and in which queue."""
PEOPLE = ("kim", "lee")


@dataclass
class Model:
    status: TicketStatus
    category: Category
    queue: str
    owner: str | None = None


class Tickets(RuleBasedStateMachine):
    def __init__(self, afresh: Afresh) -> None:
        super().__init__()
        self.world = afresh()
        for name in PEOPLE:
            User.objects.create_user(name)
        self.ticket: Model | None = None
        self.closed = 0
        self.run = service.accept(payment("pay_1", "a"), actor="tests").run
        self.pk = self.run.steps.get(key="crm.account").pk
        self.over, self.notes = False, 0

    @property
    def step(self) -> Step:
        return Step.objects.get(pk=self.pk)

    @property
    def open_ticket(self) -> Ticket:
        return Ticket.objects.get(step=self.pk, status__in=UNRESOLVED)

    def tried(self, fault: str | None) -> None:
        """The step is tried once, whatever it waits for."""
        Connection.objects.update(paused_until=None)
        Step.objects.filter(pk=self.pk).update(due_at=clock.now())
        claimed = claiming.claim(self.pk)
        assert claimed is not None
        self.world.fault = FAULTS[fault] if fault else None
        outcome = engine.perform(claimed)
        assert self.world.fault is None, "it struck"
        record(claimed, outcome, inline=False)

    # --- The engine -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.over)
    @rule(how=st.sampled_from(sorted(FAULTS)))
    def fails(self, how: str) -> None:
        self.tried(how)
        category, queue = HEARD_AS[how]
        if self.ticket is None:
            self.ticket = Model(TicketStatus.OPEN, category, queue)
            return
        self.ticket.status = TicketStatus.OPEN
        if self.ticket.category != category:  # another trouble goes to whom it concerns; a person keeps what is theirs
            self.ticket.category, self.ticket.queue = category, queue

    @precondition(lambda self: not self.over)
    @rule()
    def passes(self) -> None:
        step, doubtful = self.step, Intent.objects.filter(step=self.pk).exclude(indeterminate_since=None)
        if doubtful.exists():  # after a defect of ours a person says that nothing was made
            about = {"connection": step.connection, "kind": "company", "match_key": match_key_of(self.run, step)}
            MatchChoice.objects.update_or_create(**about, defaults={"chosen_at": clock.now(), "chosen_by": "kim"})
        self.tried(None)
        self._close()

    def _close(self) -> None:
        self.over = True
        if self.ticket:
            self.ticket, self.closed = None, self.closed + 1

    # --- People ---------------------------------------------------------------------------------------------------------

    def act(self, name: str, **data: object) -> None:
        actions.perform(self.open_ticket.pk, name, Actor("kim", Scope.OPERATE), **data)

    @precondition(lambda self: self.ticket is not None)
    @rule()
    def retry(self) -> None:
        assert self.ticket
        if self.ticket.category == Category.AMBIGUOUS_MATCH:
            with pytest.raises(Refused):
                self.act("retry")
        else:
            self.act("retry")
            self.ticket.status = TicketStatus.RETRYING

    @precondition(lambda self: self.ticket is not None)
    @rule(
        queue=st.sampled_from([None, "nobody's", *sorted(QUEUES)]), owner=st.sampled_from([None, "stranger", *PEOPLE])
    )
    def assign(self, queue: str | None, owner: str | None) -> None:
        assert self.ticket
        if queue == "nobody's" or owner == "stranger":
            with pytest.raises(Refused):
                self.act("assign", queue=queue, owner=owner)
        else:
            self.act("assign", queue=queue, owner=owner)
            self.ticket.queue, self.ticket.owner = queue or self.ticket.queue, owner

    @precondition(lambda self: self.ticket is not None)
    @rule()
    def note(self) -> None:
        self.act("note", text="Asked the customer.")
        self.notes += 1

    @precondition(lambda self: not self.over)
    @rule(sure=st.sampled_from([False, False, True]))
    def cancel(self, sure: bool) -> None:
        if sure:
            services.cancel(self.run.pk, actor="kim", reason="No.")
            self._close()

    @rule()
    def wait(self) -> None:
        clock.shift(timedelta(minutes=1))

    # --- What must hold --------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        found = list(Ticket.objects.filter(step=self.pk).order_by("pk").select_related("owner"))
        resolved = [ticket for ticket in found if not ticket.is_open]
        assert len(resolved) == self.closed
        assert all(ticket.resolved_at and ticket.resolution for ticket in resolved)
        shown = [
            Model(ticket.status, ticket.category, ticket.queue, ticket.owner and ticket.owner.get_username())
            for ticket in found
            if ticket.is_open
        ]
        assert shown == ([self.ticket] if self.ticket else [])
        assert TicketNote.objects.count() == self.notes
        step = self.step
        assert (step.state == StepState.BLOCKED) == (self.ticket is not None)
        if resolved and not self.ticket:
            assert step.is_done, "what a closed ticket was about has passed, or was skipped"

    def teardown(self) -> None:
        assert list(audit.broken_links()) == []
        clock.reset()


def test_a_ticket_follows_its_step_and_keeps_what_people_did(afresh: Afresh, quiet: None) -> None:
    run_state_machine_as_test(partial(Tickets, afresh), settings=budget(sized(15, 4), steps=15))
