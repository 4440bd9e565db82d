"""Evidence, read-only: what vendors sent us and which alerts went out."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from exceptions_queue import roles
from exceptions_queue.admin.ui import badges
from exceptions_queue.models import Alert, AlertState
from integrations.admin import ReadOnlyAdmin
from integrations.crypto import SecretUnreadable
from integrations.enums import EventState
from integrations.http.redaction import redact
from integrations.models import InboundEvent
from onboarding.intake import events
from onboarding.services import Refused

AGAIN = "exceptions_queue.retry_ticket"
EVENT_TONES = {EventState.PROCESSED: badges.OK, EventState.FAILED: badges.BAD, EventState.HELD: badges.INFO}
ALERT_TONES = {AlertState.SENT: badges.OK, AlertState.FAILED: badges.BAD, AlertState.INDETERMINATE: badges.RISK}


@admin.register(InboundEvent)
class InboundEventAdmin(ReadOnlyAdmin):
    list_display = ("received", "connection", "type", "external_id", "status", "outcome")
    list_display_links = ("received",)
    list_select_related = ("connection",)
    list_filter = (("state", ChoicesDropdownFilter), ("connection", RelatedDropdownFilter))
    search_fields = ("external_id__startswith", "type__startswith")
    search_help_text = "The event's id or type"
    fields = (
        "connection",
        "external_id",
        "type",
        "received_at",
        "status",
        "attempts",
        "outcome",
        "processed_at",
        "content",
    )
    readonly_fields = ("status", "content")
    change_form_outer_after_template = "admin/integrations/inboundevent/again.html"

    @admin.display(description="Received", ordering="received_at")
    def received(self, event: InboundEvent) -> SafeString | str:
        return badges.moment(event.received_at)

    @admin.display(description="State", ordering="state")
    def status(self, event: InboundEvent) -> SafeString:
        return badges.badge(event.get_state_display(), EVENT_TONES.get(EventState(event.state), badges.MUTED))

    @admin.display(description="Content (redacted)")
    def content(self, event: InboundEvent) -> SafeString:
        try:
            body = badges.pretty(redact(json.loads(event.raw)))
        except SecretUnreadable:
            body = "It cannot be decrypted with the configured keys."
        except ValueError:
            body = "It is no JSON."
        return format_html('<pre class="fv-json" tabindex="0">{}</pre>', body)

    def get_urls(self) -> list[URLPattern]:
        again = path(
            "<int:pk>/again/", self.admin_site.admin_view(self.again_view), name="integrations_inboundevent_again"
        )
        return [again, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        event = self.get_object(request, object_id)
        more = {"may_process": event is not None and _may_process(request, event), **(extra_context or {})}
        answer: HttpResponse = super().change_view(request, object_id, form_url, more)
        return answer

    @method_decorator(require_POST)
    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Process the failed events of this event's connection again."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = get_object_or_404(InboundEvent.objects.select_related("connection"), pk=pk)
        if not _may_process(request, event):
            raise PermissionDenied
        try:
            events.retry_failed(event.connection_id, actor=request.user.get_username())
        except Refused as refusal:
            messages.warning(request, f"Not done: {refusal}")
        else:
            messages.success(request, f"The failed events of {event.connection} are being processed again.")
        return HttpResponseRedirect(reverse("admin:integrations_inboundevent_change", args=[pk]))


def _may_process(request: HttpRequest, event: InboundEvent) -> bool:
    """The retry of the ticket about the connection's failed events is the same, by another door."""
    return isinstance(request.user, User) and roles.may(request.user, AGAIN, event.connection)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("created", "level", "about", "channel", "recipient", "status", "sent", "error")
    list_display_links = ("created",)
    list_select_related = ("clock__transaction", "ticket")
    list_filter = (("state", ChoicesDropdownFilter), ("channel", ChoicesDropdownFilter))
    ordering = ("-pk",)
    search_fields = ("recipient__startswith",)

    @admin.display(description="Decided", ordering="created_at")
    def created(self, alert: Alert) -> SafeString | str:
        return badges.moment(alert.created_at)

    @admin.display(description="About")
    def about(self, alert: Alert) -> str:
        run = alert.clock.transaction
        return run.customer_name or run.onboarding_transaction_id

    @admin.display(description="State", ordering="state")
    def status(self, alert: Alert) -> SafeString:
        return badges.badge(alert.get_state_display(), ALERT_TONES.get(AlertState(alert.state), badges.MUTED))

    @admin.display(description="Sent", ordering="sent_at")
    def sent(self, alert: Alert) -> SafeString | str:
        return badges.moment(alert.sent_at)
