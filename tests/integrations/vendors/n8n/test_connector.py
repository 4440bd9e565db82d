"""n8n starts a flow for each message at a production address, and says little of it."""

import json
import time
from typing import Any

import pytest

from integrations import clock
from integrations.connections.services import probe, set_connection
from integrations.connectors.base import Created
from integrations.connectors.objects import HandOver
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.inbound import standard_webhooks
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from tests.support.workflow_tools import connect, handed_over, secret_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
WANTED = HandOver(hand_over="pay_1/territory/0", transaction_id="pay_1", step="territory", minutes=60)


def send(connection: Connection) -> Created:
    made: Any = connector(connection, subject="step:1", deadline=time.monotonic() + 20).create(WANTED, "firstvalue:1")
    return made


def refused(connection: Connection) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        send(connection)
    return raised.value


def test_the_execution_is_known_where_the_flow_answers_with_it(sandbox: SandboxControl) -> None:
    sandbox.configure("n8n", respond="execution")
    made = send(connect("n8n", sandbox))
    (received,) = handed_over("n8n", sandbox)
    assert made.url == f"{sandbox.base_url}/n8n/workflow/kQ3vSandboxFlow01/executions/{received['execution']}"


def test_a_flow_that_only_says_that_it_was_started_has_no_address_yet(sandbox: SandboxControl) -> None:
    assert send(connect("n8n", sandbox)).url == ""


def test_header_authentication_is_sent_under_its_name(sandbox: SandboxControl) -> None:
    sandbox.configure("n8n", header_auth="X-Flow-Key: k-1")
    connection = connect("n8n", sandbox, auth_value="k-1")
    connection.options = {"auth_header": "X-Flow-Key"}
    send(connection)
    assert len(handed_over("n8n", sandbox)) == 1
    assert refused(connect("n8n", sandbox)).kind is Kind.FORBIDDEN


@pytest.mark.parametrize("active", [True, False])
def test_a_probe_tells_an_active_flow_without_starting_it(sandbox: SandboxControl, active: bool) -> None:
    sandbox.configure("n8n", active=active)
    result = probe(connect("n8n", sandbox))
    assert (result.ok, result.kind) == ((True, None) if active else (False, Kind.AUTH))
    assert handed_over("n8n", sandbox) == []


def test_a_flow_that_is_not_active_is_refused_without_the_address(sandbox: SandboxControl) -> None:
    sandbox.configure("n8n", active=False)
    error = refused(connect("n8n", sandbox))
    assert (error.kind, error.effect_possible) == (Kind.AUTH, False)
    recorded = [f"{call.path} {call.request} {call.response} {call.error}" for call in ApiCall.objects.all()]
    assert recorded
    assert all("sandbox-n8n-token" not in each for each in [*recorded, error.message])


def test_the_whole_production_address_is_taken_and_the_test_address_refused(sandbox: SandboxControl) -> None:
    whole = f"{sandbox.base_url}/n8n/webhook/sandbox-n8n-token"
    send(connect("n8n", sandbox, token=whole))
    error = refused(connect("n8n", sandbox, token=whole.replace("/webhook/", "/webhook-test/")))
    assert error.kind is Kind.NOT_CONFIGURED
    assert "sandbox-n8n-token" not in error.message


def test_without_a_signing_secret_nothing_is_sent(sandbox: SandboxControl) -> None:
    connection = set_connection(
        "n8n",
        system="workflow",
        provider="n8n",
        base_url=f"{sandbox.base_url}/n8n",
        environment="sandbox",
        secrets={"token": ["sandbox-n8n-token"]},
        actor="tests",
    )
    assert refused(connection).kind is Kind.NOT_CONFIGURED
    assert handed_over("n8n", sandbox) == []


def test_the_message_is_signed_over_the_bytes_that_arrive(
    sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: dict[str, Any] = {}
    sign = standard_webhooks.sign

    def noted(raw: bytes, **given: Any) -> dict[str, str]:
        signed.update(headers=sign(raw, **given), raw=raw)
        return signed["headers"]

    monkeypatch.setattr(standard_webhooks, "sign", noted)
    send(connect("n8n", sandbox))
    (asked,) = sandbox.requests("n8n")
    assert asked["body"].encode() == signed["raw"]

    verified = standard_webhooks.verify(asked["body"].encode(), signed["headers"], [secret_of("n8n")], clock.now())
    assert verified.id == asked["idempotency_key"] == handed_over("n8n", sandbox)[0]["webhook_id"]
    assert json.loads(asked["body"])["type"] == "workflow.requested"
