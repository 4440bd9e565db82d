"""One onboarding transaction, its payload's versions and its steps."""

from datetime import datetime
from typing import Any

from django.db import models
from django_fsm import FSMField, transition

from onboarding.enums import (
    ADVANCED_BY_ENGINE,
    CHANGEABLE,
    FINAL,
    UNDER_WAY,
    UNFINISHED,
    ChangeStatus,
    OriginKind,
    Status,
)
from onboarding.ids import comparable
from onboarding.models.playbook import PinnedPlaybook


class ComparableId(models.CharField):  # type: ignore[type-arg]
    """Set once, from the run's id, however the run is inserted."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        assert isinstance(model_instance, OnboardingTransaction)  # noqa: S101  (it is that model's field)
        if not model_instance.id_key:
            model_instance.id_key = comparable(model_instance.onboarding_transaction_id)
        return super().pre_save(model_instance, add)

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class Runs(models.QuerySet["OnboardingTransaction"]):
    def called(self, run_id: str) -> "Runs":
        """The run of this id, without regard to case and Unicode form, where there is one."""
        return self.called_either(run_id, comparable(run_id))

    def called_either(self, run_id: str, id_key: str) -> "Runs":
        """``called``, with the id as it is compared."""
        same = models.Q(onboarding_transaction_id=run_id)
        found = OnboardingTransaction.objects.filter(same | models.Q(id_key=id_key))
        # Runs from before ids were compared so may differ in case alone: then the id to the letter counts.
        nearest = found.order_by(models.Case(models.When(same, then=0), default=1), "pk")
        return self.filter(pk__in=nearest.values("pk")[:1])

    def under_way(self) -> "Runs":
        """On the way to complete."""
        return self.filter(status__in=UNDER_WAY)

    def unfinished(self) -> "Runs":
        """On the way to complete, or being rolled back."""
        return self.filter(status__in=UNFINISHED)

    def advanced_by_engine(self) -> "Runs":
        """Their steps are done, or should be."""
        return self.filter(status__in=ADVANCED_BY_ENGINE)


class OnboardingTransaction(models.Model):
    """One paid event on its way to first value. Called a *run* in short."""

    onboarding_transaction_id = models.CharField(max_length=255, unique=True)
    id_key = ComparableId(
        max_length=255, unique=True, editable=False, help_text="The id as it is compared (``ids.comparable``)."
    )
    event_source = models.CharField(max_length=64, help_text="The sender's own label.")
    origin = models.CharField(max_length=16, choices=OriginKind, default=OriginKind.IMPORT, editable=False)
    origin_name = models.CharField(
        max_length=150, blank=True, editable=False, help_text="Of the connection, API key or person that began it."
    )
    occurred_at = models.DateTimeField(help_text="When it was paid: starts the SLA clocks.")
    status = FSMField(default=Status.QUEUED, choices=Status.choices, protected=True)
    playbook = models.ForeignKey(PinnedPlaybook, on_delete=models.PROTECT, null=True)
    gathers_until = models.DateTimeField(
        null=True,
        help_text="Until then missing data may come with the payment's other events; people are asked after it.",
    )
    snapshot_version = models.PositiveIntegerField(default=0)

    # Copies of the current snapshot's fields, for lists and search.
    customer_name = models.CharField(max_length=255, blank=True)
    domain = models.CharField(max_length=255, blank=True)
    contact_name = models.CharField(max_length=255, blank=True)
    contact_email = models.CharField(max_length=254, blank=True)
    plan_sku = models.CharField(max_length=100, blank=True)
    segment = models.CharField(max_length=64, blank=True)
    crm_owner_id = models.CharField(max_length=100, blank=True)
    implementation_owner_id = models.CharField(max_length=100, blank=True)

    held_at = models.DateTimeField(null=True, help_text="On hold since; empty: it may go on.")
    held_by = models.CharField(max_length=150, blank=True)
    hold_reason = models.CharField(max_length=500, blank=True)

    audit_sequence = models.PositiveIntegerField(default=0, editable=False)
    audit_head = models.CharField(max_length=64, blank=True, editable=False)

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True)
    provisioned_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=500, blank=True)
    joined_into = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        related_name="joined_runs",
        help_text="The run of the same order that goes on in its place; what is told of this one is told of that.",
    )
    rollback_at = models.DateTimeField(null=True, help_text="When the rollback began.")
    rollback_reason = models.CharField(max_length=500, blank=True)

    objects = Runs.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = "onboarding run"
        permissions = [
            ("see_personal_data", "Can see personal data in payloads"),
            ("start_run", "Can start a run by hand"),
            ("hold_run", "Can hold and resume a run"),
            ("cancel_run", "Can cancel a run"),
            ("join_runs", "Can join two runs"),
            ("rollback_run", "Can roll a run back"),
            ("replay_run", "Can replay a run from a step"),
            ("skip_step", "Can skip a step"),
            ("unlink_object", "Can unlink a wrong match"),
            ("resend_welcome", "Can send the welcome again"),
            ("apply_change", "Can change a run's data, and decide on change requests"),
        ]
        indexes = [
            models.Index(fields=["status"]),
            models.Index(fields=["domain"]),
            models.Index(fields=["contact_email"]),
            models.Index(fields=["occurred_at"]),
            models.Index(fields=["gathers_until"], condition=models.Q(gathers_until__isnull=False), name="run_gathers"),
        ]

    def __str__(self) -> str:
        return self.onboarding_transaction_id

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save all but the audit chain's head, which the audit trail alone moves: ``update_fields`` names it."""
        if self.pk and kwargs.get("update_fields") is None and not kwargs.get("force_insert"):
            names = {field.name for field in self._meta.concrete_fields if not field.primary_key}
            kwargs["update_fields"] = names - {"audit_sequence", "audit_head"}
        super().save(*args, **kwargs)

    @property
    def going_on(self) -> "OnboardingTransaction":
        """Itself, or the run that it was joined into."""
        run = self
        while run.joined_into is not None:
            run = run.joined_into
        return run

    @property
    def is_over(self) -> bool:
        """Nothing is begun any more, but for telling others how it ended."""
        return self.status in FINAL

    @property
    def may_advance(self) -> bool:
        """Steps may still be done for it."""
        return not self.is_over and not self.is_rolling_back

    @property
    def is_rolling_back(self) -> bool:
        return bool(self.status == Status.ROLLING_BACK)

    @property
    def snapshot(self) -> "PayloadSnapshot":
        """The current version. Kept on the instance, as a version never changes."""
        kept: PayloadSnapshot | None = self.__dict__.get("_snapshot")
        if kept is None or kept.version != self.snapshot_version:
            kept = self.__dict__["_snapshot"] = self.snapshots.get(version=self.snapshot_version)
        return kept

    def keep_snapshot(self, written: "PayloadSnapshot") -> None:
        """Make the version that was just written the current one."""
        self.snapshot_version = written.version
        self.__dict__["_snapshot"] = written

    def adopt_snapshot(self, other: "OnboardingTransaction") -> None:
        """Spare reading a version that another instance of the same run has read."""
        if self.snapshot_version == other.snapshot_version and "_snapshot" in other.__dict__:
            self.__dict__["_snapshot"] = other.__dict__["_snapshot"]

    @property
    def payload(self) -> dict[str, Any]:
        content: dict[str, Any] = self.snapshot.content
        return content

    @property
    def made(self) -> "dict[str, list[models.Model]] | None":
        """The rows of a run that this transaction has inserted, by relation: nobody else can have written any yet.

        None of any other run, and once somebody has had a hand in it who does not say what was written.
        """
        kept: dict[str, list[models.Model]] | None = self.__dict__.get("_made")
        return kept

    def begin_made(self) -> None:
        self.__dict__["_made"] = {}

    def note_made(self, relation: str, *rows: models.Model) -> None:
        if self.made is not None:
            self.made.setdefault(relation, []).extend(rows)

    def end_made(self) -> "dict[str, list[models.Model]] | None":
        """What was noted; from now on the rows are read."""
        kept: dict[str, list[models.Model]] | None = self.__dict__.pop("_made", None)
        return kept

    @transition(field=status, source=Status.QUEUED, target=Status.AWAITING_DATA)
    def await_data(self) -> None:
        self.gathers_until = None

    @transition(field=status, source=[Status.QUEUED, Status.AWAITING_DATA], target=Status.PROVISIONING)
    def start_provisioning(self, *, playbook: PinnedPlaybook) -> None:
        self.playbook = playbook
        self.gathers_until = None

    @transition(field=status, source=Status.PROVISIONING, target=Status.READY_FOR_KICKOFF)
    def become_ready(self, *, at: datetime) -> None:
        """The first time counts: a replay later provisions nobody anew."""
        self.provisioned_at = self.provisioned_at or at

    @transition(field=status, source=Status.READY_FOR_KICKOFF, target=Status.COMPLETE)
    def complete(self, *, at: datetime) -> None:
        self.completed_at = at

    @transition(field=status, source=[Status.READY_FOR_KICKOFF, Status.COMPLETE], target=Status.PROVISIONING)
    def reopen(self) -> None:
        """Some of its steps are to be done again."""
        self.completed_at = None

    @transition(
        field=status,
        source=[Status.QUEUED, Status.AWAITING_DATA, Status.PROVISIONING, Status.READY_FOR_KICKOFF],
        target=Status.CANCELLED,
    )
    def cancel(self, *, at: datetime, reason: str) -> None:
        self.cancelled_at, self.cancel_reason, self.gathers_until = at, reason[:500], None
        self.held_at, self.held_by, self.hold_reason = None, "", ""

    @transition(
        field=status,
        source=[
            Status.QUEUED,
            Status.AWAITING_DATA,
            Status.PROVISIONING,
            Status.READY_FOR_KICKOFF,
            Status.COMPLETE,
        ],
        target=Status.CANCELLED,
    )
    def join(self, *, into: "OnboardingTransaction", at: datetime, reason: str) -> None:
        """Another run goes on in its place, one that is complete as well: the order was onboarded twice."""
        self.joined_into = into
        self.cancelled_at, self.cancel_reason, self.gathers_until = at, reason[:500], None
        self.held_at, self.held_by, self.hold_reason = None, "", ""

    @transition(
        field=status,
        source=[
            Status.QUEUED,
            Status.AWAITING_DATA,
            Status.PROVISIONING,
            Status.READY_FOR_KICKOFF,
            Status.COMPLETE,
            Status.CANCELLED,
        ],
        target=Status.ROLLING_BACK,
    )
    def roll_back(self, *, at: datetime, reason: str) -> None:
        self.rollback_at, self.rollback_reason, self.gathers_until = at, reason[:500], None
        self.held_at, self.held_by, self.hold_reason = None, "", ""

    @transition(field=status, source=Status.ROLLING_BACK, target=Status.ROLLED_BACK)
    def finish_rollback(self) -> None: ...


class PayloadSnapshot(models.Model):
    """One immutable version of a run's canonical payload, with where each field came from."""

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="snapshots", db_index=False
    )
    version = models.PositiveIntegerField()
    content = models.JSONField()
    provenance = models.JSONField(default=dict, help_text="Payload path -> origin: {kind, name, label}.")
    origin = models.CharField(max_length=16, choices=OriginKind, default=OriginKind.IMPORT)
    origin_name = models.CharField(max_length=150, blank=True)
    source = models.CharField(max_length=200, blank=True, help_text="The sender's own label.")
    confirmed = models.JSONField(
        default=list, help_text="Paths whose value a person has confirmed though it looks like a placeholder."
    )
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["version"]
        constraints = [models.UniqueConstraint(fields=["transaction", "version"], name="snapshot_version_once")]

    def __str__(self) -> str:
        return f"{self.transaction_id} v{self.version}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk:
            raise TypeError("A payload snapshot is immutable; write the next version.")
        super().save(*args, **kwargs)


class AcceptedContent(models.Model):
    """What a source last told us about a run: sameness compares with this, never with the snapshot that people may have fixed."""

    transaction = models.ForeignKey(
        OnboardingTransaction, on_delete=models.CASCADE, related_name="accepted", db_index=False
    )
    origin = models.CharField(max_length=16, choices=OriginKind, default=OriginKind.IMPORT)
    source = models.CharField(max_length=64, blank=True, help_text="The sender's own label.")
    content = models.JSONField()
    digest = models.CharField(max_length=64)
    earlier = models.JSONField(
        default=list, help_text="Digests of what it told before: its redelivery is no news, and undoes nothing."
    )
    accepted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["transaction", "origin", "source"], name="accepted_content_once")
        ]

    def __str__(self) -> str:
        return f"{self.source} on {self.transaction_id}"


class ChangeRequests(models.QuerySet["ChangeRequest"]):
    def open(self) -> "ChangeRequests":
        """Nobody has decided yet."""
        return self.filter(status=ChangeStatus.OPEN)

    def decidable(self) -> "ChangeRequests":
        """Open, and of runs whose data may still change."""
        return self.open().filter(transaction__status__in=CHANGEABLE)


class ChangeRequest(models.Model):
    """Other content under a known id, or what a person wants changed: recorded with its difference, applied by people alone."""

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="change_requests")
    origin = models.CharField(max_length=16, choices=OriginKind, default=OriginKind.IMPORT)
    origin_name = models.CharField(max_length=150, blank=True)
    source = models.CharField(max_length=64, blank=True, help_text="The sender's own label; empty for a person's.")
    proposed = models.JSONField()
    confirmed = models.JSONField(default=list, help_text="As a snapshot's.")
    digest = models.CharField(max_length=64)
    paths = models.JSONField(default=list, help_text="Payload paths that would change.")
    status = FSMField(default=ChangeStatus.OPEN, choices=ChangeStatus.choices, protected=True)
    created_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was rejected.")

    objects = ChangeRequests.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "origin", "origin_name", "source", "digest"],
                condition=models.Q(status=ChangeStatus.OPEN),
                name="change_request_open_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at"], condition=models.Q(status=ChangeStatus.OPEN), name="change_request_open"
            )
        ]

    def __str__(self) -> str:
        return f"change request {self.pk} on {self.transaction_id}"

    @transition(field=status, source=ChangeStatus.OPEN, target=ChangeStatus.APPLIED)
    def apply(self, *, by: str, at: datetime) -> None:
        self.decided_by, self.decided_at = by[:150], at

    @transition(field=status, source=ChangeStatus.OPEN, target=ChangeStatus.REJECTED)
    def reject(self, *, by: str, at: datetime, reason: str) -> None:
        self.decided_by, self.decided_at, self.reason = by[:150], at, reason[:500]

    @transition(field=status, source=ChangeStatus.OPEN, target=ChangeStatus.SUPERSEDED)
    def supersede(self, *, at: datetime) -> None:
        """The same source has told something newer: applied after that, it would bring back what is out of date."""
        self.decided_at = at
