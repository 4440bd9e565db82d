"""Slack's dialect: the Web API's messages to channels, and one incoming webhook.

Taken from docs.slack.dev/reference/methods/chat.postMessage and /auth.test, /apis/web-api (refusals are 200 with ``ok:
false``; a JSON
body's token is not read), /apis/web-api/rate-limits (429, ``Retry-After``, ``ratelimited``; about one message a second and
channel),
/messaging/sending-messages-using-incoming-webhooks and the changelog of 2016-05-17 (plain text with a status). The limits of
text and
blocks are those of /reference/block-kit.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, route
from integrations.sandbox.store import Json, Row, Tx, term

CHANNEL, NOT_A_MEMBER, ARCHIVED = "C0000000001", "C0000000002", "C0000000003"
HOOK = "/services/T0000000001/B0000000001/sandboxsandboxsandboxsan"
_MOST_BLOCKS, _LONGEST_SECTION, _LONGEST_TEXT = 50, 3000, 40_000
_ERROR_OF = {
    HTTPStatus.UNAUTHORIZED: "invalid_auth",
    HTTPStatus.FORBIDDEN: "missing_scope",
    HTTPStatus.NOT_FOUND: "channel_not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "ratelimited",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable",
}
_OWN_STATUS = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
"""The others are said by the body alone, until the service itself fails."""


class Slack(Dialect):
    name = "slack"
    prefix = "/slack"
    system = "chat"
    base_path = "/slack"
    options = {"channel": CHANNEL}
    counted = ("messages",)
    fixed_kinds = ("channels",)
    id_base = 100
    #: ``seconds_between_messages``: seconds that a channel wants between two messages
    defaults = {"search_lag": 0.0, "seconds_between_messages": 0.0, "revoked_webhook": False}
    own_settings = frozenset({"seconds_between_messages", "revoked_webhook"})
    always = frozenset({"ok", "channel", "ts", "error", "text"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        """A webhook's address is its own secret: each method looks at what it needs."""
        return True

    def refusal(self, status: int, message: str) -> Answer:  # noqa: ARG002
        if status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.LENGTH_REQUIRED):
            return _refused("invalid_post_type")
        error = _ERROR_OF.get(HTTPStatus(status), "invalid_arguments")
        itself = status in _OWN_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        needed = {"needed": "chat:write", "provided": "channels:read"} if error == "missing_scope" else {}
        return Answer(status if itself else HTTPStatus.OK, {"ok": False, "error": error, **needed})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {"X-Slack-Req-Id": "sandbox"}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        reference = (body.get("metadata") or {}).get("event_payload", {}).get("reference") or body.get("text", "")
        return [("message", term(reference))]

    def preseed(self, tx: Tx) -> None:
        for channel, name, member, archived in (
            (CHANNEL, "onboarding", True, False),
            (NOT_A_MEMBER, "general", False, False),
            (ARCHIVED, "old", True, True),
        ):
            self.add(
                tx, "channels", {"name": name, "member": member, "archived": archived}, row_id=channel, seeded=True
            )

    @route("POST", "/api/auth.test")
    def who(self, call: Call) -> Answer:
        _authorize(call)
        known = {"team": "Sandbox", "user": "firstvalue", "team_id": "T0000000001", "user_id": "U0000000001"}
        return Answer(200, {"ok": True, "url": f"{self.origin}/slack/", **known, "bot_id": "B0000000002"})

    @route("POST", "/api/chat.postMessage")
    def post(self, call: Call) -> Answer:
        _authorize(call)
        body = call.body
        channel = call.tx.get(self.name, "channels", str(body.get("channel") or ""))
        if channel is None:
            raise Refused(_refused("channel_not_found"))
        if channel.body["archived"]:
            raise Refused(_refused("is_archived"))
        if not channel.body["member"]:
            raise Refused(_refused("not_in_channel"))
        if problem := _problem(body):
            raise Refused(_refused(problem))
        row = self._posted(call, channel, body)
        said = {"text": row.body["text"], "type": "message", "bot_id": "B0000000002", "ts": row.body["ts"]}
        return Answer(200, {"ok": True, "channel": channel.id, "ts": row.body["ts"], "message": said})

    @route("POST", HOOK)
    def hook(self, call: Call) -> Answer:
        """One word with a status, in plain text."""
        channel = call.tx.get(self.name, "channels", CHANNEL)
        if call.settings["revoked_webhook"]:
            return _plain(HTTPStatus.NOT_FOUND, "no_service")
        if channel is None or channel.body["archived"]:
            return _plain(HTTPStatus.GONE, "channel_is_archived")
        if problem := _problem(call.body):
            return _plain(HTTPStatus.BAD_REQUEST, problem)
        self._posted(call, channel, call.body)
        return _plain(HTTPStatus.OK, "ok")

    def _posted(self, call: Call, channel: Row, body: Json) -> Row:
        before = [row for row in call.tx.rows(self.name, "messages") if row.body["channel"] == channel.id]
        wait = float(call.settings["seconds_between_messages"])
        if before and call.tx.now - before[-1].created_at < wait:
            limited = self.refusal(HTTPStatus.TOO_MANY_REQUESTS, "")
            limited.headers["Retry-After"] = str(max(1, round(wait)))
            raise Refused(limited)
        number = call.tx.new_id(self.name, "messages", self.id_base)
        ts = f"{int(call.tx.now)}.{int(number):06d}"
        kept = {"channel": channel.id, "ts": ts, "text": str(body.get("text") or ""), "metadata": body.get("metadata")}
        return self.add(call.tx, "messages", {**kept, "blocks": body.get("blocks")}, row_id=f"{channel.id}:{ts}")


def _authorize(call: Call) -> None:
    """The header alone counts: a token in a JSON body is not read."""
    token = call.headers.get("Authorization", "").partition("Bearer ")[2].strip()
    token = token or ("" if call.says_json else str(call.body.get("token") or ""))
    if not token:
        raise Refused(_refused("not_authed"))
    if token not in call.settings["tokens"]:
        raise Refused(_refused("invalid_auth"))


def _problem(body: Json) -> str:
    text, blocks = body.get("text") or "", body.get("blocks") or []
    if not isinstance(text, str) or not isinstance(blocks, list):
        return "invalid_arguments"
    if not text.strip() and not blocks:
        return "no_text"
    if len(text) > _LONGEST_TEXT:
        return "msg_too_long"
    long = any(len(str((block.get("text") or {}).get("text", ""))) > _LONGEST_SECTION for block in blocks)
    return "invalid_blocks" if len(blocks) > _MOST_BLOCKS or long else ""


def _refused(error: str) -> Answer:
    return Answer(200, {"ok": False, "error": error})


def _plain(status: int, word: str) -> Answer:
    return Answer(status, raw=("text/plain", word.encode()))
