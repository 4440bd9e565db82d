"""Every error of the API as RFC 9457 problem details."""

import logging
import math
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.views import defaults
from pydantic import ValidationError as PydanticError
from rest_framework.exceptions import APIException, MethodNotAllowed, Throttled, UnsupportedMediaType, ValidationError
from rest_framework.response import Response

from integrations.http.problem_details import CONTENT_TYPE, document, problem
from onboarding.middleware.database_unavailable import MACHINE_PATHS
from onboarding.services import Refused

MOST_ERRORS = 100

log = logging.getLogger(__name__)


class Invalid(APIException):
    """400 with what is wrong, by dotted path."""

    status_code = 400
    default_detail = "Some fields are wrong."

    def __init__(self, errors: list[dict[str, str]], detail: str = "") -> None:
        super().__init__(detail or self.default_detail)
        self.errors = errors[:MOST_ERRORS]

    @classmethod
    def of(cls, error: PydanticError) -> "Invalid":
        """Names fields and rules, never the values that were sent."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return cls(
            [{"path": ".".join(map(str, e["loc"])), "detail": e["msg"].removeprefix("Value error, ")} for e in found]
        )


class Conflict(APIException):
    status_code = 409
    default_detail = "This is not possible now."


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:  # noqa: ARG001  (DRF's signature)
    """DRF's exception handler. None for what nobody foresaw (a 500), and for the database's absence
    (``database_unavailable``).
    """
    match error:
        case Http404() | ObjectDoesNotExist():
            return _answer(404, "There is nothing here by that name.")
        case PermissionDenied():
            return _answer(403, "This is not allowed.")
        case RequestDataTooBig():
            return _answer(413, "The body is too large.")
        case SuspiciousOperation():
            return _answer(400, "The request is malformed.")
        case DataError():
            # A value that fits the rules and not its column: the sender can fix it, and we should hear of it.
            log.error("The database refused a value.", exc_info=error)
            return _answer(400, "A value is too long or out of range.")
        case Refused(problems=[]):
            return _answer(409, str(error))
        case Refused():
            named = [{"path": each.path, "detail": each.reason} for each in error.problems[:MOST_ERRORS]]
            return _answer(400, str(error), errors=named)
        case Invalid():
            return _answer(400, str(error.detail), errors=error.errors)
        case ValidationError():
            return _answer(400, Invalid.default_detail, errors=list(_flat(error.detail)))
        case APIException():
            return _answer(error.status_code, _detail(error), headers=_headers(error))
    return None


def not_found(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """404 for paths of the API that do not exist."""
    hint = ""
    if not request.path.endswith("/"):
        try:
            if resolve(f"{request.path_info}/").func is not not_found:
                hint = " Its path ends in a slash."
        except Resolver404:
            pass
    return problem(404, f"There is no such call.{hint}")


not_found.csrf_exempt = True  # type: ignore[attr-defined]  # a POST to an unknown path is a 404, not a CSRF failure


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """``handler400``: problem details for the API, Django's page for people."""
    if request.path.startswith(MACHINE_PATHS):
        return problem(400, "The request is malformed.")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """``handler500``."""
    if request.path.startswith(MACHINE_PATHS):
        return problem(500, "Something went wrong on our side; it has been logged.")
    return defaults.server_error(request)


def _answer(status: int, detail: str, *, headers: dict[str, str] | None = None, **extensions: Any) -> Response:
    return Response(document(status, detail, **extensions), status, headers=headers, content_type=CONTENT_TYPE)


def _headers(error: APIException) -> dict[str, str]:
    headers = {}
    if scheme := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(scheme)
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "wait", None) or 0)))
    return headers


def _detail(error: APIException) -> str:
    match error:
        case MethodNotAllowed():
            return "This call does not exist for this path; the header Allow lists those that do."
        case UnsupportedMediaType():
            return "The body must be application/json."
        case _:
            return str(error.detail) or HTTPStatus(error.status_code).phrase


def _flat(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested lists and dictionaries as one entry a message."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            part = "" if name == "non_field_errors" else str(name)
            yield from _flat(inner, ".".join(filter(None, (path, part))))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, path)
    else:
        yield {"path": path, "detail": str(detail)}
