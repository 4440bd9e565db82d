"""The suite proves its worth: with one safeguard taken out, what it guards against does happen.

Each test is the scenario of another one, where the safeguard stands and the opposite is asserted.
"""

from contextlib import suppress
from datetime import timedelta
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from exceptions_queue import scheduling
from integrations import clock
from integrations.connections.services import set_connection
from integrations.connectors.base import Found, MatchKey
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.hubspot.connector import HubSpot
from onboarding.engine import claiming, recording
from onboarding.engine import execution as engine
from onboarding.engine.objects import ensure
from onboarding.engine.outcomes import Ensured
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction, Reservation, Step
from onboarding.working_set import LeanRows, Rows
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, status_of, step_of
from tests.support.threads import together

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def plain(connections: dict[str, Connection]) -> None:
    """A CRM that keeps nothing apart by itself: the engine alone stands between us and a duplicate."""
    options = {"reference_property": "", "search_lag": "20"}
    set_connection("hubspot", system="crm", provider="hubspot", options=options, actor="tests")


def meeting(monkeypatch: pytest.MonkeyPatch, *, timeout: float) -> None:
    """Whoever looks for the account waits for a second one, so that both have looked before either creates."""
    barrier, find = Barrier(2), HubSpot.find

    def slow_find(self: HubSpot, kind: str, key: MatchKey) -> list[Found]:
        found = find(self, kind, key)
        if (kind, key.name) == ("company", "domain"):
            with suppress(BrokenBarrierError):
                barrier.wait(timeout)
        return found

    monkeypatch.setattr(HubSpot, "find", slow_find)


def two_at_once(accept: Accept, drain: Drain) -> None:
    steps = [step_of(accept(onboarding_transaction_id=name), "crm.account").pk for name in ("pay_1", "pay_2")]
    together([lambda pk=pk: engine.run_step(pk) for pk in steps])
    drain()


def without_reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(
        _: Rows, connection: Connection, kind: str, match_key: str, step: Step, now: Any
    ) -> tuple[Reservation, None]:
        return Reservation(connection=connection, kind=kind, match_key=match_key, holder=step, created_at=now), None

    for rows in (Rows, LeanRows):
        monkeypatch.setattr(rows, "claim_reservation", take)


def test_with_reservations_two_runs_at_once_make_one_account(
    accept: Accept, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, timeout=0.3)  # nobody else comes
    two_at_once(accept, drain)
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 1


def test_without_reservations_they_make_two(
    accept: Accept, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, timeout=20)
    without_reservations(monkeypatch)
    two_at_once(accept, drain)
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 2
    assert sandbox.duplicates() >= 1


def a_create_without_an_answer(accept: Accept, drain: Drain, sandbox: SandboxControl) -> OnboardingTransaction:
    sandbox.configure("hubspot", search_lag="never")
    sandbox.add_fault("hubspot", "error_after", method="POST", path="*/objects/companies", count=1)
    run = accept()
    drain()
    return run


def test_check_for_indeterminate_outcomes_prevents_a_duplicate(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = a_create_without_an_answer(accept, drain, sandbox)
    assert sandbox.duplicates() == 0
    assert status_of(run) == Status.PROVISIONING


def test_removing_the_indeterminate_check_creates_a_duplicate(
    accept: Accept, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensure, "resolve_indeterminate", lambda *_: None)
    a_create_without_an_answer(accept, drain, sandbox)
    assert sandbox.duplicates() == 1


def a_worker_lost_between_send_and_answer(accept: Accept, sandbox: SandboxControl) -> Step:
    """It creates the account, and is never heard of again."""
    sandbox.configure("hubspot", search_lag="never")
    step = step_of(accept(), "crm.account")
    lost = claiming.claim(step.pk)
    assert lost is not None
    assert isinstance(engine.perform(lost), Ensured)
    clock.shift(timedelta(minutes=5))
    return step


def test_with_the_intent_the_next_worker_knows_that_something_may_have_been_sent(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    a_worker_lost_between_send_and_answer(accept, sandbox)
    drain()
    assert sandbox.duplicates() == 0


def test_without_what_the_intent_says_the_next_worker_makes_a_duplicate(
    accept: Accept, drain: Drain, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent_of = claiming._intent

    def forgetful(*args: Any, **more: Any) -> Any:
        intent = intent_of(*args, **more)
        intent.indeterminate_since = None
        return intent

    monkeypatch.setattr(claiming, "_intent", forgetful)
    a_worker_lost_between_send_and_answer(accept, sandbox)
    drain()
    assert sandbox.duplicates() == 1


def a_zombies_result(accept: Accept) -> str:
    """Two workers held the step one after the other; the first one's result comes last. The id that stands then."""
    step = step_of(accept(), "crm.account")
    zombie = claiming.claim(step.pk)
    clock.shift(timedelta(minutes=5))
    current = claiming.claim(step.pk)
    assert zombie is not None
    assert current is not None
    recording.record(zombie, Ensured("zombie", "", "created"), inline=False)
    recording.record(current, Ensured("current", "", "created"), inline=False)
    return str(step.mappings.get().external_id)


def test_with_the_fencing_token_the_current_holders_result_stands(accept: Accept) -> None:
    assert a_zombies_result(accept) == "current"


def test_without_the_fencing_token_the_stale_holders_result_wins(
    accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anybodys(_run: Any, step: Step, *_: Any) -> bool:
        return step.state == "running"

    monkeypatch.setattr(recording, "_is_current_holder", anybodys)
    assert a_zombies_result(accept) == "zombie"


def test_without_send_by_a_stale_holder_still_writes(
    accept: Accept, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.STEP_SECONDS = 0.0
    zombie = claiming.claim(step_of(accept(), "crm.account").pk)
    assert zombie is not None
    engine.perform(zombie)
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 0
    monkeypatch.setattr("onboarding.engine.objects.claimed_work._check_time", lambda _: None)
    engine.perform(claiming.Claim(**{**vars(zombie), "deadline": zombie.deadline + 60}))
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 1


def test_without_the_lease_check_eight_workers_hold_one_step(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of(accept(), "crm.account")
    monkeypatch.setattr(claiming, "_is_claimable", lambda *_: True)
    monkeypatch.setattr(claiming, "_take_over", lambda *_: True)
    assert len([held for held in together([lambda: claiming.claim(step.pk)] * 8) if held]) > 1


def test_without_the_sweep_a_lost_message_is_a_lost_step(
    accept: Accept, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = accept()
    with monkeypatch.context() as mutated:
        mutated.setattr(scheduling.sweep, "_due_steps", lambda _: [])
        scheduling.one_pass(publish=False)
        assert status_of(run) == Status.PROVISIONING
    drain()
    assert status_of(run) == Status.COMPLETE
