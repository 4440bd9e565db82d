"""The matrix of FAILURES.md as a table: each row is a test, or says why it is none.

Rows without ``test`` are run by this package's own tests, which take them from here by group; ``test`` names one
elsewhere. The quick ones are part of ``make test``; ``make test-chaos`` runs them all.
"""

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.chaos.vendors import BUILT_IN, KEYED, MAPPED, NEITHER, UPDATES, VENDORS
from tests.one_database import ON_POSTGRES

SEED = int(os.environ.get("CHAOS_SEED") or int.from_bytes(os.urandom(3)))
WHOLE = bool(os.environ.get("CHAOS"))
SELECTED = [each.strip() for each in os.environ.get("CHAOS_ROWS", "").split(",") if each.strip()]


@dataclass(frozen=True)
class Row:
    group: str
    name: str
    vendor: str = "any"
    """The vendor kind."""
    test: str = ""
    why_not: str = ""
    quick: bool = False
    only: str = ""
    """The database that it is about."""

    @property
    def reason(self) -> str:
        """Why it is no test, or none here."""
        database = os.environ.get("FIRSTVALUE_TEST_BACKEND", "sqlite")
        return self.why_not or (f"about {self.only} alone" if self.only not in ("", database) else "")

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}/{self.vendor}"

    @property
    def is_selected(self) -> bool:
        if SELECTED:
            return any(fnmatchcase(self.id, pattern) or self.id.startswith(f"{pattern}/") for pattern in SELECTED)
        return WHOLE or self.quick


# --- Crash points ------------------------------------------------------------------------------------------------------

EVERY = BUILT_IN | MAPPED
WRITTEN = UPDATES | {"http:workspace.update"}
ENSURES = EVERY - WRITTEN
BATCHES = frozenset({"http:task"})
UNDONE = ENSURES - BATCHES - {"welcome.mail"}
"""What can be undone: not a sent mail, nor what a mapping says nothing about."""


@dataclass(frozen=True)
class CrashPoint:
    """``scenario`` reaches it, at least in these step kinds; each vendor kind shows it in its own of them."""

    scenario: str
    steps: frozenset[str] = field(default=frozenset())


CRASH_POINTS = {
    "accepting": CrashPoint("playbook"),
    "event-processed": CrashPoint("event"),
    "marked-due": CrashPoint("playbook"),
    "before-intent": CrashPoint("playbook", EVERY),
    "after-intent": CrashPoint("playbook", EVERY),
    "before-send": CrashPoint("playbook", EVERY - {"welcome.mail"}),
    "after-send": CrashPoint("playbook", EVERY - {"welcome.mail"}),
    "before-mail": CrashPoint("playbook", frozenset({"welcome.mail"})),
    "after-mail": CrashPoint("playbook", frozenset({"welcome.mail"})),
    "after-answer": CrashPoint("playbook", ENSURES),
    "before-poll": CrashPoint("playbook", frozenset({"delivery.project"})),
    "after-poll": CrashPoint("playbook", frozenset({"delivery.project"})),
    "before-tie": CrashPoint("playbook", ENSURES - BATCHES),
    "before-update": CrashPoint("playbook", WRITTEN),
    "after-update": CrashPoint("playbook", WRITTEN),
    "before-result": CrashPoint("playbook", EVERY),
    "between-items": CrashPoint("playbook", frozenset({"delivery.tasks", "support.users"})),
    "opening-exception": CrashPoint("playbook", frozenset({"support.users"}) | BATCHES),
    "exception-opened": CrashPoint("playbook", frozenset({"support.users"}) | BATCHES),
    "opening-breaker": CrashPoint("people", frozenset({"crm.contact"})),
    "before-undo": CrashPoint("rollback", UNDONE),
    "after-undo": CrashPoint("rollback", UNDONE),
    "result-recorded": CrashPoint("playbook", EVERY),
    "before-dispatch": CrashPoint("playbook"),
    "after-result": CrashPoint("playbook", EVERY),
    "person-acted": CrashPoint("people"),
}
UNDOING = ("before-intent", "after-intent", "after-undo", "result-recorded")
OTHER_CRASHES = {
    "crash-lookup": ("lookup", ("before-intent", "after-intent", "before-result", "result-recorded", "after-result")),
    "crash-rollback": ("rollback-beside", UNDOING),
    "crash-services": ("services", ("person-acted",)),
}
"""By group: the scenario that reaches these points in another way than ``CRASH_POINTS`` has it."""

# --- Vendor faults ------------------------------------------------------------------------------------------------------

FAULTS: dict[str, dict[str, Any]] = {
    "refused": {"kind": "error_before", "status": 400},
    "timeout, with effect": {"kind": "timeout_after"},
    "timeout, without effect": {"kind": "timeout_before"},
    "reset mid-response": {"kind": "reset_after"},
    "reset, without effect": {"kind": "reset_before"},
    "slow drip": {"kind": "slow_drip"},
    "429 with Retry-After": {"kind": "rate_limit", "retry_after": 7},
    "429 without Retry-After": {"kind": "rate_limit"},
    "500 with effect": {"kind": "error_after"},
    "500 without effect": {"kind": "error_before"},
    "200 with a malformed body": {"kind": "malformed"},
    "200 of another shape": {"kind": "wrong_shape"},
    "409 existing": {"kind": "error_before", "status": 409},
    "401 mid-run": {"kind": "unauthorized"},
    "403": {"kind": "forbidden"},
}
LAGS = {"search lag 0": 0, "search lag 10 s": 10, "search lag never": "never"}
QUICK_FAULTS = ("500 with effect", "reset mid-response")

# --- The table -------------------------------------------------------------------------------------------------------------


def _crashes() -> list[Row]:
    rows = []
    for vendor, kind in VENDORS.items():
        names = [name for name, point in CRASH_POINTS.items() if kind.every_hit or kind.steps & point.steps]
        quick = frozenset(CRASH_POINTS) if kind.every_hit and ON_POSTGRES else frozenset({"after-intent", "after-send"})
        rows += [Row("crash", name, vendor, quick=name in quick) for name in names]
    quick_others = ("crash-lookup/after-intent", "crash-rollback/after-undo", "crash-services/person-acted")
    return rows + [
        Row(group, name, quick=f"{group}/{name}" in quick_others)
        for group, (_, names) in OTHER_CRASHES.items()
        for name in names
    ]


def _faults() -> list[Row]:
    names = [*FAULTS, *LAGS, "two matches", "unreachable"]
    return [Row("vendor", name, vendor, quick=name in QUICK_FAULTS) for vendor in VENDORS for name in names]


WEBHOOK, INTAKE, ENGINE = (
    "tests/integrations/vendors/stripe/test_webhook.py::",
    "tests/exceptions_queue/api/intake/test_intake.py::",
    "tests/onboarding/",
)
ROLLBACK, MACHINES = f"{ENGINE}services/test_rollback.py::", "tests/machines/"
PROCESSES = "tests/processes/test_installation.py::"
ROWS = [
    *_crashes(),
    *_faults(),
    Row("vendor", "success after the lease expired",
        test=f"{ENGINE}engine/test_mutations.py::test_with_the_fencing_token_the_current_holders_result_stands"),
    Row("delivery", "duplicate", test=f"{WEBHOOK}test_a_second_delivery_changes_nothing"),
    Row("delivery", "duplicate over REST", test=f"{INTAKE}test_the_same_content_again_is_replayed"),
    Row("delivery", "concurrent duplicate", test=f"{WEBHOOK}test_simultaneous_deliveries_store_one_event"),
    Row("delivery", "concurrent duplicate over REST", test=f"{INTAKE}test_two_identical_posts_at_once_make_one_run"),
    Row("delivery", "out of order",
        test="tests/onboarding/intake/test_stripe_correlation.py::TestOnePayment::test_in_any_order_and_shape_is_one_run"),
    Row("delivery", "same id with another body", test=f"{INTAKE}test_other_content_makes_a_change_request"),
    Row("delivery", "bad signature", test=f"{WEBHOOK}test_a_signature_by_another_secret_is_refused"),
    Row("delivery", "refund before provisioning", test=f"{ROLLBACK}test_a_refund_holds_the_run_and_asks_finance"),
    Row("delivery", "refund mid-run", test=f"{ROLLBACK}test_after_a_refund_the_run_is_rolled_back"),
    Row("infrastructure", "workers killed", test=f"{PROCESSES}test_killed_workers_lose_and_duplicate_nothing"),
    Row("infrastructure", "broker absent throughout", test=f"{PROCESSES}test_everything_happens_without_a_broker"),
    Row("infrastructure", "broker flushed, zombie worker",
        test=f"{PROCESSES}test_wiped_broker_and_frozen_worker_lose_nothing"),
    Row("infrastructure", "redis restarted"),
    Row("infrastructure", "postgresql restarted", only="postgres"),
    Row("infrastructure", "sqlite locked", only="sqlite"),
    Row("infrastructure", "two schedulers"),
    Row("operators", "bulk retry against a worker", quick=True),
    Row("operators", "double click on resolve", quick=True),
    Row("operators", "approval against automatic retry", why_not="no step of a playbook asks for an approval yet"),
    Row("promise", "5 % of writes fail after taking effect", NEITHER, quick=True),
    Row("promise", "keys are ignored, 5 % fail after taking effect", KEYED, quick=True),
    Row("promise", "a loop of sweeps, no broker"),
    Row("safeguard", "intent", NEITHER, quick=True),
    Row("safeguard", "lease", NEITHER, quick=True),
    Row("safeguard", "reservation", NEITHER, quick=True),
    Row("safeguard", "find-before-recreate", NEITHER, quick=True),
    Row("safeguard", "find-before-replay", KEYED, quick=True),
    Row("model", "runs", test=f"{MACHINES}test_runs.py::test_run_invariants_hold_in_any_order_of_events"),
    Row("model", "tickets", test=f"{MACHINES}test_tickets.py::test_a_ticket_follows_its_step_and_keeps_what_people_did"),
    Row("model", "connections: breaker",
        test=f"{MACHINES}test_connections.py::test_breaker_follows_its_state_table"),
    Row("model", "connections: concurrency limit",
        test=f"{MACHINES}test_connections.py::test_concurrency_limit_is_never_exceeded"),
    Row("model", "api, from its own schema",
        test="tests/exceptions_queue/api/test_fuzz.py::test_no_generated_request_causes_a_server_error"),
]  # fmt: skip


def rows(*groups: str) -> list[Row]:
    """Those that this package runs; ``conftest`` leaves out what is not selected."""
    return [row for row in ROWS if row.group in groups and not row.test and not row.why_not]
