"""Start-up checks: business hours that cannot be counted are found before a customer waits."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, register

from exceptions_queue.models import CrmOwner
from exceptions_queue.sla import business_calendar
from integrations.connections.people import Listed, lists_people
from integrations.enums import System


@register
def the_calendar_is_sound(**_: Any) -> list[CheckMessage]:
    try:
        business_calendar.configured()
    except business_calendar.CalendarInvalid as error:
        return [Error(str(error), id="exceptions_queue.E001")]
    return []


@lists_people
def crm_owners() -> Iterator[Listed]:
    """For ``manage.py doctor``."""
    for owner in CrmOwner.objects.select_related("user"):
        yield f"CRM owner {owner.user}", System.CRM, owner.crm_owner_id
