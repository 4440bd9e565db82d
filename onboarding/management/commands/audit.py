"""``audit verify``: whether the audit trail is as it was written."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from onboarding import audit
from onboarding.models import AuditEntry


class Command(BaseCommand):
    help = "Verify the audit trail's chains of hashes. Ends non-zero where something was tampered with."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["verify"])

    def handle(self, *_: Any, **__: Any) -> None:
        findings = 0
        for text in audit.broken_links():
            self.stderr.write(text)
            findings += 1
        if findings:
            raise CommandError(f"The audit trail was tampered with; findings: {findings}.")
        self.stdout.write(f"The audit trail is whole: {AuditEntry.objects.count()} entries.")
