"""``create_api_key NAME --scope intake|read|operate``: makes a key and shows it this once."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from integrations.models import Connection
from onboarding import audit
from onboarding.api.authentication import new_key
from onboarding.enums import Scope
from onboarding.models import ApiKey

MAX_NAME = 50
"""It is part of audit names and of where a payload's field came from."""


def _name(text: str) -> str:
    if not 0 < len(text.strip()) <= MAX_NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_NAME} printable characters")
    return text.strip()


class Command(BaseCommand):
    help = "Make an API key. It is printed once, alone on the last line; only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", type=_name, help="Who uses it; audit entries say key:NAME.")
        parser.add_argument("--scope", choices=Scope.values, required=True)
        parser.add_argument(
            "--fills",
            action="append",
            default=[],
            metavar="SOURCE",
            help="A connection or an API key whose runs this key may fill in and read, beside its own; may be repeated.",
        )

    def handle(self, *_: Any, name: str, scope: str, fills: list[str], **__: Any) -> None:
        known = {*Connection.objects.values_list("slug", flat=True), *ApiKey.objects.values_list("name", flat=True)}
        if unknown := sorted(set(fills) - known):
            raise CommandError(
                f"--fills {unknown[0]}: there is no such connection or API key (known: {', '.join(sorted(known)) or 'none'})."
            )
        with transaction.atomic():
            key, row = new_key(name, Scope(scope), fills)
            data = {"key": row.pk, "name": name, "scope": scope, "prefix": row.prefix, "fills": row.fills}
            audit.record_global("onboarding.api-key.created", actor="command", data=data)
        self.stdout.write(f"The key “{name}” with the scope {scope}. Keep it now: it is not shown again.")
        self.stdout.write(key)
