"""Reading at DocuSign's eSignature API what a delivery leaves out: an envelope's custom fields and form data.

Sources: JWT grant, developers.docusign.com/platform/auth/jwt-get-token (no refresh token: a new assertion is signed; the user
consents once, else ``consent_required``); the resources, developers.docusign.com/docs/esign-rest-api/reference/envelopes:
envelopecustomfields/list and envelopeformdata/get; limits, developers.docusign.com/platform/resource-limits (calls an hour, told
by ``X-RateLimit-Reset``; no ``Retry-After``).
"""

import base64
import copy
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self, TypeVar

import pydantic
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.conf import settings

from integrations import clock
from integrations.connections import sessions
from integrations.connectors.answers import VendorAnswer
from integrations.connectors.options import TOKEN
from integrations.crypto import SecretUnreadable
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp, segment
from integrations.http.hosts import is_sandbox
from integrations.models import Connection, InboundEvent
from integrations.vendors.docusign.envelopes import CustomFields, FormData

ACCOUNT_SERVERS = ("account.docusign.com", "account-d.docusign.com")
ASSERTION_SECONDS = 3600
"""The longest that DocuSign takes."""
M = TypeVar("M", bound=pydantic.BaseModel)


class TokenAnswer(VendorAnswer):
    access_token: str


class EnvelopeApi:
    """One envelope, read as the user whom the connection's app impersonates."""

    def __init__(self, connection: Connection, private_key: str, path: str, *, subject: str) -> None:
        self._connection, self._key, self._path, self._subject = connection, private_key, path, subject
        self._deadline = time.monotonic() + settings.CALL_SECONDS

    @classmethod
    def on(cls, stored: InboundEvent, account_id: str, envelope_id: str) -> Self | None:
        """None where the connection is not set up for reading. Raises ``ProviderError``."""
        connection = stored.connection
        try:
            key = next(iter(connection.secrets(TOKEN)), "")
        except SecretUnreadable as problem:
            raise ProviderError(Kind.AUTH, f"A secret of {connection.slug} cannot be read: {problem}.") from None
        if not key or not connection.base_url:
            return None
        if missing := [name for name in ("integration_key", "user_id") if not connection.options.get(name)]:
            raise ProviderError(Kind.NOT_CONFIGURED, f"{connection.slug}: option {', '.join(missing)} is missing")
        path = f"/restapi/v2.1/accounts/{segment(account_id)}/envelopes/{segment(envelope_id)}"
        return cls(connection, key, path, subject=f"event:{stored.pk}")

    def custom_fields(self) -> CustomFields:
        return self._read("custom_fields", CustomFields)

    def form_data(self) -> tuple[tuple[str, str], ...]:
        return self._read("form_data", FormData).fields

    def _read(self, part: str, expect: type[M]) -> M:
        login = f"{self._connection.base_url}\0{self._connection.options['integration_key']}\0{self._key}"
        access = sessions.access_token(self._connection, login) or self._renew(login, "")
        try:
            return self._get(part, expect, access)
        except ProviderError as error:
            if error.http_status != HTTPStatus.UNAUTHORIZED:
                raise
        return self._get(part, expect, self._renew(login, access))

    def _get(self, part: str, expect: type[M], access: str) -> M:
        http = self._http(self._connection, {"Authorization": f"Bearer {access}"})
        return http.request("GET", f"{self._path}/{part}", expect=expect).data

    def _renew(self, login: str, refused: str) -> str:
        return sessions.renew(
            self._connection, login=login, refused=refused, ask=self._sign_in, deadline=self._deadline
        )

    def _sign_in(self, _refresh: str) -> sessions.Granted:
        """At the account server, which is another host than the API's; in the sandbox one process is both."""
        server = str(self._connection.options.get("account_server") or ACCOUNT_SERVERS[0])
        account = copy.copy(self._connection)
        if not is_sandbox(account.base_url, account.environment):
            account.base_url = f"https://{server}"
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": _assertion(self._key, self._claims(server)),
        }
        answer = self._http(account, {}).request("POST", "/oauth/token", form=form, expect=TokenAnswer, reads=True).data
        return sessions.Granted(answer.access_token)

    def _claims(self, server: str) -> dict[str, Any]:
        now, options = int(clock.now().timestamp()), self._connection.options
        return {
            "iss": options["integration_key"],
            "sub": options["user_id"],
            "aud": server,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "scope": "signature impersonation",
        }

    def _http(self, connection: Connection, headers: Mapping[str, str]) -> VendorHttp:
        http = VendorHttp(connection, headers=headers, subject=self._subject, deadline=self._deadline)
        http.translate = _refusal
        return http


def _refusal(status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
    said = body if isinstance(body, dict) else {}
    if status == HTTPStatus.BAD_REQUEST and isinstance(said.get("error"), str):
        message = f"DocuSign refused to sign us in: {said.get('error_description') or said['error']}"
        if said["error"] == "consent_required":
            message += ". The user must consent once, for signature and impersonation"
        return ProviderError(Kind.AUTH, message, status)
    if "LIMIT_EXCEEDED" in str(said.get("errorCode", "")).upper():
        reset = headers.get("X-RateLimit-Reset", "")
        wait = float(reset) - clock.now().timestamp() if reset.isdecimal() else 60.0
        return ProviderError(
            Kind.RATE_LIMIT, "DocuSign's calls of this hour are used up", status, retry_after=max(wait, 1.0)
        )
    if status == HTTPStatus.BAD_REQUEST and said.get("errorCode") == "ENVELOPE_DOES_NOT_EXIST":
        return ProviderError(Kind.NOT_FOUND, "DocuSign does not have this envelope, or not for our user", status)
    return None


def _assertion(private_key: str, claims: Mapping[str, Any]) -> str:
    """A JWT signed with RS256 (RFC 7515, 7.1). Raises ``ProviderError``."""
    try:
        key = serialization.load_pem_private_key(base64.b64decode(private_key, validate=True), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProviderError(Kind.AUTH, "DocuSign's RSA private key is not base64 of an unencrypted PEM file")
    signed = f"{_encoded({'alg': 'RS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    return f"{signed}.{_base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(part: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(part).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
