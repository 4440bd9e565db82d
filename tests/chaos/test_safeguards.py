"""The oracle proves its worth: with one safeguard taken out of the workers, it finds something."""

from collections.abc import Callable

import pytest

from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import Row
from tests.chaos.runner import Workers
from tests.chaos.safeguards import SAFEGUARDS
from tests.chaos.vendors import VendorKind

pytestmark = pytest.mark.processes


def intent(workers: Workers, without: str) -> None:
    """The worker dies with its create on the way, and search does not show what came of it."""
    workers.sandbox.configure("hubspot", search_lag="never")
    workers.give(["accept", payload_of("one")], ["drain"], failpoint="after-send:1", without=without)
    workers.heal(without=without)


def lease(workers: Workers, without: str) -> None:
    """While one worker waits for the vendor's answer, another comes by."""
    workers.sandbox.add_fault("hubspot", "timeout_after", method="POST", path="*/objects/companies", count=1)
    workers.give(["accept", payload_of("one")])
    workers.give(["drain"], without=without, failpoint="after-send:1")
    workers.give(["pass"], without=without)
    workers.heal(without=without)


def reservation(workers: Workers, without: str) -> None:
    """Two payments of one customer, and search does not show yet what the first one made."""
    workers.sandbox.configure("hubspot", search_lag="never")
    other = payload_of("one") | {"onboarding_transaction_id": "pay_again"}
    workers.give(["accept", payload_of("one")], ["accept", other], ["drain"], without=without)


def find_before_recreate(workers: Workers, without: str) -> None:
    """The create's answer is lost; search shows what came of it."""
    workers.sandbox.add_fault("hubspot", "error_after", method="POST", path="*/objects/companies", count=1)
    workers.give(["accept", payload_of("one")], ["drain"], without=without)


def find_before_replay(workers: Workers, without: str) -> None:
    """The same at a vendor that says it remembers keys, and does not."""
    workers.sandbox.configure("widgets", idempotency="ignore")
    workers.sandbox.add_fault("widgets", "error_after", method="POST", path="*/workspaces", count=1)
    workers.give(["accept", payload_of("one", plan="keyed")], ["drain"], without=without)


SAID = {"lease": "was taken over after", "find-before-replay": "widgets holds workspaces"}
DOUBLED = "hubspot holds companies"
SCENARIOS: dict[str, Callable[[Workers, str], None]] = {
    "intent": intent,
    "lease": lease,
    "reservation": reservation,
    "find-before-recreate": find_before_recreate,
    "find-before-replay": find_before_replay,
}


def test_every_safeguard_is_a_row() -> None:
    assert set(SAFEGUARDS) == set(SCENARIOS) == {row.name for row in matrix.ROWS if row.group == "safeguard"}


@pytest.mark.parametrize("row", matrix.rows("safeguard"), ids=lambda row: row.id)
def test_oracle_detects_a_removed_safeguard(row: Row, workers: Workers, vendor: VendorKind) -> None:
    SCENARIOS[row.name](workers, row.name)
    assert any(SAID.get(row.name, DOUBLED) in each for each in workers.violations())


@pytest.mark.parametrize("row", matrix.rows("safeguard"), ids=lambda row: row.id)
def test_oracle_passes_with_the_safeguard(row: Row, workers: Workers, vendor: VendorKind) -> None:
    SCENARIOS[row.name](workers, "")
    assert workers.violations() == []
