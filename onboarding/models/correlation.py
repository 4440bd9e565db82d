"""What ties several events of one payment to one run."""

from django.db import models
from django_fsm import FSMField, transition

from integrations.models import Connection, InboundEvent
from onboarding.models.transaction import OnboardingTransaction
from onboarding.words import RunEventType, UnmatchedState


class CorrelationKey(models.Model):
    """One known name of a payment, such as ``stripe.invoice`` = ``in_1``: an event that carries it joins this run."""

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="correlation_keys")
    kind = models.CharField(max_length=64)
    value = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "value"], name="correlation_key_once")]
        indexes = [models.Index(fields=["value"])]

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


class PaymentTrace(models.Model):
    """One payment at a billing connection as its events told it so far.

    It says which events are of one payment where Stripe gives no common id (soft matches by customer, amount and
    currency), and which payments never start a run. ``transaction`` is empty for one that waits (``held_event``) or
    starts nothing.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="payment_traces", db_index=False)
    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, null=True, related_name="payment_traces"
    )
    held_event = models.OneToOneField(InboundEvent, on_delete=models.CASCADE, null=True, related_name="payment_trace")
    held_until = models.DateTimeField(null=True)
    starts_nothing = models.BooleanField(
        default=False, help_text="A renewal: its payment intent starts nothing either."
    )
    dismissed_event = models.ForeignKey(
        InboundEvent,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="The event of a renewal: looked at again where its subscription proves to have begun here.",
    )
    subscription = models.CharField(max_length=255, blank=True)
    customer_name = models.CharField(
        max_length=255,
        blank=True,
        help_text="The company's name, where only the billing system's customer is called so: perhaps it is the payer's.",
    )

    customer = models.CharField(max_length=255, blank=True)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=5)
    occurred_at = models.DateTimeField()
    checkout_session = models.CharField(max_length=255, blank=True)
    invoice = models.CharField(max_length=255, blank=True)
    payment_intent = models.CharField(max_length=255, blank=True)
    paired = models.BooleanField(default=False, help_text="Its intent was joined by customer and amount, not by an id.")
    told = models.JSONField(default=dict, help_text="Stripe object id -> digest of what it last told us.")

    class Meta:
        indexes = [
            models.Index(fields=["connection", "customer", "amount_minor"], name="payment_trace_soft"),
            models.Index(fields=["payment_intent"], name="payment_trace_intent"),
            models.Index(fields=["invoice"], name="payment_trace_invoice"),
        ]

    def __str__(self) -> str:
        return self.checkout_session or self.invoice or self.payment_intent


class BillingSubscription(models.Model):
    """One subscription at a billing connection, as its events told it so far: whether its next bill is the first or a renewal."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="subscriptions", db_index=False)
    subscription = models.CharField(max_length=255)
    customer = models.CharField(max_length=255, blank=True)
    began_here = models.BooleanField(
        default=False, help_text="It began after Firstvalue listened: what settles it first is its first payment."
    )
    free_bill_seen = models.BooleanField(default=False, help_text="It had a bill with nothing to pay.")
    trial_end = models.DateTimeField(null=True)
    settled_by = models.CharField(
        max_length=255, blank=True, help_text="The invoice, or session without one, that settled it first here."
    )
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "subscription"], name="billing_subscription_once")]
        indexes = [models.Index(fields=["connection", "customer"], name="billing_subscription_customer")]

    def __str__(self) -> str:
        return self.subscription


class InvoicePaymentLink(models.Model):
    """Which invoice a payment intent pays: one invoice may be paid by several intents, one intent pays one invoice."""

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="invoice_payments", db_index=False
    )
    payment_intent = models.CharField(max_length=255)
    invoice = models.CharField(max_length=255)
    guessed = models.BooleanField(default=False, help_text="By customer and amounts, and not by an id.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "payment_intent"], name="invoice_payment_link_once")
        ]
        indexes = [models.Index(fields=["connection", "invoice"], name="invoice_payment_link_invoice")]

    def __str__(self) -> str:
        return f"{self.payment_intent} pays {self.invoice}"


class UnmatchedEvent(models.Model):
    """A later event, such as a refund, that came before the run that it is about: kept, and applied when that run opens.

    One row a correlation key by which the run may be recognised.
    """

    kind = models.CharField(max_length=64)
    value = models.CharField(max_length=255)
    type = models.CharField(max_length=64, choices=RunEventType)
    event_id = models.CharField(max_length=255)
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict)
    actor = models.CharField(max_length=150)
    received_at = models.DateTimeField()
    inbound_event = models.ForeignKey(
        InboundEvent, on_delete=models.CASCADE, null=True, related_name="unmatched", help_text="Empty: it came by REST."
    )
    state = FSMField(default=UnmatchedState.WAITING, choices=UnmatchedState.choices, protected=True)
    expires_at = models.DateTimeField(help_text="Until then its run is expected.")
    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, null=True, related_name="unmatched_events"
    )
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["kind", "value", "event_id"], name="unmatched_event_once")]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=models.Q(state=UnmatchedState.WAITING), name="unmatched_event_waiting"
            ),
            models.Index(fields=["value"], name="unmatched_event_value"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @transition(field=state, source=[UnmatchedState.WAITING, UnmatchedState.EXPIRED], target=UnmatchedState.APPLIED)
    def apply(self, *, run: OnboardingTransaction) -> None:
        """Late, too: a run that opens after the wait still gets it."""
        self.transaction, self.reason = run, ""

    @transition(field=state, source=UnmatchedState.WAITING, target=UnmatchedState.EXPIRED)
    def expire(self, *, reason: str) -> None:
        self.reason = reason[:500]
