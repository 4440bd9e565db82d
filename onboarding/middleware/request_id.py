"""One id a request, carried into audit entries and answered as ``X-Request-ID``."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from onboarding import log_context

current = log_context.request_id
_ACCEPTABLE = re.compile(r"^[A-Za-z0-9._-]{8,64}$")


class RequestIdMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        known = given if _ACCEPTABLE.match(given) else uuid.uuid4().hex
        request.logged_as = known  # type: ignore[attr-defined]
        token = current.set(known)
        try:
            with log_context.about_run():
                response = self.get_response(request)
            response["X-Request-ID"] = current.get()
            return response
        finally:
            current.reset(token)
