"""The lean path's fences: what is changed between a transition's reading and its writing is never overlooked.

Each of these changes something for real, by another database connection, at the one moment at which only the fence can notice it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from integrations import clock
from integrations.connections import concurrency
from integrations.connections.services import record_auth_failure, set_connection
from integrations.enums import Breaker
from integrations.models import Connection, ConnectionSlot
from integrations.sandbox.control import SandboxControl
from onboarding import services, working_set
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.claiming import Claim
from onboarding.engine.outcomes import Outcome
from onboarding.engine.recording import record
from onboarding.enums import IntentState, StepState, WaitsFor
from onboarding.models import (
    Attempt,
    Intent,
    MatchChoice,
    ObjectMapping,
    OnboardingTransaction,
    RejectedMatch,
    Reservation,
    Step,
)
from onboarding.working_set import connections as kept_connections
from tests.machines.budget import budget
from tests.onboarding.conftest import Accept, shown, step_of
from tests.support.meanwhile import Meanwhile, inside, meanwhile, written

__all__ = ["inside", "meanwhile", "written"]

pytestmark = [
    pytest.mark.skipif(database.vendor != "postgresql", reason="the lean path is for PostgreSQL alone"),
    pytest.mark.usefixtures("connections"),
]
CLAIMING, RECORDING = "before-intent", "result-recorded"
AGAIN = timedelta(minutes=1)
HOLDER = "somebody:else"


@pytest.fixture
def run(accept: Accept) -> OnboardingTransaction:
    return accept()


@pytest.fixture
def account(run: OnboardingTransaction) -> Step:
    return step_of(run, "crm.account")


@pytest.fixture
def crm(connections: dict[str, Connection]) -> Connection:
    return Connection.objects.get(pk=connections["hubspot"].pk)


def fresh(step: Step) -> Step:
    return Step.objects.get(pk=step.pk)


def claimed(step: Step) -> Claim:
    current = claiming.claim(step.pk)
    assert current is not None, shown(step.transaction)
    return current


def done(step: Step) -> None:
    while not (now := fresh(step)).is_done:
        clock.shift(max((now.due_at or clock.now()) - clock.now(), timedelta(0)))
        current = claimed(step)
        record(current, engine.perform(current), inline=False)


def all_but_one(run: OnboardingTransaction) -> tuple[Claim, Outcome]:
    """Everything but the contact is there, and that is made and not recorded: with it the run is complete."""
    for key in ("crm.account", "support.organization", "delivery.project"):
        done(step_of(run, key))
    last = claimed(step_of(run, "crm.contact"))
    return last, engine.perform(last)


def nothing_written(step: Step) -> None:
    for model in (Attempt, Intent, ObjectMapping):
        assert not model._default_manager.filter(step=step).exists()
    assert not Reservation.objects.filter(holder=step).exists()
    assert not step.transaction.audit.filter(name="onboarding.step.claimed").exists()
    assert (fresh(step).state, fresh(step).token) == (StepState.PENDING, 0)


# --- The run --------------------------------------------------------------------------------------------------------


def test_a_step_is_claimed_and_recorded_with_one_statement_each(account: Step, written: list[str]) -> None:
    done(account)
    assert written == ["written"] * 2
    assert fresh(account).state == StepState.SUCCEEDED


def test_step_of_a_concurrently_held_run_is_not_claimed(
    account: Step, meanwhile: Meanwhile, written: list[str]
) -> None:
    meanwhile(CLAIMING, lambda: services.hold(account.transaction_id, actor="kim", reason="Wait."))
    assert claiming.claim(account.pk) is None
    assert written == ["Stale", "written"], "the rows are read again, and there is nothing to be done"
    nothing_written(account)


def test_result_is_recorded_once_when_the_run_is_held_concurrently(
    run: OnboardingTransaction, account: Step, meanwhile: Meanwhile, written: list[str]
) -> None:
    current = claimed(account)
    outcome = engine.perform(current)
    meanwhile(RECORDING, lambda: services.hold(run.pk, actor="kim", reason="Wait."))
    assert record(current, outcome, inline=True) is None, "nothing is begun in a run that is on hold"
    assert written == ["written", "Stale", "written"]
    assert fresh(account).state == StepState.SUCCEEDED
    assert [each.outcome for each in Attempt.objects.all()] == ["ensured"]
    assert run.mappings.count() == run.audit.filter(name="onboarding.object.created").count() == 1


def test_results_of_two_concurrent_branches_are_both_recorded(
    run: OnboardingTransaction, account: Step, meanwhile: Meanwhile, written: list[str]
) -> None:
    done(account)
    contact, project = step_of(run, "crm.contact"), step_of(run, "delivery.project")
    mine, theirs = claimed(contact), claimed(project)
    found, begun = engine.perform(mine), engine.perform(theirs)
    del written[:]
    meanwhile(RECORDING, lambda: record(theirs, begun, inline=False))
    record(mine, found, inline=False)
    # The project's rows are those that the claim of the contact wrote, and were read after it; the contact's are older.
    assert written == ["written", "Stale", "written"]
    assert fresh(contact).is_done
    assert fresh(project).waits_for == WaitsFor.JOB


# --- The connection -------------------------------------------------------------------------------------------------


def test_step_is_not_claimed_when_its_breaker_opened_concurrently(
    account: Step, crm: Connection, meanwhile: Meanwhile
) -> None:
    def refuse() -> None:
        record_auth_failure(crm.pk, credentials_version=crm.credentials_version, status=401, reason="no")

    meanwhile(CLAIMING, refuse)
    assert claiming.claim(account.pk) is None
    assert Connection.objects.get(pk=crm.pk).breaker == Breaker.OPEN
    nothing_written(account)


CHANGES = {
    "breaker": Breaker.HALF_OPEN,
    "breaker_changed_at": datetime(2026, 1, 1, tzinfo=UTC),
    "credentials_version": 7,
}


@pytest.mark.parametrize("column", CHANGES)
def test_claim_uses_the_connection_as_of_its_write(
    column: str, account: Step, crm: Connection, meanwhile: Meanwhile
) -> None:
    meanwhile(CLAIMING, lambda: Connection.objects.filter(pk=crm.pk).update(**{column: CHANGES[column]}))
    assert getattr(claimed(account).connection, column) == CHANGES[column]


def test_call_uses_the_connections_current_address(
    account: Step, crm: Connection, sandbox: SandboxControl, meanwhile: Meanwhile
) -> None:
    def move() -> None:
        set_connection(
            crm.slug,
            system=crm.system,
            provider=crm.provider,
            base_url=crm.base_url + "/",
            options={"reference_property": ""},
            actor="kim",
        )

    meanwhile(CLAIMING, move)
    current = claimed(account)
    assert current.connection is not None
    assert current.connection.options == {"reference_property": ""}
    engine.perform(current)
    assert not any("upsert" in request["path"] for request in sandbox.requests("hubspot")), "not by a property"


def test_a_step_waits_for_a_pause_that_began_meanwhile(account: Step, crm: Connection, meanwhile: Meanwhile) -> None:
    meanwhile(CLAIMING, lambda: concurrency.hold(crm.pk, 60))
    assert claiming.claim(account.pk) is None
    assert not Attempt.objects.exists()
    waiting = fresh(account)
    assert waiting.waits_for == WaitsFor.SLOT
    assert waiting.due_at is not None
    assert waiting.due_at > clock.now() + timedelta(seconds=50)


@pytest.mark.parametrize("column", ["concurrency_limit", "max_concurrency"])
def test_step_waits_for_a_slot_when_a_full_limit_was_set_concurrently(
    column: str, account: Step, crm: Connection, meanwhile: Meanwhile
) -> None:
    def limit() -> None:
        Connection.objects.filter(pk=crm.pk).update(**{column: 1})
        assert concurrency.acquire(Connection.objects.get(pk=crm.pk), HOLDER, clock.now() + AGAIN)

    meanwhile(CLAIMING, limit)
    assert claiming.claim(account.pk) is None
    assert fresh(account).waits_for == WaitsFor.SLOT


def test_last_slot_is_claimed_before_the_claim_is_written(
    account: Step, crm: Connection, meanwhile: Meanwhile, written: list[str]
) -> None:
    Connection.objects.filter(pk=crm.pk).update(max_concurrency=1)
    limited, taken = Connection.objects.get(pk=crm.pk), []
    meanwhile(CLAIMING, lambda: taken.append(concurrency.acquire(limited, HOLDER, clock.now() + AGAIN)))
    current = claimed(account)
    assert (written, taken) == (["written"], [False])
    assert ConnectionSlot.objects.get().holder == current.slot_holder


def test_step_without_a_slot_is_queued_with_one_statement_and_runs_later(
    account: Step, crm: Connection, written: list[str]
) -> None:
    Connection.objects.filter(pk=crm.pk).update(max_concurrency=1)
    assert concurrency.acquire(Connection.objects.get(pk=crm.pk), HOLDER, clock.now() + AGAIN)
    assert claiming.claim(account.pk) is None
    waiting = fresh(account)
    assert (waiting.waits_for, written) == (WaitsFor.SLOT, ["written"])
    assert waiting.due_at is not None
    assert waiting.due_at <= clock.now()
    # Asking again changes nothing but its position in the queue.
    entries = account.transaction.audit.count()
    assert claiming.claim(account.pk) is None
    assert (account.transaction.audit.count(), written) == (entries, ["written"] * 2)
    assert fresh(account).due_at > waiting.due_at
    concurrency.release(crm.pk, HOLDER)
    assert claimed(account).match_key, "its reservation of the shared object is still its own"
    assert written == ["written"] * 3


def test_waiting_step_does_not_take_a_concurrently_claimed_reservation(
    accept: Accept, account: Step, crm: Connection, meanwhile: Meanwhile
) -> None:
    Connection.objects.filter(pk=crm.pk).update(max_concurrency=1)
    assert concurrency.acquire(Connection.objects.get(pk=crm.pk), HOLDER, clock.now() + AGAIN)
    assert claiming.claim(account.pk) is None
    concurrency.release(crm.pk, HOLDER)
    other = step_of(accept(onboarding_transaction_id="pay_2"), "crm.account")
    meanwhile(CLAIMING, lambda: Reservation.objects.update(holder=other))
    assert claiming.claim(account.pk) is None
    assert fresh(account).waits_on_id == other.pk
    assert not ConnectionSlot.objects.exclude(holder="").exists()


def test_result_during_a_known_pause_is_recorded_with_one_statement(
    run: OnboardingTransaction, account: Step, crm: Connection, written: list[str]
) -> None:
    current = claimed(account)
    outcome = engine.perform(current)
    concurrency.hold(crm.pk, 5)
    kept_connections.forget()
    assert record(current, outcome, inline=True, later=[]) is None
    assert written == ["written"] * 2
    assert fresh(step_of(run, "crm.contact")).due_at is not None


def test_nothing_is_claimed_with_rows_read_during_a_pause_that_ended(account: Step, crm: Connection) -> None:
    concurrency.hold(crm.pk, 5)
    rows = working_set.of_step(account.pk)
    assert rows is not None
    with rows.transition():
        rows.fresh_connection(rows.step(account.pk))
        clock.shift(timedelta(seconds=6))
        seen = rows.step(account.pk).connection
        assert seen is not None
        assert not rows.take_slot(seen, HOLDER, clock.now() + AGAIN)


def test_slot_is_released_when_the_limit_was_lifted_before_the_claim(
    account: Step, crm: Connection, meanwhile: Meanwhile
) -> None:
    Connection.objects.filter(pk=crm.pk).update(concurrency_limit=7)
    meanwhile(CLAIMING, lambda: Connection.objects.filter(pk=crm.pk).update(concurrency_limit=None))
    current = claimed(account)
    assert ConnectionSlot.objects.get(number=0).holder == current.slot_holder
    record(current, engine.perform(current), inline=False)
    assert not ConnectionSlot.objects.exclude(holder="").exists()


def test_limit_lifted_and_set_again_concurrently_is_respected(
    account: Step, crm: Connection, meanwhile: Meanwhile, written: list[str]
) -> None:
    Connection.objects.filter(pk=crm.pk).update(concurrency_limit=7)
    kept_connections.forget()
    assert kept_connections.known(crm.pk).limit == 7
    Connection.objects.filter(pk=crm.pk).update(concurrency_limit=None)

    def lower() -> None:
        Connection.objects.filter(pk=crm.pk).update(concurrency_limit=1)
        assert concurrency.acquire(Connection.objects.get(pk=crm.pk), HOLDER, clock.now() + AGAIN)

    meanwhile(CLAIMING, lower)
    assert claiming.claim(account.pk) is None
    assert (written, fresh(account).waits_for) == (["Stale", "written"], WaitsFor.SLOT)


def test_no_slot_is_kept_for_a_step_that_is_not_claimed(account: Step, crm: Connection, meanwhile: Meanwhile) -> None:
    Connection.objects.filter(pk=crm.pk).update(max_concurrency=1)
    assert concurrency.acquire(Connection.objects.get(pk=crm.pk), HOLDER, clock.now() + AGAIN)
    concurrency.release(crm.pk, HOLDER)
    meanwhile(CLAIMING, lambda: services.hold(account.transaction_id, actor="kim", reason="Wait."))
    assert claiming.claim(account.pk) is None
    assert ConnectionSlot.objects.get().holder == ""


def test_who_claims_too_late_gives_back_its_own_slot_alone(
    account: Step, crm: Connection, meanwhile: Meanwhile
) -> None:
    Connection.objects.filter(pk=crm.pk).update(max_concurrency=2)
    kept_connections.forget()
    first: list[Claim] = []
    meanwhile(CLAIMING, lambda: first.append(claimed(account)))
    assert claiming.claim(account.pk) is None
    held = ConnectionSlot.objects.exclude(holder="").values_list("holder", flat=True)
    assert list(held) == [first[0].slot_holder]


@given(
    limits=st.tuples(st.none() | st.integers(1, 6), st.none() | st.integers(1, 6)),
    places=st.lists(st.sampled_from(["free", "held", "run out"]), min_size=6, max_size=6),
)
@budget(60)
def _taken_alike(crm: Connection, limits: tuple[int | None, int | None], places: list[str]) -> None:
    now = clock.now()
    ends = {"free": None, "held": now + AGAIN, "run out": now - AGAIN}
    rows = [
        ConnectionSlot(connection=crm, number=number, holder="" if each == "free" else HOLDER, leased_until=ends[each])
        for number, each in enumerate(places)
    ]
    Connection.objects.filter(pk=crm.pk).update(concurrency_limit=limits[0], max_concurrency=limits[1])
    limited = Connection.objects.get(pk=crm.pk)
    if limited.limit is None:
        return

    def take(how: Callable[[], object]) -> list[int]:
        ConnectionSlot.objects.all().delete()
        ConnectionSlot.objects.bulk_create(rows)
        how()
        return list(ConnectionSlot.objects.filter(holder="mine").values_list("number", flat=True))

    def lean() -> None:
        kept_connections.claim_slot(limited, "mine", now + AGAIN)

    assert take(lean) == take(lambda: concurrency.acquire(limited, "mine", now + AGAIN))


def test_slot_is_claimed_by_the_same_rule_on_both_paths(crm: Connection) -> None:
    _taken_alike(crm)


# --- The shared object ----------------------------------------------------------------------------------------------


def about(account: Step, crm: Connection) -> dict[str, Any]:
    domain = account.transaction.payload["customer"]["domain"]
    return {"connection": crm, "kind": "company", "match_key": f"domain:{domain}"}


def test_claim_sees_a_concurrently_rejected_match(account: Step, crm: Connection, meanwhile: Meanwhile) -> None:
    said = {"external_id": "77", "rejected_by": "kim", "reason": "Theirs.", "rejected_at": clock.now()}
    meanwhile(CLAIMING, lambda: RejectedMatch.objects.create(**about(account, crm), **said))
    assert claimed(account).rejected == {"77"}


def test_claim_sees_a_concurrently_chosen_match(account: Step, crm: Connection, meanwhile: Meanwhile) -> None:
    said = {"external_id": "77", "chosen_by": "kim", "chosen_at": clock.now()}
    meanwhile(CLAIMING, lambda: MatchChoice.objects.create(**about(account, crm), **said))
    choice = claimed(account).choice
    assert choice is not None
    assert choice.external_id == "77"


def test_step_waits_when_another_run_claimed_the_reservation_concurrently(
    accept: Accept, account: Step, meanwhile: Meanwhile, written: list[str]
) -> None:
    other = step_of(accept(onboarding_transaction_id="pay_2"), "crm.account")
    meanwhile(CLAIMING, lambda: claiming.claim(other.pk))
    assert claiming.claim(account.pk) is None
    assert written == ["written", "Stale", "Stale"], "told by the fence, and not by a unique index that fails"
    assert (fresh(account).waits_for, fresh(account).waits_on_id) == (WaitsFor.RESERVATION, other.pk)
    assert not Attempt.objects.filter(step=account).exists()


def test_claim_sees_an_object_found_concurrently_by_another_run(
    accept: Accept, account: Step, meanwhile: Meanwhile, written: list[str]
) -> None:
    other = step_of(accept(onboarding_transaction_id="pay_2"), "crm.account")
    meanwhile(CLAIMING, lambda: done(other))
    assert claimed(account).known_id == other.mappings.get().external_id
    assert written == ["written", "written", "Stale", "Stale"], (
        "told by the fence, and not by a unique index that fails"
    )


def test_concurrently_abandoned_indeterminate_create_is_adopted(
    accept: Accept, account: Step, sandbox: SandboxControl, meanwhile: Meanwhile
) -> None:
    other = step_of(accept(onboarding_transaction_id="pay_2", customer__country="FR"), "crm.account")
    sandbox.add_fault("hubspot", "error_after", method="POST", path="*/companies/batch/upsert", count=1)

    def give_up() -> None:
        engine.run_step(other.pk)
        services.cancel(other.transaction_id, actor="kim", reason="No.")
        Reservation.objects.filter(
            holder=other
        ).delete()  # the reservation is free; what it sent is indeterminate all the same

    meanwhile(CLAIMING, give_up)
    mine = claimed(account).intent
    theirs = Intent.objects.get(step=other)
    assert mine is not None
    assert theirs.state == IntentState.INDETERMINATE
    assert (mine.state, mine.params) == (theirs.state, theirs.params)
    assert mine.indeterminate_since is not None
