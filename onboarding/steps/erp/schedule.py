"""An order's days: how long it runs, when it is billed and when its revenue begins."""

import calendar
import re
from datetime import date, timedelta

from integrations.connectors.objects import OrderSchedule
from onboarding.payload.schema import is_date
from onboarding.steps.base import Facts

_WORDS = {
    "month": 1, "monthly": 1, "quarter": 3, "quarterly": 3, "half-yearly": 6, "semiannual": 6, "semi-annual": 6,
    "year": 12, "yearly": 12, "annual": 12, "annually": 12, "biennial": 24, "triennial": 36,
}  # fmt: skip
_COUNTED = re.compile(r"p?(\d{1,3})[ -]?(y|yr|yrs|year|years|m|mo|mos|month|months)")
_LONGEST = 240


def months_of(term: str) -> int:
    """The length of a term such as ``annual``, ``24 months`` or ``P1Y``; 0 for what names none."""
    text = " ".join(term.casefold().split())
    if text in _WORDS:
        return _WORDS[text]
    found = _COUNTED.fullmatch(text)
    if found is None:
        return 0
    months = int(found[1]) * (12 if found[2].startswith("y") else 1)
    return months if 0 < months <= _LONGEST else 0


def schedule(facts: Facts) -> OrderSchedule | None:
    """It is billed from the day on which it was paid, and its revenue begins with the kickoff where that has a date; both for
    the whole term. None where the term names no length.
    """
    months, term = months_of(facts.get("commercial.term")), facts.get("commercial.term")
    paid = facts.occurred_at[:10]
    if not months or not is_date(paid):
        return None
    kickoff = facts.get("kickoff.start_date")
    starts = kickoff if is_date(kickoff) else paid
    return OrderSchedule(
        term=term,
        billing_start=paid,
        billing_end=last_day(paid, months),
        revenue_start=starts,
        revenue_end=last_day(starts, months),
    )


def last_day(first: str, months: int) -> str:
    """Of so many months from ``first`` on, ISO 8601."""
    begin = date.fromisoformat(first)
    year, month = divmod(begin.month - 1 + months, 12)
    year, month = begin.year + year, month + 1
    length = calendar.monthrange(year, month)[1]
    if begin.day > length:
        return date(year, month, length).isoformat()
    return (date(year, month, begin.day) - timedelta(days=1)).isoformat()


def last_of_days(first: str, days: int) -> str:
    return (date.fromisoformat(first) + timedelta(days=days - 1)).isoformat()
