"""A vendor of nobody in particular, for declarative mappings: it protects repeated creates in each way, or in none.

Creates honour ``Idempotency-Key`` (the first answer of a key is kept and given again, a 409 for another body under it) unless
the setting ``idempotency`` is ``ignore``; ``PUT`` by reference is an upsert; a plain ``POST`` protects nothing, unless the
setting
``unique`` names fields of which each value may stand once: then it answers 409 with the id of the one that exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, iso, key_of, route
from integrations.sandbox.store import Json, Row, Tx, matches, term

_KINDS = ("accounts", "contacts", "workspaces", "tasks", "widgets", "seats", "tenants", "entitlements")


class Widgets(Dialect):
    name = "widgets"
    prefix = "/widgets/v1"
    counted = _KINDS
    id_base = 7_000
    defaults = {"search_lag": 0.0, "idempotency": "honour", "key_lifetime": 86_400.0, "unique": [], "refused": []}

    def refusal(self, status: int, message: str) -> Answer:
        return Answer(status, {"error": {"code": HTTPStatus(status).name.lower(), "message": message or "Refused"}})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, "reference")

    def preseed(self, tx: Tx) -> None:
        """A new account is empty."""

    @route("GET", "/me")
    def me(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"account": {"name": "Widgets sandbox"}})

    # -- reading ---------------------------------------------------------------------------------------------------

    @route("GET", "/{kind}")
    def search(self, call: Call, kind: str) -> Answer:
        """By any field, as the index shows it; a workspace's tasks by ``workspace``."""
        self._known(kind)
        wanted = [(field, value) for field, value in call.query.items() if field != "limit"]
        if not wanted:
            raise self.refuse(400, "name a field to search by")
        rows = call.tx.candidates(self.name, kind, *wanted[0])
        shown = [(row, call.tx.searchable(row, call.lag) or {}) for row in rows]
        found = [self._view(row, body) for row, body in shown if all(matches(body, *each) for each in wanted)]
        return Answer(200, {"data": found})

    @route("GET", "/{kind}/{id}")
    def one(self, call: Call, kind: str, row_id: str) -> Answer:
        return Answer(200, self._view(self._row(call, kind, row_id)))

    # -- writing ---------------------------------------------------------------------------------------------------

    @route("POST", "/{kind}")
    def create(self, call: Call, kind: str) -> Answer:
        self._known(kind)
        return self._once(call, lambda: Answer(201, self._view(self._add(call, kind, call.body))))

    @route("POST", "/{kind}/batch")
    def create_many(self, call: Call, kind: str) -> Answer:
        """All or none; the results are in the items' order."""
        self._known(kind)
        items = call.body["items"]
        if not isinstance(items, list) or not items:
            raise self.refuse(400, "items is missing")
        return self._once(
            call, lambda: Answer(201, {"items": [self._view(self._add(call, kind, each)) for each in items]})
        )

    @route("POST", "/{kind}/bare")
    def create_bare(self, call: Call, kind: str) -> Answer:
        """Answers with the id and nothing else."""
        self._known(kind)
        return Answer(201, self._add(call, kind, call.body).id)

    @route("PUT", "/{kind}/by-reference/{reference}")
    def upsert(self, call: Call, kind: str, reference: str) -> Answer:
        self._known(kind)
        body = {**call.body, "reference": reference}
        row = next(iter(call.tx.find(self.name, kind, "reference", reference)), None)
        if row is None:
            return Answer(201, self._view(self._add(call, kind, body)))
        return Answer(200, self._view(call.tx.update(row, {**row.body, **body}, lag=call.lag)))

    @route("PATCH", "/{kind}/{id}")
    def change(self, call: Call, kind: str, row_id: str) -> Answer:
        row = self._row(call, kind, row_id)
        return Answer(200, self._view(call.tx.update(row, {**row.body, **call.body}, lag=call.lag)))

    @route("DELETE", "/{kind}/{id}")
    def delete(self, call: Call, kind: str, row_id: str) -> Answer:
        call.tx.archive(self._row(call, kind, row_id))
        return Answer(204)

    # -- the parts -------------------------------------------------------------------------------------------------

    def _known(self, kind: str) -> None:
        if kind not in _KINDS:
            raise self.refuse(404, f"There are no {kind} here")

    def _row(self, call: Call, kind: str, row_id: str) -> Row:
        row = call.tx.get(self.name, kind, row_id)
        if row is None:
            raise self.refuse(404, f"{kind} {row_id} does not exist")
        return row

    def _view(self, row: Row, body: Json | None = None) -> Json:
        page = f"https://app.widgets.example/{row.kind}/{row.id}"
        return {**(row.body if body is None else body), "id": row.id, "url": page, "created_at": iso(row.created_at)}

    def _add(self, call: Call, kind: str, given: Json) -> Row:
        wrong = {field: "is not accepted" for field in call.settings["refused"] if term(given.get(field) or "")}
        if not term(given.get("name") or ""):
            wrong["name"] = "must not be empty"
        if wrong:
            fields = [{"field": field, "message": reason} for field, reason in wrong.items()]
            answer = self.refusal(422, "Some fields were refused")
            answer.body["error"]["fields"] = fields
            raise Refused(answer)
        for field in call.settings["unique"]:
            held = call.tx.find(self.name, kind, field, given[field]) if term(given.get(field) or "") else []
            if held:
                error = {"code": "duplicate", "message": f"{field} is taken", "existing_id": held[0].id}
                raise Refused(Answer(409, {"error": error}))
        body = {name: value for name, value in given.items() if name not in ("id", "url", "created_at")}
        return self.add(call.tx, kind, body, lag=call.lag)

    def _once(self, call: Call, make: Callable[[], Answer]) -> Answer:
        """Once a key and body; what was refused is not kept, so that it may be fixed under the same key."""
        key = call.headers.get("Idempotency-Key")
        if not key or call.settings["idempotency"] == "ignore":
            return make()
        fingerprint = hashlib.sha256(json.dumps([call.path, call.body], sort_keys=True).encode()).hexdigest()
        held = call.tx.db.execute(
            "SELECT fingerprint, status, body FROM replies WHERE vendor = ? AND key = ? AND at > ?",
            (self.name, key, call.tx.now - float(call.settings["key_lifetime"])),
        ).fetchone()
        if held is not None and held["fingerprint"] != fingerprint:
            error = {"code": "idempotency_mismatch", "message": "This key was used for something else"}
            return Answer(409, {"error": error})
        if held is not None:
            return Answer(held["status"], json.loads(held["body"]), {"Idempotent-Replayed": "true"})
        answer = make()
        call.tx.db.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
            (self.name, key, call.tx.now, fingerprint, answer.status, json.dumps(answer.body)),
        )
        return answer
