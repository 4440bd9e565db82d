"""Anchoring: now and then, the ends of all chains that moved are written into one chain of their own."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction as db

from integrations import clock
from onboarding.audit.entries import digest_of, locked_head, move
from onboarding.models import AuditAnchor, AuditEntry, AuditHead, OnboardingTransaction

WINDOW = 5_000
"""Entries that one anchor looks at, at most; what lies beyond is for the next pass, without waiting."""
COMMIT_GRACE = timedelta(seconds=30)
"""Younger entries wait: one with a smaller primary key may not be committed yet, and would be passed over for good."""
log = logging.getLogger(__name__)


def append_if_due() -> AuditAnchor | None:
    """One anchor, where ``AUDIT_ANCHOR_SECONDS`` have passed since the last one and something moved meanwhile.

    One database transaction of its own. Several schedulers at once append one after the other, each looking anew.
    """
    now = clock.now()
    if not _entries_to_anchor(_last(), now):
        return None
    with db.atomic():
        head = locked_head(AuditHead.ANCHORS)
        last = _last()
        moved = _entries_to_anchor(last, now)
        if not moved:
            return None
        anchor = AuditAnchor(
            sequence=head.sequence + 1,
            at=now,
            through=moved[-1][0],
            entries=len(moved),
            heads=_heads({run for _, run in moved}),
            previous_hash=head.hash,
        )
        anchor.hash = anchor_hash(anchor)
        anchor.save(force_insert=True)
        move(head, anchor.sequence, anchor.hash)
    # The log usually leaves the machine, and with it the one fact that nobody can recompute afterwards.
    log.info("audit anchor %d over %d entries: %s", anchor.sequence, anchor.entries, anchor.hash)
    return anchor


def anchor_hash(anchor: AuditAnchor) -> str:
    at = anchor.at.isoformat(timespec="microseconds")
    return digest_of(anchor.previous_hash, anchor.sequence, at, anchor.through, anchor.entries, anchor.heads)


def _last() -> AuditAnchor | None:
    return AuditAnchor.objects.order_by("-sequence").defer("heads").first()


def _entries_to_anchor(last: AuditAnchor | None, now: datetime) -> list[tuple[int, int | None]]:
    """(entry, its run) of what is to be anchored now, oldest first; empty while it is too early."""
    if last and last.entries < WINDOW and now - last.at < timedelta(seconds=settings.AUDIT_ANCHOR_SECONDS):
        return []
    fresh = AuditEntry.objects.filter(pk__gt=last.through if last else 0)
    # Up to the newest committed entry, whatever their times: a clock may have been set back.
    newest = fresh.filter(at__lte=now - COMMIT_GRACE).order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return []
    return list(fresh.filter(pk__lte=newest).order_by("pk").values_list("pk", "transaction_id")[:WINDOW])


def _heads(runs: set[int | None]) -> list[list[int | str | None]]:
    """The ends as they are now, which may be later ones than those that were looked at."""
    found = OnboardingTransaction.objects.filter(pk__in=[run for run in runs if run is not None]).order_by("pk")
    heads: list[list[int | str | None]] = [
        [pk, sequence, head] for pk, sequence, head in found.values_list("pk", "audit_sequence", "audit_head")
    ]
    if None in runs:
        heads += [
            [None, elsewhere.sequence, elsewhere.hash] for elsewhere in AuditHead.objects.filter(chain=AuditHead.GLOBAL)
        ]
    return heads
