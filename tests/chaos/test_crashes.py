"""A worker dies at every named place, at every hit of it: a healthy one picks up, and nothing is lost or doubled."""

import random
from collections.abc import Callable
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
    assert set(failpoints.NAMES) == set(CRASH_POINTS)


def crash(workers: Workers, scenario: Scenario, name: str) -> set[str]:
    """Kill at each hit until one survives (in the quick slice, at one hit of all); the steps in hand when it died."""
    steps = set()
    if not matrix.WHOLE:
        there = workers.give(*scenario("first", workers.sandbox)).hits[name]
        assert there, f"{name} was never reached"
        hits = iter([random.Random(f"{matrix.SEED} {name}").randint(1, there)])  # noqa: S311 (repeatable)
    else:
        hits = count(1)
    for hit in hits:
        workers.sandbox.clear_faults()
        died = workers.give(*scenario(f"crash{hit}", workers.sandbox), failpoint=f"{name}:{hit}")
        if died.survived:
            assert matrix.WHOLE, f"hit {hit} of {name} was never reached"
            assert hit > 1, f"{name} was never reached"
            break
        steps.add(died.about)
        workers.sandbox.clear_faults()
        workers.heal()
    return steps


@pytest.mark.parametrize("row", matrix.rows("crash", "crash-lookup"), ids=lambda row: row.id)
def test_whenever_a_worker_dies_the_work_is_done_once(row: Row, workers: Workers, vendor: VendorKind) -> None:
    point = CRASH_POINTS[row.name]
    scenario = "lookup" if row.group == "crash-lookup" else point.scenario
    died_in = crash(workers, SCENARIOS[scenario], row.name)
    assert workers.violations() == []
    if matrix.WHOLE and row.group == "crash":
        assert died_in >= point.steps, "never reached in these kinds of step"
    people_finish(workers)
    assert workers.violations() == []
    over = (Status.READY_FOR_KICKOFF, Status.COMPLETE, Status.CANCELLED)
    assert not OnboardingTransaction.objects.exclude(status__in=over).exists()
