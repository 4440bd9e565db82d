"""Alerts in chat: one message a chat connection, at most once.

The row is claimed before anything is sent. What was surely not posted is tried again; where that cannot be told (no answer, a
failure
after the message was taken, a sender that was lost) it is not: the mail and the queue say the same.
"""

import time
from datetime import timedelta

from django.conf import settings

from exceptions_queue.models import Alert
from exceptions_queue.notifications.texts import text_of
from integrations.connections.services import record_auth_failure
from integrations.connectors.objects import ChatMessage
from integrations.connectors.registry import connector
from integrations.enums import System
from integrations.errors import Kind, ProviderError
from integrations.models import Connection

_PERSON_NEEDED = (Kind.AUTH, Kind.FORBIDDEN, Kind.NOT_CONFIGURED)
"""A person must fix the connection: it stops, with a ticket."""


class Indeterminate(Exception):
    """It may have been posted."""


def slugs() -> list[str]:
    """Of the connections that alerts are posted through."""
    return list(Connection.objects.filter(system=System.CHAT, enabled=True).values_list("slug", flat=True))


def is_stopped(slug: str) -> bool:
    """Until somebody fixes the connection nothing is sent through it."""
    connection = Connection.objects.filter(slug=slug).first()
    return connection is not None and connection.is_stopped


def post(alert: Alert, *, perhaps_again: bool) -> None:
    """Raises ``Indeterminate``; ``ProviderError`` or ``DeadlinePassed`` where nothing was posted."""
    if perhaps_again:
        raise Indeterminate("Sending it was interrupted: it may have been posted.")
    connection = Connection.objects.filter(slug=alert.recipient, enabled=True).first()
    if connection is None:
        raise ProviderError(Kind.NOT_CONFIGURED, f"There is no connection {alert.recipient} any more", ours=True)
    text = text_of(alert)
    label = f"Ticket {alert.ticket.pk}" if alert.ticket else "Open the console"
    message = ChatMessage(title=text.subject, lines=[text.first, *text.facts], link=text.url, link_label=label)
    try:
        made = connector(connection, subject=f"alert:{alert.pk}", deadline=time.monotonic() + settings.CALL_SECONDS)
        made.create(message, f"alert:{alert.pk}")
    except ProviderError as error:
        if error.effect_possible:
            raise Indeterminate(str(error)) from error
        if error.kind in _PERSON_NEEDED:
            record_auth_failure(
                connection.pk,
                credentials_version=connection.credentials_version,
                status=error.http_status,
                reason=str(error),
            )
        raise


def wait_of(error: Exception) -> timedelta:
    """As long as the vendor asks for."""
    return timedelta(seconds=(error.retry_after or 0.0) if isinstance(error, ProviderError) else 0.0)
