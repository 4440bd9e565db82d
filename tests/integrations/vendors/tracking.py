"""Deliveries of the mail vendors' events, without a database."""

import json
from datetime import datetime
from typing import Any

from django.test import RequestFactory

from integrations import clock, crypto
from integrations.inbound.delivery import Delivery, Webhook
from integrations.inbound.events import Event
from integrations.models import InboundEvent


def received(
    webhook: Webhook, body: Any, secrets: list[str], headers: dict[str, str] | None = None, now: datetime | None = None
) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = RequestFactory().post("/webhooks/mail/", raw, content_type="application/json", headers=headers or {})
    assert request.read() == raw  # as the view has read it before
    return webhook.receive(request, raw, secrets, now or clock.now())


def read(webhook: Webhook, delivery: Delivery) -> list[Event]:
    return [webhook.read(InboundEvent(body=crypto.encrypt(each.body))) for each in delivery.events]
