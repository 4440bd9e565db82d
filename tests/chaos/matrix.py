"""The matrix of FAILURES.md as a table: each row is a test, or says why it is none.

Rows without ``test`` are run by this package's own tests, which take them from here by group; ``test`` names one
elsewhere. The quick ones are part of ``make test``; ``make test-chaos`` runs them all.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

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


# --- Vendor kinds: what protects a repeated create --------------------------------------------------------------------


@dataclass(frozen=True)
class VendorKind:
    """One kind. ``set_up`` makes the CRM one of this kind; ``account`` is where it creates the account."""

    account: str = ""
    steps: frozenset[str] = frozenset()
    """The step kinds that are different with it from the first kind of vendor; none for the first kind itself."""
    set_up: Callable[[], object] | None = None
    why_not: str = ""


def with_reference_property() -> None:
    """HubSpot with a unique property: creates are upserts on it. The connection's own default."""


def without_reference_property() -> None:
    """Nothing keeps two accounts or deals apart, as with projects, tasks, notes and mails in any case."""
    from integrations.connections import set_connection  # the table itself is read without Django

    options = {"reference_property": "", "search_lag": "20"}
    set_connection("hubspot", system="crm", provider="hubspot", options=options, actor="chaos")


UPSERT, NEITHER, KEYED = "unique-upsert", "neither", "idempotency-key"
VENDORS = {
    UPSERT: VendorKind("*/companies/batch/upsert", set_up=with_reference_property),
    NEITHER: VendorKind("*/objects/companies", frozenset({"crm.account", "crm.deal"}), without_reference_property),
    KEYED: VendorKind(why_not="no provider with idempotency keys is built in yet (provider http)"),
}

# --- Crash points ------------------------------------------------------------------------------------------------------

PROVISIONING = frozenset(
    {
        "crm.account", "crm.contact", "crm.deal", "crm.deal-status", "crm.note", "delivery.project", "delivery.tasks",
        "delivery.handover", "support.organization", "support.users",
    }
)  # fmt: skip
EVERY = PROVISIONING | {"kickoff.task", "welcome.mail"}
UPDATES = frozenset({"crm.deal-status", "delivery.handover"})
ENSURES = EVERY - UPDATES


@dataclass(frozen=True)
class CrashPoint:
    """``scenario`` reaches it, at least in these step kinds."""

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
    "before-tie": CrashPoint("playbook", ENSURES),
    "before-update": CrashPoint("playbook", UPDATES),
    "after-update": CrashPoint("playbook", UPDATES),
    "before-result": CrashPoint("playbook", EVERY),
    "between-items": CrashPoint("playbook", frozenset({"delivery.tasks", "support.users"})),
    "opening-exception": CrashPoint("playbook", frozenset({"support.users"})),
    "exception-opened": CrashPoint("playbook", frozenset({"support.users"})),
    "opening-breaker": CrashPoint("people", frozenset({"crm.contact"})),
    "result-recorded": CrashPoint("playbook", EVERY),
    "before-dispatch": CrashPoint("playbook"),
    "after-result": CrashPoint("playbook", EVERY),
    "person-acted": CrashPoint("people"),
}
LOOKUP_POINTS = ("before-intent", "after-intent", "before-result", "result-recorded", "after-result")

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
        names = [name for name, point in CRASH_POINTS.items() if not kind.steps or kind.steps & point.steps]
        quick = frozenset(CRASH_POINTS) if vendor == UPSERT else frozenset({"after-intent", "after-send"})
        rows += [Row("crash", name, vendor, "", kind.why_not, name in quick) for name in names]
    return [*rows, *(Row("crash-lookup", name, quick=name == "after-intent") for name in LOOKUP_POINTS)]


def _faults() -> list[Row]:
    names = [*FAULTS, *LAGS, "two matches", "unreachable"]
    return [
        Row("vendor", name, vendor, "", kind.why_not, name in QUICK_FAULTS)
        for vendor, kind in VENDORS.items()
        for name in names
    ]


WEBHOOK, INTAKE, ENGINE = "tests/test_stripe_webhook.py::", "tests/api/test_intake.py::", "tests/engine/"
PROCESSES = "tests/processes/test_installation.py::"
ROWS = [
    *_crashes(),
    *_faults(),
    Row("vendor", "success after the lease expired",
        test=f"{ENGINE}test_mutations.py::test_with_the_fencing_token_the_current_holders_result_stands"),
    Row("delivery", "duplicate", test=f"{WEBHOOK}test_a_second_delivery_changes_nothing"),
    Row("delivery", "duplicate over REST", test=f"{INTAKE}test_the_same_content_again_is_replayed"),
    Row("delivery", "concurrent duplicate", test=f"{WEBHOOK}test_simultaneous_deliveries_store_one_event"),
    Row("delivery", "concurrent duplicate over REST", test=f"{INTAKE}test_two_identical_posts_at_once_make_one_run"),
    Row("delivery", "out of order",
        test="tests/test_stripe_correlation.py::TestOnePayment::test_in_any_order_and_shape_is_one_run"),
    Row("delivery", "same id with another body", test=f"{INTAKE}test_other_content_makes_a_change_request"),
    Row("delivery", "bad signature", test=f"{WEBHOOK}test_a_signature_by_another_secret_is_refused"),
    Row("delivery", "refund mid-run", why_not="a refund is stored and starts nothing yet: rollback is not built"),
    Row("infrastructure", "workers killed", test=f"{PROCESSES}test_workers_killed_again_and_again_lose_and_double_nothing"),
    Row("infrastructure", "broker absent throughout", test=f"{PROCESSES}test_everything_happens_without_a_broker"),
    Row("infrastructure", "broker flushed, zombie worker",
        test=f"{PROCESSES}test_a_wiped_broker_and_a_frozen_worker_cost_time_and_nothing_else"),
    Row("infrastructure", "redis restarted"),
    Row("infrastructure", "postgresql restarted", only="postgres"),
    Row("infrastructure", "sqlite locked", only="sqlite"),
    Row("infrastructure", "two schedulers"),
    Row("operators", "bulk retry against a worker", quick=True),
    Row("operators", "double click on resolve", quick=True),
    Row("operators", "approval against automatic retry", why_not="approvals are not built yet"),
    Row("promise", "5 % of writes fail after taking effect", NEITHER, quick=True),
    Row("promise", "a loop of sweeps, no broker"),
    Row("safeguard", "intent", NEITHER, quick=True),
    Row("safeguard", "lease", NEITHER, quick=True),
    Row("safeguard", "reservation", NEITHER, quick=True),
    Row("safeguard", "find-before-recreate", NEITHER, quick=True),
]  # fmt: skip


def rows(*groups: str) -> list[Row]:
    """Those that this package runs; ``conftest`` leaves out what is not selected."""
    return [row for row in ROWS if row.group in groups and not row.test and not row.why_not]
