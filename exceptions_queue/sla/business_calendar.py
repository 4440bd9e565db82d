"""Business time: counted in a calendar's own zone, between its opening hours, without its holidays.

Times of day that a DST change skips stand for the instant of the change; those that it repeats for their first occurrence. What
lies between is counted as it really passes: a shift over the autumn change is an hour longer than the clock on the wall says.
"""

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from integrations import config_files
from integrations.config_files import nearest

BUILT_IN = Path(__file__).resolve().parent.parent / "calendar.toml"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY = timedelta(days=1)
INTERVAL = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", re.ASCII)
MIDNIGHT = 24 * 60
Interval = tuple[int, int]
"""Opening and closing time, in minutes from local midnight; 1440 is the end of the day."""


class CalendarInvalid(Exception):
    """A calendar that cannot be used; the text names the file and the key."""


@dataclass(frozen=True)
class Calendar:
    """``week``: the intervals of Monday to Sunday, in order and not overlapping; at least one in all. Build it with ``parse``."""

    zone: str
    week: tuple[tuple[Interval, ...], ...]
    holidays: frozenset[date] = frozenset()

    @cached_property
    def digest(self) -> str:
        """The same for the same hours, zone and holidays, wherever they were written."""
        content = [self.zone, self.week, sorted(day.isoformat() for day in self.holidays)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def add_business(self, start: datetime, minutes: float) -> datetime:
        """The instant (UTC) at which ``minutes`` of business time have passed since ``start`` (aware).

        What ends with an interval ends at its closing time, not at the next opening. Raises ``ValueError`` for negative minutes.
        """
        if minutes < 0:
            raise ValueError("business time is added forwards only")
        left = timedelta(minutes=minutes)
        if not left:
            return start.astimezone(UTC)
        for opens, closes in self._open_from(start):
            if left <= closes - opens:
                return opens + left
            left -= closes - opens
        raise AssertionError("a calendar goes on for ever")

    def business_between(self, start: datetime, end: datetime) -> float:
        """Minutes of business time from ``start`` to ``end`` (both aware); negative where ``end`` comes first."""
        if end < start:
            return -self.business_between(end, start)
        passed = timedelta(0)
        for opens, closes in self._open_from(start):
            if opens >= end:
                break
            passed += min(closes, end) - opens
        return passed / timedelta(minutes=1)

    def business_day_after(self, start: datetime, days: int) -> datetime:
        """When the calendar opens on the ``days``-th business day after the date of ``start`` (aware). In UTC.

        That date itself is not counted, whatever day it is. Raises ``ValueError`` for less than one day.
        """
        if days < 1:
            raise ValueError("the first business day after a date is number 1")
        day = self._date_of(start)
        while days:
            day += DAY
            days -= bool(self._intervals_on(day))
        return _instant(day, self._intervals_on(day)[0][0], self.zone)

    def business_days_between(self, start: datetime, end: datetime) -> int:
        """How many business days come after the date of ``start``, up to that of ``end`` (both aware); none where it is earlier."""
        day, last, count = self._date_of(start), self._date_of(end), 0
        while day < last:
            day += DAY
            count += bool(self._intervals_on(day))
        return count

    def _date_of(self, instant: datetime) -> date:
        return instant.astimezone(ZoneInfo(self.zone)).date()

    def _intervals_on(self, day: date) -> tuple[Interval, ...]:
        return () if day in self.holidays else self.week[day.weekday()]

    def _open_from(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The open intervals (UTC) from ``start`` on, the first one cut to it."""
        start = start.astimezone(UTC)
        day = self._date_of(start)
        while True:
            for opening, closing in self._intervals_on(day):
                opens, closes = max(_instant(day, opening, self.zone), start), _instant(day, closing, self.zone)
                if opens < closes:
                    yield opens, closes
            day += DAY


def _instant(day: date, minute: int, zone: str) -> datetime:
    """When it is that many minutes past midnight on the wall there (UTC)."""
    wall = (datetime.combine(day, time()) + timedelta(minutes=minute)).replace(tzinfo=ZoneInfo(zone))
    early, late = (wall.replace(fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    instant = wall.astimezone(UTC)
    if late <= early:
        return instant
    # PEP 495: a time that the change skips has the later offset with fold=1; the change lies between the two readings.
    after = wall.replace(fold=1).astimezone(UTC)
    passed = range(int((late - early).total_seconds()) + 1)
    return after + timedelta(
        seconds=bisect_left(
            passed, True, key=lambda s: (after + timedelta(seconds=s)).astimezone(wall.tzinfo).utcoffset() == late
        )
    )


# --- Configuration --------------------------------------------------------------------------------------------------


def configured() -> Calendar:
    """``calendar.toml`` in ``CONFIG_DIR``, else the built-in one. Read once a process. Raises ``CalendarInvalid``."""
    own = Path(settings.CONFIG_DIR) / "calendar.toml" if settings.CONFIG_DIR else None
    return load(own if own and own.is_file() else BUILT_IN)


@lru_cache(maxsize=8)
def load(path: Path) -> Calendar:
    """Raises ``CalendarInvalid``."""
    try:
        return parse(config_files.read(path))
    except config_files.FileInvalid as error:
        raise CalendarInvalid(str(error)) from None
    except CalendarInvalid as error:
        raise CalendarInvalid(f"{path.name}: {error}") from None


def parse(content: dict[str, Any]) -> Calendar:
    """A calendar from what its file says. Raises ``CalendarInvalid`` naming the key."""
    if unknown := sorted(set(content) - {"zone", "hours", "holidays"}):
        raise CalendarInvalid(f"{unknown[0]} is not known here{nearest(unknown[0], ['zone', 'hours', 'holidays'])}")
    return Calendar(_zone(content.get("zone")), _week(content.get("hours")), _holidays(content.get("holidays", [])))


def _zone(name: Any) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, TypeError, AttributeError, OSError):
        raise CalendarInvalid(f'zone must be an IANA time zone such as "Europe/Berlin", not {_shown(name)}') from None


def _week(hours: Any) -> tuple[tuple[Interval, ...], ...]:
    if not isinstance(hours, dict):
        raise CalendarInvalid('hours must be a table such as monday = ["09:00-17:00"]')
    if unknown := sorted(set(hours) - set(WEEKDAYS)):
        raise CalendarInvalid(f"hours.{unknown[0]} is not a weekday{nearest(unknown[0], WEEKDAYS)}")
    week = tuple(_intervals(name, hours.get(name, [])) for name in WEEKDAYS)
    if not any(week):
        raise CalendarInvalid("hours must have at least one interval in the week")
    return week


def _intervals(weekday: str, texts: Any) -> tuple[Interval, ...]:
    if not isinstance(texts, list):
        raise CalendarInvalid(f'hours.{weekday} must be a list such as ["09:00-12:30", "13:30-17:00"]')
    intervals = tuple(_interval(weekday, text) for text in texts)
    for (_, closes), (opens, _) in pairwise(intervals):
        if opens < closes:
            raise CalendarInvalid(f"hours.{weekday}: the intervals must be in order and may not overlap")
    return intervals


def _interval(weekday: str, text: Any) -> Interval:
    found = INTERVAL.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise CalendarInvalid(f'hours.{weekday}: {_shown(text)} must be like "09:00-17:00"')
    first_hour, first_minute, last_hour, last_minute = map(int, found.groups())
    opens, closes = first_hour * 60 + first_minute, last_hour * 60 + last_minute
    if not opens < closes <= MIDNIGHT:
        raise CalendarInvalid(f"hours.{weekday}: {_shown(text)} must end after it begins, at 24:00 at the latest")
    return opens, closes


def _holidays(days: Any) -> frozenset[date]:
    if not isinstance(days, list):
        raise CalendarInvalid("holidays must be a list of dates such as [2026-12-25]")
    for day in days:
        if not isinstance(day, date) or isinstance(day, datetime):
            raise CalendarInvalid(f"holidays: {_shown(day)} must be a date such as 2026-12-25, without quotes")
    return frozenset(days)


def _shown(value: Any) -> str:
    return f"“{value}”" if isinstance(value, str) else "nothing" if value is None else str(value)
