"""The model that runs are held against: what no step of an example may contradict, and what must hold after each."""

from dataclasses import dataclass
from datetime import datetime

from hypothesis.stateful import RuleBasedStateMachine, invariant

from exceptions_queue.models import UNRESOLVED, SlaClock, Ticket
from integrations.enums import Breaker
from onboarding.engine.advancing import is_rereported
from onboarding.engine.claiming import Claim
from onboarding.engine.outcomes import Outcome
from onboarding.engine.policy import ATTEMPTS_IN_ALL
from onboarding.enums import LEASED, Status, StepState, WaitsFor
from onboarding.models import ObjectMapping, OnboardingTransaction, Step, StepPoll
from onboarding.queues import QUEUES
from onboarding.steps.registry import HANDLERS
from tests.machines.conftest import Afresh
from tests.machines.vendor import Thing, World

UNDER_WAY = (Status.PROVISIONING, Status.READY_FOR_KICKOFF)
GATE = (Status.QUEUED, Status.AWAITING_DATA)
LEGAL = {
    Status.QUEUED: set(Status),
    Status.AWAITING_DATA: set(Status) - {Status.QUEUED},
    Status.PROVISIONING: set(Status) - set(GATE),
    Status.READY_FOR_KICKOFF: set(Status) - set(GATE),
    Status.COMPLETE: set(Status) - {*GATE, Status.CANCELLED},
    Status.CANCELLED: {Status.CANCELLED, Status.ROLLING_BACK, Status.ROLLED_BACK},
    Status.ROLLING_BACK: {Status.ROLLING_BACK, Status.ROLLED_BACK},
    Status.ROLLED_BACK: {Status.ROLLED_BACK},
}
"""From where a run was before one rule to where it may be after it."""
OVER = (Status.COMPLETE, Status.CANCELLED, Status.ROLLED_BACK)
BACK = (Status.ROLLING_BACK, Status.ROLLED_BACK)
PASSED = (StepState.SUCCEEDED, StepState.SKIPPED, StepState.COMPENSATED)


@dataclass
class Held:
    """A claim in some worker's hands: not performed yet, or with its outcome not recorded yet."""

    claim: Claim
    at: datetime
    outcome: Outcome | None = None


class Promises(RuleBasedStateMachine):
    def __init__(self, afresh: Afresh) -> None:
        super().__init__()
        self.world: World = afresh()
        self.held: list[Held] = []
        # The model: what no later step of an example may contradict. ``refunded``: runs about which a person is to decide;
        # ``left_to_people``: of which run what kind of object is a person's word; ``named``: ids linked in a rollback.
        self.tokens: dict[int, int] = {}
        self.leases: dict[int, datetime] = {}
        self.status: dict[int, Status] = {}
        self.done: dict[int, set[str]] = {}
        self.on_hold: set[int] = set()
        self.refunded: set[int] = set()
        self.left_to_people: set[tuple[int, str]] = set()
        self.named: set[str] = set()
        self.seen_changed: set[str] = set()
        self.undone: set[str] = set()
        self.may_reopen: set[str] = set()
        self.wanted_anew: set[tuple[str, str]] = set()
        self.events = 0

    # --- Choosing -------------------------------------------------------------------------------------------------------

    def run_at(self, pick: int) -> OnboardingTransaction:
        runs = list(OnboardingTransaction.objects.order_by("pk"))
        return runs[pick % len(runs)]

    def step_at(self, pick: int, **where: object) -> Step | None:
        steps = list(Step.objects.filter(**where).select_related("transaction").order_by("pk"))
        return steps[pick % len(steps)] if steps else None

    # --- What must hold --------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        assert self.world.broken == []
        for run in OnboardingTransaction.objects.order_by("pk"):
            self._check(run)
        self.may_reopen = set()
        mine = [
            (held.claim.step.pk, held.claim.token)
            for held in self.held
            if Step.objects.filter(pk=held.claim.step.pk, token=held.claim.token, state=StepState.RUNNING).exists()
        ]
        assert len(mine) == len(set(mine)), "two hold one claim"
        self._check_vendor()

    def _check(self, run: OnboardingTransaction) -> None:
        steps = list(run.steps.select_related("connection"))
        status, was = Status(run.status), self.status[run.pk]
        assert status in LEGAL[was], f"{was} became {status}"
        done = {step.key for step in steps if step.state in PASSED}
        if was not in BACK and status in BACK:
            self.done[run.pk] = set()
        lost = {step.key for step in steps if step.key in self.done[run.pk] - done and not is_rereported(step)}
        assert lost <= self.may_reopen, f"{lost} is not done any more"
        assert bool(run.held_at) == (run.pk in self.on_hold)
        self.status[run.pk], self.done[run.pk] = status, done
        open_tickets = list(Ticket.objects.filter(transaction=run, status__in=UNRESOLVED))
        assert all(ticket.queue in QUEUES for ticket in open_tickets)
        # What is asked about a change of the data holds nothing up, and may outlive the run's completion.
        covered = {ticket.step_id for ticket in open_tickets if ticket.change_request_id is None}
        passed = _passed(steps)
        for step in steps:
            needed = {other.key for other in steps if other.uses in HANDLERS[step.uses].needs}
            self._check_step(run, step, waits=bool((set(step.after) | needed) - passed), covered=covered)
        assert run.pk not in self.refunded or None in covered, f"{run} was refunded, and nobody is asked any more"
        if status in GATE:
            asked = None in covered
            looked_up = any(step.due_at or step.lease_until or step.pk in covered for step in steps)
            assert asked or looked_up or run.held_at, f"{run} waits at the gate, and nobody was asked"
        if status in (Status.CANCELLED, Status.ROLLED_BACK):
            assert not open_tickets or all(ticket.step and is_rereported(ticket.step) for ticket in open_tickets)
        if status == Status.COMPLETE:
            assert all(step.is_done or is_rereported(step) for step in steps)
            assert not SlaClock.objects.filter(transaction=run, change_request=None, ended_at=None).exists()

    def _check_step(self, run: OnboardingTransaction, step: Step, *, waits: bool, covered: set[int | None]) -> None:
        """``waits``: for other steps of its run."""
        name = f"{run} {step.key} ({run.status}, {step.state} {step.waits_for})"
        assert step.attempts <= ATTEMPTS_IN_ALL, name
        assert step.state in LEASED if step.lease_until else step.state != StepState.RUNNING, name
        if step.state in PASSED:
            assert step.due_at is None, f"{name} is done and due"
            assert step.pk not in covered, f"{name} is done and has an open ticket"
        if step.state == StepState.BLOCKED:
            assert step.pk in covered, f"{name} has no open ticket"
        if run.is_over and not is_rereported(step):
            assert step.state in PASSED, f"{name} is left in a run that is over"
        if step.state in PASSED or run.held_at or (run.is_over and not is_rereported(step)):
            return
        if waits and step.state == StepState.PENDING:
            return
        if step.state == StepState.COMPENSATING and self.builds_on(step):
            return
        polled = step.waits_for == WaitsFor.EVENT and StepPoll.objects.filter(step=step).exists()
        alive = step.due_at or step.lease_until or step.state == StepState.BLOCKED or polled
        assert alive, f"{name} stalls silently"
        if step.connection and step.connection.breaker == Breaker.OPEN:
            parked = Ticket.objects.filter(connection=step.connection, status__in=UNRESOLVED)
            assert parked.exists(), f"{name} is parked and nobody was told"

    def _check_vendor(self) -> None:
        for key, number in self.world.created.items():
            if key in self.wanted_anew:
                continue
            assert number - self.world.gone[key] <= 1, f"{key} was made {number} times"
        for external_id in self.world.undone.keys() - self.undone:
            self._check_undone(*self.world.undone[external_id])
        self.undone = set(self.world.undone)
        undoers = {self.run_of(by) for _, by in self.world.undone.values()}
        lost = ObjectMapping.objects.filter(external_id__in=self.world.undone).exclude(transaction__in=undoers)
        assert not lost.exists(), f"{lost} is mapped by another run and was removed"
        for run in OnboardingTransaction.objects.filter(status=Status.ROLLED_BACK):
            self._check_left(run)

    def run_of(self, subject: str) -> int:
        return int(Step.objects.values_list("transaction", flat=True).get(pk=subject.removeprefix("step:")))

    def _check_undone(self, thing: Thing, by: str) -> None:
        """Removed was what this run had made, or what a person said that it had."""
        name = f"{thing.kind} {thing.external_id} {thing.reference}"
        step = Step.objects.get(pk=by.removeprefix("step:"))
        if thing.external_id in self.named:
            return
        assert thing.maker, f"{name} was not ours"
        # Whoever takes a reservation over takes its indeterminate create over too: the account that another run may
        # have made is its own then.
        assert thing.kind == "company" or self.run_of(thing.maker) == step.transaction_id, f"{name} is another run's"
        assert thing.external_id not in self.seen_changed or step.forced, f"{name} was changed, and nobody was asked"

    def _check_left(self, run: OnboardingTransaction) -> None:
        """Nothing that it made is left, but for what cannot be undone, what others use, and what people decided on."""
        for thing in self.world.things.values():
            mine = thing.maker and self.run_of(thing.maker) == run.pk and thing.kind != "message"
            if not mine or (run.pk, thing.kind) in self.left_to_people:
                continue
            used = ObjectMapping.objects.filter(external_id=thing.external_id).exclude(transaction=run)
            assert used.exists(), (
                f"{run} is rolled back and left the {thing.kind} {thing.external_id} {thing.reference}"
            )


def has_runs(machine: Promises) -> bool:
    return bool(machine.status)


def _passed(steps: list[Step]) -> set[str]:
    """Keys of the steps that are done with all that comes before them: one that was skipped while an earlier one is done again
    lets nothing begin yet.
    """
    done = {step.key for step in steps if step.is_done or is_rereported(step)}
    before = {step.key: set(step.after) for step in steps}
    return {key for key in done if _ancestors(key, before) <= done}


def _ancestors(key: str, before: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = set(before.get(key, ()))
    while ahead:
        found |= ahead
        ahead = {earlier for each in ahead for earlier in before.get(each, ())} - found
    return found
