"""Mailgun (email): one mail by ``POST /v3/{domain}/messages``, and its bounces and complaints.

documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages (``h:`` and ``v:`` parameters; 400 “parameter is not
a valid
address”), /domains for the probe, and .../user-manual/webhooks/securing-webhooks (HMAC-SHA256 of timestamp and token, by the
account's
webhook signing key). There is no idempotency key. Requests are written, and events read, by django-anymail
(anymail.dev/en/stable/esps/mailgun).
"""

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from anymail.backends.mailgun import EmailBackend
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from django.http import HttpRequest

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Created
from integrations.connectors.mail.api import ApiMailConnector, sentence
from integrations.connectors.mail.messages import SENDER_OPTIONS, refused_recipient
from integrations.connectors.mail.tracking import TrackingWebhook, check_time
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Option, Secret
from integrations.errors import Kind, ProviderError
from integrations.http.client import segment
from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import NotVerified
from integrations.inbound.events import Ignored, MailBounced
from integrations.models import Connection

_RATE_LIMIT_SECONDS = 60.0
"""Mailgun's 429 names no wait."""


class QueuedMail(VendorAnswer):
    id: str


class Domain(VendorAnswer):
    name: str = ""
    state: str = ""


class DomainAnswer(VendorAnswer):
    domain: Domain


class MailgunWebhook(TrackingWebhook):
    events = {
        "failed": (MailBounced, Ignored),
        "rejected": (MailBounced,),
        "complained": (MailBounced,),
        "unsubscribed": (MailBounced,),
        "delivered": (Ignored,),
        "opened": (Ignored,),
        "clicked": (Ignored,),
    }

    def view(self, secrets: list[str]) -> Any:
        return MailgunTrackingWebhookView(webhook_signing_key=secrets[0] if secrets else "none", webhook_secret=[])

    def parts(self, body: Any) -> Iterable[tuple[str, str, Any]]:
        data = body["event-data"]
        # Mailgun's id is unique within a day.
        id_ = f"{data['id']}:{int(data['timestamp'])}" if data.get("id") and data.get("timestamp") else ""
        yield id_, data["event"], {"event-data": data}

    def verify(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> None:
        super().verify(request, raw, secrets, now)
        signature = parse_object(raw).get("signature")
        if not isinstance(signature, dict):
            raise NotVerified("The event is not signed.")
        check_time(str(signature.get("timestamp", "")), now)


class Mailgun(ApiMailConnector):
    provider = "mailgun"
    hosts = ("api.mailgun.net", "api.eu.mailgun.net")
    default_base_url = "https://api.mailgun.net"
    api_path = "/v3"
    options = (
        *SENDER_OPTIONS,
        Option(
            name="sender_domain",
            help="The domain at Mailgun that mails go through. Empty: that of the sender's address.",
            pattern=r"[a-z0-9.-]+",
            allowed="a domain",
        ),
    )
    secrets = (
        Secret(name=TOKEN, label="API key", help="Of the account: a sending key cannot be tested."),
        Secret(
            name=WEBHOOK_SECRET,
            label="HTTP webhook signing key",
            help="On the account's “API security” page. For bounces and complaints.",
            required=False,
        ),
    )
    webhook = MailgunWebhook()
    probes = "the API key, and that it knows the sender's domain; no mail is sent"

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        return {"Authorization": f"Basic {base64.b64encode(f'api:{token}'.encode()).decode()}"}

    def backend(self) -> Any:
        return EmailBackend(api_key=self.connection.secrets(TOKEN)[0], sender_domain=self._domain())

    def _domain(self) -> str:
        return self.option("sender_domain") or self.sender().rpartition("@")[2]

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it sends a second mail."""
        mail = self.composed(wanted, reference)
        return Created(self.send(self.payload(mail, reference), reference, QueuedMail).id)

    def probe(self) -> str:
        path = f"/v3/domains/{segment(self._domain())}"
        domain = self.http.request("GET", path, expect=DomainAnswer).data.domain
        return f"Mailgun domain {domain.name} ({domain.state})"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        said = sentence(body, "message") or (body.strip()[:300] if isinstance(body, str) and status < 500 else "")  # noqa: PLR2004
        words = f"Mailgun refused the mail: {said}"
        if status == 400 and "not a valid address" in said and "from" not in said:  # noqa: PLR2004
            return ProviderError(Kind.INVALID, words, fields=refused_recipient(said), of_object=True)
        if status == 404 and "domain not found" in said.lower():  # noqa: PLR2004
            return ProviderError(
                Kind.NOT_CONFIGURED, f"{words}. Check the sender's domain, and the region of the base URL"
            )
        if status == 429 and "Retry-After" not in headers:  # noqa: PLR2004
            return ProviderError(Kind.RATE_LIMIT, words, retry_after=_RATE_LIMIT_SECONDS)
        return None
