"""Calendly's webhooks as it sends them, signed as it signs them: for tests.

The payload follows https://developer.calendly.com/api-docs/calendly-api/webhooks/get-sample-webhook-data.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
API = "https://api.calendly.com"


def sign(raw: bytes, secret: str, *, at: int) -> str:
    """The ``Calendly-Webhook-Signature`` of ``raw`` at Unix time ``at``."""
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + raw, hashlib.sha256).hexdigest()}"


def encode(event: Json) -> bytes:
    return json.dumps(event).encode()


def new_uri() -> str:
    return f"{API}/scheduled_events/{secrets.token_hex(8).upper()}/invitees/{secrets.token_hex(8).upper()}"


@dataclass
class Booking:
    """What a customer books by a link, and the events that tell of it."""

    link: str
    """With its UTM parameters."""
    made: int
    """Unix time."""
    in_days: int = 7
    old: str = ""
    """The invitee that was moved here."""
    uri: str = field(default_factory=new_uri)

    def created(self, **changes: Any) -> Json:
        return self._event("invitee.created", {"status": "active", **changes})

    def cancelled(self, **changes: Any) -> Json:
        told = {"canceled_by": "Jordan Lee", "reason": "ill", "canceler_type": "invitee"}
        return self._event("invitee.canceled", {"status": "canceled", "cancellation": told, **changes})

    def moved(self, *, days: int, carried: bool = True) -> tuple[Booking, list[Json]]:
        """To another date: the new booking, and both events. ``carried``: whether the UTM parameters go along."""
        link = self.link if carried else self.link.partition("?")[0]
        new = Booking(link, self.made + 60, self.in_days + days, old=self.uri)
        return new, [new.created(), self.cancelled(rescheduled=True, new_invitee=new.uri)]

    def _event(self, type_: str, told: Json) -> Json:
        start = datetime.fromtimestamp(self.made, UTC) + timedelta(days=self.in_days)
        names = ("utm_campaign", "utm_source", "utm_medium", "utm_content", "utm_term", "salesforce_uuid")
        given = dict(parse_qsl(urlsplit(self.link).query))
        invitee: Json = {
            "uri": self.uri,
            "email": "jordan@acme-logistics.com",
            "name": "Jordan Lee",
            "first_name": None,
            "last_name": None,
            "timezone": "Europe/Berlin",
            "event": self.uri.partition("/invitees/")[0],
            "rescheduled": False,
            "old_invitee": self.old or None,
            "new_invitee": None,
            "questions_and_answers": [],
            "tracking": {name: given.get(name) for name in names},
            "scheduled_event": {
                "uri": self.uri.partition("/invitees/")[0],
                "name": "Kickoff",
                "status": "active",
                "start_time": start.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "end_time": (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "event_type": f"{API}/event_types/KICKOFF00000001",
                "location": {"type": "zoom", "join_url": "https://zoom.us/j/1"},
            },
        }
        created_at = datetime.fromtimestamp(self.made, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "event": type_,
            "created_at": created_at,
            "created_by": f"{API}/users/SANDBOX00000001",
            "payload": {**invitee, **told},
        }
