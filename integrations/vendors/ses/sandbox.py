"""Amazon SES's dialect: raw mails by the API's second version, signed requests, and the confirmation of an SNS subscription.

Taken from docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html, /API_GetAccount.html and /CommonErrors.html
(``x-amzn-ErrorType`` with the error's name), and
docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import uuid
from email import message_from_bytes, policy
from email.utils import parseaddr
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, key_of, route
from integrations.sandbox.store import Json, Tx

KEY_ID, REGION = "AKIAIOSFODNN7EXAMPLE", "eu-central-1"
_PARTS = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)
_ADDRESS = re.compile(r"[^@\s\"<>,]+@[^@\s\"<>,]+\.[^@\s\"<>,]+")
_ERROR_OF = {
    400: "BadRequestException", 401: "UnrecognizedClientException", 403: "AccessDeniedException", 404: "NotFoundException",
    429: "TooManyRequestsException", 500: "InternalFailure", 503: "ServiceUnavailable",
}  # fmt: skip
_SKEW_SECONDS = 300


class Ses(Dialect):
    name = "ses"
    prefix = "/ses"
    system = "email"
    base_path = "/ses"
    options = {
        "from_email": "Firstvalue <hello@firstvalue.example>",
        "access_key_id": KEY_ID,
        "region": REGION,
    }
    counted = ("messages",)
    fixed_kinds = ("identities",)
    id_base = 1
    sends_retry_after = False
    always = frozenset({"MessageId", "SendingEnabled"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        """A signature is looked at together with what it signs."""
        return True

    def handle(self, call: Call) -> Answer:
        if call.path.startswith("/v2/"):
            self._check_signature(call)
        return super().handle(call)

    def refusal(self, status: int, message: str) -> Answer:
        code = _ERROR_OF.get(status, "BadRequestException")
        # Credentials that are wrong are forbidden: AWS answers no 401.
        shown = HTTPStatus.FORBIDDEN if status == HTTPStatus.UNAUTHORIZED else status
        return Answer(shown, {"message": message or code}, {"x-amzn-ErrorType": code})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {"x-amzn-RequestId": str(uuid.uuid4())}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, "reference")

    def preseed(self, tx: Tx) -> None:
        self.add(tx, "identities", {"email": "hello@firstvalue.example"}, row_id="1", seeded=True)

    @route("GET", "/v2/email/account")
    def account(self, call: Call) -> Answer:  # noqa: ARG002
        quota = {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 0.0}
        return Answer(200, {"SendingEnabled": True, "ProductionAccessEnabled": True, "SendQuota": quota})

    @route("GET", "/sns")
    def confirm(self, call: Call) -> Answer:
        if call.query.get("Action") != "ConfirmSubscription" or not call.query.get("Token"):
            return self.refusal(HTTPStatus.BAD_REQUEST, "Invalid parameter")
        self.add(call.tx, "confirmations", {"topic": call.query.get("TopicArn", "")})
        return Answer(200, raw=("text/xml", b"<ConfirmSubscriptionResponse/>"))

    @route("POST", "/v2/email/outbound-emails")
    def send(self, call: Call) -> Answer:
        body = call.body
        try:
            content = base64.b64decode(body["Content"]["Raw"]["Data"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise self._refused("BadRequestException", "Missing or malformed content") from None
        parsed: Any = message_from_bytes(content, policy=policy.default)
        sender = parseaddr(str(body.get("FromEmailAddress") or parsed.get("From") or ""))[1]
        recipients = (body.get("Destination") or {}).get("ToAddresses") or []
        if not recipients:
            raise self._refused("BadRequestException", "Destination must have at least one recipient")
        for address in recipients:
            if not _ADDRESS.fullmatch(parseaddr(address)[1]) or not address.isascii():
                raise self._refused("BadRequestException", "Missing final '@domain'")
        if not call.tx.find(self.name, "identities", "email", sender):
            raise self._refused(
                "MessageRejected",
                f"Email address is not verified. The following identities failed the check in region {REGION}: {sender}",
            )
        message_id = f"{uuid.uuid4().hex[:16]}-{uuid.uuid4()}-000000"
        part = parsed.get_body(("plain", "html"))
        kept = {
            "to": recipients,
            "from": sender,
            "subject": str(parsed.get("Subject", "")),
            "text": str(part.get_content()) if part is not None else "",
            "headers": {name: str(value) for name, value in parsed.items()},
            "reference": str(parsed.get("X-Firstvalue-Reference", "")),
        }
        self.add(call.tx, "messages", kept, row_id=message_id)
        return Answer(200, {"MessageId": message_id})

    def _check_signature(self, call: Call) -> None:
        given = _PARTS.fullmatch(call.headers.get("Authorization", ""))
        if given is None:
            raise self._refused(
                "MissingAuthenticationTokenException", "Missing Authentication Token", HTTPStatus.FORBIDDEN
            )
        key_id, day, region, service, names, signature = given.groups()
        date = call.headers.get("X-Amz-Date", "")
        if key_id != KEY_ID:
            raise self._refused("UnrecognizedClientException", "The security token is invalid.", HTTPStatus.FORBIDDEN)
        if region != REGION or service != "ses" or not date.startswith(day) or not _is_recent(date):
            raise self._refused("InvalidSignatureException", "Credential or date out of scope", HTTPStatus.FORBIDDEN)
        if not {"host", "x-amz-date"} <= set(names.split(";")):
            raise self._refused("IncompleteSignatureException", "host and x-amz-date must be signed")
        query = "&".join(
            f"{quote(each, safe='-_.~')}={quote(call.query[each], safe='-_.~')}" for each in sorted(call.query)
        )
        lines = "".join(f"{name}:{' '.join((call.headers.get(name) or '').split())}\n" for name in names.split(";"))
        payload = call.headers.get("X-Amz-Content-Sha256", "")
        canonical = f"{call.method}\n{self.prefix}{call.path}\n{query}\n{lines}\n{names}\n{payload}"
        scope = f"{day}/{region}/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if not any(hmac.compare_digest(_signature(token, scope, text), signature) for token in call.settings["tokens"]):
            raise self._refused(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
                HTTPStatus.FORBIDDEN,
            )

    def _refused(self, code: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> Refused:
        return Refused(Answer(status, {"message": message}, {"x-amzn-ErrorType": code}))


def _signature(token: str, scope: str, text: str) -> str:
    key = f"AWS4{token}".encode()
    for each in scope.split("/"):
        key = hmac.new(key, each.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _is_recent(date: str) -> bool:
    try:
        sent = time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.timezone
    except ValueError:
        return False
    return abs(time.time() - sent) <= _SKEW_SECONDS
