"""Zapier says success to whatever arrives, whether or not a Zap listens."""

import time

import pytest

from integrations.connections.services import probe
from integrations.connectors.objects import HandOver
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
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


def test_an_address_with_the_accounts_number_keeps_its_slashes(sandbox: SandboxControl) -> None:
    sandbox.set_tokens("zapier", ["1234567/abc123"])
    for given in ("1234567/abc123", "/1234567/abc123/", f"{sandbox.base_url}/zapier/hooks/catch/1234567/abc123/"):
        send(connect("zapier", sandbox, token=given))
    assert {each["path"] for each in sandbox.requests("zapier")} == {"/hooks/catch/1234567/abc123/"}
    assert len(handed_over("zapier", sandbox)) == 3


def test_a_zap_that_is_off_is_not_told_from_one_that_runs(sandbox: SandboxControl) -> None:
    sandbox.configure("zapier", is_on=False)
    send(connect("zapier", sandbox))
    assert handed_over("zapier", sandbox) == []


def test_a_hook_that_is_gone_stops_the_connection(sandbox: SandboxControl) -> None:
    sandbox.configure("zapier", unsubscribed=True)
    error = refused(connect("zapier", sandbox))
    assert (error.kind, error.http_status, error.effect_possible) == (Kind.AUTH, 410, False)


def test_silent_mode_leaves_the_outcome_open(sandbox: SandboxControl) -> None:
    sandbox.configure("zapier", silent_mode=True)
    error = refused(connect("zapier", sandbox))
    assert (error.kind, error.effect_possible) == (Kind.MALFORMED, True)


def test_the_limit_names_no_time_and_is_waited_out(sandbox: SandboxControl) -> None:
    sandbox.configure("zapier", rate_limit={"requests": 1, "seconds": 30})
    connection = connect("zapier", sandbox)
    send(connection)
    error = refused(connection)
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.RATE_LIMIT, 30.0, False)


def test_a_probe_starts_no_zap(sandbox: SandboxControl) -> None:
    assert probe(connect("zapier", sandbox)).ok
    assert sandbox.requests("zapier") == []
