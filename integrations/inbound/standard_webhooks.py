"""Standard Webhooks: how a message is signed, and how it is verified. Symmetric signatures (``v1``, HMAC-SHA256) alone.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. What is signed is
``{id}.{timestamp}.{body}``; the header lists signatures with spaces between, several while a secret is rotated; those of a version
that is not known here are passed over, as the specification says. The tolerance of 300 s in both directions is that of its
libraries.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_bytes

from integrations.inbound.delivery import NotVerified

ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_SECONDS = 300
PREFIX = "whsec_"
VERSION = "v1"
SECRET_FORM = f"{PREFIX} followed by base64"
MOST_DIGITS = 12


@dataclass(frozen=True)
class Message:
    """What the headers of a verified request say."""

    id: str
    """The same in every delivery of one message."""
    sent_at: datetime
    """Of this delivery."""


def key_of(secret: str) -> bytes:
    """The key of a secret: what stands in base64 after ``whsec_``, with or without padding. Raises ``ValueError``.

    The prefix may be missing, as the libraries have it; the text itself is never the key.
    """
    encoded = secret.strip().removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError(f"a signing secret must be {SECRET_FORM}")
    return key


def new_secret() -> str:
    """Of 32 random bytes; the specification asks for 24 to 64."""
    return PREFIX + base64.b64encode(token_bytes(32)).decode()


def sign(raw: bytes, *, id: str, at: int, secrets: Iterable[str]) -> dict[str, str]:  # noqa: A002 (the header's name)
    """The headers of a message that is sent at Unix time ``at``: one signature a secret. Raises ``ValueError``."""
    signatures = [f"{VERSION},{_signature(raw, id, str(at), key_of(secret))}" for secret in secrets]
    return {ID_HEADER: id, TIMESTAMP_HEADER: str(at), SIGNATURE_HEADER: " ".join(signatures)}


def verify(raw: bytes, headers: Mapping[str, str], secrets: Iterable[str], now: datetime) -> Message:
    """The message, once one of the secrets matches one of its ``v1`` signatures. Raises ``NotVerified``."""
    given = {name: headers.get(name, "").strip() for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)}
    if absent := [name for name, value in given.items() if not value]:
        raise NotVerified(f"The {absent[0]} header is missing.")
    id_, timestamp = given[ID_HEADER], given[TIMESTAMP_HEADER]
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= MOST_DIGITS):
        raise NotVerified(f"The {TIMESTAMP_HEADER} header is no Unix time in seconds.")
    signatures = _signatures(given[SIGNATURE_HEADER])
    keys = _keys(secrets)
    if not keys:
        raise NotVerified(f"This connection has no usable signing secret: it must be {SECRET_FORM}.")
    # Every pair is compared, so that the time taken does not tell which one matched.
    expected = [_signature(raw, id_, timestamp, key).encode() for key in keys]
    if not any([hmac.compare_digest(one, each) for one in expected for each in signatures]):  # noqa: C419
        raise NotVerified(f"No signature in {SIGNATURE_HEADER} matches this body.")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise NotVerified(f"The message's time is more than {TOLERANCE_SECONDS} seconds away from now.")
    return Message(id_, datetime.fromtimestamp(int(timestamp), UTC))


def _signature(raw: bytes, id_: str, timestamp: str, key: bytes) -> str:
    signed = f"{id_}.{timestamp}.".encode("utf-8", "surrogateescape") + raw
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _signatures(header: str) -> list[bytes]:
    parts = (part.partition(",") for part in header.split())
    return [value.encode("utf-8", "surrogateescape") for version, _, value in parts if version == VERSION and value]


def _keys(secrets: Iterable[str]) -> list[bytes]:
    """Of the secrets that have the form."""
    found = []
    for secret in secrets:
        try:
            found.append(key_of(secret))
        except ValueError:
            continue
    return found
