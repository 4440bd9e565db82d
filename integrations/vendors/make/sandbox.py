"""Make's dialect: one custom webhook, its queue, and its answers, which are plain text.

Taken from help.make.com/webhooks and apps.make.com/gateway (``Accepted``, the queue's limit, API keys); for the queue
developers.make.com/api-documentation/api-reference/hooks-greater-than-incomings. ``There is no scenario listening for this
webhook.`` with its 410 is seen in public logs. The 400 of a full queue, its text and the 429 are not confirmed by those pages.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, route
from integrations.sandbox.store import Json, Tx

NOBODY_LISTENS = "There is no scenario listening for this webhook."


class Make(Dialect):
    name = "make"
    prefix = "/make"
    system = "workflow"
    base_path = "/make"
    secrets = {"webhook_secret": "whsec_c2FuZGJveC1zaWduaW5nLXNlY3JldC0wMw=="}
    counted = ("hand-overs",)
    id_base = 1
    sends_retry_after = False
    #: ``listens``: whether a scenario does; ``queue_limit``: most messages in the queue; ``response``: what a “Webhook response”
    #: module says in place of ``Accepted``; ``api_key``: what the webhook asks for
    defaults = {"search_lag": 0.0, "listens": True, "queue_limit": 10_000, "response": "", "api_key": ""}
    own_settings = frozenset({"listens", "queue_limit", "response", "api_key"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        """The address is the secret, and an API key where one is asked for."""
        return True

    def refusal(self, status: int, message: str) -> Answer:
        return _plain(status, message or HTTPStatus(status).phrase)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("hand-over", str(body["data"].get("hand_over", "")))]

    def preseed(self, tx: Tx) -> None:
        """A new account has the one webhook, which its settings tell of."""

    @route("POST", "/{token}")
    def take(self, call: Call, token: str) -> Answer:
        if token not in call.settings["tokens"] or not call.settings["listens"]:
            return _plain(HTTPStatus.GONE, NOBODY_LISTENS)
        if call.settings["api_key"] and call.headers.get("x-make-apikey") != call.settings["api_key"]:
            return _plain(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        if len(call.tx.rows(self.name, "hand-overs")) >= int(call.settings["queue_limit"]):
            return _plain(HTTPStatus.BAD_REQUEST, "Queue is full.")
        known = call.headers.get("webhook-id") or ""
        is_new = known and call.tx.get(self.name, "hand-overs", known) is None
        self.add(call.tx, "hand-overs", {**call.body, "webhook_id": known}, row_id=known if is_new else None)
        return _plain(HTTPStatus.OK, str(call.settings["response"] or "Accepted"))


def _plain(status: int, text: str) -> Answer:
    return Answer(status, raw=("text/plain", text.encode()))
