"""Which events start a run and which join one: a connection says so for each type of event that can do either."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from integrations.connectors.options import Option, OptionType
from integrations.inbound.events import Event

STARTS, JOINS = "starts", "joins"
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def starts_or_joins(event: type[Event], *, what: str) -> Option:
    """The option of a connection that says it. ``what``: what has happened, in words for people.

    Raises ``ValueError`` for an event that does neither.
    """
    if event.starts is None:
        raise ValueError(f"{event.__name__} neither starts a run nor joins one")
    return Option(
        name=option_name(event),
        label=f"{what} …",
        help="Whether it starts an onboarding, or waits for the one that another event of the same order starts, and joins it.",
        type=OptionType.CHOICE,
        choices=(STARTS, JOINS),
        default=STARTS if event.starts else JOINS,
    )


def option_name(event: type[Event]) -> str:
    """``DealWon`` -> ``deal_won``."""
    return _WORD.sub("_", event.__name__).lower()


def may_start(event: type[Event], declared: Mapping[str, Option], stored: Mapping[str, Any]) -> bool:
    """Whether it starts a run on a connection with these options."""
    option = declared.get(option_name(event))
    return option.effective(stored.get(option.name)) == STARTS if option else bool(event.starts)


def starting_events(
    events: Iterator[type[Event]], declared: Mapping[str, Option], stored: Mapping[str, Any]
) -> list[type[Event]]:
    """Those of them that start a run on a connection with these options, each once."""
    able = dict.fromkeys(event for event in events if event.starts is not None)
    return [event for event in able if may_start(event, declared, stored)]
