"""Calendly's webhooks: a booking is made, moved or called off.

Sources: https://developer.calendly.com/api-docs/overview/webhooks/webhook-signatures (``t`` and ``v1``, HMAC-SHA256 in hexadecimal
over ``{t}.{body}``);
https://developer.calendly.com/docs/api-guides/see-how-webhook-payloads-change-when-invitees-reschedule-events (a move is two
events: the old invitee is ``canceled`` with ``rescheduled``, the new one names ``old_invitee``);
https://developer.calendly.com/docs/webhooks/overview (a 410 deletes the subscription: what is not ours is taken, and ignored).
A delivery has no id: an event is known by its type and its invitee.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from pydantic import AwareDatetime, ValidationError

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import moment
from integrations.http.strict_json import parse_object, without_nul
from integrations.inbound.delivery import (
    Delivery,
    Malformed,
    NotVerified,
    ReceivedEvent,
    UnexpectedShape,
    Webhook,
    problems_in,
)
from integrations.inbound.events import (
    OUR_ID,
    Event,
    Ignored,
    Key,
    KickoffCancelled,
    KickoffScheduled,
    Role,
    kind_of,
)
from integrations.models import InboundEvent

TOLERANCE_SECONDS = 300
MOST_DIGITS = 12
HEADER = "Calendly-Webhook-Signature"
SOURCE = "firstvalue"
"""``utm_source`` of the links that we make; their ``utm_content`` names the run."""
BOOKING = kind_of("calendly", Role.BOOKING)
CREATED, CANCELED = "invitee.created", "invitee.canceled"


class Tracking(VendorAnswer):
    utm_source: str = ""
    utm_content: str = ""


class ScheduledEvent(VendorAnswer):
    start_time: AwareDatetime


class Invitee(VendorAnswer):
    uri: str
    rescheduled: bool = False
    old_invitee: str = ""
    tracking: Tracking = Tracking()
    scheduled_event: ScheduledEvent | None = None


class Envelope(VendorAnswer):
    event: str
    payload: Invitee


class CalendlyWebhook(Webhook):
    events = {CREATED: (KickoffScheduled,), CANCELED: (KickoffCancelled,)}

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        verify(raw, request.headers.get(HEADER, ""), secrets, now)
        body = parse_object(raw)
        type_, created_at = body.get("event", ""), body.get("created_at")
        at = moment(created_at if isinstance(created_at, str) else None)
        return Delivery([ReceivedEvent(f"{type_}:{_subject(body, created_at)}", type_, raw.decode(), at)])

    def read(self, stored: InboundEvent) -> Event:
        if stored.type not in self.events:
            return Ignored(reason="This type of event says nothing of a kickoff.")
        try:
            invitee = Envelope.model_validate(without_nul(parse_object(stored.raw.encode()))).payload
        except ValidationError as error:
            what = f"{stored.type} is not as Calendly documents it"
            raise UnexpectedShape(f"{what} ({problems_in(error)}).") from None
        keys = _run_keys(invitee.tracking)
        if stored.type == CANCELED:
            return _cancelled(invitee, keys)
        if invitee.scheduled_event is None:
            raise UnexpectedShape(f"{stored.type} does not say when it is.")
        replaces = Key(BOOKING, invitee.old_invitee) if invitee.old_invitee else None
        if not keys and replaces is None:
            return Ignored(reason="A booking by another link than ours.")
        return KickoffScheduled(
            booking=Key(BOOKING, invitee.uri),
            replaces=replaces,
            keys=keys,
            starts_at=invitee.scheduled_event.start_time,
        )


def verify(raw: bytes, header: str, secrets: list[str], now: datetime) -> None:
    """Raises ``NotVerified``: also where the subscription was made without a signing key, and signs nothing."""
    pairs = [part.strip().split("=", 1) for part in header.split(",") if "=" in part]
    at = next((value for name, value in pairs if name == "t"), "")
    signatures = [value.encode("utf-8", "surrogateescape") for name, value in pairs if name == "v1"]
    if not signatures or not (at.isascii() and at.isdecimal() and len(at) <= MOST_DIGITS):
        raise NotVerified(f"The {HEADER} header is missing or malformed.")
    expected = [hmac.new(secret.encode(), f"{at}.".encode() + raw, hashlib.sha256).hexdigest() for secret in secrets]
    # Every pair is compared, so that the time taken does not tell which one matched.
    if not any([hmac.compare_digest(one.encode(), each) for one in expected for each in signatures]):  # noqa: C419
        raise NotVerified(f"No signature in {HEADER} matches this body.")
    if abs(now.timestamp() - int(at)) > TOLERANCE_SECONDS:
        raise NotVerified(f"The signature's time is more than {TOLERANCE_SECONDS} seconds away from now.")


def _subject(body: dict[str, Any], created_at: Any) -> str:
    """What the event is about, by its URI. Of what has none the event's time tells it from others."""
    payload = body.get("payload")
    uri = payload.get("uri") if isinstance(payload, dict) else None
    found = uri or created_at
    if not isinstance(found, str) or not found:
        raise Malformed("The event does not say what it is about.")
    return found


def _run_keys(tracking: Tracking) -> tuple[Key, ...]:
    named = tracking.utm_content.strip() if tracking.utm_source == SOURCE else ""
    return (Key(OUR_ID, named),) if named else ()


def _cancelled(invitee: Invitee, keys: tuple[Key, ...]) -> Event:
    if invitee.rescheduled:
        return Ignored(reason="The booking was moved: the new one says when it is.")
    if not keys and not invitee.old_invitee:
        return Ignored(reason="A booking by another link than ours.")
    return KickoffCancelled(booking=Key(BOOKING, invitee.uri), keys=keys)
