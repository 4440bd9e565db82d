"""Each query that is compiled once a process gives the rows of the queryset that it was made from."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from exceptions_queue.api import run_parts
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.database.compiled_queries import Compiled
from integrations.models import Connection
from onboarding.api import authentication
from onboarding.enums import Scope
from onboarding.ids import comparable
from onboarding.intake import service, unmatched
from onboarding.models import (
    ApiKey,
    ArchiveBatch,
    ArchivedRun,
    Attempt,
    ObjectMapping,
    OnboardingTransaction,
    Step,
    StepPoll,
    UnmatchedEvent,
)
from tests.conftest import Payload
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, Blocked

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 22, 10, tzinfo=UTC)


def shape(row: Any) -> Any:
    """An instance with all that it holds, and the instances that came with it."""
    if not isinstance(row, Model):
        return row
    held = {name: value for name, value in row.__dict__.items() if name != "_state"}
    state = row._state
    related = {
        # The other side of a one-to-one relation leads back here.
        name: other if other is None else (type(other), {k: v for k, v in other.__dict__.items() if k != "_state"})
        for name, other in state.fields_cache.items()
    }
    return type(row), held, related, state.adding, state.db


def assert_same(compiled: Compiled[Any], *values: str | int) -> int:
    """Returns how many rows there are."""
    expected = [shape(row) for row in compiled.build(*values)]
    assert [shape(row) for row in compiled(*values)] == expected
    with CaptureQueriesContext(connection):  # which Django's own cursor records
        assert [shape(row) for row in compiled(*values)] == expected
    return len(expected)


@pytest.fixture
def several_runs(
    operate: APIClient, payload: Payload, blocked: Blocked, crm: Connection
) -> list[OnboardingTransaction]:
    """One that is blocked, with all parts; one that waits for data; one with hardly anything."""
    ticket = blocked("Pay_Blocked")
    run = OnboardingTransaction.objects.get(onboarding_transaction_id="Pay_Blocked")
    operate.post(RUNS, payload(onboarding_transaction_id="Pay_Blocked", customer__domain="other.io"), format="json")
    operate.post(RUNS, {**MINIMAL, "onboarding_transaction_id": "pay_waits", "commercial": {}}, format="json")
    operate.post(RUNS, MINIMAL, format="json")
    step = ticket.step
    assert step
    StepPoll.objects.create(step=step, count=3, last_at=AT)
    for token in (7, 8):
        Attempt.objects.create(step=step, token=token, started_at=AT)
    for item, url in (("", ""), ("b", "https://crm.example/1")):
        ObjectMapping.objects.create(
            transaction=run,
            step=step,
            connection=crm,
            kind="account",
            item=item,
            external_id="1",
            url=url,
            created_by_us=True,
            created_at=AT,
        )
    batch = ArchiveBatch.objects.create(name="2026-08/1", month="2026-08")
    numbers = {"attempts": 2, "calls": 0, "offset": 0, "length": 9, "calls_offset": 0, "calls_length": 0}
    for last in (9, 4):
        ArchivedRun.objects.create(
            transaction=run, batch=batch, first_sequence=last - 2, last_sequence=last, head="", **numbers
        )
    return list(OnboardingTransaction.objects.order_by("pk"))


def test_runs_by_any_spelling_of_their_id(several_runs: list[OnboardingTransaction]) -> None:
    found = [
        assert_same(run_parts.RUN, name, comparable(name))
        for name in ("Pay_Blocked", "PAY_BLOCKED", "pay_waits", "", "nobody", "it's 100 %s $1 \\ “ß”")
    ]
    assert found == [1, 1, 1, 0, 0, 0]


def test_each_part_of_a_run(several_runs: list[OnboardingTransaction]) -> None:
    """With several rows, without any, and with columns that are NULL."""
    for name, part in run_parts.PARTS.items():
        found = [assert_same(part, run.pk) for run in several_runs]
        assert found[0], name
        assert assert_same(part, 0) == 0


def test_the_tickets_that_cover_a_run(several_runs: list[OnboardingTransaction], crm: Connection) -> None:
    assert [assert_same(run_parts.TICKETS, run.pk) for run in several_runs] == [2, 1, 0]
    Step.objects.filter(transaction=several_runs[2]).update(connection=crm)
    Connection.objects.update(breaker="open")
    Ticket.objects.filter(transaction=several_runs[1]).update(transaction=None, connection=crm)

    assert [assert_same(run_parts.TICKETS, run.pk) for run in several_runs] == [3, 0, 1]


def test_query_for_accepted_content_of_a_source(several_runs: list[OnboardingTransaction]) -> None:
    for name in ("Pay_Blocked", "pay_waits", "nobody"):
        for kind, label in (("rest", "billing"), ("rest", "unheard of"), ("import", "billing")):
            assert_same(service.KNOWN_RUN, name, comparable(name), kind, label)
    (known,) = service.KNOWN_RUN("pay_minimal", "pay_minimal", "rest", "billing")
    assert known.told_digest
    assert known.told_earlier == []


def test_query_for_waiting_events_by_one_value_or_several() -> None:
    for number, value in enumerate(("pay_1", "pay_2", "pay_1")):
        UnmatchedEvent.objects.create(
            kind="id", value=value, type="payment.refunded", event_id=f"e{number}", actor="tests", data={"n": [None]},
            occurred_at=AT, received_at=AT, expires_at=AT,
        )  # fmt: skip
    UnmatchedEvent.objects.filter(event_id="e0").update(state="applied")

    assert assert_same(unmatched.KEPT_EVENTS, "pay_1") == 1
    assert assert_same(unmatched.KEPT_EVENTS, "pay_1", "pay_2") == 2
    assert assert_same(unmatched.KEPT_EVENTS, "pay_1", "pay_1") == 1
    assert assert_same(unmatched.KEPT_EVENTS, "nobody", "no one") == 0


def test_a_key_and_one_that_was_revoked() -> None:
    _, valid = authentication.new_key("a", Scope.INTAKE, ["b", "c"])
    _, revoked = authentication.new_key("d", Scope.READ)
    assert assert_same(authentication.VALID_KEY, valid.digest) == 1
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=clock.now())

    assert assert_same(authentication.VALID_KEY, revoked.digest) == 0
    assert authentication.VALID_KEY(valid.digest) == [(valid.pk, "a", "intake", ["b", "c"])]
