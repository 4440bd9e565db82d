"""Tickets, and runs with the tickets and the clock that cover them, as the API shows them."""

from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from exceptions_queue.models import SlaClock, Ticket, TicketNote
from exceptions_queue.roles import Actor
from exceptions_queue.sla.state import SlaState, clock_state, ticket_state
from exceptions_queue.tickets import catalogue
from exceptions_queue.tickets.actions import ACTIONS, available
from integrations import clock
from onboarding.api.authentication import caller
from onboarding.api.personal import MaskedJson, MaskedText
from onboarding.api.serializers import ChangeRequestSerializer, RowSerializer, RunDetailSerializer, RunSerializer
from onboarding.enums import Status, Topic
from onboarding.models import OnboardingTransaction
from onboarding.playbooks.requirements import problems_of

sla_choice = serializers.ChoiceField(SlaState.choices, allow_null=True)


class NoteSerializer(RowSerializer[TicketNote]):
    text = MaskedText()

    class Meta:
        model = TicketNote
        fields = ["author", "text", "at"]


class FieldToMendSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="Payload path; empty where the vendor's field is no field of ours.")
    name = serializers.CharField(required=False, help_text="The vendor's name of the field.")
    reason = MaskedText()


class CandidateSerializer(serializers.Serializer[Any]):
    external_id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF's metaclass takes it away
    url = serializers.CharField()
    evidence = MaskedJson()
    conclusive = serializers.BooleanField(
        required=False, help_text="False: nothing but the name says that it is this customer's."
    )


class SafeActionField(serializers.CharField):
    """As the catalogue says for the whole ticket."""

    def to_representation(self, value: Any) -> str:
        return str(catalogue.safe_action(value))


class TicketBaseSerializer(RowSerializer[Ticket]):
    """An exception as a run lists it."""

    step = serializers.CharField(source="failed_step", help_text="The step's key, or `gate`, or `credentials`.")
    message = MaskedText()
    owner = serializers.SerializerMethodField(help_text="A username.")
    safe_action = SafeActionField(source="*")
    topic = serializers.ChoiceField(
        [(topic.value, topic.label) for topic in Topic if topic],
        source="shown_topic",
        allow_null=True,
        help_text="What it asks in particular; null for the failure itself. One subject may have an exception for each.",
    )
    console_url = serializers.CharField(source="url")
    url = serializers.HyperlinkedIdentityField(view_name="exception", read_only=True)

    class Meta:
        model = Ticket
        fields = [
            "id",
            "status",
            "category",
            "topic",
            "system",
            "step",
            "message",
            "queue",
            "owner",
            "safe_action",
            "sla_due",
            "opened_at",
            "url",
            "console_url",
        ]

    def get_owner(self, ticket: Ticket) -> str | None:
        return ticket.owner.get_username() if ticket.owner else None


class TicketSerializer(TicketBaseSerializer):
    """An exception with everything that somebody needs to clear it. Its rows the caller has joined and prefetched."""

    onboarding_transaction_id = serializers.SerializerMethodField(help_text="Null for a connection's exception.")
    idempotency_key = serializers.SerializerMethodField(help_text="Sent to vendors; the same as the transaction's id.")
    customer = serializers.SerializerMethodField()
    domain = serializers.SerializerMethodField()
    connection = serializers.SerializerMethodField(help_text="The connection's slug, where it is about one.")
    change_request = serializers.IntegerField(
        source="change_request_id", allow_null=True, help_text="The change that is asked for, or to be made by hand."
    )
    run = serializers.SerializerMethodField(help_text="The run's address in this API.")
    attempts = serializers.IntegerField(source="attempt_count")
    next_retry = serializers.DateTimeField(
        allow_null=True, help_text="When the engine retries automatically; null where it waits for a person."
    )
    sla_state = serializers.SerializerMethodField()
    problems = FieldToMendSerializer(many=True)
    candidates = CandidateSerializer(many=True)
    notes = NoteSerializer(many=True)
    what_to_do = serializers.SerializerMethodField(help_text="In a sentence or two; empty for a resolved one.")
    available_actions = serializers.SerializerMethodField(help_text="What this key may do to it now.")

    class Meta(TicketBaseSerializer.Meta):
        fields = [
            "id",
            "status",
            "onboarding_transaction_id",
            "idempotency_key",
            "customer",
            "domain",
            "category",
            "topic",
            "system",
            "step",
            "connection",
            "change_request",
            "message",
            "http_status",
            "run",
            "url",
            "console_url",
            "retry_of",
            "attempts",
            "next_retry",
            "sla_due",
            "sla_state",
            "snoozed_until",
            "safe_action",
            "queue",
            "owner",
            "problems",
            "candidates",
            "notes",
            "opened_at",
            "resolved_at",
            "resolution",
            "what_to_do",
            "available_actions",
        ]

    def get_onboarding_transaction_id(self, ticket: Ticket) -> str | None:
        return ticket.transaction.onboarding_transaction_id if ticket.transaction else None

    def get_idempotency_key(self, ticket: Ticket) -> str | None:
        return self.get_onboarding_transaction_id(ticket)

    def get_customer(self, ticket: Ticket) -> str | None:
        return ticket.transaction.customer_name if ticket.transaction else None

    def get_domain(self, ticket: Ticket) -> str | None:
        return ticket.transaction.domain if ticket.transaction else None

    def get_connection(self, ticket: Ticket) -> str | None:
        return ticket.connection.slug if ticket.connection else None

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_run(self, ticket: Ticket) -> str | None:
        if ticket.transaction is None:
            return None
        path = reverse("onboarding", args=[ticket.transaction.onboarding_transaction_id])
        address: str = self.context["request"].build_absolute_uri(path)
        return address

    @extend_schema_field(sla_choice)
    def get_sla_state(self, ticket: Ticket) -> str | None:
        return ticket_state(ticket, clock.now())

    def get_what_to_do(self, ticket: Ticket) -> str:
        return catalogue.story(ticket).todo if ticket.is_open else ""

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(list(ACTIONS))))
    def get_available_actions(self, ticket: Ticket) -> list[str]:
        actor = Actor.of(caller(self.context["request"]))
        return [action.name for action in available(ticket, actor)]


class SlaSerializer(RowSerializer[SlaClock]):
    """The run's present clock: P1 (paid to provisioned), then P2 (provisioned to kickoff scheduled) where it has a kickoff."""

    state = serializers.SerializerMethodField()

    class Meta:
        model = SlaClock
        fields = ["milestone", "state", "due_at", "at_risk_at", "breached_at"]

    @extend_schema_field(sla_choice)
    def get_state(self, sla_clock: SlaClock) -> str | None:
        return clock_state(sla_clock, clock.now())


class ClockSerializer(SlaSerializer):
    """One of the run's clocks, with the policy that it was started under."""

    class Meta(SlaSerializer.Meta):
        fields = [*SlaSerializer.Meta.fields, "started_at", "ended_at", "target_minutes", "at_risk_percent", "calendar"]


class OnboardingSerializer(RunSerializer):
    """One row of a list of runs."""

    blocked = serializers.BooleanField(help_text="An open exception covers it.")
    sla = SlaSerializer(source="sla_clock", allow_null=True)
    console_url = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "console_url", "blocked", "sla"]

    def get_console_url(self, run: OnboardingTransaction) -> str:
        path = reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])
        return f"{settings.PUBLIC_URL}{path}"


class OnboardingDetailSerializer(OnboardingSerializer, RunDetailSerializer):
    """A run with its parts. ``context["exceptions"]``: the open tickets that cover it."""

    blocked = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="An open exception covers it."
    )
    clocks = ClockSerializer(many=True, help_text="All that were started, P1 first.")
    exceptions = serializers.SerializerMethodField(
        help_text="The open ones. Those about a change request hold nothing up."
    )

    class Meta(RunDetailSerializer.Meta):
        fields = [*RunDetailSerializer.Meta.fields, "console_url", "blocked", "sla", "clocks", "exceptions"]

    def get_blocked(self, run: OnboardingTransaction) -> bool:  # noqa: ARG002
        return any(ticket.holds_up for ticket in self.context["exceptions"])

    @extend_schema_field(TicketBaseSerializer(many=True))
    def get_exceptions(self, run: OnboardingTransaction) -> Any:  # noqa: ARG002
        found = self.context["exceptions"]
        return TicketBaseSerializer(found, many=True, context=self.context).data if found else []


class WarningSerializer(serializers.Serializer[Any]):
    """A field that was sent and that nothing reads."""

    path = serializers.CharField()
    detail = serializers.CharField()
    nearest = serializers.CharField(help_text="The path that may have been meant; empty where none is alike.")


class OnboardingTakenSerializer(OnboardingDetailSerializer):
    """A run as it is after its payload came in, and what was odd about that."""

    warnings = WarningSerializer(many=True)

    class Meta(OnboardingDetailSerializer.Meta):
        fields = [*OnboardingDetailSerializer.Meta.fields, "warnings"]


class ChangeRequestedSerializer(OnboardingTakenSerializer):
    """A run, and the change request that other content under its id made."""

    change_request = ChangeRequestSerializer()

    class Meta(OnboardingTakenSerializer.Meta):
        fields = [*OnboardingTakenSerializer.Meta.fields, "change_request"]


class ReceiptSerializer(RowSerializer[OnboardingTransaction]):
    """What a key of the scope intake learns of a run that another source began."""

    missing = serializers.SerializerMethodField(help_text="Paths of required fields that it still waits for.")
    url = serializers.HyperlinkedIdentityField(
        view_name="onboarding", lookup_field="onboarding_transaction_id", read_only=True
    )

    class Meta:
        model = OnboardingTransaction
        fields = ["onboarding_transaction_id", "status", "missing", "url"]

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_missing(self, run: OnboardingTransaction) -> list[str]:
        is_waiting = run.status in (Status.QUEUED, Status.AWAITING_DATA)
        return [problem.path for problem in problems_of(run)] if is_waiting else []


class ChangeReceiptSerializer(ReceiptSerializer):
    """With the change request that its content made. ``context["change"]``: that one."""

    change_request = serializers.SerializerMethodField()

    class Meta(ReceiptSerializer.Meta):
        fields = [*ReceiptSerializer.Meta.fields, "change_request"]

    @extend_schema_field(ChangeRequestSerializer)
    def get_change_request(self, run: OnboardingTransaction) -> Any:  # noqa: ARG002
        return ChangeRequestSerializer(self.context["change"]).data


RUN_ANSWER = PolymorphicProxySerializer(
    component_name="OnboardingOrReceipt",
    serializers=[OnboardingDetailSerializer, ReceiptSerializer],
    resource_type_field_name=None,
)
TAKEN_ANSWER = PolymorphicProxySerializer(
    component_name="OnboardingTakenOrReceipt",
    serializers=[OnboardingTakenSerializer, ReceiptSerializer],
    resource_type_field_name=None,
)
CHANGE_ANSWER = PolymorphicProxySerializer(
    component_name="ChangeRequestedOrReceipt",
    serializers=[ChangeRequestedSerializer, ChangeReceiptSerializer],
    resource_type_field_name=None,
)
