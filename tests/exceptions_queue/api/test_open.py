"""What needs no key: health, the payload's schema, OpenAPI and its docs; and the audit command."""

import io
from functools import cache
from typing import Any

import jsonschema
import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from onboarding.api import health
from onboarding.engine import dispatch
from onboarding.models import OnboardingTransaction
from onboarding.payload.catalogue import FIELDS
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, TICKETS, Blocked
from tests.exceptions_queue.api.intake.test_malformed import problem


@pytest.fixture(autouse=True)
def nothing_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)


def test_healthz_needs_no_database(client: Client) -> None:
    response = client.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    problem(client.post("/healthz"), 405)


def test_readyz_reports_ready(client: Client, db: None) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "database": "ok",
        "migrations": "applied",
        "broker": "not used now; the scheduler does its work",
        "work": "taken",
    }


@pytest.fixture
def no_broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there, or the folder is gone; nothing was published that could have noticed."""
    settings.BROKER_PUBLISH = True
    monkeypatch.setattr(dispatch, "_paused_until", 0.0)
    if settings.REDIS_URL:
        monkeypatch.setattr(current_app.conf, "broker_url", "redis://127.0.0.1:1/0")
    else:
        monkeypatch.setitem(current_app.conf.broker_transport_options, "data_folder_out", "/nowhere/queue")


def test_readyz_asks_the_broker(client: Client, db: None, settings: Any) -> None:
    settings.BROKER_PUBLISH = True

    assert client.get("/readyz").json()["broker"] == "ok"


def test_readyz_is_ready_without_its_broker_and_names_the_fault(client: Client, db: None, no_broker: None) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["broker"].startswith("does not answer (")


def test_readyz_is_503_without_a_migration(client: Client, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'exceptions_queue'")

    assert problem(client.get("/readyz"), 503)["migrations"] == "not applied"


def test_readyz_is_503_without_its_database(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def cursor(self) -> None:
            raise OperationalError("password=hunter2")

    monkeypatch.setattr(health, "connection", Gone())

    response = client.get("/readyz")

    assert problem(response, 503)["database"] == "down"
    assert b"hunter2" not in response.content


# --- The payload's JSON Schema ----------------------------------------------------------------------------------------


def payload_schema(client: Client) -> dict[str, Any]:
    response = client.get("/api/v1/schema/onboarding.json")
    assert response["Content-Type"] == "application/schema+json"
    schema: dict[str, Any] = response.json()
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def test_payload_schema_accepts_what_the_call_accepts(client: Client, payload: Any) -> None:
    validator = jsonschema.Draft202012Validator(payload_schema(client))

    for body in (payload(), MINIMAL, {"onboarding_transaction_id": "a", "event_source": "b"}, {**MINIMAL, "other": 1}):
        validator.validate(body)
    for wrong in ({}, {**MINIMAL, "customer": 1}, {**MINIMAL, "commercial": {"amount": "12"}}):
        assert not validator.is_valid(wrong)


def test_payload_schema_marks_fields_required_before_provisioning(client: Client) -> None:
    schema = payload_schema(client)
    needed = set()
    for field in FIELDS:
        node: dict[str, Any] = schema
        for part in field.path.split("."):
            node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
            node = node["properties"][part]
        if node.get("x-required-before-provisioning"):
            needed.add(field.path)

    assert needed == {field.path for field in FIELDS if field.required}
    assert schema["required"] == ["onboarding_transaction_id", "event_source"]
    assert "kickoff.urgency" in schema["properties"]["kickoff"]["description"]


# --- OpenAPI ----------------------------------------------------------------------------------------------------------


@cache
def openapi() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return schema


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's ``nullable`` as JSON Schema says it."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: as_json_schema(value) for key, value in node.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def assert_documented(response: Any, path: str, method: str = "get") -> None:
    answers = openapi()["paths"][path][method]["responses"]
    content = answers[str(response.status_code)]["content"][response["Content-Type"]]
    schema = {**as_json_schema(content["schema"]), "components": as_json_schema(openapi()["components"])}
    jsonschema.Draft202012Validator(schema).validate(response.json())


def test_openapi_is_valid_and_complete() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


def test_openapi_lists_every_call_and_how_it_fails() -> None:
    calls = {(method, path) for path, item in openapi()["paths"].items() for method in item}

    assert {("post", RUNS), ("get", RUNS), ("get", TICKETS), ("get", f"{TICKETS}{{id}}/")} <= calls
    assert {
        ("post", f"{TICKETS}{{id}}/{name}/")
        for name in ("retry", "fix", "choose-match", "link-object", "assign", "note")
    } <= calls
    for item in openapi()["paths"].values():
        for call in item.values():
            assert {"400", "401", "403", "429"} <= set(call["responses"])
            assert call["security"] == [{"key": []}]


def test_answers_are_as_documented(operate: APIClient, blocked: Blocked, payload: Any) -> None:
    ticket = blocked(
        "pay_1", "ambiguous-match", candidates=[{"external_id": "1", "label": "A", "url": "", "evidence": {}}]
    )
    run, one, note = f"{RUNS}{{onboarding_transaction_id}}/", f"{TICKETS}{{id}}/", f"{TICKETS}{{id}}/note/"

    assert_documented(operate.get(RUNS), RUNS)
    assert_documented(operate.get(f"{RUNS}pay_1/"), run)
    assert_documented(operate.get(f"{RUNS}pay_x/"), run)
    assert_documented(operate.get(TICKETS), TICKETS)
    assert_documented(operate.get(f"{TICKETS}{ticket.pk}/"), one)
    assert_documented(operate.post(f"{TICKETS}{ticket.pk}/note/", {"text": "a"}, format="json"), note, "post")
    assert_documented(operate.post(f"{TICKETS}{ticket.pk}/note/", {}, format="json"), note, "post")
    assert_documented(
        operate.post(f"{TICKETS}{ticket.pk}/fix/", {"fields": {"a": 1}}, format="json"), f"{TICKETS}{{id}}/fix/", "post"
    )
    assert_documented(APIClient().get(RUNS), RUNS)
    for term, status in {"annual": 201, "monthly": 202, "": 202}.items():
        response = operate.post(RUNS, payload(commercial__term=term), format="json")
        assert response.status_code == status
        assert_documented(response, RUNS, "post")


def test_openapi_and_its_docs_are_served(client: Client) -> None:
    assert client.get("/api/schema/", headers={"Accept": "application/json"}).json()["openapi"].startswith("3.")
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert b"://" not in page.content.replace(b"http://www.w3.org", b"")  # nothing comes from elsewhere


# --- Audit ------------------------------------------------------------------------------------------------------------


def verify() -> str:
    out = io.StringIO()
    call_command("audit", "verify", stdout=out, stderr=out)
    return out.getvalue()


def test_an_untouched_trail_verifies(operate: APIClient) -> None:
    operate.post(RUNS, MINIMAL, format="json")

    assert "whole" in verify()


def test_a_trail_that_was_shortened_does_not(operate: APIClient) -> None:
    operate.post(RUNS, MINIMAL, format="json")
    OnboardingTransaction.objects.update(audit_sequence=99)

    with pytest.raises(CommandError, match="tampered"):
        verify()
