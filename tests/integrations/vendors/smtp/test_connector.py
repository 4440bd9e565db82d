"""The way out for mail, over real SMTP to the sandbox's catcher: once, or a person is asked."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from integrations.connections.services import (
    close_after_probe,
    default_connection,
    probe,
    record_auth_failure,
    set_connection,
)
from integrations.connectors.base import Created, CreateSafety, MatchKey
from integrations.connectors.objects import Mail
from integrations.connectors.registry import connector
from integrations.enums import Breaker
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.smtp.connector import Smtp

pytestmark = pytest.mark.one_database("sqlite")
LETTER = {
    "to": "jordan@acme-logistics.com",
    "to_name": "Jordan Lee",
    "subject": "Welcome to Firstvalue, Acme Logistics",
    "text": "Hello Jordan,\n.\n.hidden\nsee you on 1 December.\n",
}
REFERENCE = "fv-pay_12345-welcome.mail"


def mailer(connection: Connection, seconds: float = 20, **options: Any) -> Smtp:
    made = connector(connection, subject="step:1", deadline=time.monotonic() + seconds, **options)
    assert isinstance(made, Smtp)
    return made


def send(connection: Connection, reference: str = REFERENCE, **changes: str) -> Created:
    made = mailer(connection).create(Mail.of(LETTER | changes), reference)
    assert isinstance(made, Created)
    return made


def failure(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def caught(sandbox: SandboxControl) -> list[dict[str, Any]]:
    return [each["body"] for each in sandbox.objects("mail", "messages")]


@contextmanager
def server_saying(*replies: bytes) -> Iterator[int]:
    """A server that says these, one a line that it gets (the first at once), and then hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, peer.makefile("rb") as lines:
                for reply in replies:
                    peer.sendall(reply + b"\r\n")
                    lines.readline()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


def test_a_mail_is_sent_once_and_can_be_recognised(smtp: Connection, sandbox: SandboxControl) -> None:
    made = send(smtp)
    (mail,) = caught(sandbox)
    assert (mail["to"], mail["from"], mail["subject"]) == ([LETTER["to"]], "firstvalue@localhost", LETTER["subject"])
    assert mail["text"].splitlines() == LETTER["text"].splitlines()
    assert (mail["message_id"], mail["reference"]) == (made.external_id, REFERENCE)
    assert mail["headers"]["To"] == "Jordan Lee <jordan@acme-logistics.com>"
    assert mail["headers"]["Auto-Submitted"] == "auto-generated"


def test_the_message_id_is_the_references(smtp: Connection, sandbox: SandboxControl) -> None:
    first, again, other = send(smtp), send(smtp), send(smtp, "fv-pay_2-welcome.mail")
    assert first == again != other
    counts = sandbox.counts()["vendors"]["mail"]["messages"]
    assert (counts["total"], counts["duplicates"]) == (3, 1)


def test_letters_of_all_countries_arrive(smtp: Connection, sandbox: SandboxControl) -> None:
    options = {"from_email": "Début & Söhne <hello@firstvalue.example>", "reply_to": "lee@firstvalue.example"}
    set_connection("mail", system="email", provider="smtp", options=options, actor="tests")
    text = "Größe: 東京\n" + "x" * 2000
    send(
        Connection.objects.get(), to="kim@bücher.example", to_name="Kim, Ünal", subject="Willkommen, Müller", text=text
    )
    (mail,) = caught(sandbox)
    assert mail["to"] == ["kim@xn--bcher-kva.example"]
    assert (mail["subject"], mail["text"].strip()) == ("Willkommen, Müller", text)
    assert mail["headers"]["To"] == '"Kim, Ünal" <kim@xn--bcher-kva.example>'
    assert (mail["from"], mail["headers"]["Reply-To"]) == ("hello@firstvalue.example", "lee@firstvalue.example")
    assert mail["headers"]["From"] == "Début & Söhne <hello@firstvalue.example>"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", "Welcome\r\nBcc: all@evil.example"),
        ("subject", "Welcome\u2028X"),
        ("to_name", "Jordan\nBcc: all@evil.example"),
        ("to", "jordan@acme.com\nBcc: all@evil.example"),
        ("to", "jordan@acme.com, all@evil.example"),
        ("to", "jörg@acme.com"),
        ("to", ""),
    ],
)
def test_nothing_gets_into_a_header_but_its_value(
    smtp: Connection, sandbox: SandboxControl, name: str, value: str
) -> None:
    error = failure(lambda: send(smtp, **{name: value}))
    assert (error.kind, error.effect_possible, [each.field for each in error.fields]) == (Kind.INVALID, False, [name])
    assert sandbox.requests("mail") == []


@pytest.mark.parametrize(
    ("fault", "rule", "kind", "effect"),
    [
        ("unauthorized", {}, Kind.AUTH, False),
        ("forbidden", {}, Kind.FORBIDDEN, False),
        ("rate_limit", {}, Kind.SERVER, False),
        ("error_before", {}, Kind.TEMPORARY, False),
        ("error_before", {"method": "MAIL"}, Kind.SERVER, False),
        ("error_before", {"method": "MAIL", "status": 553}, Kind.FORBIDDEN, False),
        ("error_before", {"method": "RCPT", "status": 450}, Kind.TEMPORARY, False),
        ("error_before", {"method": "RCPT", "status": 550}, Kind.INVALID, False),
        ("forbidden", {"method": "RCPT"}, Kind.INVALID, False),
        ("error_before", {"status": 554}, Kind.INVALID, False),
        ("reset_before", {"method": "RCPT"}, Kind.SERVER, False),
        ("error_after", {}, Kind.SERVER, True),
        ("reset_before", {}, Kind.SERVER, True),
        ("reset_after", {}, Kind.SERVER, True),
        ("malformed", {}, Kind.MALFORMED, True),
        ("wrong_shape", {}, Kind.MALFORMED, True),
    ],
)
def test_each_failure_tells_whether_the_mail_may_be_out(
    smtp: Connection, sandbox: SandboxControl, fault: str, rule: dict[str, Any], kind: Kind, effect: bool
) -> None:
    sandbox.add_fault("mail", fault, **rule)
    error = failure(lambda: send(smtp))
    assert (error.kind, error.effect_possible) == (kind, effect), error
    took = fault.endswith("_after") or kind is Kind.MALFORMED
    assert len(caught(sandbox)) == took
    assert ApiCall.objects.get().error == str(error)


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "slow_drip"])
def test_timeout_leaves_the_outcome_indeterminate(
    smtp: Connection, sandbox: SandboxControl, settings: Any, fault: str
) -> None:
    settings.EMAIL_TIMEOUT = 0.5
    sandbox.add_fault("mail", fault)
    started = time.monotonic()
    error = failure(lambda: send(smtp))
    assert time.monotonic() - started < 2
    assert (error.kind, error.effect_possible) == (Kind.SERVER, True)
    assert "did not answer in time" in error.message
    assert len(caught(sandbox)) == (fault != "timeout_before")


@pytest.mark.parametrize(("status", "wait"), [(550, None), (450, 300.0)])
def test_a_refused_recipient_is_the_contacts_address(
    smtp: Connection, sandbox: SandboxControl, status: int, wait: float | None
) -> None:
    sandbox.add_fault("mail", "error_before", method="RCPT", status=status)
    error = failure(lambda: send(smtp))
    (field,) = error.fields
    assert (field.field, error.retry_after) == ("to", wait)
    assert "does not take mails" in field.reason


@pytest.mark.parametrize(
    ("fault", "rule", "of_object"),
    [
        ("reset_before", {"method": "MAIL"}, False),
        ("error_before", {"method": "MAIL"}, False),
        ("error_before", {"method": "RCPT", "status": 421}, False),
        ("reset_before", {"method": "RCPT"}, True),
        ("error_before", {"method": "RCPT", "status": 450}, True),
        ("reset_before", {"method": "DATA"}, True),
        ("error_before", {"method": "DATA"}, True),
    ],
)
def test_what_comes_after_the_sender_says_nothing_about_the_server(
    smtp: Connection, sandbox: SandboxControl, fault: str, rule: dict[str, Any], of_object: bool
) -> None:
    sandbox.add_fault("mail", fault, **rule)
    assert failure(lambda: send(smtp)).of_object == of_object


def test_a_login_that_is_refused_is_told_apart(smtp: Connection, sandbox: SandboxControl, settings: Any) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "firstvalue", "sandbox-mail-token"
    send(smtp)
    settings.EMAIL_HOST_PASSWORD = "stale"
    error = failure(lambda: send(smtp))
    assert (error.kind, error.effect_possible) == (Kind.AUTH, False)
    assert "535" in error.message
    assert len(caught(sandbox)) == 1


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        ((b"554 no service here",), Kind.FORBIDDEN),
        ((b"421 too busy",), Kind.SERVER),
        ((b"SSH-2.0-OpenSSH_9.9",), Kind.MALFORMED),
        ((b"220 hello",), Kind.SERVER),
        ((b"220 hello", b"250 you", b"250 sender", b"250 recipient"), Kind.SERVER),
        ((b"220 hello", b"250 you", b"250 sender", b"250 recipient", b"452 full"), Kind.TEMPORARY),
        ((b"220 hello", b"250 you", b"250 sender", b"250 recipient", b"250 what?"), Kind.MALFORMED),
        ((b"220 hello", b"250 you", b"250 sender", b"554 5.7.1 Relay access denied"), Kind.FORBIDDEN),
        ((b"220 hello", b"250 you", b"250 sender", b"421 4.3.2 shutting down"), Kind.SERVER),
    ],
)
def test_before_the_content_nothing_was_sent(
    smtp: Connection, settings: Any, replies: tuple[bytes, ...], kind: Kind
) -> None:
    with server_saying(*replies) as settings.EMAIL_PORT:
        error = failure(lambda: send(smtp))
    assert (error.kind, error.effect_possible) == (kind, False), error


def test_a_dead_server_had_no_effect(smtp: Connection, settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.EMAIL_PORT = server.getsockname()[1]
    error = failure(lambda: send(smtp))
    assert (error.kind, error.effect_possible) == (Kind.SERVER, False)
    assert ApiCall.objects.get().status is None
    assert "Check EMAIL_URL" in probe(smtp).message


def test_nothing_is_sent_once_the_time_to_write_is_over(smtp: Connection, sandbox: SandboxControl) -> None:
    def too_late() -> None:
        raise DeadlinePassed

    for late in (mailer(smtp, seconds=-1), mailer(smtp, before_write=too_late)):
        with pytest.raises(DeadlinePassed):
            late.create(Mail.of(LETTER), REFERENCE)
    assert caught(sandbox) == []
    assert send(smtp)


def test_no_mail_is_sent_inside_a_database_transaction(smtp: Connection, sandbox: SandboxControl) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a database transaction"):
        send(smtp)
    assert sandbox.requests("mail") == []


def test_the_record_shows_neither_person_nor_content(
    smtp: Connection, sandbox: SandboxControl, caplog: pytest.LogCaptureFixture
) -> None:
    send(smtp)
    sandbox.add_fault("mail", "error_before", method="RCPT", status=550)
    failure(lambda: send(smtp))
    failed, sent = ApiCall.objects.all()
    assert (sent.method, sent.path, sent.status, sent.subject) == ("SMTP", "acme-logistics.com", 250, "step:1")
    assert sent.request == {"reference": REFERENCE}
    assert failed.status == 550
    shown = str(list(ApiCall.objects.values())) + caplog.text
    assert not [each for each in ("jordan", "Jordan", "Welcome", "December") if each in shown]


def test_a_probe_goes_as_far_as_the_sender_and_sends_nothing(smtp: Connection, sandbox: SandboxControl) -> None:
    result = probe(smtp)
    assert result.ok, result.message
    assert "accepts mails from firstvalue@localhost" in result.message
    assert caught(sandbox) == []
    assert [each["method"] for each in sandbox.requests("mail")] == ["MAIL"]


def test_a_breaker_stays_open_while_the_login_is_refused(smtp: Connection, sandbox: SandboxControl) -> None:
    record_auth_failure(smtp.pk, credentials_version=1, status=None, reason="refused")
    rule = sandbox.add_fault("mail", "unauthorized")
    result = close_after_probe(smtp.pk, "Olga")
    assert not result.ok
    assert "user name and password in EMAIL_URL" in result.message
    sandbox.clear_faults(rule)
    assert close_after_probe(smtp.pk, "Olga").ok
    assert Connection.objects.get().breaker == Breaker.CLOSED


def test_without_a_mail_server_mails_are_files(smtp: Connection, settings: Any, tmp_path: Path) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path / "mail"
    assert "mails are written into the folder" in probe(smtp).message
    send(smtp)
    (written,) = (tmp_path / "mail").iterdir()
    assert f"X-Firstvalue-Reference: {REFERENCE}" in written.read_text()
    assert ApiCall.objects.get().method == "MAIL"


def test_wrong_mail_settings_are_said(smtp: Connection, settings: Any) -> None:
    settings.EMAIL_USE_TLS = True
    assert "cannot do what EMAIL_URL asks" in probe(smtp).message
    settings.EMAIL_USE_SSL = True
    assert failure(lambda: send(smtp)).kind is Kind.NOT_CONFIGURED
    settings.EMAIL_BACKEND = "nowhere.Backend"
    assert "EMAIL_URL" in probe(smtp).message


@pytest.mark.parametrize("name", ["from_email", "reply_to"])
def test_a_wrong_option_is_said(smtp: Connection, name: str) -> None:
    for value in ("nobody", "a@b.example\nBcc: all@evil.example"):
        set_connection("mail", system="email", provider="smtp", options={name: value}, actor="tests")
        error = failure(lambda: send(Connection.objects.get()))
        assert error.kind is Kind.NOT_CONFIGURED
        assert f"option {name} must be a mail address" in error.message


def test_a_mail_connection_has_neither_address_nor_secret(smtp: Connection) -> None:
    assert (smtp.base_url, default_connection("email")) == ("", smtp)
    for wrong, words in (
        ({"base_url": "https://evil.example"}, "smtp has no base URL"),
        ({"base_url": "http://127.0.0.1:25"}, "smtp has no base URL"),
        ({"secrets": {"token": ["t"]}}, "smtp has no secret"),
        ({"secrets": {"webhook_secret": ["t"]}}, "smtp has no secret"),
    ):
        with pytest.raises(ValueError, match=words):
            set_connection("mail", system="email", provider="smtp", actor="tests", **wrong)


def test_what_was_sent_stands_as_recorded(smtp: Connection) -> None:
    made = mailer(smtp)
    assert made.kind("message").safety is CreateSafety.NEITHER
    assert made.find("message", MatchKey("reference", REFERENCE)) == []
    found = made.get("message", "abc@localhost")
    assert found
    assert found.external_id == "abc@localhost"


def test_sent_mail_cannot_be_undone(smtp: Connection) -> None:
    made, sent = mailer(smtp), send(smtp)
    assert not made.reversible("message")
    found = made.get("message", sent.external_id)
    assert found is not None
    assert found.changed_at is None
    assert found.as_dict()["changed_at"] is None
    with pytest.raises(TypeError, match="smtp cannot undo a message"):
        made.undo("message", sent.external_id)
