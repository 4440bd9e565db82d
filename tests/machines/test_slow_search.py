"""A search that began before the vendor had caught up says nothing, however long its answer took."""

from datetime import timedelta

import pytest

from integrations import clock
from integrations.connectors.base import Found, MatchKey
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, Status
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.machines.conftest import Afresh, payment
from tests.machines.vendor import FAULTS, LAG, Vendor, World

LOST = next(fault for fault in FAULTS if fault.name == "lost after")


def run_whose_answer_is_lost(world: World, key: str) -> OnboardingTransaction:
    """One whose create at ``key`` took effect, as nobody knows yet."""
    run = service.accept(payment("pay_1", "a"), actor="tests").run
    while True:
        for step in run.steps.exclude(due_at=None).order_by("pk"):
            claim = claiming.claim(step.pk)
            assert claim
            world.fault = LOST if step.key == key else None
            record(claim, engine.perform(claim), inline=False)
            if step.key == key:
                return run


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first search's answer takes as long as the vendor's lag."""
    find = Vendor.find

    def find_slowly(self: Vendor, kind: str, key: MatchKey) -> list[Found]:
        found = find(self, kind, key)
        monkeypatch.setattr(Vendor, "find", find)
        clock.shift(timedelta(seconds=LAG + 1))
        return found

    monkeypatch.setattr(Vendor, "find", find_slowly)


def test_person_is_asked_only_after_the_search_lag(
    afresh: Afresh, drain: Drain, request: pytest.FixtureRequest
) -> None:
    world = afresh()
    run = run_whose_answer_is_lost(world, "delivery.project")
    request.getfixturevalue("slow")
    drain()
    assert not run.tickets.filter(category=Category.UNKNOWN_OUTCOME).exists()
    assert sum(thing.kind == "project" for thing in world.things.values()) == 1


def test_rollback_with_slow_search_removes_everything(
    afresh: Afresh, drain: Drain, request: pytest.FixtureRequest
) -> None:
    world = afresh()
    run = run_whose_answer_is_lost(world, "crm.deal")
    services.rollback(run.pk, actor="kim", reason="They withdrew.")
    request.getfixturevalue("slow")
    drain()
    assert OnboardingTransaction.objects.get(pk=run.pk).status == Status.ROLLED_BACK
    assert not [thing for thing in world.things.values() if thing.maker and thing.kind == "deal"]
