"""DocuSign as its documentation describes it: the account server's token endpoint, and reading an envelope.

Taken from developers.docusign.com: platform/auth/jwt-get-token (RS256, ``aud`` is the account server's host without a scheme, an
assertion is good for an hour at most, ``consent_required`` until the user has consented), platform/auth/reference/user-info,
docs/esign-rest-api/reference/envelopes (envelopes/get, envelopecustomfields/list, envelopeformdata/get, enveloperecipients/list)
and platform/resource-limits (the headers of the hourly limit, and no ``Retry-After``). Every value is a text, as there.

What DocuSign delivers is in ``sample_events``.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from integrations.sandbox.dialect import Answer, Call, Dialect, route
from integrations.sandbox.store import Json, Row, Tx

ACCOUNT_ID = "5f2f9a53-9b2c-4a52-a6a3-3f6a4c2d7e11"
USER_ID = "0c0d7f0e-6f62-4a3a-8d6b-0f3f6f0f8a21"
INTEGRATION_KEY = "7c2b8d7e-0000-4000-8000-52fd7ce51b05"
HOST = "account-d.docusign.com"
_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LONGEST = 3600
_CODES = {
    400: "INVALID_REQUEST_PARAMETER",
    401: "USER_AUTHENTICATION_FAILED",
    404: "RESOURCE_NOT_FOUND",
    429: "HOURLY_APIINVOCATION_LIMIT_EXCEEDED",
}


class DocuSign(Dialect):
    name = "docusign"
    prefix = base_path = "/docusign"
    counted = ("envelopes",)
    id_base = 1
    #: ``public_key``: PEM of the app's key pair; ``consented``: whether the user has consented to be impersonated
    defaults = {"search_lag": 0.0, "public_key": "", "consented": True}
    own_settings = frozenset({"public_key", "consented"})
    sends_retry_after = False
    options = {"integration_key": INTEGRATION_KEY, "user_id": USER_ID, "account_server": HOST}

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:  # noqa: ARG002
        """The token endpoint takes requests without a token; ``handle`` refuses the others."""
        access = authorization.partition("Bearer ")[2].strip()
        return not authorization or tx.get(self.name, "sessions", access) is not None

    def handle(self, call: Call) -> Answer:
        if call.path != "/oauth/token" and not call.headers.get("Authorization"):
            return self.refusal(HTTPStatus.UNAUTHORIZED, "")
        return super().handle(call)

    def refusal(self, status: int, message: str) -> Answer:
        code = _CODES.get(status, "UNSPECIFIED_ERROR")
        return Answer(status, {"errorCode": code, "message": message or HTTPStatus(status).phrase})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        limit = limit or 3_000
        left = remaining if remaining >= 0 else limit - 1
        reset = str(int(time.time() + (seconds or _LONGEST)))
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": reset}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        """We make nothing there."""
        return []

    def preseed(self, tx: Tx) -> None:
        """A new account has no envelopes."""

    # -- signing in ----------------------------------------------------------------------------------------------

    @route("POST", "/oauth/token")
    def token(self, call: Call) -> Answer:
        if call.body.get("grant_type") != _BEARER:
            return _oauth("unsupported_grant_type")
        claims = _verified(str(call.body.get("assertion") or ""), call.settings["public_key"])
        if claims is None or claims.get("aud") != HOST:
            return _oauth("invalid_grant", "no_valid_keys_or_signatures")
        if claims.get("iss") != INTEGRATION_KEY:
            return _oauth("invalid_client", "unknown integration key")
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int) or not 0 < expires - issued <= _LONGEST:
            return _oauth("invalid_grant", "expired_client_token")
        if claims.get("sub") != USER_ID:
            return _oauth("invalid_grant", "user_not_found")
        if not call.settings["consented"] or set(str(claims.get("scope")).split()) != {"signature", "impersonation"}:
            return _oauth("consent_required")
        access = f"eyJ{secrets.token_urlsafe(24)}"
        call.tx.insert(self.name, "sessions", access, {}, lag=0)
        return Answer(200, {"access_token": access, "token_type": "Bearer", "expires_in": _LONGEST})

    @route("GET", "/oauth/userinfo")
    def user_info(self, call: Call) -> Answer:  # noqa: ARG002
        account = {"account_id": ACCOUNT_ID, "is_default": True, "account_name": "Sandbox"}
        return Answer(200, {"sub": USER_ID, "accounts": [{**account, "base_uri": f"{self.origin}{self.base_path}"}]})

    # -- envelopes -----------------------------------------------------------------------------------------------

    @route("GET", "/restapi/v2.1/accounts/{account}/envelopes/{id}")
    def envelope(self, call: Call, account: str, envelope_id: str) -> Answer:
        """``include`` names what more than the head is told."""
        body = self._row(call, account, envelope_id).body
        parts = set(call.query.get("include", "").split(","))
        more = {name: body[name] for asked, name in _INCLUDED.items() if asked in parts and name in body}
        head = {name: value for name, value in body.items() if name not in (*_INCLUDED.values(), "formData")}
        return Answer(200, {**head, **more, "envelopeId": envelope_id})

    @route("GET", "/restapi/v2.1/accounts/{account}/envelopes/{id}/custom_fields")
    def custom_fields(self, call: Call, account: str, envelope_id: str) -> Answer:
        empty: Json = {"textCustomFields": [], "listCustomFields": []}
        return Answer(200, empty | dict(self._row(call, account, envelope_id).body.get("customFields") or {}))

    @route("GET", "/restapi/v2.1/accounts/{account}/envelopes/{id}/recipients")
    def recipients(self, call: Call, account: str, envelope_id: str) -> Answer:
        """With tabs only where they are asked for."""
        told = dict(self._row(call, account, envelope_id).body.get("recipients") or {"signers": []})
        if call.query.get("include_tabs") != "true":
            told["signers"] = [
                {name: value for name, value in each.items() if name != "tabs"} for each in told["signers"]
            ]
        return Answer(200, told)

    @route("GET", "/restapi/v2.1/accounts/{account}/envelopes/{id}/form_data")
    def form_data(self, call: Call, account: str, envelope_id: str) -> Answer:
        body = self._row(call, account, envelope_id).body
        fields = [{"name": name, "value": value, "originalValue": ""} for name, value in body.get("formData") or []]
        about = {"envelopeId": envelope_id, "status": body.get("status", "completed")}
        return Answer(200, {**about, "formData": fields, "prefillFormData": None, "recipientFormData": []})

    def _row(self, call: Call, account: str, envelope_id: str) -> Row:
        if account != ACCOUNT_ID:
            raise self.refuse(401, "The caller may not use this account")
        row = call.tx.get(self.name, "envelopes", envelope_id)
        if row is None:
            refused = self.refuse(400, "The envelope specified either does not exist or you have no rights to it.")
            refused.answer.body["errorCode"] = "ENVELOPE_DOES_NOT_EXIST"
            raise refused
        return row


_INCLUDED = {"custom_fields": "customFields", "recipients": "recipients"}


def _oauth(error: str, description: str = "") -> Answer:
    body = {"error": error, "error_description": description} if description else {"error": error}
    return Answer(HTTPStatus.BAD_REQUEST, body)


def _verified(assertion: str, public_key: str) -> Json | None:
    """The claims of an assertion that this key has signed with RS256 (RFC 7515); None for any other."""
    head, _, rest = assertion.partition(".")
    claims, _, signature = rest.partition(".")
    try:
        if json.loads(_decoded(head)).get("alg") != "RS256":
            return None
        key = serialization.load_pem_public_key(public_key.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            return None
        key.verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        told: Any = json.loads(_decoded(claims))
    except (ValueError, InvalidSignature):
        return None
    return told if isinstance(told, dict) else None


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
