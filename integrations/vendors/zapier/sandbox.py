"""Zapier's dialect: catch hooks, which say success whatever becomes of it.

Taken from help.zapier.com/hc/en-us/articles/8496288690317 and /29972220283789 (limits), zapier.com/help/rate-limiting (429 with
around 30 requests a second and hook, and 10,000 in 5 minutes a user) and from community.zapier.com/code-webhooks-52/how-to-output-
ok-in-response-to-catch-hook-13867 (always the same success; silent mode empties it). The names of the success's fields and the
bodies of refusals are those that are seen in public logs; Zapier does not document them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import uuid4

from integrations.sandbox.dialect import Answer, Call, Dialect, route
from integrations.sandbox.store import Json, Tx


class Zapier(Dialect):
    name = "zapier"
    prefix = "/zapier"
    system = "workflow"
    base_path = "/zapier"
    secrets = {"webhook_secret": "whsec_c2FuZGJveC1zaWduaW5nLXNlY3JldC0wMg=="}
    counted = ("hand-overs",)
    id_base = 1
    sends_retry_after = False
    #: ``is_on``: whether the Zap is; ``unsubscribed``: its hook is gone; ``silent_mode``: an empty success
    defaults = {"search_lag": 0.0, "is_on": True, "unsubscribed": False, "silent_mode": False}
    own_settings = frozenset({"is_on", "unsubscribed", "silent_mode"})
    always = frozenset({"status"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        """The address is the only secret."""
        return True

    def refusal(self, status: int, message: str) -> Answer:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return Answer(status, {"errors": ["Too many requests"]})
        return Answer(status, {"status": "error", "message": message or HTTPStatus(status).phrase})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("hand-over", str(body["data"].get("hand_over", "")))]

    def preseed(self, tx: Tx) -> None:
        """A new account has the one Zap, which its settings tell of."""

    @route("POST", "/hooks/catch/{hook}/")
    def catch(self, call: Call, hook: str) -> Answer:
        return self._caught(call, hook)

    @route("POST", "/hooks/catch/{account}/{hook}/")
    def catch_of_account(self, call: Call, account: str, hook: str) -> Answer:
        return self._caught(call, f"{account}/{hook}")

    def _caught(self, call: Call, hook: str) -> Answer:
        if call.settings["unsubscribed"] or hook not in call.settings["tokens"]:
            return self.refusal(HTTPStatus.GONE, "please unsubscribe me!")
        if call.settings["is_on"]:
            # Zapier tells repeated messages apart by nothing: each starts the Zap.
            known = call.headers.get("webhook-id") or ""
            is_new = known and call.tx.get(self.name, "hand-overs", known) is None
            self.add(call.tx, "hand-overs", {**call.body, "webhook_id": known}, row_id=known if is_new else None)
        if call.settings["silent_mode"]:
            return Answer(200)
        ids = {name: str(uuid4()) for name in ("attempt", "id", "request_id")}
        return Answer(200, {**ids, "status": "success"})
