"""Runs: the list and the page. What people do to a run there is in ``actions`` and ``changes``."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import DropdownFilter

from exceptions_queue.admin.home import live_updates
from exceptions_queue.admin.runs import actions as run_actions
from exceptions_queue.admin.runs import changes
from exceptions_queue.admin.runs import page as run_page
from exceptions_queue.admin.runs.start import StartByHand
from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.display_names import full_name
from exceptions_queue.admin.ui.safe_rows import cell
from exceptions_queue.models import CrmOwner, blocked_runs, is_blocked
from exceptions_queue.roles import SEE_PERSONAL
from exceptions_queue.search import runs_matching
from exceptions_queue.sla.state import SlaState, clocks_in, invoicing_in
from integrations import clock
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction

SEARCHED = "Customer, contact, email, domain, payment or vendor id, #ticket"
Runs = QuerySet[OnboardingTransaction]
Choices = list[tuple[str, str]]


NEWEST = 1_000
"""Runs whose values filters offer."""
LATE = [SlaState.AT_RISK, SlaState.BREACHED]


class RunStatusFilter(DropdownFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:  # noqa: ARG002
        return queryset.filter(status=self.value()) if self.value() else queryset


class BlockedFilter(DropdownFilter):
    title = "blocked"
    parameter_name = "blocked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [("yes", "Blocked"), ("no", "Not blocked")]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:  # noqa: ARG002
        if self.value() == "yes":
            return queryset.filter(pk__in=blocked_runs())
        return queryset.exclude(is_blocked()) if self.value() == "no" else queryset


class HeldFilter(DropdownFilter):
    title = "hold"
    parameter_name = "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [("yes", "On hold"), ("no", "Not on hold")]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:  # noqa: ARG002
        return queryset.filter(held_at__isnull=self.value() == "no") if self.value() in ("yes", "no") else queryset


class RunSlaFilter(DropdownFilter):
    title = "SLA"
    parameter_name = "sla"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [
            ("on-track", "On track"),
            ("at-risk", "At risk"),
            ("breached", "Breached"),
            ("late", "At risk or breached"),
            ("met", "Met"),
            ("met_late", "Met late"),
            ("cancelled", "Cancelled"),
        ]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:  # noqa: ARG002
        value = self.value() or ""
        states = {"on-track": [SlaState.RUNNING], "at-risk": [SlaState.AT_RISK], "late": LATE}.get(value, [value])
        known = [state for state in states if state in SlaState.values]
        return self.chosen(queryset, known) if known else queryset

    def chosen(self, queryset: Runs, states: list[str]) -> Runs:
        return queryset.filter(clocks_in(states, clock.now()))


class InvoiceFilter(RunSlaFilter):
    """By the clock of invoice readiness, which runs beside the run's present one."""

    title = "invoice readiness"
    parameter_name = "invoicing"

    def chosen(self, queryset: Runs, states: list[str]) -> Runs:
        return queryset.filter(invoicing_in(states, clock.now()))


class _ValuesFilter(DropdownFilter):
    """The values that the newest runs have, at most 100 of them."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        name = str(self.parameter_name)
        newest = OnboardingTransaction.objects.order_by("-pk").values(name)[:NEWEST]
        values = sorted({row[name] for row in newest})[:100]
        return [(value, value) for value in values if value]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:  # noqa: ARG002
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class SourceFilter(_ValuesFilter):
    title, parameter_name = "source", "event_source"


class PlanFilter(_ValuesFilter):
    title, parameter_name = "plan", "plan_sku"


class SegmentFilter(_ValuesFilter):
    title, parameter_name = "segment", "segment"


class ChangeFilter(DropdownFilter):
    title = "change request"
    parameter_name = "change"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002
        return [("waits", "Waits for a decision")]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:  # noqa: ARG002
        return queryset.filter(pk__in=changes.waiting().values("transaction")) if self.value() == "waits" else queryset


@admin.register(OnboardingTransaction)
class RunAdmin(StartByHand):
    list_name = "Runs"
    list_display = ("customer", "state", "sla", "plan", "owned_by", "source", "paid")
    list_display_links = ("customer",)
    list_select_related = ("sla_clock",)
    list_filter = (
        RunStatusFilter,
        BlockedFilter,
        HeldFilter,
        RunSlaFilter,
        InvoiceFilter,
        SourceFilter,
        PlanFilter,
        SegmentFilter,
        ChangeFilter,
    )
    ordering = ("-pk",)
    search_fields = ("pk",)  # what is searched: get_search_results
    search_help_text = SEARCHED

    def get_queryset(self, request: HttpRequest) -> Runs:
        runs: Runs = super().get_queryset(request)
        owner = (
            CrmOwner.objects.filter(crm_owner_id=OuterRef("crm_owner_id"))
            .annotate(shown=full_name("user__"))
            .values("shown")[:1]
        )
        return runs.annotate(blocked=is_blocked(), owner_name=Subquery(owner)).prefetch_related("clocks")

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: Runs,
        search_term: str,
    ) -> tuple[Runs, bool]:
        if not (term := search_term.strip()):
            return queryset, False
        found = runs_matching(term, sees_personal=request.user.has_perm(SEE_PERSONAL))
        return queryset.filter(pk__in=found.values("pk")), False

    @admin.display(description="Customer", ordering="customer_name")
    @cell
    def customer(self, run: OnboardingTransaction) -> SafeString:
        return badges.two_lines(run.customer_name or run.onboarding_transaction_id, run.domain)

    @admin.display(description="Status", ordering="status")
    @cell
    def state(self, run: OnboardingTransaction) -> SafeString:
        return state_badges(run, blocked=getattr(run, "blocked", False))

    @admin.display(description="SLA", ordering="occurred_at")
    @cell
    def sla(self, run: OnboardingTransaction) -> SafeString:
        shown = [badges.run_sla(run).html]
        if invoicing := badges.invoice_clock(run):
            shown.append(badges.clock_sla(invoicing).html)
        return format_html_join(" ", "{}", ((each,) for each in shown))

    @admin.display(description="Plan", ordering="plan_sku")
    @cell
    def plan(self, run: OnboardingTransaction) -> SafeString:
        return badges.two_lines(run.plan_sku or "—", run.segment)

    @admin.display(description="Owner")
    @cell
    def owned_by(self, run: OnboardingTransaction) -> SafeString:
        name = getattr(run, "owner_name", None)
        return badges.two_lines(name or run.crm_owner_id or "—")

    @admin.display(description="Transaction")
    @cell
    def source(self, run: OnboardingTransaction) -> SafeString:
        return badges.two_lines(badges.short(run.onboarding_transaction_id, 32), run.event_source)

    @admin.display(description="Paid", ordering="occurred_at")
    def paid(self, run: OnboardingTransaction) -> SafeString | str:
        return badges.moment(run.occurred_at)

    # --- The page

    def get_urls(self) -> list[URLPattern]:
        live_path = path("<int:pk>/live/", self.admin_site.admin_view(self.live_view), name="onboarding_run_live")
        return [live_path, *changes.Views(self).urls(), *run_actions.Views(self).urls(), *super().get_urls()]

    @method_decorator(require_GET)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        run = self.find_run(request, object_id)
        if not isinstance(user := request.user, User):
            raise PermissionDenied
        shown = self.page_context(
            request,
            trail=[(run.customer_name or run.onboarding_transaction_id, "")],
            title=run.customer_name or run.onboarding_transaction_id,
            badges=state_badges(run, blocked=getattr(run, "blocked", False)),
            sla=badges.run_sla(run),
            version=live_updates.run_version(run),
            news=live_updates.news(run, user),
            **run_page.context(run, user),
        )
        return TemplateResponse(request, "admin/onboarding/onboardingtransaction/page.html", shown)

    @method_decorator(require_GET)
    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = self.find_run(request, pk)
        if not isinstance(user := request.user, User):
            raise PermissionDenied
        return live_updates.answer(version=live_updates.run_version(run), news=live_updates.news(run, user))

    def find_run(self, request: HttpRequest, pk: str | int) -> OnboardingTransaction:
        """With what the pages show of it. Raises ``PermissionDenied`` and ``Http404``."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return self.get_queryset(request).select_related("playbook", "sla_clock").get(pk=int(pk))
        except (OnboardingTransaction.DoesNotExist, ValueError):
            raise Http404("There is no such run.") from None


def state_badges(run: OnboardingTransaction, *, blocked: bool) -> SafeString:
    shown = [badges.badge(run.get_status_display(), badges.STATUS_TONES.get(Status(run.status), badges.INFO))]
    if run.held_at:
        shown.append(badges.badge("On hold", badges.RISK, "front_hand"))
    if blocked:
        shown.append(badges.badge("Blocked", badges.BAD, "error"))
    return format_html_join(" ", "{}", ((badge,) for badge in shown))
