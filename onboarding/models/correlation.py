"""What ties several events of one payment to one run."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models
from django.utils.functional import cached_property
from django_fsm import FSMField, transition

from integrations.models import Connection, InboundEvent
from onboarding.enums import RunEventType, UnmatchedState
from onboarding.models.transaction import OnboardingTransaction


class CorrelationKey(models.Model):
    """One known name of a payment, such as an invoice's number: an event that carries it joins this run.

    Kinds and values are those of ``integrations.inbound.events.Key``.
    """

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="correlation_keys")
    kind = models.CharField(max_length=64)
    value = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "value"], name="correlation_key_once")]
        indexes = [models.Index(fields=["value"])]

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


class PaymentTraces(models.QuerySet["PaymentTrace"]):
    def named(self, keys: Iterable[tuple[str, str]]) -> "PaymentTraces":
        """Those of which one of these ids was told."""
        wanted = models.Q()
        for kind, value in keys:
            wanted |= models.Q(kind=kind, value=value)
        return self.filter(pk__in=PaymentTraceKey.objects.filter(wanted).values("trace")) if wanted else self.none()

    def without(self, *kinds: str) -> "PaymentTraces":
        """Those of which no id of these kinds was told."""
        return self.exclude(keys__kind__in=kinds)

    def with_ids(self) -> "PaymentTraces":
        """With ``ids`` at hand."""
        return self.prefetch_related("keys")


class PaymentTrace(models.Model):
    """One payment at a billing connection as its events told it so far.

    It says which events are of one payment where they have no common id (soft matches by customer, amount and
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
        default=False, help_text="A renewal: whatever else tells of this payment starts nothing either."
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
    paired = models.BooleanField(default=False, help_text="It was joined by customer and amount, not by an id.")
    object_digests = models.JSONField(
        default=dict, help_text="The vendor's object id -> digest of what it last told us."
    )

    objects = PaymentTraces.as_manager()

    class Meta:
        indexes = [models.Index(fields=["connection", "customer", "amount_minor"], name="payment_trace_soft")]

    def __str__(self) -> str:
        return f"payment {self.pk} of {self.customer or 'nobody known'}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        PaymentTraceKey.objects.bulk_create(self._added)
        self._added.clear()

    @cached_property
    def ids(self) -> Mapping[str, str]:
        """The payment's own ids, one of a kind: kind -> value."""
        return {key.kind: key.value for key in self.keys.all()} if self.pk else {}

    @cached_property
    def _added(self) -> "list[PaymentTraceKey]":
        return []

    def add_ids(self, ids: Mapping[str, str]) -> None:
        """Those of a kind of which none was known; ``save`` writes them."""
        new = {kind: value for kind, value in ids.items() if kind not in self.ids}
        self._added += [PaymentTraceKey(trace=self, kind=kind, value=value) for kind, value in new.items()]
        self.ids = {**self.ids, **new}

    def remove_id(self, kind: str) -> None:
        """It proved to be another payment's. At once."""
        self.keys.filter(kind=kind).delete()
        self.ids = {each: value for each, value in self.ids.items() if each != kind}


class PaymentTraceKey(models.Model):
    """One id of a payment: it has one of a kind. Several payments may have the same, as one invoice is paid by several."""

    trace = models.ForeignKey(PaymentTrace, on_delete=models.CASCADE, related_name="keys", db_index=False)
    kind = models.CharField(max_length=64)
    value = models.CharField(max_length=255)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trace", "kind"], name="payment_trace_key_once")]
        indexes = [models.Index(fields=["value", "kind"], name="payment_trace_key_value")]

    def __str__(self) -> str:
        return f"{self.kind}={self.value}"


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
    """Which invoice a payment pays: one invoice may be paid by several payments, one payment pays one invoice."""

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="invoice_payments", db_index=False
    )
    payment = models.CharField(max_length=255)
    invoice = models.CharField(max_length=255)
    guessed = models.BooleanField(default=False, help_text="By customer and amounts, and not by an id.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "payment"], name="invoice_payment_link_once")]
        indexes = [models.Index(fields=["connection", "invoice"], name="invoice_payment_link_invoice")]

    def __str__(self) -> str:
        return f"{self.payment} pays {self.invoice}"


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
