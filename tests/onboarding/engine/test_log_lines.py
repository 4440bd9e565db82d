"""A log line says which run and which request it is about."""

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from integrations.models import Connection
from onboarding.api.authentication import new_key
from onboarding.enums import Scope
from onboarding.models import OnboardingTransaction


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """``lines("crm.account")``: what the configured handler wrote so far that holds this text."""
    written = io.StringIO()
    [configured] = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    # Not ``setStream``, which flushes the stream before: that of an earlier test may be closed.
    monkeypatch.setattr(configured, "stream", written)
    caplog.set_level(logging.INFO)
    return lambda text: [line for line in written.getvalue().splitlines() if text in line]


def post(payload: Callable[..., dict[str, Any]], **headers: str) -> OnboardingTransaction:
    key, _ = new_key("tests", Scope.OPERATE)
    given = {"Authorization": f"Bearer {key}", **headers}
    answer = Client(headers=given).post("/api/v1/onboardings/", payload(), content_type="application/json")
    assert answer.status_code == 201
    return OnboardingTransaction.objects.get()


def test_a_call_to_a_vendor_is_logged_with_its_run(
    payload: Callable[..., dict[str, Any]],
    connections: dict[str, Connection],
    drain: Callable[..., int],
    lines: Callable[[str], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = post(payload)
    with caplog.at_level(logging.DEBUG, "integrations.http.recording"):  # as with LOG_CALLS=1
        drain()

    calls = lines("hubspot POST")
    assert calls
    assert all(line.endswith(f" [run={run.pk}]") for line in calls)
    logging.getLogger("onboarding").info("Something else.")
    assert lines("Something else.")[0].endswith("Something else.")


def test_what_a_request_logs_carries_its_id(client: Client, lines: Callable[[str], list[str]]) -> None:
    client.get("/api/v1/nothing/", headers={"X-Request-ID": "seen-by-the-proxy"})

    assert [line.endswith(" [request=seen-by-the-proxy]") for line in lines("/api/v1/nothing/")] == [True]
