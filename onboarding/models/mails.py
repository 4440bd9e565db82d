"""Mails that are sent to a customer some time after the welcome."""

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q

from integrations.models import Connection
from onboarding.models.transaction import OnboardingTransaction


class MailState(models.TextChoices):
    PENDING = "pending", "Scheduled"
    SENDING = "sending", "Being sent"
    SENT = "sent", "Sent"
    INDETERMINATE = "indeterminate", "Perhaps sent"
    """Nothing shows whether it went out: it is not sent again."""
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"


class StopCause(models.TextChoices):
    """Why what was scheduled is not sent."""

    CANCELLED = "cancelled", "The run was cancelled or rolled back."
    REFUND = "refund", "The payment was refunded."
    FIRST_VALUE = "first-value", "The customer has reached first value."
    UNWANTED = "unwanted", "The recipient reported a mail as spam, or unsubscribed."
    SKIPPED = "skipped", "The welcome, which was to be sent again, was skipped."
    PERSON = "person", "A person stopped it."


class ScheduledMails(models.QuerySet["ScheduledMail"]):
    def pending(self) -> "ScheduledMails":
        return self.filter(state=MailState.PENDING)

    def stoppable(self) -> "ScheduledMails":
        """Still to be sent, or being sent and not stopped yet."""
        return self.filter(state__in=(MailState.PENDING, MailState.SENDING), stop_cause="")

    def stopped(self) -> "ScheduledMails":
        return self.filter(state=MailState.STOPPED)

    def due(self, now: datetime) -> "ScheduledMails":
        """To be sent, or to be ended as their sender is gone. A hold keeps what is not being sent."""
        held = Q(state=MailState.PENDING, transaction__held_at__isnull=False)
        return self.filter(due_at__lte=now).exclude(held).order_by("due_at", "pk")


class ScheduledMail(models.Model):
    """One later mail of a run's welcome sequence: sent at most once, and no step of the run, which it never delays."""

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="scheduled_mails", db_index=False
    )
    sequence = models.CharField(max_length=64)
    key = models.CharField(max_length=64, help_text="The mail's name in its sequence.")
    template = models.CharField(max_length=64)
    recipient = models.CharField(
        max_length=254, help_text="As the payload named the contact when it was last looked at."
    )
    language = models.CharField(max_length=16, blank=True, help_text="That it was written in; empty before that.")
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, null=True, db_index=False)
    reference = models.CharField(max_length=255, help_text="Our own name for it, which the vendor's events bring back.")
    message_id = models.CharField(max_length=255, blank=True, help_text="The vendor's id of the message.")
    state = models.CharField(max_length=16, choices=MailState, default=MailState.PENDING)
    scheduled_for = models.DateTimeField(help_text="When it is to be sent by its sequence.")
    due_at = models.DateTimeField(null=True, help_text="When it is looked at next; empty: nothing is left to do.")
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    stop_cause = models.CharField(max_length=16, choices=StopCause, blank=True)
    stop_reason = models.CharField(max_length=500, blank=True)
    stopped_by = models.CharField(max_length=150, blank=True)
    ended_at = models.DateTimeField(null=True, help_text="When it was sent, failed or was stopped.")
    created_at = models.DateTimeField()

    objects = ScheduledMails.as_manager()

    class Meta:
        ordering = ["pk"]
        verbose_name = "welcome mail"
        constraints = [models.UniqueConstraint(fields=["transaction", "key", "recipient"], name="scheduled_mail_once")]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="scheduled_mail_due"),
            models.Index(fields=["message_id"], condition=~Q(message_id=""), name="scheduled_mail_message"),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id}: {self.key}"

    def end(self, state: MailState, *, at: datetime, error: str = "", **more: Any) -> None:
        """It was sent, or failed: nothing more is done for it by itself. Saved."""
        self.state, self.due_at, self.ended_at, self.error = state, None, at, error[:300]
        self.stop_cause = self.stop_reason = self.stopped_by = ""
        for name, value in more.items():
            setattr(self, name, value)
        self.save()

    def wait(self, until: datetime, error: str) -> None:
        """Looked at again then. Saved."""
        self.state, self.due_at, self.error = MailState.PENDING, until, error[:300]
        self.save()
