from django.contrib import admin
from django.urls import include, path, re_path

from onboarding.api.problems import not_found

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("onboarding.api.urls")),
    path("api/v1/", include("exceptions_queue.api.urls")),
    path("webhooks/", include("integrations.webhooks.urls")),
    # Whatever else is asked of the machine-readable doors is a problem document, not a page.
    re_path(r"^(?:api|webhooks)(?:/|$)", not_found),
]
handler400 = "onboarding.api.problems.bad_request"
handler500 = "onboarding.api.problems.server_error"
