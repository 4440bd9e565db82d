"""``manage.py sandbox``: the vendor stand-ins and the mail catcher alone."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from integrations.sandbox.server import serve


class Command(BaseCommand):
    help = "Serves local stand-ins for the vendors, and catches mails, for development, tests and the demo."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT + 1)
        parser.add_argument("--smtp-port", type=int, default=settings.PORT + 2)
        parser.add_argument("--data", type=Path, default=Path(settings.DATA_DIR) / "sandbox.sqlite3")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        sys.exit(serve(options["port"], options["data"], options["smtp_port"]))
