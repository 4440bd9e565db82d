"""Whether the rows of one chain follow from each other."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from onboarding.models import AuditAnchor, AuditEntry

Head = tuple[int, str]
"""Sequence and hash of a chain's last row."""
START: Head = (0, "")
Row = TypeVar("Row", AuditEntry, AuditAnchor)


def breaks(chain: Iterable[Row], head: Head, digest: Any, noun: str = "entry", after: Head = START) -> Iterator[str]:
    """Where a chain, given in the order of its sequence, does not follow from ``after`` and itself, or not end in ``head``."""
    row_of = "audit row" if noun == "entry" else "row"
    before: Row | None = None
    for row in chain:
        expected, named = (before.sequence if before else after[0]) + 1, f"{noun} {row.sequence} ({row_of} {row.pk})"
        if row.hash != digest(row):
            yield f"{named} was changed"
        if row.sequence < expected:
            yield f"{named} was inserted: there is another {noun} {row.sequence}"
            continue
        if row.sequence > expected:
            yield f"{_missing(noun, expected, row.sequence - 1)} missing before {named}"
        elif row.previous_hash != (before.hash if before else after[1]):
            start = f"{noun} {after[0]}, which is archived" if after[0] else "an empty chain"
            rewritten = f"{noun} {before.sequence} ({row_of} {before.pk})" if before else start
            yield f"{named} does not follow from {rewritten}: one of them was rewritten"
        if row.sequence > head[0]:
            yield f"{named} was inserted: the chain's head is {noun} {head[0]}"
        elif row.sequence == head[0] and row.hash != head[1]:
            yield f"{named} is not the one that the chain's head says"
        before = row
    last = before.sequence if before else after[0]
    if before is None and after[0] and last >= head[0] and head != after:
        yield f"{noun} {last}, which is archived, is not the one that the chain's head says"
    if last < head[0]:
        yield f"{_missing(noun, last + 1, head[0])} missing at the end"


def _missing(noun: str, first: int, last: int) -> str:
    return f"{noun} {first} is" if first == last else f"{noun} {first} to {last} are"
