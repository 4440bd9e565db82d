"""``POST /webhooks/{connection}/``: verify, store, answer. Nothing is processed while the sender waits."""

import logging
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from integrations import clock, crypto
from integrations.connections import record_unreadable
from integrations.models import Connection, InboundEvent
from integrations.problems import problem
from integrations.signals import inbound_event_received
from integrations.strict_json import BadJson, check_storable
from integrations.webhooks import SECRET, VERIFIERS, NotVerified

MAX_ID, MAX_TYPE = 255, 100
UNREADABLE_RETRY_SECONDS = 300
"""A person must bring the key back, or enter the secret anew."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """The request is answered with this status and reason."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


@csrf_exempt
def receive(request: HttpRequest, connection: str) -> HttpResponse:
    """Store one verified event. 200 for a first and for a repeated delivery; errors are problem+json."""
    try:
        sender = _sender(request, connection)
        raw = _body(request)
        event = _verified(request, sender, raw)
        identity = _text(event, "id", MAX_ID), _text(event, "type", MAX_TYPE)
    except Refused as refusal:
        return problem(refusal.status, refusal.detail, headers=refusal.headers)
    stored = _store(sender, raw, event, *identity)
    return JsonResponse({"status": "accepted" if stored else "duplicate"})


def _sender(request: HttpRequest, slug: str) -> Connection:
    if request.method != "POST":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Webhooks are POSTed.", {"Allow": "POST"})
    sender = Connection.objects.filter(slug=slug, enabled=True).first()
    if sender is None or sender.provider not in VERIFIERS:
        raise Refused(HTTPStatus.NOT_FOUND, "There is no such webhook connection.")
    if request.content_type != "application/json":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.")
    return sender


def _body(request: HttpRequest) -> bytes:
    limit = settings.MAX_BODY_BYTES
    too_large = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes.")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > limit:
        raise too_large
    try:
        raw: bytes = request.read(limit + 1)
    except UnreadablePostError:
        raise Refused(HTTPStatus.BAD_REQUEST, "The body could not be read.") from None
    if len(raw) > limit:
        raise too_large
    return raw


def _verified(request: HttpRequest, sender: Connection, raw: bytes) -> dict[str, Any]:
    secrets, some_are_unreadable = sender.readable_secrets(SECRET)
    try:
        return VERIFIERS[sender.provider](request, raw, secrets, clock.now())
    except NotVerified as failure:
        if some_are_unreadable:  # it may be signed with that one: the sender is to deliver it again
            record_unreadable(sender)
            wait = {"Retry-After": str(UNREADABLE_RETRY_SECONDS)}
            detail = "The event cannot be verified now; deliver it again later."
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, detail, wait) from None
        log.warning("A webhook for %s was refused: %s", sender.slug, failure)
        raise Refused(HTTPStatus.BAD_REQUEST, str(failure)) from None
    except BadJson as failure:
        raise Refused(HTTPStatus.BAD_REQUEST, str(failure)) from None


def _text(event: dict[str, Any], name: str, limit: int) -> str:
    value = event.get(name)
    malformed = Refused(HTTPStatus.BAD_REQUEST, f"The event's “{name}” is missing or malformed.")
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise malformed
    try:
        check_storable(value)
    except BadJson:
        raise malformed from None
    return value


def _store(sender: Connection, raw: bytes, event: dict[str, Any], event_id: str, type_: str) -> bool:
    """Whether it was new. Of two deliveries at once the unique constraint lets one through."""
    known = InboundEvent.objects.filter(connection=sender, external_id=event_id)
    if known.exists():
        return False
    now = clock.now()
    try:
        with transaction.atomic():
            stored = InboundEvent.objects.create(
                connection=sender,
                external_id=event_id,
                type=type_,
                body=crypto.encrypt(raw.decode()),
                occurred_at=_created(event),
                received_at=now,
                due_at=now,
            )
            inbound_event_received.send(InboundEvent, event=stored)
    except IntegrityError:
        if known.exists():
            return False
        raise
    return True


def _created(event: dict[str, Any]) -> datetime | None:
    seconds = event.get("created")
    try:
        return datetime.fromtimestamp(seconds, UTC) if type(seconds) is int else None
    except (OverflowError, OSError, ValueError):
        return None
