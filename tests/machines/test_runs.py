"""Runs and their steps, in whatever order claims, answers, late answers, people and time may come."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import Q
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exceptions_queue.sla import clocks as sla
from integrations import clock
from integrations.connections import services as connection_services
from integrations.enums import Breaker
from integrations.models import Connection
from onboarding import audit, services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.advancing import is_rereported, reports_run_status
from onboarding.engine.claiming import Claim
from onboarding.engine.compensation import SKEW
from onboarding.engine.periodic import sweep
from onboarding.engine.recording import record
from onboarding.enums import LEASED, Category, RunEventType, Status, StepState, WaitsFor
from onboarding.intake import service
from onboarding.models import ObjectMapping, OnboardingTransaction, Reservation, Step
from onboarding.services import Refused
from onboarding.steps.registry import HANDLERS
from tests.conftest import next_due
from tests.machines.budget import budget
from tests.machines.conftest import Afresh, payment
from tests.machines.promises import BACK, GATE, OVER, PASSED, UNDER_WAY, Held, Promises, has_runs
from tests.machines.vendor import FAULTS, Fault
from tests.one_database import sized

MOST_RUNS = 3
CUSTOMER = st.sampled_from("aab")
PICK = st.integers(0, 40)
LOST = [fault for fault in FAULTS if fault.after]
FAULT = st.one_of(st.none(), st.sampled_from(LOST), st.sampled_from(FAULTS))


class Runs(Promises):
    # --- Work -----------------------------------------------------------------------------------------------------------

    @initialize(
        customers=st.lists(CUSTOMER, min_size=1, max_size=2),
        ways=st.lists(FAULT, max_size=16),
        pick=PICK,
        back=st.booleans(),
        meddle=st.booleans(),
    )
    def begin(self, customers: str, ways: list[Fault | None], pick: int, back: bool, meddle: bool) -> None:
        """Examples differ in how far their first runs have come, as most rules need something to act on."""
        for customer in customers:
            self.accept(customer, "nothing")
        for way in ways:
            self.work(pick, [way])
            self.wait_until_due()
        if back:
            self._roll_back(self.run_at(pick), meddled_with=pick if meddle else None)

    @precondition(lambda self: len(self.status) < MOST_RUNS)
    @rule(customer=CUSTOMER, lacks=st.sampled_from(["nothing", "nothing", "plan", "owner"]))
    def accept(self, customer: str, lacks: str) -> None:
        name = f"pay_{len(self.status)}"
        content = payment(name, customer)
        if lacks == "plan":
            del content["commercial"]["plan_sku"]
        elif lacks == "owner":
            del content["ownership"]
        run = service.accept(content, actor="tests").run
        self.status[run.pk], self.done[run.pk] = Status.QUEUED, set()

    @precondition(has_runs)
    @rule(pick=PICK)
    def claim(self, pick: int) -> None:
        """A worker takes what is due, or what another has in hand."""
        due = Q(due_at__lte=clock.now()) | Q(state__in=LEASED)
        if steps := list(Step.objects.filter(due).order_by("pk").values_list("pk", flat=True)):
            self._claim(steps[pick % len(steps)])

    @precondition(has_runs)
    @rule(faults=st.lists(FAULT, min_size=1, max_size=6), pick=PICK)
    def work(self, pick: int, faults: list[Fault | None]) -> None:
        """A worker takes what is due, one thing after another, and each ends well or in some other way."""
        for fault in faults:
            if held := self._take(pick):
                self._perform(held, fault)
                self._record(held, inline=False)

    @precondition(lambda self: Status.ROLLING_BACK in self.status.values())
    @rule(faults=st.lists(FAULT, min_size=1, max_size=6))
    def unwind(self, faults: list[Fault | None]) -> None:
        """Workers undo what is next, one thing after another."""
        for fault in faults:
            back = Step.objects.filter(transaction__status=Status.ROLLING_BACK).exclude(due_at=None)
            if due := back.order_by("due_at").values_list("pk", "due_at").first():
                clock.shift(max(due[1] - clock.now(), timedelta(0)))
                if held := self._claim(due[0]):
                    self._perform(held, fault)
                    self._record(held, inline=False)

    @precondition(has_runs)
    @rule(fault=FAULT, others=FAULT, pick=PICK)
    def overtake(self, pick: int, fault: Fault | None, others: Fault | None) -> None:
        """A worker hangs after its call; its lease ends, another takes the step over, and then it comes back."""
        if held := self._take(pick):
            assert self._claim(held.claim.step.pk) is None, "two hold one step"
            self._perform(held, fault)
            clock.shift(timedelta(seconds=settings.LEASE_SECONDS + 1))
            if second := self._claim(held.claim.step.pk):
                self._perform(second, others)
                self._record(second, inline=False)
            self._record(held, inline=False)

    def _take(self, pick: int) -> Held | None:
        due = list(Step.objects.filter(due_at__lte=clock.now()).order_by("pk").values_list("pk", flat=True))
        return self._claim(due[pick % len(due)]) if due else None

    @precondition(lambda self: any(held.outcome is None for held in self.held))
    @rule(fault=FAULT, pick=PICK)
    def perform(self, pick: int, fault: Fault | None) -> None:
        waiting = [held for held in self.held if held.outcome is None]
        self._perform(waiting[pick % len(waiting)], fault)

    @precondition(lambda self: any(held.outcome for held in self.held))
    @rule(pick=PICK, inline=st.booleans())
    def tell(self, pick: int, inline: bool) -> None:
        """An outcome is recorded: in time, or after somebody else has taken the step over."""
        ended = [held for held in self.held if held.outcome]
        self._record(ended[pick % len(ended)], inline=inline)

    @precondition(lambda self: bool(self.held))
    @rule(pick=PICK)
    def die(self, pick: int) -> None:
        """The worker is lost with what it knew."""
        del self.held[pick % len(self.held)]

    def _claim(self, step_pk: int) -> Held | None:
        due = Step.objects.values_list("due_at", flat=True).get(pk=step_pk)
        claimed = claiming.claim(step_pk)
        step = Step.objects.select_related("waits_on").get(pk=step_pk)
        if step.waits_for == WaitsFor.RESERVATION and step.waits_on and step.due_at != due:  # it asked just now
            kept = Reservation.objects.filter(holder=step.waits_on, external_id="", kind=_kind(step)).exists()
            over = step.waits_on.state in PASSED
            assert not (kept and over), f"{step} waits for a reservation that a finished step will never complete"
        return self._hold(claimed)

    def _hold(self, claimed: Claim | None) -> Held | None:
        if claimed is None:
            return None
        assert claimed.token > self.tokens.get(claimed.step.pk, 0), "a token was given twice"
        self.tokens[claimed.step.pk] = claimed.token
        assert self.leases.get(claimed.step.pk, clock.now()) <= clock.now(), "two hold one step"
        self.leases[claimed.step.pk] = clock.now() + timedelta(seconds=settings.LEASE_SECONDS)
        assert self.may_begin(claimed), f"{claimed.step.key} was begun in a run that is {claimed.run.status}"
        self.held.append(Held(claimed, clock.now()))
        return self.held[-1]

    def may_begin(self, claimed: Claim) -> bool:
        if claimed.plan is not None:
            return claimed.run.status == Status.ROLLING_BACK and not self.builds_on(claimed.step)
        if is_rereported(claimed.step):
            return True
        run = claimed.run.pk
        return run not in self.on_hold and self.status[run] not in (*OVER, *BACK)

    def builds_on(self, step: Step) -> set[str]:
        """What comes after the step and is not compensated yet."""
        steps = list(step.transaction.steps.all())
        after = {step.key}
        for _ in steps:
            after |= {other.key for other in steps if after.intersection(other.after)}
        return {o.key for o in steps if o.key in after - {step.key} and o.state not in PASSED and not is_rereported(o)}

    def _perform(self, held: Held, fault: Fault | None) -> None:
        passed = (clock.now() - held.at).total_seconds()  # the test's clock moves faster than the monotonic one
        self.world.fault = fault
        held.outcome = engine.perform(replace(held.claim, deadline=held.claim.deadline - passed))
        self.world.fault = None

    def _record(self, held: Held, *, inline: bool) -> None:
        assert held.outcome is not None
        self.held.remove(held)
        if self.tokens[held.claim.step.pk] == held.claim.token:
            self.leases.pop(held.claim.step.pk, None)
        before = Step.objects.get(pk=held.claim.step.pk)
        late = before.token != held.claim.token or before.state not in LEASED
        self._hold(record(held.claim, held.outcome, inline=inline))
        if late:
            after = Step.objects.get(pk=before.pk)
            assert (after.state, after.token, after.attempts) == (before.state, before.token, before.attempts)
            assert before.attempt_rows.get(token=held.claim.token).outcome == "late"

    # --- Time -----------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 3, 12, 60, 600, 3600]))
    def wait(self, seconds: float) -> None:
        clock.shift(timedelta(seconds=seconds))

    @rule()
    def wait_until_due(self) -> None:
        if due := next_due(reservations=True):
            clock.shift(max(due - clock.now() + timedelta(milliseconds=1), timedelta(0)))

    @rule(do=st.booleans())
    def sweep(self, do: bool) -> None:
        sla.tick()
        due = sweep.sweep()
        assert not due.events
        for pk in due.steps:
            if do:
                engine.run_step(pk)
        if not do:
            sweep.release(due)
        for pk, token in Step.objects.values_list("pk", "token"):
            self.tokens[pk] = max(token, self.tokens.get(pk, 0))

    # --- People ---------------------------------------------------------------------------------------------------------

    def ask(self, action: Callable[[], object], *, refused: bool | None = None) -> bool:
        """Do it; ``refused`` is what the model expects, None where it does not say."""
        try:
            action()
        except Refused:
            assert refused is not False, "refused what makes sense"
            return False
        assert refused is not True, "did what makes no sense"
        return True

    @precondition(has_runs)
    @rule(pick=PICK)
    def hold(self, pick: int) -> None:
        run = self.run_at(pick)
        over = run.status in (*OVER, *BACK)
        if self.ask(
            partial(services.hold, run.pk, actor="kim", reason="Wait."), refused=over or run.pk in self.on_hold
        ):
            self.on_hold.add(run.pk)

    @precondition(lambda self: bool(self.on_hold))
    @rule(pick=PICK)
    def resume(self, pick: int) -> None:
        run = self.run_at(pick)
        if self.ask(partial(services.resume, run.pk, actor="kim"), refused=run.pk not in self.on_hold):
            self.on_hold.remove(run.pk)
            self.refunded.discard(run.pk)

    @precondition(has_runs)
    @rule(pick=PICK, sure=st.sampled_from([False, False, False, True]))
    def cancel(self, pick: int, sure: bool) -> None:
        run = self.run_at(pick)
        over = run.status in (*OVER, *BACK)
        if (sure or over) and self.ask(partial(services.cancel, run.pk, actor="kim", reason="No."), refused=over):
            self.on_hold.discard(run.pk)
            self.refunded.discard(run.pk)

    @precondition(has_runs)
    @rule(pick=PICK, sure=st.sampled_from([False, False, True]), meddle=st.booleans())
    def rollback(self, pick: int, sure: bool, meddle: bool) -> None:
        run = self.run_at(pick)
        if sure or run.status in BACK:
            self._roll_back(run, meddled_with=pick if meddle else None)

    def _roll_back(self, run: OnboardingTransaction, *, meddled_with: int | None) -> None:
        begun = run.status in BACK
        if meddled_with is not None and self.world.things:
            self.change(meddled_with)
        verdicts = [] if begun else services.rollback_preview(run.pk)
        if self.ask(partial(services.rollback, run.pk, actor="kim", reason="They withdrew."), refused=begun):
            for pk in run.steps.values_list("pk", flat=True):
                self.leases.pop(pk, None)  # fenced off; what its holder may still send is resolved first
            self.seen_changed |= {one.external_id for one in verdicts if one.verdict == "changed-since"}
            self.on_hold.discard(run.pk)
            self.refunded.discard(run.pk)

    @precondition(has_runs)
    @rule(pick=PICK)
    def keep(self, pick: int) -> None:
        run = self.run_at(pick)
        self.ask(partial(services.keep, run.pk, actor="kim", reason="A mistake."), refused=False)
        self.on_hold.discard(run.pk)
        self.refunded.discard(run.pk)

    @precondition(has_runs)
    @rule(pick=PICK)
    def force(self, pick: int) -> None:
        if step := self.step_at(pick, state=StepState.BLOCKED):
            refused = step.transaction.status != Status.ROLLING_BACK
            self.ask(partial(services.force_rollback, step.pk, actor="kim"), refused=refused)

    @precondition(has_runs)
    @rule(pick=PICK)
    def refund(self, pick: int) -> None:
        run = self.run_at(pick)
        self._report(run, RunEventType.PAYMENT_REFUNDED)
        if run.status not in (Status.CANCELLED, *BACK):
            self.refunded.add(run.pk)
            if run.status != Status.COMPLETE:
                self.on_hold.add(run.pk)

    @precondition(has_runs)
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        if step := self.step_at(pick, state__in=(StepState.BLOCKED, StepState.WAITING)):
            self.ask(partial(services.retry_step, step.pk, actor="kim"), refused=False)

    @precondition(has_runs)
    @rule(pick=PICK)
    def replay(self, pick: int) -> None:
        if step := self.step_at(pick):
            running = step.transaction.steps.filter(state=StepState.RUNNING).exists()
            none = step.transaction.status in (*GATE, Status.CANCELLED, *BACK)
            refused = True if none else None if running else False
            self.may_reopen = set(step.transaction.steps.values_list("key", flat=True))
            self.ask(partial(services.replay, step.transaction_id, step.key, actor="kim"), refused=refused)

    @precondition(has_runs)
    @rule(pick=PICK)
    def skip(self, pick: int) -> None:
        if step := self.step_at(pick):
            over = step.transaction.is_over and not reports_run_status(step)
            refused = True if step.state in PASSED or over else None
            if self.ask(partial(services.skip_step, step.pk, actor="kim", reason="By hand."), refused=refused):
                # Replayed, it may be claimed again; its last holder's send_by is waited for.
                self.leases.pop(step.pk, None)
                if step.transaction.status == Status.ROLLING_BACK:
                    self.left_to_people.add((step.transaction_id, _kind(step)))

    @precondition(has_runs)
    @rule(pick=PICK)
    def unlink(self, pick: int) -> None:
        mappings = list(ObjectMapping.objects.select_related("step__transaction").order_by("pk"))
        if mappings:
            mapping = mappings[pick % len(mappings)]
            self.may_reopen = set(mapping.transaction.steps.values_list("key", flat=True))
            act = partial(services.unlink, mapping.step_id, actor="kim", reason="Not theirs.", item=mapping.item)
            if self.ask(act, refused=True if mapping.created_by_us else None):
                self.wanted_anew |= {key for key in self.world.created if key[0] == mapping.kind}

    @precondition(has_runs)
    @rule(pick=PICK)
    def resend(self, pick: int) -> None:
        if step := self.step_at(pick, key="welcome.mail"):
            sent = step.state == StepState.SUCCEEDED
            stopped = step.transaction.status in (Status.CANCELLED, *BACK) or step.transaction_id in self.on_hold
            self.may_reopen = {step.key}
            self.ask(partial(services.resend, step.pk, actor="kim"), refused=not sent or stopped)

    @precondition(has_runs)
    @rule(pick=PICK, create=st.booleans())
    def choose(self, pick: int, create: bool) -> None:
        asked = (Category.AMBIGUOUS_MATCH, Category.UNKNOWN_OUTCOME)
        if step := self.step_at(pick, state=StepState.BLOCKED, category__in=asked):
            self._choose(step, create=create)

    def _choose(self, step: Step, *, create: bool) -> None:
        kind = _kind(step)
        there = [thing.external_id for thing in self.world.things.values() if thing.kind == kind]
        create = create or not there
        if create:
            self.wanted_anew |= {key for key in self.world.created if key[0] == kind}
        chosen = "" if create else there[-1]
        self.left_to_people.add((step.transaction_id, kind))
        if step.transaction.status == Status.ROLLING_BACK:
            self.named.add(chosen)
        self.ask(partial(services.choose_match, step.pk, external_id=chosen, actor="kim"), refused=False)

    @precondition(has_runs)
    @rule(pick=PICK)
    def fix(self, pick: int) -> None:
        run = self.run_at(pick)
        fields = {"commercial.plan_sku": "pro", "ownership.crm_owner_id": "u_1"}
        before = run.snapshot_version
        if not self.ask(partial(services.fix, run.pk, fields, actor="kim"), refused=run.status in (*OVER, *BACK)):
            assert OnboardingTransaction.objects.get(pk=run.pk).snapshot_version == before

    @precondition(has_runs)
    @rule(pick=PICK)
    def kickoff(self, pick: int) -> None:
        self._kickoff(self.run_at(pick))

    def _kickoff(self, run: OnboardingTransaction) -> None:
        self._report(run, RunEventType.KICKOFF_SCHEDULED)

    def _report(self, run: OnboardingTransaction, kind: RunEventType) -> None:
        self.events += 1
        about = {"event_id": f"e{self.events}", "occurred_at": clock.now(), "data": {}, "actor": "another system"}
        assert services.receive_event(run.pk, kind=kind, **about)

    # --- Others at the vendor -------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.world.seeds)
    @rule(customer=CUSTOMER)
    def sell(self, customer: str) -> None:
        """Somebody in sales has made the account by hand."""
        self.world.seed("company", {"name": "Made by hand", "domain": f"{customer}-works.com"})

    @precondition(lambda self: bool(self.world.things))
    @rule(pick=PICK)
    def change(self, pick: int) -> None:
        """Somebody works with an object, some time after we have."""
        clock.shift(SKEW + timedelta(seconds=1))
        things = list(self.world.things.values())
        things[pick % len(things)].changed_at = clock.now()

    @rule()
    def lose_credentials(self) -> None:
        self.world.credentials = False

    @rule()
    def mend_credentials(self) -> None:
        self.world.credentials = True
        for connection in Connection.objects.exclude(breaker=Breaker.CLOSED):
            assert connection_services.close_after_probe(connection.pk, actor="kim").ok

    # --- The end --------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.status:
                self.resolve()
        finally:
            clock.reset()

    def resolve(self) -> None:
        """Everything is fixed and everybody answers: then every run comes to its end, and nothing is left over."""
        assert list(audit.broken_links()) == []
        self.held.clear()
        clock.shift(timedelta(seconds=settings.LEASE_SECONDS + 1))  # the places of lost workers are free again
        self.mend_credentials()
        for run in OnboardingTransaction.objects.exclude(held_at=None):
            services.resume(run.pk, actor="kim")
            self.on_hold.discard(run.pk)
            self.refunded.discard(run.pk)
        for _ in range(60):
            self.sweep(do=True)
            self.holds()
            if not OnboardingTransaction.objects.exclude(status__in=OVER).exists():
                break
            self.answer()
            self.wait_until_due()
        left = [
            f"{step.transaction}: {step.key} {step.state} {step.waits_for} {step.message} {step.waits_on}"
            for step in Step.objects.select_related("transaction")
            if step.state not in PASSED
        ]
        assert set(OnboardingTransaction.objects.values_list("status", flat=True)) <= set(OVER), left
        assert list(audit.broken_links()) == []

    def answer(self) -> None:
        """People do what the tickets ask of them."""
        for run in OnboardingTransaction.objects.filter(status__in=UNDER_WAY):
            if run.steps.filter(key="kickoff.task", waits_for=WaitsFor.EVENT).exists():
                self._kickoff(run)
        for run in OnboardingTransaction.objects.filter(status=Status.AWAITING_DATA):
            services.fix(run.pk, {"commercial.plan_sku": "pro", "ownership.crm_owner_id": "u_1"}, actor="kim")
        for step in Step.objects.filter(state=StepState.BLOCKED):
            if step.category in (Category.AMBIGUOUS_MATCH, Category.UNKNOWN_OUTCOME):
                self._choose(step, create=False)
            elif step.mappings.filter(changed_since=True).exists() and step.transaction.status == Status.ROLLING_BACK:
                services.force_rollback(step.pk, actor="kim")
            elif step.due_at is None:
                services.retry_step(step.pk, actor="kim")


def _kind(step: Step) -> str:
    return str(getattr(HANDLERS[step.uses], "kind", ""))


def test_run_invariants_hold_in_any_order_of_events(afresh: Afresh, quiet: None) -> None:
    run_state_machine_as_test(partial(Runs, afresh), settings=budget(sized(20, 5), steps=40))
