"""Salesforce's errors: a list of ``{message, errorCode, fields}``; of the token endpoint an object."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Refused
from integrations.sandbox.store import Json

#: the status and error code of what has no better reason (api_rest/errorcodes.htm)
_CODES = {
    HTTPStatus.UNAUTHORIZED: ("INVALID_SESSION_ID", "Session expired or invalid"),
    HTTPStatus.FORBIDDEN: ("INSUFFICIENT_ACCESS", "insufficient access rights on object id"),
    HTTPStatus.NOT_FOUND: ("NOT_FOUND", "The requested resource does not exist"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("METHOD_NOT_ALLOWED", "HTTP Method not allowed"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("UNSUPPORTED_MEDIA_TYPE", "Content-Type is not supported"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("SERVER_UNAVAILABLE", "The server is unavailable"),
}


def refusal(status: int, message: str) -> Answer:
    """Salesforce has no 429: too many calls are a 403 without Retry-After."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return listed(HTTPStatus.FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _CODES:
        return listed(status, "UNKNOWN_EXCEPTION", message)
    code, usual = _CODES.get(HTTPStatus(status), ("JSON_PARSER_ERROR", ""))
    return listed(status, code, message or usual)


def listed(status: int, code: str, message: str, fields: Sequence[str] | None = None, **more: Json) -> Answer:
    told = {"message": message, "errorCode": code}
    return Answer(status, [{**told, **({} if fields is None else {"fields": list(fields)}), **more}])


def refuse(code: str, message: str, fields: Sequence[str] | None = None, status: int = 400, **more: Json) -> Refused:
    return Refused(listed(status, code, message, fields, **more))


def oauth(error: str, description: str) -> Answer:
    return Answer(HTTPStatus.BAD_REQUEST, {"error": error, "error_description": description})
