"""Webhook endpoints: what each was sent, and the buttons to pause it, to send again and to remove it."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from exceptions_queue.admin.connections.endpoint_forms import OPERATE, EndpointForms, require_operate
from exceptions_queue.admin.ui import badges
from integrations.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from integrations.outbound import services

SHOWN = 50
TONES = {
    DeliveryState.DELIVERED: badges.OK,
    DeliveryState.FAILED: badges.BAD,
    DeliveryState.PENDING: badges.INFO,
    DeliveryState.SENDING: badges.INFO,
}


def _pause(pk: int, actor: str) -> str:
    services.change(pk, paused=True, actor=actor)
    return "It is paused. What happens meanwhile is sent when it is resumed."


def _resume(pk: int, actor: str) -> str:
    services.change(pk, paused=False, actor=actor)
    return "It is resumed: what waits is being sent."


def _remove(pk: int, actor: str) -> str:
    services.remove(pk, actor=actor)
    return "It is removed: nothing more is sent to it."


def _replay(pk: int, actor: str) -> str:
    count = services.replay(pk, actor=actor)
    return f"{count} failed {'delivery is' if count == 1 else 'deliveries are'} being sent again."


ACTIONS: dict[str, Callable[[int, str], str]] = {
    "pause": _pause,
    "resume": _resume,
    "replay": _replay,
    "remove": _remove,
}


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(EndpointForms):
    list_name = "Webhook endpoints"
    list_display = ("url", "description", "status", "failed", "told")
    search_fields = ("url__icontains",)
    fields = ("url", "description", "told", "status", "created_at")
    readonly_fields = ("told", "status")
    change_form_outer_after_template = "admin/integrations/webhookendpoint/log.html"
    change_list_template = "admin/integrations/webhookendpoint/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        failed = Count("deliveries", filter=Q(deliveries__state=DeliveryState.FAILED))
        known: QuerySet[WebhookEndpoint] = super().get_queryset(request).filter(removed_at=None)
        return known.annotate(failed_count=failed)

    @admin.display(description="State")
    def status(self, endpoint: WebhookEndpoint) -> SafeString:
        if endpoint.paused_at is None:
            return badges.badge("Active", badges.OK)
        return badges.badge(f"Paused by {endpoint.paused_by}", badges.RISK)

    @admin.display(description="Failed deliveries", ordering="failed_count")
    def failed(self, endpoint: WebhookEndpoint) -> int:
        return int(getattr(endpoint, "failed_count", 0))

    @admin.display(description="Told of")
    def told(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.types)

    def get_urls(self) -> list[URLPattern]:
        act = path(
            "<int:pk>/<slug:name>/", self.admin_site.admin_view(self.act), name="integrations_webhookendpoint_act"
        )
        return [*super().get_urls()[:-1], act, super().get_urls()[-1]]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {"may_operate": request.user.has_perm(OPERATE), **(extra_context or {})}
        return super().changelist_view(request, more)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        endpoint = self.get_object(request, object_id)
        rows = endpoint.deliveries.order_by("-pk")[:SHOWN] if endpoint else []
        more = {
            "may_operate": request.user.has_perm(OPERATE),
            "deliveries": [_row(each) for each in rows],
            "shown": SHOWN,
            "crumbs": [(self.list_name, reverse("admin:integrations_webhookendpoint_changelist")), (str(endpoint), "")],
            **(extra_context or {}),
        }
        answer: HttpResponse = super().change_view(request, object_id, form_url, more)
        return answer

    @method_decorator(require_POST)
    def act(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        if name not in ACTIONS:
            raise Http404("There is no such action.")
        require_operate(request)
        try:
            messages.success(request, ACTIONS[name](pk, request.user.get_username()))
        except WebhookEndpoint.DoesNotExist:
            raise Http404("There is no such endpoint.") from None
        if name == "remove":
            return HttpResponseRedirect(reverse("admin:integrations_webhookendpoint_changelist"))
        return HttpResponseRedirect(reverse("admin:integrations_webhookendpoint_change", args=[pk]))


def _row(delivery: WebhookDelivery) -> dict[str, Any]:
    last = delivery.log[-1] if delivery.log else None
    said = "" if last is None else f"HTTP {last['status']}" if last["status"] else last["error"]
    state = DeliveryState(delivery.state)
    return {"delivery": delivery, "said": said, "status": badges.badge(state.label, TONES[state])}
