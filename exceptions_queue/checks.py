"""Start-up checks: business hours that cannot be counted are found before a customer waits."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from exceptions_queue import business_calendar


@register
def the_calendar_is_sound(**_: Any) -> list[CheckMessage]:
    try:
        business_calendar.configured()
    except business_calendar.CalendarInvalid as error:
        return [Error(str(error), id="exceptions_queue.E001")]
    return []
