"""Every fault of a vendor at every kind of step that writes: once it has healed, one object each and nobody in the dark."""

import socket
from typing import Any

import pytest

from integrations.connections.services import set_connection
from integrations.models import Connection
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import FAULTS, LAGS, Row
from tests.chaos.runner import Workers, people_finish
from tests.chaos.vendors import SANDBOX_VENDORS, VendorKind

pytestmark = pytest.mark.processes
MAIL_COMMANDS = {"unauthorized": "MAIL", "forbidden": "MAIL", "rate_limit": "MAIL"}


def break_once(workers: Workers, vendor: VendorKind, fault: dict[str, Any]) -> None:
    """One strike at each write of the playbook."""
    for site in vendor.sites:
        method = MAIL_COMMANDS.get(fault["kind"], site.method) if site.vendor == "mail" else site.method
        workers.sandbox.add_fault(**{**site.as_fault(), "method": method, "count": 1, **fault})


def all_is_done_in_the_end(workers: Workers) -> None:
    workers.heal()
    assert workers.violations() == []
    people_finish(workers)
    assert workers.violations() == []
    done = (Status.READY_FOR_KICKOFF, Status.COMPLETE)
    assert not OnboardingTransaction.objects.exclude(status__in=done).exists()


@pytest.mark.parametrize("row", [each for each in matrix.rows("vendor") if each.name in FAULTS], ids=lambda row: row.id)
def test_a_fault_at_each_write(row: Row, workers: Workers, vendor: VendorKind) -> None:
    break_once(workers, vendor, FAULTS[row.name])
    workers.give(["accept", payload_of("one", plan=vendor.plan)], ["drain"])
    all_is_done_in_the_end(workers)
    assert {(each["path"], each["count"]) for each in workers.sandbox.faults() if each["count"]} == set()


@pytest.mark.parametrize("row", [each for each in matrix.rows("vendor") if each.name in LAGS], ids=lambda row: row.id)
def test_a_search_that_lags_behind_lost_answers(row: Row, workers: Workers, vendor: VendorKind) -> None:
    for name in vendor.lagging:
        workers.sandbox.configure(name, search_lag=LAGS[row.name])
    break_once(workers, vendor, {"kind": "error_after"})
    workers.give(
        ["accept", payload_of("one", plan=vendor.plan)], ["accept", payload_of("two", plan=vendor.plan)], ["drain"]
    )
    all_is_done_in_the_end(workers)


@pytest.mark.parametrize(
    "row", [each for each in matrix.rows("vendor") if each.name == "two matches"], ids=lambda row: row.id
)
def test_ambiguous_matches_are_never_guessed(row: Row, workers: Workers, vendor: VendorKind) -> None:
    name, kind, there = vendor.twins
    workers.sandbox.seed(name, kind, [there, {**there, "name": "One Works Ltd"}])
    workers.give(["accept", payload_of("one", plan=vendor.plan)], ["drain"])
    assert workers.sandbox.counts()["vendors"][name][kind]["created"] == 0
    all_is_done_in_the_end(workers)
    assert workers.sandbox.counts()["vendors"][name][kind]["created"] == 0


@pytest.mark.parametrize(
    "row", [each for each in matrix.rows("vendor") if each.name == "unreachable"], ids=lambda row: row.id
)
def test_a_vendor_that_cannot_be_reached(row: Row, workers: Workers, vendor: VendorKind) -> None:
    there = Connection.objects.get(slug=vendor.connection)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        point_to(f"http://127.0.0.1:{nobody.getsockname()[1]}", there)
        workers.give(["accept", payload_of("one", plan=vendor.plan)], ["drain"])
        assert workers.violations() == []
    point_to(there.base_url, there)
    all_is_done_in_the_end(workers)


def point_to(base_url: str, there: Connection) -> None:
    vendor = SANDBOX_VENDORS.get(there.slug, there.slug)
    set_connection(
        there.slug,
        system=there.system,
        provider=there.provider,
        base_url=base_url,
        secrets={"token": [f"sandbox-{vendor}-token"]},
        actor="chaos",
    )
