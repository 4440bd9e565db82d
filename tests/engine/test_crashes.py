"""A worker dies at every named place, at every hit of it: a healthy one picks up, and nothing exists twice."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from django.db import connection

from exceptions_queue.models import Ticket
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import failpoints
from onboarding.models import OnboardingTransaction, Step
from onboarding.words import Category, Status, StepState
from tests.conftest import Drain
from tests.engine.conftest import Accept, Settled, customer

pytestmark = pytest.mark.processes

KILLED = 137
ROOT = Path(__file__).resolve().parents[2]
Kill = Callable[[str, int], int]


@pytest.fixture(scope="module")
def kill(django_db_setup: None, django_db_blocker: object) -> Iterator[Kill]:
    """``kill(name, k)``: a worker process is given a failpoint; its exit code."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "BROKER_PUBLISH": "0",
        "STEP_SECONDS": "5",
        "LEASE_MARGIN_SECONDS": "1",
    }
    database = str(connection.settings_dict["NAME"])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.engine.worker", database],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def give(name: str, hit: int) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            print(f"{name}:{hit}", file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield give
        process.stdin.close()
        process.wait(10)


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("name", failpoints.NAMES)
def test_whenever_a_worker_dies_the_work_is_done_once(
    name: str, kill: Kill, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for hit in count(1):
        # Each run meets one refusal on its way, so that an exception is opened as well.
        sandbox.clear_faults()
        sandbox.add_fault("zendesk", "error_before", method="POST", path="*create_or_update", status=400, count=1)
        accept(**customer(f"crash{hit}"))
        code = kill(name, hit)
        assert code in (KILLED, 0)
        drain()
        if code == 0:
            break
    assert hit > 1, "the failpoint was never reached"
    settled()
    for pk in Step.objects.filter(state=StepState.BLOCKED).values_list("pk", flat=True):
        services.retry_step(pk, actor="kim")
    drain()
    settled()
    unfinished = OnboardingTransaction.objects.exclude(status=Status.COMPLETE)
    asked = Ticket.objects.filter(resolved_at=None)
    assert {ticket.transaction_id for ticket in asked} == {run.pk for run in unfinished}
    # Only where the vendor enforces nothing, and nothing was made, is a person asked whether it was.
    assert all((ticket.category, ticket.system) == (Category.UNKNOWN_OUTCOME, "delivery") for ticket in asked)
