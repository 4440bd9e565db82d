"""A run that ends in the middle of a shared object's create leaves the reservation to the customer's next run."""

from collections.abc import Callable

import pytest

from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import execution as engine
from onboarding.enums import Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of
from tests.onboarding.engine.test_flow import created

pytestmark = pytest.mark.usefixtures("connections")
BY = {"actor": "kim", "reason": "Done by hand."}


def skip_all(run: OnboardingTransaction) -> None:
    for key in ("support.organization", "delivery.project", "crm.contact", "crm.account"):
        services.skip_step(step_of(run, key).pk, **BY)


@pytest.mark.parametrize("give_up", [lambda run: services.cancel(run.pk, **BY), skip_all], ids=["cancelled", "skipped"])
def test_next_run_takes_over_the_reservation_without_duplicates(
    accept: Accept,
    drain: Drain,
    sandbox: SandboxControl,
    settled: Settled,
    give_up: Callable[[OnboardingTransaction], None],
) -> None:
    sandbox.configure("hubspot", search_lag=5)
    sandbox.add_fault("hubspot", "error_after", method="POST", path="*/companies/batch/upsert", count=1)
    first, second = accept(), accept(onboarding_transaction_id="pay_2")
    for run in (first, second):
        engine.run_step(step_of(run, "crm.account").pk)
    waiting = step_of(second, "crm.account")
    assert (waiting.state, waiting.waits_for) == (StepState.WAITING, WaitsFor.RESERVATION)
    give_up(first)
    drain()
    assert status_of(second) == Status.COMPLETE, shown(second)
    assert created(sandbox)["companies"] == 1
    settled()


def test_skipped_look_up_asks_people_at_once(accept: Accept) -> None:
    run = accept(ownership__crm_owner_id=None)
    services.skip_step(step_of(run, "crm.lookup").pk, **BY)
    assert status_of(run) == Status.AWAITING_DATA
    assert run.tickets.get().step is None
