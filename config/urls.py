from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from onboarding.api.problems import not_found


def to_page(name: str) -> Callable[[HttpRequest, int], HttpResponse]:
    """A view that leads to an object's page in the console."""
    return lambda _request, pk: redirect(name, pk)


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    # Short enough for a chat, a mail or a terminal.
    path("t/<int:pk>/", to_page("admin:exceptions_queue_ticket_change"), name="ticket"),
    path("r/<int:pk>/", to_page("admin:onboarding_onboardingtransaction_change"), name="run"),
    path("admin/sandbox/", include("exceptions_queue.admin.sandbox.views")),
    path("admin/", admin.site.urls),
    path("", include("onboarding.api.urls")),
    path("api/v1/", include("exceptions_queue.api.urls")),
    path("webhooks/", include("integrations.inbound.urls")),
    # Whatever else is asked of the machine-readable doors is a problem document, not a page.
    re_path(r"^(?:api|webhooks)(?:/|$)", not_found),
]
handler400 = "onboarding.api.problems.bad_request"
handler500 = "onboarding.api.problems.server_error"
