"""The queue: its list, its pages, and the POSTs that change a ticket."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_POST

from exceptions_queue.admin.home import dashboard, live_updates
from exceptions_queue.admin.runs.run_admin import SEARCHED
from exceptions_queue.admin.tickets import actions as ticket_actions
from exceptions_queue.admin.tickets import bulk_retry, texts
from exceptions_queue.admin.tickets import filters as ticket_filters
from exceptions_queue.admin.tickets import page as ticket_page
from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.safe_rows import cell
from exceptions_queue.models import Ticket, needs_no_action, tries_counted
from exceptions_queue.roles import SEE_PERSONAL
from exceptions_queue.search import runs_matching, ticket_number
from exceptions_queue.tickets import naming
from exceptions_queue.tickets.actions import ACTIONS
from integrations.admin import ReadOnlyAdmin


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    list_name = "Queue"
    list_display = ("sla", "customer", "wrong", "where", "owned_by", "tries", "action", "opened")
    list_display_links = ("customer",)
    list_select_related = (
        *("transaction__sla_clock", "step__connection", "connection", "owner"),
        *("change_request__sla_clock", "mapping__connection", "mapping__step"),
    )
    list_filter = (
        ticket_filters.StatusFilter,
        ticket_filters.QueueFilter,
        ticket_filters.OwnerFilter,
        ticket_filters.SlaFilter,
        ticket_filters.CategoryFilter,
        ticket_filters.TopicFilter,
        ticket_filters.SystemFilter,
        ticket_filters.StepFilter,
        ticket_filters.ConnectionFilter,
    )
    ordering = (F("sla_due").asc(nulls_last=True), "pk")
    search_fields = ("pk",)  # what is searched: get_search_results
    search_help_text = SEARCHED
    list_before_template = "admin/exceptions_queue/ticket/views.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ticket]:
        tickets: QuerySet[Ticket] = super().get_queryset(request)
        return tickets.annotate(attempts_made=tries_counted()).prefetch_related("transaction__clocks")

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Ticket],
        search_term: str,
    ) -> tuple[QuerySet[Ticket], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if (number := ticket_number(term)) is not None:
            return queryset.filter(pk=number), False
        runs = runs_matching(term, sees_personal=request.user.has_perm(SEE_PERSONAL))
        found = Q(transaction__in=runs.values("pk")) | Q(connection__slug__startswith=term)
        return queryset.filter(found), False

    # --- The list's columns

    @admin.display(description="SLA", ordering=F("sla_due").asc(nulls_last=True))
    @cell
    def sla(self, ticket: Ticket) -> SafeString:
        return badges.ticket_sla(ticket).html

    @admin.display(description="Customer")
    @cell
    def customer(self, ticket: Ticket) -> SafeString:
        if ticket.connection:
            return badges.two_lines(naming.vendor(ticket.connection), f"connection {ticket.connection.slug}")
        run = ticket.transaction
        return badges.two_lines(naming.customer(ticket) or ticket.subject_name, run.domain if run else "")

    @admin.display(description="What is wrong", ordering="category")
    @cell
    def wrong(self, ticket: Ticket) -> SafeString:
        return badges.two_lines(badges.category(ticket), badges.short(texts.short(ticket)))

    @admin.display(description="Where", ordering="system")
    @cell
    def where(self, ticket: Ticket) -> SafeString:
        status = f"HTTP {ticket.http_status}" if ticket.http_status else ""
        return badges.two_lines(ticket.get_system_display(), " · ".join(filter(None, (texts.place(ticket), status))))

    @admin.display(description="Owner", ordering="queue")
    @cell
    def owned_by(self, ticket: Ticket) -> SafeString:
        if ticket.owner:
            return badges.two_lines(badges.person(ticket.owner), ticket.get_queue_display())
        return badges.two_lines(ticket.get_queue_display())

    @admin.display(description="Attempts", ordering="attempts_made")
    @cell
    def tries(self, ticket: Ticket) -> SafeString:
        held_up = naming.held_up(ticket) if ticket.is_open else ""
        following = f"next {badges.soon(ticket.next_retry)}" if ticket.next_retry and not held_up else ""
        return badges.two_lines(getattr(ticket, "attempts_made", 0), following)

    @admin.display(description="Safe action")
    @cell
    def action(self, ticket: Ticket) -> SafeString:
        if ticket.is_snoozed:
            until = f"until {ticket.snoozed_until:%H:%M} UTC" if ticket.snoozed_until else ""
            return badges.two_lines(badges.badge("Snoozed", badges.MUTED, "snooze"), until)
        if ticket.is_open and naming.held_up(ticket):
            return badges.badge("Delayed", badges.RISK, "pause_circle")
        if ticket.is_open and ticket.status == "retrying":
            return badges.badge("Retrying", badges.INFO, "sync")
        return badges.two_lines(badges.safe_action(ticket) if ticket.is_open else "Resolved")

    @admin.display(description="Opened", ordering="opened_at")
    def opened(self, ticket: Ticket) -> SafeString | str:
        return badges.moment(ticket.opened_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {
            "queue_views": list(ticket_filters.shown_as(request)),
            "version": live_updates.home_version(_user(request)),
            **(extra_context or {}),
        }
        answer: HttpResponse = super().changelist_view(request, more)
        return answer

    # --- Many at once

    def get_actions(self, request: HttpRequest) -> dict[str, tuple[Any, str, str]]:
        """One for each action that may be done to many, for those who may do it to any."""
        return {
            f"{name}_selected": (bulk_retry.chosen(action), f"{name}_selected", f"{action.label} selected")
            for name, action in ACTIONS.items()
            if action.bulk and bulk_retry.may(request.user, action)
        }

    @method_decorator(require_POST)
    def bulk_view(self, request: HttpRequest, name: str) -> HttpResponse:
        action = ACTIONS.get(name)
        if action is None or action.bulk is None:
            raise Http404
        if not bulk_retry.may(request.user, action):
            raise PermissionDenied
        return bulk_retry.perform(self, request, action)

    # --- The page

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("<int:pk>/act/<slug:name>/", wrap(self.act_view), name="exceptions_queue_ticket_act"),
            path("<int:pk>/live/", wrap(self.live_view), name="exceptions_queue_ticket_live"),
            path("live/", wrap(self.home_live_view), name="exceptions_queue_home_live"),
            path("bulk/<slug:name>/", wrap(self.bulk_view), name="exceptions_queue_ticket_bulk"),
            path("next/", wrap(self.next_view), name="exceptions_queue_ticket_next"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_GET)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        return self._page(request, self._ticket(request, object_id))

    @method_decorator(require_GET)
    def live_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        ticket, user = self._ticket(request, pk), _user(request)
        facts = ticket_page.live(ticket, user)
        html = render_to_string("admin/exceptions_queue/ticket/live.html", facts, request)
        told = live_updates.news(ticket, user)
        return live_updates.answer(html=html, version=facts["version"], moving=facts["moving"], news=told)

    @method_decorator(require_GET)
    def home_live_view(self, request: HttpRequest) -> JsonResponse:
        """Of the home page and the queue."""
        return live_updates.answer(version=live_updates.home_version(_user(request)))

    @method_decorator(require_GET)
    def next_view(self, request: HttpRequest) -> HttpResponse:
        """To the most urgent ticket of this person's queues. It only leads there: nothing is claimed by it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        mine = dashboard.urgent(_user(request))
        ticket = mine.exclude(needs_no_action()).first()
        if ticket is None:
            others = mine.count()
            more = f" {others} {'is' if others == 1 else 'are'} tried again, parked or snoozed." if others else ""
            messages.info(request, f"Nothing is waiting for you.{more}")
            return HttpResponseRedirect(reverse("admin:index"))
        return HttpResponseRedirect(reverse("admin:exceptions_queue_ticket_change", args=[ticket.pk]))

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        ticket = self._ticket(request, pk)
        action = ACTIONS.get(name)
        if action is None:
            raise Http404
        done = ticket_actions.act(request, _user(request), ticket, action)
        if done.status == 302:  # noqa: PLR2004
            to_next = name == "snooze" and request.POST.get("minutes") != "0"
            return HttpResponseRedirect(
                reverse("admin:exceptions_queue_ticket_next")
                if to_next
                else reverse("admin:exceptions_queue_ticket_change", args=[pk])
            )
        return self._page(request, ticket_page.load(pk), forms=done.forms, status=done.status, typed=done.typed)

    def _ticket(self, request: HttpRequest, pk: str | int) -> Ticket:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return ticket_page.load(int(pk))
        except (Ticket.DoesNotExist, ValueError):
            raise Http404("There is no such ticket.") from None

    def _page(
        self,
        request: HttpRequest,
        ticket: Ticket,
        *,
        forms: dict[str, Any] | None = None,
        status: int = 200,
        typed: Sequence[tuple[str, str]] = (),
    ) -> HttpResponse:
        details = ticket_page.context(ticket, _user(request), forms=forms)
        details |= {"news": live_updates.news(ticket, _user(request)), "bound": bool(forms)}
        shown = self.page_context(
            request,
            trail=[(f"Ticket {ticket.pk}", "")],
            original=ticket,
            title=details["story"].headline,
            typed=typed,
            **details,
        )
        return TemplateResponse(request, "admin/exceptions_queue/ticket/page.html", shown, status=status)


def _user(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user
