"""Errors as RFC 9457 problem details, for every door that speaks JSON."""

from http import HTTPStatus
from typing import Any

from django.http import JsonResponse

CONTENT_TYPE = "application/problem+json"


def document(
    status: int, detail: str = "", *, title: str = "", type_: str = "about:blank", **extensions: Any
) -> dict[str, Any]:
    """The problem's members. Without a type of its own the title is the status' phrase (RFC 9457, section 4.2.1)."""
    members = {"type": type_, "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail}
    return members | extensions


def problem(
    status: int,
    detail: str = "",
    *,
    title: str = "",
    type_: str = "about:blank",
    headers: dict[str, str] | None = None,
    **extensions: Any,
) -> JsonResponse:
    """The answer to send."""
    body = document(status, detail, title=title, type_=type_, **extensions)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)
