"""Start-up checks: business hours that cannot be counted, and mails that cannot be written, are found before a customer waits."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from exceptions_queue.models import CrmOwner
from exceptions_queue.sla import business_calendar
from exceptions_queue.welcome import sequences, texts
from integrations.connections.people import Listed, lists_people
from integrations.enums import System


@register
def the_calendar_is_sound(**_: Any) -> list[CheckMessage]:
    try:
        business_calendar.configured()
    except business_calendar.CalendarInvalid as error:
        return [Error(str(error), id="exceptions_queue.E001")]
    return []


@register
def welcome_mails_can_be_written(**_: Any) -> list[CheckMessage]:
    """Sequences and their texts: what is wrong with them would only show once a customer is to be written to."""
    try:
        known = list(sequences.sequences().values())
    except sequences.SequenceError as error:
        return [Error(message, id="exceptions_queue.E002") for message in error.each]
    found: list[CheckMessage] = [Error(message, id="exceptions_queue.E003") for message in texts.problems(known)]
    hint = "Name it as a mail's template, or remove it."
    return found + [Warning(message, hint=hint, id="exceptions_queue.W001") for message in texts.unused(known)]


@lists_people
def crm_owners() -> Iterator[Listed]:
    """For ``manage.py doctor``."""
    for owner in CrmOwner.objects.select_related("user"):
        yield f"CRM owner {owner.user}", System.CRM, owner.crm_owner_id
