"""Two payments by one new customer at the same moment make one CRM account: again and again."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Min

from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.engine import execution as engine
from onboarding.enums import Status, StepState
from onboarding.models import OnboardingTransaction, Step
from onboarding.playbooks.playbook import playbooks
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of
from tests.one_database import sized
from tests.support.threads import together

TIMES = sized(100, 10)
ROUNDS = 20
"""Enough for one pair: it takes a round a wait of the one for the other's reservation, and one for the vendor's lag."""
CRM_ONLY = """
name = "standard"
version = "crm"
owner = "revenue-operations"
[[steps]]
key = "crm.account"
uses = "crm.account"
[[steps]]
key = "crm.contact"
uses = "crm.contact"
after = ["crm.account"]
"""


@pytest.fixture
def crm_only(tmp_path: Path, settings: Any) -> Iterator[None]:
    """The standard playbook's steps at the CRM alone: many pairs in little time."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "standard.toml").write_text(CRM_ONLY)
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.mark.usefixtures("crm_only")
def test_concurrent_payments_create_one_account(
    hubspot: Connection, accept: Accept, sandbox: SandboxControl, settled: Settled
) -> None:
    # A CRM without unique properties, whose search finds nothing new: our reservation alone keeps the second one out.
    Connection.objects.filter(pk=hubspot.pk).update(options={"reference_property": "", "search_lag": "20"})
    sandbox.configure("hubspot", search_lag="never")
    accounts = []
    for number in range(TIMES):
        pair = both_to_the_end(accept, f"twin{number}")
        assert [status_of(run) for run in pair] == [Status.COMPLETE] * 2, [shown(run) for run in pair]
        first, second = (run.mappings.get(kind="company").external_id for run in pair)
        assert first == second
        accounts.append((first, f"twin{number}-works.com"))
    made = [(company["id"], company["body"]["domain"]) for company in sandbox.objects("hubspot", "companies")]
    assert sorted(made) == sorted(accounts)
    assert OnboardingTransaction.objects.exclude(provisioned_at=None).count() == 2 * TIMES
    settled()


def both_to_the_end(accept: Accept, name: str) -> list[OnboardingTransaction]:
    """Two payments of one new customer, each taken and worked on by a thread of its own, round after round side by side."""

    def pay(part: int) -> OnboardingTransaction:
        run = accept(**customer(name) | {"onboarding_transaction_id": f"pay_{name}_{part}"})
        work_on(run)
        return run

    runs = together([lambda: pay(1), lambda: pay(2)])
    for _ in range(ROUNDS):
        waiting = Step.objects.filter(transaction__in=runs, finished_at=None)
        if (due := waiting.aggregate(next=Min("due_at"))["next"]) is None:
            return runs
        clock.shift(max(due - clock.now(), timedelta(0)))
        together([lambda run=run: work_on(run) for run in runs])
    raise AssertionError(f"Not at the end after {ROUNDS} rounds: {[shown(run) for run in runs]}")


def work_on(run: OnboardingTransaction) -> None:
    """Do what of this run is due now, and what becomes ready after it."""
    waiting = Step.objects.filter(transaction=run, finished_at=None).exclude(state=StepState.RUNNING)
    for pk in waiting.filter(due_at__lte=clock.now()).values_list("pk", flat=True):
        engine.run_step(pk)
