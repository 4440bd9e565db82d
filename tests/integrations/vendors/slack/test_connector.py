"""Slack refuses in the body of a success, or by a webhook's one word."""

import time
from typing import Any

import pytest

from integrations.connections.services import probe, set_connection
from integrations.connectors.objects import ChatMessage
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.slack.connector import MOST_CHARACTERS, _text
from integrations.vendors.slack.sandbox import ARCHIVED, CHANNEL, HOOK, NOT_A_MEMBER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
MESSAGE = ChatMessage(title="At risk: Acme", lines=["Cause: unknown"])


def connected(sandbox: SandboxControl, secrets: dict[str, str], **options: str) -> Connection:
    return set_connection(
        "slack",
        system="chat",
        provider="slack",
        base_url=f"{sandbox.base_url}/slack",
        environment="sandbox",
        secrets={name: [value] for name, value in secrets.items()},
        options=options,
        actor="tests",
    )


def by_token(sandbox: SandboxControl, channel: str = CHANNEL) -> Connection:
    return connected(sandbox, {"token": "sandbox-slack-token"}, channel=channel)


def by_webhook(sandbox: SandboxControl, path: str = HOOK) -> Connection:
    return connected(sandbox, {"webhook_url": f"{sandbox.base_url}/slack{path}"})


def post(connection: Connection) -> Any:
    return connector(connection, subject="alert:1", deadline=time.monotonic() + 20).create(MESSAGE, "alert:1")


def refused(connection: Connection) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        post(connection)
    return raised.value


def test_a_webhook_posts_and_its_address_is_recorded_nowhere(sandbox: SandboxControl) -> None:
    connection = by_webhook(sandbox)
    post(connection)
    (posted,) = sandbox.objects("slack", "messages")
    assert posted["body"]["text"] == "*At risk: Acme*\nCause: unknown"
    assert probe(connection).message == "Slack webhook"
    assert len(sandbox.objects("slack", "messages")) == 1, "a probe posts nothing"
    recorded = [f"{call.path} {call.request} {call.response} {call.error}" for call in ApiCall.objects.all()]
    assert len(recorded) == 2
    assert all("T0000000001" not in each for each in recorded)


@pytest.mark.parametrize(
    ("channel", "kind", "says"),
    [
        ("C0000000404", Kind.NOT_CONFIGURED, "channel_not_found"),
        (NOT_A_MEMBER, Kind.NOT_CONFIGURED, "not_in_channel"),
        (ARCHIVED, Kind.NOT_CONFIGURED, "is_archived"),
    ],
)
def test_a_channel_that_cannot_be_written_to_is_a_persons_to_change(
    sandbox: SandboxControl, channel: str, kind: Kind, says: str
) -> None:
    error = refused(by_token(sandbox, channel))
    assert (error.kind, error.effect_possible) == (kind, False)
    assert says in error.message


@pytest.mark.parametrize(
    ("status", "kind", "possible"),
    [(400, Kind.INVALID, False), (403, Kind.FORBIDDEN, False), (429, Kind.RATE_LIMIT, False), (500, Kind.SERVER, True)],
)
def test_a_webhooks_refusals(sandbox: SandboxControl, status: int, kind: Kind, possible: bool) -> None:
    fault = {403: "forbidden", 429: "rate_limit"}.get(status, "error_before")
    sandbox.add_fault("slack", fault, status=status if fault == "error_before" else None)
    error = refused(by_webhook(sandbox))
    assert (error.kind, error.effect_possible) == (kind, possible)


def test_a_revoked_webhook_is_refused_credentials(sandbox: SandboxControl) -> None:
    sandbox.configure("slack", revoked_webhook=True)
    error = refused(by_webhook(sandbox))
    assert (error.kind, error.http_status) == (Kind.AUTH, 404)
    assert not probe(by_webhook(sandbox)).ok


def test_a_channels_pace_is_kept(sandbox: SandboxControl) -> None:
    sandbox.configure("slack", seconds_between_messages=30.0)
    connection = by_token(sandbox)
    post(connection)
    error = refused(connection)
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.RATE_LIMIT, 30.0, False)


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/services/T/B/x", "http://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/other",
     "https://hooks.slack.com@evil.example/services/T/B/x", "https://hooks.slack.com:8443/services/T/B/x"],
)  # fmt: skip
def test_a_webhook_that_leads_elsewhere_is_not_called(sandbox: SandboxControl, url: str) -> None:
    error = refused(connected(sandbox, {"webhook_url": url}))
    assert error.kind is Kind.NOT_CONFIGURED
    assert url not in error.message


def test_without_either_secret_it_says_what_is_missing(sandbox: SandboxControl) -> None:
    error = refused(connected(sandbox, {}, channel=CHANNEL))
    assert "neither a bot token nor a webhook" in error.message


def test_markup_is_escaped_and_a_long_text_is_cut_beside_the_link() -> None:
    text = _text(
        ChatMessage(title="<!here> & <@U1>", lines=["&" * 5000], link="https://a.example/1?a=1&b=2", link_label="Go")
    )
    assert text.startswith("*&lt;!here&gt; &amp; &lt;@U1&gt;*\n&amp;")
    assert text.endswith("&amp;…\n<https://a.example/1?a=1&amp;b=2|Go>")
    assert len(text) <= MOST_CHARACTERS
