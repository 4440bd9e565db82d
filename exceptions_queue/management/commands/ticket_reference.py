"""``ticket_reference``: the documentation's page of exceptions and actions."""

from typing import Any

from django.core.management.base import BaseCommand

from exceptions_queue.tickets import reference


class Command(BaseCommand):
    help = "Print docs/exceptions.md: what each exception means, and what may be done."

    def handle(self, *_: Any, **__: Any) -> None:
        self.stdout.write(reference.page(), ending="")
