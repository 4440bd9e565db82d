"""Sending through a vendor's API: django-anymail writes the request, our own client sends it.

Anymail's session of ``requests`` has neither our deadlines, nor the moment of sending by which an outcome is told to be
indeterminate,
nor our records; so it is not used (anymail.dev/en/stable/tips/transient_errors warns that a repeated send may be a second
mail). What
anymail knows of each vendor is how a message becomes its request (anymail.dev/en/stable/esps), and how its events are read
(``tracking``).
"""

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from anymail.exceptions import AnymailError

from integrations.connectors.base import HttpConnector
from integrations.connectors.mail.messages import Composed, MailConnector
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp

LONGEST_METADATA = 80
"""Postmark's limit for a value, the lowest of those that we send it to."""
_OWN_HEADERS = frozenset({"accept", "authorization", "content-type"})


class MailHttp(VendorHttp):
    """What a mail says is the customer's: the record of sending one shows its reference."""

    reference: str = ""

    def _record(self, method: str, path: str, *, request: Any = None, **rest: Any) -> None:
        super()._record(method, path, request={"reference": self.reference} if self.reference else request, **rest)


class ApiMailConnector(MailConnector, HttpConnector):
    """A vendor of mail with an API. Each message has one recipient, and our reference as its metadata."""

    http_class: ClassVar[type[VendorHttp]] = MailHttp

    @abstractmethod
    def backend(self) -> Any:
        """Anymail's backend of this vendor, which only writes the request: no session is opened."""

    def payload(self, mail: Composed, reference: str) -> Any:
        """Anymail's, with our reference where the vendor's events bring it back. Raises ``ProviderError(INVALID)``."""
        mail.message.metadata = metadata(reference)  # type: ignore[attr-defined]
        mail.message.track_opens = mail.message.track_clicks = False  # type: ignore[attr-defined]
        try:
            return self.backend().build_message_payload(mail.message, {})
        except AnymailError as problem:
            raise ProviderError(Kind.INVALID, f"This cannot be sent through {self._vendor}: {problem}") from None

    def send(self, payload: Any, reference: str, expect: Any, *, ok: tuple[int, ...] = (200, 202)) -> Any:
        """The vendor's answer. Raises as ``VendorHttp.request`` does."""
        asked = payload.get_request_params("https://vendor.invalid/")
        headers = {name: value for name, value in (asked["headers"] or {}).items() if name.lower() not in _OWN_HEADERS}
        body: dict[str, Any] = (
            {"json": json.loads(asked["data"])} if isinstance(asked["data"], str) else {"form": asked["data"]}
        )
        assert isinstance(self.http, MailHttp)  # noqa: S101  (as declared above)
        self.http.reference = reference
        try:
            path = self.api_path + urlsplit(asked["url"]).path
            return self.http.request(asked["method"], path, headers=headers, expect=expect, ok=ok, **body).data
        finally:
            self.http.reference = ""

    api_path: ClassVar[str] = ""
    """What stands before anymail's own path below the base URL."""

    @property
    def _vendor(self) -> str:
        return type(self).__name__


def metadata(reference: str) -> Mapping[str, str]:
    return {"reference": reference} if len(reference) <= LONGEST_METADATA else {}


def sentence(body: Any, *names: str) -> str:
    """What a refusal says: the first of these fields, shortened."""
    found = next((body[name] for name in names if isinstance(body, dict) and isinstance(body.get(name), str)), "")
    return found.strip()[:300]
