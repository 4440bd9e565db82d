"""A form whose sender is not logged in any more leads back to its page after the login; refusals are the product's own pages.

What was typed stays in the browser (``drafts.js``): nothing of a stranger's POST is stored here.
"""

from collections.abc import Callable

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse

CONSOLE = "/admin/"
RESTORED = "#fv-restored"
"""Tells the page that people are led back to that they did not leave it by themselves."""
PUBLIC_PAGES = ("admin:login", "admin:logout")
FORM_PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin:exceptions_queue_ticket_act": ("admin:exceptions_queue_ticket_change", ("pk",)),
    "admin:exceptions_queue_ticket_bulk": ("admin:exceptions_queue_ticket_changelist", ()),
    "admin:onboarding_run_reject": ("admin:onboarding_run_decide", ("pk", "change")),
    "admin:integrations_connection_test": ("admin:integrations_connection_change", ("pk",)),
    "admin:integrations_connection_credentials": ("admin:integrations_connection_change", ("pk",)),
    "admin:integrations_connection_settings": ("admin:integrations_connection_change", ("pk",)),
    "admin:integrations_inboundevent_again": ("admin:integrations_inboundevent_change", ("pk",)),
    "admin:integrations_webhookendpoint_secret": ("admin:integrations_webhookendpoint_change", ("pk",)),
    "admin:integrations_webhookendpoint_act": ("admin:integrations_webhookendpoint_change", ("pk",)),
    "admin:onboarding_apikey_revoke": ("admin:onboarding_apikey_change", ("pk",)),
    "sandbox-switch": ("sandbox", ()),
    "sandbox-remove": ("sandbox", ()),
    "sandbox-fix": ("sandbox", ()),
    "sandbox-pay": ("sandbox", ()),
}
"""The page that holds a form, by the address that it is sent to and which takes nothing but POSTs."""


def form_page(request: HttpRequest) -> str:
    """The page with the form that this request was sent from."""
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return reverse("admin:index")
    if match.view_name not in FORM_PAGES:
        return request.get_full_path()
    page, names = FORM_PAGES[match.view_name]
    return reverse(page, args=[match.kwargs[name] for name in names])


class ConsoleMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(CONSOLE):
            return self.get_response(request)
        if request.method == "POST" and not admin.site.has_permission(request) and not _is_public(request):
            return redirect_to_login(form_page(request) + RESTORED, reverse("admin:login"))
        response = self.get_response(request)
        if response.status_code == 405 and not response.content:  # noqa: PLR2004
            page = render(request, "405.html", {"page": form_page(request)}, status=405)
            page["Allow"] = response["Allow"]
            return page
        return response


def _is_public(request: HttpRequest) -> bool:
    return request.path_info in [reverse(name) for name in PUBLIC_PAGES]


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001  (Django's signature)
    """CSRF_FAILURE_VIEW: most often the person logged in anew since the form was shown, so it is shown again."""
    page = reverse("admin:login") if _is_public(request) else form_page(request) + RESTORED
    return render(request, "403_csrf.html", {"page": page}, status=403)
