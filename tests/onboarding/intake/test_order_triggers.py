"""One customer order, told of by its signed envelope, its won deal and its paid invoice: one run, in whatever order they come."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from exceptions_queue.models import SlaClock, Ticket
from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import OriginKind, RunEventType, Topic, UnmatchedState
from onboarding.intake import events, service
from onboarding.intake.unmatched import WAIT
from onboarding.models import ChangeRequest, CorrelationKey, OnboardingTransaction, RunEvent, UnmatchedEvent
from onboarding.payload.schema import OnboardingPayload, get
from tests.conftest import Drain, Payload
from tests.support import order_events, stripe_events
from tests.support.order_events import DEAL_ID, ORDER_ID, Order, connect_docusign, connect_hubspot, connect_stripe
from tests.support.stripe_events import COMPLETE, wait
from tests.support.threads import together

PARTS = ("sign", "deal", "pay")
ORDERS = [pytest.param(order, id="-".join(order)) for order in permutations(PARTS)]
pytestmark = pytest.mark.django_db(transaction=True)


def only_run() -> OnboardingTransaction:
    return OnboardingTransaction.objects.get()


def settle() -> None:
    """What is processed may make others due."""
    while InboundEvent.objects.filter(due_at__lte=clock.now()).exists():
        stripe_events.settle()


def states() -> set[str]:
    return set(InboundEvent.objects.values_list("state", flat=True))


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("again", ["each at once", "all of it"])
def test_an_order_in_any_order_twice_is_one_run_and_one_object_everywhere(
    order: tuple[str, ...],
    again: str,
    connections: dict[str, Connection],
    sandbox: SandboxControl,
    drain: Drain,
    settled: Callable[[], list[OnboardingTransaction]],
) -> None:
    order_events.seed_deal(sandbox)
    connect_stripe(), connect_docusign(), connect_hubspot()
    made = Order()
    parts = [part for part in order for _ in range(2)] if again == "each at once" else [*order, *order]
    for part in parts:
        assert made.deliver(part).status_code == 200
        settle()
    assert InboundEvent.objects.count() == len(PARTS)
    assert states() == {EventState.PROCESSED}
    drain()
    assert settled() == [only_run()]
    run = only_run()
    assert run.occurred_at == moment(made.payment.created)
    assert set(RunEvent.objects.values_list("type", flat=True)) == {RunEventType.ORDER_SIGNED, RunEventType.DEAL_WON}
    assert RunEvent.objects.count() == 2
    assert not ChangeRequest.objects.exists()
    counts = sandbox.counts()["vendors"]
    assert counts["hubspot"]["companies"]["total"] == counts["hubspot"]["deals"]["total"] == 1
    assert counts["asana"]["projects"]["total"] == counts["zendesk"]["organizations"]["total"] == 1
    keys = set(CorrelationKey.objects.values_list("kind", "value"))
    assert {
        ("deal", DEAL_ID),
        ("order", f"docusign:{ORDER_ID.lower()}"),
        ("order", f"hubspot:{ORDER_ID.lower()}"),
    } <= keys
    assert get(run.payload, "commercial.deal_id") == DEAL_ID
    assert get(run.payload, "commercial.amount") == 12000, "what was paid, not the deal's forecast"


class TestStartsOrJoins:
    @pytest.fixture(autouse=True)
    def _stripe(self) -> None:
        connect_stripe()

    def test_a_joining_event_waits_for_its_run(self) -> None:
        connect_docusign()
        order = Order(envelope_fields={"deal_id": DEAL_ID, "milestone": "first report"})
        order.deliver("sign")
        settle()
        assert states() == {EventState.HELD}
        assert not OnboardingTransaction.objects.exists()
        order.deliver("pay")
        settle()
        assert states() == {EventState.PROCESSED}
        assert set(UnmatchedEvent.objects.values_list("state", flat=True)) == {UnmatchedState.APPLIED}
        payload = only_run().payload
        assert get(payload, "first_value_target.milestone") == "first report"
        origin = only_run().snapshot.provenance["first_value_target.milestone"]
        assert (origin["kind"], origin["name"]) == (OriginKind.ESIGN_EVENT, "docusign")

    def test_a_signature_that_starts_is_what_the_clock_counts_from(self) -> None:
        connect_docusign(order_signed="starts")
        order = Order(envelope_fields={**COMPLETE, "deal_id": DEAL_ID})
        order.deliver("sign")
        settle()
        run = only_run()
        assert run.occurred_at == moment(order.envelope.completed)
        assert SlaClock.objects.get(transaction=run, milestone="P1").started_at == run.occurred_at
        order.deliver("pay")
        settle()
        assert only_run().occurred_at == run.occurred_at
        assert states() == {EventState.PROCESSED}
        assert RunEvent.objects.get().type == RunEventType.ORDER_SIGNED

    def test_a_payment_may_join_what_a_signature_starts(self) -> None:
        connect_stripe(payment_succeeded="joins")
        connect_docusign(order_signed="starts")
        order = Order(envelope_fields={**COMPLETE, "deal_id": DEAL_ID})
        order.deliver("pay")
        settle()
        assert not OnboardingTransaction.objects.exists()
        order.deliver("sign")
        settle()
        assert only_run().onboarding_transaction_id == f"docusign-{order.envelope.envelope_id}"
        assert states() == {EventState.PROCESSED}
        assert ("stripe.invoice", order.payment.invoice_id) in CorrelationKey.objects.values_list("kind", "value")

    @pytest.mark.parametrize("first", ["sign", "pay"])
    def test_two_sources_that_both_start_make_one_run_of_an_order(self, first: str) -> None:
        connect_docusign(order_signed="starts")
        order = Order(
            envelope_fields={**COMPLETE, "order_id": ORDER_ID}, payment_metadata={**COMPLETE, "order_id": ORDER_ID}
        )
        for part in (first, "pay" if first == "sign" else "sign"):
            order.deliver(part)
            settle()
        assert only_run().event_source
        assert states() == {EventState.PROCESSED}

    def test_two_sources_at_the_same_moment_make_one_run(self) -> None:
        connect_docusign(order_signed="starts")
        order = Order(
            envelope_fields={**COMPLETE, "order_id": ORDER_ID}, payment_metadata={**COMPLETE, "order_id": ORDER_ID}
        )
        order.deliver("sign"), order.deliver("pay")
        pks = InboundEvent.objects.values_list("pk", flat=True)
        together([partial(events.process_event, pk) for pk in pks])
        settle()
        assert only_run()
        assert states() == {EventState.PROCESSED}

    def test_our_id_ties_an_envelope_to_its_run_in_any_case(self) -> None:
        connect_docusign()
        order = Order(
            envelope_fields={"onboarding_transaction_id": "ORDER-7"},
            payment_metadata={**COMPLETE, "onboarding_transaction_id": "order-7"},
        )
        order.deliver("sign"), settle()
        order.deliver("pay"), settle()
        assert only_run().onboarding_transaction_id == "order-7"
        assert states() == {EventState.PROCESSED}

    def test_a_subscription_that_was_copied_into_the_envelope_ties_it(self) -> None:
        connect_docusign()
        order = Order(payment_metadata=dict(COMPLETE))
        order.envelope.custom_fields = {"subscription_id": order.payment.subscription_id}
        order.deliver("sign"), settle()
        order.deliver("pay"), settle()
        assert states() == {EventState.PROCESSED}
        assert RunEvent.objects.get().transaction == only_run()

    def test_another_billing_accounts_number_is_another_order(self) -> None:
        order = Order(payment_metadata={**COMPLETE, "order_id": ORDER_ID})
        order.deliver("pay"), settle()
        kind: dict[str, Any] = {"system": "billing", "provider": "stripe", "environment": "sandbox"}
        set_connection("second", **kind, secrets={"webhook_secret": [order_events.STRIPE_SECRET]}, actor="tests")
        other = Order(payment_metadata={**COMPLETE, "order_id": ORDER_ID})
        raw = order_events.stripe.encode(other.invoice)
        signed = order_events.stripe.sign(raw, order_events.STRIPE_SECRET, other.at)
        order_events._post("second", raw, {"Stripe-Signature": signed})
        settle()
        assert OnboardingTransaction.objects.count() == 2

    def test_a_number_of_several_onboardings_is_asked_about(self) -> None:
        self.test_another_billing_accounts_number_is_another_order()
        connect_docusign()
        Order().deliver("sign"), settle()
        event = InboundEvent.objects.get(connection__slug="docusign")
        assert event.state == EventState.FAILED
        assert "several onboardings" in event.outcome
        assert Ticket.objects.filter(connection__slug="docusign").unresolved().exists()

    @pytest.mark.parametrize("key", ["deal_id", "order_id"])
    def test_a_payload_by_rest_has_the_deal_and_the_order_that_it_names(self, key: str, payload: Payload) -> None:
        connect_docusign()
        Order(envelope_fields={key: DEAL_ID}).deliver("sign"), settle()
        content = OnboardingPayload.model_validate(payload(**{f"commercial__{key}": DEAL_ID})).content()
        run = service.accept(content, actor="tests").run
        settle()
        assert states() == {EventState.PROCESSED}
        assert RunEvent.objects.get().transaction == run

    def test_a_statement_that_differs_is_a_change_request(self) -> None:
        connect_docusign()
        order = Order(envelope_fields={"deal_id": DEAL_ID, "plan_sku": "enterprise"})
        order.deliver("pay"), settle()
        order.deliver("sign"), settle()
        request = ChangeRequest.objects.get()
        assert request.paths == ["commercial.plan_sku"]
        assert get(only_run().payload, "commercial.plan_sku") == "pro"

    def test_an_envelope_without_an_orders_key_is_another_paper(self) -> None:
        connect_docusign(order_signed="starts")
        Order(envelope_fields={"department": "HR"}).deliver("sign"), settle()
        assert states() == {EventState.IGNORED}
        assert not OnboardingTransaction.objects.exists()

    def test_a_wait_that_is_over_says_so_and_its_run_still_gets_it(self) -> None:
        connect_docusign()
        order = Order(envelope_fields={"deal_id": DEAL_ID})
        order.deliver("sign"), settle()
        wait(WAIT)
        assert states() == {EventState.IGNORED}
        Order().deliver("pay"), settle()
        settle()
        assert states() == {EventState.PROCESSED}

    def test_a_key_that_ties_two_runs_together_asks_a_person_to_join_them(self) -> None:
        connect_docusign()
        Order(payment_metadata={**COMPLETE, "deal_id": DEAL_ID}).deliver("pay"), settle()
        Order(payment_metadata={**COMPLETE, "order_id": ORDER_ID}).deliver("pay"), settle()
        order = Order(envelope_fields={"deal_id": DEAL_ID, "order_id": ORDER_ID})
        order.envelope.list_fields = {"firstvalue_event": "contract-approved"}
        order.deliver("sign"), settle()
        event = RunEvent.objects.get()
        assert event.type == RunEventType.CONTRACT_APPROVED
        other = OnboardingTransaction.objects.exclude(pk=event.transaction_id).get()
        about = Ticket.objects.filter(transaction=event.transaction, topic=Topic.TWO_RUNS).unresolved()
        assert str(other) in about.get().message
        services.join(other.pk, str(event.transaction), actor="lead", reason="Both are of this order.")
        assert not about.exists()
