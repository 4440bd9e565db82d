"""The token endpoint: client credentials, and refresh tokens with rotation.

From help.salesforce.com, "OAuth 2.0 Client Credentials Flow" and "OAuth 2.0 Refresh Token Flow" (with rotation each answer
brings the next refresh token; one that was spent revokes the newest one and every access token of its grant), and the errors
in its "OAuth Error Codes".
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from integrations.sandbox.dialect import Answer, Call
from integrations.sandbox.store import Json, Row, Tx
from integrations.vendors.salesforce.sandbox.errors import oauth

if TYPE_CHECKING:
    from integrations.sandbox.dialect import Dialect

CLIENT_ID = "sandbox-salesforce-client"
REFRESH_TOKEN = "sandbox-salesforce-refresh"  # noqa: S105
_EXPIRED = "expired access/refresh token"


def preseed(dialect: Dialect, tx: Tx) -> None:
    tx.insert(dialect.name, "Grant", "grant", {"current": REFRESH_TOKEN, "spent": []}, lag=0, seeded=True)


def is_good(dialect: Dialect, tx: Tx, access: str, client_secrets: Any, epoch: Any) -> bool:
    """Whether the session stands: its app's secret, its grant, and the org's ``session_epoch``."""
    row = tx.get(dialect.name, "Session", access) if access else None
    if row is None or row.body["secret"] not in client_secrets or row.body["epoch"] != epoch:
        return False
    return not row.body["grant"] or tx.get(dialect.name, "Grant", row.body["grant"]) is not None


def token(dialect: Dialect, call: Call) -> Answer:
    form = call.body
    if form.get("client_id") != CLIENT_ID:
        return oauth("invalid_client_id", "client identifier invalid")
    if form.get("client_secret") not in call.settings["tokens"]:
        return oauth("invalid_client", "invalid client credentials")
    match form.get("grant_type"):
        case "client_credentials":
            return _granted(dialect, call, "", "")
        case "refresh_token":
            return _refreshed(dialect, call, str(form.get("refresh_token") or ""))
    return oauth("unsupported_grant_type", "grant type not supported")


def _refreshed(dialect: Dialect, call: Call, given: str) -> Answer:
    grant = next((row for row in call.tx.rows(dialect.name, "Grant") if _knows(row, given)), None)
    if grant is None:
        return oauth("invalid_grant", _EXPIRED)
    if grant.body["current"] != given:
        call.tx.archive(grant)
        return oauth("invalid_grant", _EXPIRED)
    following = ""
    if call.settings["rotates"]:
        following = f"5Aep{secrets.token_urlsafe(24)}"
        call.tx.update(grant, {"current": following, "spent": [*grant.body["spent"], given]}, lag=0)
    return _granted(dialect, call, grant.id, following)


def _knows(grant: Row, given: str) -> bool:
    return given == grant.body["current"] or given in grant.body["spent"]


def _granted(dialect: Dialect, call: Call, grant: str, refresh: str) -> Answer:
    """Without ``expires_in``: Salesforce says nothing of a session's end."""
    access = f"00DQy0000000001!AQ{secrets.token_urlsafe(32)}"
    session = {"secret": call.body["client_secret"], "grant": grant, "epoch": call.settings["session_epoch"]}
    call.tx.insert(dialect.name, "Session", access, session, lag=0)
    answer: Json = {
        "access_token": access,
        "signature": secrets.token_urlsafe(32),
        "scope": "api refresh_token" if grant else "api",
        "instance_url": f"{dialect.origin}{dialect.base_path}",
        "id": f"{dialect.origin}/id/00DQy0000000001MAA/005Qy0000000001MAA",
        "token_type": "Bearer",
        "issued_at": str(round(call.tx.now * 1000)),
    }
    return Answer(200, answer | ({"refresh_token": refresh} if refresh else {}))
