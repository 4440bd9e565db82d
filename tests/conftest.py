"""Fixtures of all tests: the vendors are the sandbox, over real HTTP."""

import copy
import hashlib
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import TransactionTestCase

from exceptions_queue import permissions, scheduling
from exceptions_queue.models import Queue
from integrations import clock
from integrations.connections import concurrency
from integrations.connections.services import set_connection
from integrations.connectors.declaration import load, vendors
from integrations.database import process_cache
from integrations.enums import Breaker
from integrations.http import sockets
from integrations.models import Connection, ConnectionSlot, InboundEvent
from integrations.sandbox.control import SandboxControl, SandboxProcess, start_sandbox
from onboarding.engine import connection_queue
from onboarding.engine.threads import timers
from onboarding.enums import LEASED, WaitsFor
from onboarding.models import ApiKey, AuditAnchor, AuditEntry, Step
from onboarding.playbooks.playbook import playbooks

GROUPS = {
    "sales": "sales-ops",
    "support": "support-ops",
    "engineer": "revenue-operations",
    "finance": "finance",
    "lead": "leads",
}
PASSWORD = "pw"
PAYLOAD: dict[str, Any] = {
    "onboarding_transaction_id": "pay_12345",
    "event_source": "billing",
    "occurred_at": "2026-11-22T10:00:00Z",
    "customer": {
        "legal_name": "Acme Logistics",
        "domain": "acme-logistics.com",
        "no_domain": False,
        "segment": "mid-market",
        "territory": "emea",
        "legal_entity": "",
        "tax_id": "",
        "country": "DE",
        "primary_contact": {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"},
    },
    "commercial": {
        "plan_sku": "pro",
        "term": "annual",
        "amount": 12000,
        "currency": "EUR",
        "billing_email": "",
        "order_id": "",
        "deal_id": "",
        "payment_terms": "",
        "cost_centre": "",
        "nonstandard_terms": False,
        "lines": [],
    },
    "ownership": {"crm_owner_id": "u_789", "implementation_owner_id": "u_456"},
    "kickoff": {"start_date": "2026-12-01", "urgency": "normal"},
    "first_value_target": {"milestone": "first automated report", "target_days": 14},
    "users": [{"name": "", "email": "", "role": "admin"}],
    "security": {"review_required": False},
    "handover": {
        "why_they_bought": [],
        "success_criteria": "",
        "constraints": [],
        "stakeholders": {},
        "risks": [],
        "links": {},
    },
}
"""DESIGN, "Canonical payload"."""

Payload = Callable[..., dict[str, Any]]
Drain = Callable[..., int]


KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})
ROLES = ("auth_group", "auth_group_permissions", Queue._meta.db_table)
"""What ``roles.establish`` makes: every test needs it, and hardly one changes it."""
AUDIT = (AuditEntry._meta.db_table, AuditAnchor._meta.db_table)


@cache
def _emptying() -> list[str]:
    """Statements that empty every table but those that no test changes; the audit trail's triggers are off meanwhile."""
    names = connection.introspection.django_table_names(only_existing=True)
    names = [name for name in names if name not in KEPT and name not in ROLES]
    deletes = [f'DELETE FROM "{name}"' for name in names if name not in AUDIT]  # noqa: S608 (our own tables)
    trail = [f'DELETE FROM "{name}"' for name in AUDIT]  # noqa: S608
    if connection.vendor == "postgresql":
        off, on = ([f'ALTER TABLE "{name}" {verb} TRIGGER USER' for name in AUDIT] for verb in ("DISABLE", "ENABLE"))
        return ["; ".join([*off, *trail, *deletes, *on])]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%BEFORE DELETE ON%'")
        triggers = cursor.fetchall()
    return [*(f"DROP TRIGGER {name}" for name, _ in triggers), *trail, *deletes, *(sql for _, sql in triggers)]


def _role_rows() -> list[tuple[Any, ...]]:
    found = []
    with connection.cursor() as cursor:
        for name in ROLES:
            cursor.execute(f'SELECT * FROM "{name}" ORDER BY 1')  # noqa: S608 (our own tables)
            found += cursor.fetchall()
    return found


_established: list[tuple[Any, ...]] = []


def _empty_database(_: TransactionTestCase) -> None:
    """In place of Django's flush, which truncates table by table and makes all permissions again: 0.5 s a test."""
    global _established  # noqa: PLW0603 (of this process' database)
    connection.ops.execute_sql_flush(_emptying())
    process_cache.clear_all_caches()  # what was kept of these rows goes with them
    if not _established or _role_rows() != _established:
        connection.ops.execute_sql_flush([f'DELETE FROM "{name}"' for name in reversed(ROLES)])  # noqa: S608
        permissions.establish()
        _established = _role_rows()


TransactionTestCase._fixture_teardown = _empty_database


@pytest.fixture(autouse=True)
def test_settings(settings: Any) -> None:
    """No broker (the sweep does the work), hashes that are quick to make, and nothing kept of another test's database."""
    process_cache.clear_all_caches()
    settings.BROKER_PUBLISH = False
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def unshifted_clock() -> Iterator[None]:
    yield
    clock.reset()
    concurrency.forget_pauses()
    sockets.close_all()
    timers.forget()


# --- Vendors --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox") / "vendors.sqlite3") as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxControl:
    """The vendors, with nothing in them but their fixed_kinds; they lag only where a test says so."""
    control = sandbox_process.control
    control.reset()
    control.configure("hubspot", search_lag=0)
    control.configure("asana", job_seconds=0)
    return control


def connect(slug: str, system: str, path: str, sandbox: SandboxControl, **options: str) -> Connection:
    return set_connection(
        slug,
        system=system,
        provider=slug,
        base_url=sandbox.base_url + path,
        environment="sandbox",
        secrets={"token": [f"sandbox-{slug}-token"]},
        options=options,
        actor="tests",
    )


@pytest.fixture
def hubspot(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("hubspot", "crm", "/hubspot", sandbox)


@pytest.fixture
def asana(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("asana", "delivery", "/asana/api/1.0", sandbox, **load(vendors()["asana"].stand_in).options)


@pytest.fixture
def zendesk(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("zendesk", "support", "/zendesk", sandbox)


@pytest.fixture
def smtp(transactional_db: None, sandbox: SandboxControl, sandbox_process: SandboxProcess, settings: Any) -> Connection:
    """Real mail (pytest-django's own backend keeps it in memory), to the catcher: ``sandbox.objects("mail")``."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sandbox_process.smtp_port
    return set_connection("mail", system="email", provider="smtp", environment="sandbox", actor="tests")


@pytest.fixture
def whole_playbook(settings: Any) -> Iterator[None]:
    """The built-in playbook with all its steps, in place of the short one of most tests."""
    settings.CONFIG_DIR = None
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.fixture
def connections(hubspot: Connection, asana: Connection, zendesk: Connection) -> dict[str, Connection]:
    """All three, by slug."""
    return {made.slug: made for made in (hubspot, asana, zendesk)}


# --- Work -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def payload() -> Payload:
    """``payload(onboarding_transaction_id="pay_2", customer__domain="beta.io")``: DESIGN's payload with other values.

    A double underscore (or a dot, in ``**{...}``) leads into a part. None removes the field.
    """

    def build(**overrides: Any) -> dict[str, Any]:
        made = copy.deepcopy(PAYLOAD)
        for path, value in overrides.items():
            *parents, name = path.replace("__", ".").split(".")
            part = made
            for parent in parents:
                part = part[parent]
            if value is None:
                part.pop(name, None)
            else:
                part[name] = value
        return made

    return build


@pytest.fixture
def drain(transactional_db: None) -> Drain:
    """``drain(max_passes=60, probes=False)``: see ``drain_engine``."""
    return drain_engine


def drain_engine(max_passes: int = 60, *, probes: bool = False) -> int:
    """Does all work until nothing is due by itself any more, moving the test clock from one due time to the next.

    Returns how many passes it took. What waits for a person, or behind an open breaker, is at rest; with ``probes`` a breaker
    that tries by itself is followed until it closes.
    """
    idle = 0
    for passes in range(1, max_passes + 1):
        scheduling.one_pass(publish=False)
        times, reservations = due_times(probes=probes)
        due, turn = min(times, default=None), min([*times, *reservations], default=None)
        # Whoever waits for another run's reservation asks again and again: at rest once nothing else moves.
        idle = idle + 1 if due is None else 0
        if turn is None or idle > 1:
            return passes
        clock.shift(max(turn - clock.now() + timedelta(milliseconds=1), timedelta(0)))
    steps = list(
        Step.objects.exclude(due_at=None)
        .exclude(waits_for=WaitsFor.EVENT)
        .values_list("transaction_id", "key", "state", "waits_for")
    )
    raise AssertionError(f"After {max_passes} passes there is still something to do: {steps}")


def reservation_is_over(step: Step) -> bool:
    """Whether the run that this step waits for is through with the shared object."""
    return step.waits_on is None or step.waits_on.is_done


def full_until() -> dict[int, datetime]:
    """Connections without a free place -> when one is free again at the latest: nobody in their lines is told before."""
    now = clock.now()
    found = {}
    for paced in connection_queue.limited_connections():
        held = ConnectionSlot.objects.filter(connection=paced, leased_until__gte=now).exclude(holder="")
        told = connection_queue.enqueued().filter(connection=paced)
        if not connection_queue.free_capacity(paced):
            ends = [*held.values_list("leased_until", flat=True), *told.values_list("enqueued_until", flat=True)]
            found[paced.pk] = min(ends, default=now)
    return found


def next_due(*, reservations: bool = False, probes: bool = False) -> datetime | None:
    """When the engine would do something next, by itself; None where it rests.

    ``reservations``: waits for another run count. ``probes``: so do breakers that will be tried again.
    """
    times, waits = due_times(probes=probes)
    return min([*times, *(waits if reservations else ())], default=None)


def due_times(*, probes: bool = False) -> tuple[list[datetime], list[datetime]]:
    """When the engine would do something by itself, and when it would only ask again whether another run is through."""
    waits: list[datetime] = []
    events = InboundEvent.objects.exclude(due_at=None)
    full = full_until()
    times = [max(event.due_at, event.enqueued_until or event.due_at) for event in events]
    for step in Step.objects.exclude(connection__breaker=Breaker.OPEN).select_related("transaction", "connection"):
        if step.state in LEASED and step.lease_until:
            times.append(step.lease_until)
        elif step.waits_for == WaitsFor.EVENT or (step.transaction.held_at and step.uses != "crm.deal-status"):
            continue  # people have the next word
        elif step.connection_id in full and step.due_at:
            times.append(max(step.due_at, full[step.connection_id]))
        elif step.due_at:
            paused_until = step.connection.paused_until if step.connection else None
            asks_again = step.waits_for == WaitsFor.RESERVATION and not reservation_is_over(step)
            (waits if asks_again else times).append(max(filter(None, (step.due_at, step.enqueued_until, paused_until))))
    if probes:
        times += [each.probe_at for each in Connection.objects.exclude(probe_at=None)]
    return times, waits


# --- People ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    """One person a role, called like it, with the password "pw" and an address ``ROLE@firstvalue.example``."""
    made = {}
    for name, group in GROUPS.items():
        made[name] = User.objects.create_user(name, f"{name}@firstvalue.example", PASSWORD, is_staff=True)
        made[name].groups.add(Group.objects.get(name=group))
    made["admin"] = User.objects.create_superuser("admin", "admin@firstvalue.example", PASSWORD)
    return made


@pytest.fixture
def api_key(transactional_db: None) -> Callable[[str], str]:
    """``api_key("read")``: a new key of that scope."""

    def make(scope: str) -> str:
        key = f"fv_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        ApiKey.objects.create(name=f"test {scope}", prefix=key[:12], digest=digest, scope=scope)
        return key

    return make


@pytest.fixture
def committed(transactional_db: None) -> None:
    """A Stripe connection that other database connections see."""
    from tests.support import (
        stripe_events,  # only now: these fixtures serve tests of an installation without that vendor too
    )

    stripe_events.connect()
