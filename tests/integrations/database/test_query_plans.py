"""No query that the product issues all the time costs more the more onboardings are finished.

The statements are those that it really sends. PostgreSQL runs each again under EXPLAIN ANALYZE, on top of a history: what
looks at more rows than are under way, or scans a table that grows, is found by its plan and not by a clock.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import UniqueConstraint
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from exceptions_queue import scheduling
from exceptions_queue.admin.runs import run_admin
from integrations import admin, clock
from integrations.database import compiled_queries
from integrations.models import ApiCall, Connection, InboundEvent
from integrations.signals import event_recovered
from onboarding.api import pagination
from onboarding.audit.verification import Verification
from onboarding.engine import execution as engine
from onboarding.engine.periodic import sweep
from onboarding.engine.periodic.health import stall_reason
from onboarding.intake import events
from onboarding.models import ImplementationOwner, OnboardingTransaction
from onboarding.services.runs import rollback
from tests.conftest import Payload
from tests.onboarding.conftest import Accept, accept, customer  # noqa: F401  (a fixture)
from tests.support.history import ENTRIES, make_history, unchecked
from tests.support.stripe_events import bought, connect, store

RUNS, NEWEST = 6_000, 300
GROWS = 1_000
"""Rows from which on a table is one that grows with history."""
MOST_READ = 400
"""Rows that one part of a plan may look at."""
READ = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
PASSES, PASS = 12, timedelta(seconds=10)
QUEUE_PAGE, RUNS_PAGE = "/admin/exceptions_queue/ticket/", "/admin/onboarding/onboardingtransaction/"
PAGES = (
    "/admin/",
    QUEUE_PAGE,
    f"{QUEUE_PAGE}?status=resolved&queue=all",
    f"{QUEUE_PAGE}live/",
    RUNS_PAGE,
    f"{RUNS_PAGE}?sla=late",
    f"{RUNS_PAGE}?blocked=yes",
)
CONNECTIONS = "/admin/integrations/connection/"
API = "/api/v1/onboardings/"
LISTS = (
    API,
    f"{API}?page=3",
    f"{API}?blocked=true",
    "/api/v1/exceptions/",
    "/api/v1/exceptions/?status=open",
    "/readyz",
)
INDEXES = {
    "step_waits_on": "onboarding_step",
    "step_unfinished": "onboarding_step",
    "step_poll_due": "onboarding_steppoll",
    "intent_indeterminate": "onboarding_intent",
    "reservation_object": "onboarding_reservation",
    "inbound_event_failed": "integrations_inboundevent",
    "inbound_event_processed": "integrations_inboundevent",
    "ticket_by_due": "exceptions_queue_ticket",
    "clock_not_ended": "exceptions_queue_slaclock",
}
"""Each with its table: without it something costs more with history."""
Node = dict[str, Any]


@pytest.fixture
def history(connections: dict[str, Connection], smtp: Connection) -> Iterator[None]:
    make_history(RUNS, newest=NEWEST)
    yield
    with unchecked(), connection.cursor() as cursor:
        cursor.execute(
            f"TRUNCATE {OnboardingTransaction._meta.db_table}, {InboundEvent._meta.db_table}, {ApiCall._meta.db_table} CASCADE"
        )


class Plans:
    """The statements of what the product did in a ``with``, and what is wrong with their plans."""

    def __init__(self) -> None:
        self.statements: dict[str, tuple[str, str]] = {}
        """What it was issued by and the statement, by its shape: without ids and times, but with words such as a kind."""
        self.prepared: dict[str, tuple[str, str, list[str | None]]] = {}
        """What it was issued by, a prepared statement and its values, by its text."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s", [GROWS])
            self.growing = {name for (name,) in cursor.fetchall()}

    @contextmanager
    def prepared_of(self, what: str) -> Iterator[None]:
        """Only what is sent as a prepared statement: as it is where Django records no statements."""

        def watching(base: type[psycopg.RawCursor[Any]]) -> type[psycopg.RawCursor[Any]]:
            class Watching(base):  # type: ignore[valid-type,misc]
                def execute(cursor, query: Any, params: Any = None, **options: Any) -> Any:  # noqa: N805
                    text = query if isinstance(query, str) else query.decode()
                    self.prepared.setdefault(text, (what, text, params))
                    return super().execute(query, params, **options)

            return Watching

        prepared = watching(compiled_queries.PreparedCursor)
        with (
            mock.patch.object(psycopg, "RawCursor", watching(psycopg.RawCursor)),
            mock.patch.object(compiled_queries, "PreparedCursor", prepared),
        ):
            yield

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        with self.prepared_of(what), CaptureQueriesContext(connection) as done:
            yield
        for query in done.captured_queries:
            if (sql := query["sql"] or "").startswith(("SELECT", "UPDATE", "DELETE")):
                self.statements.setdefault(re.sub(r"'[^']*\d[^']*'|\d+", "?", sql), (what, sql))

    def wrong(self, *, about: str = "") -> list[str]:
        """``about``: a table that the statements name."""
        found = []
        for what, sql in self.statements.values():
            if about in sql:
                found += [f"{what}: {fault}\n  {sql}" for fault in map(self._fault, _plan(sql)) if fault]
        return found

    def wrong_when_prepared(self) -> list[str]:
        """As planned once, for whatever values come."""
        found = []
        for what, sql, values in self.prepared.values():
            found += [f"{what}: {fault}\n  {sql}" for fault in map(self._fault, _generic_plan(sql, values)) if fault]
        return found

    def _fault(self, node: Node) -> str:
        table = node.get("Relation Name")
        if table not in self.growing:
            return ""
        if "Actual Loops" not in node:
            return f"scans {table}" if node["Node Type"] == "Seq Scan" else ""
        # A scan may be the cheapest way to the first rows that come: it is no fault where it stops there.
        read = node["Actual Loops"] * sum(node.get(name, 0) for name in READ)
        return f"{node['Node Type']} reads {read:.0f} of {table}" if read > MOST_READ else ""


def _plan(sql: str) -> Iterator[Node]:
    with transaction.atomic(), connection.cursor() as cursor:
        # What was written once cannot always be written again.
        analyze = "ANALYZE, TIMING OFF, " if sql.startswith("SELECT") else ""
        cursor.execute(f"EXPLAIN ({analyze}FORMAT JSON) {sql}")
        answer = cursor.fetchone()[0]
        transaction.set_rollback(True)
    yield from _nodes((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"])


def _generic_plan(sql: str, values: list[str | None]) -> Iterator[Node]:
    with transaction.atomic(), psycopg.ClientCursor(connection.connection) as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE planned AS {sql}".replace("%", "%%"))
        given = f"({', '.join(['%s'] * len(values))})" if values else ""
        analyze = "ANALYZE, TIMING OFF, " if sql.startswith("SELECT") else ""
        cursor.execute(f"EXPLAIN ({analyze}FORMAT JSON) EXECUTE planned{given}", values)
        answer = cursor.fetchone()
        cursor.execute("DEALLOCATE planned")
        transaction.set_rollback(True)
    assert answer
    yield from _nodes((json.loads(answer[0]) if isinstance(answer[0], str) else answer[0])[0]["Plan"])


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _work(plans: Plans) -> None:
    for _ in range(PASSES):
        clock.shift(PASS)
        with plans.of("sweep"):
            due = sweep.sweep()
        for pk in due.events:
            with plans.of("an event of a payment"):
                events.process_event(pk)
        for pk in due.steps:
            with plans.of("step"):
                engine.run_step(pk)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the plans are PostgreSQL's")
@pytest.mark.usefixtures("history", "whole_playbook")
def test_hot_queries_do_not_slow_down_with_history(
    accept: Accept,  # noqa: F811
    payload: Payload,
    people: dict[str, User],
    api_key: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, name in ((pagination, "COUNT_CAP"), (admin, "COUNTED"), (run_admin, "NEWEST")):
        monkeypatch.setattr(module, name, 100)  # of this small history as 10,000 of a large one
    ImplementationOwner.objects.create(external_id="u_1", name="Ida")
    plans = Plans()
    rest = APIClient(headers={"Authorization": f"Bearer {api_key('operate')}"})
    with plans.of("intake"):
        taken = rest.post(API, payload(ownership__implementation_owner_id=None), format="json")
    assert taken.status_code == HTTPStatus.CREATED
    with plans.prepared_of("intake"):
        for code in (HTTPStatus.CREATED, HTTPStatus.OK):
            again = rest.post(API, payload(onboarding_transaction_id="pay_prepared"), format="json")
            assert again.status_code == code
    connect()
    for event in (payment := bought(linked=False)).session(), payment.invoice(), payment.intent(), payment.refund():
        stored = store(event)
        with plans.of("an event of a payment"):
            events.process_event(stored.pk)
    live = [accept(**customer(f"live{number}")) for number in range(3)]
    accept(onboarding_transaction_id="pay_again")  # of the same customer: it waits for the reservation
    clock.shift(timedelta(seconds=settings.READY_LAG_SECONDS + 1))
    with plans.of("health"):
        assert stall_reason()
    _work(plans)
    with plans.of("rollback"):
        rollback(live[0].pk, actor="lead", reason="refund")
    for _ in range(PASSES):
        clock.shift(PASS)
        for pk in sweep.sweep().steps:
            with plans.of("rollback"):
                engine.run_step(pk)
    with plans.of("scheduler"):
        scheduling.one_pass(publish=False)
    with plans.of("an event that failed before"):
        event_recovered.send(InboundEvent, event=InboundEvent.objects.earliest("pk"))
    run = OnboardingTransaction.objects.get(onboarding_transaction_id="pay_again")
    for who in ("admin", "sales"):
        browser = Client()
        browser.force_login(people[who])
        for path in [
            *PAGES,
            *([CONNECTIONS] if who == "admin" else []),
            f"{RUNS_PAGE}{run.pk}/change/",
            f"{RUNS_PAGE}{run.pk}/live/",
        ]:
            with plans.of(path):
                assert browser.get(path).status_code == HTTPStatus.OK
    for path in [*LISTS, f"{API}{run}/"]:
        with plans.of(path):
            answer = rest.get(path)
            assert answer.status_code == HTTPStatus.OK, (answer.content, stall_reason())
    assert not (wrong := plans.wrong()), "\n\n".join(wrong)
    assert any("exceptions_queue_ticket" in text for text in plans.prepared)
    assert not (wrong := plans.wrong_when_prepared()), "\n\n".join(wrong)
    for name, table in INDEXES.items():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {name}")
            assert plans.wrong(about=table), f"Nothing needs the index {name}."
            transaction.set_rollback(True)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="it is made inside PostgreSQL")
@pytest.mark.usefixtures("history")
def test_the_audit_trail_of_a_generated_history_verifies() -> None:
    verification = Verification()
    assert list(verification.findings()) == []
    assert (verification.runs, verification.entries) == (RUNS, NEWEST * ENTRIES)
    assert verification.anchors > 1


def test_no_index_repeats_the_beginning_of_another() -> None:
    """Each write pays for both of them."""
    for model in apps.get_models():
        if model.__module__.startswith(("integrations", "onboarding", "exceptions_queue")):
            fields = model._meta.concrete_fields
            unique = [each for each in model._meta.constraints if isinstance(each, UniqueConstraint)]
            whole = [tuple(each.fields) for each in (*unique, *model._meta.indexes) if each.condition is None]
            single = [(field.name,) for field in fields if field.db_index and not field.unique]
            for one in (*single, *(tuple(each.fields) for each in model._meta.indexes if each.condition is None)):
                longer = [other for other in whole if other != one and other[: len(one)] == one]
                assert not longer, f"{model.__name__}: {one} is the beginning of {longer}"
