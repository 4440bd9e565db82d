"""What ties several events of one payment to one run."""

from django.db import models

from integrations.models import Connection, InboundEvent
from onboarding.models.transaction import OnboardingTransaction


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

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="payment_traces")
    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, null=True, related_name="payment_traces"
    )
    held_event = models.OneToOneField(InboundEvent, on_delete=models.CASCADE, null=True, related_name="payment_trace")
    held_until = models.DateTimeField(null=True)
    starts_nothing = models.BooleanField(
        default=False, help_text="A renewal: its payment intent starts nothing either."
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
