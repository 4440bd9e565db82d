"""``manage.py doctor``: tries every enabled connection, says what it can do, asks for the people who are listed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.connections.people import Standing, check_everybody
from integrations.connections.services import probe
from integrations.connections.uses import problems_by_connection
from integrations.connectors.registry import PROVIDERS
from integrations.connectors.vendor_reference import can_do
from integrations.enums import Breaker
from integrations.management.plain import without_call_logs
from integrations.models import Connection


class Command(BaseCommand):
    help = "Checks every enabled connection with a harmless call; exits 1 if something is wrong."

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        connections = list(Connection.objects.filter(enabled=True))
        if not connections:
            self.stdout.write("There are no connections yet: make one with manage.py connection set.")
        wrong, cannot = 0, problems_by_connection()
        for connection in connections:
            with without_call_logs():
                result = probe(connection)
            faults = [*_settings_faults(connection), *cannot.get(connection.pk, [])]
            well = result.ok and connection.breaker == Breaker.CLOSED and not faults
            message = result.message
            if result.ok and connection.breaker != Breaker.CLOSED:
                message += f". Its breaker is still open: run manage.py connection check {connection.slug}"
            mark = self.style.SUCCESS("ok   ") if well else self.style.ERROR("wrong")
            self.stdout.write(f"{mark}  {connection.slug} ({connection.system}): {message}")
            for line in faults:
                self.stdout.write(f"       {self.style.ERROR('wrong')}: {line}")
            info = PROVIDERS.get(connection.provider)
            for line in can_do(info) if info else ():
                self.stdout.write(f"       {line}")
            wrong += not well
        strangers = self._people()
        if wrong:
            raise CommandError(f"{wrong} of {len(connections)} connections need attention.")
        if strangers:
            raise CommandError(f"{strangers} people need attention: correct their ids in the console.")

    def _people(self) -> int:
        """How many listed people their system does not know."""
        strangers = 0
        with without_call_logs():
            for where, check in check_everybody():
                unknown = check.standing is Standing.UNKNOWN
                if check.standing is not Standing.UNCHECKED:
                    mark = self.style.ERROR("wrong") if unknown else self.style.SUCCESS("ok   ")
                    self.stdout.write(f"{mark}  {where}: {check.message}")
                strangers += unknown
        return strangers


def _settings_faults(connection: Connection) -> list[str]:
    """What the provider's declaration requires and is not there, or does not allow and is."""
    info = PROVIDERS.get(connection.provider)
    if info is None:
        return []
    stored = set(connection.secret_rows.filter(active=True).values_list("name", flat=True))
    return [
        *(f"the secret {name} is missing" for name in info.missing_secrets(stored)),
        *(f"the option {name} is missing" for name in info.missing_options(connection.options)),
        *info.wrong_options(connection.options),
    ]
