"""People see a finished run's story as before, and where it stands now."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from exceptions_queue.admin.runs.page import context
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.archive import files
from onboarding.enums import RunEventType
from onboarding.models import ArchiveBatch, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import text
from tests.onboarding.archive.conftest import LONG, Finished, archive
from tests.onboarding.conftest import Accept, customer


@pytest.fixture
def lead(people: dict[str, User]) -> Client:
    client = Client()
    client.force_login(people["lead"])
    return client


def page(client: Client, run: OnboardingTransaction) -> str:
    return text(client.get(f"/admin/onboarding/onboardingtransaction/{run.pk}/change/"))


def shown(run: OnboardingTransaction, user: User) -> dict[str, Any]:
    """What a run's page is made of."""
    made = context(OnboardingTransaction.objects.get(pk=run.pk), user)
    sections = [
        ([(attempt.pk, outcome) for attempt, outcome in each.attempts], [call.pk for call in each.calls])
        for each in made["sections"]
    ]
    return {
        "story": made["story"],
        "calls": [each["call"].pk for each in made["calls"]],
        "sections": sections,
        "facts": made["facts"],
        "banners": made["banners"],
        "rows": [(row.step.key, row.left, row.note) for row in made["rows"]],
    }


def test_an_archived_run_is_shown_as_before(old: OnboardingTransaction, people: dict[str, User], lead: Client) -> None:
    before = shown(old, people["admin"])
    archive()
    assert shown(old, people["admin"]) == before
    batch = ArchiveBatch.objects.get()
    assert f"Archived on {batch.written_at:%Y-%m-%d}, and shown from there: {batch.entries} entries" in page(lead, old)
    assert batch.trail_file in page(lead, old)


def test_a_rolled_back_run_is_shown_as_before(finished: Finished, people: dict[str, User], drain: Drain) -> None:
    run = finished()
    services.rollback(run.pk, actor="lead", reason="test")
    drain()
    clock.shift(LONG)
    before = shown(run, people["admin"])
    archive()
    assert shown(run, people["admin"]) == before
    assert any("lead" in banner["text"].lower() for banner in before["banners"])


def test_later_entries_follow_the_archived_ones(old: OnboardingTransaction, lead: Client) -> None:
    archive()
    services.receive_event(
        old.pk, kind=RunEventType.PAYMENT_REFUNDED, event_id="e", occurred_at=clock.now(), data={}, actor="tests"
    )
    shown_now = page(lead, old)
    assert shown_now.index("The payment was received") < shown_now.index("Another system reported an event")


def test_a_page_says_what_it_cannot_show(old: OnboardingTransaction, lead: Client, folder: Path) -> None:
    archive()
    batch = ArchiveBatch.objects.get()
    files.path_of(batch.trail_file).unlink()
    said = page(lead, old)
    assert (
        f"{batch.entries} earlier entries, {batch.attempts} attempts and {batch.calls} calls are missing here." in said
    )
    assert f"cannot be read: {batch.trail_file} is missing in {folder}." in said
    assert "Nothing yet." not in said[said.index("missing here") :]


def test_a_tickets_page_shows_its_archived_attempts(
    accept: Accept, drain: Drain, sandbox: SandboxControl, finished: Finished, people: dict[str, User]
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/objects/contacts", status=400, count=1)
    run = accept(**customer("acme"))
    drain()
    ticket = Ticket.objects.get(transaction=run, status="open")
    services.retry_step(ticket.step_id, actor="kim")
    drain()
    clock.shift(LONG)
    client = Client()
    client.force_login(people["admin"])
    before = text(client.get(f"/admin/exceptions_queue/ticket/{ticket.pk}/change/"))
    assert "Moved 1 runs" in archive()
    after = text(client.get(f"/admin/exceptions_queue/ticket/{ticket.pk}/change/"))
    for part in ("Attempts 2", "The ticket was resolved", "POST /crm/v3/objects/contacts"):
        assert part in before
        assert part in after


def test_rest_says_what_is_archived(old: OnboardingTransaction, api_key: Any) -> None:
    client = APIClient(headers={"Authorization": f"Bearer {api_key('read')}"})
    assert client.get(f"/api/v1/onboardings/{old}/").json()["archived"] == []
    archive()
    batch, part = ArchiveBatch.objects.get(), old.archived.get()
    (told,) = client.get(f"/api/v1/onboardings/{old}/").json()["archived"]
    assert told.pop("archived_at")[:10] == f"{batch.written_at:%Y-%m-%d}"
    assert told == {
        "first_sequence": 1,
        "last_sequence": part.last_sequence,
        "entries": batch.entries,
        "attempts": batch.attempts,
        "calls": batch.calls,
        "file": batch.trail_file,
        "calls_file": batch.calls_file,
    }


def test_deleted_calls_are_reported(old: OnboardingTransaction, lead: Client, api_key: Any, settings: Any) -> None:
    archive()
    settings.CALL_RETENTION_DAYS = 100
    archive()
    assert f"calls (deleted on {clock.now():%Y-%m-%d})" in page(lead, old)
    client = APIClient(headers={"Authorization": f"Bearer {api_key('read')}"})
    assert client.get(f"/api/v1/onboardings/{old}/").json()["archived"][0]["calls_file"] is None
