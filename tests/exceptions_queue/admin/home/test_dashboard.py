"""Where people land: each sees what is theirs, what may be seen, and one button to the most urgent of it."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exceptions_queue.models import Ticket
from integrations.connections import concurrency
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import QUEUE, RUNS, As, Pay, act, open_ticket, page, text
from tests.exceptions_queue.admin.tickets.test_lists import queries

HOME = "/admin/"
NEXT = f"{QUEUE}next/"


def home(client: Client) -> str:
    answer = client.get(HOME)
    assert answer.status_code == 200
    answer.content = re.sub(rb"<span[^>]*material-symbols[^>]*>[^<]*</span>", b"", answer.content)  # icons are no words
    return text(answer)


def test_people_land_here_after_login(people: dict[str, User], client: Client) -> None:
    assert client.get("/")["Location"] == HOME
    login = client.get(HOME, follow=True)
    answer = client.post(login.request["PATH_INFO"], {"username": "sales", "password": "pw", "next": HOME})
    assert answer["Location"] == HOME


def test_my_queue_lists_the_most_urgent_first_with_its_next_step(missing: Ticket, pay: Pay, as_: As) -> None:
    pay("urgent", minutes_ago=40, commercial__term=None)
    shown = home(as_("sales"))
    assert "2 tickets wait for you" in shown
    assert shown.index("Urgent Works paid, but the term is missing") < shown.index("Beta Works paid, but the domain")
    assert "Fill in what is missing." in shown
    assert "breached 10 min ago" in shown


@pytest.mark.parametrize("role", ["support", "engineer", "finance"])
def test_what_waits_for_others_is_not_in_my_queue(missing: Ticket, as_: As, role: str) -> None:
    shown = home(as_(role))
    assert "Nothing is waiting for you" in shown
    assert "Beta Works" not in shown


def test_leads_see_all_queues_with_their_counts(refused: Ticket, pay: Pay, as_: As) -> None:
    pay("late", minutes_ago=40, commercial__term=None)
    pay("soon", commercial__term=None)
    shown = home(as_("lead"))
    assert "3 tickets wait for you" in shown
    assert "Sales operations 1 late 2 open" in shown
    assert "Revenue-operations engineering 1 open" in shown
    assert "Support operations 0 open" in shown
    assert "Support operations 0 open" not in home(as_("sales"))


def test_runs_at_risk_are_listed_until_provisioned(
    pay: Pay, as_: As, connections: dict[str, Connection], drain: Drain
) -> None:
    pay("early", minutes_ago=14, commercial__term=None)
    pay("risky", minutes_ago=16, commercial__term=None)
    pay("done", minutes_ago=50)
    drain()
    shown = home(as_("support"))
    assert "Late or at risk · 1 " in shown
    assert "Risky Works at risk, 13 min left Waiting for Sales operations" in shown
    assert "Early Works" not in shown
    assert "Done Works" not in shown


def test_the_list_behind_at_risk_holds_the_same_runs(pay: Pay, as_: As) -> None:
    for number in range(7):
        pay(f"risky{number}", minutes_ago=16, commercial__term=None)
    pay("early", minutes_ago=5, commercial__term=None)
    answer = as_("finance").get(HOME)
    assert "All 7 runs" in text(answer)
    listed = text(as_("finance").get(answer.context["late"]["link"]))
    assert listed.count(" Works") == 7
    assert "Early Works" not in listed


def test_engineers_see_how_each_connection_is(refused: Ticket, connections: dict[str, Connection], as_: As) -> None:
    concurrency.slow_down(connections["asana"].pk, 90)
    Connection.objects.filter(slug="zendesk").update(enabled=False)
    shown = home(as_("engineer"))
    assert "hubspot Credentials refused CRM · HubSpot · 1 step waits" in shown
    assert "asana Rate limited Delivery · Asana · resumes in" in shown
    assert "zendesk Disabled Support · Zendesk" in shown
    assert "HubSpot refuses our credentials; 1 run waits" in shown
    Connection.objects.filter(slug="asana").update(paused_until=None, concurrency_limit=None)
    assert "asana Healthy Delivery · Asana" in home(as_("engineer"))


@pytest.mark.parametrize("role", ["sales", "support", "finance", "lead"])
def test_connections_are_for_those_who_may_see_them(refused: Ticket, as_: As, role: str) -> None:
    assert as_(role).get(HOME).context.get("connections") is None


def test_a_step_that_waits_for_a_person_is_not_behind_its_connection(ambiguous: Ticket, as_: As) -> None:
    assert "hubspot Healthy CRM · HubSpot" in home(as_("engineer"))
    assert "step waits" not in home(as_("engineer"))


def test_runs_today_add_up_and_lead_to_their_lists(
    pay: Pay, as_: As, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain
) -> None:
    pay("done")
    drain()
    pay("stuck", commercial__term=None)
    pay("moving")
    services.hold(pay("held").pk, actor="lead", reason="They asked us to")
    services.cancel(pay("gone").pk, actor="lead", reason="They withdrew")
    kickoff = pay("kickoff")
    OnboardingTransaction.objects.filter(pk=kickoff.pk).update(status=Status.READY_FOR_KICKOFF)
    pay("yesterday", minutes_ago=60 * 24, commercial__term=None)
    tiles = {tile.label: tile for tile in as_("sales").get(HOME).context["today"]}
    assert {label: tile.count for label, tile in tiles.items()} == {
        "paid today": 6,
        "complete": 1,
        "in progress": 1,
        "provisioned": 1,
        "blocked": 1,
        "on hold": 1,
        "cancelled": 1,
    }
    listed = {label: text(as_("sales").get(tile.link)) for label, tile in tiles.items()}
    assert {label: words.count(" Works") for label, words in listed.items()} == {
        label: tile.count for label, tile in tiles.items()
    }
    assert "Stuck Works" in listed["blocked"]


def test_next_opens_the_most_urgent_ticket_of_my_queues(missing: Ticket, pay: Pay, as_: As) -> None:
    urgent = open_ticket(pay("urgent", minutes_ago=20, commercial__term=None))
    assert as_("sales").get(NEXT)["Location"] == page(urgent)
    assert "Nothing is waiting for you." in text(as_("support").get(NEXT, follow=True))
    assert as_("sales").post(NEXT).status_code == 405


def test_next_skips_tickets_being_retried(missing: Ticket, pay: Pay, as_: As) -> None:
    urgent = open_ticket(pay("urgent", minutes_ago=20, commercial__term=None))
    urgent.retry()
    urgent.save()
    assert as_("sales").get(NEXT)["Location"] == page(missing)
    assert "It is being retried now." in home(as_("sales"))


def test_resolved_ticket_links_to_the_next(missing: Ticket, as_: As) -> None:
    assert NEXT not in as_("sales").get(page(missing)).content.decode()
    as_("sales").post(act(missing, "fix"), {"customer.domain": "beta-works.com"})
    assert NEXT in as_("sales").get(page(missing)).content.decode()


def test_a_vendors_timestamps_are_readable(ambiguous: Ticket, as_: As) -> None:
    created = ambiguous.candidates[0]["evidence"]["created"]
    shown = text(as_("sales").get(page(ambiguous)))
    assert created not in shown
    assert f"{created[:10]} {created[11:16]} UTC" in shown


def test_a_search_without_hits_says_what_was_searched(missing: Ticket, as_: As) -> None:
    shown = text(as_("sales").get(QUEUE, {"q": "no-such-thing"}))
    assert "Nothing found for “no-such-thing”" in shown
    assert "Searched: Customer, contact, email, domain, payment or vendor id, #ticket" in shown
    assert "Clear the search" in shown
    assert "Nothing is waiting for you" in text(as_("support").get(QUEUE))
    assert "Clear the filters" in text(as_("support").get(QUEUE, {"queue": "finance"}))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("integrations/connection", "Add a connection"),
        ("integrations/inboundevent", "No event has come in yet"),
        ("integrations/apicall", "No vendor has been called yet"),
        ("exceptions_queue/alert", "No alert was needed yet"),
    ],
)
def test_an_empty_list_says_what_would_be_there(as_: As, path: str, words: str) -> None:
    assert words in text(as_("admin").get(f"/admin/{path}/"))


def test_user_without_a_team_gets_an_explanation(transactional_db: None, client: Client) -> None:
    client.force_login(User.objects.create_user("new", is_staff=True))
    assert "You are in no team yet" in home(client)
    assert client.get(NEXT).status_code == 403


@pytest.mark.parametrize("role", ["lead", "admin"])
def test_the_page_costs_the_same_with_ten_and_with_sixty_runs(pay: Pay, as_: As, refused: Ticket, role: str) -> None:
    viewer = as_(role)
    for number in range(10):
        pay(f"few{number}", minutes_ago=20, commercial__term=None)
    viewer.get(HOME)
    few = queries(viewer, HOME)
    for number in range(50):
        pay(f"many{number}", minutes_ago=20, commercial__term=None)
    assert queries(viewer, HOME) == few
    assert few < 22


def test_empty_console_explains_how_to_start(as_: As) -> None:
    shown = home(as_("engineer"))
    assert "No vendor is connected yet" in shown
    assert "Nothing is waiting for you" in shown
    assert "A run begins with a payment" in text(as_("engineer").get(RUNS))
