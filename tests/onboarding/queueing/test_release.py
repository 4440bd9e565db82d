"""Hundreds of runs behind one refused credential: one ticket, and once it is fixed all complete within the
connection's concurrency limit.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket, TicketStatus
from integrations.connections import services as service
from integrations.enums import Breaker
from integrations.models import Connection, ConnectionSlot
from integrations.sandbox.control import SandboxControl
from onboarding.engine import connection_queue
from onboarding.engine import execution as engine
from onboarding.enums import Category, Status, WaitsFor
from onboarding.models import Attempt, OnboardingTransaction, Step
from onboarding.playbooks.playbook import playbooks
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer
from tests.one_database import sized
from tests.support.threads import together

RUNS = int(os.environ.get("FIRSTVALUE_PARKED_RUNS", sized(300, 60)))
PACE = 3
"""Fewer than the threads that the sweep works with, so that only the concurrency limit delays them."""
ACCOUNT_ONLY = """
name = "standard"
version = "1"
owner = "revenue-operations"
plans = []
segments = []
[[steps]]
key = "crm.account"
uses = "crm.account"
"""


@pytest.fixture
def account_only(tmp_path: Path, settings: Any) -> Iterator[None]:
    """A playbook of the one step that this is about."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "standard.toml").write_text(ACCOUNT_ONLY)
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.mark.usefixtures("account_only")
def test_runs_parked_behind_an_expired_credential_complete_within_the_concurrency_limit(
    accept: Accept,
    drain: Drain,
    sandbox: SandboxControl,
    hubspot: Connection,
    settled: Settled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "QUEUE_SECONDS", 0.2)  # so that the first one's thread does not do them all
    Connection.objects.filter(pk=hubspot.pk).update(max_concurrency=PACE)
    sandbox.set_tokens("hubspot", ["the-next-one"])
    for number in range(RUNS):
        accept(**customer(f"parked{number}"))
    drain()
    assert len(sandbox.requests("hubspot")) <= PACE
    ticket = Ticket.objects.get()
    assert (ticket.connection, ticket.category) == (hubspot, Category.AUTH_ERROR)
    assert set(Step.objects.values_list("attempts", flat=True)) == {0}

    secrets = {"token": ["the-next-one"]}
    service.set_connection("hubspot", system="crm", provider="hubspot", secrets=secrets, actor="kim")
    sandbox.forget_traffic()
    assert service.close_after_probe(hubspot.pk, actor="kim").ok
    assert Ticket.objects.get().status == TicketStatus.RESOLVED
    fixed = Connection.objects.get(pk=hubspot.pk)
    assert (fixed.breaker, fixed.concurrency_limit, fixed.release_total) == (Breaker.CLOSED, 1, RUNS)
    assert connection_queue.runs_left(fixed) == RUNS

    assert scheduling.one_pass(publish=False).steps == 1  # the canary; its place then goes on from step to step
    # Late or duplicate messages ask out of order, more of them at once than may go on.
    sandbox.add_fault("hubspot", "slow_drip", delay=0.001, count=12)  # so that they would meet there
    stray = list(Step.objects.filter(finished_at=None).order_by("-pk").values_list("pk", flat=True)[:12])
    together([lambda pk=pk: engine.run_step(pk) for pk in stray])
    drain(max_passes=200)
    assert set(OnboardingTransaction.objects.values_list("status", flat=True)) == {Status.COMPLETE}
    assert 1 < sandbox.most_at_once("hubspot") <= PACE
    assert Ticket.objects.count() == 1
    done = Connection.objects.get(pk=hubspot.pk)
    assert (done.concurrency_limit, connection_queue.runs_left(done)) == (None, 0)
    assert not ConnectionSlot.objects.exclude(holder="").exists()
    # Waiting in the connection queue is no attempt.
    assert Attempt.objects.count() <= RUNS + PACE
    assert not Step.objects.filter(waits_for=WaitsFor.SLOT).exists()
    settled()
