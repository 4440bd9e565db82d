"""Signatures as the specification of Standard Webhooks has them."""

from datetime import UTC, datetime, timedelta

import pytest

from integrations.http import standard_webhooks as signing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = datetime.fromtimestamp(AT, UTC)


def received(**changes: str) -> dict[str, str]:
    named = {"Webhook-Id": MESSAGE, "Webhook-Timestamp": str(AT), "Webhook-Signature": SIGNATURE}
    return named | {name.replace("_", "-"): value for name, value in changes.items()}


def test_the_published_example_has_this_signature() -> None:
    assert signing.signature(SECRET, MESSAGE, AT, BODY) == SIGNATURE


def test_what_is_signed_is_verified_with_either_secret() -> None:
    other = signing.new_secret()
    made = signing.headers([SECRET, other], MESSAGE, NOW, BODY)
    assert made["webhook-signature"].split(" ")[0] == SIGNATURE
    for secret in (SECRET, other):
        assert signing.verify([secret], made, BODY, NOW) == MESSAGE


@pytest.mark.parametrize("wait", [timedelta(minutes=-5, seconds=-1), timedelta(minutes=5, seconds=1)])
def test_an_old_or_early_one_is_refused(wait: timedelta) -> None:
    assert signing.verify([SECRET], received(), BODY, NOW + wait * 0.9) == MESSAGE
    with pytest.raises(signing.NotSigned, match="too far"):
        signing.verify([SECRET], received(), BODY, NOW + wait)


@pytest.mark.parametrize(
    "changes",
    [{"Webhook_Id": ""}, {"Webhook_Id": "msg_other"}, {"Webhook_Timestamp": "soon"}, {"Webhook_Timestamp": "9" * 30},
     {"Webhook_Timestamp": str(AT + 1)}, {"Webhook_Signature": ""}, {"Webhook_Signature": "v1,"},
     {"Webhook_Signature": SIGNATURE.replace("v1", "v2")}, {"Webhook_Signature": "é"}],
)  # fmt: skip
def test_anything_else_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(signing.NotSigned):
        signing.verify([SECRET], received(**changes), BODY, NOW)


def test_another_body_is_refused() -> None:
    with pytest.raises(signing.NotSigned):
        signing.verify([SECRET], received(), BODY + b" ", NOW)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "plain"])
def test_what_is_no_secret_is_said_to_be_none(secret: str) -> None:
    with pytest.raises(ValueError, match="a secret"):
        signing.key_of(secret)
