"""Standard Webhooks: the signature of a delivery, written and verified.

github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md: HMAC-SHA256 over ``id.timestamp.body`` with the
secret's bytes
(24 to 64 of them, in base64 after ``whsec_``); the header lists one ``v1,<base64>`` a secret, so that a secret can be changed
without a gap.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

PREFIX = "whsec_"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)
_BYTES = 32
_FEWEST, _MOST = 24, 64


class NotSigned(Exception):
    """The delivery is not signed with any of the secrets, or not now; the text may be answered."""


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret stands for. Raises ``ValueError`` for one that is none."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a secret is whsec_ and base64") from None
    if not _FEWEST <= len(key) <= _MOST:
        raise ValueError(f"a secret has {_FEWEST} to {_MOST} bytes")
    return key


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def headers(given: Iterable[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Of a delivery that is signed with each of the secrets."""
    timestamp = int(at.timestamp())
    signatures = " ".join(signature(secret, message_id, timestamp, body) for secret in given)
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: signatures}


def verify(given: Iterable[str], received: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The delivery's id. ``received``: headers, whose names are taken without regard to case. Raises ``NotSigned``."""
    named = {name.lower(): value for name, value in received.items()}
    message_id, timestamp, listed = (named.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not (message_id and listed):
        raise NotSigned("The webhook's id, timestamp or signature is missing.")
    if not (timestamp.isascii() and timestamp.isdecimal()):
        raise NotSigned("The webhook's timestamp is missing or malformed.")
    try:
        sent = datetime.fromtimestamp(int(timestamp), UTC)
    except (OverflowError, OSError, ValueError):
        raise NotSigned("The webhook's timestamp is missing or malformed.") from None
    if abs(now - sent) > TOLERANCE:
        raise NotSigned("The webhook's timestamp is too far from now.")
    expected = [signature(secret, message_id, int(timestamp), body) for secret in given]
    if any([hmac.compare_digest(each.encode(), one.encode()) for each in listed.split(" ") for one in expected]):  # noqa: C419
        return message_id
    raise NotSigned("The webhook's signature is not of any secret.")
