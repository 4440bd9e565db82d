"""``vendor_reference``: the documentation's page of what each vendor can do."""

from typing import Any

from django.core.management.base import BaseCommand

from integrations.connectors import vendor_reference


class Command(BaseCommand):
    help = "Print docs/vendors.md: what each vendor can do, with its options and secrets."

    def handle(self, *_: Any, **__: Any) -> None:
        self.stdout.write(vendor_reference.page(), ending="")
