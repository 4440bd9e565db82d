"""What people are asked to approve before a step is done."""

from datetime import datetime

from django.db import models
from django_fsm import FSMField, transition

from onboarding.enums import ApprovalState
from onboarding.models.steps import Step
from onboarding.models.transaction import OnboardingTransaction


class Approvals(models.QuerySet["Approval"]):
    def open(self) -> "Approvals":
        return self.filter(state=ApprovalState.OPEN)


class Approval(models.Model):
    """One question about one step, and its answer. Asked again, it is another row."""

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="approvals")
    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="approvals")
    question = models.CharField(max_length=500)
    asked_at = models.DateTimeField()
    business_minutes = models.PositiveIntegerField(help_text="Within so much business time somebody has to decide.")
    requested_by = models.JSONField(
        default=list, help_text="Who gave the data that is to be approved: none of them may approve it."
    )
    subject = models.CharField(max_length=64, help_text="Digest of the data that it is about.")
    state = FSMField(default=ApprovalState.OPEN, choices=ApprovalState.choices, protected=True)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=500, blank=True)

    objects = Approvals.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["step"], condition=models.Q(state=ApprovalState.OPEN), name="approval_asked_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.question} ({self.get_state_display().lower()})"

    @transition(field=state, source=ApprovalState.OPEN, target=ApprovalState.APPROVED)
    def approve(self, *, by: str, at: datetime, reason: str) -> None:
        self._decide(by, at, reason)

    @transition(field=state, source=ApprovalState.OPEN, target=ApprovalState.REJECTED)
    def reject(self, *, by: str, at: datetime, reason: str) -> None:
        self._decide(by, at, reason)

    @transition(field=state, source=ApprovalState.OPEN, target=ApprovalState.WITHDRAWN)
    def withdraw(self, *, at: datetime, reason: str) -> None:
        """Nobody need decide any more."""
        self._decide("", at, reason)

    def _decide(self, by: str, at: datetime, reason: str) -> None:
        self.decided_by, self.decided_at, self.reason = by[:150], at, reason[:500]
