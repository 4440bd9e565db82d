"""Calendly's dialect: event types, single-use links, and bookings that are signed and delivered as webhooks.

Taken from developer.calendly.com: api-docs/calendly-api/scheduling-links/create-scheduling-link, overview/rate-limits,
overview/webhooks/webhook-signatures, docs/webhooks/overview, docs/api-guides/see-how-webhook-payloads-change-when-invitees-
reschedule-events. Objects are addressed by their full URI. The answer to a new link has no id: the link itself is one here.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Call, Dialect, iso, route
from integrations.sandbox.store import Json, Tx

API = "https://api.calendly.com"
EVENT_TYPE = f"{API}/event_types/KICKOFF00000001"
INACTIVE = f"{API}/event_types/INACTIVE0000001"
USER, ORGANIZATION = f"{API}/users/SANDBOX00000001", f"{API}/organizations/SANDBOX00000001"
_RATE_LIMIT = 500
_TITLES = {
    HTTPStatus.UNAUTHORIZED: ("Unauthenticated", "The access token is invalid"),
    HTTPStatus.FORBIDDEN: ("Permission Denied", "You do not have permission to access this resource."),
    HTTPStatus.NOT_FOUND: ("Resource Not Found", "The server could not find the requested resource."),
    HTTPStatus.CONFLICT: ("Already Exists", ""),
    HTTPStatus.TOO_MANY_REQUESTS: ("Too Many Requests", "You have exceeded the rate limit."),
}
_TYPES = (
    {"uri": EVENT_TYPE, "name": "Kickoff", "slug": "kickoff", "active": True},
    {"uri": INACTIVE, "name": "Old kickoff", "slug": "old-kickoff", "active": False},
)


class Calendly(Dialect):
    name = "calendly"
    prefix = "/calendly"
    system = "scheduling"
    base_path = "/calendly"
    options = {"event_type": EVENT_TYPE}
    counted = ("links",)
    id_base = 1
    sends_retry_after = False
    always = frozenset({"resource", "booking_url", "collection", "uri", "name", "active", "slug"})
    choices = frozenset({"kind", "owner_type"})

    def refusal(self, status: int, message: str) -> Answer:
        usual = ("Internal Server Error", "The server encountered an unexpected error.")
        title, text = _TITLES.get(HTTPStatus(status), ("Invalid Argument", message) if status < 500 else usual)  # noqa: PLR2004
        return Answer(status, {"title": title, "message": text or message})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        limit = limit or _RATE_LIMIT
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining if remaining >= 0 else limit - 1),
            "X-RateLimit-Reset": str(max(1, int(seconds or 60))),
        }

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return []  # any number of links may lead to one event type

    def preseed(self, tx: Tx) -> None:
        """A new account has its event types, and no links."""

    @route("GET", "/users/me")
    def me(self, call: Call) -> Answer:  # noqa: ARG002
        shown = {
            "uri": USER,
            "name": "Firstvalue",
            "slug": "firstvalue",
            "email": "firstvalue@sandbox.example",
            "scheduling_url": "https://calendly.com/firstvalue",
            "timezone": "Europe/Berlin",
            "current_organization": ORGANIZATION,
        }
        return Answer(200, {"resource": shown})

    @route("GET", "/event_types")
    def event_types(self, call: Call) -> Answer:
        if call.query.get("user") != USER and call.query.get("organization") != ORGANIZATION:
            raise self.refuse(400, "The supplied parameters are invalid.")
        active = call.query.get("active")
        shown = [each for each in _TYPES if active is None or each["active"] == (active == "true")]
        pagination = {"count": len(shown), "next_page": None, "next_page_token": None, "previous_page_token": None}
        return Answer(200, {"collection": shown, "pagination": pagination})

    @route("POST", "/scheduling_links")
    def make_link(self, call: Call) -> Answer:
        wrong = {
            name: f"must be {wanted}"
            for name, wanted in (("max_event_count", 1), ("owner_type", "EventType"))
            if call.body.get(name) != wanted or isinstance(call.body.get(name), bool)
        }
        if not isinstance(call.body.get("owner"), str):
            wrong["owner"] = "must be a valid URI"
        if wrong:
            details = [{"parameter": name, "message": message} for name, message in wrong.items()]
            message = "The supplied parameters are invalid."
            return Answer(400, {"title": "Invalid Argument", "message": message, "details": details})
        owner = next((each for each in _TYPES if each["uri"] == call.body["owner"]), None)
        if owner is None:
            raise self.refuse(404, "")
        if not owner["active"]:
            raise self.refuse(403, "")
        url = f"https://calendly.com/d/{secrets.token_hex(2)}-{secrets.token_hex(2)}-{secrets.token_hex(2)}/{owner['slug']}"
        link = {"owner": owner["uri"], "owner_type": "EventType"}
        row = self.add(call.tx, "links", {**link, "booking_url": url, "created_at": iso(call.tx.now)}, row_id=url)
        return Answer(201, {"resource": {**link, "booking_url": row.id}})
