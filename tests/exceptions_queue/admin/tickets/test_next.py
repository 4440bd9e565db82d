"""The next ticket is one that waits for a person; one can be put aside with a reason."""

from datetime import timedelta

import pytest
from django.test import Client

from exceptions_queue.models import Ticket
from exceptions_queue.tickets import lifecycle
from integrations import clock
from integrations.enums import Breaker
from integrations.models import Connection
from onboarding.enums import Category
from onboarding.models import Step
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import QUEUE, As, Pay, act, open_ticket, page, text

NEXT = f"{QUEUE}next/"
ASIDE = {"minutes": "60", "reason": "They answer after lunch"}


@pytest.fixture
def two(pay: Pay) -> tuple[Ticket, Ticket]:
    """The first is the more urgent one."""
    first, second = (
        open_ticket(pay(name, minutes_ago=ago, customer__domain="gmail.com"))
        for name, ago in (("one", 200), ("two", 0))
    )
    return first, second


def next_of(client: Client) -> str:
    return str(client.get(NEXT).get("Location"))


def test_snoozed_ticket_is_not_next_until_it_ends(two: tuple[Ticket, Ticket], as_: As) -> None:
    first, second = two
    sales = as_("sales")
    assert next_of(sales) == page(first)
    answer = sales.post(act(first, "snooze"), ASIDE, follow=True)
    assert answer.redirect_chain[-1][0] == page(second)
    assert "Snoozed until" in text(answer)
    assert next_of(sales) == page(second)
    assert "1 ticket waits for you" in text(sales.get("/admin/"))
    assert "They answer after lunch" in text(sales.get(page(first)))
    clock.shift(timedelta(minutes=61))
    assert next_of(sales) == page(first)


def test_snoozed_tickets_have_their_own_view(two: tuple[Ticket, Ticket], as_: As) -> None:
    sales = as_("sales")
    sales.post(act(two[0], "snooze"), ASIDE)
    shown = text(sales.get(f"{QUEUE}?status=snoozed&queue=all"))
    assert ("One Works" in shown, "Two Works" in shown) == (True, False)


def test_snooze_needs_a_reason(two: tuple[Ticket, Ticket], as_: As) -> None:
    answer = as_("sales").post(act(two[0], "snooze"), ASIDE | {"reason": " "})
    assert (answer.status_code, "Say why, in a few words." in text(answer)) == (422, True)
    assert Ticket.objects.get(pk=two[0].pk).snoozed_until is None


def test_snooze_ends_with_the_sla_clock(two: tuple[Ticket, Ticket], as_: As) -> None:
    as_("sales").post(act(two[1], "snooze"), ASIDE)
    ticket = Ticket.objects.get(pk=two[1].pk)
    assert ticket.sla_due is not None
    assert ticket.snoozed_until == ticket.sla_due


def test_ticket_is_unsnoozed(two: tuple[Ticket, Ticket], as_: As) -> None:
    sales = as_("sales")
    sales.post(act(two[0], "snooze"), ASIDE)
    assert "End the snooze" in text(sales.get(page(two[0])))
    answer = sales.post(act(two[0], "snooze"), {"minutes": "0"}, follow=True)
    assert answer.redirect_chain[-1][0] == page(two[0])
    assert next_of(sales) == page(two[0])


def test_new_failure_ends_the_snooze(two: tuple[Ticket, Ticket], as_: As) -> None:
    sales = as_("sales")
    sales.post(act(two[0], "snooze"), ASIDE)
    run = two[0].transaction
    assert run
    lifecycle.for_run(run, category=Category.STALLED, message="It stands still.", problems=[])
    assert Ticket.objects.get(pk=two[0].pk).snoozed_until is None


def test_ticket_waiting_for_a_connection_is_not_next(
    pay: Pay, sandbox: object, connections: dict[str, Connection], ambiguous: Ticket, as_: As
) -> None:
    lead = as_("lead")
    assert next_of(lead) == page(ambiguous)
    Connection.objects.filter(slug="hubspot").update(breaker=Breaker.OPEN)
    Step.objects.filter(pk=ambiguous.step_id).update(due_at=clock.now())
    assert next_of(lead) == "/admin/"
    assert "Nothing is waiting for you. 1 is tried again, parked or snoozed." in text(lead.get(NEXT, follow=True))


def test_retried_ticket_is_next_only_after_failing_again(
    ambiguous: Ticket, as_: As, drain: Drain, connections: dict[str, Connection]
) -> None:
    sales = as_("sales")
    assert next_of(sales) == page(ambiguous)
    sales.post(act(ambiguous, "choose-match"), {"external_id": ambiguous.candidates[0]["external_id"]})
    assert next_of(sales) == "/admin/"
