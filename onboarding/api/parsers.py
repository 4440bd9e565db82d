"""Bodies: JSON only, at most 1 MiB, and nothing in them that the databases could not keep."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from integrations.http.strict_json import BadJson, check_storable, parse_object


class TooLarge(APIException):
    status_code = 413
    default_detail = f"The body is larger than {settings.MAX_BODY_BYTES} bytes."


class LengthRequired(APIException):
    status_code = 411
    default_detail = "Send a Content-Length."


class StrictJSONParser(BaseParser):
    """One JSON object in UTF-8: at most 32 levels, no NaN, no NUL, no lone surrogates, numbers below 2^63."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        try:
            body = parse_object(read_bounded(stream))
            check_storable(body)
        except BadJson as bad:
            raise ParseError(str(bad)) from None
        return body


def take_body(request: Request) -> None:
    """Refuse a body that is too large before anything reads it, and take one without a Content-Length (chunked).

    Django reads nothing where there is no Content-Length: a chunked body would count as empty.
    """
    http: HttpRequest = request._request
    declared = http.META.get("CONTENT_LENGTH") or ""
    if declared.isdigit() and int(declared) > settings.MAX_BODY_BYTES:
        raise TooLarge
    if not declared and "chunked" in http.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        if not http.META.get("wsgi.input_terminated"):
            raise LengthRequired  # this server would wait for ever for the end of the body
        http._body = read_bounded(http.META["wsgi.input"])
        http._read_started = True  # type: ignore[attr-defined]
        http.META["CONTENT_LENGTH"] = str(len(http._body))


def read_bounded(stream: IO[Any]) -> bytes:
    try:
        raw: bytes = stream.read(settings.MAX_BODY_BYTES + 1)
    except UnreadablePostError:
        raise ParseError("The body could not be read.") from None
    if len(raw) > settings.MAX_BODY_BYTES:
        raise TooLarge
    return raw
