"""Alerts: what was sent to whom about a clock."""

from django.db import models
from django.db.models import Q

from exceptions_queue.models.clocks import SlaClock
from exceptions_queue.models.tickets import Ticket


class AlertState(models.TextChoices):
    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    NOT_NEEDED = "not-needed", "Not needed any more"
    FAILED = "failed", "Failed"
    INDETERMINATE = "indeterminate", "Perhaps sent"
    """In chat, where nothing shows whether it arrived: it is not sent again."""


class AlertLevel(models.TextChoices):
    AT_RISK = "at-risk", "At risk"
    BREACHED = "breached", "Breached"
    FAILED = "failed", "Failed"
    """A step has failed for good: a person must act."""


class AlertChannel(models.TextChoices):
    EMAIL = "email", "Email"
    CHAT = "chat", "Chat"


class Alert(models.Model):
    """The outbox of alerts: at most one a clock, level, channel and recipient."""

    clock = models.ForeignKey(SlaClock, on_delete=models.CASCADE, related_name="alerts", db_index=False)
    ticket = models.ForeignKey(Ticket, on_delete=models.SET_NULL, null=True, related_name="alerts")
    level = models.CharField(max_length=16, choices=AlertLevel, default=AlertLevel.AT_RISK)
    channel = models.CharField(max_length=16, choices=AlertChannel, default=AlertChannel.EMAIL)
    recipient = models.CharField(max_length=254, help_text="An address; in chat the connection.")
    state = models.CharField(max_length=16, choices=AlertState, default=AlertState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["clock", "level", "channel", "recipient"], name="alert_once")]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="alert_due")]

    def __str__(self) -> str:
        return f"{self.level} to {self.recipient}: {self.state}"
