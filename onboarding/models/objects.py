"""What a step did at a vendor: attempts, intents, mappings, reservations and people's choices."""

from django.db import models

from integrations.models import Connection
from onboarding.enums import INDETERMINATE, IntentState
from onboarding.models.steps import Step
from onboarding.models.transaction import OnboardingTransaction


class Attempt(models.Model):
    """One claim of a step and how it ended."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="attempt_rows", db_index=False)
    token = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=32, blank=True)
    category = models.CharField(max_length=32, blank=True)
    message = models.TextField(blank=True)
    http_status = models.PositiveSmallIntegerField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["step", "token"], name="attempt_once")]

    def __str__(self) -> str:
        return f"{self.step_id}#{self.token} {self.outcome}"


class StepPoll(models.Model):
    """How often it was polled whether what a step awaits has happened, when it is polled next, and when the wait is overdue.

    Beside the run's history: a look that finds nothing new changes nothing else.
    """

    step = models.OneToOneField(Step, primary_key=True, on_delete=models.CASCADE, related_name="poll")
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, help_text="Empty: nothing is awaited any more.")
    enqueued_until = models.DateTimeField(null=True, help_text="Until then a message to poll it is in the broker.")
    deadline_at = models.DateTimeField(null=True, help_text="From then on a person is told that it still waits.")
    watch = models.CharField(
        max_length=64, blank=True, help_text="The vendor's id of the webhook that we had it make for this task."
    )

    class Meta:
        indexes = [models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="step_poll_due")]

    def __str__(self) -> str:
        return f"{self.step_id}: {self.count}"


class Intents(models.QuerySet["Intent"]):
    def indeterminate(self) -> "Intents":
        """Their create may have been carried out, and is not known to have been."""
        return self.filter(state__in=INDETERMINATE)


class Intent(models.Model):
    """Written before a vendor is asked to create: what, under which reference, with which frozen parameters.

    A written intent found by a later claim is *indeterminate*: it is never simply posted again (docs/architecture.md).
    """

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="intents", db_index=False
    )
    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="intents")
    item = models.CharField(max_length=64, default="", blank=True)
    reference = models.CharField(max_length=255)
    params = models.JSONField()
    request_hash = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=IntentState, default=IntentState.INDETERMINATE)
    token = models.PositiveIntegerField(help_text="The claim that last held it.")
    send_by = models.DateTimeField(help_text="After this its holder sends nothing.")
    indeterminate_since = models.DateTimeField(
        null=True, help_text="When the outcome was first found to be indeterminate."
    )
    job_id = models.CharField(max_length=255, blank=True)
    job_started_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects = Intents.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["transaction", "step", "item"], name="intent_once")]
        indexes = [
            models.Index(
                fields=["reference"], condition=models.Q(state__in=INDETERMINATE), name="intent_indeterminate"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reference} {self.state}"


class ObjectMapping(models.Model):
    """The one object in a downstream system that a step stands for.

    One that gave way to another (the customer's contact is somebody else now) stays under an item of its own, ``FORMER`` and
    its number: nothing is done to it any more, but this run may have made it.
    """

    FORMER = "former:"

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="mappings", db_index=False
    )
    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="mappings")
    item = models.CharField(max_length=64, default="", blank=True)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT)
    kind = models.CharField(max_length=32)
    external_id = models.CharField(max_length=255)
    url = models.URLField(blank=True, max_length=500)
    created_by_us = models.BooleanField()
    how = models.CharField(max_length=64, help_text="created, or what it was matched by.")
    created_at = models.DateTimeField()
    changed_since = models.BooleanField(
        default=False, help_text="Somebody had changed it when the rollback was asked for: a person is asked first."
    )
    state = models.JSONField(
        null=True,
        help_text="What the payload said of it when it was made, linked or last updated: only what differs is written.",
    )
    identity = models.CharField(
        max_length=255, blank=True, help_text="What the payload called it by, where another name means another object."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["transaction", "step", "item"], name="mapping_once")]
        indexes = [models.Index(fields=["external_id"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.external_id}"


class Reservation(models.Model):
    """One run at a time may find-or-create a shared object; the others wait, then link its id."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=32)
    match_key = models.CharField(max_length=300)
    holder = models.ForeignKey(Step, on_delete=models.SET_NULL, null=True, related_name="reservations")
    external_id = models.CharField(max_length=255, blank=True, help_text="Set once the object is known.")
    url = models.URLField(blank=True, max_length=500)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "kind", "match_key"], name="reservation_once")]
        indexes = [models.Index(fields=["external_id"], name="reservation_object")]

    def __str__(self) -> str:
        return f"{self.kind} {self.match_key}"


class RejectedMatch(models.Model):
    """An object that a person said is not this customer's: it is never linked for them again."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=32)
    match_key = models.CharField(max_length=300)
    external_id = models.CharField(max_length=255)
    rejected_by = models.CharField(max_length=150)
    reason = models.CharField(max_length=500)
    rejected_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "kind", "match_key", "external_id"], name="rejected_match_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.match_key} is not {self.external_id}"


class MatchChoice(models.Model):
    """A person's choice among several matches, kept for that customer."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=32)
    match_key = models.CharField(max_length=300)
    external_id = models.CharField(max_length=255, blank=True, help_text="Empty: create a new one.")
    chosen_by = models.CharField(max_length=150)
    chosen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "kind", "match_key"], name="match_choice_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.match_key} → {self.external_id or 'new'}"
