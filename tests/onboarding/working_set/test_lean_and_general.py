"""A random history of payments, faults, people and time ends in the same rows on the lean path and on the general one.

``FIRSTVALUE_HISTORIES=500`` tries that many in place of a dozen.
"""

import json
import os
import random
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from difflib import ndiff
from functools import partial
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import ForeignKey, Model
from django.test import TransactionTestCase

from exceptions_queue.models import SlaClock, Ticket
from exceptions_queue.sla import clocks as sla
from integrations import clock
from integrations.connections import concurrency
from integrations.models import ApiCall, Connection, ConnectionSlot
from integrations.sandbox.control import SandboxControl
from integrations.vendors.asana.sandbox.dialect import TEAM_GID, TEMPLATE_GID
from onboarding import models, services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.claiming import Claim
from onboarding.engine.recording import record
from onboarding.enums import LEASED, RunEventType, StepState
from onboarding.models import OnboardingTransaction, Step
from onboarding.services import Refused
from tests.conftest import _empty_database, connect, drain_engine, next_due
from tests.onboarding.conftest import Accept, customer

pytestmark = pytest.mark.skipif(database.vendor != "postgresql", reason="the lean path is for PostgreSQL alone")
HISTORIES = int(os.environ.get("FIRSTVALUE_HISTORIES", "12"))
LENGTH = 30
BEGIN = datetime(2027, 3, 3, 9, 0, tzinfo=UTC).timestamp()
VENDORS = ("hubspot", "asana", "zendesk")
FAULTS: list[dict[str, Any]] = [
    {"kind": "error_before"},
    {"kind": "error_before", "status": 400, "method": "POST"},
    {"kind": "error_after", "method": "POST"},
    {"kind": "error_before", "status": 429, "retry_after": 1},
]
TOLD: list[type[Model]] = [
    OnboardingTransaction,
    Step,
    models.PayloadSnapshot,
    models.AcceptedContent,
    models.RunEvent,
    models.Intent,
    models.ObjectMapping,
    models.Reservation,
    models.Attempt,
    models.StepPoll,
    models.ChangeRequest,
    models.UnmatchedEvent,
    models.AuditEntry,
    SlaClock,
    Ticket,
    Connection,
    ConnectionSlot,
    ApiCall,
]
OMITTED = {"updated_at", "hash", "previous_hash", "audit_head", "duration_ms", "response", "base_url"}
"""What is otherwise each time that a history is lived: primary keys in a hash, the vendors' time and this machine's."""


class History:
    """``actions`` of random numbers: what each does depends only on them and on what is there."""

    def __init__(self, accept: Accept, sandbox: SandboxControl) -> None:
        self._accept, self._sandbox = accept, sandbox
        self._held: list[Claim] = []
        self._runs = 0
        self.actions: dict[str, Callable[[int], object]] = {
            "accept": self.accept,
            "fault": self.fault,
            "claim": self.claim,
            "end": self.end,
            "work": self.work,
            "wait": self.wait,
            "limit": self.limit,
            "hold": self.on_run(partial(services.hold, actor="kim", reason="Wait.")),
            "resume": self.on_run(partial(services.resume, actor="kim")),
            "refund": self.on_run(self.refund),
            "fix": self.on_run(partial(services.fix, fields={"customer.country": "FR"}, actor="kim")),
            "change": self.change,
            "replay": self.replay,
            "skip": self.on_step(partial(services.skip_step, actor="kim", reason="No.")),
            "retry": self.on_step(partial(services.retry_step, actor="kim")),
        }

    def live(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        often = ["accept", "claim", "claim", "end", "end", "end", "work", "work", "wait", "wait", "fault"]
        self.accept(chance.randrange(100))
        for _ in range(LENGTH):
            self.actions[chance.choice([*often, *self.actions])](chance.randrange(100))
        while self._held:
            self.end(0)
        for run in OnboardingTransaction.objects.exclude(held_at=None).order_by("pk"):
            services.resume(run.pk, actor="kim")
        self.finish()
        drain_engine(200, probes=True)

    def finish(self) -> None:
        """One step after the other: which of several that are due at the same moment comes first is nobody's promise."""
        for _ in range(200):
            sla.tick()
            due = list(Step.objects.filter(due_at__lte=clock.now()).order_by("pk").values_list("pk", flat=True))
            current = next((each for each in map(claiming.claim, due) if each), None)
            if current is not None:
                self._held.append(current)
                while self._held:
                    self.end(1)
            elif following := next_due():
                clock.shift(max(following - clock.now(), timedelta(0)) + timedelta(milliseconds=1))
            else:
                return

    # --- Work ---------------------------------------------------------------------------------------------------------

    def accept(self, number: int) -> None:
        self._runs += 1
        lacks = {"commercial__plan_sku": None} if number % 7 == 0 else {}
        self._accept(**customer("ab"[number % 2]) | {"onboarding_transaction_id": f"pay_{self._runs}"} | lacks)

    def fault(self, number: int) -> None:
        facts = FAULTS[number % len(FAULTS)] | {"count": 1 + number % 3}
        self._sandbox.add_fault(VENDORS[number % len(VENDORS)], facts.pop("kind"), **facts)

    def _due(self, number: int) -> int | None:
        due = list(Step.objects.filter(due_at__lte=clock.now()).order_by("pk").values_list("pk", flat=True))
        return due[number % len(due)] if due else None

    def claim(self, number: int) -> None:
        if (pk := self._due(number)) and (current := claiming.claim(pk)):
            self._held.append(current)

    def end(self, number: int) -> None:
        if self._held:
            current = self._held.pop(number % len(self._held))
            following = record(current, engine.perform(current), inline=number % 2 == 0)
            self._held += [following] if following else []

    def work(self, number: int) -> None:
        if pk := self._due(number):
            engine.run_step(pk)

    def wait(self, number: int) -> None:
        due = next_due(reservations=True) or clock.now()
        clock.shift(max(due - clock.now(), timedelta(0)) + timedelta(seconds=number / 10))
        sla.tick()

    def limit(self, number: int) -> None:
        Connection.objects.filter(slug=VENDORS[number % len(VENDORS)]).update(max_concurrency=1 + number % 2)

    # --- People -------------------------------------------------------------------------------------------------------

    def on_run(self, action: Callable[[int], object]) -> Callable[[int], None]:
        return self._asked(OnboardingTransaction, action)

    def on_step(self, action: Callable[[int], object]) -> Callable[[int], None]:
        return self._asked(Step, action)

    def _asked(self, model: type[Model], action: Callable[[int], object]) -> Callable[[int], None]:
        def ask(number: int) -> None:
            pks = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
            with suppress(Refused):  # that is an answer, too
                if pks:
                    action(pks[number % len(pks)])

        return ask

    def refund(self, pk: int) -> None:
        name = OnboardingTransaction.objects.get(pk=pk).onboarding_transaction_id
        services.receive_event(
            pk,
            kind=RunEventType.PAYMENT_REFUNDED,
            event_id=f"re_{name}",
            occurred_at=clock.now(),
            data={},
            actor="kim",
        )

    def change(self, number: int) -> None:
        """The sender tells something else about a payment."""
        named = {"onboarding_transaction_id": f"pay_{1 + number % self._runs}", "customer__territory": "apac"}
        self._accept(**customer("ab"[number % 2]) | named)

    def replay(self, number: int) -> None:
        steps = list(Step.objects.filter(state=StepState.SUCCEEDED).order_by("pk"))
        if steps:
            step = steps[number % len(steps)]
            self.on_run(lambda _: services.replay(step.transaction_id, step.key, actor="kim"))(0)


# --- What is left of it -----------------------------------------------------------------------------------------------


def told() -> dict[str, list[str]]:
    """All rows, with small numbers in place of primary keys and of vendors' ids."""
    rows = {model: list(model._default_manager.order_by("pk")) for model in TOLD}
    # Rows of free places are made when they are first needed, which is not at the same moment.
    rows[ConnectionSlot] = [row for row in rows[ConnectionSlot] if getattr(row, "holder", "")]
    numbers = {(model, row.pk): number for model, found in rows.items() for number, row in enumerate(found)}
    vendors: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        of: type[Model] = Ticket if found[1] == "ticket" else models.ChangeRequest
        return f'"{found[1]}": {numbers.get((of, int(found[2])))}'

    def shown(row: Model) -> str:
        facts: dict[str, Any] = {}
        for field in row._meta.concrete_fields:
            value = getattr(row, field.attname)
            if field.name in OMITTED or getattr(field, "auto_now_add", False):
                continue
            if field.primary_key and not isinstance(field, ForeignKey):
                continue
            if isinstance(field, ForeignKey) and field.related_model in rows and value is not None:
                value = numbers[field.related_model, value]
            elif isinstance(field, ForeignKey):
                value = bool(value)
            facts[field.name] = value
        text = json.dumps(facts, default=str)
        text = re.sub(r"step:(\d+)", lambda found: f"step:{numbers.get((Step, int(found[1])))}", text)
        text = re.sub(r'"(ticket|request)": (\d+)', named, text)
        text = re.sub(r"[0-9a-f]{40,}", "HASH", text)
        return re.sub(r"\d{8,}", lambda found: vendors.setdefault(found[0], f"ID{len(vendors)}"), text)

    tables = {model._meta.label: [shown(row) for row in found] for model, found in rows.items()}
    for label in (models.AuditEntry._meta.label, ApiCall._meta.label, ConnectionSlot._meta.label):
        tables[label].sort()  # of several runs: in which order they were written is not the same
    return tables


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only where the history says so, and nothing is left to chance."""
    monkeypatch.setattr(clock, "_carried", lambda: BEGIN)
    monkeypatch.setattr(random, "random", lambda: 0.5)


@pytest.mark.usefixtures("transactional_db", "unhurried")
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_lean_and_general_paths_produce_the_same_rows(
    seed: int, accept: Accept, sandbox: SandboxControl, settings: Any
) -> None:
    ends = []
    for lean in (True, False):
        settings.LEAN_TRANSITIONS = lean
        _empty_database(TransactionTestCase())
        clock.reset()
        concurrency.forget_pauses()
        sandbox.reset()
        sandbox.configure("hubspot", search_lag=0)
        sandbox.configure("asana", job_seconds=0)
        connect("hubspot", "crm", "/hubspot", sandbox)
        connect("asana", "delivery", "/asana/api/1.0", sandbox, template_gid=TEMPLATE_GID, team_gid=TEAM_GID)
        connect("zendesk", "support", "/zendesk", sandbox)
        History(accept, sandbox).live(seed)
        assert not Step.objects.filter(state__in=LEASED).exists()
        ends.append(told())
    lean_rows, general_rows = ends
    differing = [
        f"{table}: {line}"
        for table, rows in lean_rows.items()
        for line in ndiff(rows, general_rows[table])
        if line[0] in "+-"
    ]
    assert not differing, "\n".join(differing)
