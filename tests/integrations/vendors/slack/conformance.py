"""Slack's messages, for the conformance suite."""

from integrations.connectors.objects import ChatMessage
from integrations.errors import Kind
from tests.integrations.vendors.conformance import Bench, Case

SAID_BY_THE_BODY = dict.fromkeys((400, 401, 403, 404, 409, 422), 200)
"""Slack refuses with 200 and ``ok: false``."""


def message(_: Bench, name: str) -> ChatMessage:
    lines = ["Cause: a field is missing.", "Owned by: Sales operations"]
    return ChatMessage(
        title=f"At risk: {name}", lines=lines, link="https://firstvalue.example/tickets/1", link_label="Ticket 1"
    )


CASES = [
    Case(
        "slack", "message", "messages", message, lambda *_: (),
        error_kinds={404: Kind.NOT_CONFIGURED, 409: Kind.INVALID},
        answered_as=SAID_BY_THE_BODY,
    )
]  # fmt: skip
