"""Amazon SES: signed requests, events through SNS, and the subscription that confirms itself."""

import base64
import json
from typing import Any

import pytest

from integrations import clock, crypto
from integrations.connectors.base import Created
from integrations.connectors.objects import Mail
from integrations.errors import Kind, ProviderError
from integrations.inbound.delivery import Malformed, NotVerified, UnexpectedShape
from integrations.inbound.events import Ignored, MailBounced, MailOutcome
from integrations.models import InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.ses import sigv4
from integrations.vendors.ses.connector import SesWebhook
from tests.integrations.vendors.conformance import REFERENCE, Bench
from tests.integrations.vendors.tracking import read, received

SECRET = "sns:a-long-password"
HOOK = SesWebhook()


def headers(type_: str = "Notification", credentials: str = SECRET) -> dict[str, str]:
    basic = base64.b64encode(credentials.encode()).decode()
    return {"Authorization": f"Basic {basic}", "X-Amz-Sns-Message-Type": type_}


def notification(**changes: Any) -> dict[str, Any]:
    told = {
        "eventType": "Bounce",
        "bounce": {
            "bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2026-11-29T10:00:00.000Z",
            "bouncedRecipients": [{"emailAddress": "a@acme.com", "diagnosticCode": "smtp; 550 5.1.1 a@acme.com unknown"}],
        },
        "mail": {
            "messageId": "0100-abc", "destination": ["a@acme.com"],
            "headers": [{"name": "X-Metadata", "value": json.dumps({"reference": REFERENCE})}],
        },
    } | changes  # fmt: skip
    return {
        "Type": "Notification",
        "MessageId": "sns-1",
        "Timestamp": "2026-11-29T10:00:01.000Z",
        "Message": json.dumps(told),
    }


def test_a_request_is_signed_as_amazons_published_example() -> None:
    """``get-vanilla`` of the signature's test suite."""
    given = sigv4.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")
    signed = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
    made = sigv4.authorization("GET", "/", {}, signed, sigv4.payload_hash(b""), date="20150830T123600Z", given=given)
    assert made.endswith("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
    assert "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date" in made


def test_a_notification_is_read() -> None:
    delivery = received(HOOK, notification(), [SECRET], headers())
    assert [(each.id, each.type) for each in delivery.events] == [("sns-1", "Bounce")]
    (bounced,) = read(HOOK, delivery)
    assert isinstance(bounced, MailBounced)
    assert (bounced.outcome, bounced.message_id, bounced.reference) == (MailOutcome.BOUNCED, "0100-abc", REFERENCE)
    assert bounced.reason == "smtp; 550 5.1.1 the address unknown"
    sent = notification(eventType="Delivery", delivery={"recipients": ["a@acme.com"]})
    (delivered,) = read(HOOK, received(HOOK, sent, [SECRET], headers()))
    assert isinstance(delivered, Ignored)


def test_sns_is_asked_for_the_password_first_and_refused_without_the_right_one() -> None:
    asked = received(HOOK, notification(), [SECRET])
    assert asked.events == ()
    assert asked.response is not None
    assert (asked.response.status, asked.response.headers["WWW-Authenticate"]) == (401, 'Basic realm="Firstvalue"')
    with pytest.raises(NotVerified):
        received(HOOK, notification(), [SECRET], headers(credentials="sns:wrong"))
    with pytest.raises(NotVerified):
        received(HOOK, notification(), [], headers())
    with pytest.raises(NotVerified, match="type"):
        received(HOOK, notification(), [SECRET], headers("SubscriptionConfirmation"))


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(Malformed):
        received(HOOK, {"Type": "Notification", "Message": "{}"}, [SECRET], headers())


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_subscription_is_confirmed_at_amazons_address_alone(sandbox: SandboxControl) -> None:
    connection = Bench("ses", sandbox).connection

    def stored(url: str) -> InboundEvent:
        body = {"Type": "SubscriptionConfirmation", "MessageId": "sns-0", "SubscribeURL": url, "Token": "abc"}
        (event,) = received(HOOK, body, [SECRET], headers("SubscriptionConfirmation")).events
        return InboundEvent(
            connection=connection, type=event.type, body=crypto.encrypt(event.body), received_at=clock.now()
        )

    good = f"{sandbox.base_url}/ses/sns?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu:1:t&Token=abc"
    assert isinstance(HOOK.read(stored(good)), Ignored)
    assert [each["body"]["topic"] for each in sandbox.objects("ses", "confirmations")] == ["arn:aws:sns:eu:1:t"]
    for url in (
        "https://evil.example/?Token=abc",
        "http://sns.eu-central-1.amazonaws.com/",
        "https://sns.amazonaws.com.evil.example/",
    ):
        with pytest.raises(UnexpectedShape):
            HOOK.read(stored(url))


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_mail_carries_our_reference(sandbox: SandboxControl) -> None:
    bench = Bench("ses", sandbox)
    made = bench.connector().create(
        Mail(to="kim@bücher.example", to_name="Kim, Ünal", subject="Willkommen, Müller", text="Größe\n"), REFERENCE
    )
    assert isinstance(made, Created)
    (sent,) = sandbox.objects("ses", "messages")
    assert sent["id"] == made.external_id
    assert (sent["body"]["to"], sent["body"]["subject"]) == (["kim@xn--bcher-kva.example"], "Willkommen, Müller")
    assert sent["body"]["reference"] == REFERENCE
    assert json.loads(sent["body"]["headers"]["X-Metadata"]) == {"reference": REFERENCE}


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database("sqlite")
def test_a_sender_that_is_not_verified_is_forbidden(sandbox: SandboxControl) -> None:
    bench = Bench("ses", sandbox)
    bench.connection.options = {**bench.connection.options, "from_email": "other@firstvalue.example"}
    with pytest.raises(ProviderError) as raised:
        bench.connector().create(Mail(to="a@acme.com", subject="x", text="y"), REFERENCE)
    assert (raised.value.kind, raised.value.http_status) == (Kind.FORBIDDEN, 400)
