"""A worker dies at every named place, at every hit of it: a healthy one picks up, and nothing is lost or doubled."""

import random
from collections.abc import Callable, Iterable
from itertools import count

import pytest

from integrations import failpoints
from integrations.sandbox.control import SandboxControl
from onboarding.models import OnboardingTransaction
from onboarding.words import Status
from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import CRASH_POINTS, Row, VendorKind
from tests.chaos.runner import Task, Workers, people_finish

pytestmark = pytest.mark.processes
Scenario = Callable[[str, SandboxControl], list[Task]]


def playbook(name: str, sandbox: SandboxControl) -> list[Task]:
    """From the payment to the kickoff, with one refusal on the way, so that an exception is opened as well."""
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/users/create_or_update", status=400, count=1)
    return [["accept", payload_of(name)], ["drain"], ["retry", f"pay_{name}"], ["drain"]]


def people(name: str, sandbox: SandboxControl) -> list[Task]:
    """Whatever people may do to a run; and credentials that are refused."""
    sandbox.add_fault("hubspot", "unauthorized", method="POST", path="*/objects/contacts", count=1)
    paid = f"pay_{name}"
    return [
        ["accept", payload_of(name)],
        *(["act", action, paid] for action in ("hold", "resume")),
        ["drain"],
        ["act", "replay", paid, "crm.account"],
        ["drain"],
        ["kickoff", paid],
        ["accept", payload_of(f"{name}x")],
        ["act", "cancel", f"{paid}x"],
        ["drain"],
    ]


def event(name: str, _: SandboxControl) -> list[Task]:
    """Stripe tells of one payment three times."""
    return [*(["deliver", kind, name] for kind in ("intent", "session", "invoice")), ["drain"]]


def lookup(name: str, _: SandboxControl) -> list[Task]:
    """The CRM is asked for the owner, and does not tell."""
    return [["accept", payload_of(name, ownership={"crm_owner_id": ""})], ["drain"]]


SCENARIOS: dict[str, Scenario] = {"playbook": playbook, "people": people, "event": event, "lookup": lookup}


def test_every_failpoint_is_a_row() -> None:
    # The compensations' own points: tests/engine/test_rollback.py loses a worker at each of them in process.
    assert set(failpoints.NAMES) - {"before-undo", "after-undo"} == set(CRASH_POINTS)


def hits_of(workers: Workers, row: Row, scenario: str) -> list[str]:
    """The kinds of step in hand at each hit of the row's failpoint, where nobody dies."""
    known = (scenario, row.vendor)
    if known not in workers.counted:
        workers.counted[known] = workers.give(*SCENARIOS[scenario]("first", workers.sandbox))
        workers.sandbox.clear_faults()
        people_finish(workers)
    return workers.counted[known].steps_at(row.name)


def kills_of(workers: Workers, row: Row, scenario: str, vendor: VendorKind) -> Iterable[int]:
    """At which hits to kill: each, until one more is not reached; or those that the vendor's kind makes different; in the quick
    slice one of all.
    """
    if matrix.WHOLE and not vendor.steps:
        return count(1)
    there = hits_of(workers, row, scenario)
    assert there, f"{row.name} was never reached"
    hits = [hit for hit, step in enumerate(there, start=1) if not vendor.steps or step in vendor.steps]
    return hits if matrix.WHOLE else [random.Random(f"{matrix.SEED} {row.id}").choice(hits)]  # noqa: S311 (repeatable)


@pytest.mark.parametrize("row", matrix.rows("crash", "crash-lookup"), ids=lambda row: row.id)
def test_whenever_a_worker_dies_the_work_is_done_once(row: Row, workers: Workers, vendor: VendorKind) -> None:
    point = CRASH_POINTS[row.name]
    scenario = "lookup" if row.group == "crash-lookup" else point.scenario
    died_in: set[str] = set()
    for hit in kills_of(workers, row, scenario, vendor):
        tasks = SCENARIOS[scenario](f"crash{hit:03}", workers.sandbox)
        died = workers.give(*tasks, failpoint=f"{row.name}:{hit}")
        workers.sandbox.clear_faults()
        if died.survived:
            assert hit > 1, f"{row.name} was never reached"
            break
        died_in.add(died.step)
        workers.heal()
    assert workers.violations() == []
    if matrix.WHOLE and row.group == "crash":
        assert died_in >= (point.steps & vendor.steps if vendor.steps else point.steps)
    people_finish(workers)
    assert workers.violations() == []
    over = (Status.READY_FOR_KICKOFF, Status.COMPLETE, Status.CANCELLED)
    assert not OnboardingTransaction.objects.exclude(status__in=over).exists()
