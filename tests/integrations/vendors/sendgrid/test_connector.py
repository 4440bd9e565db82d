"""SendGrid's batches of events, signed with ECDSA, and what a mail to it carries."""

import base64
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from integrations import clock
from integrations.connectors.base import Created
from integrations.connectors.objects import Mail
from integrations.errors import Kind, ProviderError
from integrations.http.strict_json import BadJson
from integrations.inbound.delivery import Malformed, NotVerified
from integrations.inbound.events import Ignored, MailBounced, MailOutcome
from integrations.sandbox.control import SandboxControl
from integrations.vendors.sendgrid.connector import SendGridWebhook
from tests.integrations.vendors.conformance import REFERENCE, Bench
from tests.integrations.vendors.tracking import read, received

KEY = ec.generate_private_key(ec.SECP256R1())
SECRET = base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
BOUNCE = {
    "email": "jordan@acme-logistics.com", "timestamp": 1764410400, "smtp-id": "<x@ismtpd>", "event": "bounce",
    "type": "bounce",
    "reason": "550 5.1.1 jordan@acme-logistics.com unknown", "sg_event_id": "evt-1", "sg_message_id": "abc.filter",
    "status": "5.1.1", "anymail_id": "6d0c", "reference": REFERENCE,
}  # fmt: skip
HOOK = SendGridWebhook()


def signed(body: Any, at: float | None = None) -> tuple[bytes, dict[str, str]]:
    raw, stamp = json.dumps(body).encode(), str(int(clock.now().timestamp() if at is None else at))
    made = base64.b64encode(KEY.sign(stamp.encode() + raw, ec.ECDSA(hashes.SHA256()))).decode()
    return raw, {"X-Twilio-Email-Event-Webhook-Signature": made, "X-Twilio-Email-Event-Webhook-Timestamp": stamp}


def test_a_batch_is_one_event_each() -> None:
    raw, headers = signed(
        [
            BOUNCE,
            BOUNCE | {"event": "delivered", "sg_event_id": "evt-2"},
            BOUNCE | {"event": "spamreport", "sg_event_id": ""},
        ]
    )
    other = base64.b64encode(b"x" * 91).decode()
    delivery = received(HOOK, raw, [other, SECRET], headers)
    assert [each.type for each in delivery.events] == ["bounce", "delivered", "spamreport"]
    assert [each.id for each in delivery.events][:2] == ["evt-1", "evt-2"]
    assert len(delivery.events[2].id) == 64
    bounced, delivered, complained = read(HOOK, delivery)
    assert isinstance(bounced, MailBounced)
    assert (bounced.outcome, bounced.message_id, bounced.reference) == (MailOutcome.BOUNCED, "6d0c", REFERENCE)
    assert bounced.reason == "550 5.1.1 the address unknown"
    assert isinstance(delivered, Ignored)
    assert isinstance(complained, MailBounced)
    assert complained.outcome is MailOutcome.COMPLAINED


def test_a_wrong_old_or_missing_signature_is_refused() -> None:
    raw, headers = signed([BOUNCE])
    for wrong in ({}, headers | {"X-Twilio-Email-Event-Webhook-Signature": "AAAA"}):
        with pytest.raises(NotVerified):
            received(HOOK, raw, [SECRET], wrong)
    with pytest.raises(NotVerified):
        received(HOOK, raw + b" ", [SECRET], headers)
    with pytest.raises(NotVerified):
        received(HOOK, raw, [], headers)
    with pytest.raises(NotVerified, match="too far"):
        received(HOOK, raw, [SECRET], headers, clock.now() + timedelta(minutes=6))


@pytest.mark.parametrize("body", [{}, ["x"], [{"event": None}], [{}], 3])
def test_what_is_no_batch_is_refused(body: Any) -> None:
    raw, headers = signed(body)
    if body == {}:
        assert received(HOOK, raw, [SECRET], headers).events == []
        return
    with pytest.raises((Malformed, BadJson)):
        received(HOOK, raw, [SECRET], headers)


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_mail_carries_our_reference_and_no_tracking(sandbox: SandboxControl) -> None:
    bench = Bench("sendgrid", sandbox)
    mail = Mail(to="jordan@acme-logistics.com", to_name="Jordan Lee", subject="Welcome", text="Hello")
    made = bench.connector().create(mail, REFERENCE)
    assert isinstance(made, Created)
    (sent,) = [json.loads(each["body"]) for each in sandbox.requests("sendgrid") if each["method"] == "POST"]
    assert sent["custom_args"] == {"reference": REFERENCE}
    assert sent["personalizations"][0]["custom_args"]["anymail_id"] == made.external_id
    assert sent["tracking_settings"]["open_tracking"] == {"enable": False}
    assert "message-id" not in {name.lower() for name in sent["headers"]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_sender_that_is_not_verified_is_forbidden(sandbox: SandboxControl) -> None:
    bench = Bench("sendgrid", sandbox)
    bench.connection.options = {"from_email": "other@firstvalue.example"}
    with pytest.raises(ProviderError) as raised:
        bench.connector().create(Mail(to="a@acme.com", subject="x", text="y"), REFERENCE)
    assert (raised.value.kind, raised.value.http_status) == (Kind.FORBIDDEN, 403)


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_the_reset_of_the_rate_limit_is_waited_for(sandbox: SandboxControl) -> None:
    bench = Bench("sendgrid", sandbox)
    sandbox.configure("sendgrid", rate_limit={"requests": 1, "seconds": 30})
    started = time.time()
    bench.connector().create(Mail(to="a@acme.com", subject="x", text="y"), REFERENCE)
    with pytest.raises(ProviderError) as raised:
        bench.connector().create(Mail(to="a@acme.com", subject="x", text="y"), REFERENCE)
    assert raised.value.kind is Kind.RATE_LIMIT
    assert raised.value.retry_after is not None
    assert 1 <= raised.value.retry_after <= 35 + time.time() - started
