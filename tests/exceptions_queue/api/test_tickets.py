"""Exceptions and what operators do to them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from exceptions_queue.models import Ticket
from exceptions_queue.sla import clocks as sla
from exceptions_queue.tickets import lifecycle
from integrations import clock
from integrations.models import Connection
from onboarding.enums import OriginKind
from onboarding.models import AuditEntry, MatchChoice, OnboardingTransaction, PayloadSnapshot, Step
from onboarding.origins import Origin
from tests.exceptions_queue.api.conftest import RUNS, TICKETS, Blocked
from tests.exceptions_queue.api.intake.test_malformed import errors, problem
from tests.exceptions_queue.sla.test_kickoff_clock import AT_RISK, FRIDAY_NOON, go_to, to_be_scheduled

Post = Callable[[dict[str, Any]], Any]
Payload = Callable[..., dict[str, Any]]
CANDIDATES = [
    {"external_id": "11", "label": "Acme", "url": "", "evidence": {"domain": "acme-logistics.com"}},
    {"external_id": "12", "label": "Acme Ltd", "url": "", "evidence": {"email": "jo@acme-logistics.com"}},
]


def pks(response: Any) -> list[int]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def act(client: APIClient, ticket: Ticket, name: str, body: dict[str, Any] | None = None) -> Any:
    return client.post(f"{TICKETS}{ticket.pk}/{name}/", body, format="json")


@pytest.fixture
def missing(post: Post, payload: Payload) -> Ticket:
    """A run at the gate, without a plan and a contact's name."""
    post(
        payload(
            onboarding_transaction_id="pay_gap",
            commercial__plan_sku="",
            customer__primary_contact={"email": "jo@acme-logistics.com"},
        )
    )
    return Ticket.objects.get()


@pytest.fixture
def ambiguous(blocked: Blocked) -> Ticket:
    return blocked("pay_two", "ambiguous-match", candidates=CANDIDATES)


@pytest.fixture
def refused(crm: Connection) -> Ticket:
    """A connection's ticket."""
    return lifecycle.for_connection(crm, category="auth-error", message="HubSpot answered 401.", http_status=401)


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_exception_has_all_details(operate: APIClient, blocked: Blocked) -> None:
    ticket = blocked("pay_1", http_status=503)

    body = operate.get(f"{TICKETS}{ticket.pk}/").json()

    clock_of = ticket.transaction.sla_clock
    assert body == {
        "id": ticket.pk,
        "status": "open",
        "onboarding_transaction_id": "pay_1",
        "idempotency_key": "pay_1",
        "customer": "Acme Logistics",
        "domain": "acme-logistics.com",
        "category": "server-error",
        "topic": None,
        "system": "crm",
        "step": "crm.account",
        "connection": None,
        "change_request": None,
        "message": "HubSpot answered 503 to jo@acme.com.",
        "http_status": 503,
        "run": "http://testserver/api/v1/onboardings/pay_1/",
        "url": f"http://testserver/api/v1/exceptions/{ticket.pk}/",
        "console_url": ticket.url,
        "retry_of": None,
        "attempts": 0,
        "next_retry": None,
        "sla_due": clock_of.due_at.isoformat().replace("+00:00", "Z"),
        "sla_state": "breached",
        "safe_action": "retry",
        "queue": "revenue-operations",
        "owner": None,
        "problems": [],
        "candidates": [],
        "notes": [],
        "opened_at": body["opened_at"],
        "resolved_at": None,
        "resolution": "",
        "snoozed_until": None,
        "what_to_do": "Look at HubSpot's status page. Retry when it works again.",
        "available_actions": ["retry", "link-object", "replay", "skip", "rollback", "assign", "snooze", "note"],
    }


def test_missing_fields_are_listed_with_their_reason(operate: APIClient, missing: Ticket) -> None:
    body = operate.get(f"{TICKETS}{missing.pk}/").json()

    assert [(each["path"], each["reason"]) for each in body["problems"]] == [
        ("customer.primary_contact.name", "is missing"),
        ("commercial.plan_sku", "is missing"),
    ]
    assert (body["category"], body["step"], body["safe_action"]) == ("missing-data", "gate", "manual-fix-then-retry")
    assert body["available_actions"] == ["fix", "rollback", "assign", "snooze", "note"]


def test_read_scope_cannot_act(read: APIClient, missing: Ticket) -> None:
    assert read.get(f"{TICKETS}{missing.pk}/").json()["available_actions"] == []


def test_read_scope_sees_no_addresses(read: APIClient, ambiguous: Ticket) -> None:
    text = read.get(f"{TICKETS}{ambiguous.pk}/").content.decode()

    assert "jo@" not in text
    assert "Acme Ltd" in text


def test_a_connections_ticket_has_no_run(operate: APIClient, refused: Ticket) -> None:
    body = operate.get(f"{TICKETS}{refused.pk}/").json()

    assert (body["connection"], body["run"], body["onboarding_transaction_id"]) == ("crm", None, None)
    assert (body["step"], body["sla_due"], body["sla_state"]) == ("credentials", None, None)


def test_exceptions_are_filtered(
    read: APIClient, people: dict[str, User], missing: Ticket, blocked: Blocked, crm: Connection
) -> None:
    step = blocked("pay_step")
    connection = lifecycle.for_connection(crm, category="auth-error", message="refused")
    Ticket.objects.filter(pk=missing.pk).update(owner=people["sales"])
    Ticket.objects.filter(pk=connection.pk).update(status="resolved", resolved_at=clock.now())

    for query, expected in {
        "": [missing.pk, step.pk, connection.pk],
        "status=open": [missing.pk, step.pk],
        "status=resolved": [connection.pk],
        "status=open&status=resolved": [missing.pk, step.pk, connection.pk],
        "category=missing-data": [missing.pk],
        "system=crm": [step.pk, connection.pk],
        "step=gate": [missing.pk],
        "step=credentials": [connection.pk],
        "step=crm.account": [step.pk],
        "owner=sales": [missing.pk],
        "queue=sales-ops": [missing.pk],
        "onboarding_transaction_id=pay_step": [step.pk],
        "onboarding_transaction_id=pay_gap&system=crm": [],
    }.items():
        assert sorted(pks(read.get(f"{TICKETS}?{query}"))) == sorted(expected), query


@pytest.mark.parametrize(
    "query", ["status=closed", "category=x", "system=x", "queue=x", "sla_state=x", "incident=5", "step=%00"]
)
def test_a_wrong_filter_is_malformed(read: APIClient, query: str) -> None:
    assert list(errors(read.get(f"{TICKETS}?{query}"))) == [query.partition("=")[0]]


def test_exceptions_are_filtered_by_their_clock(read: APIClient, post: Post, payload: Payload, refused: Ticket) -> None:
    gap = {"occurred_at": None, "commercial__plan_sku": ""}
    for run_id, minutes in {"breached": 14, "at_risk": 16, "running": 0}.items():
        post(payload(onboarding_transaction_id=run_id, **gap))
        clock.shift(timedelta(minutes=minutes))
    of_run = dict(Ticket.objects.exclude(transaction=None).values_list("transaction__onboarding_transaction_id", "pk"))

    for state, pk in of_run.items():
        due = {"breached": 0, "at_risk": 15, "running": 29}[state]
        Ticket.objects.filter(pk=refused.pk).update(sla_due=clock.now() + timedelta(minutes=due))
        response = read.get(TICKETS, {"sla_state": state})
        assert set(pks(response)) == {pk, refused.pk}
        assert {row["sla_state"] for row in response.json()["results"]} == {state}


def test_exception_is_filtered_by_its_current_clock(read: APIClient, blocked: Blocked) -> None:
    go_to(FRIDAY_NOON)
    run = to_be_scheduled(blocked("pay_1").transaction)
    go_to(AT_RISK + timedelta(minutes=1))
    sla.tick()

    (row,) = read.get(TICKETS, {"sla_state": "at_risk"}).json()["results"]

    assert (row["step"], row["category"], row["sla_state"]) == ("kickoff", "stalled", "at_risk")
    assert row["sla_due"] == run.clocks.get(milestone="P2").due_at.isoformat().replace("+00:00", "Z")
    assert pks(read.get(TICKETS, {"sla_state": ["met", "running", "breached"]})) == []


def test_a_list_costs_as_many_queries_as_a_row(
    operate: APIClient, blocked: Blocked, refused: Ticket, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for number in range(5):
        act(operate, blocked(f"pay_{number}"), "note", {"text": "Seen."})

    with django_assert_max_num_queries(4):
        assert len(pks(operate.get(TICKETS))) == 6


# --- Acting -----------------------------------------------------------------------------------------------------------


def test_retry_tries_again(operate: APIClient, blocked: Blocked) -> None:
    ticket = blocked()

    response = act(operate, ticket, "retry")

    assert (response.status_code, response.json()["status"]) == (200, "retrying")
    assert Step.objects.get(key="crm.account").due_at is not None
    assert AuditEntry.objects.get(name="onboarding.step.retry-requested").actor == "key:operate tests"


def test_fix_fills_in_what_is_missing_and_goes_on(operate: APIClient, missing: Ticket) -> None:
    response = act(
        operate, missing, "fix", {"fields": {"commercial.plan_sku": "pro", "customer.primary_contact.name": "Jo Poe"}}
    )

    assert (response.status_code, response.json()["status"]) == (200, "resolved")
    assert OnboardingTransaction.objects.get().status == "provisioning"
    assert Origin.of(PayloadSnapshot.objects.get(version=2)) == Origin(OriginKind.PERSON, "key:operate tests")


def test_fixing_some_leaves_the_rest(operate: APIClient, missing: Ticket) -> None:
    body = act(operate, missing, "fix", {"fields": {"commercial.plan_sku": "pro"}}).json()

    assert body["status"] == "open"
    assert [problem["path"] for problem in body["problems"]] == ["customer.primary_contact.name"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"commercial.plan_sku": "TBD"}, "commercial.plan_sku"),
        ({"customer.primary_contact.email": "jo@gmial.com"}, "customer.primary_contact.email"),
        ({"commercial.amount": "5"}, "commercial.amount"),
        ({"customer.domain": None}, "customer.domain"),
        ({"customer.shoe_size": 4}, "customer.shoe_size"),
    ],
)
def test_a_value_that_would_count_as_missing_is_malformed(
    operate: APIClient, missing: Ticket, fields: dict[str, Any], path: str
) -> None:
    assert list(errors(act(operate, missing, "fix", {"fields": fields}))) == [path]


def test_choosing_a_match_is_kept_for_the_customer(operate: APIClient, ambiguous: Ticket) -> None:
    response = act(operate, ambiguous, "choose-match", {"external_id": "12"})

    assert response.json()["status"] == "retrying"
    assert (MatchChoice.objects.get().external_id, MatchChoice.objects.get().chosen_by) == ("12", "key:operate tests")


def test_a_new_object_may_be_chosen(operate: APIClient, ambiguous: Ticket) -> None:
    assert act(operate, ambiguous, "choose-match", {"create": True}).status_code == 200
    assert MatchChoice.objects.get().external_id == ""


def test_an_object_may_be_linked_by_its_id(operate: APIClient, ambiguous: Ticket) -> None:
    assert act(operate, ambiguous, "link-object", {"external_id": "99"}).status_code == 200
    assert MatchChoice.objects.get().external_id == "99"


def test_a_ticket_is_given_to_somebody(operate: APIClient, people: dict[str, User], missing: Ticket) -> None:
    body = act(operate, missing, "assign", {"queue": "leads", "owner": "lead"}).json()
    assert (body["queue"], body["owner"]) == ("leads", "lead")

    body = act(operate, missing, "assign", {"queue": "sales-ops"}).json()
    assert (body["queue"], body["owner"]) == ("sales-ops", "lead")

    body = act(operate, missing, "assign", {"owner": None}).json()
    assert (body["queue"], body["owner"]) == ("sales-ops", None)


def test_ticket_is_snoozed_and_unsnoozed(operate: APIClient, missing: Ticket) -> None:
    aside = act(operate, missing, "snooze", {"minutes": 1, "reason": "They call back."}).json()
    assert aside["snoozed_until"]
    assert act(operate, missing, "snooze", {"minutes": 0}).json()["snoozed_until"] is None


def test_a_note_is_written(operate: APIClient, missing: Ticket) -> None:
    notes = act(operate, missing, "note", {"text": "Asked them."}).json()["notes"]

    assert [(note["author"], note["text"]) for note in notes] == [("key:operate tests", "Asked them.")]


@pytest.mark.parametrize(
    ("name", "body", "path"),
    [
        ("retry", {"now": True}, "now"),
        ("fix", {}, "fields"),
        ("fix", {"fields": {}}, "fields"),
        ("fix", {"fields": []}, "fields"),
        ("choose-match", {}, ""),
        ("choose-match", {"external_id": "11", "create": True}, ""),
        ("choose-match", {"create": "true"}, "create"),
        ("choose-match", {"create": False}, ""),
        ("choose-match", {"external_id": 11}, "external_id"),
        ("choose-match", {"external_id": "13"}, "external_id"),
        ("choose-match", {"external_id": "11", "why": "x"}, "why"),
        ("link-object", {"external_id": " "}, "external_id"),
        ("link-object", {"external_id": "x" * 256}, "external_id"),
        ("assign", {}, ""),
        ("assign", {"queue": "nobody"}, "queue"),
        ("assign", {"owner": "nobody"}, "owner"),
        ("assign", {"owner": 5}, "owner"),
        ("snooze", {"reason": "Later."}, "minutes"),
        ("snooze", {"minutes": 100_000, "reason": "Later."}, "minutes"),
        ("snooze", {"minutes": 60}, "reason"),
        ("note", {}, "text"),
        ("note", {"text": ""}, "text"),
        ("note", {"text": "x" * 4001}, "text"),
    ],
)
def test_a_wrong_body_is_malformed(
    operate: APIClient, ambiguous: Ticket, name: str, body: dict[str, Any], path: str
) -> None:
    Ticket.objects.filter(pk=ambiguous.pk).update(problems=[{"path": "customer.domain", "reason": "x"}])
    if name == "retry":
        Ticket.objects.filter(pk=ambiguous.pk).update(category="server-error")

    assert list(errors(act(operate, ambiguous, name, body))) == [path]


@pytest.mark.parametrize(
    ("name", "body"), [("retry", {}), ("choose-match", {"external_id": "1"}), ("link-object", {"external_id": "1"})]
)
def test_unavailable_action_is_a_conflict(operate: APIClient, missing: Ticket, name: str, body: dict[str, Any]) -> None:
    assert "not possible" in problem(act(operate, missing, name, body), 409)["detail"]


def test_a_resolved_ticket_takes_notes_only(operate: APIClient, blocked: Blocked) -> None:
    ticket = blocked()
    Ticket.objects.filter(pk=ticket.pk).update(status="resolved")

    problem(act(operate, ticket, "retry"), 409)
    assert act(operate, ticket, "note", {"text": "It was theirs."}).status_code == 200


def test_the_run_links_back_to_its_exceptions(operate: APIClient, blocked: Blocked) -> None:
    ticket = blocked("pay_1")

    shown = operate.get(f"{RUNS}pay_1/").json()["exceptions"]

    assert operate.get(shown[0]["url"]).json()["id"] == ticket.pk
