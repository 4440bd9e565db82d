"""A history of finished onboardings, made inside PostgreSQL: what an installation has in its tables after years of work.

``make_history(20_000, newest=2_000)`` takes seconds and makes finished runs with their steps, intents, mappings, clocks and
resolved tickets; attempts, calls and audit entries for the newest alone, as the older ones' are archived.

``DATABASE_URL=postgres://… python -m tests.support.history 1000000 20000`` fills an installation's own database (never one in use:
constraints are not checked meanwhile). A million runs take some 15 GB. The newest runs' audit entries are true chains, and the
others have none: ``manage.py audit verify`` passes.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

AT_ONCE = 50_000
"""Runs a database transaction."""
EVERY = "30 seconds"
"""A run began so long after the one before; the newest ended a day ago."""
ENTRIES_PER_STEP = 3
NAME, ACTOR = "onboarding.step.succeeded", "system"
"""Of each audit entry."""


@dataclass(frozen=True)
class Made:
    """A step of each run, and the kind of object that it made; none where it only told others something."""

    key: str
    system: str
    kind: str = ""
    shared: bool = False


STEPS = (
    Made("crm.account", "crm", "company", shared=True),
    Made("crm.contact", "crm", "contact", shared=True),
    Made("crm.deal", "crm", "deal"),
    Made("crm.deal-status", "crm"),
    Made("crm.note", "crm", "note"),
    Made("delivery.project", "delivery", "project"),
    Made("delivery.tasks", "delivery", "task"),
    Made("delivery.handover", "delivery", "task"),
    Made("support.organization", "support", "organization", shared=True),
    Made("support.users", "support", "user", shared=True),
    Made("kickoff.task", "delivery", "task"),
    Made("welcome.mail", "email", "mail"),
)
"""Those of the built-in playbook; each handler is called like its step."""
PAYMENT_KEYS = (("stripe.invoice", "in"), ("stripe.payment_intent", "pi"))
"""Of each run's payment: kind, and how its values begin."""
ENTRIES = ENTRIES_PER_STEP * len(STEPS)
SYSTEMS = ("crm", "delivery", "support", "email")
CONTENT = {
    "onboarding_transaction_id": "past_{n}",
    "event_source": "billing",
    "customer": {
        "legal_name": "Past {n} Works",
        "domain": "past-{n}.example",
        "segment": "mid-market",
        "primary_contact": {"name": "Ann {n}", "email": "ann@past-{n}.example"},
    },
    "commercial": {"plan_sku": "pro", "term": "annual", "amount": 12000, "currency": "EUR"},
    "ownership": {"crm_owner_id": "u_1", "implementation_owner_id": "u_2"},
    "kickoff": {"urgency": "normal"},
}
"""Of each run; ``{n}`` stands for its number."""


@dataclass(frozen=True)
class Connections:
    """Primary keys by system, and of the one where payments come from."""

    by_system: Mapping[str, int]
    billing: int


def make_history(runs: int, *, newest: int = 0) -> None:
    """``runs`` finished runs on top of what there is; attempts, calls and audit entries of the ``newest`` of them."""
    from django.db import connection, transaction

    from onboarding.audit import anchors

    connections, playbook = _connections(), _playbook()
    with unchecked():
        first = _next("onboarding_onboardingtransaction")
        for begin in range(0, runs, AT_ONCE):
            with transaction.atomic():
                _make(begin, min(begin + AT_ONCE, runs), runs, newest, connections, playbook)
    while anchors.append_if_due():
        pass
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert _next("onboarding_onboardingtransaction") == first + runs


def _make(begin: int, end: int, runs: int, newest: int, connections: Connections, playbook: int) -> None:
    from exceptions_queue.models import Alert, SlaClock, Ticket
    from integrations.models import ApiCall, InboundEvent
    from onboarding import models as made

    run = _next("onboarding_onboardingtransaction")
    started = f"now() - interval '1 day' - {runs} * interval '{EVERY}' + n * interval '{EVERY}'"
    each = (
        f"(SELECT n, n - {begin} + {run} AS run, {started} AS began, {started} + interval '5 minutes' AS ended"  # noqa: S608
        f" FROM generate_series({begin}, {end - 1}) AS n) AS runs"
    )
    _insert(
        made.OnboardingTransaction,
        each,
        id="run",
        onboarding_transaction_id="'past_' || run",
        id_key="'past_' || run",
        event_source="'billing'",
        occurred_at="began",
        status="CASE WHEN n % 50 = 0 THEN 'cancelled' ELSE 'complete' END",
        playbook_id=str(playbook),
        snapshot_version="1",
        customer_name="'Past ' || run || ' Works'",
        domain="'past-' || run || '.example'",
        contact_name="'Ann ' || run",
        contact_email="'ann@past-' || run || '.example'",
        plan_sku="'pro'",
        segment="'mid-market'",
        crm_owner_id="'u_' || n % 20",
        implementation_owner_id="'u_' || n % 10",
        created_at="began",
        updated_at="ended",
        provisioned_at="ended",
        completed_at="CASE WHEN n % 50 > 0 THEN ended END",
        cancelled_at="CASE WHEN n % 50 = 0 THEN ended END",
    )
    content = f"replace({_quoted(json.dumps(CONTENT))}, '{{n}}', run::text)::jsonb"
    _insert(
        made.PayloadSnapshot,
        each,
        transaction_id="run",
        version="1",
        content=content,
        actor="'api'",
        created_at="began",
    )
    _insert(
        made.AcceptedContent,
        each,
        transaction_id="run",
        source="'billing'",
        content=content,
        digest="md5(run::text)",
        accepted_at="began",
    )
    for kind, mark in PAYMENT_KEYS:
        _insert(
            made.CorrelationKey,
            each,
            transaction_id="run",
            kind=_quoted(kind),
            value=f"'{mark}_past_' || run",
            created_at="began",
        )
    _insert(
        InboundEvent,
        each,
        connection_id=str(connections.billing),
        external_id="'evt_past_' || run",
        type="'invoice.paid'",
        body=_quoted(_body()),
        occurred_at="began",
        received_at="began",
        state="'processed'",
        outcome="'past_' || run",
        processed_at="began",
    )
    trace = _next("onboarding_paymenttrace")
    _insert(
        made.PaymentTrace,
        each,
        id=f"run - {run} + {trace}",
        connection_id=str(connections.billing),
        transaction_id="run",
        customer="'cus_past_' || run",
        amount_minor="1200000",
        currency="'EUR'",
        occurred_at="began",
    )
    for kind, mark in PAYMENT_KEYS:
        _insert(
            made.PaymentTraceKey,
            each,
            trace_id=f"run - {run} + {trace}",
            kind=_quoted(kind),
            value=f"'{mark}_past_' || run",
        )
    _insert(
        made.BillingSubscription,
        each,
        connection_id=str(connections.billing),
        subscription="'sub_past_' || run",
        customer="'cus_past_' || run",
        settled_by="'in_past_' || run",
        settled_at="began",
    )
    _insert(
        made.RunEvent,
        each,
        transaction_id="run",
        type="'kickoff.scheduled'",
        event_id="'ev_' || run",
        occurred_at="ended",
        actor="'api'",
        received_at="ended",
    )
    _insert(
        made.ChangeRequest,
        f"{each} WHERE n % 5 = 0",
        transaction_id="run",
        proposed="'{}'::jsonb",
        digest="md5(run::text)",
        status="'applied'",
        created_at="began",
        decided_at="ended",
        decided_by="'lead'",
    )
    _insert(
        made.UnmatchedEvent,
        f"{each} WHERE n % 5 = 0",
        kind="'stripe.invoice'",
        value="'in_past_' || run",
        type="'payment.refunded'",
        event_id="'evt_early_' || run",
        occurred_at="began",
        actor="'api'",
        received_at="began",
        state="'applied'",
        expires_at="began + interval '30 days'",
        transaction_id="run",
    )
    step, clock, ticket = _next("onboarding_step"), _next("exceptions_queue_slaclock"), _next("exceptions_queue_ticket")
    rows = ", ".join(
        f"({position}, '{one.key}', '{one.system}', {connections.by_system[one.system]}, '{one.kind}', {one.shared})"
        for position, one in enumerate(STEPS)
    )
    steps = (
        f"(SELECT runs.*, p.*, (run - {run}) * {len(STEPS)} + position + {step} AS step FROM {each},"  # noqa: S608
        f" (VALUES {rows}) AS p (position, key, system, connection, kind, shared)) AS steps"
    )
    _insert(
        made.Step,
        steps,
        id="step",
        transaction_id="run",
        key="key",
        uses="key",
        system="system",
        position="position",
        connection_id="connection",
        state="CASE WHEN n % 50 = 0 THEN 'skipped' ELSE 'succeeded' END",
        token="1",
        started_at="began",
        finished_at="ended",
        send_by="ended",
        written="CASE WHEN kind = '' THEN md5(run::text) ELSE '' END",
    )
    _insert(
        made.StepPoll,
        f"{steps} WHERE key = 'kickoff.task'",
        step_id="step",
        count="3",
        last_at="ended",
    )
    objects = f"{steps} WHERE kind > ''"
    _insert(
        made.Intent,
        objects,
        transaction_id="run",
        step_id="step",
        reference="'past_' || run || '.' || key",
        params="jsonb_build_object('name', 'Past ' || run)",
        request_hash="md5(step::text)",
        state="'done'",
        token="1",
        send_by="ended",
        created_at="began",
    )
    _insert(
        made.ObjectMapping,
        objects,
        transaction_id="run",
        step_id="step",
        connection_id="connection",
        kind="kind",
        external_id="(1000000000 + step)::text",
        created_by_us="TRUE",
        how="'created'",
        created_at="ended",
        state="jsonb_build_object('name', 'Past ' || run)",
    )
    _insert(
        made.Reservation,
        f"{steps} WHERE shared",
        connection_id="connection",
        kind="kind",
        match_key="'domain:past-' || run || '.example'",
        holder_id="step",
        external_id="(1000000000 + step)::text",
        created_at="began",
    )
    clocks = f"(SELECT runs.*, m.* FROM {each}, (VALUES (0, 'P1'), (1, 'P2')) AS m (second, milestone)) AS clocks"  # noqa: S608
    _insert(
        SlaClock,
        clocks,
        id=f"(run - {run}) * 2 + second + {clock}",
        transaction_id="run",
        milestone="milestone",
        current_of_id="CASE WHEN second = 1 THEN run END",
        target_minutes="30",
        at_risk_percent="50",
        state="CASE WHEN n % 50 = 0 THEN 'cancelled' ELSE 'met' END",
        started_at="began",
        at_risk_at="began + interval '15 minutes'",
        due_at="began + interval '30 minutes'",
        at_risk_seen="n % 5 = 0",
        ended_at="ended",
    )
    _insert(
        Ticket,
        f"{steps} WHERE n % 5 = 0 AND key = 'crm.account'",
        id=f"(run - {run}) / 5 + {ticket}",
        transaction_id="run",
        step_id="step",
        status="'resolved'",
        category="'ambiguous-match'",
        topic="''",
        system="system",
        queue="(ARRAY['sales-ops', 'support-ops', 'finance'])[1 + n % 3]",
        message="'Two companies have the domain.'",
        fingerprint="md5(key)",
        opened_at="began",
        sla_due="began + interval '30 minutes'",
        resolved_at="ended",
        resolution="'The step has passed.'",
    )
    _insert(
        Alert,
        f"{each} WHERE n % 5 = 0",
        clock_id=f"(run - {run}) * 2 + {clock}",
        ticket_id=f"(run - {run}) / 5 + {ticket}",
        recipient="'ann@firstvalue.example'",
        state="'sent'",
        attempts="1",
        created_at="began",
        sent_at="began",
    )
    kept = f"{steps} WHERE n >= {runs - newest}"
    _insert(
        made.Attempt,
        kept,
        step_id="step",
        token="1",
        started_at="began",
        finished_at="ended",
        outcome="'succeeded'",
    )
    _insert(
        ApiCall,
        kept,
        connection_id="connection",
        subject="'step:' || step",
        method="'POST'",
        path="'/objects/' || kind",
        status="201",
        request="jsonb_build_object('name', 'Past ' || run)",
        response="jsonb_build_object('id', step)",
        duration_ms="50",
        at="ended",
    )
    _chain(made.AuditEntry, f"{each} WHERE n >= {runs - newest}")


def _chain(entry: Any, runs: str) -> None:
    """Audit entries of ``runs`` (a FROM clause), each with its predecessor's hash, as ``audit.entries.entry_hash`` has it.

    Text concatenated by hand is canonical JSON: what stands in it needs no escape.
    """
    from django.db import connection

    keys = ", ".join(_quoted(one.key) for one in STEPS)
    key = f"(ARRAY[{keys}])[(sequence + {ENTRIES_PER_STEP - 1}) / {ENTRIES_PER_STEP}]"
    at = """to_char(ended AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00'"""
    digest = f"""encode(sha256(convert_to('["' || before || '",' || run || ',' || sequence || ',"{NAME}","{ACTOR}","",{{"step":"'
        || {key} || '"}},"' || {at} || '"]', 'UTF8')), 'hex')"""
    first, following = "'' AS before, 1 AS sequence", "hash AS before, sequence + 1 AS sequence"
    chain = f"""WITH RECURSIVE chain AS (
        SELECT *, {digest} AS hash FROM (SELECT run, ended, {first} FROM {runs}) AS first
        UNION ALL
        SELECT *, {digest} AS hash FROM (SELECT run, ended, {following} FROM chain WHERE sequence < {ENTRIES}) AS next
    )"""  # noqa: S608
    table, run = entry._meta.db_table, "onboarding_onboardingtransaction"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""{chain}, inserted AS (
                INSERT INTO {table} (transaction_id, sequence, name, actor, request_id, data, at, previous_hash, hash)
                SELECT run, sequence, '{NAME}', '{ACTOR}', '', jsonb_build_object('step', {key}), ended, before, hash
                FROM chain ORDER BY run, sequence
            )
            UPDATE {run} SET audit_sequence = sequence, audit_head = hash
            FROM chain WHERE run = id AND sequence = {ENTRIES}"""  # noqa: S608
        )


def _insert(model: Any, rows: str, /, **values: str) -> None:
    """Rows of a model from a FROM clause; ``values``: SQL by column. Every other column has the field's default."""
    from django.db import connection

    columns, expressions, defaults = [], [], []
    for field in model._meta.concrete_fields:
        if field.column in values:
            expressions.append(values.pop(field.column))
        elif field.primary_key and field.get_internal_type().endswith("AutoField"):
            continue
        else:
            expressions.append("%s")
            defaults.append(field.get_db_prep_save(field.get_default(), connection))
        columns.append(f'"{field.column}"')
    assert not values, f"{model} has no columns {list(values)}"
    escaped = [each if each == "%s" else each.replace("%", "%%") for each in expressions]
    table, rows = model._meta.db_table, rows.replace("%", "%%")
    with connection.cursor() as cursor:
        statement = f'INSERT INTO "{table}" ({", ".join(columns)}) SELECT {", ".join(escaped)} FROM {rows}'  # noqa: S608
        cursor.execute(statement, defaults)
        if "id" in [column.strip('"') for column in columns]:
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM \"{table}\"")  # noqa: S608


def _next(table: str) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f'SELECT coalesce(max(id), 0) + 1 FROM "{table}"')  # noqa: S608
        return int(cursor.fetchone()[0])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _body() -> str:
    """One for all: it holds nobody's data."""
    from integrations import crypto

    return crypto.encrypt("{}")


@contextmanager
def unchecked() -> Iterator[None]:
    """Foreign keys are right by construction, and checking each costs more than writing it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            cursor.execute("SET session_replication_role = DEFAULT")


def _connections() -> Connections:
    from integrations.models import Connection

    def of(system: str) -> int:
        if there := Connection.objects.filter(system=system).first():
            return there.pk
        provider = "stripe" if system == "billing" else "http"
        row, _ = Connection.objects.get_or_create(
            slug=f"past-{system}", defaults={"system": system, "provider": provider, "enabled": False}
        )
        return row.pk

    return Connections({system: of(system) for system in SYSTEMS}, of("billing"))


def _playbook() -> int:
    from onboarding.models import PinnedPlaybook

    pinned, _ = PinnedPlaybook.objects.get_or_create(
        content_hash="past", defaults={"name": "past", "version": "1", "definition": {}}
    )
    return pinned.pk


if __name__ == "__main__":
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    make_history(int(sys.argv[1]), newest=int(sys.argv[2]))
