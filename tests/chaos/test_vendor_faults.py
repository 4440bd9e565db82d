"""Every fault of a vendor at every kind of step that writes: once it has healed, one object each and nobody in the dark."""

import socket
from typing import Any

import pytest

from integrations.connections import set_connection
from onboarding.models import OnboardingTransaction
from onboarding.words import Status
from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import FAULTS, LAGS, Row, VendorKind
from tests.chaos.runner import Workers, people_finish

pytestmark = pytest.mark.processes
SITES = [
    ("hubspot", "POST", "*/objects/contacts"),
    ("hubspot", "POST", "*/objects/notes"),
    ("hubspot", "PATCH", "*/objects/deals/*"),
    ("asana", "POST", "*instantiateProject"),
    ("asana", "POST", "*/api/1.0/tasks"),
    ("asana", "PUT", "*/projects/*"),
    ("zendesk", "POST", "*/organizations/create_or_update"),
    ("zendesk", "POST", "*/users/create_or_update"),
]
DEALS = {matrix.UPSERT: "*/deals/batch/upsert", matrix.NEITHER: "*/objects/deals"}
MAIL_COMMANDS = {"unauthorized": "MAIL", "forbidden": "MAIL", "rate_limit": "MAIL"}


def break_once(workers: Workers, row: Row, vendor: VendorKind, fault: dict[str, Any]) -> int:
    """One strike at each write of the playbook; how many there are."""
    sites = [("hubspot", "POST", vendor.account), ("hubspot", "POST", DEALS[row.vendor]), *SITES]
    sites.append(("mail", MAIL_COMMANDS.get(fault["kind"], "DATA"), None))  # type: ignore[arg-type]
    for name, method, path in sites:
        workers.sandbox.add_fault(name, method=method, path=path, count=1, **fault)
    return len(sites)


def all_is_done_in_the_end(workers: Workers) -> None:
    workers.heal()
    assert workers.violations() == []
    people_finish(workers)
    assert workers.violations() == []
    assert not OnboardingTransaction.objects.exclude(status=Status.READY_FOR_KICKOFF).exists()


@pytest.mark.parametrize("row", [each for each in matrix.rows("vendor") if each.name in FAULTS], ids=lambda row: row.id)
def test_a_fault_at_each_write(row: Row, workers: Workers, vendor: VendorKind) -> None:
    break_once(workers, row, vendor, FAULTS[row.name])
    workers.give(["accept", payload_of("one")], ["drain"])
    all_is_done_in_the_end(workers)
    assert {(each["path"], each["count"]) for each in workers.sandbox.faults() if each["count"]} == set()


@pytest.mark.parametrize("row", [each for each in matrix.rows("vendor") if each.name in LAGS], ids=lambda row: row.id)
def test_a_search_that_lags_behind_lost_answers(row: Row, workers: Workers, vendor: VendorKind) -> None:
    for name in ("hubspot", "asana"):
        workers.sandbox.configure(name, search_lag=LAGS[row.name])
    break_once(workers, row, vendor, {"kind": "error_after"})
    workers.give(["accept", payload_of("one")], ["accept", payload_of("two")], ["drain"])
    all_is_done_in_the_end(workers)


@pytest.mark.parametrize(
    "row", [each for each in matrix.rows("vendor") if each.name == "two matches"], ids=lambda row: row.id
)
def test_several_matches_are_never_guessed_among(row: Row, workers: Workers, vendor: VendorKind) -> None:
    twins = [{"name": "One Works", "domain": "one-works.com"}, {"name": "One Works Ltd", "domain": "one-works.com"}]
    workers.sandbox.seed("hubspot", "companies", twins)
    workers.give(["accept", payload_of("one")], ["drain"])
    assert workers.sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 0
    all_is_done_in_the_end(workers)
    assert workers.sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 0


@pytest.mark.parametrize(
    "row", [each for each in matrix.rows("vendor") if each.name == "unreachable"], ids=lambda row: row.id
)
def test_a_vendor_that_cannot_be_reached(row: Row, workers: Workers, vendor: VendorKind) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        point_hubspot_to(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        workers.give(["accept", payload_of("one")], ["drain"])
        assert workers.violations() == []
    point_hubspot_to(f"{workers.sandbox.base_url}/hubspot")
    all_is_done_in_the_end(workers)


def point_hubspot_to(base_url: str) -> None:
    secrets = {"token": ["sandbox-hubspot-token"]}
    set_connection("hubspot", system="crm", provider="hubspot", base_url=base_url, secrets=secrets, actor="chaos")
