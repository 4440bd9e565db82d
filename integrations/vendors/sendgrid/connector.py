"""SendGrid (email): one mail by ``POST /v3/mail/send``, and its bounces and complaints.

www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send (202 without a body; ``errors`` with ``field`` and ``message``),
/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits (429, ``X-RateLimit-Reset`` in Unix seconds),
/api-reference/api-key-permissions
(``GET /v3/scopes``, the probe), /for-developers/tracking-events/getting-started-event-webhook-security-features (ECDSA over
timestamp and
body). There is no idempotency key. Requests are written, and events read, by django-anymail
(anymail.dev/en/stable/esps/sendgrid), whose
makers cannot test SendGrid any more (github.com/anymail/django-anymail/issues/432). Its own id of a mail, set before the mail
is sent,
comes back with each event.
"""

import time
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from anymail.backends.sendgrid import EmailBackend
from anymail.exceptions import AnymailNotSupportedWarning
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from django.http import HttpRequest

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Created
from integrations.connectors.mail.api import ApiMailConnector
from integrations.connectors.mail.messages import SENDER_OPTIONS, refused_recipient
from integrations.connectors.mail.tracking import TrackingWebhook, check_time
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Secret
from integrations.errors import Kind, ProviderError
from integrations.inbound.events import Ignored, MailBounced

warnings.filterwarnings("ignore", category=AnymailNotSupportedWarning)

MAY_SEND = "mail.send"
_NO_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7L"
    "tkBoN79R9Q=="
)
"""Some key, for reading what was verified when it came."""


class Scopes(VendorAnswer):
    scopes: list[str] = []


class SendGridWebhook(TrackingWebhook):
    """``webhook_secret`` is the verification key, a public one."""

    events = {
        "bounce": (MailBounced,),
        "dropped": (MailBounced,),
        "spamreport": (MailBounced,),
        "unsubscribe": (MailBounced,),
        "group_unsubscribe": (MailBounced,),
        "deferred": (Ignored,),
        "delivered": (Ignored,),
        "processed": (Ignored,),
        "open": (Ignored,),
        "click": (Ignored,),
    }

    def view(self, secrets: list[str]) -> Any:
        return SendGridTrackingWebhookView(
            tracking_webhook_verification_key=secrets[0] if secrets else _NO_KEY, webhook_secret=[]
        )

    def parts(self, body: Any) -> Iterable[tuple[str, str, Any]]:
        for event in body:
            yield event.get("sg_event_id") or "", event["event"], event

    def verify(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> None:
        super().verify(request, raw, secrets, now)
        check_time(request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", ""), now)


class SendGrid(ApiMailConnector):
    provider = "sendgrid"
    hosts = ("api.sendgrid.com", "api.eu.sendgrid.com")
    default_base_url = "https://api.sendgrid.com"
    api_path = "/v3"
    options = SENDER_OPTIONS
    secrets = (
        Secret(name=TOKEN, label="API key", help="With the permission “Mail Send”."),
        Secret(
            name=WEBHOOK_SECRET,
            label="Event webhook's verification key",
            help="Shown where the signed event webhook is turned on. For bounces and complaints.",
            required=False,
        ),
    )
    webhook = SendGridWebhook()
    probes = "the API key, and that it may send mails; no mail is sent"

    def backend(self) -> Any:
        return EmailBackend(api_key=self.connection.secrets(TOKEN)[0])

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it sends a second mail."""
        mail = self.composed(wanted, reference)
        del mail.message.extra_headers["Message-ID"]  # SendGrid writes its own
        payload = self.payload(mail, reference)
        self.send(payload, reference, None, ok=(202,))
        return Created(next(iter(payload.message_ids.values())))

    def probe(self) -> str:
        scopes = self.http.request("GET", "/v3/scopes", expect=Scopes).data.scopes
        if MAY_SEND not in scopes:
            raise ProviderError(Kind.FORBIDDEN, f"The API key lacks the permission {MAY_SEND}")
        return f"SendGrid key that may send mails as {self.sender()}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        listed = body.get("errors") if isinstance(body, dict) else None
        errors = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        said = "; ".join(str(each.get("message") or "") for each in errors)[:300]
        words = f"SendGrid refused the mail: {said}"
        if status == 400 and any(str(each.get("field") or "").endswith("to.0.email") for each in errors):  # noqa: PLR2004
            return ProviderError(Kind.INVALID, words, fields=refused_recipient(said), of_object=True)
        if status == 429 and "Retry-After" not in headers:  # noqa: PLR2004
            return ProviderError(Kind.RATE_LIMIT, words, retry_after=_until(headers.get("X-RateLimit-Reset", "")))
        return None


def _until(unix_seconds: str) -> float:
    """Seconds from now, at least one; a minute where it is not told."""
    return max(1.0, float(unix_seconds) - time.time()) if unix_seconds.isdecimal() else 60.0
