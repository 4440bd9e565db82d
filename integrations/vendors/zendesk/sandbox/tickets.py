"""Who may ask for what in a ticket (developer.zendesk.com/api-reference/ticketing/tickets/tickets)."""

from __future__ import annotations

from collections.abc import Callable

from integrations.sandbox.dialect import Call
from integrations.sandbox.store import Json, Row

ME: Json = {"id": 1, "name": "Firstvalue", "email": "firstvalue@sandbox.example", "role": "admin", "active": True}


def requester_of(call: Call, given: Json, holders: Callable[[object], list[Row]]) -> tuple[Row | None, str]:
    """The user who asks, and what is wrong with them: nobody may ask who is suspended or gone."""
    requester, asked = str(given.get("requester_id") or ""), given.get("requester")
    found = call.tx.get("zendesk", "users", requester) if requester else None
    if isinstance(asked, dict) and asked.get("email"):
        found = next(iter(holders(asked["email"])), None)
        if found is None and not asked.get("name"):
            return None, "Name: is too short (minimum is 1 characters)"  # a new user is made for them
    if requester and requester != str(ME["id"]) and found is None:
        return None, "is invalid"
    if found is not None and found.body.get("suspended"):
        return found, f"{found.body.get('name')} is suspended."
    return found, ""


def organization_problem(given: Json, requester: Row | None) -> str:
    """``organization_id`` may only be an organization of the requester's."""
    wanted = given.get("organization_id")
    held = requester.body.get("organization_id") if requester is not None else None
    return "is not an organization of the requester" if wanted and str(wanted) != str(held or "") else ""


def opened(given: Json, requester: Row | None) -> Json:
    """As it is stored: its requester by id, their organization, and whether anybody but agents may see it."""
    first = given.get("comment")
    made = {name: value for name, value in given.items() if name != "requester"}
    made["is_public"] = not (isinstance(first, dict) and first.get("public") is False)
    if requester is not None:
        made |= {"requester_id": int(requester.id), "organization_id": requester.body.get("organization_id")}
    return {"status": "new", **made}


def text_of(comment: object) -> str:
    """What a comment says; its body may be given as HTML instead."""
    given = comment if isinstance(comment, dict) else {}
    return str(given.get("body") or given.get("html_body") or "")
