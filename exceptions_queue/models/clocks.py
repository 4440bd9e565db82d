"""The SLA clocks of each run."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from onboarding.models import Approval, ChangeRequest, OnboardingTransaction


class ClockState(models.TextChoices):
    RUNNING = "running", "Running"
    BREACHED = "breached", "Breached"
    MET = "met", "Met"
    MET_LATE = "met_late", "Met late"
    CANCELLED = "cancelled", "Cancelled"


class Milestone(models.TextChoices):
    P1 = "P1", "Paid to provisioned"
    P2 = "P2", "Provisioned to kickoff"
    CHANGE = "CR", "Change requested to done"
    APPROVAL = "AP", "Approval asked to decided"
    INVOICE = "IR", "Provisioned to invoice ready"


class SlaClock(models.Model):
    """A run's clock for one milestone, with the policy that it was started under.

    P1, paid to provisioned, goes round the clock; P2, provisioned to kickoff scheduled, counts the business time of a calendar,
    and so does that of invoice readiness, beside it, where the playbook has a step for that; that of each change request, until it
    is decided and whatever is by hand is done, and of each approval.
    """

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="clocks")
    milestone = models.CharField(max_length=2, choices=Milestone)
    change_request = models.OneToOneField(ChangeRequest, on_delete=models.CASCADE, null=True, related_name="sla_clock")
    approval = models.OneToOneField(Approval, on_delete=models.CASCADE, null=True, related_name="sla_clock")
    current_of = models.OneToOneField(
        OnboardingTransaction,
        on_delete=models.CASCADE,
        null=True,
        related_name="sla_clock",
        help_text="Set on the run's latest clock alone, so that lists join one row a run.",
    )
    target_minutes = models.PositiveIntegerField(help_text="Of the calendar's business time, where it has one.")
    at_risk_percent = models.PositiveSmallIntegerField()
    calendar = models.CharField(
        max_length=32, blank=True, help_text="Digest of the business calendar; empty: round the clock."
    )
    state = FSMField(default=ClockState.RUNNING, choices=ClockState.choices, protected=True)
    started_at = models.DateTimeField()
    at_risk_at = models.DateTimeField()
    due_at = models.DateTimeField()
    at_risk_seen = models.BooleanField(default=False, help_text="The at-risk transition has been applied.")
    breached_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    next_transition_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                name="clock_once_per_milestone",
                fields=["transaction", "milestone"],
                condition=Q(change_request__isnull=True, approval__isnull=True),
            ),
            models.CheckConstraint(
                name="clock_current_of_its_run",
                condition=Q(current_of__isnull=True) | Q(current_of=F("transaction")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_transition_at"],
                condition=Q(next_transition_at__isnull=False),
                name="clock_next_transition",
            ),
            models.Index(fields=["due_at"], condition=Q(ended_at__isnull=True), name="clock_not_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.milestone} of {self.transaction_id}: {self.state}"

    @transition(field=state, source=ClockState.RUNNING, target=ClockState.BREACHED)
    def breach(self) -> None:
        """The breach is the due instant, however late it is noticed; it never clears."""
        self.breached_at = self.due_at
        self.next_transition_at = None

    @transition(field=state, source=ClockState.RUNNING, target=ClockState.MET)
    def meet(self, *, at: datetime) -> None:
        self.ended_at, self.next_transition_at = at, None

    @transition(field=state, source=ClockState.BREACHED, target=ClockState.MET_LATE)
    def meet_late(self, *, at: datetime) -> None:
        self.ended_at, self.next_transition_at = at, None

    @transition(field=state, source=[ClockState.RUNNING, ClockState.BREACHED], target=ClockState.CANCELLED)
    def cancel(self, *, at: datetime) -> None:
        """A breach that was stays on record in ``breached_at``."""
        self.ended_at, self.next_transition_at = at, None
