"""``manage.py rotate_secrets``: everything stored encrypted, encrypted anew with the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.connections import key_rotation

MOST_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Encrypts secrets and stored events anew with the first of FIELD_ENCRYPTION_KEYS. Put the new key first, keep the old one "
        "behind it, restart everything, run this, then take the old key out. May be stopped and run again at any time."
    )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        unreadable = 0
        for outcome in key_rotation.rotate():
            name = str(outcome.model._meta.verbose_name_plural)
            self.stdout.write(f"{name}: {outcome.rotated} encrypted anew, {outcome.current} had the first key already.")
            if outcome.unreadable:
                listed = ", ".join(map(str, outcome.unreadable[:MOST_SHOWN])) + (
                    " …" if len(outcome.unreadable) > MOST_SHOWN else ""
                )
                self.stderr.write(f"{name}: {len(outcome.unreadable)} cannot be read with any of the keys: {listed}.")
            unreadable += len(outcome.unreadable)
        if unreadable:
            raise CommandError("Keep every older key until what cannot be read is entered again or deleted.")
        self.stdout.write(
            "Nothing needs an older key any more: only the first one has to stay in FIELD_ENCRYPTION_KEYS."
        )
