"""The queue and the runs: what is shown by default, what is found, and at what price."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from exceptions_queue.models import CrmOwner, Ticket
from exceptions_queue.sla import clocks as sla
from exceptions_queue.tickets import catalogue, lifecycle
from integrations import admin, clock
from integrations.models import Connection
from onboarding import signals
from onboarding.enums import Category, Topic
from onboarding.models import ObjectMapping
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import CONNECTIONS, QUEUE, RUNS, As, Pay, act, open_ticket, page, text
from tests.exceptions_queue.sla.test_kickoff_clock import AT_RISK, DUE, FRIDAY_NOON, go_to, to_be_scheduled


def queries(client: Any, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.parametrize("url", [QUEUE, RUNS, f"{QUEUE}?q=works", f"{RUNS}?q=works", "/admin/onboarding/auditentry/"])
def test_a_list_costs_the_same_with_ten_and_with_sixty_rows(pay: Pay, as_: As, url: str) -> None:
    lead = as_("lead")
    for number in range(10):
        pay(f"few{number}", commercial__term=None)
    lead.get(url)
    few = queries(lead, url)
    for number in range(50):
        pay(f"many{number}", commercial__term=None)
    assert queries(lead, url) == few
    assert few < 20


def test_runs_and_tickets_show_the_clock_that_runs_now(pay: Pay, as_: As) -> None:
    lead = as_("lead")
    go_to(FRIDAY_NOON)
    run = to_be_scheduled(pay("beta"))
    pay("gamma", commercial__term=None)
    assert "kickoff 2 days left" in text(lead.get(f"{RUNS}?sla=on-track"))
    go_to(AT_RISK + timedelta(minutes=1))
    sla.tick()
    for url in (RUNS, QUEUE):
        shown = text(lead.get(f"{url}?sla=at-risk"))
        assert "kickoff at risk, 118 min left" in shown
        assert "Gamma Works" not in shown
    ticket = text(lead.get(page(open_ticket(run))))
    assert "kickoff at risk" in ticket
    assert "The kickoff of Beta Works is not scheduled yet" in ticket
    go_to(DUE + timedelta(hours=3, minutes=1))
    assert "kickoff 3 h late" in text(lead.get(f"{RUNS}?sla=breached"))
    with transaction.atomic():
        signals.kickoff_scheduled.send(type(run), run=run, at=clock.now(), resolution="The run was cancelled.")
    assert "kickoff late, after 3 days" in text(lead.get(f"{RUNS}?sla=met_late"))
    details = text(lead.get(f"{RUNS}{run.pk}/change/"))
    assert "Paid to provisioned check met after 0 s" in details
    assert "Provisioned to kickoff timer_off met late, after 3 days" in details


def test_a_cancelled_runs_clock_says_so(pay: Pay, as_: As) -> None:
    run = pay("beta", commercial__term=None)
    with transaction.atomic():
        signals.run_cancelled.send(type(run), run=run, at=clock.now(), resolution="The run was cancelled.")
    assert "cancelled" in text(as_("lead").get(f"{RUNS}?sla=cancelled"))
    assert "Beta Works" not in text(as_("lead").get(f"{RUNS}?sla=on-track"))


def test_the_queue_shows_my_open_tickets_by_due_time(missing: Ticket, pay: Pay, as_: As) -> None:
    pay("urgent", minutes_ago=40, commercial__term=None)
    shown = text(as_("sales").get(QUEUE))
    assert shown.index("Urgent Works") < shown.index("Beta Works")
    assert "breached" in shown
    assert "Missing: Domain" in shown
    assert "Missing: Term" in shown
    assert "Beta Works" not in text(as_("support").get(QUEUE))
    assert "Beta Works" in text(as_("support").get(f"{QUEUE}?queue=all"))
    assert "Beta Works" in text(as_("lead").get(QUEUE))


def test_a_ticket_given_to_me_is_in_my_queue(missing: Ticket, as_: As, people: dict[str, User]) -> None:
    as_("lead").post(act(missing, "assign"), {"queue": "sales-ops", "owner": "support"})
    assert "Beta Works" in text(as_("support").get(QUEUE))
    assert "Beta Works" in text(as_("support").get(f"{QUEUE}?owner=me"))


@pytest.mark.parametrize(
    "query",
    [
        "status=resolved",
        "category=auth-error",
        "system=crm",
        "step=crm.account",
        "owner=nobody&queue=finance",
        "sla=none",
    ],
)
def test_filters_exclude_other_rows(missing: Ticket, as_: As, query: str) -> None:
    answer = as_("admin").get(f"{QUEUE}?{query}")
    assert answer.status_code == 200
    assert "Beta Works" not in text(answer)


@pytest.mark.parametrize(
    "query",
    ["status=unresolved", "category=missing-data", "system=workflow", "step=gate", "sla=on-track", "queue=sales-ops"],
)
def test_filters_include_matching_rows(missing: Ticket, as_: As, query: str) -> None:
    assert "Beta Works" in text(as_("admin").get(f"{QUEUE}?{query}"))


@pytest.mark.parametrize(
    "term", ["beta works", "ann@beta-works.com", "beta-works.com", "pi_beta", "pay_beta", "https://beta-works.com/"]
)
def test_search_finds_a_customer_by_any_identifier(pay: Pay, as_: As, term: str) -> None:
    pay("beta", commercial__term=None)
    pay("gamma", commercial__term=None)
    for url in (QUEUE, RUNS):
        shown = text(as_("support").get(url, {"q": term}))
        assert shown.count("Beta Works") == 1
        assert "Gamma Works" not in shown


def test_a_run_is_found_once_by_an_object_at_a_vendor(
    pay: Pay, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    pay("beta")
    drain()
    for mapping in ObjectMapping.objects.all():
        assert text(as_("sales").get(RUNS, {"q": mapping.external_id})).count("Beta Works") == 1
    assert "Beta Works" not in text(as_("sales").get(RUNS, {"q": "no-such-thing"}))


def test_run_list_shows_who_is_blocked(missing: Ticket, refused: Ticket, as_: As, people: dict[str, User]) -> None:
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    assert "Blocked" in text(as_("sales").get(f"{RUNS}?blocked=yes"))
    assert "Beta Works" not in text(as_("sales").get(f"{RUNS}?blocked=no"))


def test_runs_parked_behind_a_connection_are_blocked(refused: Ticket, as_: As) -> None:
    assert "Beta Works" in text(as_("sales").get(f"{RUNS}?blocked=yes"))
    assert "connection hubspot" in text(as_("engineer").get(f"{QUEUE}?connection=hubspot"))
    assert "connection hubspot" not in text(as_("engineer").get(f"{QUEUE}?connection=asana"))


@pytest.mark.parametrize("url", [QUEUE, RUNS])
def test_list_count_is_capped(pay: Pay, as_: As, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        pay(f"one{number}", commercial__term=None)
    assert "The first" not in text(as_("lead").get(url))
    monkeypatch.setattr(admin, "COUNTED", 2)
    answer = as_("lead").get(url)
    assert answer.context["cl"].result_count == 2
    assert "The first 2" in " ".join(text(answer).split())


def test_a_bulk_retry_is_confirmed_with_frozen_ids(
    pay: Pay, sandbox: Any, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    sandbox.add_fault("asana", "error_before", status=422)
    first, second = pay("one"), pay("two")
    drain()
    asked = open_ticket(pay("three", commercial__term=None))
    tickets = [open_ticket(first), open_ticket(second)]
    lead = as_("admin")
    data = {"action": "retry_selected", "_selected_action": [ticket.pk for ticket in (*tickets, asked)]}
    confirmation = lead.post(QUEUE, data)
    assert "Retry 2 tickets?" in text(confirmation)
    assert "Left out: 1" in text(confirmation)
    assert set(Ticket.objects.values_list("status", flat=True)) == {"open"}
    results = lead.post(f"{QUEUE}bulk/retry/", {"ticket": [*(ticket.pk for ticket in tickets), asked.pk, 999]})
    assert "2 of 4 are retried" in text(results)
    assert "is not possible for this ticket" in text(results)
    assert "is gone" in text(results)
    assert lead.get(f"{QUEUE}bulk/retry/").status_code == 405


def test_a_bulk_confirmation_tells_questions_about_one_run_apart(pay: Pay, as_: As) -> None:
    missing = open_ticket(run := pay("one", commercial__term=None))
    question: dict[str, Any] = {"category": Category.APPROVAL_OVERDUE, "message": "Refunded.", "problems": []}
    refund = lifecycle.for_run(run, topic=Topic.REFUND, **question)
    payment = lifecycle.for_run(run, topic=Topic.PAYMENT, **question)
    chosen = {"action": "retry_selected", "_selected_action": [missing.pk, refund.pk, payment.pk]}
    shown = text(as_("admin").post(QUEUE, chosen))
    for ticket in (missing, refund, payment):
        assert shown.count(catalogue.of(ticket).label) == 1


def test_a_bulk_retry_of_none_or_too_many_leads_back_to_the_queue(missing: Ticket, as_: As) -> None:
    for chosen in ([], range(1, 502)):
        answer = as_("engineer").post(f"{QUEUE}bulk/retry/", {"ticket": list(chosen)}, follow=True)
        assert (answer.status_code, "Not done: choose 1 to 500 tickets." in text(answer)) == (200, True)


def test_a_bulk_retry_asks_for_permission_ticket_by_ticket(support_ticket: Ticket, as_: As) -> None:
    answer = as_("sales").post(f"{QUEUE}bulk/retry/", {"ticket": [support_ticket.pk]})
    assert "0 of 1 are retried" in text(answer)
    assert "sales may not retry on this ticket" in text(answer)


def test_connections_are_listed_for_engineers_alone(refused: Ticket, as_: As) -> None:
    shown = text(as_("engineer").get(CONNECTIONS))
    assert "Credentials refused" in shown
    assert "1 run waits" in shown
    assert as_("sales").get(CONNECTIONS).status_code == 403


def test_nobody_deletes_a_ticket(missing: Ticket, as_: As) -> None:
    admin = as_("admin")
    assert admin.post(f"{QUEUE}{missing.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.get(f"{QUEUE}add/").status_code == 403
    admin.post(QUEUE, {"action": "delete_selected", "_selected_action": [missing.pk], "post": "yes"})
    assert Ticket.objects.filter(pk=missing.pk).exists()
