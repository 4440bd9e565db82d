"""One payment, one run: whatever Stripe sends of it, how often and in which order."""

import os
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from integrations import clock, crypto
from integrations.enums import EventState
from integrations.inbound.events import PaymentSucceeded
from integrations.models import Connection, InboundEvent
from integrations.signals import event_failed
from integrations.vendors.stripe.sample_events import encode
from onboarding import services
from onboarding.enums import OriginKind
from onboarding.intake import billing, events, payments, service
from onboarding.models import ChangeRequest, CorrelationKey, OnboardingTransaction
from onboarding.origins import Sender
from onboarding.payload.schema import OnboardingPayload, get
from tests.conftest import Payload
from tests.support.stripe_events import (
    COMPLETE,
    HOLD,
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
KINDS = ("session", "invoice", "intent")


@pytest.fixture
def stripe(db: None) -> Connection:
    return connect()


def assert_nothing_is_open() -> None:
    assert not InboundEvent.objects.filter(due_at__isnull=False).exists()
    assert not InboundEvent.objects.filter(state=EventState.FAILED).exists()


@pytest.mark.usefixtures("stripe")
class TestOnePayment:
    @SHAPES
    @pytest.mark.parametrize("mode", ["subscription", "payment"])
    @pytest.mark.parametrize("order", list(permutations(KINDS)), ids="-".join)
    def test_in_any_order_and_shape_is_one_run(
        self, version: str, linked: bool, mode: str, order: tuple[str, ...]
    ) -> None:
        payment = bought(version=version, linked=linked, mode=mode, metadata=COMPLETE)
        # A one-off purchase has an invoice only where the session asked for one, and then names it.
        made = {kind: getattr(payment, kind) for kind in order}
        if mode == "payment":
            made["session"] = lambda: payment.session(invoice=payment.invoice_id)
        for kind in order:
            deliver(made[kind]())
        wait()
        assert_nothing_is_open()
        run = only_run()
        assert get(run.payload, "commercial.amount") == 12000
        assert run.customer_name == "Acme Logistics"
        assert not ChangeRequest.objects.exists()

    @SHAPES
    @pytest.mark.parametrize("order", list(permutations(KINDS)), ids="-".join)
    def test_even_when_each_event_comes_long_after_the_other(
        self, version: str, linked: bool, order: tuple[str, ...]
    ) -> None:
        payment = bought(version=version, linked=linked, metadata=COMPLETE)
        for kind in order:
            deliver(getattr(payment, kind)())
            wait(timedelta(hours=3))
        assert_nothing_is_open()
        assert only_run()

    def test_both_events_of_a_paid_invoice_are_one(self) -> None:
        payment = bought()
        deliver(payment.invoice())
        assert "nothing new" in deliver(payment.invoice("invoice.payment_succeeded")).outcome
        assert only_run()

    def test_an_event_is_processed_once(self) -> None:
        event = deliver(bought().session())
        before = only_run().snapshot_version
        events.process_event(event.pk)
        assert only_run().snapshot_version == before

    def test_its_keys_are_stored(self) -> None:
        payment = bought(metadata={"deal_id": "d1", "order_id": "1001", "onboarding_transaction_id": "pay_1"})
        deliver(payment.session())
        deliver(payment.invoice())
        assert {(key.kind, key.value) for key in CorrelationKey.objects.all()} == {
            ("firstvalue.id", "pay_1"),
            ("stripe.checkout_session", payment.session_id),
            ("stripe.invoice", payment.invoice_id),
            ("stripe.payment_intent", payment.intent_id),
            ("stripe.subscription", payment.subscription_id),
            ("deal", "d1"),
            ("order", "stripe:1001"),
        }
        assert only_run().onboarding_transaction_id == "pay_1"

    def test_an_id_that_cannot_be_ours_is_left_alone(self) -> None:
        payment = bought(metadata={"onboarding_transaction_id": "not / ours"})
        deliver(payment.invoice())
        assert only_run().onboarding_transaction_id == payment.intent_id

    def test_joins_the_run_that_our_own_system_has_opened(self) -> None:
        opened = {"onboarding_transaction_id": "pay_1", "event_source": "api", "customer": {"legal_name": "Acme"}}
        service.accept(opened, actor="tests")
        deliver(bought(metadata={"onboarding_transaction_id": "pay_1"}).session())
        assert get(only_run().payload, "commercial.amount") == 12000

    def test_an_unpaid_session_starts_once_it_is_paid(self) -> None:
        payment = bought(mode="payment")
        unpaid = deliver(payment.session(payment_status="unpaid"))
        assert unpaid.state == EventState.IGNORED
        assert not OnboardingTransaction.objects.exists()
        deliver(payment.session("checkout.session.async_payment_succeeded"))
        assert only_run().onboarding_transaction_id == payment.intent_id


@pytest.mark.usefixtures("stripe")
class TestTwoPayments:
    @SHAPES
    def test_of_one_customer_and_amount_are_two_runs(self, version: str, linked: bool) -> None:
        first, second = (bought(version=version, linked=linked, customer="cus_1") for _ in range(2))
        for kind in ("intent", "session", "invoice"):
            for payment in (first, second):
                deliver(getattr(payment, kind)())
        wait()
        assert_nothing_is_open()
        assert OnboardingTransaction.objects.count() == 2

    @SHAPES
    def test_with_all_intents_last_are_two_runs(self, version: str, linked: bool) -> None:
        first, second = (bought(version=version, linked=linked, customer="cus_1") for _ in range(2))
        for payment in (first, second):
            deliver(payment.invoice())
        for payment in (second, first):
            deliver(payment.intent())
        for payment in (second, first):
            deliver(payment.session())
        wait()
        assert_nothing_is_open()
        assert OnboardingTransaction.objects.count() == 2

    def test_of_one_deal_are_two_runs(self) -> None:
        for _ in range(2):
            payment = bought(mode="payment", customer="cus_1", metadata={"deal_id": "d1"})
            deliver(payment.session())
            deliver(payment.intent())
        assert OnboardingTransaction.objects.count() == 2

    def test_a_wrong_guess_is_undone_by_the_payments_own_session(self) -> None:
        first = bought(linked=False, customer="cus_1")
        second = bought(mode="payment", customer="cus_1")
        deliver(first.invoice())
        deliver(second.intent())
        wait()  # second's intent now counts as first's
        deliver(second.session())
        deliver(first.intent())
        wait()
        assert_nothing_is_open()
        assert OnboardingTransaction.objects.count() == 2

    def test_of_other_amounts_are_two_runs(self) -> None:
        deliver(bought(mode="payment", customer="cus_1", amount=100).intent())
        wait()
        deliver(bought(linked=False, customer="cus_1", amount=200).invoice())
        assert OnboardingTransaction.objects.count() == 2

    def test_days_apart_are_two_runs(self) -> None:
        deliver(bought(mode="payment", customer="cus_1").intent())
        wait(timedelta(days=4))
        deliver(bought(linked=False, customer="cus_1").invoice())
        assert OnboardingTransaction.objects.count() == 2


@pytest.mark.usefixtures("stripe")
class TestNever:
    @SHAPES
    @pytest.mark.parametrize("order", [("invoice", "intent"), ("intent", "invoice")], ids="-".join)
    @pytest.mark.parametrize("reason", ["subscription_cycle", "subscription_update", "subscription_threshold"])
    def test_renewals(self, version: str, linked: bool, order: tuple[str, ...], reason: str) -> None:
        renewal = bought(version=version, linked=linked, billing_reason=reason)
        for kind in order:
            deliver(getattr(renewal, kind)())
        wait()
        assert_nothing_is_open()
        assert set(InboundEvent.objects.values_list("state", flat=True)) == {EventState.IGNORED}
        assert not OnboardingTransaction.objects.exists()

    def test_a_renewal_leaves_the_customers_run_alone(self) -> None:
        payment = bought()
        deliver(payment.invoice())
        version = only_run().snapshot_version
        deliver(bought(subscription_id=payment.subscription_id, billing_reason="subscription_cycle").invoice())
        assert only_run().snapshot_version == version

    def test_a_test_mode_event_on_a_production_connection(self) -> None:
        connect("production")
        event = deliver(bought(livemode=False).session())
        assert event.state == EventState.IGNORED
        assert "test-mode" in event.outcome
        assert deliver(bought(livemode=True).session()).state == EventState.PROCESSED


@pytest.mark.usefixtures("stripe")
class TestBareIntent:
    def test_is_held_and_then_opens_a_run(self) -> None:
        payment = bought(mode="payment")
        event = deliver(payment.intent())
        assert event.state == EventState.HELD
        wait(timedelta(seconds=58))
        assert not OnboardingTransaction.objects.exists()
        wait(timedelta(seconds=3))
        assert only_run().onboarding_transaction_id == payment.intent_id

    def test_joins_at_once_when_its_id_becomes_known(self) -> None:
        payment = bought(mode="payment")
        event = deliver(payment.intent())
        deliver(payment.session())
        settle()
        assert reread(event).state == EventState.PROCESSED
        assert only_run()

    def test_of_a_known_payment_joins_without_waiting(self) -> None:
        payment = bought()
        deliver(payment.invoice())
        assert deliver(payment.intent()).state == EventState.PROCESSED

    def test_without_a_customer_is_matched_by_id_alone(self) -> None:
        deliver(bought(mode="payment", customer=None).intent())
        deliver(bought(linked=False, customer=None).invoice())
        wait()
        assert OnboardingTransaction.objects.count() == 2


@pytest.mark.usefixtures("stripe")
class TestTrouble:
    def test_an_unexpected_shape_is_kept_and_shown_and_can_be_processed_again(self) -> None:
        shown: list[str] = []

        def show(message: str, **_: Any) -> None:
            shown.append(message)

        event_failed.connect(show)
        try:
            event = deliver(bought().invoice(currency=7))
        finally:
            event_failed.disconnect(show)
        assert (event.state, event.due_at) == (EventState.FAILED, None)
        assert shown == [event.outcome]
        event.due_at, event.body = clock.now(), crypto.encrypt(encode(bought().invoice()).decode())
        event.save()
        settle()
        assert reread(event).state == EventState.PROCESSED

    def test_transient_failure_is_retried_five_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown: list[str] = []

        def show(message: str, **_: Any) -> None:
            shown.append(message)

        def fail(*_: Any) -> None:
            raise RuntimeError("Jordan Lee")

        event_failed.connect(show)
        monkeypatch.setattr(billing, "plan_for", fail)
        try:
            event = deliver(bought().session())
            for _ in range(3):
                assert event.due_at
                assert not shown
                wait()
            wait()
        finally:
            event_failed.disconnect(show)
        event = reread(event)
        assert (event.attempts, event.due_at, len(shown)) == (5, None, 1)
        assert "Jordan" not in event.outcome
        assert not OnboardingTransaction.objects.exists()
        monkeypatch.undo()
        event.due_at = clock.now()
        event.save()
        settle()
        assert only_run()

    def test_redelivery_does_not_question_a_manual_fix(self) -> None:
        payment = bought(metadata=COMPLETE)
        deliver(payment.invoice())
        service.join(
            only_run().pk,
            {"handover": {"success_criteria": "fixed"}},
            sender=Sender(OriginKind.PERSON, "kim"),
            actor="kim",
            keys=[],
        )
        deliver(payment.invoice("invoice.payment_succeeded"))
        assert not ChangeRequest.objects.exists()

    def test_conflicting_events_create_a_change_request(self) -> None:
        payment = bought(metadata={"legal_name": "Acme Logistics"})
        deliver(payment.session())
        payment.metadata = {"legal_name": "Acme Logistics Ltd"}
        deliver(payment.invoice())
        assert ChangeRequest.objects.get().paths == ["customer.legal_name"]

    def test_redelivered_event_does_not_revert_an_applied_change(self) -> None:
        first, second = {"legal_name": "Acme Logistics"}, {"legal_name": "Acme Logistics Ltd"}
        payment = bought(metadata=first)
        session = deliver(payment.session())
        payment.metadata = second
        deliver(payment.invoice())
        services.apply_change(ChangeRequest.objects.get().pk, actor="lee")
        payment.metadata = first
        again = deliver(payment.session("checkout.session.async_payment_succeeded"))
        assert again.pk != session.pk
        assert "nothing new" in reread(again).outcome
        run = only_run()
        assert (run.customer_name, run.snapshot_version) == ("Acme Logistics Ltd", run.snapshots.count())
        assert ChangeRequest.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("committed")
class TestAtTheSameMoment:
    @SHAPES
    def test_the_events_of_one_payment_make_one_run(self, version: str, linked: bool) -> None:
        payment = bought(version=version, linked=linked, metadata=COMPLETE)
        stored = [store(getattr(payment, kind)()) for kind in ("session", "invoice", "intent") for _ in range(2)]
        together([lambda pk=event.pk: events.process_event(pk) for event in stored])
        wait()
        assert_nothing_is_open()
        assert only_run()

    def test_many_payments_make_as_many_runs(self) -> None:
        payments = [bought(customer="cus_1", metadata=COMPLETE) for _ in range(4)]
        stored = [store(made) for payment in payments for made in (payment.session(), payment.invoice())]
        together([lambda pk=event.pk: events.process_event(pk) for event in stored])
        wait()
        assert_nothing_is_open()
        assert OnboardingTransaction.objects.count() == 4

    def test_an_intent_whose_wait_ends_as_its_invoice_comes_makes_one_run(self) -> None:
        payments = [bought(linked=False, metadata=COMPLETE) for _ in range(5)]
        intents = [deliver(payment.intent()) for payment in payments]
        clock.shift(HOLD)
        for payment, intent in zip(payments, intents, strict=True):
            stored = [intent, store(payment.invoice()), store(payment.session())]
            together([lambda pk=event.pk: events.process_event(pk) for event in stored])
        wait()
        assert_nothing_is_open()
        assert OnboardingTransaction.objects.count() == len(payments)

    @pytest.mark.skipif(os.environ.get("FIRSTVALUE_TEST_BACKEND") != "postgres", reason="SQLite's writers take turns")
    def test_a_post_that_names_the_same_id_meanwhile_is_joined_not_questioned(
        self, payload: Payload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        same = OnboardingPayload.model_validate(
            payload(onboarding_transaction_id="pay_1", event_source="shop", commercial__billing_email=None)
        ).content()
        payment = bought(metadata={**COMPLETE, "crm_owner_id": "u_789", "onboarding_transaction_id": "pay_1"})
        name, posted = payments.new_run_id, []

        def post() -> None:
            posted.append(service.accept(same, actor="rest").verdict)

        def after_a_post(facts: PaymentSucceeded) -> str:
            if not posted:
                together([post])
            return name(facts)

        monkeypatch.setattr(payments, "new_run_id", after_a_post)
        event = deliver(payment.session())
        assert posted == [service.Verdict.CREATED]
        assert event.outcome.startswith("joined pay_1")
        deliver(payment.invoice())
        deliver(payment.intent())
        wait()
        assert_nothing_is_open()
        assert (only_run().onboarding_transaction_id, only_run().event_source) == ("pay_1", "shop")
        held = set(CorrelationKey.objects.filter(transaction=only_run()).values_list("value", flat=True))
        assert {payment.session_id, payment.invoice_id} <= held
        assert not ChangeRequest.objects.exists()
