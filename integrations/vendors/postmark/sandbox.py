"""Postmark's dialect: single mails, the server's name, and the suppression of inactive recipients.

Taken from postmarkapp.com/developer/api/overview (status and error codes), /email-api (fields, limits, ``To`` and
``SubmittedAt`` of the
answer), /server-api, and /developer/user-guide/send-email-with-api. Metadata: ten keys of 20 and 80 characters; one tag.
"""

from __future__ import annotations

import re
import uuid
from email.utils import parseaddr
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, iso, key_of, route
from integrations.sandbox.store import Json, Tx

_ADDRESS = re.compile(r"[^@\s\"<>,]+@[^@\s\"<>,]+\.[^@\s\"<>,]+")
_MOST_KEYS, _LONGEST_KEY, _LONGEST_VALUE = 10, 20, 80
_LONGEST_SUBJECT, _MOST_RECIPIENTS = 2000, 50
_FIELDS = frozenset({
    "From", "To", "Cc", "Bcc", "Subject", "Tag", "HtmlBody", "TextBody", "ReplyTo", "Headers", "TrackOpens", "TrackLinks",
    "Metadata", "Attachments", "MessageStream",
})  # fmt: skip
_STREAMS = frozenset({"outbound", "broadcast"})


class Postmark(Dialect):
    name = "postmark"
    prefix = "/postmark"
    system = "email"
    base_path = "/postmark"
    options = {"from_email": "Firstvalue <hello@firstvalue.example>"}
    counted = ("messages",)
    fixed_kinds = ("senders", "inactive")
    id_base = 1
    sends_retry_after = True
    always = frozenset({"MessageID", "ErrorCode", "Message"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        """The token stands in a header of its own."""
        return True

    def handle(self, call: Call) -> Answer:
        if call.headers.get("X-Postmark-Server-Token", "") not in call.settings["tokens"]:
            return self.refusal(HTTPStatus.UNAUTHORIZED, "")
        return super().handle(call)

    def refusal(self, status: int, message: str) -> Answer:
        code = {401: 10, 429: 429, 503: 100}.get(status, 402 if status == HTTPStatus.BAD_REQUEST else 0)
        said = message or ("Bad or missing Server API token." if status == HTTPStatus.UNAUTHORIZED else "Refused")
        return Answer(status, {"ErrorCode": code, "Message": said})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, "reference")

    def preseed(self, tx: Tx) -> None:
        self.add(tx, "senders", {"email": "hello@firstvalue.example"}, row_id="1", seeded=True)

    @route("GET", "/server")
    def server(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"ID": 1, "Name": "Sandbox", "DeliveryType": "Live", "Color": "blue"})

    @route("POST", "/email")
    def send(self, call: Call) -> Answer:
        body = call.body
        if not call.says_json:
            raise self._refused(409, "The 'Content-Type' header must be application/json.")
        if unknown := set(body) - _FIELDS:
            raise self._refused(403, f"Invalid request field(s): {', '.join(sorted(unknown))}")
        self._check(call, body)
        message_id = str(uuid.uuid4())
        headers = {each["Name"]: each["Value"] for each in body.get("Headers") or []}
        kept = {
            "to": body["To"],
            "from": body["From"],
            "subject": body.get("Subject", ""),
            "text": body.get("TextBody", ""),
            "reply_to": body.get("ReplyTo", ""),
            "headers": headers,
            "metadata": body.get("Metadata") or {},
            "reference": headers.get("X-Firstvalue-Reference", ""),
            "stream": body.get("MessageStream") or "outbound",
        }
        self.add(call.tx, "messages", kept, row_id=message_id)
        said = {"To": body["To"], "SubmittedAt": iso(call.tx.now), "MessageID": message_id}
        return Answer(200, {**said, "ErrorCode": 0, "Message": "OK"})

    def _check(self, call: Call, body: Json) -> None:
        sender, recipients = parseaddr(str(body.get("From") or ""))[1], str(body.get("To") or "")
        if not _ADDRESS.fullmatch(sender):
            raise self._refused(300, f"Invalid 'From' address: '{body.get('From')}'.")
        if not call.tx.find(self.name, "senders", "email", sender):
            raise self._refused(
                400, f"The 'From' address you supplied ({sender}) is not a Sender Signature on your account."
            )
        if not recipients:
            raise self._refused(300, "Zero recipients specified")
        address = parseaddr(recipients)[1]
        if not _ADDRESS.fullmatch(address) or not address.isascii():
            raise self._refused(300, f"Invalid 'To' address: '{address}'.")
        if call.tx.find(self.name, "inactive", "email", address):
            raise self._refused(
                406,
                "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: "
                f"{address}. Inactive recipients are ones that have generated a hard bounce or a spam complaint.",
            )
        if not (body.get("TextBody") or body.get("HtmlBody")):
            raise self._refused(300, "Provide either email TextBody or HtmlBody or both.")
        if len(str(body.get("Subject") or "")) > _LONGEST_SUBJECT:
            raise self._refused(300, "The 'Subject' is too long.")
        metadata = body.get("Metadata") or {}
        if len(metadata) > _MOST_KEYS or any(
            len(name) > _LONGEST_KEY or not isinstance(value, str) or len(value) > _LONGEST_VALUE
            for name, value in metadata.items()
        ):
            raise self._refused(300, "Metadata: at most 10 fields, names of 20 and values of 80 characters.")
        if (body.get("MessageStream") or "outbound") not in _STREAMS:
            raise self._refused(1235, "The stream provided: does not exist on this server.")

    def _refused(self, code: int, message: str) -> Refused:
        return Refused(Answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"ErrorCode": code, "Message": message}))
