"""Jira's webhooks: that an issue was changed. What it is now, Jira is asked.

Sources: developer.atlassian.com/cloud/jira/platform/webhooks ("Secure admin webhooks": those that an administrator registers with a
secret are signed, ``X-Hub-Signature: sha256=`` and HMAC-SHA256 of the raw body in hexadecimal, by the WebSub form; those of apps
are not; an event's body; retries); github.com/MrRefactoring/jira.js, src/webhooks/headers.ts (``X-Atlassian-Webhook-Identifier`` is
the same in every retry of one delivery).

A signature has no time in it: a delivery that is sent again by somebody else is known by its identifier, which is not signed. It
makes us look at a task once more, and no more than that.

A site has many changes: of an update only one of the status, the resolution, or the issue's place is kept.
"""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest

from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import Delivery, Malformed, NotVerified, ReceivedEvent, Webhook
from integrations.inbound.events import Event, WorkChanged
from integrations.models import InboundEvent

SIGNATURE, IDENTIFIER = "X-Hub-Signature", "X-Atlassian-Webhook-Identifier"
UPDATED, DELETED = "jira:issue_updated", "jira:issue_deleted"
_TELLS = frozenset({"status", "resolution", "Key", "project"})
"""Fields by whose change an issue may be done, or gone from where it was. ``Key``: it was moved."""
_METHOD = "sha256="


class JiraWebhook(Webhook):
    events = {UPDATED: (WorkChanged,), DELETED: (WorkChanged,)}

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:  # noqa: ARG002
        verify(raw, request.headers.get(SIGNATURE, ""), secrets)
        body = parse_object(raw)
        kind = body.get("webhookEvent")
        if kind not in self.events or not _tells(body, kind):
            return Delivery()  # answered all the same: what a webhook sends is chosen there
        issue = body.get("issue")
        issue_id = str(issue.get("id") or "") if isinstance(issue, dict) else ""
        if not (issue_id.isascii() and issue_id.isdecimal()):
            raise Malformed("The event names no issue (issue.id).")
        identifier = request.headers.get(IDENTIFIER, "")
        told = json.dumps({"issue": issue_id})
        return Delivery([ReceivedEvent(identifier, kind, told, occurred_at=_moment(body.get("timestamp")))])

    def read(self, stored: InboundEvent) -> Event:
        return WorkChanged(object_id=str(parse_object(stored.raw.encode())["issue"]))


def verify(raw: bytes, signature: str, secrets: list[str]) -> None:
    """Raises ``NotVerified``."""
    given = signature.strip().encode("utf-8", "replace")
    wanted = [(_METHOD + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()).encode() for secret in secrets]
    # Every secret is tried, so that the time taken does not tell which one matched.
    if not any([hmac.compare_digest(each, given) for each in wanted]):  # noqa: C419
        raise NotVerified(f"{SIGNATURE} is missing, or does not match this body: give the webhook a secret.")


def _tells(body: dict[str, Any], kind: str) -> bool:
    """Whether an issue may be done, or gone. An update that does not say what was changed may be anything."""
    changelog = body.get("changelog")
    items = changelog.get("items") if isinstance(changelog, dict) else None
    if kind != UPDATED or not isinstance(items, list):
        return True
    return any(isinstance(each, dict) and _TELLS & {each.get("field"), each.get("fieldId")} for each in items)


def _moment(milliseconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if type(milliseconds) is int else None
    except (OverflowError, OSError, ValueError):
        return None
