"""A run and its parts as the API shows them."""

import threading
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import SkipField
from rest_framework.relations import PKOnlyObject

from onboarding.api.personal import MaskedText, masked
from onboarding.enums import OriginKind, StepState
from onboarding.models import (
    ArchivedRun,
    ChangeRequest,
    ObjectMapping,
    OnboardingTransaction,
    PayloadSnapshot,
    PinnedPlaybook,
    Step,
    UnmatchedEvent,
)
from onboarding.origins import Origin
from onboarding.sla_targets import INVOICE

M = TypeVar("M", bound=Model)
_made = threading.local()


def represented(
    serializer: type[serializers.BaseSerializer[Any]], instance: Any, context: dict[str, Any] | None = None
) -> dict[str, Any]:
    """``serializer(instance, context=context).data``, with the fields made once a thread: DRF makes them once a request.

    Not for a serializer that is shown within another one's answer of the same class.
    """
    kept: dict[type, Any] = _made.__dict__.setdefault("by_class", {})
    made = kept.get(serializer)
    if made is None:
        made = kept[serializer] = serializer()
    made._context = context or {}
    try:
        return dict(made.to_representation(instance))
    finally:
        made._context = {}


class RowSerializer(serializers.ModelSerializer[M]):
    """One row. Its columns are read from where the instance keeps them; DRF asks anew of each what it may be."""

    def to_representation(self, instance: M) -> dict[str, Any]:
        kept = instance.__dict__
        shown: dict[str, Any] = {}
        for name, column, field in self._columns:
            if column in kept:
                value = kept[column]
            else:
                try:
                    value = field.get_attribute(instance)
                except SkipField:
                    continue
            is_none = value is None or (isinstance(value, PKOnlyObject) and value.pk is None)
            shown[name] = None if is_none else field.to_representation(value)
        return shown

    @cached_property
    def _columns(self) -> list[tuple[str, str, serializers.Field[Any, Any, Any, Any]]]:
        """Each field with the column that it shows as it is, if it is one."""
        return [(str(field.field_name), _column_of(field), field) for field in self._readable_fields]


def _column_of(field: serializers.Field[Any, Any, Any, Any]) -> str:
    reads_plainly = type(field).get_attribute is serializers.Field.get_attribute and len(field.source_attrs) == 1
    return field.source_attrs[0] if reads_plainly else ""


class StepSerializer(RowSerializer[Step]):
    attempts = serializers.IntegerField(source="attempt_count", help_text="Without those that are archived.")
    polls = serializers.SerializerMethodField(
        help_text="How often it was polled whether the awaited event has happened; polls are no attempts."
    )
    last_polled_at = serializers.SerializerMethodField()
    next_attempt_at = serializers.SerializerMethodField(help_text="When the engine tries next.")
    message = MaskedText()

    class Meta:
        model = Step
        fields = [
            "key",
            "system",
            "state",
            "attempts",
            "polls",
            "last_polled_at",
            "waits_for",
            "next_attempt_at",
            "category",
            "message",
            "http_status",
            "started_at",
            "finished_at",
        ]

    def get_polls(self, step: Step) -> int:
        return step.poll.count if hasattr(step, "poll") else 0

    def get_last_polled_at(self, step: Step) -> datetime | None:
        return step.poll.last_at if hasattr(step, "poll") else None

    def get_next_attempt_at(self, step: Step) -> datetime | None:
        return step.due_at if step.state in (StepState.WAITING, StepState.BLOCKED, StepState.PENDING) else None


class MappingSerializer(RowSerializer[ObjectMapping]):
    system = serializers.CharField(source="connection.system")
    step = serializers.CharField(source="step.key")
    item = serializers.CharField(help_text="Which one, of a step that makes several; empty otherwise.")

    class Meta:
        model = ObjectMapping
        fields = ["system", "kind", "external_id", "url", "created_by_us", "how", "step", "item"]


class MilestoneSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(["accepted", "provisioned", "invoice-ready", "complete"])
    at = serializers.DateTimeField(allow_null=True, help_text="Null until it is reached.")


class PlaybookSerializer(RowSerializer[PinnedPlaybook]):
    hash = serializers.CharField(source="content_hash")

    class Meta:
        model = PinnedPlaybook
        fields = ["name", "version", "hash"]


class PayloadField(serializers.JSONField):
    """A payload's content, masked where the key may not see personal data."""

    def to_representation(self, value: Any) -> Any:
        return masked(value) if self.context.get("masked", True) else value


class OriginSerializer(serializers.Serializer[Any]):
    """Where something came from. What is empty is left out."""

    kind = serializers.ChoiceField(OriginKind.choices)
    name = serializers.CharField(
        required=False, help_text="The connection, API key, person or payload path that it came from."
    )
    label = serializers.CharField(  # type: ignore[assignment]  # DRF's metaclass takes it away
        required=False, help_text="The sender's own text, such as its event_source."
    )


class SnapshotSerializer(RowSerializer[PayloadSnapshot]):
    origin = serializers.SerializerMethodField()
    provenance = serializers.DictField(child=OriginSerializer(), help_text="By payload path.")
    content = PayloadField()

    class Meta:
        model = PayloadSnapshot
        fields = ["version", "origin", "source", "actor", "created_at", "provenance", "content"]

    @extend_schema_field(OriginSerializer)
    def get_origin(self, snapshot: PayloadSnapshot) -> dict[str, str]:
        return Origin.of(snapshot).as_dict()


class ChangeRequestSerializer(RowSerializer[ChangeRequest]):
    paths = serializers.ListField(child=serializers.CharField())
    origin = serializers.SerializerMethodField()

    class Meta:
        model = ChangeRequest
        fields = ["id", "status", "origin", "source", "paths", "created_at", "decided_at"]

    @extend_schema_field(OriginSerializer)
    def get_origin(self, change: ChangeRequest) -> dict[str, str]:
        return Origin.of(change).as_dict()


class RunSerializer(RowSerializer[OnboardingTransaction]):
    """One row of a list of runs."""

    customer = serializers.CharField(source="customer_name")
    plan = serializers.CharField(source="plan_sku")
    owner = serializers.CharField(source="crm_owner_id", help_text="The owner's id in the CRM.")
    url = serializers.HyperlinkedIdentityField(
        view_name="onboarding", lookup_field="onboarding_transaction_id", read_only=True
    )

    class Meta:
        model = OnboardingTransaction
        fields = [
            "onboarding_transaction_id",
            "event_source",
            "status",
            "customer",
            "domain",
            "plan",
            "segment",
            "owner",
            "occurred_at",
            "created_at",
            "updated_at",
            "provisioned_at",
            "completed_at",
            "cancelled_at",
            "held_at",
            "url",
        ]


class ArchivedSerializer(RowSerializer[ArchivedRun]):
    """A part of a run's story that was moved into the archive, a folder of files."""

    archived_at = serializers.DateTimeField(source="batch.written_at")
    entries = serializers.IntegerField(help_text="Audit entries.")
    file = serializers.CharField(source="batch.trail_file", help_text="With its audit entries and attempts.")
    calls_file = serializers.SerializerMethodField(help_text="Null where there are none, or none any more.")

    class Meta:
        model = ArchivedRun
        fields = [
            "archived_at",
            "first_sequence",
            "last_sequence",
            "entries",
            "attempts",
            "calls",
            "file",
            "calls_file",
        ]

    def get_calls_file(self, part: ArchivedRun) -> str | None:
        return part.batch.calls_file if part.calls and part.batch.calls_removed_at is None else None


class RunDetailSerializer(RunSerializer):
    """A run with its parts, whose rows the caller has prefetched."""

    payload = serializers.SerializerMethodField(help_text="The current snapshot's content.")
    steps = StepSerializer(many=True)
    mappings = MappingSerializer(many=True)
    joined_into = serializers.SerializerMethodField(
        help_text="The onboarding_transaction_id of the run of the same order that goes on in its place; else null."
    )
    milestones = serializers.SerializerMethodField()
    snapshots = SnapshotSerializer(many=True)
    change_requests = ChangeRequestSerializer(many=True)
    playbook = PlaybookSerializer(allow_null=True)
    archived = ArchivedSerializer(
        many=True, help_text="Which attempts, calls and audit entries are archived, oldest first; empty: none."
    )

    class Meta(RunSerializer.Meta):
        fields = [
            *RunSerializer.Meta.fields,
            "joined_into",
            "payload",
            "steps",
            "mappings",
            "milestones",
            "snapshots",
            "change_requests",
            "playbook",
            "archived",
        ]

    def get_payload(self, run: OnboardingTransaction) -> dict[str, Any]:
        current = next(snapshot for snapshot in run.snapshots.all() if snapshot.version == run.snapshot_version)
        shown: dict[str, Any] = masked(current.content) if self.context.get("masked", True) else current.content
        return shown

    def get_joined_into(self, run: OnboardingTransaction) -> str | None:
        return str(run.joined_into) if run.joined_into_id and run.joined_into else None

    def get_milestones(self, run: OnboardingTransaction) -> list[dict[str, Any]]:
        """``invoice-ready`` stands among them where the playbook has a step for it."""
        times = {"accepted": run.created_at, "provisioned": run.provisioned_at}
        if invoicing := next((step for step in run.steps.all() if step.uses == INVOICE), None):
            is_ready = invoicing.state == StepState.SUCCEEDED
            times["invoice-ready"] = invoicing.finished_at if is_ready else None
        times["complete"] = run.completed_at
        return [represented(MilestoneSerializer, {"name": name, "at": at}) for name, at in times.items()]


class KeptEventSerializer(RowSerializer[UnmatchedEvent]):
    """An event whose run does not exist yet."""

    onboarding_transaction_id = serializers.CharField(source="value")
    status = serializers.CharField(source="state", help_text="`waiting`, or `expired` where no such run came in time.")
    expires_at = serializers.DateTimeField(
        help_text="Until then its run is expected; one that opens later gets it, too."
    )

    class Meta:
        model = UnmatchedEvent
        fields = ["onboarding_transaction_id", "type", "event_id", "occurred_at", "status", "expires_at"]


class RequestSerializer(serializers.Serializer[Any]):
    """A request's body. What it does not know is refused, not ignored."""

    openapi_rules: ClassVar[dict[str, Any]] = {}
    """What OpenAPI says of the whole body beyond its fields: which of them go together."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        if unknown:
            known = ", ".join(self.fields) or "none"
            raise serializers.ValidationError(dict.fromkeys(unknown, f"is no field of this request (known: {known})"))
        return super().to_internal_value(data)


class StrictText(serializers.CharField):
    """Text, and not a number that is made one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a text")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)  # as it was sent: the schema knows of no trimming
        return super().to_internal_value(data)
