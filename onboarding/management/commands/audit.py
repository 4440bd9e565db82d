"""``audit verify``: whether the audit trail is as it was written."""

import argparse
import re
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from onboarding.audit.verification import Verification
from onboarding.models import AuditAnchor


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

    def handle(self, *_: Any, expect: list[str], **__: Any) -> None:
        verification, findings = Verification(), 0
        for text in verification.findings():
            self.stderr.write(text)
            findings += 1
        for digest in expect:
            if not AuditAnchor.objects.filter(hash=digest).exists():
                self.stderr.write(f"anchors: none has the hash {digest}; the trail was rewritten, or is another one")
                findings += 1
        if findings:
            raise CommandError(f"The audit trail was tampered with; findings: {findings}.")
        self.stdout.write(
            f"The audit trail is whole: {verification.entries} entries of {verification.runs} runs, "
            f"{verification.elsewhere} outside runs, {verification.anchors} anchors."
        )
        if (archive := verification.archive).batches:
            self.stdout.write(
                f"Read from the archive, {archive.batches} batches in {settings.ARCHIVE_DIR}: "
                f"{archive.entries} entries of {archive.runs} runs."
            )
        if last := verification.last:
            self.stdout.write(f"Last anchor, of {last.at:%Y-%m-%d %H:%M:%S} UTC; keep it elsewhere for --expect:")
            self.stdout.write(last.hash)
