"""Users' addresses and roles (developer.zendesk.com/api-reference/ticketing/users: users, user_identities)."""

from __future__ import annotations

import hashlib
import re

from integrations.sandbox.store import Json, Row, term

_ROLES = ("end-user", "agent", "admin")
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")


def problem(body: Json) -> tuple[str, str, str] | None:
    """(field, Zendesk's error, words) of what is wrong with a user."""
    email = str(body.get("email") or "")
    if email and not _EMAIL.fullmatch(email.strip()):
        return "email", "InvalidFormat", f"{email} is not properly formatted"
    if (role := body.get("role", "end-user")) not in _ROLES:
        return "role", "InvalidValue", f"{role} is not a valid role"
    return None


def identities(row: Row) -> list[Json]:
    """The user's addresses, the primary one first; an address keeps its id."""
    emails = [each for each in (row.body.get("email"), *row.body.get("secondary_emails", [])) if each]
    return [
        {
            "id": int(hashlib.sha256(f"{row.id} {term(email)}".encode()).hexdigest()[:12], 16),
            "user_id": int(row.id),
            "type": "email",
            "value": email,
            "primary": place == 0,
        }
        for place, email in enumerate(emails)
    ]


def with_second_email(held: Json, body: Json) -> Json:
    """An update's address comes beside the primary one, and never in its place."""
    primary, given = held.get("email"), body.get("email")
    if not primary or not given or term(primary) == term(given):
        return body
    second = held.get("secondary_emails", [])
    known = second if any(term(each) == term(given) for each in second) else [*second, given]
    return {**body, "email": primary, "secondary_emails": known}
