"""Postmark (email): one mail by ``POST /email``, and its bounces and complaints.

postmarkapp.com/developer/api/email-api and /overview (401 for a token; 422 with an ``ErrorCode`` and nothing sent; 429, 500,
503),
/developer/api/server-api for the probe, /developer/webhooks/bounce-webhook and /spam-complaint-webhook. ``X-PM-KeepID`` keeps our
Message-ID (postmarkapp.com/support/article/1023). There is no idempotency key. Requests are written, and events read, by
django-anymail
(anymail.dev/en/stable/esps/postmark).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from anymail.backends.postmark import EmailBackend
from anymail.webhooks.postmark import PostmarkTrackingWebhookView

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Created
from integrations.connectors.mail.api import ApiMailConnector, sentence
from integrations.connectors.mail.messages import SENDER_OPTIONS, refused_recipient
from integrations.connectors.mail.tracking import TrackingWebhook
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Option, Secret
from integrations.errors import Kind, ProviderError
from integrations.inbound.events import Ignored, MailBounced
from integrations.models import Connection

_INVALID_EMAIL, _INACTIVE, _MAINTENANCE = 300, 406, 100
_NOT_ALLOWED = frozenset({400, 401, 405, 412, 413})
"""No such sender, one that is not confirmed, no credits, an account that is pending or may not send."""
_OF_RECIPIENT = re.compile(r"(invalid|error parsing) '(to|cc|bcc)'", re.IGNORECASE)
SERVER_TOKEN = "X-Postmark-Server-Token"  # noqa: S105 (a header's name)


class SentMail(VendorAnswer):
    MessageID: str


class Server(VendorAnswer):
    Name: str = ""


class PostmarkWebhook(TrackingWebhook):
    """Basic authentication is all that Postmark offers; ``webhook_secret`` is ``user:password`` of the webhook's address."""

    events = {
        "Bounce": (MailBounced, Ignored),
        "SpamComplaint": (MailBounced,),
        "SubscriptionChange": (MailBounced, Ignored),
        "Delivery": (Ignored,),
        "Open": (Ignored,),
        "Click": (Ignored,),
    }

    def view(self, secrets: list[str]) -> Any:
        return PostmarkTrackingWebhookView(webhook_secret=secrets or ["none:none"])

    def parts(self, body: Any) -> Iterable[tuple[str, str, Any]]:
        type_ = body["RecordType"]
        yield (f"{type_}:{body['ID']}" if body.get("ID") else ""), type_, body


class Postmark(ApiMailConnector):
    provider = "postmark"
    hosts = ("api.postmarkapp.com",)
    default_base_url = "https://api.postmarkapp.com"
    options = (
        *SENDER_OPTIONS,
        Option(
            name="message_stream",
            help="The id of the transactional stream to send through. Empty: the server's default one.",
            pattern="[a-z0-9_-]+",
            allowed="a stream's id",
        ),
    )
    secrets = (
        Secret(name=TOKEN, label="Server API token", help="On the server's “API Tokens” page."),
        Secret(
            name=WEBHOOK_SECRET,
            label="Webhook's user name and password",
            help="As user:password; the same two in the webhook's “Basic auth”. For bounces and complaints.",
            required=False,
        ),
    )
    webhook = PostmarkWebhook()
    probes = "the server token, and whose server it is; no mail is sent"

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        return {SERVER_TOKEN: token}

    def backend(self) -> Any:
        token = self.connection.secrets(TOKEN)[0]
        return EmailBackend(server_token=token, message_stream=self.option("message_stream") or None)

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it sends a second mail."""
        mail = self.composed(wanted, reference)
        mail.message.extra_headers["X-PM-KeepID"] = "true"
        return Created(self.send(self.payload(mail, reference), reference, SentMail).MessageID)

    def probe(self) -> str:
        self.sender()
        return f"Postmark server {self.http.request('GET', '/server', expect=Server).data.Name}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        code = body.get("ErrorCode") if isinstance(body, dict) else None
        said = f"Postmark refused the mail: {sentence(body, 'Message')} ({code})"
        if code == _INACTIVE or (code == _INVALID_EMAIL and _OF_RECIPIENT.search(said)):
            return ProviderError(
                Kind.INVALID, said, fields=refused_recipient(sentence(body, "Message")), of_object=True
            )
        if code in _NOT_ALLOWED:
            return ProviderError(Kind.FORBIDDEN, said)
        if code == _MAINTENANCE:
            return ProviderError(Kind.SERVER, said, effect_possible=True)
        return None
