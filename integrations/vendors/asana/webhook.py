"""Asana's webhooks: that a task was changed. What it is now, Asana is asked.

Sources: developers.asana.com/docs/webhooks-guide (the handshake: a POST with ``X-Hook-Secret``, which is answered with the same
header while our own request for the webhook is under way; ``X-Hook-Signature``: HMAC-SHA256 of the raw body in hexadecimal, with
that secret; ``events`` is empty in a heartbeat; 24 hours without an answer delete a webhook; those of teams and workspaces tell
nothing of tasks); developers.asana.com/reference/events (an event is compact, and has no id). Each task that is awaited has a
webhook of its own (``watch``), and each webhook its own secret.

Anybody could send a handshake. Ours names the task in its address, and carries a token for that task alone, made from the
connection's webhook secret: without it nothing is answered, and no secret is kept.
"""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest

from integrations.connectors.base import moment
from integrations.connectors.options import WEBHOOK_SECRET, Secret
from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, Malformed, NotVerified, ReceivedEvent, Response, Webhook
from integrations.inbound.events import Event, WorkChanged
from integrations.models import InboundEvent

SECRET, SIGNATURE = "X-Hook-Secret", "X-Hook-Signature"
CHANGED, DELETED = "task.changed", "task.deleted"
LONGEST_SECRET, LONGEST_GID = 255, 24
FILTERS = [
    {"resource_type": "task", "action": "changed", "fields": ["completed"]},
    {"resource_type": "task", "action": "deleted"},
]
TEXT = Secret(
    name=WEBHOOK_SECRET,
    label="Text for webhooks' addresses",
    help="A long random text of yours: tasks that are awaited are then told of by webhook. Without one, they are polled.",
    required=False,
)


class AsanaWebhook(Webhook):
    events = {CHANGED: (WorkChanged,), DELETED: (WorkChanged,)}

    def signed_with(self, request: HttpRequest) -> str:
        gid = _task(request)
        return secret_name(gid) if gid else ""

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:  # noqa: ARG002
        gid = _task(request)
        given = request.GET.get("token", "").encode("utf-8", "replace")
        # Every secret is tried, so that the time taken does not tell which one matched.
        if not gid or not any([hmac.compare_digest(given, token(secret, gid).encode()) for secret in secrets]):  # noqa: C419
            raise NotVerified("The webhook's address has no token for its task, or another one.")
        if chosen := request.headers.get(SECRET, ""):
            if len(chosen) > LONGEST_SECRET or not chosen.isprintable():
                raise NotVerified(f"The {SECRET} header is malformed.")
            return Delivery(chosen={secret_name(gid): chosen}, response=Response(headers={SECRET: chosen}))
        _verify(raw, request.headers.get(SIGNATURE, ""), secrets)
        listed = parse_object(raw).get("events", [])
        if not isinstance(listed, list):
            raise Malformed("The body has no list of events.")
        return Delivery([event for each in listed if (event := _received(each, gid))])

    def read(self, stored: InboundEvent) -> Event:
        return WorkChanged(object_id=str(parse_object(stored.raw.encode())["task"]))


def address(slug: str, secret: str, gid: str) -> str:
    """Where Asana is to send what it tells of this task."""
    return f"{settings.PUBLIC_URL}/webhooks/{slug}/?{urlencode({'task': gid, 'token': token(secret, gid)})}"


def token(secret: str, gid: str) -> str:
    return hmac.new(secret.encode(), f"asana-task:{gid}".encode(), hashlib.sha256).hexdigest()


def secret_name(gid: str) -> str:
    return f"hook:{gid}"


def _task(request: HttpRequest) -> str:
    gid = request.GET.get("task", "")
    return gid if gid.isascii() and gid.isdecimal() and len(gid) <= LONGEST_GID else ""


def _verify(raw: bytes, signature: str, secrets: list[str]) -> None:
    given = signature.strip().encode("utf-8", "replace")
    wanted = [hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if not any([hmac.compare_digest(each, given) for each in wanted]):  # noqa: C419
        raise NotVerified(f"{SIGNATURE} is missing, or does not match this body.")


def _received(item: Any, gid: str) -> ReceivedEvent | None:
    """Of a webhook that is a task's: what is told of its comments and sub-tasks says nothing of it."""
    about = item.get("resource") if isinstance(item, dict) else None
    if not isinstance(about, dict) or about.get("resource_type") != "task" or str(about.get("gid")) != gid:
        return None
    kind = f"task.{item.get('action')}"
    if kind not in AsanaWebhook.events:
        return None
    identity = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()
    at = moment(str(item.get("created_at") or ""))
    return ReceivedEvent(f"{gid}:{identity}", kind, json.dumps({"task": gid}), occurred_at=at)
