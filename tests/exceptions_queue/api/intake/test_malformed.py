"""What is refused, and that it is refused as a problem document (RFC 9457)."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from onboarding.api.throttling import PerKeyThrottle
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, TICKETS


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert {"type", "title", "status", "detail"} <= set(body)
    assert body["status"] == status
    return body


def errors(response: Any) -> dict[str, str]:
    return {error["path"]: error["detail"] for error in problem(response, 400)["errors"]}


def send(client: APIClient, raw: bytes, content_type: str = "application/json") -> Any:
    return client.generic("POST", RUNS, raw, content_type=content_type)


@pytest.mark.parametrize("name", ["onboarding_transaction_id", "event_source"])
@pytest.mark.parametrize("value", [None, "", "  ", 5, [], {"a": 1}, "x" * 300])
def test_an_onboarding_needs_an_id_and_a_source(intake: APIClient, name: str, value: Any) -> None:
    body = {**MINIMAL, name: value}

    assert name in errors(intake.post(RUNS, body, format="json"))


@pytest.mark.parametrize("run_id", ["…", "a b", "a/b", "-a", "a\n"])
def test_an_id_holds_no_other_characters(intake: APIClient, run_id: str) -> None:
    assert list(errors(intake.post(RUNS, {**MINIMAL, "onboarding_transaction_id": run_id}, format="json"))) == [
        "onboarding_transaction_id"
    ]


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"customer": "Acme"}, "customer"),
        ({"customer": {"legal_name": 5}}, "customer.legal_name"),
        ({"customer": {"no_domain": "yes"}}, "customer.no_domain"),
        ({"commercial": {"amount": "12"}}, "commercial.amount"),
        ({"commercial": {"amount": -1}}, "commercial.amount"),
        ({"users": [{"email": []}]}, "users.0.email"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-11-22T10:00:00"}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-23:59"}, "occurred_at"),
        ({"handover": []}, "handover"),
    ],
)
def test_a_wrong_type_is_named_by_its_path(intake: APIClient, part: dict[str, Any], path: str) -> None:
    assert list(errors(intake.post(RUNS, {**MINIMAL, **part}, format="json"))) == [path]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1' + b"0" * 30 + b"}",
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a": "x\\u0000y"}',
        b'{"x\\u0000y": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": ["\\udfff"]}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' * 32 + b"{}" + b"}" * 32,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 500_000,
    ],
)
def test_unstorable_json_is_malformed(intake: APIClient, raw: bytes) -> None:
    problem(send(intake, raw), 400)


def test_json_nested_32_levels_is_accepted(intake: APIClient) -> None:
    deep: Any = 1
    for _ in range(31):
        deep = {"a": deep}

    assert intake.post(RUNS, {**MINIMAL, "extra": deep["a"]}, format="json").status_code == 201
    problem(intake.post(RUNS, {**MINIMAL, "extra": {"a": {"a": deep}}}, format="json"), 400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""])
def test_a_body_is_json_only(intake: APIClient, content_type: str) -> None:
    problem(send(intake, json.dumps(MINIMAL).encode(), content_type), 415)


def test_a_body_over_one_mebibyte_is_too_large(intake: APIClient) -> None:
    raw = json.dumps({**MINIMAL, "extra": "x" * 1024 * 1024}).encode()

    assert "1048576" in problem(send(intake, raw), 413)["detail"]


def chunked(client: APIClient, raw: bytes, **environ: Any) -> Any:
    """A request without Content-Length, as gunicorn hands on a chunked one."""
    stream = {"wsgi.input": BytesIO(raw), "HTTP_TRANSFER_ENCODING": "chunked"}
    ended = {"wsgi.input_terminated": True, **environ}
    return client.generic("POST", RUNS, content_type="application/json", **stream | ended)


def test_a_chunked_body_is_read(intake: APIClient) -> None:
    assert chunked(intake, json.dumps(MINIMAL).encode()).status_code == 201


def test_a_chunked_body_is_read_no_further_than_the_limit(intake: APIClient) -> None:
    problem(chunked(intake, b" " * (1024 * 1024 + 1)), 413)


def test_chunked_body_without_known_end_is_refused(intake: APIClient) -> None:
    problem(chunked(intake, b"{}", **{"wsgi.input_terminated": False}), 411)


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v1/nothing/", "/api/v2/onboardings/", "/webhooks/a/b/c"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_unknown_paths_are_not_found(operate: APIClient, path: str, method: str) -> None:
    problem(getattr(operate, method)(path), 404)


def test_a_path_without_its_slash_says_so(operate: APIClient) -> None:
    assert "slash" in problem(operate.post("/api/v1/onboardings", MINIMAL, format="json"), 404)["detail"]


@pytest.mark.parametrize(
    "path", [f"{RUNS}nobody/", f"{TICKETS}999/", f"{TICKETS}{10**17}/", f"{TICKETS}{10**40}/", f"{RUNS}a%00b/"]
)
def test_unknown_names_are_not_found(operate: APIClient, path: str) -> None:
    problem(operate.get(path), 404)


@pytest.mark.parametrize("name", ["postpone", "RETRY"])
def test_actions_that_do_not_exist_are_not_found(operate: APIClient, name: str) -> None:
    problem(operate.post(f"{TICKETS}1/{name}/", {}, format="json"), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("delete", RUNS), ("put", TICKETS), ("patch", f"{RUNS}a/"), ("get", f"{TICKETS}1/retry/"), ("options", RUNS)],
)
def test_other_methods_are_not_allowed(operate: APIClient, method: str, path: str) -> None:
    response = getattr(operate, method)(path)

    problem(response, 405)
    assert response["Allow"]


def test_throttled_requests_get_retry_after(read: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PerKeyThrottle, "THROTTLE_RATES", {"key": "2/min"})
    assert [read.get(RUNS).status_code for _ in range(2)] == [200, 200]

    response = read.get(RUNS)

    problem(response, 429)
    assert 1 <= int(response["Retry-After"]) <= 60


def test_each_key_has_its_own_rate(caller: Callable[[str], APIClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PerKeyThrottle, "THROTTLE_RATES", {"key": "1/min"})

    assert [caller("read").get(RUNS).status_code for _ in range(2)] == [200, 200]


def test_a_wrong_host_is_a_problem_too(read: APIClient) -> None:
    problem(read.get(RUNS, headers={"Host": "elsewhere.example"}), 400)


def test_unexpected_error_is_a_problem_document(read: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("exceptions_queue.api.onboardings.is_blocked", broken)
    read.raise_request_exception = False

    assert "secret" not in problem(read.get(RUNS), 500)["detail"]


def test_pages_for_people_keep_their_own_errors(rf: RequestFactory) -> None:
    from onboarding.api.problems import server_error

    assert server_error(rf.get("/admin/"))["Content-Type"].startswith("text/html")


texts = st.text(max_size=8) | st.sampled_from(
    ["", "TBD", "a@a.com", "jo@birch.io", "birch.io", "2026-12-01", "\x00", "\ud800"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
parts = st.dictionaries(
    st.sampled_from(
        ["legal_name", "domain", "primary_contact", "amount", "lines", "no_domain", "start_date", "urgency", "x"]
    ),
    values,
    max_size=4,
)
bodies = st.fixed_dictionaries(
    {
        "onboarding_transaction_id": st.sampled_from(["pay_1", "pay_2", "é", ""]) | values,
        "event_source": st.just("billing") | values,
    },
    optional=dict.fromkeys(
        ("customer", "commercial", "kickoff", "handover", "users", "occurred_at", "y"), parts | values
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_no_generated_body_causes_a_server_error(intake: APIClient, body: dict[str, Any]) -> None:
    response = send(intake, json.dumps(body).encode())

    assert response.status_code in (200, 201, 202, 400)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60))
def test_no_generated_bytes_cause_a_server_error(intake: APIClient, raw: bytes) -> None:
    problem(send(intake, raw), 400)
