"""Signing in to Salesforce: OAuth 2.0 client credentials, or a refresh token that may be rotated.

Sources: help.salesforce.com "OAuth 2.0 Client Credentials Flow for Server-to-Server Integration" and "OAuth 2.0 Refresh Token
Flow for Renewed Sessions" (an answer has no ``expires_in``: the org's session timeout rules, so that a session is renewed on
a 401 and not by a clock; with rotation each answer brings the next refresh token, and a second use of one revokes them all).

Tokens are sent to the connection's base URL alone, the org's own domain, whatever ``instance_url`` an answer names.
"""

from collections.abc import Callable
from typing import Any

from integrations.connections import sessions
from integrations.connectors.answers import VendorAnswer
from integrations.connectors.options import TOKEN
from integrations.crypto import SecretUnreadable
from integrations.errors import Kind, ProviderError
from integrations.http.client import Answer, VendorHttp
from integrations.models import Connection
from integrations.vendors.salesforce.schemas import SessionExpired

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 (a path)


class TokenAnswer(VendorAnswer):
    access_token: str
    refresh_token: str = ""


class SalesforceHttp(VendorHttp):
    """Calls with the connection's session. One that has expired is renewed once a call, and the call is sent again."""

    def __init__(
        self, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None
    ) -> None:
        super().__init__(connection, headers={}, subject=subject, deadline=deadline, before_write=before_write)
        self._client_id = str(connection.options.get("client_id") or "")
        self._access = ""

    def request(self, method: str, path: str, **how: Any) -> Answer[Any]:
        """As ``VendorHttp.request``. Nothing was done by a call that met an expired session."""
        self._refuse_in_transaction()
        try:
            self._access = self._access or sessions.access_token(self.connection, self._login)
            access = self._access or self._renew("")
            try:
                return self._signed(access, method, path, how)
            except SessionExpired:
                access = self._renew(access)
            return self._signed(access, method, path, how)
        except SecretUnreadable as problem:
            raise ProviderError(Kind.AUTH, f"A secret of {self.connection.slug} cannot be read: {problem}.") from None

    def _signed(self, access: str, method: str, path: str, how: dict[str, Any]) -> Answer[Any]:
        headers = {**(how.get("headers") or {}), "Authorization": f"Bearer {access}"}
        return super().request(method, path, **{**how, "headers": headers})

    def _renew(self, refused: str) -> str:
        self._access = sessions.renew(
            self.connection, login=self._login, refused=refused, ask=self._sign_in, deadline=self._deadline
        )
        return self._access

    @property
    def _secret(self) -> str:
        return next(iter(self.connection.secrets(TOKEN)), "")

    @property
    def _login(self) -> str:
        return f"{self.connection.base_url}\0{self._client_id}\0{self._secret}"

    def _sign_in(self, refresh: str) -> sessions.Granted:
        grant = (
            {"grant_type": "refresh_token", "refresh_token": refresh}
            if refresh
            else {"grant_type": "client_credentials"}
        )
        form = {**grant, "client_id": self._client_id, "client_secret": self._secret}
        # Nothing of a step's is written: an answer that is lost leaves no outcome of its write in doubt.
        answer = super().request("POST", TOKEN_PATH, form=form, expect=TokenAnswer, reads=True).data
        return sessions.Granted(answer.access_token, answer.refresh_token)
