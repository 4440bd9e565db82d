"""The audit trail: append-only, hash-chained per run."""

from django.db import models

from onboarding.models.transaction import OnboardingTransaction


class AuditEntry(models.Model):
    """Who did what to a run, with which fields (paths and keyed digests, never values).

    ``hash`` covers the entry and its predecessor's hash; the chain's head stands on the run's locked row. Database triggers
    refuse UPDATE and DELETE on both databases.
    """

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.PROTECT, null=True, related_name="audit")
    sequence = models.PositiveIntegerField()
    name = models.CharField(max_length=64, help_text="Dotted, such as onboarding.step.blocked.")
    actor = models.CharField(max_length=150, help_text="Copied, so that it outlives the user.")
    request_id = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "audit entries"
        constraints = [models.UniqueConstraint(fields=["transaction", "sequence"], name="audit_sequence_once")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.name}"
