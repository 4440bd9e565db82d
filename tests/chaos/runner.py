"""Driving worker processes to their end, over and over, and healing what they leave behind."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from django.db import connection

from exceptions_queue.models import Ticket
from integrations.connections import services as connections
from integrations.failpoints import KILLED
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl, SandboxProcess
from onboarding import services
from onboarding.enums import Category, Status, StepState
from onboarding.models import Intent, OnboardingTransaction, Step
from tests.chaos import oracle
from tests.chaos.vendors import SANDBOX_VENDORS
from tests.chaos.worker import catch_up
from tests.processes.installation import wait_for

ROOT = Path(__file__).resolve().parents[2]
STEP_SECONDS, LEASE_MARGIN_SECONDS, DB_BUSY_SECONDS = 5.0, 1.0, 20.0
LEASE_SECONDS = STEP_SECONDS + LEASE_MARGIN_SECONDS + DB_BUSY_SECONDS
WRITES = ("POST", "PUT", "PATCH", "DELETE")
READS_BY_POST = ("/search", "/batch/read")
Task = list[Any]


@dataclass
class Died:
    """How an order ended: where its process was killed, or ``survived``."""

    code: int
    hits: list[tuple[str, str]]
    """Each failpoint that was hit, in order, with the kind of step in hand."""

    @property
    def survived(self) -> bool:
        return self.code == 0

    @property
    def step(self) -> str:
        return self.hits[-1][1] if self.hits else ""

    def steps_at(self, name: str) -> list[str]:
        """The kinds of step in hand at each hit of one failpoint."""
        return [step for hit, step in self.hits if hit == name]

    def hits_before(self, end: str, name: str) -> int:
        """How often ``name`` was hit before the first hit of ``end``."""
        until = next((at for at, (hit, _) in enumerate(self.hits) if hit == end), 0)
        return sum(hit == name for hit, _ in self.hits[:until])


@dataclass
class Workers:
    """A worker that forks a process an order, each of which may die."""

    sandbox_process: SandboxProcess
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    counted: dict[tuple[str, str], Died] = field(default_factory=dict)
    """What a scenario hits where nobody dies, by scenario and vendor kind."""

    def __enter__(self) -> Self:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "BROKER_PUBLISH": "0",
            "STEP_SECONDS": str(STEP_SECONDS),
            "CALL_SECONDS": "1",
            "LEASE_MARGIN_SECONDS": str(LEASE_MARGIN_SECONDS),
            "DB_BUSY_SECONDS": str(int(DB_BUSY_SECONDS)),
            "KICKOFF_POLL_SECONDS": "1000000",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.sandbox_process.smtp_port}",
            **self.environment,
        }
        self.log_path = self.folder / "workers.log"
        self.log_file = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.worker", str(connection.settings_dict["NAME"])],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log_file,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.log_file.close()

    @property
    def sandbox(self) -> SandboxControl:
        return self.sandbox_process.control

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self, *tasks: Task, failpoint: str = "", without: str = "", threads: int = 1) -> Path:
        """Give an order; ``end`` waits for it."""
        assert self.process.stdin
        count = self.folder / "hits"
        count.unlink(missing_ok=True)
        count.touch()
        order = {"do": tasks, "failpoint": failpoint, "without": without, "threads": threads, "count": str(count)}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return count

    def end(self, count: Path) -> Died:
        assert self.process.stdout
        answer = self.process.stdout.readline().strip()
        assert answer, f"the worker is gone: {self.log()[-3000:]}"
        hits: list[tuple[str, str]] = []
        for line in count.read_text().splitlines():
            name, _, step = line.partition(" ")
            hits.append((name, step or (hits[-1][1] if hits else "")))
        died = Died(int(answer), hits)
        assert died.code in (0, KILLED), self.log()[-3000:]
        return died

    def give(self, *tasks: Task, failpoint: str = "", without: str = "", threads: int = 1) -> Died:
        """An order carried out, and the vendors at rest after it."""
        seen = self._at_the_vendors()
        died = self.end(self.start(*tasks, failpoint=failpoint, without=without, threads=threads))
        if not died.survived:
            # What has left goes on without its sender; time may be moved only once it has arrived.
            http, mails = len(died.steps_at("after-send")), len(died.steps_at("after-mail"))
            wait_for(
                "the vendors have what was sent",
                lambda: all(
                    now >= was + sent
                    for now, was, sent in zip(self._at_the_vendors(), seen, (http, mails), strict=True)
                ),
            )
        return died

    def heal(self, *, without: str = "") -> None:
        """A healthy process does what is left."""
        assert self.give(["drain"], without=without).survived

    def violations(self) -> list[str]:
        return oracle.violations(self.sandbox, log=self.log(), lease_seconds=LEASE_SECONDS)

    def _at_the_vendors(self) -> tuple[int, int]:
        asked = self.sandbox.requests()
        writes = [each for each in asked if each["method"] in WRITES and not each["path"].endswith(READS_BY_POST)]
        return len(writes), sum(each["method"] == "DATA" for each in asked)


# --- People --------------------------------------------------------------------------------------------------------------


def people_finish(workers: Workers) -> None:
    """Whoever is asked looks at the vendor and answers, until nobody is asked any more."""
    for _ in range(30):
        catch_up()
        if not _answer_what_is_asked(workers.sandbox):
            return
        workers.heal()
    raise AssertionError(f"still asked: {list(Ticket.objects.filter(resolved_at=None))}")


def _answer_what_is_asked(sandbox: SandboxControl) -> bool:
    asked = False
    for broken in Connection.objects.filter(breaker="open"):
        assert connections.close_after_probe(broken.pk, actor="kim").ok
        asked = True
    for run in OnboardingTransaction.objects.exclude(held_at=None).exclude(status=Status.CANCELLED):
        services.resume(run.pk, actor="kim")
        asked = True
    for run in OnboardingTransaction.objects.filter(status=Status.AWAITING_DATA):
        services.fix(run.pk, {"ownership.crm_owner_id": "u_789"}, actor="kim")
        asked = True
    for step in Step.objects.filter(state=StepState.BLOCKED, due_at=None).select_related("connection"):
        asked = True
        with suppress(services.Refused):
            if step.category == Category.UNKNOWN_OUTCOME:
                services.choose_match(step.pk, external_id=_seen_at_the_vendor(sandbox, step), actor="kim")
            elif step.category == Category.AMBIGUOUS_MATCH:
                services.choose_match(step.pk, external_id=step.candidates[0]["external_id"], actor="kim")
            else:
                services.retry_step(step.pk, actor="kim")
    return asked


def _seen_at_the_vendor(sandbox: SandboxControl, step: Step) -> str:
    """The id of what the step's indeterminate create made; empty where there is nothing."""
    from onboarding.engine.facts import facts_of
    from onboarding.steps.base import EnsureHandler
    from onboarding.steps.registry import HANDLERS

    run, handler, intent = step.transaction, HANDLERS[step.uses], Intent.objects.get(step=step, item=step.item)
    assert isinstance(handler, EnsureHandler)
    assert step.connection
    kind = oracle.VENDOR_KINDS[handler.kind]
    # An account without our unique property says whose these are in its own words.
    own = {"companies": facts_of(run, step).get("customer.domain"), "deals": run.onboarding_transaction_id}
    text = own.get(kind, intent.reference)
    vendor = SANDBOX_VENDORS.get(step.connection.slug, step.connection.slug)
    found = sandbox.objects(vendor, kind, text=text)
    assert len(found) <= 1, found
    if not found:
        return ""
    return str(found[0]["body"]["message_id"]) if kind == "messages" else str(found[0]["id"])
