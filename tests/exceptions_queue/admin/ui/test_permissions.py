"""One rule for who may do what to which object: each role by real requests at each door, with the same answer at all of them."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import RunEventType
from onboarding.models import OnboardingTransaction, Step
from tests.conftest import GROUPS, Drain
from tests.exceptions_queue.admin.conftest import QUEUE, RUNS, As, Pay, act, open_ticket, page, text

pytestmark = pytest.mark.one_database("postgres")
REASON = {"reason": "The customer asked for it"}
DOORS = {
    # what is done: at the ticket, on the run's page (of a step, or of the run as a whole)
    "skip": ("skip", "steps/{step}/skip/"),
    "replay": ("replay", "steps/{step}/replay/"),
    "rollback": ("rollback", "act/rollback/"),
    "keep": ("skip", "act/resume/"),
}
STUCK = {
    # who may, where the step's ticket is support's
    "skip": {"support", "lead", "admin"},
    "replay": {"support", "lead", "admin"},
    "rollback": {"engineer", "finance", "lead", "admin"},
}
TO_DECIDE = {
    # who may, where finance is asked whether a refunded run is kept
    "rollback": {"finance", "lead", "admin"},
    "keep": {"finance", "lead", "admin"},
}
WHO = sorted([*GROUPS, "admin"])


@pytest.fixture
def to_decide(pay: Pay, connections: dict[str, Connection]) -> Ticket:
    """The payment was refunded, so the run is on hold and finance is asked."""
    run = pay("beta")
    services.receive_event(
        run.pk, kind=RunEventType.PAYMENT_REFUNDED, event_id="re_1", occurred_at=clock.now(), data={}, actor="billing"
    )
    return open_ticket(run)


def at_the_run(ticket: Ticket, name: str) -> str:
    return f"{RUNS}{ticket.transaction_id}/{DOORS[name][1].format(step=ticket.step_id)}"


def refused_at(client: Any, ticket: Ticket, name: str) -> dict[str, bool]:
    """At each door: whether that person is refused. Asked for without a reason or a confirmation, so that nothing is done."""
    at_the_ticket = client.post(act(ticket, DOORS[name][0]), {}).status_code == 403
    return {
        "ticket": at_the_ticket,
        "run": client.post(at_the_run(ticket, name), {}).status_code == 403,
        "confirmation": client.get(at_the_run(ticket, name)).status_code == 403,
    }


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", ["skip", "rollback"])
def test_blocked_step_belongs_to_its_tickets_queue_in_every_interface(
    support_ticket: Ticket, as_: As, name: str, who: str
) -> None:
    client, refused = as_(who), who not in STUCK[name]
    link = at_the_run(support_ticket, name)
    run_page = client.get(f"{RUNS}{support_ticket.transaction_id}/change/").content.decode()
    ticket_page = client.get(page(support_ticket)).content.decode()
    offered = act(support_ticket, name) in ticket_page or link in ticket_page

    assert refused_at(client, support_ticket, name) == dict.fromkeys(("ticket", "run", "confirmation"), refused)
    assert (link in run_page, offered) == (not refused, not refused)
    assert Step.objects.get(pk=support_ticket.step_id).state == "blocked"


@pytest.mark.parametrize("who", WHO)
def test_replay_permission_is_the_same_in_every_interface(
    pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], as_: As, drain: Drain, who: str
) -> None:
    sandbox.add_fault("zendesk", "error_before", status=422)
    run = pay("beta")
    drain()
    ticket = open_ticket(run)
    Ticket.objects.filter(pk=ticket.pk).update(queue="support-ops", owner=None)
    client, refused = as_(who), who not in STUCK["replay"]

    at_the_run_page = client.get(at_the_run(ticket, "replay")).status_code == 403
    bulk = text(client.post(f"{QUEUE}bulk/retry/", {"ticket": [ticket.pk]}))
    at_the_ticket = client.post(act(ticket, "replay")).status_code == 403

    assert (at_the_run_page, at_the_ticket) == (refused, refused)
    assert ("may not retry on this ticket" in bulk) == (who not in {"support", "lead", "admin"})


@pytest.mark.parametrize("who", WHO)
def test_refund_decision_belongs_to_the_asked_queue_in_every_interface(to_decide: Ticket, as_: As, who: str) -> None:
    client = as_(who)
    run_page = client.get(f"{RUNS}{to_decide.transaction_id}/change/").content.decode()
    for name, those in TO_DECIDE.items():
        refused = who not in those
        link = at_the_run(to_decide, name)
        assert (link in run_page) == (not refused)
        assert client.post(act(to_decide, DOORS[name][0]), {}).status_code == (403 if refused else 422)
        if refused:
            assert client.get(link).status_code == client.post(link, REASON).status_code == 403
        elif name == "rollback":
            assert client.get(link).status_code == 200
    run = OnboardingTransaction.objects.get(pk=to_decide.transaction_id)
    assert (run.held_at is not None, run.is_rolling_back) == (True, False)


@pytest.mark.parametrize("who", WHO)
def test_missing_data_belongs_to_the_asked_queue_in_every_interface(missing: Ticket, as_: As, who: str) -> None:
    allowed = who in {"sales", "lead", "admin"}
    client, data = as_(who), {"customer.domain": "not a domain"}
    at_the_ticket = client.post(act(missing, "fix"), data).status_code
    change = client.get(f"{RUNS}{missing.transaction_id}/data/").status_code
    started = {"onboarding_transaction_id": "pay_beta", "event_source": "manual", "customer.domain": "beta-works.com"}
    again = client.post(f"{RUNS}start/", started)
    by_hand = again.status_code == 302

    assert (at_the_ticket, change) == ((422, 200) if allowed else (403, 403))
    assert by_hand == allowed, text(again)


@pytest.mark.parametrize("scope", ["intake", "read", "operate"])
def test_api_key_may_do_everything_or_nothing(
    support_ticket: Ticket, api_key: Callable[[str], str], scope: str
) -> None:
    client = APIClient(headers={"Authorization": f"Bearer {api_key(scope)}"})
    run = support_ticket.transaction
    assert run
    calls = {
        "skip": client.post(f"/api/v1/exceptions/{support_ticket.pk}/skip/", {}, format="json"),
        "note": client.post(f"/api/v1/exceptions/{support_ticket.pk}/note/", {"text": "Seen"}, format="json"),
        "hold": client.post(f"/api/v1/onboardings/{run.onboarding_transaction_id}/hold/", {}, format="json"),
    }
    refused = {name: answer.status_code == 403 for name, answer in calls.items()}
    assert refused == dict.fromkeys(calls, scope != "operate")
    if scope == "read":
        assert client.get(f"/api/v1/exceptions/{support_ticket.pk}/").json()["available_actions"] == []


# --- Finding people


@pytest.mark.parametrize("url", [QUEUE, RUNS])
@pytest.mark.parametrize("term", ["a", "ann", "ann@", "ann@beta-works.co", "works.com", "Ann Beta", "beta@example"])
def test_search_does_not_reveal_addresses(pay: Pay, as_: As, url: str, term: str) -> None:
    run = pay(
        "gamma",
        commercial__term=None,
        customer__legal_name="Qorp",
        customer__domain="qorp.io",
        customer__primary_contact={"name": "Ann Beta", "email": "ann@beta-works.com"},
    )
    run.correlation_keys.create(kind="order", value="beta@example.com")
    assert "Qorp" not in text(as_("finance").get(url, {"q": term}))
    assert "Qorp" in text(as_("finance").get(url, {"q": " Ann@Beta-Works.com"}))


@pytest.mark.parametrize("term", ["ann", "Ann Beta", "ann@beta-works.com", "works.com", "ta_1", "#{ticket}", "pi_beta"])
def test_who_sees_personal_data_finds_a_contact_by_a_part(missing: Ticket, pay: Pay, as_: As, term: str) -> None:
    pay("gamma", commercial__term=None, customer__primary_contact={"name": "Bo Li", "email": "bo@li-works.de"})
    for url in (QUEUE, RUNS):
        if term == "ta_1":
            OnboardingTransaction.objects.filter(pk=missing.transaction_id).update(onboarding_transaction_id="beta_1")
        shown = text(as_("support").get(url, {"q": term.format(ticket=missing.pk)}))
        assert shown.count("Beta Works") == 1
        assert "Gamma Works" not in shown


def test_a_key_that_reads_finds_a_contact_by_the_whole_address_alone(pay: Pay, api_key: Callable[[str], str]) -> None:
    pay("beta", customer__domain="zeta.io", commercial__term=None)

    def found(scope: str, term: str) -> int:
        client = APIClient(headers={"Authorization": f"Bearer {api_key(scope)}"})
        return int(client.get("/api/v1/onboardings/", {"search": term}).json()["count"])

    assert [found("read", term) for term in ("ann@", "ann@beta-works.co", "Ann", "ann@beta-works.com")] == [0, 0, 0, 1]
    assert [found("operate", term) for term in ("ann@", "Ann Beta")] == [1, 1]


def test_a_ticket_shows_no_address_to_those_who_may_not_see_it(ambiguous: Ticket, as_: As) -> None:
    address = "jordan.lee@acme-logistics.com"
    Ticket.objects.filter(pk=ambiguous.pk).update(
        message=f"The address {address} is taken.",
        problems=[{"path": "", "name": "email", "reason": f"{address} is taken"}],
        candidates=[{"external_id": "1", "label": "Beta", "url": "", "evidence": {"contact": address}}],
    )
    Step.objects.filter(pk=ambiguous.step_id).update(message=f"The address {address} is taken.")
    as_("lead").post(act(ambiguous, "note"), {"text": f"Write to {address}"})
    assert address in as_("sales").get(page(ambiguous)).content.decode()
    for url in (page(ambiguous), f"{QUEUE}?queue=all", f"{QUEUE}{ambiguous.pk}/live/"):
        assert address not in as_("finance").get(url).content.decode()
