"""Frappe's errors (``frappe/exceptions.py``, ``frappe/utils/response.py``): a class's name, messages in layers of JSON."""

from __future__ import annotations

import json
from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Refused

STATUSES = {
    "AuthenticationError": 401, "PermissionError": 403, "DoesNotExistError": 404, "DuplicateEntryError": 409, "NameError": 409,
    "TooManyRequestsError": 429,
}  # fmt: skip
"""All others are refused values: 417."""
_OTHERS = {400: "InvalidRequestError", 417: "ValidationError", 422: "UnprocessableError", 500: "InternalError"}


def answer(kind: str, message: str = "", status: int | None = None) -> Answer:
    code = status or STATUSES.get(kind, 417)
    text = message or HTTPStatus(code).phrase
    told = json.dumps([json.dumps({"message": text, "title": "Message", "indicator": "red", "raise_exception": 1})])
    trace = json.dumps([f"Traceback (most recent call last):\nfrappe.exceptions.{kind}: {text}\n"])
    body = {"exception": f"frappe.exceptions.{kind}: {text}", "exc_type": kind, "exc": trace, "_server_messages": told}
    return Answer(code, body)


def of_status(status: int, message: str) -> Answer:
    """A budget that is used up is told in plain text (``frappe/rate_limiter.py``), and so is what is in front of Frappe."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Answer(status, raw=("text/plain", b"Too Many Requests"))
    kind = next((name for name, code in STATUSES.items() if code == status), _OTHERS.get(status))
    if kind is None:
        page = f"<html><head><title>{int(status)} {HTTPStatus(status).phrase}</title></head></html>"
        return Answer(status, raw=("text/html", page.encode()))
    return answer(kind, message, status)


def refused(kind: str, message: str) -> Refused:
    return Refused(answer(kind, message))
