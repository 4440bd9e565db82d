"""What needs no key: health, the payload's JSON Schema, OpenAPI and its docs."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from onboarding.api import openapi  # noqa: F401  (registers its extensions)
from onboarding.api.health import alive, ready
from onboarding.api.payload_schema import DIALECT, payload_schema

SCHEMA_SECONDS = 60


@require_safe
def onboarding_schema(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return JsonResponse({"$schema": DIALECT, **payload_schema()}, content_type="application/schema+json")


# Open to everybody, so made at most once a minute.
openapi_view = cache_page(SCHEMA_SECONDS)(SpectacularAPIView.as_view(authentication_classes=[]))

urlpatterns = [
    path("healthz", alive, name="healthz"),
    path("readyz", ready, name="readyz"),
    path("api/v1/schema/onboarding.json", onboarding_schema, name="onboarding-schema"),
    path("api/schema/", openapi_view, name="schema"),
    # Split in two, so that it needs no inline script (the content security policy allows none).
    path(
        "api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema", authentication_classes=[]), name="api-docs"
    ),
]
