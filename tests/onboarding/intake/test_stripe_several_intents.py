"""One invoice paid by several payment intents is one run, and what is learnt late of a payment looks at the run that
it opened.
"""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from exceptions_queue.models import UNRESOLVED, Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets.actions import perform
from integrations import clock
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from integrations.vendors.stripe.sample_events import ACACIA, BASIL, Payment
from onboarding import services
from onboarding.engine.runs.gate_evaluation import LOOKUP
from onboarding.enums import Category, Scope, Status, Topic
from onboarding.intake import events
from onboarding.models import CorrelationKey, OnboardingTransaction, Step
from onboarding.payload.schema import get
from tests.one_database import sized
from tests.support.stripe_events import COMPLETE, bought, connect, deliver, only_run, reread, settle, store, wait
from tests.support.threads import together

pytestmark = pytest.mark.django_db
HOURS = timedelta(hours=1)
LINKS = pytest.mark.parametrize(
    "link", ["by customer and amounts", "in the invoice", "in the intents", "by invoice_payment.paid"]
)


@pytest.fixture
def stripe(db: None) -> Connection:
    return connect()


class Shared:
    """An invoice of 12,000, paid by two intents of 5,000 and 7,000."""

    def __init__(self, link: str = "", **changes: Any) -> None:
        self.whole = bought(**{"linked": False, "metadata": COMPLETE, **changes})
        same = {"customer": self.whole.customer, "invoice_id": self.whole.invoice_id, "version": self.whole.version}
        named = link == "in the intents"
        self.parts = [bought(**same, amount=amount, linked=named) for amount in (500_000, 700_000)]
        self.link = link

    def invoice(self, **changes: Any) -> dict[str, Any]:
        if self.link == "in the invoice":
            entries = [
                {"status": "paid", "payment": {"type": "payment_intent", "payment_intent": part.intent_id}}
                for part in self.parts
            ]
            changes = {"payments": {"object": "list", "data": entries}, **changes}
        return self.whole.invoice(**changes)

    @property
    def events(self) -> list[dict[str, Any]]:
        links = [part.invoice_payment() for part in self.parts] if self.link == "by invoice_payment.paid" else []
        return [self.invoice(), *(part.intent() for part in self.parts), *links]


def open_runs() -> list[OnboardingTransaction]:
    return list(OnboardingTransaction.objects.exclude(status=Status.CANCELLED))


def begin(run: OnboardingTransaction) -> None:
    """As if a worker had one of its steps in hand."""
    step = Step.objects.filter(transaction=run).exclude(key=LOOKUP).first()
    assert step
    step.claim(at=clock.now(), lease_until=clock.now(), send_by=clock.now())
    step.save()


def started(payment: Payment) -> OnboardingTransaction:
    """A run that the payment's intent alone has opened, and that was provisioned in part."""
    told = COMPLETE | {"domain": "acme-logistics.com", "term": "annual", "contact_email": "j@acme-logistics.com"}
    deliver(payment.intent(metadata=told))
    wait()
    run = only_run()
    assert run.status == Status.PROVISIONING
    begin(run)
    return run


@pytest.mark.usefixtures("stripe")
class TestOneInvoice:
    @LINKS
    def test_paid_by_several_intents_in_any_order_is_one_run(self, link: str) -> None:
        for order in list(permutations(range(len(Shared(link).events))))[:: sized(1, 7)]:
            told = Shared(link).events
            before = len(open_runs())
            for number in order:
                deliver(told[number])
                settle()
            wait()
            assert len(open_runs()) == before + 1, order
        assert not InboundEvent.objects.filter(due_at__isnull=False).exists()

    @LINKS
    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)], ids=str)
    def test_long_after_one_another_ends_as_one_run(self, link: str, order: tuple[int, ...]) -> None:
        shared = Shared(link)
        told = shared.events
        for number in [*order, *range(3, len(told))]:
            deliver(told[number])
            wait(HOURS)
        run = open_runs()[0]
        assert len(open_runs()) == 1
        assert run.held_at is None
        asked = Ticket.objects.filter(status__in=UNRESOLVED, category=Category.APPROVAL_OVERDUE)
        assert not asked.filter(change_request=None).exists()
        # Where it was provisioned from a part's amount, the whole amount is a change for people; a part's never is.
        proposed = {get(each.change_request.proposed, "commercial.amount") for each in asked}
        assert proposed <= {12000}
        intents = {part.intent_id for part in shared.parts}
        assert set(CorrelationKey.objects.filter(transaction=run).values_list("value", flat=True)) >= {
            *intents,
            shared.whole.invoice_id,
        }

    def test_the_run_that_got_further_stays(self) -> None:
        shared = Shared("by invoice_payment.paid")
        run = started(shared.parts[0])
        deliver(shared.invoice())
        waiting = OnboardingTransaction.objects.exclude(pk=run.pk).get()
        assert waiting.held_at  # it may be the same order: nothing is provisioned before that is told
        for part in shared.parts:
            deliver(part.invoice_payment())
        assert [each.pk for each in open_runs()] == [run.pk]
        waiting = OnboardingTransaction.objects.get(pk=waiting.pk)
        assert run.onboarding_transaction_id in waiting.cancel_reason
        assert not Ticket.objects.filter(transaction=waiting, status__in=UNRESOLVED).exists()

    def test_where_both_were_begun_a_person_decides(self) -> None:
        shared = Shared("by invoice_payment.paid")
        first = started(shared.parts[0])
        deliver(shared.invoice())
        second = OnboardingTransaction.objects.exclude(pk=first.pk).get()
        services.keep(second.pk, actor="finance", reason="Two orders.")
        begin(OnboardingTransaction.objects.get(pk=second.pk))
        deliver(shared.parts[0].invoice_payment())
        held = [run for run in open_runs() if run.held_at]
        assert len(open_runs()) == 2
        assert len(held) == 1
        assert Ticket.objects.get(transaction=held[0], status__in=UNRESOLVED).category == Category.APPROVAL_OVERDUE

    def test_another_purchase_of_the_customer_asks_a_person(self) -> None:
        shared = Shared()
        deliver(shared.invoice())
        deliver(bought(mode="payment", customer=shared.whole.customer, amount=300_000).intent())
        wait()
        other = OnboardingTransaction.objects.exclude(onboarding_transaction_id=shared.whole.invoice_id).get()
        assert other.held_at
        assert "paid before" in Ticket.objects.get(transaction=other, topic=Topic.PAYMENT).message

    def test_question_is_resolved_by_the_payments_checkout(self) -> None:
        known = bought()
        deliver(known.session())
        second = bought(mode="payment", customer=known.customer, amount=300_000, metadata=COMPLETE)
        deliver(second.intent())
        wait()
        run = OnboardingTransaction.objects.get(onboarding_transaction_id=second.intent_id)
        assert run.held_at
        deliver(second.session())
        assert OnboardingTransaction.objects.get(pk=run.pk).held_at is None
        assert second.session_id in Ticket.objects.get(transaction=run, category=Category.APPROVAL_OVERDUE).resolution

    def test_a_refund_stays_open_when_the_checkout_answers_which_payment_it_was(self) -> None:
        run, second = asked_twice()
        assert open_topics(run) == {Topic.PAYMENT, Topic.REFUND}
        deliver(second.session())
        run = OnboardingTransaction.objects.get(pk=run.pk)
        assert open_topics(run) == {Topic.REFUND}
        assert run.held_at
        assert run.hold_reason.startswith("The payment was refunded.")
        answer(run, Topic.REFUND)
        assert (open_topics(run), OnboardingTransaction.objects.get(pk=run.pk).held_at) == (set(), None)

    def test_the_checkout_resumes_a_run_whose_refund_was_answered_before(self) -> None:
        run, second = asked_twice()
        answer(run, Topic.REFUND)
        run = OnboardingTransaction.objects.get(pk=run.pk)
        assert open_topics(run) == {Topic.PAYMENT}
        assert run.held_at
        deliver(second.session())
        assert (open_topics(run), OnboardingTransaction.objects.get(pk=run.pk).held_at) == (set(), None)

    def test_a_persons_answer_to_which_payment_leaves_the_refund_open(self) -> None:
        run, _ = asked_twice()
        answer(run, Topic.PAYMENT)
        run = OnboardingTransaction.objects.get(pk=run.pk)
        assert open_topics(run) == {Topic.REFUND}
        assert run.hold_reason.startswith("The payment was refunded.")
        assert not run.steps.filter(token__gt=0).exists()

    def test_the_checkout_does_not_lift_a_persons_hold(self) -> None:
        run, second = asked_twice()
        services.resume(run.pk, actor="kim")
        services.hold(run.pk, actor="kim", reason="The customer asked us to wait.")
        deliver(second.session())
        run = OnboardingTransaction.objects.get(pk=run.pk)
        assert (run.held_by, run.hold_reason) == ("kim", "The customer asked us to wait.")


def asked_twice() -> tuple[OnboardingTransaction, Payment]:
    """A run that is held by a payment that may be another purchase's, and that was refunded besides."""
    known = bought()
    deliver(known.session())
    second = bought(mode="payment", customer=known.customer, amount=300_000, metadata=COMPLETE)
    deliver(second.intent())
    wait()
    deliver(second.refund())
    return OnboardingTransaction.objects.get(onboarding_transaction_id=second.intent_id), second


def open_topics(run: OnboardingTransaction) -> set[str]:
    asked = Ticket.objects.unresolved().filter(transaction=run, category=Category.APPROVAL_OVERDUE)
    return set(asked.values_list("topic", flat=True))


def answer(run: OnboardingTransaction, topic: Topic) -> None:
    """As a person answers on the ticket: the run stays."""
    ticket = Ticket.objects.unresolved().get(transaction=run, topic=topic)
    perform(ticket.pk, "skip", Actor("kim", Scope.OPERATE), reason="It was looked into.")


@pytest.mark.usefixtures("stripe")
class TestALateRenewal:
    @pytest.mark.parametrize(("version", "linked"), [(ACACIA, True), (BASIL, True)])
    def test_cancels_the_run_that_its_intent_has_opened(self, version: str, linked: bool) -> None:
        renewal = bought(version=version, linked=linked, billing_reason="subscription_cycle")
        deliver(renewal.intent())
        wait()
        run = only_run()
        assert deliver(renewal.invoice()).state == EventState.IGNORED
        run = only_run()
        assert run.status == Status.CANCELLED
        assert renewal.invoice_id in run.cancel_reason
        assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()

    def test_cancels_it_when_only_the_invoice_payment_ties_the_two(self) -> None:
        renewal = bought(linked=False, billing_reason="subscription_cycle", amount=900_000)
        deliver(renewal.intent(amount_received=400_000))
        wait()
        deliver(renewal.invoice())
        assert only_run().status != Status.CANCELLED
        deliver(renewal.invoice_payment())
        assert only_run().status == Status.CANCELLED

    def test_holds_one_that_was_begun_and_asks(self) -> None:
        renewal = bought(billing_reason="subscription_cycle")
        run = started(renewal)
        deliver(renewal.invoice())
        run = only_run()
        ticket = Ticket.objects.get(transaction=run, status__in=UNRESOLVED)
        assert run.held_at
        assert (ticket.category, renewal.invoice_id in ticket.message) == (Category.APPROVAL_OVERDUE, True)

    def test_asks_once_and_a_persons_answer_stays(self) -> None:
        renewal = bought(billing_reason="subscription_cycle")
        run = started(renewal)
        deliver(renewal.invoice())
        services.keep(run.pk, actor="finance", reason="A new customer all the same.")
        deliver(renewal.invoice("invoice.payment_succeeded"))
        assert only_run().held_at is None

    @pytest.mark.parametrize("shared", [False, True])
    def test_asks_where_only_customer_and_amounts_tie_the_two(self, shared: bool) -> None:
        if shared:
            both = Shared(billing_reason="subscription_cycle")
            payments, invoice = both.parts, both.invoice
        else:
            one = bought(linked=False, billing_reason="subscription_cycle")
            payments, invoice = [one], one.invoice
        for payment in payments:
            deliver(payment.intent())
            wait()
        deliver(invoice())
        assert all(run.held_at for run in open_runs())
        assert len(open_runs()) == len(payments)
        deliver(invoice(id=payments[0].invoice_id))
        assert Ticket.objects.filter(status__in=UNRESOLVED, category=Category.APPROVAL_OVERDUE).count() == len(payments)

    @LINKS
    def test_of_several_intents_starts_nothing(self, link: str) -> None:
        shared = Shared(link, billing_reason="subscription_cycle")
        for event in shared.events:
            deliver(event)
        wait()
        assert not open_runs()
        assert not OnboardingTransaction.objects.exists()

    def test_of_a_known_customer_is_not_provisioned_while_its_invoice_is_awaited(self) -> None:
        first = bought(linked=False)
        deliver(first.invoice())
        renewal = bought(
            linked=True,
            customer=first.customer,
            subscription_id=first.subscription_id,
            billing_reason="subscription_cycle",
        )
        wait(timedelta(days=365))
        deliver(renewal.intent())
        wait()
        run = OnboardingTransaction.objects.get(onboarding_transaction_id=renewal.intent_id)
        assert run.held_at
        deliver(renewal.invoice())
        assert OnboardingTransaction.objects.get(pk=run.pk).status == Status.CANCELLED


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("committed")
class TestAtTheSameMoment:
    @LINKS
    def test_all_of_it_makes_one_run(self, link: str) -> None:
        for _ in range(3):
            told = Shared(link).events
            before = len(open_runs())
            stored = [store(event) for event in told]
            together([lambda pk=event.pk: events.process_event(pk) for event in stored])
            settle()
            wait()
            settle()
            assert len(open_runs()) == before + 1
            assert not [event for event in stored if reread(event).state == EventState.FAILED]
