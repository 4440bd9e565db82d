"""Signing in: a session is renewed when it is refused, and a rotated refresh token is never spent twice."""

import pytest

from integrations import crypto
from integrations.connections.services import replace_credentials, set_connection
from integrations.connections.sessions import REFRESH_TOKEN, SESSION
from integrations.errors import Kind, ProviderError
from integrations.models import Connection, ConnectionSecret
from integrations.sandbox.control import SandboxControl
from tests.integrations.vendors.conformance import Bench
from tests.support.threads import together

pytestmark = [pytest.mark.django_db(transaction=True)]
FIRST = "sandbox-salesforce-refresh"


@pytest.fixture
def bench(sandbox: SandboxControl) -> Bench:
    return Bench("salesforce", sandbox)


@pytest.fixture
def refreshing(bench: Bench) -> Bench:
    set_connection("salesforce", system="crm", provider="salesforce", secrets={REFRESH_TOKEN: [FIRST]}, actor="tests")
    fresh(bench)
    return bench


def stored(name: str) -> list[str]:
    return [crypto.decrypt(each.ciphertext) for each in ConnectionSecret.objects.filter(name=name)]


def sign_ins(bench: Bench) -> int:
    return len([each for each in bench.sandbox.requests("salesforce") if each["path"].startswith("/services/oauth2")])


def fresh(bench: Bench) -> Bench:
    bench.connection = Connection.objects.get(pk=bench.connection.pk)
    return bench


def test_a_session_is_kept_and_renewed_once_it_is_refused(bench: Bench) -> None:
    for _ in range(2):
        assert "Firstvalue Sandbox" in fresh(bench).connector().probe()
    assert sign_ins(bench) == 1
    bench.sandbox.configure("salesforce", session_epoch=1)
    assert fresh(bench).connector().probe()
    assert sign_ins(bench) == 2
    assert len(stored(SESSION)) == 1


def test_a_rotated_refresh_token_replaces_the_one_that_was_spent(refreshing: Bench) -> None:
    for epoch in (0, 1, 2):
        refreshing.sandbox.configure("salesforce", session_epoch=epoch)
        before = stored(REFRESH_TOKEN)
        assert fresh(refreshing).connector().probe()
        (now,) = stored(REFRESH_TOKEN)
        assert now != before[0]
    assert sign_ins(refreshing) == 3


def test_workers_whose_session_ends_together_spend_one_refresh_token(refreshing: Bench) -> None:
    assert refreshing.connector().probe()
    for epoch in (1, 2, 3):
        refreshing.sandbox.configure("salesforce", session_epoch=epoch)
        seen = [Connection.objects.get(pk=refreshing.connection.pk) for _ in range(5)]
        before = sign_ins(refreshing)

        def work(connection: Connection) -> str:
            other = object.__new__(Bench)
            other.vendor, other.sandbox, other.connection = "salesforce", refreshing.sandbox, connection
            return other.connector().probe()

        names = together([lambda each=each: work(each) for each in seen])  # type: ignore[misc]
        assert len(names) == 5
        assert sign_ins(refreshing) == before + 1
    assert len(stored(REFRESH_TOKEN)) == 1


def test_a_session_that_cannot_be_renewed_is_refused_credentials_and_no_loop(refreshing: Bench) -> None:
    assert refreshing.connector().probe()
    refreshing.sandbox.add_fault("salesforce", "unauthorized", method="GET")
    with pytest.raises(ProviderError) as refused:
        refreshing.connector().probe()
    assert refused.value.kind is Kind.AUTH
    assert sign_ins(refreshing) == 2


def test_after_a_lost_answer_the_refusal_says_that_a_new_refresh_token_is_needed(refreshing: Bench) -> None:
    refreshing.sandbox.add_fault("salesforce", "reset_after", path="/services/oauth2/token", count=1)
    with pytest.raises(ProviderError) as lost:
        refreshing.connector().probe()
    assert (lost.value.kind, lost.value.effect_possible) == (Kind.SERVER, False)
    with pytest.raises(ProviderError, match="get a new one") as refused:
        fresh(refreshing).connector().probe()
    assert refused.value.kind is Kind.AUTH


def test_a_tested_refresh_token_is_kept_as_the_test_left_it(bench: Bench) -> None:
    result = replace_credentials(bench.connection.pk, {REFRESH_TOKEN: [FIRST]}, actor="tests")
    assert result.ok, result.message
    (kept,) = stored(REFRESH_TOKEN)
    assert kept != FIRST
    assert fresh(bench).connector().probe()


def test_another_secret_voids_the_session(refreshing: Bench) -> None:
    assert refreshing.connector().probe()
    refreshing.sandbox.set_tokens("salesforce", ["second-secret"])
    result = replace_credentials(refreshing.connection.pk, {"token": ["second-secret"]}, actor="tests")
    assert result.ok, result.message
    assert fresh(refreshing).connector().probe()
