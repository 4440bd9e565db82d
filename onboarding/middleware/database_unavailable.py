"""A database that is busy or away is no fault of a request: 503 with ``Retry-After`` and one line in the log, at every door."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string

from integrations.http.problem_details import problem

MACHINE_PATHS = ("/api/", "/webhooks/", "/healthz", "/readyz")
"""Where errors are problem documents, not pages."""
RETRY_AFTER = {"Retry-After": "2"}
"""Seconds."""

log = logging.getLogger(__name__)


class DatabaseUnavailableMiddleware:
    """Answers 503 where a view ends in a lock that was held too long, or a database that restarts or refuses connections."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("%s %s: the database did not answer (%s)", request.method, request.path, reason)
        if request.path.startswith(MACHINE_PATHS):
            return problem(
                503, "The database did not answer in time. Send the same request again.", headers=RETRY_AFTER
            )
        return HttpResponse(render_to_string("503.html"), status=503, headers=RETRY_AFTER)
