"""The steps of a run, and the later business events that it was told of."""

from datetime import datetime

from django.db import models
from django_fsm import FSMField, transition

from integrations.enums import System
from integrations.models import Connection
from onboarding.enums import Category, Mode, RunEventType, StepState, WaitsFor
from onboarding.models.transaction import OnboardingTransaction


class Steps(models.QuerySet["Step"]):
    def unfinished(self) -> "Steps":
        return self.filter(finished_at=None)

    def startable(self) -> "Steps":
        """What they come after is done: due, in a worker's hands, or waiting for somebody or something."""
        return self.unfinished().exclude(state=StepState.PENDING, due_at=None)

    def blocked(self) -> "Steps":
        return self.filter(state=StepState.BLOCKED)


class Step(models.Model):
    """One step of a run. Moved by the engine alone."""

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="steps", db_index=False
    )
    key = models.CharField(max_length=64)
    uses = models.CharField(max_length=64, help_text="The handler's name.")
    system = models.CharField(max_length=16, choices=System)
    queue = models.CharField(max_length=32, blank=True)
    after = models.JSONField(default=list, help_text="Keys of the steps that must be done before.")
    position = models.PositiveSmallIntegerField()
    options = models.JSONField(default=dict, help_text="What the playbook gives the handler (``with``).")
    awaits = models.CharField(
        max_length=32, choices=RunEventType, blank=True, help_text="It is not begun before this event was reported."
    )
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.AUTOMATE)
    deadline_hours = models.PositiveSmallIntegerField(
        null=True,
        help_text="For so long it may wait for somebody, or for an event, before a person is told; empty: the usual.",
    )
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, null=True, db_index=False)

    state = FSMField(default=StepState.PENDING, choices=StepState.choices, protected=True)
    waits_for = models.CharField(max_length=16, choices=WaitsFor, blank=True)
    due_at = models.DateTimeField(
        null=True, help_text="When the engine may claim it next; empty: not before something happens."
    )
    enqueued_until = models.DateTimeField(
        null=True, help_text="A message for it is in the broker; until then the sweep publishes no other."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    first_failed_at = models.DateTimeField(null=True)

    waits_on = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
        help_text="The step that holds the reservation of a shared object.",
    )
    token = models.PositiveIntegerField(default=0, help_text="Fencing token: rises with each claim.")
    lease_until = models.DateTimeField(null=True)
    send_by = models.DateTimeField(null=True, help_text="After this the holder sends no more writes.")

    category = models.CharField(max_length=32, choices=Category, blank=True)
    message = models.TextField(blank=True)
    http_status = models.PositiveSmallIntegerField(null=True)
    problems = models.JSONField(default=list, help_text="Fields to fix: [{path, reason}].")
    candidates = models.JSONField(
        default=list, help_text="Objects to choose from: [{external_id, label, url, evidence}]."
    )

    item = models.CharField(
        max_length=64, blank=True, help_text="The item in hand, of a step that makes several objects."
    )
    round = models.PositiveSmallIntegerField(
        default=0, help_text="How often it was deliberately done anew, such as a welcome sent again."
    )
    written = models.CharField(
        max_length=64, blank=True, help_text="Digest of what an updating step last wrote at the vendor."
    )
    skip_reason = models.CharField(max_length=500, blank=True)
    forced = models.BooleanField(
        default=False, help_text="A person forced the rollback: its objects are removed though they were changed since."
    )

    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = Steps.as_manager()

    class Meta:
        ordering = ["transaction", "position"]
        constraints = [models.UniqueConstraint(fields=["transaction", "key"], name="step_key_once")]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="step_due"),
            models.Index(fields=["lease_until"], condition=models.Q(lease_until__isnull=False), name="step_leased"),
            models.Index(fields=["waits_on"], condition=models.Q(waits_on__isnull=False), name="step_waits_on"),
            # A connection's history is never looked at, and an index without it is spared with every later write.
            models.Index(fields=["connection"], condition=models.Q(finished_at__isnull=True), name="step_unfinished"),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id}: {self.key}"

    @property
    def is_done(self) -> bool:
        return self.state in (StepState.SUCCEEDED, StepState.SKIPPED)

    @transition(
        field=state,
        source=[StepState.PENDING, StepState.WAITING, StepState.BLOCKED, StepState.RUNNING],
        target=StepState.RUNNING,
    )
    def claim(self, *, at: datetime, lease_until: datetime, send_by: datetime) -> None:
        """From RUNNING only when the former holder's lease has run out, which the caller has checked under the lock."""
        self.token += 1
        self._clear_schedule()
        self.lease_until, self.send_by = lease_until, send_by
        self.started_at = self.started_at or at

    @transition(
        field=state,
        source=[
            StepState.PENDING,
            StepState.RUNNING,
            StepState.WAITING,
            StepState.BLOCKED,
            StepState.COMPENSATING,
        ],
        target=StepState.WAITING,
    )
    def wait(self, *, waits_for: WaitsFor, due_at: datetime | None) -> None:
        self.lease_until = self.enqueued_until = None
        self.waits_for, self.due_at = waits_for, due_at

    @transition(
        field=state,
        source=[
            StepState.PENDING,
            StepState.RUNNING,
            StepState.WAITING,
            StepState.BLOCKED,
            StepState.COMPENSATING,
        ],
        target=StepState.BLOCKED,
    )
    def block(self, *, due_at: datetime | None) -> None:
        """A ticket is open; ``due_at`` is set where retrying goes on meanwhile. What is awaited still is."""
        self.lease_until = self.enqueued_until = None
        if self.waits_for not in (WaitsFor.EVENT, WaitsFor.REPORT) or due_at is not None:
            self.waits_for = WaitsFor.RETRY if due_at else WaitsFor.NOTHING
        self.due_at = due_at

    @transition(
        field=state,
        source=[StepState.PENDING, StepState.RUNNING, StepState.BLOCKED, StepState.WAITING],
        target=StepState.SUCCEEDED,
    )
    def succeed(self, *, at: datetime) -> None:
        self._clear_schedule()
        self.finished_at = at
        self.category, self.message, self.http_status = "", "", None
        self.problems, self.candidates = [], []

    @transition(
        field=state,
        source=[
            StepState.PENDING,
            StepState.RUNNING,
            StepState.BLOCKED,
            StepState.WAITING,
            StepState.COMPENSATING,
        ],
        target=StepState.SKIPPED,
    )
    def skip(self, *, at: datetime, reason: str = "") -> None:
        """From RUNNING too: what its holder brings is late then, and evidence only."""
        self._clear_schedule()
        self.finished_at = at
        self.skip_reason = reason[:500]

    @transition(
        field=state,
        source=[
            StepState.SUCCEEDED,
            StepState.SKIPPED,
            StepState.PENDING,
            StepState.RUNNING,
            StepState.WAITING,
            StepState.BLOCKED,
        ],
        target=StepState.PENDING,
    )
    def reopen(self) -> None:
        """To be done, or looked at, again once what it comes after is done. From RUNNING only when its lease has run out."""
        self._clear_schedule()
        self.finished_at = self.first_failed_at = None
        self.item, self.skip_reason, self.attempts = "", "", 0

    @transition(
        field=state,
        source=[
            StepState.PENDING,
            StepState.RUNNING,
            StepState.WAITING,
            StepState.BLOCKED,
            StepState.SUCCEEDED,
            StepState.SKIPPED,
        ],
        target=StepState.COMPENSATING,
    )
    def begin_compensation(self) -> None:
        """Its objects are to be removed once nothing depends on them. A current holder is fenced off."""
        self.token += 1
        self._clear_schedule()
        self.finished_at, self.first_failed_at, self.attempts = None, None, 0

    @transition(
        field=state,
        source=[StepState.COMPENSATING, StepState.WAITING, StepState.BLOCKED],
        target=StepState.COMPENSATING,
    )
    def claim_compensation(self, *, lease_until: datetime, send_by: datetime) -> None:
        """Claimed, to be compensated."""
        self.token += 1
        self._clear_schedule()
        self.lease_until, self.send_by = lease_until, send_by

    @transition(
        field=state,
        source=[
            StepState.PENDING,
            StepState.RUNNING,
            StepState.WAITING,
            StepState.BLOCKED,
            StepState.SUCCEEDED,
            StepState.COMPENSATING,
        ],
        target=StepState.COMPENSATED,
    )
    def mark_compensated(self, *, at: datetime) -> None:
        """Nothing of it is left that this run made."""
        self.token += 1
        self._clear_schedule()
        self.finished_at = at

    def _clear_schedule(self) -> None:
        """It is not due, in nobody's hands, and waits for nothing."""
        self.lease_until = self.due_at = self.enqueued_until = None
        self.waits_for, self.waits_on = WaitsFor.NOTHING, None


class RunEvent(models.Model):
    """A later business event of a run, such as ``kickoff.scheduled``; the same event id twice is one event."""

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="events", db_index=False
    )
    type = models.CharField(max_length=64, choices=RunEventType)
    event_id = models.CharField(max_length=255)
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict)
    actor = models.CharField(max_length=150)
    received_at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["transaction", "event_id"], name="run_event_once")]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"
