"""Zendesk's tickets, as far as the first, internal one of an onboarding goes.

Sources: developer.zendesk.com/api-reference/ticketing: introduction ("Idempotency": a key is kept for two hours; a repeated
create says ``X-Idempotency-Lookup: hit``), tickets/tickets (an external id need not be unique, "List Tickets" takes it;
``organization_id`` is one of the requester's), tickets/ticket_comments and
support.zendesk.com/hc/en-us/articles/4408832845722 (a ticket whose first comment is private is seen by agents alone).
"""

import hashlib
import json
from typing import Any

from integrations.connectors.objects import SupportTicket

IDEMPOTENCY_HEADER = "Idempotency-Key"
LOOKUP_HEADER = "X-Idempotency-Lookup"
KEY_SECONDS = 2 * 3600.0
CLOSED = "closed"
"""A ticket that is closed is never changed again; one that is solved may be."""


def new_ticket(wanted: SupportTicket, organization_id: str | int, reference: str) -> dict[str, Any]:
    """The body of a create: the requester is the customer's user, whom nobody writes to, as the only comment is private."""
    given: dict[str, Any] = {
        "subject": wanted.subject,
        "comment": {"body": wanted.body or wanted.subject, "public": False},
        "external_id": reference,
        "tags": _tags(wanted.tags),
    }
    if wanted.requester:
        given["requester"] = {"name": wanted.requester_name or wanted.requester, "email": wanted.requester}
        given["organization_id"] = organization_id
    return {"ticket": given}


def idempotency_key(body: dict[str, Any], after: str = "") -> str:
    """64 characters, the same for the same create. ``after``: id of a ticket that the key answered with and that is gone."""
    return hashlib.sha256(f"{json.dumps(body, sort_keys=True)} {after}".encode()).hexdigest()


def _tags(given: list[str] | None) -> list[str]:
    return [each.lower() for each in given or ()]
