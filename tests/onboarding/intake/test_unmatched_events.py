"""A refund that overtakes its payment is kept and applied once, when the run opens. By REST:
``tests/exceptions_queue/api/intake/test_early_events.py``."""

from datetime import timedelta
from itertools import permutations

import pytest

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from onboarding.enums import Category, RunEventType, Topic, UnmatchedState
from onboarding.intake import events, service, unmatched
from onboarding.models import OnboardingTransaction, RunEvent, UnmatchedEvent
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Payload
from tests.support.stripe_events import (
    COMPLETE,
    SHAPES,
    bought,
    connect,
    deliver,
    only_run,
    reread,
    settle,
    store,
    wait,
)
from tests.support.threads import together

pytestmark = pytest.mark.django_db
FULL = COMPLETE | {"domain": "acme-logistics.com", "term": "annual", "contact_email": "jordan@acme-logistics.com"}


@pytest.fixture
def stripe(db: None) -> Connection:
    return connect()


def assert_held_and_asked() -> None:
    run = only_run()
    assert run.held_at
    assert run.hold_reason == "The payment was refunded."
    assert (
        Ticket.objects.get(transaction=run, status__in=UNRESOLVED, topic=Topic.REFUND).category
        == Category.APPROVAL_OVERDUE
    )
    assert not run.steps.filter(token__gt=0).exists()
    assert RunEvent.objects.get().type == RunEventType.PAYMENT_REFUNDED


@pytest.mark.usefixtures("stripe")
class TestARefund:
    @SHAPES
    @pytest.mark.parametrize("mode", ["subscription", "payment"])
    def test_refund_before_its_payment_holds_the_run(self, version: str, linked: bool, mode: str) -> None:
        payment = bought(version=version, linked=linked, mode=mode, metadata=FULL)
        refund = deliver(payment.refund())
        assert (refund.state, "kept" in refund.outcome) == (EventState.HELD, True)
        for event in (payment.session(), payment.intent(), *([payment.invoice()] if payment.subscribed else [])):
            deliver(event)
        wait()
        assert_held_and_asked()
        assert reread(refund).state == EventState.PROCESSED

    @SHAPES
    @pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
    def test_in_any_order_is_applied_once(self, version: str, linked: bool, order: tuple[int, ...]) -> None:
        payment = bought(version=version, linked=linked, metadata=FULL)
        told = [payment.session(), payment.invoice(), payment.intent(), payment.refund()]
        for number in order:
            deliver(told[number])
            settle()
        wait()
        assert_held_and_asked()
        assert not InboundEvent.objects.filter(due_at__isnull=False).exists()
        assert set(UnmatchedEvent.objects.values_list("state", flat=True)) <= {UnmatchedState.APPLIED}

    def test_of_a_payment_that_is_tied_to_its_invoice_later_is_applied_then(self) -> None:
        payment = bought(linked=False, customer=None, metadata=FULL)
        refund = deliver(payment.refund())
        deliver(payment.invoice())
        assert only_run().held_at is None
        deliver(payment.invoice_payment())
        assert only_run().held_at
        assert reread(refund).state == EventState.PROCESSED

    def test_of_a_part_holds_nothing(self) -> None:
        payment = bought()
        assert deliver(payment.refund(refunded=False, amount_refunded=100)).state == EventState.IGNORED
        deliver(payment.session())
        assert only_run().held_at is None

    def test_of_a_renewal_says_so(self) -> None:
        renewal = bought(billing_reason="subscription_cycle")
        deliver(renewal.invoice())
        refund = deliver(renewal.refund())
        assert (refund.state, "renewal" in refund.outcome) == (EventState.IGNORED, True)

    def test_whose_payment_never_comes_is_shown_as_such(self) -> None:
        refund = deliver(bought().refund())
        wait(unmatched.WAIT + timedelta(seconds=1))
        refund = reread(refund)
        assert (refund.state, "30 days" in refund.outcome) == (EventState.IGNORED, True)
        assert {row.state for row in UnmatchedEvent.objects.all()} == {UnmatchedState.EXPIRED}

    def test_expired_refund_still_holds_a_later_run(self) -> None:
        payment = bought(metadata=FULL)
        refund = deliver(payment.refund())
        wait(unmatched.WAIT + timedelta(seconds=1))
        deliver(payment.session())
        deliver(payment.intent())
        assert_held_and_asked()
        assert reread(refund).state == EventState.PROCESSED


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("committed")
class TestAtTheSameMoment:
    def test_a_refund_and_its_payment_end_in_a_run_on_hold(self) -> None:
        for _ in range(5):
            payment = bought(metadata=FULL)
            stored = [
                store(event) for event in (payment.session(), payment.invoice(), payment.intent(), payment.refund())
            ]
            together([lambda pk=event.pk: events.process_event(pk) for event in stored])
            wait()
            run = OnboardingTransaction.objects.order_by("-pk")[0]
            assert run.held_at
            assert reread(stored[-1]).state == EventState.PROCESSED

    def test_concurrent_event_and_run_always_meet(self, payload: Payload) -> None:
        refund = {"kind": RunEventType.PAYMENT_REFUNDED, "event_id": "evt", "occurred_at": clock.now(), "data": {}}
        for number in range(8):
            run_id = f"pay_{number}"
            content = OnboardingPayload.model_validate(payload(onboarding_transaction_id=run_id)).content()
            results = together(
                [
                    lambda content=content: service.accept(content, actor="tests"),
                    lambda run_id=run_id: unmatched.receive(run_id, actor="tests", **refund),
                ]
            )
            run = OnboardingTransaction.objects.get(onboarding_transaction_id=run_id)
            assert run.events.exists() is (results[1] is not None)
