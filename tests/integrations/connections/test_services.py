"""Connections: what may be entered, when secrets are voided, and when a breaker opens and closes."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from integrations import signals
from integrations.checks import field_encryption_keys
from integrations.connections.services import (
    close_after_probe,
    default_connection,
    probe,
    record_auth_failure,
    replace_credentials,
    set_connection,
)
from integrations.connectors.registry import PROVIDERS, connector, register
from integrations.errors import Kind, ProviderError
from integrations.http.hosts import checked_base_url
from integrations.models import Connection, ConnectionSecret

pytestmark = pytest.mark.django_db(transaction=True)


def stripe(**changes) -> Connection:
    return set_connection("stripe", **{"system": "billing", "provider": "stripe", "actor": "tests"} | changes)


def crm(base_url: str | None = None, environment: str = "production", **changes) -> Connection:
    given = {"system": "crm", "provider": "hubspot", "actor": "tests", "base_url": base_url}
    return set_connection("hubspot", environment=environment, **given | changes)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def heard():
    """The breaker's news."""
    news: list[tuple[str, object]] = []

    def opened(status, **_) -> None:
        news.append(("opened", status))

    def closed(actor, **_) -> None:
        news.append(("closed", actor))

    signals.breaker_opened.connect(opened)
    signals.breaker_closed.connect(closed)
    yield news
    signals.breaker_opened.disconnect(opened)
    signals.breaker_closed.disconnect(closed)


def test_secrets_are_stored_encrypted_and_replaced():
    crm(secrets={"token": ["first"]})
    made = crm(secrets={"token": ["second"]})
    assert made.secrets("token") == ["second"]
    assert "second" not in ConnectionSecret.objects.get().ciphertext
    assert made.credentials_version == 2
    assert crm(secrets={"token": ["second"]}).credentials_version == 2


def test_a_webhook_secret_is_rotated():
    for value in ("one", "two", "three", "three"):
        made = stripe(secrets={"webhook_secret": [value]})
    assert made.secrets("webhook_secret") == ["three", "two"]


def test_another_base_url_voids_the_secrets():
    crm(secrets={"token": ["t"], "webhook_secret": ["w"]})
    made = crm("https://api-eu1.hubapi.com/")
    assert made.base_url == "https://api-eu1.hubapi.com"
    assert (made.secrets("token"), made.secrets("webhook_secret"), made.credentials_version) == ([], [], 2)


def test_what_is_not_given_stays():
    crm("https://api-eu1.hubapi.com", secrets={"token": ["t"]}, options={"portal_id": "7"})
    made = crm(options={"search_lag": "3"})
    assert (made.base_url, made.secrets("token")) == ("https://api-eu1.hubapi.com", ["t"])
    assert made.options == {"portal_id": "7", "search_lag": "3"}


@pytest.mark.parametrize(
    ("base_url", "environment", "words"),
    [
        ("http://api.hubapi.com", "production", "https"),
        ("https://evil.example", "production", "no host of hubspot"),
        ("https://api.hubapi.com.evil.example", "production", "no host of hubspot"),
        ("https://api.hubapi.com@evil.example", "production", "user name"),
        ("https://127.0.0.1", "production", "private address"),
        ("https://localhost", "production", "private address"),
        ("https://[::ffff:10.0.0.1]", "production", "private address"),
        ("https://169.254.169.254", "sandbox", "private address"),
        ("http://10.0.0.1", "sandbox", "https"),
        ("https://api.hubapi.com/?x=1", "production", "query"),
        ("ftp://api.hubapi.com", "production", "must look like"),
    ],
)
def test_a_base_url_must_be_the_vendors(base_url, environment, words):
    with pytest.raises(ValueError, match=words):
        crm(base_url, environment)
    assert not Connection.objects.exists()


@pytest.mark.parametrize("environment", ["production", "sandbox"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example\\.zendesk.com",
        "10.0.0.5\\.zendesk.com",
        "127.0.0.1:8443\\.zendesk.com",
        "evil.example\\@acme.zendesk.com",
        "evil.example%2f.zendesk.com",
        "evil.example%5c.zendesk.com",
        "evil.example;.zendesk.com",
        "evil.example\t.zendesk.com",
        "evil.example .zendesk.com",
        "evil.example\n.zendesk.com",
        "evil.example#.zendesk.com",
        "evil.example?.zendesk.com",
        "acme.zendesk.com@evil.example",
        "acme.zendesk.com:443@evil.example",
        "@acme.zendesk.com",
        "evil.example\uff0f.zendesk.com",
    ],
)
def test_a_host_that_parsers_could_read_in_two_ways_is_refused(host, environment):
    with pytest.raises(ValueError, match="the base URL"):
        checked_base_url(f"https://{host}", PROVIDERS["zendesk"], environment)


def test_a_sandbox_connection_leads_to_the_sandbox(settings):
    settings.SANDBOX_ORIGINS = ["http://127.0.0.1:8001"]
    assert crm("http://127.0.0.1:8001/hubspot", "sandbox").base_url == "http://127.0.0.1:8001/hubspot"


@pytest.mark.parametrize(
    ("base_url", "environment"),
    [
        ("http://127.0.0.1:9/hubspot", "sandbox"),
        ("http://127.0.0.1/hubspot", "sandbox"),
        ("https://127.0.0.1:8001/hubspot", "sandbox"),
        ("http://127.0.0.2:8001/hubspot", "sandbox"),
        ("http://[::1]:8001/hubspot", "sandbox"),
        ("http://localhost:8001/hubspot", "sandbox"),
        ("http://127.0.0.1:8001/hubspot", "production"),
    ],
)
def test_nothing_else_on_this_machine_can_be_connected(settings, base_url, environment):
    settings.SANDBOX_ORIGINS = ["http://127.0.0.1:8001"]
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:8001 only|must start with https"):
        crm(base_url, environment)
    assert not Connection.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"provider": "nobody"}, "unknown provider"),
        ({"system": "support"}, "is for crm"),
        ({"secrets": {"pasword": ["x"]}}, "no secret 'pasword'"),
        ({"secrets": {"token": ["a b"]}}, "holds spaces"),
        ({"secrets": {"token": ["a", "b"]}}, "several"),
        ({"options": {"colour": "red"}}, "no option colour"),
        ({"environment": "moon"}, "environment"),
    ],
)
def test_invalid_entries_are_refused_with_a_message(changes, words):
    with pytest.raises(ValueError, match=words):
        crm(**changes)


def test_a_refused_credential_opens_the_breaker_once(hubspot, heard):
    failure = {"credentials_version": 1, "status": 401, "reason": "jordan@acme.com refused"}
    assert record_auth_failure(hubspot.pk, **failure)
    assert not record_auth_failure(hubspot.pk, **failure)
    hubspot = Connection.objects.get()
    assert (hubspot.breaker, hubspot.breaker_reason) == ("open", "j***@acme.com refused")
    assert heard == [("opened", 401)]


def test_401_with_older_credentials_does_not_open_the_breaker(hubspot, heard):
    crm(environment="sandbox", base_url=hubspot.base_url, secrets={"token": ["newer"]})
    assert not record_auth_failure(hubspot.pk, credentials_version=1, status=401, reason="")
    assert heard == []


def test_a_receiver_that_fails_leaves_the_breaker_closed(hubspot):
    def fail(**_) -> None:
        raise LookupError

    signals.breaker_opened.connect(fail)
    try:
        with pytest.raises(LookupError):
            record_auth_failure(hubspot.pk, credentials_version=1, status=401, reason="")
    finally:
        signals.breaker_opened.disconnect(fail)
    assert Connection.objects.get().breaker == "closed"


def test_only_a_passed_probe_closes_the_breaker(hubspot, sandbox, heard):
    record_auth_failure(hubspot.pk, credentials_version=1, status=401, reason="")
    sandbox.set_tokens("hubspot", ["another"])
    result = close_after_probe(hubspot.pk, "Olga")
    assert (result.ok, result.status) == (False, 401)
    assert "enter a new token" in result.message
    assert Connection.objects.get().breaker == "open"
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token"])
    assert close_after_probe(hubspot.pk, "Olga").ok
    assert Connection.objects.get().breaker == "closed"
    assert heard == [("opened", 401), ("closed", "Olga")]


def test_the_default_connection_is_one_that_can_be_written_to(hubspot):
    stripe()
    assert default_connection("crm") == hubspot
    assert default_connection("billing") is None
    Connection.objects.update(enabled=False)
    assert default_connection("crm") is None


def test_what_is_not_configured_is_said():
    for made, words in ((crm(), "the secret 'token' is missing"), (stripe(), "nothing can be sent")):
        with pytest.raises(ProviderError, match=words) as raised:
            connector(made, subject="", deadline=0)
        assert raised.value.kind is Kind.NOT_CONFIGURED
    assert "webhook_secret" in probe(Connection.objects.get(slug="stripe")).message


def test_a_provider_has_one_name():
    with pytest.raises(ValueError, match="registered twice"):
        register(PROVIDERS["hubspot"])


def test_a_connection_is_set_listed_and_checked_by_command(sandbox, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("sandbox-hubspot-token\n")
    monkeypatch.setattr("sys.stdin", StringIO("whsec_1\n"))
    command = ["connection", "set", "desk", "--system", "crm", "--provider", "hubspot"]
    command += ["--environment", "sandbox", "--base-url", f"{sandbox.base_url}/hubspot"]
    command += ["--option", "search_lag=2", "--secret", f"token=@{tmp_path}/token", "--secret", "webhook_secret=-"]
    run(*command)
    made = Connection.objects.get(slug="desk")
    assert (made.secrets("token"), made.secrets("webhook_secret")) == (["sandbox-hubspot-token"], ["whsec_1"])
    assert made.options == {"search_lag": "2"}
    listed = run("connection", "list")
    assert "desk  crm     hubspot   sandbox      ready  token,webhook_secret" in listed
    assert "whsec_1" not in listed
    assert run("connection", "check", "desk") == "desk: HubSpot portal 14000001 DEVELOPER_TEST.\n"


def test_the_command_keeps_a_new_credential_only_if_it_passes(hubspot, sandbox):
    command = ["connection", "set", "hubspot", "--system", "crm", "--provider", "hubspot", "--secret"]
    with pytest.raises(CommandError, match="the former ones stay"):
        run(*command, "token=mistyped")
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == ["sandbox-hubspot-token"]
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token", "the-new-token"])
    run(*command, "token=the-new-token")
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == ["the-new-token"]
    run(*command, "token=mistyped", "--untested")
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == ["mistyped"]


def test_invalid_commands_are_refused_with_a_message():
    with pytest.raises(CommandError, match="unknown provider"):
        run("connection", "set", "x", "--system", "crm", "--provider", "x")
    with pytest.raises(CommandError, match="no connection 'x'"):
        run("connection", "check", "x")


def test_the_doctor_fails_where_something_is_wrong(hubspot, sandbox, capsys):
    assert run("doctor").startswith("ok     hubspot (crm): HubSpot portal")
    record_auth_failure(hubspot.pk, credentials_version=1, status=401, reason="")
    with pytest.raises(CommandError, match="1 of 1 connections need attention"):
        run("doctor")
    sandbox.set_tokens("hubspot", ["another"])
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("doctor", stdout=out, no_color=True)
    assert "enter a new token" in out.getvalue()
    Connection.objects.update(enabled=False)
    assert "no connections yet" in run("doctor")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("search_lag=soon", "option search_lag: 'soon' is not allowed: it must be a number of seconds"),
        ("deal_properties=perhaps", "option deal_properties: 'perhaps' is not allowed: it must be on or off"),
        ("colour=red", "hubspot has no option colour"),
    ],
)
def test_an_option_is_checked_by_its_declared_type(hubspot, option, message):
    command = ["connection", "set", "hubspot", "--system", "crm", "--provider", "hubspot", "--option", option]
    with pytest.raises(CommandError, match=message):
        run(*command)
    with pytest.raises(CommandError, match=message):
        run(*command, "--secret", "token=mistyped")
    assert Connection.objects.get(pk=hubspot.pk).options == hubspot.options


def test_the_doctor_says_what_a_connection_can_do(hubspot, smtp):
    told = run("doctor")
    assert "contact: created by unique-upsert; rollback: archived; HubSpot can restore it for 90 days" in told
    assert "message: created by neither; no rollback: a sent mail cannot be unsent" in told


def test_the_doctor_names_what_a_declaration_requires_and_the_connection_lacks(sandbox):
    asana = set_connection("asana", system="delivery", provider="asana", actor="tests")
    asana.options = {"team_gid": "1", "search_lag": "soon"}
    asana.save()
    stripe()
    out = StringIO()
    with pytest.raises(CommandError, match="2 of 2"):
        call_command("doctor", stdout=out, no_color=True)
    told = out.getvalue()
    assert "the secret token is missing" in told
    assert "the option template_gid is missing" in told
    assert "option search_lag: 'soon' is not allowed" in told
    assert "the secret webhook_secret is missing" in told
    assert "webhook: PaymentAllocated, PaymentRefunded, PaymentSucceeded, SubscriptionReported" in told


def test_a_wrong_encryption_key_is_found_at_startup(settings):
    assert field_encryption_keys(None) == []
    settings.FIELD_ENCRYPTION_KEYS = [*settings.FIELD_ENCRYPTION_KEYS, "short"]
    (found,) = field_encryption_keys(None)
    assert (found.id, "number 2" in found.msg, "short" in found.msg) == ("integrations.E001", True, False)


def test_replacing_credentials_keeps_what_the_vendor_tells_of_the_account_with_them(hubspot, sandbox):
    sandbox.set_tokens("hubspot", ["another"])
    assert not replace_credentials(hubspot.pk, {"token": ["mistyped"]}, actor="rita").ok
    assert "portal_id" not in Connection.objects.get(pk=hubspot.pk).options
    assert replace_credentials(hubspot.pk, {"token": ["another"]}, actor="rita").ok
    kept = Connection.objects.get(pk=hubspot.pk)
    assert (kept.secrets("token"), kept.options["portal_id"]) == (["another"], "14000001")
