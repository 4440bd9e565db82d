"""What the queue shows: open tickets of my queues unless asked for more."""

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from exceptions_queue import roles
from exceptions_queue.admin.ui.display_names import full_name
from exceptions_queue.models import Ticket, TicketQuerySet, TicketStatus, is_unresolved
from exceptions_queue.sla.state import SlaState, tickets_in
from integrations import clock
from integrations.enums import System
from integrations.models import Connection
from onboarding.enums import Category, Topic
from onboarding.models import Step
from onboarding.queues import QUEUES

ALL = "all"
MINE = "mine"
SNOOZED = "snoozed"
Choices = list[tuple[str, str]]


def of_my_queues(tickets: QuerySet[Ticket], user: User) -> QuerySet[Ticket]:
    """What is this person's to work on; leads and administrators see all."""
    return tickets.filter(roles.of(user))


class Default(DropdownFilter):
    """A filter with a default that the page itself chooses. A search looks everywhere, unless a value is given."""

    default = ""
    all_option = None

    def value(self) -> str:
        given: str | None = super().value()
        return given or (ALL if self.searching else self.default)

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        self.searching = bool(request.GET.get("q", "").strip())
        super().__init__(request, params, model, model_admin)


class StatusFilter(Default):
    title = "status"
    parameter_name = "status"
    default = "unresolved"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [("unresolved", "Open or retrying"), *TicketStatus.choices, (SNOOZED, "Snoozed"), (ALL, "All")]

    def queryset(self, request: HttpRequest, queryset: TicketQuerySet) -> QuerySet[Ticket]:  # noqa: ARG002
        match self.value():
            case "unresolved":
                return queryset.unresolved()
            case "snoozed":
                return queryset.unresolved().filter(snoozed_until__gt=clock.now())
            case value if value in TicketStatus.values:
                return queryset.filter(status=value)
        return queryset


class QueueFilter(Default):
    title = "queue"
    parameter_name = "queue"
    default = MINE

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [(MINE, "My queues"), *QUEUES.items(), (ALL, "All queues")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:
        value = self.value()
        if value == MINE and isinstance(request.user, User):
            return of_my_queues(queryset, request.user)
        return queryset.filter(queue=value) if value in QUEUES else queryset


class OwnerFilter(DropdownFilter):
    title = "owner"
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        owners = User.objects.filter(is_unresolved("tickets")).annotate(shown=full_name()).order_by("username")
        return [("me", "Me"), ("nobody", "Nobody yet"), *owners.values_list("username", "shown").distinct()[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:
        match self.value():
            case None | "":
                return queryset
            case "me":
                return queryset.filter(owner__username=request.user.get_username())
            case "nobody":
                return queryset.filter(owner=None)
            case name:
                return queryset.filter(owner__username=name)


class SlaFilter(DropdownFilter):
    title = "SLA"
    parameter_name = "sla"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [("breached", "Breached"), ("at-risk", "At risk"), ("on-track", "On track"), ("none", "No clock")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:  # noqa: ARG002
        match self.value():
            case "breached":
                return queryset.filter(tickets_in([SlaState.BREACHED], clock.now()))
            case "at-risk":
                return queryset.filter(tickets_in([SlaState.AT_RISK], clock.now()))
            case "on-track":
                return queryset.filter(tickets_in([SlaState.RUNNING], clock.now()))
            case "none":
                return queryset.filter(sla_due=None)
        return queryset


class StepFilter(DropdownFilter):
    title = "step"
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        steps = Step.objects.filter(is_unresolved("tickets")).order_by("key")
        keys = steps.values_list("key", flat=True).distinct()[:100]
        return [("gate", "Required data"), *((key, key) for key in keys)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:  # noqa: ARG002
        match self.value():
            case None | "":
                return queryset
            case "gate":
                return queryset.filter(step=None, connection=None, mapping=None, finding=None)
            case key:
                return queryset.filter(step__key=key)


class ConnectionFilter(DropdownFilter):
    title = "connection"
    parameter_name = "connection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [(slug, slug) for slug in Connection.objects.values_list("slug", flat=True)[:100]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:  # noqa: ARG002
        slug = self.value()
        return queryset.filter(Q(connection__slug=slug) | Q(step__connection__slug=slug)) if slug else queryset


class CategoryFilter(DropdownFilter):
    title = "category"
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return list(Category.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:  # noqa: ARG002
        return queryset.filter(category=self.value()) if self.value() else queryset


class TopicFilter(DropdownFilter):
    title = "topic"
    parameter_name = "topic"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [(topic.value, topic.label) for topic in Topic if topic]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:  # noqa: ARG002
        return queryset.filter(topic=self.value()) if self.value() else queryset


class SystemFilter(DropdownFilter):
    title = "system"
    parameter_name = "system"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return list(System.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> QuerySet[Ticket]:  # noqa: ARG002
        return queryset.filter(system=self.value()) if self.value() else queryset


def shown_as(request: HttpRequest) -> Iterator[dict[str, Any]]:
    """The queue's ready views, each with a link and whether it is the one that is open now."""
    views: tuple[tuple[str, dict[str, str]], ...] = (
        ("My queues", {}),
        ("Mine", {"owner": "me", "queue": ALL}),
        ("At risk", {"sla": "at-risk"}),
        ("Breached", {"sla": "breached"}),
        ("All open", {"queue": ALL}),
        ("Snoozed", {"status": SNOOZED, "queue": ALL}),
        ("Resolved", {"status": TicketStatus.RESOLVED.value, "queue": ALL}),
    )
    now = {key: value for key, value in request.GET.items() if key not in ("p", "o") and value}
    for label, query in views:
        link = "?" + "&".join(f"{key}={value}" for key, value in query.items())
        yield {"label": label, "link": link, "active": now == query}
