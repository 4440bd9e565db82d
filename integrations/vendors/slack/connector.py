"""Slack (chat): one message to the connection's channel, by a bot's token or by an incoming webhook.

The Web API refuses with 200 and ``ok: false`` (docs.slack.dev/apis/web-api, docs.slack.dev/reference/methods/chat.postMessage);
of ``internal_error`` and ``fatal_error`` it says that a part may have been carried out. An incoming webhook answers in plain text
(docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-
incoming-webhooks); its whole address is the secret, and it tells no id. Neither knows an idempotency key. A 429 says how long
to wait
(docs.slack.dev/apis/web-api/rate-limits: about one message a second and channel). Text is escaped as docs.slack.dev/messaging/
formatting-message-text says.
"""

import copy
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Capability, Created, CreateSafety, Found, HttpConnector, MatchKey
from integrations.connectors.objects import ChatMessage, VendorObject
from integrations.connectors.options import TOKEN, Option, Secret
from integrations.crypto import SecretUnreadable
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp
from integrations.http.hosts import is_sandbox
from integrations.http.redaction import SECRET
from integrations.models import Connection

WEBHOOK_URL = "webhook_url"
WEBHOOK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
MOST_CHARACTERS = 4000
"""Slack advises no longer texts, and cuts them from 40,000 on."""
_RATE_LIMIT_SECONDS = 30.0
_ERRORS = {
    Kind.AUTH: "invalid_auth not_authed account_inactive token_revoked token_expired no_service no_service_id no_team "
    "invalid_token no_active_hooks",
    Kind.FORBIDDEN: "missing_scope no_permission not_allowed_token_type org_login_required ekm_access_denied accesslimited "
    "access_denied team_access_not_granted restricted_action restricted_action_read_only_channel action_prohibited",
    Kind.NOT_CONFIGURED: "channel_not_found not_in_channel is_archived channel_is_archived",
    Kind.RATE_LIMIT: "ratelimited rate_limited",
    Kind.SERVER: "internal_error fatal_error service_unavailable request_timeout rollup_error",
}
_KIND_OF = {code: kind for kind, codes in _ERRORS.items() for code in codes.split()}
_CUT_ENTITY = re.compile(r"&[a-z]{0,3}$")
_PROOF = frozenset({"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"})
"""What a webhook that works says of a message without a text."""


class PostedMessage(VendorAnswer):
    ok: bool
    channel: str
    ts: str


class Identity(VendorAnswer):
    ok: bool
    team: str = ""
    user: str = ""


class Slack(HttpConnector):
    provider = "slack"
    systems = frozenset({"chat"})
    hosts = ("slack.com", "slack-gov.com")
    default_base_url = "https://slack.com"
    kinds = (
        Capability(
            kind=ChatMessage.KIND,
            safety=CreateSafety.NEITHER,
            reversible=False,
            rollback="a message that was posted stays",
            updatable=False,
        ),
    )
    options = (
        Option(
            name="channel",
            help="The channel's id, at the end of its “About” tab; the bot must be a member. With a webhook: empty.",
            pattern="[A-Z0-9]+",
            allowed="a channel's id, such as C0123456789",
        ),
    )
    secrets = (
        Secret(
            name=TOKEN,
            label="Bot token",
            help="Begins with xoxb-; its app needs the scope chat:write. In place of a webhook.",
            required=False,
        ),
        Secret(
            name=WEBHOOK_URL,
            label="Incoming webhook's address",
            help="https://hooks.slack.com/services/…: it leads to one channel. In place of a token.",
            required=False,
        ),
    )
    probes = "the bot's token, and whose it is; or that the webhook's address is alive; nothing is posted"
    advice = {
        Kind.NOT_CONFIGURED: "Enter a bot's token and a channel of which it is a member, or a webhook's address.",
    }

    def __init__(self, connection: Connection, http: VendorHttp, hook: str = "") -> None:
        super().__init__(connection, http)
        self.http.denies = self._not_ok if hook else self.translate
        self._hook = hook
        """The webhook's path; empty for the Web API."""

    @classmethod
    def on(
        cls, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
    ) -> Self:
        try:
            tokens, hooks = connection.secrets(TOKEN), connection.secrets(WEBHOOK_URL)
        except SecretUnreadable as problem:
            raise ProviderError(Kind.AUTH, f"A secret of {connection.slug} cannot be read: {problem}.") from None
        calls: dict[str, Any] = {"subject": subject, "deadline": deadline, "before_write": before_write}
        if hooks:
            origin, path = _address(hooks[0], connection)
            there = copy.copy(connection)
            there.base_url = origin
            return cls(connection, _WebhookHttp(there, headers={}, **calls), path)
        if not tokens:
            raise ProviderError(
                Kind.NOT_CONFIGURED, f"{connection.slug}: neither a bot token nor a webhook's address is there"
            )
        headers = {**cls.auth_headers(connection, tokens[0]), "Content-Type": "application/json; charset=utf-8"}
        return cls(connection, VendorHttp(connection, headers=headers, **calls))

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        """By the error's name, whichever status it comes with. None for a success, and for what is no answer of Slack's."""
        code = _code(body)
        if not code or (code == "ok" and status == HTTPStatus.OK):
            return None
        kind = _KIND_OF.get(code, Kind.INVALID)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = Kind.SERVER
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = Kind.RATE_LIMIT
        needed = f" (it needs {body['needed']})" if isinstance(body, dict) and body.get("needed") else ""
        return ProviderError(
            kind,
            f"Slack refused: {code}{needed}",
            status,
            retry_after=_RATE_LIMIT_SECONDS if kind is Kind.RATE_LIMIT and "Retry-After" not in headers else None,
            effect_possible=kind is Kind.SERVER,
        )

    def _not_ok(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        """A webhook's success is the one word."""
        if _code(body) == "ok":
            return None
        malformed = ProviderError(Kind.MALFORMED, "Slack gave another answer than ok", status, effect_possible=True)
        return self.translate(status, headers, body) or malformed

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        """A message is not read back: what we recorded stands."""
        return Found(external_id, "Message, as recorded when it was posted")

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it posts a second message."""
        if not isinstance(wanted, ChatMessage):
            raise TypeError(f"slack has no {wanted.kind}")
        message: dict[str, Any] = {"text": _text(wanted), "unfurl_links": False, "unfurl_media": False}
        if self._hook:
            self.http.request("POST", self._hook, json=message)
            return Created(reference)
        if not self.option("channel"):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{self.connection.slug}: option channel is missing")
        message["channel"] = self.option("channel")
        message["metadata"] = {"event_type": "firstvalue_message", "event_payload": {"reference": reference}}
        made = self.http.request("POST", "/api/chat.postMessage", json=message, expect=PostedMessage).data
        return Created(f"{made.channel}:{made.ts}")

    def probe(self) -> str:
        if not self._hook:
            me = self.http.request("POST", "/api/auth.test", reads=True, expect=Identity).data
            return f"Slack workspace {me.team}, as {me.user}"
        try:
            self.http.request("POST", self._hook, json={"text": ""}, reads=True)
        except ProviderError as error:
            if not any(code in error.message for code in _PROOF):
                raise
        return "Slack webhook"


class _WebhookHttp(VendorHttp):
    """The path is the secret: no record shows it."""

    def _record(self, method: str, path: str, **rest: Any) -> None:  # noqa: ARG002
        super()._record(method, f"/services/{SECRET}", **rest)


def _address(url: str, connection: Connection) -> tuple[str, str]:
    """(origin, path) of a webhook. Raises ``ProviderError(NOT_CONFIGURED)``, which does not repeat the secret."""
    try:
        parts = urlsplit(url)
        host, plain = parts.hostname or "", not (parts.username or parts.query or parts.fragment or parts.port)
    except ValueError:
        parts, host, plain = urlsplit(""), "", False
    allowed = parts.scheme == "https" and host in WEBHOOK_HOSTS and plain and parts.path.startswith("/services/")
    if not allowed and not is_sandbox(url, connection.environment):
        raise ProviderError(
            Kind.NOT_CONFIGURED,
            f"{connection.slug}: the webhook's address must begin with https://hooks.slack.com/services/",
        )
    return f"{parts.scheme}://{parts.netloc}", parts.path


def _code(body: Any) -> str:
    """The error's name; ``ok`` for a success; empty where the body is none of Slack's."""
    if isinstance(body, dict) and isinstance(body.get("ok"), bool):
        return "ok" if body["ok"] else str(body.get("error") or "unknown_error")[:100]
    if isinstance(body, str) and body.strip() and body.strip().replace("_", "").isalpha():
        return body.strip().lower()[:100]
    return ""


def _text(wanted: ChatMessage) -> str:
    """As mrkdwn: the title in bold, a paragraph a line, the link last."""
    title = _escaped(wanted.title)
    link = f"<{_escaped(wanted.link)}|{_escaped(wanted.link_label or 'Open')}>" if wanted.link else ""
    parts = [f"*{title}*" if title else "", *map(_escaped, wanted.lines or ())]
    text = "\n".join(part for part in parts if part)
    longest = MOST_CHARACTERS - len(link) - 1
    if len(text) > longest:
        text = f"{_CUT_ENTITY.sub('', text[: longest - 1])}…"
    whole = "\n".join(part for part in (text, link) if part)
    if not whole:
        raise ProviderError(Kind.INVALID, "The message has no text")
    return whole


def _escaped(text: str) -> str:
    """One line in which nothing is markup that notifies anybody or leads anywhere."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
