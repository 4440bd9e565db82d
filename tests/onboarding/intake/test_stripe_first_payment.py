"""The first settlement of a subscription opens a run, however it was settled and whatever its bill is called; a renewal none."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.enums import EventState
from integrations.inbound.events import PaymentSucceeded, Role, Settlement, SubscriptionFacts
from integrations.models import Connection, InboundEvent
from integrations.vendors.stripe.sample_events import ACACIA, BASIL, Payment
from onboarding.enums import Category, Scope, Status, Topic
from onboarding.intake import events
from onboarding.intake.subscriptions import Kind, Known, judge
from onboarding.models import OnboardingTransaction
from onboarding.payload.schema import get
from tests.support.stripe_events import COMPLETE, bought, connect, deliver, only_run, reread, settle, store, wait
from tests.support.threads import together

pytestmark = pytest.mark.django_db
VERSIONS = pytest.mark.parametrize("version", [ACACIA, BASIL])
REASONS = pytest.mark.parametrize("reason", ["subscription_cycle", "subscription_update", "subscription_threshold"])
FREE = {"amount_paid": 0}
CASHLESS: dict[str, dict[str, Any]] = {
    "credit balance": {**FREE, "amount_due": 0, "starting_balance": -1_200_000},
    "credit note": {**FREE, "pre_payment_credit_notes_amount": 1_200_000},
    "full discount": {**FREE, "amount_due": 0, "total": 0, "subtotal": 1_200_000},
    "below the minimum charge": {**FREE, "amount_due": 0, "total": 30, "ending_balance": 30},
    "by other means": {**FREE, "paid_out_of_band": True},
}


@pytest.fixture
def stripe(db: None) -> Connection:
    return connect()


def later(payment: Payment, **changes: Any) -> Payment:
    """A later bill of the same subscription."""
    same = {"customer": payment.customer, "subscription_id": payment.subscription_id, "version": payment.version}
    return bought(**{"billing_reason": "subscription_cycle", "metadata": payment.metadata, **same, **changes})


def trial_start(payment: Payment) -> list[dict[str, Any]]:
    return [payment.trial_session(), payment.free_invoice()]


@pytest.mark.usefixtures("stripe")
class TestAfterATrial:
    @VERSIONS
    @REASONS
    def test_the_first_paid_bill_opens_a_run(self, version: str, reason: str) -> None:
        trial = bought(version=version, metadata=COMPLETE)
        for event in trial_start(trial):
            assert deliver(event).state == EventState.IGNORED
        assert not OnboardingTransaction.objects.exists()
        wait(timedelta(days=14))
        deliver(later(trial, billing_reason=reason).invoice())
        assert get(only_run().payload, "commercial.amount") == 12000

    @VERSIONS
    def test_the_bills_after_it_open_nothing_and_say_why(self, version: str) -> None:
        trial = bought(version=version)
        for event in trial_start(trial):
            deliver(event)
        first, second = later(trial), later(trial)
        deliver(first.invoice())
        run, version_before = only_run(), only_run().snapshot_version
        told = deliver(second.invoice())
        assert (told.state, first.invoice_id in told.outcome) == (EventState.IGNORED, True)
        deliver(second.intent())
        wait()
        assert (only_run().pk, only_run().snapshot_version) == (run.pk, version_before)

    @pytest.mark.parametrize("start", ["session", "invoice", "subscription"])
    def test_any_event_of_its_beginning_is_enough(self, start: str) -> None:
        trial = bought()
        made = {"session": trial.trial_session, "invoice": trial.free_invoice, "subscription": trial.subscription}
        deliver(made[start]())
        deliver(later(trial).invoice())
        assert only_run()

    def test_one_that_began_before_us_is_known_by_the_trials_end(self) -> None:
        trial, now = bought(), int(clock.now().timestamp())
        began = int((clock.now() - timedelta(days=14)).timestamp())
        deliver(trial.subscription("customer.subscription.updated", start_date=began, trial_end=now))
        deliver(later(trial).invoice())
        assert only_run()

    @pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
    def test_in_any_order_is_one_run(self, order: tuple[int, ...]) -> None:
        trial = bought(metadata=COMPLETE)
        paid = later(trial)
        told = [*trial_start(trial), paid.invoice(), paid.intent()]
        for number in order:
            deliver(told[number])
            settle()
        wait()
        assert get(only_run().payload, "commercial.amount") == 12000
        assert not InboundEvent.objects.filter(due_at__isnull=False).exists()

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    def test_two_bills_in_any_order_with_its_beginning_are_one_run(self, order: tuple[int, ...]) -> None:
        trial = bought()
        told = [trial.trial_session(), later(trial).invoice(), later(trial).invoice()]
        for number in order:
            deliver(told[number])
            settle()
        wait()
        assert only_run()

    def test_a_free_plan_that_is_upgraded_opens_a_run(self) -> None:
        free = bought()
        for event in trial_start(free):
            deliver(event)
        deliver(later(free, billing_reason="subscription_cycle").free_invoice())
        deliver(later(free, billing_reason="subscription_update").invoice())
        assert only_run()


@pytest.mark.usefixtures("stripe")
class TestWithoutCash:
    @VERSIONS
    @pytest.mark.parametrize("how", list(CASHLESS))
    @pytest.mark.parametrize("after_trial", [False, True])
    def test_a_settlement_opens_a_run(self, version: str, how: str, after_trial: bool) -> None:
        payment = bought(version=version, linked=False, metadata=COMPLETE)
        if after_trial:
            for event in trial_start(payment):
                deliver(event)
            payment = later(payment, linked=False)
        told = deliver(payment.invoice(payment_intent=None, **CASHLESS[how]))
        assert told.state == EventState.PROCESSED
        assert only_run().held_at is None

    def test_a_checkout_with_a_full_discount_and_its_invoice_are_one_run(self) -> None:
        payment = bought(linked=False)
        free = {"payment_status": "no_payment_required", "amount_total": 0, "amount_subtotal": 1_200_000}
        deliver(payment.session(**free))
        deliver(payment.invoice(**CASHLESS["full discount"]))
        assert only_run()
        assert deliver(later(payment).invoice()).state == EventState.IGNORED

    def test_one_that_does_not_tell_how_it_was_settled_asks_before_anything_is_begun(self) -> None:
        told = deliver(bought(metadata=COMPLETE, linked=False).invoice(**FREE))
        run, ticket = only_run(), Ticket.objects.get()
        assert run.held_at
        assert (ticket.category, ticket.queue) == (Category.APPROVAL_OVERDUE, "finance")
        assert "on hold" in told.outcome

    def test_nobody_pays_a_bill_that_gives_money_back(self) -> None:
        deliver(bought(billing_reason="subscription_update").invoice(amount_paid=0, total=-500, subtotal=-500))
        assert not OnboardingTransaction.objects.exists()


@pytest.mark.usefixtures("stripe")
class TestOldCustomers:
    @VERSIONS
    @REASONS
    @pytest.mark.parametrize("how", ["paid", *CASHLESS])
    def test_a_renewal_opens_nothing_and_says_why(self, version: str, reason: str, how: str) -> None:
        renewal = bought(version=version, billing_reason=reason)
        told = deliver(renewal.invoice(**CASHLESS.get(how, {})))
        assert told.state == EventState.IGNORED
        assert "older than the customer's first event here" in told.outcome
        assert (
            deliver(renewal.invoice("invoice.payment_succeeded", **CASHLESS.get(how, {}))).state == EventState.IGNORED
        )
        assert not OnboardingTransaction.objects.exists()

    def test_event_of_an_old_subscription_keeps_its_renewal_a_renewal(self) -> None:
        old, began = bought(billing_reason="subscription_cycle"), int((clock.now() - timedelta(days=400)).timestamp())
        deliver(old.subscription("customer.subscription.updated", start_date=began))
        assert deliver(old.invoice()).state == EventState.IGNORED

    def test_an_upgrade_that_credits_unused_time_is_none(self) -> None:
        deliver(bought().session())
        wait(timedelta(days=400))
        upgrade = bought(billing_reason="subscription_update")
        lines = upgrade.invoice()["data"]["object"]["lines"]["data"]
        credit = {**lines[0], "amount": -500, "proration": True}
        assert "unused time" in deliver(upgrade.invoice(lines={"data": [*lines, credit]})).outcome

    def test_a_subscription_that_should_have_had_a_bill_here_before_is_asked_about(self) -> None:
        deliver(bought(mode="payment").session())
        wait(timedelta(days=60))
        unseen = bought(interval="month", billing_reason="subscription_cycle", metadata=COMPLETE)
        deliver(unseen.invoice())
        run = OnboardingTransaction.objects.get(onboarding_transaction_id=unseen.intent_id)
        assert run.held_at
        assert "beginning was not seen" in Ticket.objects.get(transaction=run, topic=Topic.PAYMENT).message
        assert not run.steps.filter(token__gt=0).exists()

    @pytest.mark.parametrize("answer", ["keep", "roll back"])
    def test_question_is_resolved_by_a_safe_action(self, answer: str) -> None:
        deliver(bought(mode="payment").session())
        wait(timedelta(days=60))
        unseen = bought(interval="month", billing_reason="subscription_cycle", metadata=COMPLETE)
        deliver(unseen.invoice())
        ticket = Ticket.objects.get(transaction__onboarding_transaction_id=unseen.intent_id)
        actions.perform(
            ticket.pk,
            "skip" if answer == "keep" else "rollback",
            Actor("finance", Scope.OPERATE),
            reason="It is a new customer.",
        )
        run = OnboardingTransaction.objects.get(onboarding_transaction_id=unseen.intent_id)
        assert run.held_at is None
        assert run.status == (Status.PROVISIONING if answer == "keep" else Status.ROLLED_BACK)
        assert not Ticket.objects.get(pk=ticket.pk).is_open
        assert deliver(later(unseen).invoice()).state == EventState.IGNORED

    def test_a_free_plan_whose_beginning_was_not_seen_is_asked_about_when_it_is_paid(self) -> None:
        free = bought(billing_reason="subscription_cycle")
        deliver(free.free_invoice())
        deliver(later(free, billing_reason="subscription_update").invoice())
        assert only_run().held_at


def _facts(**changes: Any) -> PaymentSucceeded:
    about = SubscriptionFacts("sub_1", is_start=changes.pop("is_start", False))
    at = datetime(2026, 11, 22, tzinfo=UTC)
    fields: dict[str, Any] = {
        "told_by": Role.INVOICE,
        "object_id": "in_2",
        "keys": (),
        "amount_minor": 100,
        "amount": Decimal(1),
        "currency": "EUR",
        "occurred_at": at,
        "is_later_invoice": True,
        "period": (at, at + timedelta(days=30)),
        "subscription": about,
        **changes,
    }
    return PaymentSucceeded(**fields)


AT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "known", "days", "kind"),
    [
        ({"subscription": None, "is_later_invoice": False}, None, 0, Kind.FIRST),
        ({"is_start": True}, Known(settled_by="in_1"), 0, Kind.FIRST),
        ({}, Known(settled_by="in_1", began_here=True), 0, Kind.RENEWAL),
        ({}, Known(settled_by="in_2"), 0, Kind.FIRST),
        ({}, Known(began_here=True), 0, Kind.FIRST),
        ({}, Known(free_bill_seen=True), 0, Kind.UNCLEAR),
        ({}, Known(trial_end=AT), 0, Kind.FIRST),
        ({}, Known(trial_end=AT - timedelta(days=30)), 0, Kind.RENEWAL),
        ({}, None, 0, Kind.RENEWAL),
        ({}, None, 33, Kind.RENEWAL),
        ({}, None, 34, Kind.UNCLEAR),
        ({"period": None}, None, 34, Kind.RENEWAL),
        ({"credits_unused_time": True}, None, 34, Kind.RENEWAL),
        ({"is_later_invoice": False}, None, 34, Kind.FIRST),
        ({"is_later_invoice": False}, Known(settled_by="in_1"), 34, Kind.RENEWAL),
        ({"settlement": Settlement.UNKNOWN}, Known(began_here=True), 0, Kind.UNCLEAR),
        ({"settlement": Settlement.UNKNOWN}, None, 0, Kind.RENEWAL),
        ({"subscription": SubscriptionFacts("")}, None, 0, Kind.UNCLEAR),
    ],
)
def test_the_verdict_table(facts: dict[str, Any], known: Known | None, days: int, kind: Kind) -> None:
    verdict = judge(_facts(**facts), known, AT - timedelta(days=days), AT)
    assert verdict.kind is kind
    assert bool(verdict.reason) is (kind is not Kind.FIRST)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("committed")
class TestAtTheSameMoment:
    def test_a_trials_beginning_and_its_first_bills_are_one_run(self) -> None:
        trial = bought(metadata=COMPLETE)
        first, second = later(trial), later(trial)
        told = [*trial_start(trial), first.invoice(), second.invoice(), first.intent()]
        stored = [store(event) for event in told]
        together([lambda pk=event.pk: events.process_event(pk) for event in stored])
        settle()
        wait()
        assert only_run()
        assert {reread(event).state for event in stored} <= {EventState.PROCESSED, EventState.IGNORED}
