"""Mailgun's dialect: messages as forms, basic authentication, one verified domain.

Taken from documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages and /domains, and the older
documentation.mailgun.com/en/latest/api-sending.html: a wrong key is 401 with the text ``Forbidden``; an unknown domain 404; a
bad address
400; options that begin with ``o:``, ``h:`` or ``v:`` hold 16 kB together.
"""

from __future__ import annotations

import base64
import re
from email.utils import parseaddr
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, key_of, route
from integrations.sandbox.store import Json, Tx

DOMAIN = "firstvalue.example"
_ADDRESS = re.compile(r"[^@\s\"<>,]+@[^@\s\"<>,]+\.[^@\s\"<>,]+")
_MOST_OPTIONS = 16_384


class Mailgun(Dialect):
    name = "mailgun"
    prefix = "/mailgun"
    system = "email"
    base_path = "/mailgun"
    options = {"from_email": f"Firstvalue <hello@{DOMAIN}>"}
    counted = ("messages",)
    id_base = 500
    sends_retry_after = False
    always = frozenset({"id", "message", "domain"})
    choices = frozenset({"state"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        try:
            user, _, key = base64.b64decode(authorization.partition("Basic ")[2]).decode().partition(":")
        except ValueError:
            return False
        return user == "api" and key in tokens

    def refusal(self, status: int, message: str) -> Answer:
        if status == HTTPStatus.UNAUTHORIZED:
            return Answer(status, raw=("text/plain", b"Forbidden"))
        return Answer(status, {"message": message or HTTPStatus(status).phrase})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining)} if limit else {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, "reference")

    def preseed(self, tx: Tx) -> None:
        """A new account is empty."""

    @route("GET", "/v3/domains/{domain}")
    def domain(self, call: Call, name: str) -> Answer:  # noqa: ARG002
        if name != DOMAIN:
            return self.refusal(HTTPStatus.NOT_FOUND, "Domain not found")
        return Answer(
            200, {"domain": {"name": name, "state": "active", "type": "custom", "id": "1"}, "sending_dns_records": []}
        )

    @route("POST", "/v3/{domain}/messages")
    def send(self, call: Call, domain: str) -> Answer:
        body = call.body
        if call.says_json:
            return self.refusal(HTTPStatus.BAD_REQUEST, "from parameter is missing")
        if domain != DOMAIN:
            return self.refusal(HTTPStatus.NOT_FOUND, f"Domain not found: {domain}")
        for name in ("from", "to", "subject"):
            if not body.get(name):
                return self.refusal(HTTPStatus.BAD_REQUEST, f"{name} parameter is missing")
        for name in ("from", "to"):
            address = parseaddr(str(body[name]))[1]
            if not _ADDRESS.fullmatch(address) or not address.isascii():
                return self.refusal(
                    HTTPStatus.BAD_REQUEST, f"{name} parameter is not a valid address. please check documentation"
                )
        if not (body.get("text") or body.get("html")):
            return self.refusal(HTTPStatus.BAD_REQUEST, "Need at least one of 'text' or 'html' parameters specified")
        extra = {name: value for name, value in body.items() if name[:2] in ("o:", "h:", "v:")}
        if sum(len(name) + len(value) for name, value in extra.items()) > _MOST_OPTIONS:
            return self.refusal(HTTPStatus.BAD_REQUEST, "Sending options are limited to 16 kB in total")
        number = call.tx.new_id(self.name, "messages", self.id_base)
        own_id = str(body.get("h:Message-Id") or "").strip() or f"<{number}@{domain}>"
        message_id = own_id if call.tx.get(self.name, "messages", own_id) is None else f"<{number}@{domain}>"
        kept = {
            "to": body["to"],
            "from": body["from"],
            "subject": body["subject"],
            "text": body.get("text", ""),
            "headers": {name[2:]: value for name, value in extra.items() if name.startswith("h:")},
            "metadata": {name[2:]: value for name, value in extra.items() if name.startswith("v:")},
            "reference": body.get("h:X-Firstvalue-Reference", ""),
        }
        self.add(call.tx, "messages", kept, row_id=message_id)
        return Answer(200, {"id": message_id, "message": "Queued. Thank you."})
