"""``audit verify``: whether the audit trail is as it was written."""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from onboarding.audit.verification import Verification
from onboarding.models import AuditAnchor
from onboarding.services import keep_finding


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text.strip().lower()):
        raise argparse.ArgumentTypeError("must be an anchor's hash: 64 hexadecimal digits")
    return text.strip().lower()


class Command(BaseCommand):
    help = "Verify the audit trail's chains of hashes and its anchors. Ends non-zero where something was tampered with."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["verify"])
        parser.add_argument(
            "--expect",
            metavar="HASH",
            type=_hash,
            action="append",
            default=[],
            help="The hash of an anchor, as printed here before and kept elsewhere: it must still be in the chain.",
        )

        parser.add_argument(
            "--open-tickets", action="store_true", help="Keep each finding, and open a ticket for those that are new."
        )

    def handle(self, *_: Any, expect: list[str], open_tickets: bool = False, **__: Any) -> None:
        verification = Verification()
        findings = []
        for text in self._findings(verification, expect):
            self.stderr.write(text)
            findings.append(text)
        if findings:
            opened = sum(keep_finding(text) for text in findings) if open_tickets else 0
            more = f" Tickets opened: {opened}." if open_tickets else ""
            raise CommandError(f"The audit trail was tampered with; findings: {len(findings)}.{more}")
        self.stdout.write(
            f"The audit trail is whole: {verification.entries} entries of {verification.runs} runs, "
            f"{verification.global_entries} outside runs, {verification.anchors} anchors."
        )
        if (archive := verification.archive).batches:
            self.stdout.write(
                f"Read from the archive, {archive.batches} batches in {settings.ARCHIVE_DIR}: "
                f"{archive.entries} entries of {archive.runs} runs."
            )
        if last := verification.last:
            self.stdout.write(f"Last anchor, of {last.at:%Y-%m-%d %H:%M:%S} UTC; keep it elsewhere for --expect:")
            self.stdout.write(last.hash)

    @staticmethod
    def _findings(verification: Verification, expect: Sequence[str]) -> Iterator[str]:
        yield from verification.findings()
        for digest in expect:
            if not AuditAnchor.objects.filter(hash=digest).exists():
                yield f"anchors: none has the hash {digest}; the trail was rewritten, or is another one"
