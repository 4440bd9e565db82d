"""SendGrid's dialect: mails by ``/v3/mail/send``, and a key's scopes.

Taken from www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send (202 without a body, ``X-Message-Id``; at least one
content, text
before HTML; no reserved headers), /mail-send/errors (``errors`` with ``message``, ``field``, ``help``),
/how-to-use-the-sendgrid-v3-api/
rate-limits and /authentication (401 “The provided authorization grant is invalid, expired, or revoked”).
"""

from __future__ import annotations

import re
import time
import uuid
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, key_of, route
from integrations.sandbox.store import Json, Tx

_ADDRESS = re.compile(r"[^@\s\"<>,]+@[^@\s\"<>,]+\.[^@\s\"<>,]+")
_RESERVED = frozenset({
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from", "subject",
    "reply-to", "cc", "bcc",
})  # fmt: skip
_MOST_CUSTOM = 10_000
_REVOKED = "The provided authorization grant is invalid, expired, or revoked"


class SendGrid(Dialect):
    name = "sendgrid"
    prefix = "/sendgrid"
    system = "email"
    base_path = "/sendgrid"
    options = {"from_email": "Firstvalue <hello@firstvalue.example>"}
    counted = ("messages",)
    fixed_kinds = ("senders",)
    id_base = 1
    sends_retry_after = False
    always = frozenset({"scopes"})

    def refusal(self, status: int, message: str) -> Answer:
        said = message or (_REVOKED if status == HTTPStatus.UNAUTHORIZED else HTTPStatus(status).phrase.lower())
        return Answer(status, {"errors": [{"message": said, "field": None, "help": None}]})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        if not limit:
            return {}
        reset = str(int(time.time() + seconds) + 1)
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": reset}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, "reference")

    def preseed(self, tx: Tx) -> None:
        self.add(tx, "senders", {"email": "hello@firstvalue.example"}, row_id="1", seeded=True)

    @route("GET", "/v3/scopes")
    def scopes(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"scopes": ["mail.send", "sender_verification_eligible"]})

    @route("POST", "/v3/mail/send")
    def send(self, call: Call) -> Answer:
        if not call.says_json:
            raise self._bad("Content-Type should be application/json.", None)
        body = call.body
        to = self._checked(call, body)
        headers, custom = body.get("headers") or {}, dict(body.get("custom_args") or {})
        for each in body["personalizations"]:
            custom |= each.get("custom_args") or {}
        # Known by the sender's own id of the mail where it gave one, as events bring that back.
        row_id = str(custom.get("anymail_id") or uuid.uuid4())
        kept = {
            "to": to,
            "from": body["from"],
            "subject": body.get("subject") or body["personalizations"][0].get("subject"),
            "text": body["content"][0]["value"],
            "headers": headers,
            "metadata": custom,
            "reference": {name.lower(): value for name, value in headers.items()}.get("x-firstvalue-reference", ""),
        }
        self.add(call.tx, "messages", kept, row_id=row_id)
        return Answer(202, headers={"X-Message-Id": uuid.uuid4().hex[:22]})

    def _checked(self, call: Call, body: Json) -> Json:
        personalizations = body.get("personalizations")
        if not isinstance(personalizations, list) or not personalizations:
            raise self._bad(
                "The personalizations field is required and must have at least one personalization.", "personalizations"
            )
        recipients = personalizations[0].get("to") or []
        if not recipients:
            raise self._bad("The to array is required for all personalization objects.", "personalizations.0.to")
        for number, each in enumerate(recipients):
            if not _is_address(each.get("email")):
                raise self._bad("Does not contain a valid address.", f"personalizations.0.to.{number}.email")
        sender = (body.get("from") or {}).get("email")
        if not _is_address(sender):
            raise self._bad("The from email does not contain a valid address.", "from.email")
        if not call.tx.find(self.name, "senders", "email", sender):
            said = "The from address does not match a verified Sender Identity."
            raise Refused(Answer(HTTPStatus.FORBIDDEN, {"errors": [{"message": said, "field": "from", "help": None}]}))
        content = body.get("content") or []
        if not content or not all(each.get("value") for each in content):
            raise self._bad("The content value must be a string at least one character in length.", "content.0.value")
        if not (body.get("subject") or personalizations[0].get("subject")):
            raise self._bad("The subject is required.", "subject")
        if reserved := {name.lower() for name in body.get("headers") or {}} & _RESERVED:
            raise self._bad(f"The header {min(reserved)} is reserved.", "headers")
        custom = [value for each in (body, personalizations[0]) for value in (each.get("custom_args") or {}).values()]
        if not all(isinstance(value, str) for value in custom) or sum(map(len, custom)) > _MOST_CUSTOM:
            raise self._bad("The custom_args must be strings of at most 10,000 bytes.", "custom_args")
        first: Json = recipients[0]
        return first

    def _bad(self, message: str, field: str | None) -> Refused:
        return Refused(Answer(HTTPStatus.BAD_REQUEST, {"errors": [{"message": message, "field": field, "help": None}]}))


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and _ADDRESS.fullmatch(value) is not None
