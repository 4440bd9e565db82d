"""Two runs of one order are joined by a person."""

from typing import Any

import pytest

from exceptions_queue.models import SlaClock, Ticket
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.enums import RunEventType, Status, Topic
from onboarding.intake import orders, service
from onboarding.models import CorrelationKey, OnboardingTransaction, RunEvent
from onboarding.payload.schema import OnboardingPayload, get
from tests.conftest import Drain, Payload
from tests.onboarding.conftest import status_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two(payload: Payload) -> tuple[OnboardingTransaction, OnboardingTransaction]:
    """Of one customer, by two sources, without a common key."""

    def accept(run_id: str, key: str, **overrides: Any) -> OnboardingTransaction:
        content = OnboardingPayload.model_validate(payload(onboarding_transaction_id=run_id, **overrides)).content()
        return service.accept(content, actor="tests", keys=[("deal", key)]).run

    return accept("pay_1", "D1", ownership__crm_owner_id=None), accept("pay_2", "D2", commercial__cost_centre="CC-7")


def reread(run: OnboardingTransaction) -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(pk=run.pk)


def join(run: OnboardingTransaction, kept: OnboardingTransaction) -> None:
    services.join(run.pk, str(kept), actor="lead", reason="Both are of order 1001.")


Two = tuple[OnboardingTransaction, OnboardingTransaction]


def test_the_joined_run_is_cancelled_and_the_other_takes_its_keys_and_what_only_it_knows(two: Two) -> None:
    kept, joined = two
    join(joined, kept)
    assert (status_of(joined), reread(joined).joined_into) == (Status.CANCELLED, kept)
    assert set(CorrelationKey.objects.values_list("value", "transaction")) == {("D1", kept.pk), ("D2", kept.pk)}
    payload = reread(kept).payload
    assert get(payload, "commercial.cost_centre") == "CC-7"
    assert get(payload, "ownership.crm_owner_id") == "u_789", "the gate found it missing"
    assert status_of(kept) == Status.PROVISIONING
    assert get(payload, "onboarding_transaction_id") == "pay_1"
    assert SlaClock.objects.get(transaction=joined).state == "cancelled"
    assert list(audit.broken_links()) == []


def test_what_is_told_of_the_joined_run_is_of_the_other(two: Two) -> None:
    kept, joined = two
    services.receive_event(
        joined.pk, kind=RunEventType.ORDER_SIGNED, event_id="e1", occurred_at=clock.now(), data={}, actor="tests"
    )
    join(joined, kept)
    services.receive_event(
        joined.pk, kind=RunEventType.DEAL_WON, event_id="e2", occurred_at=clock.now(), data={}, actor="tests"
    )
    assert set(RunEvent.objects.values_list("event_id", "transaction")) == {("e1", kept.pk), ("e2", kept.pk)}
    assert orders.runs_called(["PAY_2"]) == kept.pk


def test_a_refund_of_the_joined_run_holds_the_other(two: Two) -> None:
    kept, joined = two
    services.receive_event(
        joined.pk, kind=RunEventType.PAYMENT_REFUNDED, event_id="re", occurred_at=clock.now(), data={}, actor="tests"
    )
    join(joined, kept)
    assert reread(kept).held_at
    assert Ticket.objects.filter(transaction=kept, topic=Topic.REFUND).unresolved().exists()


def test_surplus_objects_become_a_ticket_which_a_person_closes(
    payload: Payload, connections: dict[str, Connection], sandbox: SandboxControl, drain: Drain
) -> None:
    def accept(run_id: str, **overrides: Any) -> OnboardingTransaction:
        content = OnboardingPayload.model_validate(payload(onboarding_transaction_id=run_id, **overrides)).content()
        return service.accept(content, actor="tests").run

    joined = accept("pay_1")
    drain()
    kept = accept("pay_2")
    drain()
    projects = {each["id"] for each in sandbox.objects("asana", "projects")}
    join(joined, kept)
    ticket = Ticket.objects.unresolved().get(transaction=joined)
    assert (ticket.topic, ticket.is_by_hand) == (Topic.SURPLUS, True)
    made = joined.mappings.filter(kind="project").values_list("external_id", flat=True)
    assert set(made) <= projects
    assert all(f"asana: project {each}" in ticket.message for each in made)
    assert "hubspot: company" not in ticket.message, "both runs use the customer's one account"
    assert list(audit.broken_links()) == []


@pytest.mark.parametrize(("into", "said"), [("pay_9", "no onboarding"), ("pay_2", "into itself")])
def test_what_cannot_be_joined_is_refused(into: str, said: str, two: Two) -> None:
    with pytest.raises(services.Refused, match=said):
        services.join(two[1].pk, into, actor="lead", reason="Why not.")


def test_neither_a_cancelled_run_is_joined_nor_does_it_take_one(two: Two) -> None:
    kept, joined = two
    services.cancel(joined.pk, actor="lead", reason="Withdrawn.")
    with pytest.raises(services.Refused, match="cancelled"):
        join(joined, kept)
    with pytest.raises(services.Refused, match="cancelled"):
        join(kept, joined)


def test_runs_of_the_same_customer_are_offered(two: Two, payload: Payload) -> None:
    kept, joined = two
    assert services.join_candidates(joined) == [kept]
