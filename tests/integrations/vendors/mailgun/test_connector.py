"""Mailgun's events, signed over timestamp and token, and what a mail to it carries."""

import hashlib
import hmac
from datetime import timedelta
from typing import Any

import pytest

from integrations import clock
from integrations.connectors.base import Created
from integrations.connectors.objects import Mail
from integrations.errors import Kind, ProviderError
from integrations.http.strict_json import BadJson
from integrations.inbound.delivery import Malformed, NotVerified
from integrations.inbound.events import Ignored, MailBounced, MailOutcome
from integrations.sandbox.control import SandboxControl
from integrations.vendors.mailgun.connector import MailgunWebhook
from tests.integrations.vendors.conformance import REFERENCE, Bench
from tests.integrations.vendors.tracking import read, received

SECRET = "mailgun-signing-key"
HOOK = MailgunWebhook()


def signed(seconds: float = 0, **changes: Any) -> dict[str, Any]:
    stamp = str(int(clock.now().timestamp() + seconds))
    made = hmac.new(SECRET.encode(), f"{stamp}token".encode(), hashlib.sha256).hexdigest()
    data = {
        "event": "failed", "severity": "permanent", "reason": "bounce", "id": "G9Bn5sl1TC6nu79C8C0bwg", "timestamp": 1764410400.5,
        "recipient": "jordan@acme-logistics.com", "message": {"headers": {"message-id": "abc@firstvalue.example", "to": "x"}},
        "user-variables": {"reference": REFERENCE}, "tags": [],
        "delivery-status": {"code": 550, "message": "5.1.1 jordan@acme-logistics.com is unknown", "description": ""},
    }  # fmt: skip
    return {"signature": {"timestamp": stamp, "token": "token", "signature": made}, "event-data": data | changes}


def test_a_permanent_failure_is_a_bounce_and_a_temporary_one_is_nothing() -> None:
    delivery = received(HOOK, signed(), ["other", SECRET])
    (event,) = delivery.events
    assert (event.id, event.type) == ("G9Bn5sl1TC6nu79C8C0bwg:1764410400", "failed")
    assert "token" not in event.body
    (bounced,) = read(HOOK, delivery)
    assert isinstance(bounced, MailBounced)
    assert (bounced.outcome, bounced.message_id) == (MailOutcome.BOUNCED, "<abc@firstvalue.example>")
    assert (bounced.reference, bounced.reason) == (REFERENCE, "5.1.1 the address is unknown")
    (temporary,) = read(HOOK, received(HOOK, signed(severity="temporary"), [SECRET]))
    assert isinstance(temporary, Ignored)
    (complained,) = read(HOOK, received(HOOK, signed(event="complained"), [SECRET]))
    assert isinstance(complained, MailBounced)


def test_a_wrong_old_or_missing_signature_is_refused() -> None:
    for wrong in (signed() | {"signature": {}}, signed() | {"signature": None}, {"event-data": {}}):
        with pytest.raises(NotVerified):
            received(HOOK, wrong, [SECRET])
    with pytest.raises(NotVerified):
        received(HOOK, signed(), ["other"])
    for seconds in (-301, 302):
        with pytest.raises(NotVerified, match="too far"):
            received(HOOK, signed(seconds), [SECRET])
    assert received(HOOK, signed(), [SECRET], now=clock.now() + timedelta(minutes=4)).events


@pytest.mark.parametrize("data", [{}, {"event": None}, {"event": "failed", "timestamp": "soon", "id": "x"}])
def test_what_is_no_event_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises((Malformed, BadJson)):
        received(HOOK, signed() | {"event-data": data}, [SECRET])


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_mail_has_our_message_id_and_reference_and_no_tracking(sandbox: SandboxControl) -> None:
    bench = Bench("mailgun", sandbox)
    mail = Mail(to="jordan@acme-logistics.com", to_name="Jordan Lee", subject="Welcome", text="Hello")
    made = bench.connector().create(mail, REFERENCE)
    assert isinstance(made, Created)
    (sent,) = [each["body"] for each in sandbox.objects("mailgun", "messages")]
    assert sent["headers"]["Message-Id"] == made.external_id
    assert (sent["reference"], sent["metadata"]) == (REFERENCE, {"reference": REFERENCE})
    assert sent["to"] == "Jordan Lee <jordan@acme-logistics.com>"
    (request,) = sandbox.requests("mailgun")
    assert "o%3Atracking-opens=no" in request["body"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_domain_that_mailgun_does_not_know_is_configuration(sandbox: SandboxControl) -> None:
    bench = Bench("mailgun", sandbox)
    bench.connection.options = {"from_email": "hello@other.example"}
    for call in (
        lambda: bench.connector().create(Mail(to="a@acme.com", subject="x", text="y"), REFERENCE),
        lambda: bench.connector().probe(),
    ):
        with pytest.raises(ProviderError) as raised:
            call()
        assert raised.value.kind is Kind.NOT_CONFIGURED
