"""Amazon SES (email): one mail by ``POST /v2/email/outbound-emails``, and its bounces and complaints through SNS.

docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html (raw content; its errors) and /API_GetAccount.html for the probe,
docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html,
docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html (``SubscriptionConfirmation``; a 401 before it sends a user name
and password). SES has no idempotency key, and writes its own Message-ID.

django-anymail sends through boto3, whose sockets know neither our deadlines nor our records: the request is signed here, and boto3
is not needed. Events are read by anymail (anymail.dev/en/stable/esps/amazon_ses), which verifies them by user name and
password too.
"""

import base64
import copy
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView
from django.conf import settings
from django.http import HttpRequest

from integrations import clock
from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Created, HttpConnector
from integrations.connectors.mail.api import MailHttp, metadata
from integrations.connectors.mail.messages import SENDER_OPTIONS, MailConnector, refused_recipient
from integrations.connectors.mail.tracking import TrackingWebhook, check_basic_auth
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Option, Secret
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp
from integrations.http.hosts import is_sandbox
from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, NotVerified, Response, UnexpectedShape
from integrations.inbound.events import Event, Ignored, MailBounced
from integrations.models import Connection, InboundEvent
from integrations.vendors.ses import sigv4

CONFIRMATION = "SubscriptionConfirmation"
_ERRORS = {
    Kind.AUTH: "UnrecognizedClientException InvalidClientTokenId InvalidSignatureException SignatureDoesNotMatch "
    "IncompleteSignature IncompleteSignatureException MissingAuthenticationToken MissingAuthenticationTokenException "
    "ExpiredToken ExpiredTokenException",
    Kind.FORBIDDEN: "AccessDeniedException MailFromDomainNotVerifiedException AccountSuspendedException "
    "SendingPausedException",
    Kind.RATE_LIMIT: "TooManyRequestsException ThrottlingException Throttling LimitExceededException",
}
_KIND_OF = {code: kind for kind, codes in _ERRORS.items() for code in codes.split()}
_OF_RECIPIENT = (
    "Missing final '@domain'",
    "Domain contains",
    "Local address contains",
    "Invalid To",
    "Domain starts with",
)
_RATE_LIMIT_SECONDS = 5.0


class SentMail(VendorAnswer):
    MessageId: str


class Account(VendorAnswer):
    SendingEnabled: bool = False
    ProductionAccessEnabled: bool = True


class SesHttp(MailHttp):
    """Each request is signed as it leaves: the signature is of the moment, and of the body."""

    def _send(self, call: Any) -> Any:
        address = urlsplit(self.connection.base_url)
        date, body_hash = sigv4.amz_date(clock.now()), sigv4.payload_hash(call.body or b"")
        signed = {"host": address.netloc, "x-amz-content-sha256": body_hash, "x-amz-date": date}
        params = {str(name): str(value) for name, value in (call.parts.get("params") or {}).items()}
        authorization = sigv4.authorization(
            call.method,
            address.path.rstrip("/") + call.path,
            params,
            signed,
            body_hash,
            date=date,
            given=_credentials(self.connection),
        )
        extra = {name: value for name, value in signed.items() if name != "host"}
        return super()._send(replace(call, headers={**call.headers, **extra, "Authorization": authorization}))


class SesWebhook(TrackingWebhook):
    """Amazon SNS delivers. ``webhook_secret`` is ``user:password`` of the subscription's address."""

    content_types = ("text/plain", "application/json")
    events = {
        "Bounce": (MailBounced,),
        "Complaint": (MailBounced,),
        "Reject": (MailBounced,),
        "Rendering Failure": (MailBounced,),
        "Delivery": (Ignored,),
        "Send": (Ignored,),
        CONFIRMATION: (Ignored,),
    }

    def view(self, secrets: list[str]) -> Any:  # noqa: ARG002
        # Made without its set-up, which needs boto3: reading an event needs none of it.
        return AmazonSESTrackingWebhookView.__new__(AmazonSESTrackingWebhookView)

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        if secrets and not request.headers.get("Authorization"):
            headers = {"WWW-Authenticate": 'Basic realm="Firstvalue"'}
            return Delivery(response=Response(status=401, headers=headers))
        return super().receive(request, raw, secrets, now)

    def verify(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> None:  # noqa: ARG002
        check_basic_auth(request, secrets)
        said = request.headers.get("X-Amz-Sns-Message-Type", "")
        if said != parse_object(raw).get("Type"):
            raise NotVerified("The message's type is not the one that its header names.")

    def parts(self, body: Any) -> Iterable[tuple[str, str, Any]]:
        if body["Type"] != "Notification":
            yield body["MessageId"], body["Type"], body
            return
        try:
            told = json.loads(body["Message"])
        except ValueError:
            return  # SNS tells that a topic was validated, in a sentence
        envelope = {name: body.get(name) for name in ("MessageId", "Timestamp", "TopicArn")}
        yield body["MessageId"], told.get("eventType") or told["notificationType"], {"sns": envelope, "ses": told}

    def tracked(self, part: Any) -> Any:
        (first, *_) = self.view([]).esp_to_anymail_events(part["ses"], part["sns"])
        return first

    def read(self, stored: InboundEvent) -> Event:
        if stored.type == CONFIRMATION:
            return _confirm(stored)
        if stored.type == "UnsubscribeConfirmation":
            return Ignored(reason="SNS has ended the subscription: no more events come.")
        return super().read(stored)


class Ses(MailConnector, HttpConnector):
    provider = "ses"
    hosts = ("email.*.amazonaws.com",)
    http_class: ClassVar[type[VendorHttp]] = SesHttp
    options = (
        *SENDER_OPTIONS,
        Option(name="access_key_id", help="Of the IAM user that may send; its secret is the token.", required=True),
        Option(
            name="region", help="Empty: the one in the base URL.", pattern="[a-z0-9-]+", allowed="such as eu-central-1"
        ),
        Option(
            name="configuration_set",
            help="The one that publishes bounces and complaints to SNS. Empty: the sender's default one.",
        ),
    )
    secrets = (
        Secret(name=TOKEN, label="Secret access key"),
        Secret(
            name=WEBHOOK_SECRET,
            label="User name and password of the SNS subscription",
            help="As user:password, which stand in the subscription's address. For bounces and complaints.",
            required=False,
        ),
    )
    webhook = SesWebhook()
    probes = "the access key, and that the account may send; no mail is sent"

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        return {}

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it sends a second mail."""
        mail = self.composed(wanted, reference)
        if known := metadata(reference):
            mail.message.extra_headers["X-Metadata"] = json.dumps(dict(known))  # where anymail looks for it
        content = base64.b64encode(mail.message.message().as_bytes()).decode()
        body: dict[str, Any] = {
            "FromEmailAddress": self.from_email(),
            "Destination": {"ToAddresses": [mail.recipient]},
            "Content": {"Raw": {"Data": content}},
        }
        if name := self.option("configuration_set"):
            body["ConfigurationSetName"] = name
        assert isinstance(self.http, SesHttp)  # noqa: S101  (as declared above)
        self.http.reference = reference
        try:
            made = self.http.request("POST", "/v2/email/outbound-emails", json=body, expect=SentMail).data
        finally:
            self.http.reference = ""
        return Created(made.MessageId)

    def probe(self) -> str:
        account = self.http.request("GET", "/v2/email/account", expect=Account).data
        if not account.SendingEnabled:
            raise ProviderError(Kind.FORBIDDEN, "Amazon SES has turned sending off for this account")
        limits = "" if account.ProductionAccessEnabled else ", to verified addresses only: ask for production access"
        return f"Amazon SES account that may send{limits}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        named = headers.get("x-amzn-ErrorType") or (body.get("__type", "") if isinstance(body, dict) else "")
        code = str(named).partition(":")[0].rpartition("#")[2]
        said = body.get("message") or body.get("Message") or "" if isinstance(body, dict) else ""
        words = f"Amazon SES refused the mail: {said} ({code})"
        kind = _KIND_OF.get(code)
        if code == "MessageRejected":
            kind = Kind.FORBIDDEN if "not verified" in said else Kind.INVALID
        if kind is Kind.RATE_LIMIT:
            return ProviderError(kind, words, retry_after=None if "Retry-After" in headers else _RATE_LIMIT_SECONDS)
        if code == "BadRequestException" and any(each in said for each in _OF_RECIPIENT):
            return ProviderError(Kind.INVALID, words, fields=refused_recipient(said), of_object=True)
        return ProviderError(kind, words) if kind and status < 500 else None  # noqa: PLR2004


def _credentials(connection: Connection) -> sigv4.Credentials:
    host = urlsplit(connection.base_url).hostname or ""
    region = connection.options.get("region") or (
        host.split(".")[1] if host.endswith(".amazonaws.com") else "us-east-1"
    )
    key_id = str(connection.options.get("access_key_id", ""))
    return sigv4.Credentials(key_id, connection.secrets(TOKEN)[0], str(region), "ses")


def _confirm(stored: InboundEvent) -> Event:
    """SNS sends nothing before it is told so at the address that it gives. Raises ``UnexpectedShape`` for any other address."""
    url = str(parse_object(stored.raw.encode()).get("SubscribeURL") or "")
    parts = urlsplit(url)
    host, connection = parts.hostname or "", stored.connection
    is_sns = (
        parts.scheme == "https" and host.startswith("sns.") and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    )
    if not (is_sns and parts.port is None) and not is_sandbox(url, connection.environment):
        raise UnexpectedShape("The address that confirms the subscription is none of Amazon SNS.")
    there = copy.copy(connection)
    there.base_url = f"{parts.scheme}://{parts.netloc}"
    deadline = time.monotonic() + settings.CALL_SECONDS
    http = VendorHttp(there, headers={}, subject=f"event:{stored.pk}", deadline=deadline)
    http.request("GET", parts.path or "/", params=dict(parse_qsl(parts.query)))
    return Ignored(reason="The subscription to Amazon SNS is confirmed.")
