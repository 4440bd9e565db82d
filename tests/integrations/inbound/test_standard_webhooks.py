"""Standard Webhooks: what is taken for signed, and what is not."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from integrations.inbound.delivery import NotVerified
from integrations.inbound.standard_webhooks import key_of, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of some length").decode()
RAW = b'{"test": 2432232314}'
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330
NOW = datetime.fromtimestamp(AT, UTC)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""Of the reference libraries' own test (standard-webhooks/standard-webhooks, libraries/python/tests)."""


def headers(**changes: str) -> dict[str, str]:
    given = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    return given | {name.replace("_", "-"): value for name, value in changes.items()}


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(AT + seconds, UTC)


def test_the_reference_libraries_message_is_signed_and_verified_alike() -> None:
    assert sign(RAW, id=ID, at=AT, secrets=[SECRET]) == headers()
    message = verify(RAW, headers(), [SECRET], NOW)
    assert (message.id, message.sent_at) == (ID, NOW)


def test_the_key_is_what_the_secret_encodes() -> None:
    key = bytes(range(32))
    text = base64.b64encode(key).decode()
    assert text.endswith("=")
    assert {key_of(secret) for secret in (f"whsec_{text}", text, f"whsec_{text.rstrip('=')}", f" whsec_{text} ")} == {
        key
    }
    mac = hmac.new(key, f"{ID}.{AT}.".encode() + RAW, hashlib.sha256).digest()
    assert sign(RAW, id=ID, at=AT, secrets=[text])["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_whsec_MfKQ", "whsec_not base64!", "plain text"])
def test_a_secret_of_another_form_signs_and_verifies_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ followed by base64"):
        sign(RAW, id=ID, at=AT, secrets=[secret])
    with pytest.raises(NotVerified, match="no usable signing secret"):
        verify(RAW, headers(), [secret], NOW)


def test_each_of_several_secrets_and_signatures_may_match() -> None:
    assert verify(RAW, headers(), ["not base64!", OTHER, SECRET], NOW)
    rotated = sign(RAW, id=ID, at=AT, secrets=[OTHER, SECRET])
    assert len(rotated["webhook-signature"].split(" ")) == 2
    assert verify(RAW, rotated, [SECRET], NOW)
    for others in ("v1a,c2lnbmF0dXJl", "v2,x", "v1,", "v1", "garbage", ",", "v1,é"):
        assert verify(RAW, headers(webhook_signature=f"{others} {SIGNATURE}"), [SECRET], NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_signature": ""},
        {"webhook_signature": SIGNATURE.removeprefix("v1,")},
        {"webhook_signature": SIGNATURE.replace("v1,", "v1a,")},
        {"webhook_signature": "v1,\udce9"},
        {"webhook_id": ""},
        {"webhook_id": "msg_other"},
        {"webhook_timestamp": ""},
        {"webhook_timestamp": str(AT + 1)},
        {"webhook_timestamp": f"{AT}.0"},
        {"webhook_timestamp": "9" * 400},
        {"webhook_timestamp": "²"},
        {"webhook_timestamp": f"-{AT}"},
    ],
    ids=str,
)
def test_another_header_is_not_verified(changed: dict[str, str]) -> None:
    with pytest.raises(NotVerified):
        verify(RAW, headers(**changed), [SECRET], NOW)


def test_another_body_or_secret_is_not_verified() -> None:
    with pytest.raises(NotVerified):
        verify(RAW + b" ", headers(), [SECRET], NOW)
    for secrets in ([OTHER], []):
        with pytest.raises(NotVerified):
            verify(RAW, headers(), secrets, NOW)


@pytest.mark.parametrize(("seconds", "taken"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_the_tolerance_is_five_minutes_both_ways(seconds: int, taken: bool) -> None:
    if taken:
        assert verify(RAW, headers(), [SECRET], at(seconds))
        return
    with pytest.raises(NotVerified, match="more than 300 seconds"):
        verify(RAW, headers(), [SECRET], at(seconds))
