"""What lists of runs and exceptions may be narrowed by. A wrong value is a 400, never an empty list."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from exceptions_queue.models import Ticket, TicketStatus, blocked_runs, is_blocked
from exceptions_queue.search import person_matching
from exceptions_queue.sla.state import SlaState, clocks_in, invoicing_in, tickets_in
from integrations import clock
from integrations.domains import same_domain
from integrations.enums import System
from onboarding.api.authentication import caller
from onboarding.enums import Category, Status, Topic
from onboarding.ids import comparable
from onboarding.models import CorrelationKey, ObjectMapping, OnboardingTransaction
from onboarding.queues import QUEUES

MAX_TEXT = 255


def _sane(value: datetime) -> None:
    """Years at the calendar's ends overflow once a time zone is added."""
    if not 1970 <= value.year <= 2200:  # noqa: PLR2004
        raise ValidationError("must lie between the years 1970 and 2200")


def _some(choices: Any, **kwargs: Any) -> filters.MultipleChoiceFilter:
    """One of several values; may be given more than once."""
    return filters.MultipleChoiceFilter(choices=choices, distinct=False, **kwargs)


def _text(**kwargs: Any) -> filters.CharFilter:
    return filters.CharFilter(max_length=MAX_TEXT, **kwargs)


class OnboardingFilter(filters.FilterSet):  # type: ignore[misc]
    status = _some(Status.choices)
    source = _text(field_name="event_source")
    plan = _text(field_name="plan_sku")
    segment = _text()
    owner = _text(field_name="crm_owner_id", label="The owner's id in the CRM.")
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte", validators=[_sane])
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", validators=[_sane])
    sla_state = _some(SlaState.choices, method="by_sla_state")
    invoice_state = _some(
        SlaState.choices,
        method="by_invoice_state",
        label="The clock of invoice readiness, of runs whose playbook has a step for it.",
    )
    blocked = filters.ChoiceFilter(choices=[("true", "true"), ("false", "false")], method="by_blocked")
    search = _text(
        method="by_search",
        label="In the id, domain, contact or customer's name; or a payment's or a vendor object's id, whole. A key that may not "
        "see personal data finds a contact by the whole email address alone.",
    )

    class Meta:
        model = OnboardingTransaction
        fields: list[str] = []

    def by_sla_state(self, runs: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:  # noqa: ARG002
        return runs.filter(clocks_in(value, clock.now())) if value else runs

    def by_invoice_state(self, runs: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:  # noqa: ARG002
        return runs.filter(invoicing_in(value, clock.now())) if value else runs

    @extend_schema_field(OpenApiTypes.BOOL)
    def by_blocked(self, runs: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:  # noqa: ARG002
        return runs.filter(pk__in=blocked_runs()) if value == "true" else runs.exclude(is_blocked())

    def by_search(self, runs: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:  # noqa: ARG002
        term = value.strip()
        if not term:
            return runs
        return runs.filter(
            Q(onboarding_transaction_id__icontains=term)
            | Q(domain__icontains=same_domain(term))
            | person_matching(term, sees_personal=caller(self.request).sees_personal_data)
            | Q(customer_name__icontains=term)
            | Q(pk__in=CorrelationKey.objects.filter(value__in=[term, comparable(term)]).values("transaction"))
            | Q(pk__in=ObjectMapping.objects.filter(external_id=term).values("transaction"))
        )


class TicketFilter(filters.FilterSet):  # type: ignore[misc]
    status = _some(TicketStatus.choices)
    category = _some(Category.choices)
    topic = _some([(topic.value, topic.label) for topic in Topic if topic])
    system = _some(System.choices)
    queue = _some(list(QUEUES.items()))
    step = _text(method="by_step", label="A step's key, or `gate`, or `credentials`.")
    owner = _text(field_name="owner__username", label="A username.")
    sla_state = _some(SlaState.choices, method="by_sla_state")
    onboarding_transaction_id = _text(method="by_run", label="A run's id.")

    class Meta:
        model = Ticket
        fields: list[str] = []

    def by_run(self, tickets: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:  # noqa: ARG002
        return tickets.filter(transaction__in=OnboardingTransaction.objects.called(value))

    def by_step(self, tickets: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:  # noqa: ARG002
        match value:
            case "gate":
                return tickets.filter(step=None, connection=None, mapping=None, finding=None)
            case "credentials":
                return tickets.exclude(connection=None)
        return tickets.filter(step__key=value)

    def by_sla_state(self, tickets: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:  # noqa: ARG002
        return tickets.filter(tickets_in(value, clock.now())) if value else tickets
