"""A database that is busy, away or restarting: 503 with Retry-After at every machine's door, and no traceback in the log."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import close_old_connections, connection
from django.test import Client

from integrations import clock
from integrations.connections.services import set_connection
from integrations.models import InboundEvent
from integrations.vendors.stripe.sample_events import Payment, encode, sign
from onboarding.api.authentication import new_key
from onboarding.enums import Scope
from onboarding.models import OnboardingTransaction
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, TICKETS
from tests.exceptions_queue.api.intake.test_malformed import problem

SECRET = "whsec_tests"
WRITTEN = (InboundEvent._meta.db_table, OnboardingTransaction._meta.db_table)
Send = Callable[[], Any]


@pytest.fixture
def doors(transactional_db: None) -> dict[str, Send]:
    """What machines send to which door. The database is asked before and after, never in between."""
    set_connection("stripe", system="billing", provider="stripe", secrets={"webhook_secret": [SECRET]}, actor="tests")
    event = encode(Payment(created=int(clock.now().timestamp())).session())
    signed = {"Stripe-Signature": sign(event, SECRET, int(clock.now().timestamp()))}
    key, _ = new_key("tests", Scope.OPERATE)
    headers = {"Authorization": f"Bearer {key}"}
    client = Client(raise_request_exception=False)
    return {
        "webhook": lambda: client.post("/webhooks/stripe/", event, content_type="application/json", headers=signed),
        "intake": lambda: client.post(RUNS, json.dumps(MINIMAL), content_type="application/json", headers=headers),
        "list": lambda: client.get(TICKETS, headers=headers),
        "readyz": lambda: client.get("/readyz"),
    }


@pytest.fixture
def away(doors: dict[str, Send]) -> Iterator[None]:
    """Nobody answers where the database was."""
    known = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= (
        {"NAME": "/nowhere/db"} if connection.vendor == "sqlite" else {"HOST": "127.0.0.1", "PORT": "1"}
    )
    yield
    connection.close()
    connection.settings_dict |= known


@pytest.fixture
def busy(doors: dict[str, Send], settings: Any) -> Iterator[None]:
    """Somebody else holds what is to be written, for longer than we wait."""
    settings.DB_BUSY_SECONDS = 0.02
    if connection.vendor == "sqlite":
        other: Any = sqlite3.connect(connection.settings_dict["NAME"])
        other.execute("BEGIN IMMEDIATE")
        patience = as_before = "SELECT 1"  # it looks at the setting
    else:
        other = psycopg.connect(
            **{**connection.get_connection_params(), "cursor_factory": psycopg.Cursor, "context": None}
        )
        other.execute(f"LOCK TABLE {', '.join(WRITTEN)} IN ACCESS EXCLUSIVE MODE")
        patience, as_before = "SET lock_timeout = 20", "RESET lock_timeout"
    with connection.cursor() as cursor:
        cursor.execute(patience)
    yield
    other.rollback()
    other.close()
    with connection.cursor() as cursor:
        cursor.execute(as_before)


def assert_try_again(answer: Any, log: pytest.LogCaptureFixture) -> None:
    problem(answer, 503)
    assert int(answer["Retry-After"]) > 0
    assert [each for each in log.records if each.exc_info] == []
    assert "database" in log.text


@pytest.mark.parametrize("door", ["webhook", "intake", "list", "readyz"])
def test_api_answers_503_with_retry_after_while_the_database_is_down(
    doors: dict[str, Send], away: None, caplog: pytest.LogCaptureFixture, door: str
) -> None:
    assert_try_again(doors[door](), caplog)


@pytest.mark.parametrize("door", ["webhook", "intake"])
def test_api_answers_503_with_retry_after_while_the_database_is_busy(
    doors: dict[str, Send], busy: None, caplog: pytest.LogCaptureFixture, door: str
) -> None:
    assert_try_again(doors[door](), caplog)


def test_request_refused_while_busy_succeeds_when_sent_again(
    doors: dict[str, Send], request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    known = dict(connection.settings_dict)
    request.getfixturevalue("away")
    assert doors["webhook"]().status_code == 503
    connection.close()
    connection.settings_dict |= known

    assert doors["webhook"]().json() == {"status": "accepted"}
    assert doors["webhook"]().json() == {"status": "duplicate"}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that could end a session")
def test_a_session_that_the_server_ended_costs_one_503_at_most(
    doors: dict[str, Send], caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with psycopg.connect(
        **{**connection.get_connection_params(), "cursor_factory": psycopg.Cursor, "context": None}
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])

    assert doors["webhook"]().status_code == 503
    close_old_connections()  # as before and after each request of a server; the test client leaves it out
    assert doors["webhook"]().status_code == 200
    assert [each for each in caplog.records if each.exc_info] == []


def test_browser_gets_an_unavailable_page(
    doors: dict[str, Send], people: dict[str, User], request: pytest.FixtureRequest
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(people["lead"])
    request.getfixturevalue("away")

    answer = client.get("/admin/")

    assert answer.status_code == 503
    assert "The database is busy." in answer.content.decode()
