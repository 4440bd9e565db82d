"""AWS Signature Version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    key_id: str
    secret: str
    region: str
    service: str


def payload_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def amz_date(at: datetime) -> str:
    """``at`` in UTC."""
    return f"{at:%Y%m%dT%H%M%SZ}"


def authorization(
    method: str,
    path: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    body_hash: str,
    *,
    date: str,
    given: Credentials,
) -> str:
    """The header's value. ``headers``: those that are signed, by their names in lower case; ``path`` as it is sent."""
    names = ";".join(sorted(headers))
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(params[name], safe='-_.~')}" for name in sorted(params))
    listed = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    canonical = "\n".join([method, quote(path, safe="/-_.~"), query, listed, names, body_hash])
    scope = f"{date[:8]}/{given.region}/{given.service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{given.secret}".encode()
    for part in (date[:8], given.region, given.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Credential={given.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
