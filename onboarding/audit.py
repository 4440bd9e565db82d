"""The audit trail: every transition, human action and outbound write, hash-chained per run.

Entries name fields by path and never carry their values, so that erasing a person's data leaves the chain intact.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from integrations import clock
from onboarding import request_id
from onboarding.models import AuditEntry, OnboardingTransaction

SYSTEM = "system"


def record(
    run: OnboardingTransaction, name: str, *, actor: str = SYSTEM, data: dict[str, Any] | None = None
) -> AuditEntry:
    """Append an entry to the chain of ``run``, whose row the caller holds locked.

    The chain's head is read from the row: several instances of one run may write in one database transaction.
    """
    row = OnboardingTransaction.objects.filter(pk=run.pk)
    sequence, head = row.values_list("audit_sequence", "audit_head").get()
    entry = AuditEntry(
        transaction=run,
        sequence=sequence + 1,
        name=name,
        actor=actor[:150],
        request_id=request_id.current.get(),
        data=data or {},
        at=clock.now(),
        previous_hash=head,
    )
    entry.hash = entry_hash(entry)
    entry.save(force_insert=True)
    run.audit_sequence, run.audit_head = entry.sequence, entry.hash
    row.update(audit_sequence=entry.sequence, audit_head=entry.hash)
    return entry


def record_elsewhere(name: str, *, actor: str, data: dict[str, Any]) -> AuditEntry:
    """An entry that belongs to no run, such as a change of credentials."""
    entry = AuditEntry(
        sequence=0, name=name, actor=actor[:150], request_id=request_id.current.get(), data=data, at=clock.now()
    )
    entry.hash = entry_hash(entry)
    entry.save(force_insert=True)
    return entry


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over the entry's canonical JSON and its predecessor's hash."""
    canonical = json.dumps(
        [
            entry.previous_hash,
            entry.transaction_id,
            entry.sequence,
            entry.name,
            entry.actor,
            entry.request_id,
            entry.data,
            entry.at.isoformat(timespec="microseconds"),
        ],
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def broken_links() -> Iterator[str]:
    """What does not verify, in words; nothing for an untouched trail."""
    for run in OnboardingTransaction.objects.order_by("pk").iterator():
        head, sequence = "", 0
        for entry in run.audit.order_by("sequence").iterator():
            if (entry.previous_hash, entry.sequence) != (head, sequence + 1) or entry.hash != entry_hash(entry):
                yield f"{run.onboarding_transaction_id}: entry {entry.sequence} does not follow from its predecessor"
            head, sequence = entry.hash, entry.sequence
        if (head, sequence) != (run.audit_head, run.audit_sequence):
            yield f"{run.onboarding_transaction_id}: the trail ends at {sequence}, its run says {run.audit_sequence}"
    for entry in AuditEntry.objects.filter(transaction=None).iterator():
        if entry.hash != entry_hash(entry):
            yield f"entry {entry.pk} ({entry.name}) was changed"
