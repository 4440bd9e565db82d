"""Jira's webhooks as Jira sends them, signed as it signs them: for tests and the demo.

From developer.atlassian.com/cloud/jira/platform/webhooks (an issue's event, "Secure admin webhooks").
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from typing import Any

Json = dict[str, Any]
_numbers = itertools.count(1)


def issue_updated(issue_id: str, *, at: int, field: str = "status", to: str = "Done") -> Json:
    """``at``: Unix time in milliseconds."""
    return {
        "timestamp": at,
        "webhookEvent": "jira:issue_updated",
        "issue_event_type_name": "issue_generic",
        "user": {"accountId": "557058:ines", "displayName": "Ines Ortega", "active": True},
        "issue": {"id": issue_id, "key": f"ONB-{issue_id}", "fields": {"summary": "Schedule the kickoff"}},
        "changelog": {
            "id": "10124",
            "items": [{"field": field, "fieldId": field, "fromString": "To Do", "toString": to}],
        },
    }


def encode(event: Json) -> bytes:
    return json.dumps(event).encode()


def headers(raw: bytes, secret: str, *, identifier: str = "", retry: int = 0) -> dict[str, str]:
    """Of a delivery; ``identifier``: that of an earlier one, where it is sent again."""
    signature = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    told = {
        "X-Hub-Signature": f"sha256={signature}",
        "X-Atlassian-Webhook-Identifier": identifier or f"5a1b-{next(_numbers):012d}",
        "X-Atlassian-Webhook-Flow": "Primary",
    }
    return told | ({"X-Atlassian-Webhook-Retry": str(retry)} if retry else {})
