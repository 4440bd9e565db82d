"""What workflow tools report of the steps that were handed over to them."""

from django.db import models

from onboarding.models.steps import Step


class HandOverReport(models.Model):
    """How a tool says that a hand-over ended. It may fail first, and succeed once somebody has run the flow again there."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="reports", db_index=False)
    round = models.PositiveSmallIntegerField(help_text="Which hand-over of the step it is about (Step.round).")
    succeeded = models.BooleanField()
    execution_id = models.CharField(max_length=255, blank=True, help_text="The tool's own.")
    execution_url = models.URLField(max_length=500, blank=True, help_text="Where people look at it.")
    message = models.TextField(blank=True)
    objects_made = models.JSONField(default=list, help_text="[{kind, external_id, url}].")
    actor = models.CharField(max_length=150)
    received_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["step", "round", "succeeded"], name="hand_over_reported_once"),
        ]

    def __str__(self) -> str:
        return f"{self.step_id}/{self.round}: {'succeeded' if self.succeeded else 'failed'}"
