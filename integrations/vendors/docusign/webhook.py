"""DocuSign Connect: JSON, one event a message (SIM), signed by HMAC.

Sources: developers.docusign.com/platform/webhooks/connect/validate (base64 of HMAC-SHA256 over the raw body, one header
``X-DocuSign-Signature-N`` for each active key, of which one must match) and .../connect/json-sim-event-model. There is no time in
the signature: a repetition is known by account, envelope and event, as ``generatedDateTime`` and ``retryCount`` differ.

A configuration that wants acknowledgements delivers nothing more while one message is refused: whatever has an identity is stored
and acknowledged, and what it means is found out later.
"""

import base64
import hmac
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from pydantic import ValidationError

from integrations.connectors.base import moment
from integrations.http.strict_json import parse_object, without_nul
from integrations.inbound.delivery import Delivery, Malformed, NotVerified, ReceivedEvent, UnexpectedShape, Webhook
from integrations.inbound.events import ContractApproved, Event, Ignored, OrderSigned
from integrations.models import InboundEvent
from integrations.vendors.docusign.api import EnvelopeApi
from integrations.vendors.docusign.envelopes import (
    COMPLETED,
    CustomFields,
    Message,
    Summary,
    customer_of,
    form_fields,
    order_event,
)

SIGNATURE = "x-docusign-signature-"
LEGACY = (
    "The message is in a legacy format: choose “Send Individual Messages (SIM)” and JSON in the Connect configuration."
)


class DocuSignWebhook(Webhook):
    events = {COMPLETED: (OrderSigned, ContractApproved)}

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:  # noqa: ARG002
        verify(raw, [value for name, value in request.headers.items() if name.lower().startswith(SIGNATURE)], secrets)
        body = parse_object(raw)
        data = body.get("data")
        if not isinstance(body.get("event"), str) or not isinstance(data, dict):
            raise Malformed(LEGACY)
        event = str(body["event"])
        return Delivery([ReceivedEvent(_identity(event, data), event, raw.decode(), occurred_at=_generated(body))])

    def read(self, stored: InboundEvent) -> Event:
        if stored.type != COMPLETED:
            return Ignored(reason="Only a completed envelope says something of an order.")
        try:
            message = Message.model_validate(without_nul(parse_object(stored.raw.encode())))
        except ValidationError as error:
            paths = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False)[:5])
            raise UnexpectedShape(f"The message is not as DocuSign documents it ({paths}).") from None
        connection = stored.connection
        account = str(connection.options.get("account_id") or "")
        if account and account.casefold() != message.data.accountId.casefold():
            return Ignored(
                reason=f"An envelope of the account {message.data.accountId}, which this connection does not take."
            )
        return _read(stored, message)


def verify(raw: bytes, signatures: list[str], secrets: list[str]) -> None:
    """Raises ``NotVerified`` unless one of the headers is the signature of the raw body with one of the secrets."""
    if not signatures:
        raise NotVerified(
            "There is no X-DocuSign-Signature header: tick “Include HMAC Signature” in the configuration."
        )
    wanted = [base64.b64encode(hmac.digest(secret.encode(), raw, "sha256")) for secret in secrets]
    given = [signature.strip().encode("utf-8", "replace") for signature in signatures]
    # Every pair is compared, so that the time taken does not tell which one matched.
    if not any([hmac.compare_digest(one, other) for one in wanted for other in given]):  # noqa: C419
        raise NotVerified("No X-DocuSign-Signature header matches this body.")


def _identity(event: str, data: dict[str, Any]) -> str:
    names = ("accountId", "envelopeId", "recipientId")
    parts = [str(data[name]) for name in names if isinstance(data.get(name), str | int) and data[name] != ""]
    if not isinstance(data.get("envelopeId"), str):
        # Such as a template's or a user's event: its message names no envelope, and it has no other identity.
        raise Malformed("The message names no envelope: choose envelope and recipient events alone.")
    return ":".join([*parts, event])


def _generated(body: dict[str, Any]) -> datetime | None:
    value = body.get("generatedDateTime")
    return moment(value) if isinstance(value, str) else None


def _read(stored: InboundEvent, message: Message) -> Event:
    """What the delivery leaves out is read at DocuSign, where the connection has what that needs."""
    options = stored.connection.options
    summary = message.data.envelopeSummary or Summary()
    if summary.status and summary.status.lower() != "completed":
        return Ignored(reason=f"The envelope is {summary.status.lower()}.")
    custom_fields, form = summary.customFields, form_fields(summary.recipients)
    if custom_fields is None or form is None:
        api = EnvelopeApi.on(stored, message.data.accountId, message.data.envelopeId)
        if api is None and custom_fields is None:
            raise UnexpectedShape(
                "The message has no custom fields, which say what order it is about: tick “Custom Fields” under “Include Data” in "
                "the Connect configuration, or give this connection the base URL and the RSA private key to read them with."
            )
        custom_fields = custom_fields or (api.custom_fields() if api else CustomFields())
        form = form or (api.form_data() if api and form is None else ())
    role = options.get("customer_role")
    return order_event(
        message,
        kind=str(options.get("completed_envelope") or "order-signed"),
        custom_fields=custom_fields,
        form=form,
        customer=customer_of(summary.recipients, "Customer" if role is None else str(role)),
        occurred_at=moment(summary.completedDateTime) or moment(message.generatedDateTime),
    )
