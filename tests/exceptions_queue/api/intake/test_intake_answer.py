"""What a POST answers is what a GET shows after it, although the rows are not read again for it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from integrations.models import Connection
from onboarding.models import ImplementationOwner
from tests.conftest import Payload
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS

CEILING = 18
"""Statements of a POST that starts a run, BEGIN and COMMIT among them. Lower it when you save one."""
Post = Callable[[dict[str, Any]], Any]


def is_as_read(client: APIClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(RUNS, body, format="json")
    assert answer.status_code == 201, answer.json()
    posted = answer.json()
    del posted["warnings"]
    assert posted == client.get(answer["Location"]).json()
    return dict(posted)


@pytest.mark.parametrize("scope", ["operate", "intake"])
def test_a_whole_payload(caller: Callable[[str], APIClient], payload: Payload, scope: str) -> None:
    body = payload(
        occurred_at="2026-11-22T10:00:00.123456+01:00",
        commercial__amount=0.1,
        own={"b": 1e15, "aa": [1.0, -0.0, None, "ß\u2028"], "c": {"z": 1, "a": 9007199254740991}},
    )

    shown = is_as_read(caller(scope), body)

    assert len(shown["steps"]) > 1
    assert [each["version"] for each in shown["snapshots"]] == [1]


def test_minimal_data_and_a_crm(operate: APIClient, crm: Connection) -> None:
    assert is_as_read(operate, MINIMAL)["status"] == "provisioning"


def test_answer_with_data_to_look_up_in_the_crm(operate: APIClient, crm: Connection) -> None:
    shown = is_as_read(operate, {**MINIMAL, "ownership": {}})

    assert [step["key"] for step in shown["steps"]] == ["crm.lookup"]


def test_answer_with_data_to_ask_people_for(operate: APIClient) -> None:
    shown = is_as_read(operate, {**MINIMAL, "ownership": {}})

    assert (shown["status"], len(shown["exceptions"])) == ("awaiting-data", 1)


def test_answer_with_derived_fields(operate: APIClient) -> None:
    ImplementationOwner.objects.create(external_id="u_9", name="Kim", capacity=3)

    shown = is_as_read(operate, MINIMAL)

    assert [each["version"] for each in shown["snapshots"]] == [1, 2]
    assert shown["payload"]["ownership"]["implementation_owner_id"] == "u_9"


def test_a_refund_that_came_first(operate: APIClient) -> None:
    event = {"type": "payment.refunded", "event_id": "e1", "occurred_at": "2026-11-22T10:00:00Z"}
    assert (
        operate.post(f"{RUNS}{MINIMAL['onboarding_transaction_id']}/events/", event, format="json").status_code == 202
    )

    shown = is_as_read(operate, MINIMAL)

    assert shown["held_at"]
    assert shown["blocked"]


def test_intake_stays_within_its_statement_budget(post: Post, payload: Payload, crm: Connection) -> None:
    post(payload(onboarding_transaction_id="pay_first"))  # the playbook is pinned once

    with CaptureQueriesContext(connection) as asked:
        assert post(payload()).status_code == 201

    assert len(asked) <= CEILING, "\n".join(query["sql"][:120] for query in asked.captured_queries)


REPEATED = 10
"""Statements of a POST that says the same again. Lower it when you save one."""


@pytest.mark.parametrize("scope", ["operate", "intake"])
def test_the_same_again_is_answered_as_it_is_read(
    caller: Callable[[str], APIClient], payload: Payload, crm: Connection, scope: str
) -> None:
    client = caller(scope)
    for body in (
        payload(),
        {**MINIMAL, "ownership": {}},
        {**MINIMAL, "onboarding_transaction_id": "p3", "commercial": {}},
    ):
        client.post(RUNS, body, format="json")

        again = client.post(
            RUNS, {**body, "onboarding_transaction_id": body["onboarding_transaction_id"].upper()}, format="json"
        )

        assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
        shown = again.json()
        assert shown.pop("warnings") == []
        assert shown == client.get(f"{RUNS}{body['onboarding_transaction_id']}/").json()


def test_the_same_again_is_answered_with_few_statements_and_no_lock(
    post: Post, payload: Payload, crm: Connection
) -> None:
    post(payload())

    with CaptureQueriesContext(connection) as asked:
        assert post(payload()).status_code == 200

    sent = [query["sql"] for query in asked.captured_queries]
    assert len(sent) <= REPEATED, "\n".join(sql[:120] for sql in sent)
    assert all(sql.startswith("SELECT") and " UPDATE" not in sql for sql in sent), sent


def test_redelivery_after_a_manual_fix_is_replayed(
    caller: Callable[[str], APIClient], payload: Payload, crm: Connection
) -> None:
    sender, other = caller("intake"), caller("operate")
    sender.post(RUNS, {**MINIMAL, "commercial": {}}, format="json")
    sender.post(RUNS, MINIMAL, format="json")  # fills it in

    for client, body, told in (
        (sender, {**MINIMAL, "commercial": {}}, 200),
        (other, MINIMAL, 200),
        (other, payload(), 201),
    ):
        assert client.post(RUNS, body, format="json").status_code == told
