"""What answers under ``/_sandbox/``: the levers that tests and the demo pull, and what the vendors hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Dialect, as_seconds, iso
from integrations.sandbox.faults import rules
from integrations.sandbox.store import Json, Row, Tx
from integrations.sandbox.traffic import Traffic

PREFIX = "/_sandbox/"
FORMER_TOKENS = 20


@dataclass(frozen=True)
class ControlRequest:
    """One control request."""

    tx: Tx
    dialects: Mapping[str, Dialect]
    query: Mapping[str, str]
    body: Any
    traffic: Traffic

    def dialect(self, name: Any) -> Dialect:
        if name not in self.dialects:
            raise ValueError(f"vendor must be one of {', '.join(self.dialects)}")
        return self.dialects[name]


def handle(method: str, path: str, lever: ControlRequest) -> Answer:
    """Raises LookupError for an unknown path, ValueError and TypeError for a body that makes no sense."""
    pull = _CONTROL_ROUTES.get((method, path.removeprefix(PREFIX))) if path.startswith(PREFIX) else None
    if pull is None:
        raise LookupError(f"No {method} {path} here")
    return Answer(HTTPStatus.OK, pull(lever))


def _health(lever: ControlRequest) -> Json:
    return {"status": "ok", "vendors": {name: each.prefix for name, each in lever.dialects.items()}}


def _seed(lever: ControlRequest) -> Json:
    dialect, kind = lever.dialect(lever.body.get("vendor")), lever.body.get("kind")
    kinds = (*dialect.counted, *dialect.fixed_kinds)
    if kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}")
    return {"ids": [_seed_one(lever.tx, dialect, kind, each) for each in lever.body.get("objects", [])]}


def _add_fault(lever: ControlRequest) -> Json:
    return {"id": rules.add(lever.tx, lever.body, tuple(lever.dialects))}


def _faults(lever: ControlRequest) -> Json:
    return {"faults": rules.listed(lever.tx)}


def _remove_faults(lever: ControlRequest) -> Json:
    return {"removed": rules.remove(lever.tx, int(lever.query["id"]) if "id" in lever.query else None)}


def _set_tokens(lever: ControlRequest) -> Json:
    dialect, tokens = lever.dialect(lever.body.get("vendor")), lever.body.get("tokens")
    if not isinstance(tokens, list):
        raise TypeError("tokens must be a list")
    wanted, settings = [str(each) for each in tokens], dialect.settings(lever.tx)
    known = dict.fromkeys([*settings["tokens"], *settings["former_tokens"]])
    former = [each for each in known if each not in wanted]
    lever.tx.change_settings(dialect.name, {"tokens": wanted, "former_tokens": former[:FORMER_TOKENS]})
    return {"tokens": wanted}


def _settings(lever: ControlRequest) -> Json:
    return {name: each.settings(lever.tx) for name, each in lever.dialects.items()}


def _change_settings(lever: ControlRequest) -> Json:
    for name, changes in lever.body.items():
        lever.tx.change_settings(name, _checked(lever.dialect(name), changes))
    return _settings(lever)


def _requests(lever: ControlRequest) -> Json:
    last = int(lever.query["last"]) if "last" in lever.query else None
    return {"requests": lever.tx.ledger(lever.query.get("vendor"), int(lever.query.get("since", "0")), last)}


def _traffic(lever: ControlRequest) -> Json:
    return {"traffic": lever.traffic.shown()}


def _forget_traffic(lever: ControlRequest) -> Json:
    lever.traffic.forget()
    return _traffic(lever)


def _reset(lever: ControlRequest) -> Json:
    reset(lever.tx, lever.dialects)
    lever.traffic.forget()
    return {"status": "ok"}


def reset(tx: Tx, dialects: Mapping[str, Dialect]) -> None:
    """Back to new accounts."""
    tx.clear()
    tx.change_settings("*", {"opened": tx.now})
    for dialect in dialects.values():
        dialect.preseed(tx)


def _seed_one(tx: Tx, dialect: Dialect, kind: str, given: Json) -> str:
    wanted = given.get("id") or given.get("gid")
    taken = "SELECT 1 FROM objects WHERE vendor = ? AND kind = ? AND id = ?"
    if wanted and tx.db.execute(taken, (dialect.name, kind, str(wanted))).fetchone():
        raise ValueError(f"{dialect.name} {kind} {wanted} exists already")
    return dialect.seed(tx, kind, given)


def _counts(lever: ControlRequest) -> Json:
    counted = {name: each.counts(lever.tx) for name, each in lever.dialects.items()}
    return {
        "vendors": {name: kinds for name, (kinds, _) in counted.items()},
        "duplicates": sum(each["duplicates"] for kinds, _ in counted.values() for each in kinds.values()),
        "duplicate_keys": [each for _, doubled in counted.values() for each in doubled],
    }


def _objects(lever: ControlRequest) -> Json:
    names = [lever.dialect(lever.query["vendor"]).name] if "vendor" in lever.query else list(lever.dialects)
    kinds = {name: [lever.query["kind"]] if "kind" in lever.query else lever.dialects[name].counted for name in names}
    rows = [row for name in names for kind in kinds[name] for row in _chosen(lever, name, kind)]
    shown = ("vendor", "kind", "id", "body", "seeded")
    return {
        "objects": [
            {
                **{name: getattr(row, name) for name in shown},
                "created_at": iso(row.created_at),
                "updated_at": iso(row.updated_at),
            }
            for row in rows
        ]
    }


def _chosen(lever: ControlRequest, vendor: str, kind: str) -> list[Row]:
    """Those that hold ``text`` anywhere or have one of ``ids``; of these the ``last`` that were made."""
    text, ids = lever.query.get("text", "").casefold(), set(lever.query.get("ids", "").split(","))
    rows = lever.tx.rows(vendor, kind)
    if text:
        rows = [row for row in rows if row.id in ids or text in json.dumps(row.body, ensure_ascii=False).casefold()]
    return rows[-int(lever.query["last"]) :] if "last" in lever.query else rows


def _checked(dialect: Dialect, changes: Json) -> Json:
    """Settings as they may be stored. Raises ValueError for an unknown name or a value of the wrong kind."""
    for name, value in changes.items():
        match name, value:
            case "search_lag" | "job_seconds" | "job_outcome", None if name in dialect.defaults:
                pass
            case "search_lag" | "job_seconds", _ if name in dialect.defaults:
                as_seconds(value)
            case "job_outcome", "succeeded" | "failed" if name in dialect.defaults:
                pass
            case "key_lifetime", _ if name in dialect.defaults:
                as_seconds(value)
            case "idempotency", "honour" | "ignore" if name in dialect.defaults:
                pass
            case "unique" | "refused" | "differs", list() if name in dialect.defaults and all(
                isinstance(each, str) for each in value
            ):
                pass
            case "rate_limit", None | {"requests": int(), "seconds": int() | float()}:
                pass
            case "search_limit", None | {"requests": int(), "seconds": int() | float()} if name in dialect.defaults:
                pass
            case _, _ if name in dialect.own_settings and type(value) is type(dialect.defaults[name]):
                pass
            case _:
                raise ValueError(f"{dialect.name} cannot set {name} to {value!r}")
    return changes


_CONTROL_ROUTES: dict[tuple[str, str], Callable[[ControlRequest], Json]] = {
    ("GET", "health"): _health,
    ("GET", "counts"): _counts,
    ("GET", "objects"): _objects,
    ("POST", "seed"): _seed,
    ("POST", "faults"): _add_fault,
    ("GET", "faults"): _faults,
    ("DELETE", "faults"): _remove_faults,
    ("POST", "tokens"): _set_tokens,
    ("POST", "settings"): _change_settings,
    ("GET", "settings"): _settings,
    ("GET", "requests"): _requests,
    ("GET", "traffic"): _traffic,
    ("DELETE", "traffic"): _forget_traffic,
    ("POST", "reset"): _reset,
}
