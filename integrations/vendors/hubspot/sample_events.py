"""HubSpot's webhooks as HubSpot sends them, signed as it signs them: for tests and the demo.

From developers.hubspot.com/docs/guides/crm/private-apps/webhooks (the body) and
.../build-apps/authentication/request-validation (signature v3).
"""

from __future__ import annotations

import base64
import hmac
import itertools
import json
from typing import Any

Json = dict[str, Any]
PORTAL = 14_000_001
_numbers = itertools.count(4_200_000_001)


def stage_changed(deal_id: str, *, at: int, stage: str = "closedwon", **changes: Any) -> Json:
    """One event; ``at``: Unix time in milliseconds."""
    return {
        "eventId": next(_numbers),
        "subscriptionId": 2_310_001,
        "portalId": PORTAL,
        "appId": 990_001,
        "occurredAt": at,
        "subscriptionType": "deal.propertyChange",
        "attemptNumber": 0,
        "objectId": int(deal_id),
        "propertyName": "dealstage",
        "propertyValue": stage,
        "changeSource": "CRM_UI",
        "sourceId": "userId:9000001",
        "isSensitive": False,
    } | changes


def encode(*events: Json) -> bytes:
    return json.dumps(events).encode()


def sign(raw: bytes, secret: str, *, address: str, at: int, method: str = "POST") -> dict[str, str]:
    """The headers of a request to that address, without escapes in it; ``at``: Unix time in milliseconds."""
    signed = f"{method}{address}".encode() + raw + str(at).encode()
    signature = base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": str(at)}
