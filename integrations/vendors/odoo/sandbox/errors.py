"""Odoo's errors over JSON-2: the name of an exception, and a traceback beside it (developer/reference/external_api)."""

from __future__ import annotations

from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Refused

NAMES = {
    400: "werkzeug.exceptions.BadRequest",
    401: "werkzeug.exceptions.Unauthorized",
    403: "odoo.exceptions.AccessError",
    404: "odoo.exceptions.MissingError",
    409: "odoo.exceptions.LockError",
    415: "werkzeug.exceptions.UnsupportedMediaType",
    422: "odoo.exceptions.UserError",
    500: "psycopg2.errors.SerializationFailure",
}
_TEXTS = {401: "Invalid apikey", 404: "Record does not exist or has been deleted."}


def answer(status: int, message: str = "", name: str = "") -> Answer:
    """What is in front of Odoo answers the other statuses: with a page."""
    if status not in NAMES:
        page = f"<html><head><title>{int(status)} {HTTPStatus(status).phrase}</title></head></html>"
        return Answer(status, raw=("text/html", page.encode()))
    text = message or _TEXTS.get(status) or HTTPStatus(status).phrase
    kind = name or NAMES[status]
    debug = f'Traceback (most recent call last):\n  File "/opt/odoo/http.py", line 1, in _serve\n{kind}: {text}\n'
    body = {"name": kind, "message": text, "arguments": [text], "context": {}, "debug": debug}
    return Answer(status, body)


def refused(status: int, message: str = "", name: str = "") -> Refused:
    return Refused(answer(status, message, name))


def invalid(message: str) -> Refused:
    return refused(422, message, "odoo.exceptions.ValidationError")


def unknown_field(field: str, model: str) -> Refused:
    """A fault of the caller's that is answered as if it were the server's."""
    return refused(500, f"Invalid field '{field}' on model '{model}'", "builtins.ValueError")
