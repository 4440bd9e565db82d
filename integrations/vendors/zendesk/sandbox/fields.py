"""The fields of each kind of object: which a body may set, which an answer always has, which are never shown."""

from __future__ import annotations

from integrations.sandbox.store import Json
from integrations.vendors.zendesk.sandbox.tickets import ME

#: what a body may set; everything else is passed over without a word, as are keys of another case
WRITABLE = {
    "organizations": frozenset(
        {
            "name", "external_id", "domain_names", "details", "notes", "group_id", "tags", "shared_tickets",
            "shared_comments", "organization_fields",
        }
    ),
    "users": frozenset(
        {
            "name", "email", "external_id", "organization_id", "role", "phone", "details", "notes", "tags", "alias",
            "locale", "time_zone", "suspended", "verified", "user_fields",
        }
    ),
    "organization_fields": frozenset({"key", "title", "type", "description", "active", "custom_field_options"}),
    "tickets": frozenset(
        {
            "subject", "comment", "requester", "requester_id", "submitter_id", "assignee_id", "group_id",
            "organization_id", "external_id", "status", "priority", "type", "tags", "due_at", "custom_fields",
        }
    ),
}  # fmt: skip
USUAL: dict[str, Json] = {
    "organizations": {
        "external_id": None,
        "domain_names": [],
        "details": "",
        "notes": "",
        "tags": [],
        "organization_fields": {},
    },
    "users": {"external_id": None, "organization_id": None, "role": "end-user", "suspended": False, "active": True},
    "organization_fields": {"type": "text", "active": True, "description": ""},
    "tickets": {"external_id": None, "requester_id": ME["id"], "organization_id": None, "status": "new"},
}
#: kept with an object, and no part of what is shown of it
HIDDEN = frozenset({"comment", "secondary_emails", "requester"})
