"""HubSpot's refusals: the body, and where HubSpot sends one the header, of each status.

Statuses and what they mean: developers.hubspot.com/docs/api-reference/error-handling. Every field of an error body is optional
by HubSpot's own words, so none is given here that HubSpot was not seen to give.
"""

from __future__ import annotations

import json
import uuid
from http import HTTPStatus

from integrations.sandbox.dialect import Answer
from integrations.sandbox.store import Json

#: HubSpot's own: the account is being moved between data hosting locations
MIGRATING = 477
_MIGRATION_SECONDS = 24 * 60 * 60
#: answered by what stands in front of HubSpot, which knows nothing of JSON
_EDGE = frozenset({502, 504, 520, 521, 522, 523, 524, 525, 526})
_SCOPES = "https://developers.hubspot.com/scopes"


def refusal(status: int, message: str) -> Answer:
    """HubSpot's answer for a status that has no better reason."""
    if status in _EDGE:
        page = f"<html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>"
        return Answer(status, raw=("text/html", page.encode()))
    body: Json = {"status": "error", "message": message, "correlationId": str(uuid.uuid4())}
    headers: dict[str, str] = {}
    match status:
        case HTTPStatus.UNAUTHORIZED:
            body["message"] = (
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more "
                "details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
            )
            body["category"] = "INVALID_AUTHENTICATION"
        case HTTPStatus.FORBIDDEN:
            body |= {
                "message": f"This app hasn't been granted all required scopes to make this call. Read more here: {_SCOPES}.",
                "errors": [{"message": "One or more of the following scopes are required.", "context": {}}],
                "links": {"scopes": _SCOPES},
                "category": "MISSING_SCOPES",
            }
        case HTTPStatus.TOO_MANY_REQUESTS:
            return rate_limited("TEN_SECONDLY_ROLLING")
        case HTTPStatus.LOCKED:
            body |= {"message": "The resource is locked by another request.", "category": "LOCKED"}
        case _ if status == MIGRATING:
            body["message"] = "This account is being migrated between data hosting locations."
            headers["Retry-After"] = str(_MIGRATION_SECONDS)
        case HTTPStatus.CONFLICT:
            body["category"] = "CONFLICT"
        case HTTPStatus.NOT_FOUND:
            pass  # a message and nothing else
        case _ if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            body["category"] = "VALIDATION_ERROR"
    return Answer(status, body, headers)


def rate_limited(policy: str) -> Answer:
    body = {
        "status": "error",
        "message": f"You have reached your {policy.lower()} limit.",
        "errorType": "RATE_LIMIT",
        "correlationId": str(uuid.uuid4()),
        "policyName": policy,
    }
    return Answer(HTTPStatus.TOO_MANY_REQUESTS, body)


def invalid(found: list[tuple[str, str, str]]) -> Answer:
    """(code, property, message) of each value that HubSpot does not take."""
    details = [{"isValid": False, "message": text, "error": code, "name": name} for code, name, text in found]
    answer = refusal(HTTPStatus.BAD_REQUEST, f"Property values were not valid: {json.dumps(details)}")
    answer.body["errors"] = [
        {"message": text, "code": code, "context": {"propertyName": [name]}} for code, name, text in found
    ]
    return answer
