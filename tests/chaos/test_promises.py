"""The promises of the README, at scale: many lost answers, and life without a broker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.sandbox.control import SandboxControl, start_sandbox
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import Row
from tests.chaos.runner import Workers, people_finish
from tests.chaos.vendors import VendorKind
from tests.processes.installation import Installation

pytestmark = pytest.mark.processes
BATCH = 20
DONE = (Status.READY_FOR_KICKOFF, Status.COMPLETE)


def by_row(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "row", [row for row in matrix.rows("promise") if row.name == name], ids=lambda row: row.id
    )


@pytest.mark.parametrize(
    "row", [row for row in matrix.rows("promise") if "fail after taking effect" in row.name], ids=lambda row: row.id
)
def test_lost_answers_create_no_duplicates(row: Row, workers: Workers, vendor: VendorKind) -> None:
    if "ignored" in row.name:
        workers.sandbox.configure("widgets", idempotency="ignore")
    count, share = (200, 0.05) if matrix.WHOLE else (6, 0.2)
    for method in ("POST", "PUT", "PATCH"):
        workers.sandbox.add_fault("*", "error_after", method=method, probability=share)
    for start in range(0, count, BATCH):
        paid = [
            ["accept", payload_of(f"c{number:03}", plan=vendor.plan)]
            for number in range(start, min(count, start + BATCH))
        ]
        assert workers.give(*paid, ["drain"], threads=4).survived
    assert sum(fault["hits"] for fault in workers.sandbox.faults()) > count / 10
    workers.sandbox.clear_faults()
    workers.heal()
    assert workers.violations() == []
    people_finish(workers)
    assert workers.violations() == []
    assert workers.sandbox.duplicates() == 0
    assert OnboardingTransaction.objects.filter(status__in=DONE).count() == count


@by_row("a loop of sweeps, no broker")
def test_sweeping_in_a_loop_finishes_every_run(row: Row, tmp_path: Path) -> None:
    """``manage.py`` alone, as an operator types it: no web, no worker, no scheduler, and no broker to publish to."""
    broker = {"REDIS_URL": "redis://127.0.0.1:1/0"} if os.environ.get("REDIS_URL") else {"BROKER_PUBLISH": "0"}
    installation = Installation(tmp_path, **broker)
    payments = tmp_path / "payments.jsonl"
    payments.write_text("".join(json.dumps(payload_of(f"c{number}")) + "\n" for number in range(4)))
    with start_sandbox(tmp_path / "sandbox.sqlite3") as sandbox:
        installation.sandbox = SandboxControl(sandbox.base_url)
        installation.environment["SANDBOX_ORIGINS"] = sandbox.base_url
        installation.sandbox.configure("asana", job_seconds=0)
        installation.sandbox.add_fault("*", "error_after", method="POST", count=3)
        installation.manage("migrate", "--no-input", "--verbosity", "0")
        installation.connect()
        installation.manage("import_events", str(payments))
        assert sweep_until_done(installation) == ["complete"] * 4
        counts = installation.sandbox.counts()
        assert counts["duplicates"] == 0, counts["duplicate_keys"]
        made = {
            (vendor, kind): each["created"]
            for vendor, kinds in counts["vendors"].items()
            for kind, each in kinds.items()
            if each["created"]
        }
        once = [("hubspot", "companies"), ("hubspot", "contacts"), ("asana", "projects"), ("zendesk", "organizations")]
        assert made == dict.fromkeys(once, 4)
        installation.manage("audit", "verify")


SWEEP = """
import sys
from django.core.management import call_command
from onboarding.models import OnboardingTransaction
for _ in range({passes}):
    call_command("sweep", stdout=sys.stderr)
print(*OnboardingTransaction.objects.values_list("status", flat=True))
"""


def sweep_until_done(installation: Installation) -> list[str]:
    """The runs' states at the end of enough passes."""
    statuses: list[str] = []
    for _ in range(40):
        installation.manage("sweep")
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", SWEEP.format(passes=3)],
            env=installation.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        statuses = done.stdout.split()
        if statuses and set(statuses) == {"complete"}:
            break
    return statuses
