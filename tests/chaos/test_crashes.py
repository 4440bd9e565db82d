"""A worker dies at every named place, at every hit of it: a healthy one picks up, and nothing is lost or doubled."""

import random
from collections.abc import Callable, Iterable
from itertools import count

import pytest

from integrations import failpoints
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import CRASH_POINTS, Row
from tests.chaos.runner import Task, Workers, people_finish
from tests.chaos.vendors import VendorKind

pytestmark = pytest.mark.processes
Scenario = Callable[[str, SandboxControl, VendorKind], list[Task]]


def playbook(name: str, sandbox: SandboxControl, vendor: VendorKind) -> list[Task]:
    """From the payment to the kickoff, with one refusal on the way, so that an exception is opened as well."""
    sandbox.add_fault(**vendor.refuses.as_fault(), kind="error_before", status=400, count=1)
    return [["accept", payload_of(name, plan=vendor.plan)], ["drain"], ["retry", f"pay_{name}"], ["drain"]]


def people(name: str, sandbox: SandboxControl, _: VendorKind) -> list[Task]:
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


def services(name: str, sandbox: SandboxControl, _: VendorKind) -> list[Task]:
    """What people do where something is missing, refused, or to be done once more; and what they undo."""
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/objects/notes", status=400, count=1)
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/organizations/*", status=400, count=1)
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/users/*", status=400, count=1)
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": f"{name} and sons"}])
    paid = f"pay_{name}"
    return [
        ["accept", payload_of(name, customer={"country": ""}, kickoff={"start_date": "", "urgency": ""})],
        ["act", "fix", paid, {"kickoff.urgency": "normal"}],
        ["drain"],
        ["act on step", "skip_step", paid, "crm.note", {"reason": "chaos", "with_dependents": True}],
        ["act on step", "choose_match", paid, "support.organization", {"external_id": other}],
        ["drain"],
        ["act on step", "resend", paid, "welcome.mail", {}],
        ["act on step", "unlink", paid, "support.organization", {"reason": "chaos"}],
        ["drain"],
        ["act", "recheck_gate", paid],
        ["act", "keep", paid],
        ["act", "rollback", paid],
        ["drain"],
    ]


def event(name: str, _: SandboxControl, __: VendorKind) -> list[Task]:
    """Stripe tells of one payment three times."""
    return [*(["deliver", kind, name] for kind in ("intent", "session", "invoice")), ["drain"]]


def lookup(name: str, _: SandboxControl, __: VendorKind) -> list[Task]:
    """The CRM is asked for the owner, and does not tell."""
    return [["accept", payload_of(name, ownership={"crm_owner_id": ""})], ["drain"]]


def rollback(name: str, _: SandboxControl, vendor: VendorKind) -> list[Task]:
    """A run creates everything, and is rolled back."""
    paid = f"pay_{name}"
    return [["accept", payload_of(name, plan=vendor.plan)], ["drain"], ["act", "rollback", paid], ["drain"]]


def rollback_beside(name: str, _: SandboxControl, vendor: VendorKind) -> list[Task]:
    """The customer has another run, which uses what this one made for both."""
    first = payload_of(name, plan=vendor.plan)
    other = {**first, "onboarding_transaction_id": f"pay_{name}x", "users": []}
    return [["accept", first], ["drain"], ["accept", other], ["drain"], ["act", "rollback", f"pay_{name}"], ["drain"]]


SCENARIOS: dict[str, Scenario] = {
    "playbook": playbook,
    "people": people,
    "services": services,
    "event": event,
    "lookup": lookup,
    "rollback": rollback,
    "rollback-beside": rollback_beside,
}


def scenario_of(row: Row) -> str:
    return matrix.OTHER_CRASHES[row.group][0] if row.group in matrix.OTHER_CRASHES else CRASH_POINTS[row.name].scenario


def test_every_failpoint_is_a_row() -> None:
    """Those of the archive are ``tests/onboarding/archive/test_kills.py``'s."""
    assert {name for name in failpoints.NAMES if not name.startswith("archive-")} == set(CRASH_POINTS)


def hits_of(workers: Workers, row: Row, vendor: VendorKind) -> list[tuple[int, str]]:
    """The hits of the row's failpoint where nobody dies, counted from 1, each with the kind of step in hand."""
    known = (scenario_of(row), row.vendor)
    if known not in workers.counted:
        workers.counted[known] = workers.give(*SCENARIOS[known[0]]("first", workers.sandbox, vendor))
        workers.sandbox.clear_faults()
        people_finish(workers)
    counted = workers.counted[known]
    hits = list(enumerate(counted.steps_at(row.name), start=1))
    if row.group == "crash-rollback":  # on the way back; the way there is the other rows'
        hits = hits[counted.hits_before("before-undo", row.name) - 1 :]
    assert hits, f"{row.name} was never reached"
    return hits


def kills_of(workers: Workers, row: Row, vendor: VendorKind) -> Iterable[int]:
    """At which hits to kill: each, until one more is not reached; or those that the vendor's kind makes different; in the quick
    slice one of all.
    """
    if matrix.WHOLE and vendor.every_hit and row.group != "crash-rollback":
        return count(1)
    found = [hit for hit, step in hits_of(workers, row, vendor) if vendor.every_hit or step in vendor.steps]
    return found if matrix.WHOLE else [random.Random(f"{matrix.SEED} {row.id}").choice(found)]  # noqa: S311 (repeatable)


@pytest.mark.parametrize("row", matrix.rows("crash", *matrix.OTHER_CRASHES), ids=lambda row: row.id)
def test_work_is_done_once_wherever_a_worker_is_killed(row: Row, workers: Workers, vendor: VendorKind) -> None:
    died_in: set[str] = set()
    for hit in kills_of(workers, row, vendor):
        tasks = SCENARIOS[scenario_of(row)](f"crash{hit:03}", workers.sandbox, vendor)
        died = workers.give(*tasks, failpoint=f"{row.name}:{hit}")
        workers.sandbox.clear_faults()
        if died.survived:
            assert hit > 1, f"{row.name} was never reached"
            break
        died_in.add(died.step)
        workers.heal()
    assert workers.violations() == []
    if matrix.WHOLE and row.group == "crash":
        assert died_in >= CRASH_POINTS[row.name].steps & vendor.steps
    people_finish(workers)
    assert workers.violations() == []
    over = (Status.READY_FOR_KICKOFF, Status.COMPLETE, Status.CANCELLED, Status.ROLLED_BACK)
    assert not OnboardingTransaction.objects.exclude(status__in=over).exists()
