"""Records of calls go once they are older than CALL_RETENTION_DAYS, some at a time."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from exceptions_queue import scheduling
from integrations import clock
from integrations.http import retention
from integrations.models import ApiCall, Connection


@pytest.fixture
def calls(hubspot: Connection) -> None:
    ApiCall.objects.all().delete()
    now = clock.now()
    for days in (0, 9, 11, 12, 13):
        ApiCall.objects.create(
            connection=hubspot, method="GET", path=f"/{days}", duration_ms=1, at=now - timedelta(days=days)
        )


def left() -> set[str]:
    return set(ApiCall.objects.values_list("path", flat=True))


def test_old_calls_are_deleted_by_a_pass(calls: None, settings: Any) -> None:
    settings.CALL_RETENTION_DAYS = 10
    call_command("sweep")
    assert left() == {"/0", "/9"}


def test_without_the_setting_calls_are_kept(calls: None) -> None:
    call_command("sweep")
    assert len(left()) == 5


def test_they_are_deleted_some_at_a_time_the_oldest_first(
    calls: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CALL_RETENTION_DAYS = 10
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    assert retention.delete_old_calls(clock.now()) == 2
    assert left() == {"/0", "/9", "/11"}
    assert retention.delete_old_calls(clock.now()) == 1
    assert retention.delete_old_calls(clock.now()) == 0


def test_the_scheduler_deletes_all_that_are_old(calls: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CALL_RETENTION_DAYS = 10
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)
    scheduling._delete_old_calls(threading.Event())
    assert left() == {"/0", "/9"}
