"""Make puts a message into its webhook's queue, and says so in one word."""

import time

import pytest

from integrations.connections.services import probe
from integrations.connectors.objects import HandOver
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from tests.support.workflow_tools import connect, handed_over

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
WANTED = HandOver(hand_over="pay_1/territory/0", transaction_id="pay_1", step="territory", minutes=60)


def send(connection: Connection) -> None:
    connector(connection, subject="step:1", deadline=time.monotonic() + 20).create(WANTED, "firstvalue:1")


def refused(connection: Connection) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        send(connection)
    return raised.value


def test_a_scenario_that_is_off_stops_the_connection(sandbox: SandboxControl) -> None:
    sandbox.configure("make", listens=False)
    error = refused(connect("make", sandbox))
    assert (error.kind, error.http_status, error.effect_possible) == (Kind.AUTH, 410, False)
    assert "switch the scenario on" in error.message


def test_a_full_queue_passes_by_itself(sandbox: SandboxControl) -> None:
    sandbox.configure("make", queue_limit=1)
    connection = connect("make", sandbox)
    send(connection)
    error = refused(connection)
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.TEMPORARY, 60.0, False)


def test_another_answer_than_accepted_leaves_the_outcome_open(sandbox: SandboxControl) -> None:
    sandbox.configure("make", response="Thanks!")
    error = refused(connect("make", sandbox))
    assert (error.kind, error.effect_possible) == (Kind.MALFORMED, True)


def test_an_api_key_is_sent_where_the_webhook_asks_for_one(sandbox: SandboxControl) -> None:
    sandbox.configure("make", api_key="key-1")
    send(connect("make", sandbox, api_key="key-1"))
    assert refused(connect("make", sandbox, api_key="key-2")).kind is Kind.AUTH
    assert len(handed_over("make", sandbox)) == 1
    assert all("key-1" not in f"{call.request} {call.path}" for call in ApiCall.objects.all())


def test_the_limit_names_no_time_and_is_waited_out(sandbox: SandboxControl) -> None:
    sandbox.configure("make", rate_limit={"requests": 1, "seconds": 10})
    connection = connect("make", sandbox)
    send(connection)
    error = refused(connection)
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.RATE_LIMIT, 10.0, False)


def test_a_probe_starts_no_scenario(sandbox: SandboxControl) -> None:
    assert probe(connect("make", sandbox)).ok
    assert sandbox.requests("make") == []
