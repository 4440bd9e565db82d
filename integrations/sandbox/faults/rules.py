"""Fault injection: which rule strikes a request, and what the caller gets to see of it.

A rule is taken in the request's own transaction, so that ``count: 1`` strikes exactly once however many ask at once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Dialect
from integrations.sandbox.faults import unusual
from integrations.sandbox.store import Json, Tx

#: True: the request takes effect before the fault shows.
KINDS = {
    "rate_limit": False,
    "unauthorized": False,
    "forbidden": False,
    "error_before": False,
    "error_after": True,
    "timeout_before": False,
    "timeout_after": True,
    "reset_before": False,
    "reset_after": True,
    "malformed": True,
    "wrong_shape": True,
    "slow_drip": True,
}
#: an answer that is right and merely unlike the usual one: no vendor promises not to send it
UNUSUAL = frozenset({"nulls", "absent", "unknown_values", "other_ids"})
KINDS |= dict.fromkeys(sorted(UNUSUAL), True)
#: ``delay`` where a rule names none: a silent socket's seconds, and the pause between two bytes of a drip.
HOLD_SECONDS = 60.0
DRIP_SECONDS = 0.1

_FIELDS = {
    "vendor": str, "method": str, "path": str, "kind": str, "probability": float, "count": int, "delay": float,
    "retry_after": float, "status": int,
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    id: int
    kind: str
    delay: float | None
    retry_after: float | None
    status: int | None

    @property
    def takes_effect(self) -> bool:
        return KINDS[self.kind]

    @property
    def silent(self) -> bool:
        """The caller never gets an answer."""
        return self.kind.startswith(("timeout_", "reset_"))

    def apply_to(self, dialect: Dialect, answer: Answer | None) -> Answer:
        """The answer that the caller gets; ``answer`` is the true one where the request took effect."""
        shown = answer or dialect.refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong")
        match self.kind:
            case "rate_limit":
                shown = dialect.refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests")
            case "unauthorized" | "forbidden":
                status = HTTPStatus.UNAUTHORIZED if self.kind == "unauthorized" else HTTPStatus.FORBIDDEN
                shown = dialect.refusal(status, status.phrase)
            case "error_before" | "error_after":
                shown = dialect.refusal(self.status or HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong")
            case "malformed":
                page = b"<html><body><h1>Please stand by</h1></body></html>"
                shown = Answer(self.status or HTTPStatus.OK, raw=("text/html", page))
            case "wrong_shape":
                status = HTTPStatus.CREATED if shown.status == HTTPStatus.CREATED else HTTPStatus.OK
                shown = Answer(self.status or status, {"unexpected": [{"shape": True}]})
            case kind if (
                kind in UNUSUAL and answer is not None and answer.raw is None and answer.status < HTTPStatus.BAD_REQUEST
            ):
                shown.body = unusual.answer(answer.body, kind, always=dialect.always, choices=dialect.choices)
        if self.retry_after is not None:
            shown.headers["Retry-After"] = f"{self.retry_after:g}"
        return shown


def take(
    tx: Tx, vendor: str, method: str, paths: tuple[str, ...], kinds: Collection[str] = frozenset(KINDS)
) -> Fault | None:
    """The first rule that strikes, its count already lowered. One that names no method strikes only if of ``kinds``."""
    rules = tx.db.execute(
        "SELECT * FROM faults WHERE vendor IN (?, '*') AND (method IS NULL OR method = ?)"
        " AND (remaining IS NULL OR remaining > 0) ORDER BY id",
        (vendor, method),
    ).fetchall()
    for rule in rules:
        if rule["method"] is None and rule["kind"] not in kinds:
            continue
        if rule["path"] is not None and not any(_covers(rule["path"], path) for path in paths):
            continue
        if random.random() >= rule["probability"]:  # noqa: S311 - dice, not secrets
            continue
        tx.db.execute("UPDATE faults SET hits = hits + 1, remaining = remaining - 1 WHERE id = ?", (rule["id"],))
        return Fault(rule["id"], rule["kind"], rule["delay"], rule["retry_after"], rule["status"])
    return None


def _covers(pattern: str, path: str) -> bool:
    """A glob over the whole path, or a regular expression anywhere in it."""
    if fnmatchcase(path, pattern):
        return True
    try:
        return re.search(pattern, path) is not None
    except re.error:
        return False


def add(tx: Tx, given: Json, vendors: tuple[str, ...]) -> int:
    """Store one rule. Raises ValueError, saying what is wrong with it."""
    if unknown := set(given) - set(_FIELDS):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    rule: dict[str, Any] = {name: None if given.get(name) is None else of(given[name]) for name, of in _FIELDS.items()}
    if rule["vendor"] not in (*vendors, "*"):
        raise ValueError(f"vendor must be one of {', '.join(vendors)} or *")
    if rule["kind"] not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    rule["method"] = rule["method"] and rule["method"].upper()
    if rule["probability"] is None:
        rule["probability"] = 1.0
    cursor = tx.db.execute(
        "INSERT INTO faults (vendor, method, path, kind, probability, remaining, delay, retry_after, status)"
        " VALUES (:vendor, :method, :path, :kind, :probability, :count, :delay, :retry_after, :status)",
        rule,
    )
    return int(cursor.lastrowid or 0)


def listed(tx: Tx) -> list[Json]:
    """All rules, spent ones too; ``count`` is what remains."""
    rules = [dict(rule) for rule in tx.db.execute("SELECT * FROM faults ORDER BY id")]
    return [{**rule, "count": rule.pop("remaining")} for rule in rules]


def remove(tx: Tx, rule_id: int | None) -> int:
    return tx.db.execute("DELETE FROM faults WHERE ?1 IS NULL OR id = ?1", (rule_id,)).rowcount
