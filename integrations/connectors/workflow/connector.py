"""Handing a step over to a workflow tool: one signed message to the address at which a flow listens.

How it is signed: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. ``webhook-id`` and
``Idempotency-Key`` are the same in every message about one hand-over, so that a flow can tell a repeated one. The tools themselves
do not, and cannot be asked what they have received: a message whose answer was lost is not sent again unless a person says so, or
the flow's report shows that it came.

The address is the secret of all of them: no record and no message to people shows it.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

from django.conf import settings

from integrations import clock
from integrations.connectors.base import Capability, Created, CreateSafety, Found, HttpConnector, MatchKey
from integrations.connectors.objects import HandOver, VendorObject
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Secret
from integrations.connectors.workflow.report import ReportWebhook
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp
from integrations.http.redaction import SECRET
from integrations.inbound import standard_webhooks
from integrations.models import Connection

REQUESTED = "workflow.requested"
SHOWN = ("hand_over", "onboarding_transaction_id", "step", "deadline")
"""What the record of a call says of its body: the rest is the customer's."""
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


def signing_secret(help_: str = "") -> Secret:
    """Both messages are signed with it: the one that hands over, and the report."""
    return Secret(
        name=WEBHOOK_SECRET,
        label="Signing secret",
        help=help_ or f"Signs what is handed over and what is reported back: {standard_webhooks.SECRET_FORM}.",
        pattern=rf"({standard_webhooks.PREFIX})?[A-Za-z0-9+/]+={{0,2}}",
        allowed=standard_webhooks.SECRET_FORM,
    )


class HookHttp(VendorHttp):
    """Each message is signed as it leaves; the address it goes to is shown nowhere."""

    message_id = ""
    address = ""

    def _send(self, call: Any) -> Any:
        if call.body is None:
            return super()._send(call)
        signed = standard_webhooks.sign(
            call.body,
            id=self.message_id,
            at=int(clock.now().timestamp()),
            secrets=self.connection.secrets(WEBHOOK_SECRET),
        )
        return super()._send(replace(call, headers={**call.headers, **signed}))

    def _record(self, method: str, path: str, *, request: Any = None, response: Any = None, **rest: Any) -> None:
        told = (request or {}).get("json", {}).get("data", {})
        shown = {name: told[name] for name in SHOWN if name in told}
        super()._record(method, self.hidden(path), request=shown or None, response=self._hidden_in(response), **rest)

    def hidden(self, text: str) -> str:
        return text.replace(self.address, SECRET) if self.address else text

    def _hidden_in(self, response: Any) -> Any:
        return json.loads(self.hidden(json.dumps(response)))


class WorkflowConnector(HttpConnector):
    """A tool whose flows listen at addresses of their own."""

    systems = frozenset({"workflow"})
    kinds = (
        Capability(
            kind=HandOver.KIND,
            safety=CreateSafety.NEITHER,
            reversible=False,
            rollback="what the flow has made stays, and a ticket lists it to be removed by hand",
            updatable=False,
        ),
    )
    webhook = ReportWebhook()
    http_class: ClassVar[type[VendorHttp]] = HookHttp
    hook_path: ClassVar[str]
    """What stands before the secret part of an address."""
    rate_limit_seconds: ClassVar[float] = 10.0
    """After a 429 that names no time."""
    gone: ClassVar[str]
    """What it means that nothing listens at the address, and what to do."""

    def __init__(self, connection: Connection, http: HookHttp) -> None:
        super().__init__(connection, http)
        self._http = http
        http.address = self._address()
        http.explain = self._without_address

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        """The address is all that most of them ask for."""
        return {}

    @property
    def path(self) -> str:
        return f"{self.hook_path}{quote(self._http.address, safe='/')}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        """Where nothing listens, nothing that is handed over on this connection arrives: its steps wait for a person to fix it,
        as they do where credentials are refused.
        """
        if status in _GONE:
            return ProviderError(Kind.AUTH, self.gone, status)
        if status == HTTPStatus.TOO_MANY_REQUESTS and "Retry-After" not in headers:
            return ProviderError(
                Kind.RATE_LIMIT, "It takes no more for a moment.", status, retry_after=self.rate_limit_seconds
            )
        return None

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        """None of them tells what it has received."""
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        return Found(external_id, "Hand-over, as recorded when it was sent")

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """Whoever repeats it starts the flow a second time, unless the flow looks at ``webhook-id``."""
        if not isinstance(wanted, HandOver):
            raise TypeError(f"{self.provider} has no {wanted.kind}")
        if not self.connection.secrets(WEBHOOK_SECRET):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{self.connection.slug}: the signing secret is missing")
        self._http.message_id = message_id(reference)
        headers = {"Idempotency-Key": self._http.message_id}
        return Created(self._http.message_id, self.hand_over(self._body(wanted), headers))

    @abstractmethod
    def hand_over(self, body: dict[str, Any], headers: Mapping[str, str]) -> str:
        """Send it; where people look at what was started, empty where the tool does not say. Raises ``ProviderError``."""

    def _body(self, wanted: HandOver) -> dict[str, Any]:
        now = clock.now()
        due = now + timedelta(minutes=wanted.minutes or 0)
        return {
            "type": REQUESTED,
            "timestamp": _iso(now),
            "data": {
                "hand_over": wanted.hand_over,
                "onboarding_transaction_id": wanted.transaction_id,
                "step": wanted.step,
                "deadline": _iso(due),
                "callback_url": f"{settings.PUBLIC_URL}/webhooks/{self.connection.slug}/",
                "payload": dict(wanted.payload or {}),
            },
        }

    def _address(self) -> str:
        """The secret part of the flow's address, also where the whole of it was entered.

        Raises ``ProviderError(NOT_CONFIGURED)``, which does not repeat it.
        """
        given = next(iter(self.connection.secrets(TOKEN)), "").strip()
        if "://" not in given:
            return given.strip("/")
        start = f"{self.connection.base_url}{self.hook_path}"
        if not given.startswith(start):
            raise ProviderError(
                Kind.NOT_CONFIGURED, f"{self.connection.slug}: the flow's address must begin with {start}"
            )
        return given.removeprefix(start).strip("/")

    def _without_address(self, error: ProviderError, body: Any) -> None:  # noqa: ARG002
        error.message = self._http.hidden(error.message)


def message_id(reference: str) -> str:
    """The same for each message about one hand-over; a reference may hold what no header carries."""
    return f"ho_{hashlib.sha256(reference.encode()).hexdigest()[:40]}"


def _iso(at: Any) -> str:
    return str(at.isoformat(timespec="seconds").replace("+00:00", "Z"))
