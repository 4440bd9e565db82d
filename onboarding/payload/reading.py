"""From parsed JSON to what the intake takes: the payload's content, or what is wrong with it, by dotted path."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from onboarding.payload.gate import Problem
from onboarding.payload.schema import OnboardingPayload

SOURCE = "event_source"


class Unreadable(ValueError):
    """The shape or a type is wrong. ``problems`` name fields and rules, never the values that were sent."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.path or 'payload'}: {problem.reason}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Event:
    """``content`` and ``occurred_at`` as ``intake.service.accept`` takes them."""

    content: dict[str, Any]
    occurred_at: datetime | None


def read(data: dict[str, Any]) -> Event:
    """The canonical payload in ``data``. Raises ``Unreadable``."""
    try:
        payload = OnboardingPayload.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Unreadable(
            [Problem(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in found]
        ) from None
    content = payload.content()
    if SOURCE not in content:  # nothing but blanks
        raise Unreadable([Problem(SOURCE, "must be a text of 1 to 64 characters")])
    return Event(content, payload.occurred_at)
