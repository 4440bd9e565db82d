"""Tickets: one exception each that a person owns."""

from datetime import datetime
from itertools import combinations
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django_fsm import FSMField, transition

from exceptions_queue.models.attempts import tries
from integrations import clock as clocks
from integrations.enums import Breaker, System
from integrations.models import Connection
from onboarding.enums import Category, ChangeStatus, StepState, Topic
from onboarding.models import AuditFinding, ChangeRequest, ObjectMapping, OnboardingTransaction, Step
from onboarding.queues import QUEUES


class TicketStatus(models.TextChoices):
    OPEN = "open", "Open"
    RETRYING = "retrying", "Retrying"
    RESOLVED = "resolved", "Resolved"


UNRESOLVED = (TicketStatus.OPEN, TicketStatus.RETRYING)


PARTS = ("step", "change_request", "mapping", "finding")
"""What of a run a ticket may be about, at most one of them."""


HOLD_NOTHING_UP = ("change_request", "mapping", "finding")


def _none_of(*names: str) -> Q:
    return Q(**{f"{name}__isnull": True for name in names})


def _at_most_one_of(*names: str) -> Q:
    pairs = Q()
    for one, other in combinations(names, 2):
        pairs &= Q(**{f"{one}__isnull": True}) | Q(**{f"{other}__isnull": True})
    return pairs


def is_unresolved(path: str = "") -> Q:
    """Unresolved, as a condition on tickets or on what has some: ``path`` is the lookup that leads to them, as ``tickets``."""
    return Q(**{f"{path}__status__in" if path else "status__in": UNRESOLVED})


class TicketQuerySet(models.QuerySet["Ticket"]):
    def unresolved(self) -> Self:
        return self.filter(is_unresolved())

    def questions_about_run(self) -> Self:
        """What somebody has to decide about a run as a whole."""
        return self.of_run_itself().unresolved().filter(category=Category.APPROVAL_OVERDUE)

    def of_run_itself(self) -> Self:
        """About a run as a whole, and not about one of its parts."""
        return self.filter(_none_of("connection", *PARTS))

    def holding_up(self) -> Self:
        """Those without which something would go on."""
        return self.filter(_none_of(*HOLD_NOTHING_UP))


class Ticket(models.Model):
    """One exception that a person owns.

    Its subject is exactly one run or one part of it (a step, a change request, an object's mapping), one connection, or
    one finding
    of an audit (which may be about a run). A subject has at most one open ticket a topic.

    What changes while it is open (attempts, next retry, the vendor's last message) is read from its subject; what it said when it
    was opened or last renewed stands here.
    """

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, null=True, related_name="tickets")
    step = models.ForeignKey(Step, on_delete=models.CASCADE, null=True, related_name="tickets")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, null=True, related_name="tickets")
    change_request = models.ForeignKey(ChangeRequest, on_delete=models.CASCADE, null=True, related_name="tickets")
    """To be decided on, or applied and still to be written by hand. It holds nothing of the run up."""

    mapping = models.ForeignKey(ObjectMapping, on_delete=models.SET_NULL, null=True, related_name="tickets")
    finding = models.ForeignKey(AuditFinding, on_delete=models.CASCADE, null=True, related_name="tickets")

    status = FSMField(default=TicketStatus.OPEN, choices=TicketStatus.choices, protected=True)
    category = models.CharField(max_length=32, choices=Category)
    topic = models.CharField(max_length=32, choices=Topic, default=Topic.NONE, blank=True)
    system = models.CharField(max_length=16, choices=System)
    queue = models.CharField(max_length=32, choices=list(QUEUES.items()))
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="tickets"
    )
    message = models.TextField()
    http_status = models.PositiveSmallIntegerField("HTTP status", null=True)
    problems = models.JSONField(default=list)
    candidates = models.JSONField(default=list)
    fingerprint = models.CharField(max_length=64)
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")
    opened_at = models.DateTimeField()
    sla_due = models.DateTimeField("SLA due", null=True)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=200, blank=True)
    snoozed_until = models.DateTimeField(null=True, help_text="Snoozed by a person until then; it is nobody's next.")
    snoozed_by = models.CharField(max_length=150, blank=True)
    snooze_reason = models.CharField(max_length=500, blank=True)

    objects = TicketQuerySet.as_manager()

    class Meta:
        ordering = ["sla_due", "pk"]
        constraints = [
            models.CheckConstraint(
                name="ticket_one_subject",
                condition=(Q(transaction__isnull=False, connection__isnull=True) & _at_most_one_of(*PARTS))
                | (Q(transaction__isnull=True, connection__isnull=False) & _none_of(*PARTS))
                | (Q(transaction__isnull=True, connection__isnull=True, finding__isnull=False) & _none_of(*PARTS[:-1])),
            ),
            models.UniqueConstraint(
                name="ticket_open_once_per_run",
                fields=["transaction", "topic"],
                condition=_none_of(*PARTS) & is_unresolved(),
            ),
            *(
                models.UniqueConstraint(
                    name=f"ticket_open_once_per_{name}",
                    fields=[subject, "topic"],
                    condition=is_unresolved(),
                )
                for subject, name in (
                    ("change_request", "change"),
                    ("step", "step"),
                    ("connection", "connection"),
                    ("mapping", "mapping"),
                    ("finding", "finding"),
                )
            ),
            models.CheckConstraint(name="ticket_has_a_queue", condition=~Q(queue="")),
        ]
        indexes = [
            # Open ones are found by any of the constraints above.
            models.Index(fields=["sla_due", "id"], name="ticket_by_due"),
            models.Index(fields=["opened_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_category_display()}: {self.subject_name}"

    @property
    def subject_name(self) -> str:
        if self.connection:
            return self.connection.slug
        if self.mapping:
            return f"{self.mapping.transaction.customer_name}, {self.mapping}"
        if self.transaction is None:
            return "the audit trail"
        name = self.transaction.customer_name or self.transaction.onboarding_transaction_id
        return f"{name}, {self.step.key}" if self.step else name

    @property
    def is_open(self) -> bool:
        return self.status in UNRESOLVED

    @property
    def is_snoozed(self) -> bool:
        return self.is_open and self.snoozed_until is not None and self.snoozed_until > clocks.now()

    def unsnooze(self) -> None:
        """It is no longer put aside."""
        self.snoozed_until, self.snoozed_by, self.snooze_reason = None, "", ""

    @property
    def attempts(self) -> int:
        return tries(self.step).count() if self.step else 0

    @property
    def next_retry(self) -> datetime | None:
        """When the engine tries again by itself; None where it waits for a person."""
        if self.connection and self.is_open and self.category == Category.SERVER_ERROR:
            return self.connection.probe_at if self.connection.breaker == Breaker.OPEN else None
        if not self.step or not self.is_open or self.step.state not in (StepState.BLOCKED, StepState.WAITING):
            return None
        return self.step.due_at

    @property
    def is_by_hand(self) -> bool:
        """A person does what is to be done, at a vendor say, and says so: nothing here notices it."""
        if self.mapping_id or self.finding_id or self.topic == Topic.SURPLUS:
            return True
        return self.change_request is not None and self.change_request.status == ChangeStatus.APPLIED

    @property
    def shown_topic(self) -> str | None:
        return self.topic or None

    @property
    def holds_up(self) -> bool:
        """Something would go on without it."""
        return not any(getattr(self, f"{name}_id") for name in HOLD_NOTHING_UP)

    @property
    def failed_step(self) -> str:
        if self.connection and self.category == Category.SERVER_ERROR:
            return "connection"
        if self.change_request_id:
            return "change request"
        if self.finding_id:
            return "audit trail"
        if self.mapping:
            return self.mapping.step.key
        return self.step.key if self.step else "gate" if self.transaction else "credentials"

    @property
    def url(self) -> str:
        return settings.PUBLIC_URL + reverse("ticket", args=[self.pk])

    @transition(field=status, source=[TicketStatus.OPEN, TicketStatus.RETRYING], target=TicketStatus.RETRYING)
    def retry(self) -> None: ...

    @transition(field=status, source=[TicketStatus.OPEN, TicketStatus.RETRYING], target=TicketStatus.OPEN)
    def renew(self) -> None: ...

    @transition(field=status, source=[TicketStatus.OPEN, TicketStatus.RETRYING], target=TicketStatus.RESOLVED)
    def resolve(self, *, at: datetime, resolution: str) -> None:
        self.resolved_at, self.resolution = at, resolution[:200]


class TicketNote(models.Model):
    """What a person wrote on a ticket."""

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="notes")
    author = models.CharField(max_length=150)
    text = models.TextField(max_length=4000)
    at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"
