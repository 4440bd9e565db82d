"""Writing entries: one chain per run, and one for what belongs to no run.

Entries name fields by path and never carry their values, so that erasing a person's data leaves the chains intact.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import transaction as db
from django.db.models import QuerySet

from integrations import clock
from integrations.database.instances import instance_of
from integrations.http.redaction import redact_text
from onboarding.middleware import request_id
from onboarding.models import AuditEntry, AuditHead, OnboardingTransaction

SYSTEM = "system"
_MESSAGE_ID = re.compile(r"[0-9a-f]{40}@\S+")
"""Of a mail that we sent: looks like an address and is none."""
_batches: ContextVar[tuple[tuple[OnboardingTransaction, list[AuditEntry]], ...]] = ContextVar("batches", default=())
"""Of several runs where several are locked at once."""


@contextmanager
def batched(run: OnboardingTransaction, write: Callable[[list[AuditEntry]], None] | None = None) -> Iterator[None]:
    """What ``record`` appends to the chain of ``run`` inside is written at the end in one statement.

    For the whole of a database transaction that holds the run's row locked: nothing in it may be undone alone. An
    exception leaves nothing written. The caller saves the run afterwards, whose chain's head has moved.
    ``write`` does it in place of all this, also where nothing was appended.
    """
    entries: list[AuditEntry] = []
    token = _batches.set((*_batches.get(), (run, entries)))
    try:
        yield
    finally:
        _batches.reset(token)
    if write is not None:
        write(entries)
    elif entries:
        AuditEntry.objects.bulk_create(entries)


def record(
    run: OnboardingTransaction, name: str, *, actor: str = SYSTEM, data: dict[str, Any] | None = None
) -> AuditEntry:
    """Append an entry to the chain of ``run``, whose row the caller holds locked.

    The chain's head is read from the row: several instances of one run may write in one database transaction.
    """
    about_it: dict[str, Any] = {"transaction_id": run.pk, "name": name, "actor": actor, "data": data or {}}
    if batch := next((each for each in _batches.get() if each[0].pk == run.pk), None):
        locked, entries = batch
        entry = _following(locked.audit_sequence, locked.audit_head, **about_it)
        locked.audit_sequence, locked.audit_head = entry.sequence, entry.hash
        entries.append(entry)
        return entry
    row = OnboardingTransaction.objects.filter(pk=run.pk)
    sequence, head = row.values_list("audit_sequence", "audit_head").get()
    entry = _following(sequence, head, **about_it)
    entry.save(force_insert=True)
    run.audit_sequence, run.audit_head = entry.sequence, entry.hash
    row.update(audit_sequence=entry.sequence, audit_head=entry.hash)
    return entry


def record_global(name: str, *, actor: str, data: dict[str, Any]) -> AuditEntry:
    """Append an entry to the global chain, such as a change of credentials.

    All of these share one chain, whose head stays locked until the caller's transaction ends. It is the last lock in
    the one order (run, ticket, connection, then this): lock nothing after it.
    """
    with db.atomic():
        head = locked_head(AuditHead.GLOBAL)
        entry = _following(head.sequence, head.hash, name=name, actor=actor, data=data)
        entry.save(force_insert=True)
        move(head, entry.sequence, entry.hash)
    return entry


def about(**facts: Any) -> QuerySet[AuditEntry]:
    """Entries of no run whose data says all of this, newest first: ``about(connection="hubspot")``."""
    wanted = {f"data__{name}": value for name, value in facts.items()}
    return AuditEntry.objects.filter(transaction=None, **wanted).order_by("-pk")


def locked_head(chain: str) -> AuditHead:
    """The head of a chain that has no run, locked until the transaction ends."""
    heads = AuditHead.objects.select_for_update(no_key=True)
    head = heads.filter(chain=chain).first()
    if head is None:
        AuditHead.objects.get_or_create(chain=chain)
        head = heads.get(chain=chain)
    return head


def move(head: AuditHead, sequence: int, digest: str) -> None:
    head.sequence, head.hash = sequence, digest
    head.save(update_fields=["sequence", "hash"])


def _following(sequence: int, head: str, *, actor: str, data: dict[str, Any], **fields: Any) -> AuditEntry:
    about = {"sequence": sequence + 1, "at": clock.now(), "previous_hash": head, "request_id": request_id.current.get()}
    entry = instance_of(AuditEntry, {**fields, **about, "actor": actor[:150], "data": _without_addresses(data)})
    entry.hash = entry_hash(entry)
    return entry


def _without_addresses(value: Any) -> Any:
    """A last guard: ids of events and objects are given by others, and some use mail addresses for them."""
    match value:
        case str():
            return value if _MESSAGE_ID.fullmatch(value) else redact_text(str(value))
        case dict():
            return {key: _without_addresses(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_addresses(item) for item in value]
    return value


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over the entry's canonical JSON and its predecessor's hash."""
    return digest_of(
        entry.previous_hash,
        entry.transaction_id,
        entry.sequence,
        entry.name,
        entry.actor,
        entry.request_id,
        entry.data,
        entry.at.isoformat(timespec="microseconds"),
    )


def digest_of(*parts: Any) -> str:
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
