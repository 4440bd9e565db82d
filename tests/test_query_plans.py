"""No query that the product issues all the time costs more the more onboardings are finished.

The statements are those that it really sends. PostgreSQL runs each again under EXPLAIN ANALYZE, on top of a history: what
looks at more rows than are under way, or scans a table that grows, is found by its plan and not by a clock.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from exceptions_queue import alerts, sla
from integrations import admin, clock
from integrations.models import ApiCall, InboundEvent
from onboarding.api import pagination
from onboarding.engine import run as engine
from onboarding.engine import sweep
from onboarding.intake import unmatched
from onboarding.models import OnboardingTransaction
from tests.engine.conftest import Accept, accept, customer  # noqa: F401  (a fixture)
from tests.history import make_history, unchecked

RUNS, NEWEST = 10_000, 300
GROWS = 1_500
"""Rows from which on a table is one that grows with history."""
PASSES, PASS = 12, timedelta(seconds=10)
MOST_READ = 1_100
"""Rows that one part of a plan may look at."""

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="the plans are PostgreSQL's")


@pytest.fixture
def history(transactional_db: None) -> Iterator[None]:
    make_history(RUNS, newest=NEWEST)
    yield
    with unchecked(), connection.cursor() as cursor:
        cursor.execute(
            f"TRUNCATE {OnboardingTransaction._meta.db_table}, {InboundEvent._meta.db_table}, {ApiCall._meta.db_table} CASCADE"
        )


class Plans:
    """The statements of what the product did in a ``with``, and what is wrong with their plans."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.explained: set[str] = set()
        with connection.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s", [GROWS])
            self.growing = {name for (name,) in cursor.fetchall()}

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        with CaptureQueriesContext(connection) as done:
            yield
        for sql in {query["sql"] for query in done.captured_queries}:
            self._look_at(what, sql)

    def _look_at(self, what: str, sql: str) -> None:
        shape = re.sub(r"'[^']*'|\d+", "?", sql)
        if not sql.startswith(("SELECT", "UPDATE", "DELETE")) or shape in self.explained:
            return
        self.explained.add(shape)
        with transaction.atomic(), connection.cursor() as cursor:
            # What was written once cannot always be written again.
            analyze = "ANALYZE, TIMING OFF, " if sql.startswith("SELECT") else ""
            cursor.execute(f"EXPLAIN ({analyze}FORMAT JSON) {sql}")
            answer = cursor.fetchone()[0]
            transaction.set_rollback(True)
        plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
        for node in _nodes(plan):
            if node.get("Relation Name") in self.growing and (fault := _fault(node)):
                self.wrong.append(f"{what}: {fault}\n  {sql}")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _fault(node: dict[str, Any]) -> str:
    loops = node.get("Actual Loops", 1)
    read = sum(node.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    read *= loops
    if node["Node Type"] == "Seq Scan" and loops:
        return f"scans {node['Relation Name']}"
    return f"{node['Node Type']} reads {read:.0f} of {node['Relation Name']}" if read > MOST_READ else ""


@pytest.mark.usefixtures("history", "whole_playbook", "connections", "smtp")
def test_what_is_done_all_the_time_does_not_cost_more_with_history(
    accept: Accept,
    people: dict[str, User],
    api_key: Any,  # noqa: F811
) -> None:
    for module, name in ((pagination, "COUNT_CAP"), (admin, "COUNTED")):
        monkeypatch.setattr(module, name, 100)  # of this small history as 10,000 of a large one
    plans = Plans()
    with plans.of("intake"):
        run = accept()
    for number in range(5):
        accept(**customer(f"live{number}"))
    for name in ("sweep", "again"):
        with plans.of(name):
            sweep.sweep()
        with plans.of(name):
            sla.tick()
            unmatched.expire_due(clock.now())
            alerts.deliver()
    for _ in range(PASSES):
        clock.shift(PASS)
        with plans.of("sweep"):
            steps = sweep.sweep().steps
        for pk in steps:
            with plans.of("step"):
                engine.run_step(pk)
    with plans.of("sweep"):
        sweep.sweep()
        sla.tick()
    for who in ("admin", "sales"):
        browser = Client()
        browser.force_login(people[who])
        for path in (
            "/admin/",
            "/admin/exceptions_queue/ticket/",
            "/admin/exceptions_queue/ticket/?status=resolved&queue=all",
            "/admin/exceptions_queue/ticket/live/",
            "/admin/onboarding/onboardingtransaction/",
            "/admin/onboarding/onboardingtransaction/?sla=late",
            "/admin/onboarding/onboardingtransaction/?blocked=yes",
            f"/admin/onboarding/onboardingtransaction/{run.pk}/change/",
            f"/admin/onboarding/onboardingtransaction/{run.pk}/live/",
            "/admin/integrations/connection/",
        ):
            with plans.of(path):
                answer = browser.get(path)
            assert answer.status_code in (200, 403), path
    rest = APIClient(headers={"Authorization": f"Bearer {api_key('operate')}"})
    for path in (
        "/api/v1/onboardings/",
        "/api/v1/onboardings/?page=3",
        "/api/v1/exceptions/",
        "/api/v1/exceptions/?status=open",
        f"/api/v1/onboardings/{run}/",
        "/healthz",
        "/readyz",
    ):
        with plans.of(path):
            answer = rest.get(path)
        assert answer.status_code == 200, path
    print(len(plans.explained), sorted(plans.growing))
    assert not plans.wrong, "\n\n".join(plans.wrong)
