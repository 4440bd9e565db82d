"""Delivering what the outbox holds: at least once, later and later again until the endpoint takes it or the tries are over.

A delivery is claimed before it is sent, and one whose sender was lost is sent again: its id tells the receiver that it is the
same. Each
try goes to a public address alone, with a deadline, and follows no redirect.
"""

import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import requests
from django.conf import settings
from django.db import transaction as db
from django.db.models import Q
from urllib3.exceptions import HTTPError

from integrations import clock, crypto
from integrations.enums import Environment
from integrations.http import sockets
from integrations.http.client import retry_after
from integrations.http.hosts import is_sandbox
from integrations.http.redaction import redact_text
from integrations.inbound import standard_webhooks
from integrations.models import DeliveryState, WebhookDelivery, WebhookEndpoint

SENDING_TAKES = timedelta(minutes=2)
BACKOFF = tuple(
    timedelta(**wait)
    for wait in (
        {"seconds": 5}, {"minutes": 5}, {"minutes": 30}, {"hours": 2}, {"hours": 5}, {"hours": 10}, {"hours": 14}, {"hours": 20},
        {"hours": 24},
    )
)  # fmt: skip
"""Before each further try, as the specification of Standard Webhooks advises."""
TIMEOUT_SECONDS = 15.0
GONE = 410
MOST_ANSWER_BYTES = 2_000
AT_ONCE = 100
RETENTION = timedelta(days=30)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """``status`` is None where there was no answer; ``wait`` is what the endpoint asks for."""

    status: int | None
    error: str
    milliseconds: int
    wait: timedelta = timedelta(0)

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 (RFC 9110, 15.3)


def due() -> list[int]:
    """What is to be sent now, of endpoints that are neither paused nor removed; the oldest first."""
    ready = WebhookDelivery.objects.filter(
        due_at__lte=clock.now(), endpoint__paused_at=None, endpoint__removed_at=None
    ).order_by("due_at")
    return list(ready.values_list("pk", flat=True)[:AT_ONCE])


def deliver(within: float = 20.0) -> int:
    """Send what is due; how many were delivered. A slow endpoint costs ``within`` and one time-out at most; the rest stays
    due."""
    delivered, ends = 0, time.monotonic() + within
    for pk in due():
        if time.monotonic() > ends:
            break
        delivered += _deliver(pk)
    _delete_old()
    return delivered


def _deliver(pk: int) -> bool:
    now = clock.now()
    open_states = Q(state=DeliveryState.PENDING) | Q(state=DeliveryState.SENDING)
    claimed = WebhookDelivery.objects.filter(open_states, pk=pk, due_at__lte=now)
    if not claimed.update(state=DeliveryState.SENDING, due_at=now + SENDING_TAKES):
        return False
    delivery = WebhookDelivery.objects.select_related("endpoint").get(pk=pk)
    outcome = _send(delivery, now)
    _record(pk, outcome, now)
    return outcome.is_delivered


@db.atomic
def _record(pk: int, outcome: Outcome, at: datetime) -> None:
    delivery = WebhookDelivery.objects.select_for_update(no_key=True).filter(pk=pk, state=DeliveryState.SENDING).first()
    if delivery is None:
        return  # another sender was quicker, or it was replayed
    delivery.attempts += 1
    entry = {"at": at.isoformat(), "status": outcome.status, "error": outcome.error, "ms": outcome.milliseconds}
    delivery.log = [*delivery.log, entry][-len(BACKOFF) - 1 :]
    if outcome.is_delivered:
        delivery.state, delivery.due_at, delivery.delivered_at = DeliveryState.DELIVERED, None, clock.now()
    elif outcome.status == GONE or delivery.attempts > len(BACKOFF):
        delivery.state, delivery.due_at = DeliveryState.FAILED, None
    else:
        delivery.state = DeliveryState.PENDING
        delivery.due_at = clock.now() + max(BACKOFF[delivery.attempts - 1], outcome.wait)
    delivery.save()
    if outcome.status == GONE:
        # The specification's own word of an endpoint that wants nothing any more.
        WebhookEndpoint.objects.filter(pk=delivery.endpoint_id, paused_at=None).update(
            paused_at=clock.now(), paused_by="the endpoint (410 Gone)"
        )


def _send(delivery: WebhookDelivery, now: datetime) -> Outcome:
    started = time.monotonic()
    try:
        status, headers = _post(delivery, now)
    except (requests.RequestException, HTTPError, OSError, ValueError, crypto.SecretUnreadable) as problem:
        error = redact_text(f"{type(problem).__name__}: {problem}", 300)
        log.warning("webhook delivery %s: %s", delivery.pk, error)
        return Outcome(None, error, _since(started))
    asked = retry_after(headers)
    return Outcome(status, "", _since(started), timedelta(seconds=asked or 0.0))


def _post(delivery: WebhookDelivery, now: datetime) -> tuple[int, Any]:
    endpoint = delivery.endpoint
    body = json.dumps(delivery.body, separators=(",", ":")).encode()
    signed = standard_webhooks.sign(
        body, id=delivery.event_id, at=int(now.timestamp()), secrets=_secrets(endpoint, now)
    )
    headers = {**sockets.HEADERS, "Content-Type": "application/json", **signed}
    origin = sockets.origin_of(endpoint.url)
    path = endpoint.url[len(origin) :] or "/"  # as it was given: a slash at its end is part of it
    prepared = sockets.prepared("POST", origin, path, headers=headers, body=body)
    left = min(TIMEOUT_SECONDS, settings.CALL_SECONDS)
    public_only = not is_sandbox(endpoint.url, Environment.SANDBOX)
    with sockets.call(time.monotonic() + left, public_only=public_only):
        # Negative: no connection has such a number.
        adapter = sockets.adapter(-endpoint.pk)
        with adapter.send(prepared, stream=True, timeout=(left / 2, left)) as response:
            response.raw.read(MOST_ANSWER_BYTES)
            return response.status_code, response.headers


def _secrets(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The endpoint's secret; for a day after it was changed the former one too."""
    former = endpoint.former_secret if endpoint.former_until and endpoint.former_until > now else ""
    return [crypto.decrypt(each) for each in (endpoint.secret, former) if each]


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _delete_old() -> None:
    """What was delivered, or failed for good, is a log for people: kept for a month."""
    ended = (DeliveryState.DELIVERED, DeliveryState.FAILED)
    old = WebhookDelivery.objects.filter(created_at__lt=clock.now() - RETENTION)
    batch = old.filter(Q(state__in=ended) | Q(endpoint__removed_at__isnull=False)).values_list("pk", flat=True)[
        :AT_ONCE
    ]
    if pks := list(batch):
        WebhookDelivery.objects.filter(pk__in=pks).delete()
