"""Verifying: every chain link by link, and every anchor against the chains. Streams; memory does not grow with the trail."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.db import transaction as db
from django.db.models import Exists, OuterRef, Q, QuerySet

from onboarding.audit import archived
from onboarding.audit.anchors import anchor_hash
from onboarding.audit.chains import START, breaks
from onboarding.audit.entries import entry_hash, locked_head
from onboarding.models import AuditAnchor, AuditEntry, AuditHead, OnboardingTransaction

RUNS_AT_ONCE = 500
ROWS_AT_ONCE = 500
HEADS_AT_ONCE = 100
"""SQLite bounds how deep a condition may be."""
OUTSIDE_RUNS = "outside runs"


def broken_links() -> Iterator[str]:
    """What does not verify, in words; nothing for an untouched trail."""
    return Verification().findings()


@dataclass
class Verification:
    """One pass over the trail. The counts are complete once ``findings`` is exhausted."""

    runs: int = 0
    entries: int = 0
    global_entries: int = 0
    anchors: int = 0
    last: AuditAnchor | None = None
    archive: archived.ArchiveVerification = field(default_factory=archived.ArchiveVerification)
    _blamed: set[int | None] = field(default_factory=set)

    def findings(self) -> Iterator[str]:
        yield from self._run_chains()
        yield from self._orphans()
        yield from self._global_chain()
        yield from self._anchor_chain()
        yield from self.archive.findings()
        yield from self._anchored_heads()

    def _run_chains(self) -> Iterator[str]:
        after = 0
        while rows := list(_runs().filter(pk__gt=after)[:RUNS_AT_ONCE]):
            after = rows[-1][0]
            self.runs += len(rows)
            for run in self._suspects(rows):
                yield from findings_of(run)

    def _suspects(self, rows: list[tuple[int, str, int, str]]) -> list[int]:
        """Runs to look at again under their lock: an entry may have been written between our two queries."""
        entries = AuditEntry.objects.filter(transaction__in=[row[0] for row in rows])
        ordered = entries.order_by("transaction_id", "sequence", "pk").iterator(ROWS_AT_ONCE)
        heads = {pk: (sequence, head) for pk, _, sequence, head in rows}
        kept = archived.ends(heads)
        suspects = []
        for run, chain in groupby(ordered, lambda entry: entry.transaction_id):
            head, after = heads.pop(run or 0), kept.get(run or 0, START)
            if any(True for _ in breaks(self._counted(chain), head, entry_hash, after=after)):
                suspects.append(run or 0)
        return [*suspects, *(pk for pk, head in heads.items() if head != kept.get(pk, START))]

    def _counted(self, chain: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
        for entry in chain:
            self.entries += 1
            yield entry

    def _orphans(self) -> Iterator[str]:
        """Only without the foreign key can these be."""
        run = OnboardingTransaction.objects.filter(pk=OuterRef("transaction_id"))
        for entry in AuditEntry.objects.exclude(transaction=None).filter(~Exists(run)).iterator(ROWS_AT_ONCE):
            yield f"run {entry.transaction_id}: the run is gone; entry {entry.sequence} (audit row {entry.pk}) is left"

    def _global_chain(self) -> Iterator[str]:
        entries = AuditEntry.objects.filter(transaction=None).order_by("sequence", "pk")
        self.global_entries = entries.count()
        yield from _chain_without_run(AuditHead.GLOBAL, entries, OUTSIDE_RUNS)

    def _anchor_chain(self) -> Iterator[str]:
        anchors = AuditAnchor.objects.order_by("sequence", "pk")
        self.anchors, self.last = anchors.count(), anchors.last()
        yield from _chain_without_run(AuditHead.ANCHORS, anchors, "anchors")

    def _anchored_heads(self) -> Iterator[str]:
        """A chain that was recomputed from somewhere on fits in itself, but not with what an anchor says it was."""
        for anchor in AuditAnchor.objects.order_by("sequence").iterator(20):
            if anchor.hash != anchor_hash(anchor):
                continue  # named already, and its heads say nothing
            for start in range(0, len(anchor.heads), HEADS_AT_ONCE):
                yield from self._contradictions(anchor, anchor.heads[start : start + HEADS_AT_ONCE])

    def _contradictions(self, anchor: AuditAnchor, heads: list[list[Any]]) -> Iterator[str]:
        wanted = Q()
        for run, sequence, _ in heads:
            wanted |= Q(transaction=run, sequence=sequence)
        rows = AuditEntry.objects.filter(wanted).values_list("transaction_id", "sequence", "hash", "pk")
        found = {(run, sequence): (digest, pk) for run, sequence, digest, pk in rows}
        moved, unreadable = archived.hashes([each[:2] for each in heads if tuple(each[:2]) not in found])
        found |= moved
        self._blamed |= unreadable  # with its file
        for run, sequence, digest in heads:
            has, pk = found.get((run, sequence), ("", None))
            if has == digest or run in self._blamed:
                continue
            self._blamed.add(run)  # the first anchor says it; later ones would only repeat it
            what = f"entry {sequence} (audit row {pk}) is another one now" if pk else f"entry {sequence} is gone"
            yield f"{_label(run)}: {what}; anchor {anchor.sequence} holds its hash. The chain was rewritten"


def _runs() -> QuerySet[OnboardingTransaction, tuple[int, str, int, str]]:
    rows = OnboardingTransaction.objects.order_by("pk")
    return rows.values_list("pk", "onboarding_transaction_id", "audit_sequence", "audit_head")


def findings_of(pk: int) -> Iterator[str]:
    """What does not verify of one run's chain, as far as it is not archived; the run is locked meanwhile."""
    with db.atomic():
        run = OnboardingTransaction.objects.select_for_update(no_key=True).get(pk=pk)
        chain = run.audit.order_by("sequence", "pk").iterator(ROWS_AT_ONCE)
        after = archived.ends([pk]).get(pk, START)
        found = list(breaks(chain, (run.audit_sequence, run.audit_head), entry_hash, after=after))
    yield from (f"{run.onboarding_transaction_id}: {text}" for text in found)


def _chain_without_run(chain: str, rows: QuerySet[Any], label: str) -> Iterator[str]:
    noun, digest = ("anchor", anchor_hash) if chain == AuditHead.ANCHORS else ("entry", entry_hash)
    head = AuditHead.objects.filter(chain=chain).first()
    ends = (head.sequence, head.hash) if head else (0, "")
    if not any(True for _ in breaks(rows.iterator(20), ends, digest, noun)):
        return
    with db.atomic():  # somebody may have appended meanwhile
        held = locked_head(chain)
        found = list(breaks(rows.iterator(20), (held.sequence, held.hash), digest, noun))
    yield from (f"{label}: {text}" for text in found)


def _label(run: int | None) -> str:
    if run is None:
        return OUTSIDE_RUNS
    named = OnboardingTransaction.objects.filter(pk=run).values_list("onboarding_transaction_id", flat=True).first()
    return named or f"run {run}, which is gone"
