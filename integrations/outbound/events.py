"""The events that endpoints are told of, and the rows that tell them: written in the transaction that made them true."""

import json
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from integrations import clock
from integrations.models import DeliveryState, WebhookDelivery, WebhookEndpoint


class EventType(StrEnum):
    RUN_ACCEPTED = "run.accepted"
    RUN_PROVISIONED = "run.provisioned"
    RUN_INVOICE_READY = "run.invoice_ready"
    RUN_COMPLETED = "run.completed"
    EXCEPTION_OPENED = "exception.opened"
    EXCEPTION_RESOLVED = "exception.resolved"
    CHANGE_REQUESTED = "change.requested"


_INSERT = """
INSERT INTO integrations_webhookdelivery (endpoint_id, event_id, type, body, state, attempts, due_at, created_at, log)
SELECT e.id, %s::varchar, %s::varchar, %s::jsonb, 'pending', 0, %s::timestamptz, %s::timestamptz, '[]'::jsonb
FROM integrations_webhookendpoint e{fence}
WHERE e.removed_at IS NULL AND e.types @> %s::jsonb
"""


def deliveries(type_: EventType, data: dict[str, Any]) -> list[WebhookDelivery]:
    """One for each endpoint that is told of it, not saved; what is written to a paused one waits."""
    told = [each.pk for each in WebhookEndpoint.objects.filter(removed_at=None).only("types") if type_ in each.types]
    if not told:
        return []
    now, event_id = clock.now(), _new_id()
    body = _body(type_, data, now)
    return [
        WebhookDelivery(
            endpoint_id=pk,
            event_id=event_id,
            type=type_,
            body=body,
            state=DeliveryState.PENDING,
            due_at=now,
            created_at=now,
        )
        for pk in told
    ]


def insert_statement(type_: EventType, data: dict[str, Any], *, fenced: bool) -> tuple[str, list[Any]]:
    """The same as one statement that reads nothing first; for PostgreSQL. ``fenced``: if there is a row in ``fence``."""
    now = clock.now()
    body = json.dumps(_body(type_, data, now))
    return _INSERT.format(fence=", fence" if fenced else ""), [
        _new_id(),
        str(type_),
        body,
        now,
        now,
        json.dumps([type_]),
    ]


def _new_id() -> str:
    return f"evt_{secrets.token_hex(16)}"


def _body(type_: EventType, data: dict[str, Any], now: datetime) -> dict[str, Any]:
    """As Standard Webhooks advises: the type, when it happened, and what it is about."""
    return {"type": str(type_), "timestamp": now.isoformat().replace("+00:00", "Z"), "data": data}
