"""Ids of people at vendors: whether a system knows somebody is asked when the id is entered, and by ``manage.py doctor``."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from django.conf import settings

from integrations.connections.services import default_connection
from integrations.connectors.registry import PROVIDERS, connector
from integrations.enums import System
from integrations.errors import DeadlinePassed, ProviderError


class Standing(Enum):
    KNOWN = "known"
    UNKNOWN = "unknown"
    UNCHECKED = "unchecked"
    """No connection of that system tells, or it does not answer now."""


@dataclass(frozen=True)
class PersonCheck:
    standing: Standing
    message: str
    """Plain words."""
    name: str = ""
    """At the vendor, where known."""


def check_person(system: System, external_id: str) -> PersonCheck:
    """Asks the vendor through which we write to ``system``. Within ``CALL_SECONDS``; never in a database transaction."""
    connection = default_connection(system)
    info = PROVIDERS.get(connection.provider) if connection else None
    if connection is None or info is None or info.connector is None or not info.connector.knows_people:
        return PersonCheck(Standing.UNCHECKED, f"No connected {system.label} system tells who {external_id} is.")
    try:
        made = connector(connection, subject="person", deadline=time.monotonic() + settings.CALL_SECONDS)
        name = made.person(external_id)
    except (ProviderError, DeadlinePassed) as error:
        reason = str(error) or "it answers too slowly"
        return PersonCheck(Standing.UNCHECKED, f"{connection.slug} could not be asked who {external_id} is: {reason}.")
    if name is None:
        return PersonCheck(Standing.UNKNOWN, f"{connection.slug} knows no active user {external_id}.")
    return PersonCheck(Standing.KNOWN, f"{external_id} is {name} at {connection.slug}.", name)


Listed = tuple[str, System, str]
"""(where it stands, such as "Implementation owner Kim", the system, the id there)"""
_TABLES: list[Callable[[], Iterator[Listed]]] = []


def lists_people(table: Callable[[], Iterator[Listed]]) -> Callable[[], Iterator[Listed]]:
    """Decorator of a function that yields the people that a table names; the doctor asks for each of them."""
    _TABLES.append(table)
    return table


def check_everybody() -> Iterator[tuple[str, PersonCheck]]:
    """(where it stands, what the vendor says) of every listed person."""
    for table in _TABLES:
        for where, system, external_id in table():
            yield where, check_person(system, external_id)
