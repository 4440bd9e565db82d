"""Asana's webhooks as Asana sends them, signed as it signs them: for tests and the demo.

From developers.asana.com/docs/webhooks-guide and /reference/events.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

Json = dict[str, Any]


def task_event(gid: str, *, action: str = "changed", at: str = "2026-11-29T10:00:00.000Z", **changes: Any) -> Json:
    return {
        "user": {"gid": "1000000000000003", "resource_type": "user"},
        "created_at": at,
        "action": action,
        "resource": {"gid": gid, "resource_type": "task", "resource_subtype": "default_task"},
        "parent": None,
        "change": {"field": "completed", "action": "changed"},
    } | changes


def encode(*events: Json) -> bytes:
    """Without events: a heartbeat."""
    return json.dumps({"events": list(events)}).encode()


def sign(raw: bytes, secret: str) -> dict[str, str]:
    return {"X-Hook-Signature": hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}
