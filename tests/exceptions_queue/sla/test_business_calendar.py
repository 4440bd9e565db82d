"""Business time, and the file that says what it is."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exceptions_queue import checks
from exceptions_queue.sla.business_calendar import WEEKDAYS, Calendar, CalendarInvalid, configured, load, parse

OFFICE = {name: ["09:00-17:00"] for name in WEEKDAYS[:5]}
BERLIN = "Europe/Berlin"


def calendar(zone: str = "UTC", hours: dict[str, list[str]] = OFFICE, *holidays: str) -> Calendar:
    return parse({"zone": zone, "hours": hours, "holidays": [date.fromisoformat(day) for day in holidays]})


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


# --- Golden cases (2026-11-27 is a Friday) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "minutes", "end"),
    [
        ("2026-11-27 16:30", 60, "2026-11-30 09:30"),  # over the weekend
        ("2026-11-27 16:30", 30, "2026-11-27 17:00"),  # ends with the day, not on Monday
        ("2026-11-27 16:30", 0, "2026-11-27 16:30"),
        ("2026-11-25 05:00", 60, "2026-11-25 10:00"),  # before the hours
        ("2026-11-25 17:00", 60, "2026-11-26 10:00"),  # at closing time
        ("2026-11-28 11:11", 480, "2026-11-30 17:00"),  # on a Saturday
        ("2026-11-23 11:00", 480, "2026-11-24 11:00"),  # one business day
        ("2026-11-23 09:00", 5 * 480 + 1, "2026-11-30 09:01"),
        ("2026-12-31 16:00", 120, "2027-01-01 10:00"),
    ],
)
def test_office_hours(start: str, minutes: int, end: str) -> None:
    assert calendar().add_business(at(start), minutes) == at(end)


def test_a_holiday_in_the_middle() -> None:
    closed = calendar("UTC", OFFICE, "2026-11-24", "2026-11-28")
    assert closed.add_business(at("2026-11-23 16:00"), 120) == at("2026-11-25 10:00")
    assert closed.add_business(at("2026-11-24 12:00"), 30) == at("2026-11-25 09:30")
    assert closed.business_between(at("2026-11-23 00:00"), at("2026-11-30 00:00")) == 4 * 480


def test_a_lunch_break() -> None:
    hours = {"monday": ["09:00-12:30", "13:30-17:00"], "tuesday": ["09:00-12:30"]}
    lunch = calendar("UTC", hours)
    assert lunch.add_business(at("2026-11-23 12:00"), 60) == at("2026-11-23 14:00")
    assert lunch.add_business(at("2026-11-23 13:00"), 30) == at("2026-11-23 14:00")
    assert lunch.add_business(at("2026-11-23 16:30"), 90) == at("2026-11-24 10:00")
    assert lunch.business_between(at("2026-11-23 12:15"), at("2026-11-23 13:45")) == 30


@pytest.mark.parametrize(
    ("friday", "monday", "utc"),
    [
        ("2026-10-23 16:30", "2026-10-26 09:30", "2026-10-26 08:30"),  # summer time ends
        ("2027-03-26 16:30", "2027-03-29 09:30", "2027-03-29 07:30"),  # summer time begins
    ],
)
def test_a_weekend_with_a_time_change(friday: str, monday: str, utc: str) -> None:
    end = calendar(BERLIN).add_business(at(friday, BERLIN), 60)
    assert (end, end) == (at(monday, BERLIN).astimezone(UTC), at(utc))


@pytest.mark.parametrize(
    ("hours", "spring", "autumn"),
    [
        ("00:00-24:00", 23 * 60, 25 * 60),
        ("01:30-02:30", 30, 60),  # in spring 02:30 is skipped, in autumn it closes at the first 02:30
        ("02:15-02:45", 0, 30),
        ("02:30-04:00", 60, 150),
        ("03:00-04:00", 60, 60),
    ],
)
def test_a_shift_over_a_time_change_counts_what_really_passes(hours: str, spring: float, autumn: float) -> None:
    sundays = calendar(BERLIN, {"sunday": [hours]})
    for day, expected in (("2027-03-28", spring), ("2026-10-25", autumn)):
        midnight = at(f"{day} 00:00", BERLIN)
        assert sundays.business_between(midnight, midnight.astimezone(UTC) + timedelta(hours=30)) == expected


def test_a_day_that_a_zone_left_out_has_no_hours() -> None:
    """Samoa went from 29 to 31 December 2011."""
    samoa = calendar("Pacific/Apia", {name: ["09:00-17:00"] for name in WEEKDAYS})
    ends = [at(f"{day} 00:00", "Pacific/Apia").astimezone(UTC) for day in ("2011-12-28", "2012-01-02")]
    assert samoa.business_between(*ends) == 4 * 480


def test_backwards_is_negative() -> None:
    assert calendar().business_between(at("2026-11-24 10:00"), at("2026-11-23 16:00")) == -120
    with pytest.raises(ValueError, match="forwards"):
        calendar().add_business(at("2026-11-24 10:00"), -1)


# --- Properties -------------------------------------------------------------------------------------------------------

marks = st.lists(st.integers(0, 24 * 60), max_size=6, unique=True).map(sorted)
days = marks.map(lambda found: tuple(zip(found[::2], found[1::2], strict=False)))
zones = st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana"])
holidays = st.frozensets(st.dates(date(2026, 1, 1), date(2027, 12, 31)), max_size=10)
starts = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
gaps = st.timedeltas(timedelta(0), timedelta(days=30))
calendars = st.builds(Calendar, zones, st.tuples(*[days] * 7).filter(any), holidays)


@given(calendars, starts, st.integers(0, 5000))
def test_what_is_added_lies_between(some: Calendar, start: datetime, minutes: int) -> None:
    assert some.business_between(start, some.add_business(start, minutes)) == minutes


@given(calendars, starts, st.integers(1, 2000), st.integers(1, 2000))
def test_adding_twice_is_adding_the_sum(some: Calendar, start: datetime, first: int, second: int) -> None:
    assert some.add_business(some.add_business(start, first), second) == some.add_business(start, first + second)


@given(calendars, starts, gaps, gaps)
def test_parts_add_up_and_never_exceed_what_passes(
    some: Calendar, first: datetime, gap: timedelta, next_gap: timedelta
) -> None:
    second, third = first + gap, first + gap + next_gap
    whole = some.business_between(first, third)
    assert some.business_between(first, second) + some.business_between(second, third) == pytest.approx(whole)
    assert 0 <= whole <= (third - first) / timedelta(minutes=1)


# --- The file ---------------------------------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    path = folder / "calendar.toml"
    path.write_text(text)
    return path


def test_the_built_in_one_is_office_hours_in_utc(settings: Any) -> None:
    settings.CONFIG_DIR = None
    assert configured() == calendar()


def test_a_companys_own_one_wins_whole(tmp_path: Path, settings: Any) -> None:
    settings.CONFIG_DIR = tmp_path
    write(tmp_path, 'zone = "Europe/Berlin"\nholidays = [2026-12-25]\n[hours]\nsaturday = ["10:00-14:00"]\n')
    assert configured() == calendar(BERLIN, {"saturday": ["10:00-14:00"]}, "2026-12-25")
    assert checks.the_calendar_is_sound() == []


def test_the_digest_tells_calendars_apart() -> None:
    lunch = {**OFFICE, "friday": ["09:00-12:00", "13:00-17:00"]}
    different = [calendar(), calendar(BERLIN), calendar("UTC", lunch), calendar("UTC", OFFICE, "2026-12-25")]
    assert len({each.digest for each in different}) == len(different)
    same = calendar("UTC", OFFICE, "2027-01-01", "2026-12-25"), calendar("UTC", OFFICE, "2026-12-25", "2027-01-01")
    assert same[0].digest == same[1].digest


HOURS = '[hours]\nmonday = ["09:00-17:00"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HOURS, "zone must be an IANA time zone"),
        (f'zone = "Berlin"\n{HOURS}', "zone must be an IANA time zone"),
        (f'zone = "../UTC"\n{HOURS}', "zone must be an IANA time zone"),
        (f"zone = 1\n{HOURS}", "zone must be an IANA time zone"),
        ('zone = "UTC"\n', "hours must be a table"),
        ('zone = "UTC"\n[hours]\nmonday = []\n', "hours must have at least one interval"),
        ('zone = "UTC"\n[hours]\nmontag = ["09:00-17:00"]\n', "hours.montag is not a weekday"),
        ('zone = "UTC"\n[hours]\nmonday = "09:00-17:00"\n', "hours.monday must be a list"),
        ('zone = "UTC"\n[hours]\nmonday = ["9-17"]\n', "hours.monday: “9-17” must be like"),
        ('zone = "UTC"\n[hours]\nmonday = ["17:00-09:00"]\n', "must end after it begins"),
        ('zone = "UTC"\n[hours]\nmonday = ["09:00-24:01"]\n', "at 24:00 at the latest"),
        ('zone = "UTC"\n[hours]\nmonday = ["09:00-13:00", "12:00-17:00"]\n', "may not overlap"),
        (f'zone = "UTC"\nholidays = ["2026-12-25"]\n{HOURS}', "without quotes"),
        (f'zone = "UTC"\nholidays = 2026-12-25\n{HOURS}', "holidays must be a list"),
        (f'zone = "UTC"\nholiday = [2026-12-25]\n{HOURS}', "holiday is not known"),
        ("zone = UTC\n", "calendar.toml: "),
    ],
)
def test_a_file_that_cannot_be_used_stops_start_up(tmp_path: Path, settings: Any, text: str, words: str) -> None:
    path = write(tmp_path, text)
    settings.CONFIG_DIR = tmp_path
    (error,) = checks.the_calendar_is_sound()
    assert (error.id, error.level) == ("exceptions_queue.E001", 40)
    assert path.name in error.msg
    assert words in error.msg
    with pytest.raises(CalendarInvalid):
        load(path)
