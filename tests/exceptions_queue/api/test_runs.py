"""Lists and details of runs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from exceptions_queue.models import SlaClock
from integrations import clock
from integrations.models import Connection
from onboarding import signals
from onboarding.api import pagination
from onboarding.engine.locks import locked_run
from onboarding.enums import WaitsFor
from onboarding.models import CorrelationKey, ObjectMapping, OnboardingTransaction, Step, StepPoll
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, Blocked
from tests.exceptions_queue.api.intake.test_malformed import errors, problem
from tests.exceptions_queue.sla.test_kickoff_clock import AT_RISK, DUE, FRIDAY_NOON, go_to, to_be_scheduled

Post = Callable[[dict[str, Any]], Any]
Payload = Callable[..., dict[str, Any]]
Queries = Callable[[int], Any]


def start(post: Post, *ids: str, **overrides: Any) -> None:
    for run_id in ids:
        assert post({**MINIMAL, **overrides, "onboarding_transaction_id": run_id}).status_code == 201


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["onboarding_transaction_id"] for row in response.json()["results"]]


# --- Pages ------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_in_pages_newest_first(read: APIClient, post: Post) -> None:
    start(post, "a", "b", "c")

    first = read.get(RUNS, {"page_size": 2}).json()
    second = read.get(first["next"]).json()

    assert (first["count"], first["previous"], second["next"]) == (3, None, None)
    assert [row["onboarding_transaction_id"] for row in first["results"] + second["results"]] == ["c", "b", "a"]
    assert read.get(second["previous"]).json() == first


def test_links_keep_the_filters(read: APIClient, post: Post) -> None:
    start(post, "a", "b", "c")

    body = read.get(RUNS, {"page_size": 1, "source": "billing", "search": "birch & co"}).json()

    assert ids(read.get(body["next"])) == ["b"]
    assert "source=billing" in body["next"]


def test_a_page_holds_200_at_most(read: APIClient, post: Post) -> None:
    post(MINIMAL)
    template = OnboardingTransaction.objects.get()
    OnboardingTransaction.objects.bulk_create(
        OnboardingTransaction(
            onboarding_transaction_id=f"r{n}", occurred_at=template.occurred_at, created_at=template.created_at
        )
        for n in range(205)
    )

    assert len(ids(read.get(RUNS, {"page_size": 1000}))) == 200
    assert len(ids(read.get(RUNS))) == 50
    assert read.get(RUNS).json()["count"] == 206


def test_the_count_is_capped_and_the_pages_go_on(read: APIClient, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "COUNT_CAP", 2)
    start(post, "a", "b", "c", "d")

    pages, address = [], f"{RUNS}?page_size=1"
    while address:
        body = read.get(address).json()
        pages.append((body["count"], body["results"][0]["onboarding_transaction_id"]))
        address = body["next"]

    assert pages == [(2, "d"), (2, "c"), (2, "b"), (2, "a")]


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=-1", "page=1.5", "page=", "page_size=0", "page_size=x", f"page={10**30}"]
)
def test_a_page_is_a_whole_number(read: APIClient, query: str) -> None:
    assert list(errors(read.get(f"{RUNS}?{query}"))) == [query.partition("=")[0]]


def test_a_page_after_the_last_is_not_found(read: APIClient) -> None:
    assert ids(read.get(RUNS)) == []
    problem(read.get(RUNS, {"page": 2}), 404)


def test_a_list_costs_as_many_queries_as_a_row(
    read: APIClient, blocked: Blocked, django_assert_max_num_queries: Queries
) -> None:
    for number in range(5):
        blocked(f"pay_{number}")

    with django_assert_max_num_queries(3):
        assert len(ids(read.get(RUNS))) == 5
    with django_assert_max_num_queries(3):
        read.get(RUNS, {"page_size": 2})


def test_a_detail_costs_few_queries(read: APIClient, blocked: Blocked, django_assert_max_num_queries: Queries) -> None:
    blocked("pay_1")

    with django_assert_max_num_queries(9):
        read.get(f"{RUNS}pay_1/")


# --- Filters ----------------------------------------------------------------------------------------------------------


def test_runs_are_filtered_by_their_fields(read: APIClient, post: Post) -> None:
    start(post, "a")
    start(post, "b", event_source="crm", ownership={"crm_owner_id": "u_2"})
    start(
        post, "c", customer={**MINIMAL["customer"], "segment": "smb"}, commercial={"plan_sku": "team", "term": "annual"}
    )
    start(post, "d", commercial={})

    for query, expected in {
        "source=crm": ["b"],
        "owner=u_2": ["b"],
        "segment=smb": ["c"],
        "plan=team": ["c"],
        "status=awaiting-data": ["d"],
        "status=provisioning": ["c", "b", "a"],
        "status=provisioning&status=awaiting-data": ["d", "c", "b", "a"],
        "status=complete": [],
        "blocked=true": ["d"],
        "blocked=false": ["c", "b", "a"],
        "plan=team&segment=smb&source=crm": [],
    }.items():
        assert ids(read.get(f"{RUNS}?{query}")) == expected, query


def test_runs_are_filtered_by_when_they_were_accepted(read: APIClient, post: Post) -> None:
    start(post, "a")
    clock.shift(timedelta(hours=1))
    start(post, "b")
    between = (clock.now() - timedelta(minutes=30)).isoformat()

    assert ids(read.get(RUNS, {"created_after": between})) == ["b"]
    assert ids(read.get(RUNS, {"created_before": between})) == ["a"]


def test_runs_are_filtered_by_their_clock(read: APIClient, post: Post) -> None:
    start(post, "breached")
    clock.shift(timedelta(minutes=14))
    start(post, "at_risk")
    clock.shift(timedelta(minutes=16))
    start(post, "running", "met", "met_late")
    for state in ("met", "met_late"):
        SlaClock.objects.filter(transaction__onboarding_transaction_id=state).update(state=state)

    for state in ("breached", "at_risk", "running", "met", "met_late"):
        response = read.get(RUNS, {"sla_state": state})
        assert ids(response) == [state]
        assert response.json()["results"][0]["sla"]["state"] == state


def test_run_awaiting_its_kickoff_is_filtered_by_its_p2_clock(read: APIClient, post: Post) -> None:
    go_to(FRIDAY_NOON)
    start(post, "kickoff", "other")
    to_be_scheduled(OnboardingTransaction.objects.get(onboarding_transaction_id="kickoff"))
    for instant, state in ((FRIDAY_NOON, "running"), (AT_RISK, "at_risk"), (DUE, "breached")):
        go_to(instant + timedelta(minutes=1))
        assert "kickoff" in ids(read.get(RUNS, {"sla_state": state}))
        shown = {row["onboarding_transaction_id"]: row["sla"] for row in read.get(RUNS).json()["results"]}
        assert (shown["kickoff"]["milestone"], shown["kickoff"]["state"]) == ("P2", state)
        assert shown["other"]["milestone"] == "P1"

    run = OnboardingTransaction.objects.get(onboarding_transaction_id="kickoff")
    signals.run_cancelled.send(OnboardingTransaction, run=run, at=clock.now(), resolution="The run was cancelled.")
    assert ids(read.get(RUNS, {"sla_state": "cancelled"})) == ["kickoff"]

    first, second = read.get(f"{RUNS}kickoff/").json()["clocks"]
    assert (first["milestone"], first["state"], first["target_minutes"], first["calendar"]) == ("P1", "met", 30, "")
    assert (second["milestone"], second["state"], second["target_minutes"]) == ("P2", "cancelled", 480)
    assert second["breached_at"] == second["due_at"]
    assert read.get(f"{RUNS}other/").json()["clocks"][0]["ended_at"] is None


def test_a_run_is_found_by_any_of_its_names(read: APIClient, post: Post, crm: Connection) -> None:
    start(post, "pay_1")
    start(
        post,
        "pay_2",
        customer={"legal_name": "Cedar Ltd", "domain": "cedar.dev", "primary_contact": {"email": "li@cedar.dev"}},
    )
    run = OnboardingTransaction.objects.get(onboarding_transaction_id="pay_2")
    CorrelationKey.objects.create(transaction=run, kind="stripe.invoice", value="in_77")
    step = Step.objects.create(transaction=run, key="x", uses="crm.account", system="crm", position=1)
    ObjectMapping.objects.create(
        transaction=run,
        step=step,
        connection=crm,
        kind="company",
        external_id="901",
        created_by_us=True,
        created_at=clock.now(),
    )

    for term in ("PAY_2", "cedar.d", "li@cedar.dev", "cedar ltd", "in_77", "901"):
        assert ids(read.get(RUNS, {"search": term})) == ["pay_2"], term
    assert ids(read.get(RUNS, {"search": "in_7"})) == []
    assert len(ids(read.get(RUNS, {"search": " "}))) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "done"),
        ("sla_state", "late"),
        ("blocked", "maybe"),
        ("created_after", "yesterday"),
        ("created_before", "0001-01-01T00:00:00+14:00"),
        ("created_before", "9999-12-31T23:59:59-14:00"),
        ("search", "\x00"),
        ("search", "x" * 300),
        ("statsu", "queued"),
        ("created_after", ""),
        ("blocked", ""),
    ],
)
def test_a_wrong_filter_is_malformed(read: APIClient, name: str, value: str) -> None:
    assert list(errors(read.get(RUNS, {name: value}))) == [name]


# --- Detail -----------------------------------------------------------------------------------------------------------


def test_the_detail_shows_the_runs_parts(read: APIClient, blocked: Blocked, crm: Connection) -> None:
    ticket = blocked("pay_1", http_status=503)
    step = Step.objects.get(key="crm.contact")
    ObjectMapping.objects.create(
        transaction=step.transaction,
        step=step,
        connection=crm,
        kind="contact",
        external_id="7",
        url="https://app.example/7",
        created_by_us=False,
        how="email",
        created_at=clock.now(),
    )

    body = read.get(f"{RUNS}pay_1/").json()

    assert [step["key"] for step in body["steps"]] == [
        "crm.account",
        "crm.contact",
        "delivery.project",
        "support.organization",
    ]
    first = body["steps"][0]
    assert (first["system"], first["state"], first["category"], first["http_status"]) == (
        "crm",
        "blocked",
        "server-error",
        503,
    )
    assert {"attempts", "waits_for", "next_attempt_at", "message", "started_at", "finished_at"} <= set(first)
    assert body["mappings"] == [
        {
            "system": "crm",
            "kind": "contact",
            "external_id": "7",
            "url": "https://app.example/7",
            "created_by_us": False,
            "how": "email",
            "step": "crm.contact",
            "item": "",
        }
    ]
    assert [milestone["name"] for milestone in body["milestones"]] == ["accepted", "provisioned", "complete"]
    assert body["milestones"][0]["at"] == body["created_at"]
    assert body["milestones"][1]["at"] is None
    assert (body["blocked"], [open_one["id"] for open_one in body["exceptions"]]) == (True, [ticket.pk])
    assert set(body["playbook"]) == {"name", "version", "hash"}
    assert set(body["sla"]) == {"milestone", "state", "due_at", "at_risk_at", "breached_at"}
    assert [(s["version"], s["source"], s["actor"]) for s in body["snapshots"]] == [(1, "billing", "key:operate tests")]
    assert body["snapshots"][0]["provenance"]["customer.domain"] == {
        "kind": "rest",
        "name": "operate tests",
        "label": "billing",
    }
    assert body["customer"] == "Acme Logistics"


def test_a_run_parked_behind_its_connection_is_blocked(read: APIClient, post: Post, crm: Connection) -> None:
    from exceptions_queue.tickets import lifecycle

    start(post, "parked")
    crm.open_breaker(reason="401", at=clock.now())
    crm.save()
    ticket = lifecycle.for_connection(crm, category="auth-error", message="refused")

    assert ids(read.get(RUNS, {"blocked": "true"})) == ["parked"]
    assert [shown["id"] for shown in read.get(f"{RUNS}parked/").json()["exceptions"]] == [ticket.pk]


def test_run_waiting_for_a_reservation_is_blocked_with_its_holder(
    read: APIClient, post: Post, payload: Payload, crm: Connection, blocked: Blocked
) -> None:
    ticket = blocked("pay_1", category="unknown-outcome")
    post(payload(onboarding_transaction_id="pay_2"))
    waiting = Step.objects.get(transaction__onboarding_transaction_id="pay_2", key="crm.account")
    assert not read.get(f"{RUNS}pay_2/").json()["blocked"]

    waiting.waits_on = ticket.step
    waiting.wait(waits_for=WaitsFor.RESERVATION, due_at=clock.now())
    waiting.save()

    assert set(ids(read.get(RUNS, {"blocked": "true"}))) == {"pay_1", "pay_2"}
    body = read.get(f"{RUNS}pay_2/").json()
    assert (body["blocked"], [shown["id"] for shown in body["exceptions"]]) == (True, [ticket.pk])


def test_what_is_provisioned_is_a_milestone(read: APIClient, post: Post) -> None:
    start(post, "a")
    with locked_run(OnboardingTransaction.objects.get().pk) as run:
        run.become_ready(at=clock.now())

    body = read.get(f"{RUNS}a/").json()

    assert body["status"] == "ready-for-kickoff"
    assert body["milestones"][1]["at"] == body["provisioned_at"] is not None


PERSONAL: dict[str, Any] = {
    "customer__primary_contact": {"name": "Jordan Lee", "email": "jordan@acme-logistics.com", "phone": "+49 151 000"},
    "commercial__billing_email": "bills@acme-logistics.com",
    "users": [{"name": "Sam Roe", "email": "sam@acme-logistics.com", "role": "admin"}],
    "handover__stakeholders": {"sponsor": "Kim Poe"},
    "handover__risks": ["ask kit@acme-logistics.com"],
}
NAMES = ("Jordan", "jordan@", "+49 151", "bills@", "Sam Roe", "sam@", "Kim Poe", "kit@")


@pytest.mark.parametrize("scope", ["intake", "read"])
def test_personal_data_is_masked(
    caller: Callable[[str], APIClient], operate: APIClient, payload: Payload, scope: str
) -> None:
    client = caller(scope)
    (client if scope == "intake" else operate).post(RUNS, payload(**PERSONAL), format="json")

    response = client.get(f"{RUNS}pay_12345/")

    assert not [name for name in NAMES if name in response.content.decode()]
    shown = response.json()
    assert shown["payload"] == shown["snapshots"][0]["content"]
    assert shown["payload"]["customer"]["legal_name"] == "Acme Logistics"
    assert shown["payload"]["customer"]["primary_contact"]["name"] == "[personal]"
    assert shown["payload"]["commercial"]["amount"] == 12000


def test_operators_see_personal_data(operate: APIClient, post: Post, payload: Payload) -> None:
    post(payload(**PERSONAL))

    text = operate.get(f"{RUNS}pay_12345/").content.decode()

    assert not [name for name in NAMES if name not in text]


def test_polls_are_counted_apart_from_attempts(read: APIClient, post: Post) -> None:
    start(post, "a")
    run = OnboardingTransaction.objects.get()
    step = Step.objects.create(
        transaction=run, key="kickoff", uses="kickoff.task", system="delivery", position=9, waits_for=WaitsFor.EVENT
    )
    StepPoll.objects.create(step=step, count=7, last_at=clock.now(), due_at=clock.now())
    (shown,) = [each for each in read.get(f"{RUNS}a/").json()["steps"] if each["key"] == "kickoff"]
    assert (shown["attempts"], shown["polls"]) == (0, 7)
    assert shown["last_polled_at"]
