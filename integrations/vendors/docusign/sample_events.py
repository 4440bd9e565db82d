"""DocuSign's deliveries as Connect sends them, signed as it signs them: for tests and the demo.

From developers.docusign.com/platform/webhooks/connect/json-sim-event-model, .../connect/validate, and ``connect.schema-v2.json`` of
github.com/docusign/OpenAPI-Specifications: every value is a text.
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
CUSTOM_FIELDS, RECIPIENTS, TABS = "custom_fields", "recipients", "tabs"
EVERYTHING = (CUSTOM_FIELDS, RECIPIENTS, TABS)
ACCOUNT_ID = "5f2f9a53-9b2c-4a52-a6a3-3f6a4c2d7e11"


def encode(message: Json) -> bytes:
    return json.dumps(message, indent=2).encode()


def sign(raw: bytes, *secrets: str) -> dict[str, str]:
    """One header for each active key, in order."""
    return {
        f"X-DocuSign-Signature-{number}": base64.b64encode(hmac.digest(secret.encode(), raw, "sha256")).decode()
        for number, secret in enumerate(secrets, start=1)
    } | {"X-Authorization-Digest": "HMACSHA256"}


@dataclass
class Envelope:
    """One envelope, and the events by which Connect tells of it.

    ``include``: what the configuration includes of ``EVERYTHING``; without any there is no ``envelopeSummary`` at all.
    """

    completed: int
    """Unix time."""
    custom_fields: Mapping[str, str] = field(default_factory=dict)
    list_fields: Mapping[str, str] = field(default_factory=dict)
    form: Sequence[tuple[str, str]] = ()
    signer: str = "Jordan Lee"
    email: str = "jordan@acme-logistics.com"
    role: str = "Customer"
    include: Sequence[str] = EVERYTHING
    account_id: str = ACCOUNT_ID
    envelope_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def event(self, name: str = "envelope-completed", *, retry: int = 0, status: str = "completed") -> Json:
        generated = datetime.fromtimestamp(self.completed + 2 + 60 * retry, UTC)
        path = f"/restapi/v2.1/accounts/{self.account_id}/envelopes/{self.envelope_id}"
        data: Json = {"accountId": self.account_id, "userId": str(uuid.uuid4()), "envelopeId": self.envelope_id}
        if name.startswith("recipient-"):
            data["recipientId"] = "1"
        if self.include:
            data["envelopeSummary"] = self._summary(status)
        return {
            "event": name,
            "apiVersion": "v2.1",
            "uri": path,
            "retryCount": str(retry),
            "configurationId": "10418598",
            "generatedDateTime": generated.isoformat().replace("+00:00", "0Z"),
            "data": data,
        }

    def stored(self) -> Json:
        """As the sandbox keeps it, whatever is delivered."""
        whole = {"customFields": self._custom_fields(), "recipients": self._recipients(with_tabs=True)}
        return {"id": self.envelope_id, "status": "completed", **whole, "formData": [list(each) for each in self.form]}

    def _summary(self, status: str) -> Json:
        at = datetime.fromtimestamp(self.completed, UTC).isoformat().replace("+00:00", "Z")
        summary: Json = {
            "status": status,
            "envelopeId": self.envelope_id,
            "emailSubject": "Please sign your order",
            "completedDateTime": at,
            "statusChangedDateTime": at,
            "isSignatureProviderEnvelope": "false",
        }
        if CUSTOM_FIELDS in self.include:
            summary["customFields"] = self._custom_fields()
        if RECIPIENTS in self.include:
            summary["recipients"] = self._recipients(with_tabs=TABS in self.include)
        return summary

    def _custom_fields(self) -> Json:
        def listed(fields: Mapping[str, str]) -> list[Json]:
            return [
                {"fieldId": str(number), "name": name, "show": "true", "required": "false", "value": value}
                for number, (name, value) in enumerate(fields.items(), start=1)
            ]

        lists = [{**each, "listItems": [each["value"]]} for each in listed(self.list_fields)]
        return {"textCustomFields": listed(self.custom_fields), "listCustomFields": lists}

    def _recipients(self, *, with_tabs: bool) -> Json:
        tabs = {"textTabs": [{"tabLabel": name, "value": value, "originalValue": ""} for name, value in self.form]}
        signer = {
            "name": self.signer,
            "email": self.email,
            "recipientId": "1",
            "roleName": self.role,
            "routingOrder": "1",
            "status": "completed",
        } | ({"tabs": tabs} if with_tabs else {})
        seller = {"name": "Sam Sales", "email": "sam@firstvalue.example", "roleName": "Seller", "status": "completed"}
        return {"signers": [signer, seller], "recipientCount": "2", "currentRoutingOrder": "2"}
