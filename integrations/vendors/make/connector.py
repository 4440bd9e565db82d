"""Make (workflow): a step is handed over to a custom webhook of a scenario.

help.make.com/webhooks (a webhook has a queue, which may be worked on by a schedule; what it answers), apps.make.com/gateway (custom
webhooks, API keys in ``x-make-apikey``). A success is the text ``Accepted`` and says that the message is in the queue. Where no
scenario listens, it is a 410; where the queue is full, a 400; and of more than 300 requests in 10 seconds a 429. A scenario with
a “Webhook response” module answers something else, which is not taken for a success. That 400, its text and the 429 are not
confirmed by those pages.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Secret
from integrations.connectors.workflow.connector import HookHttp, WorkflowConnector, signing_secret
from integrations.errors import Kind, ProviderError
from integrations.models import Connection

API_KEY = "api_key"
ACCEPTED, QUEUE_IS_FULL = "accepted", "queue is full"
_QUEUE_SECONDS = 60.0


class Make(WorkflowConnector):
    provider = "make"
    hosts = ("hook.make.com", "hook.*.make.com")
    secrets = (
        Secret(
            name=TOKEN,
            label="Webhook's token",
            help="The last part of the webhook's address, https://hook.eu1.make.com/… (or the whole of it).",
        ),
        signing_secret(),
        Secret(
            name=API_KEY,
            label="API key of the webhook",
            help="Only where the webhook asks for one.",
            required=False,
        ),
    )
    probes = "that the webhook's address and the signing secret are stored; nothing is called, as that would start the scenario"
    hook_path = "/"
    gone = "Make has no scenario listening at this address: switch the scenario on, or enter another address."

    def __init__(self, connection: Connection, http: HookHttp) -> None:
        super().__init__(connection, http)
        http.denies = _not_accepted

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        keys = connection.secrets(API_KEY)
        return {"x-make-apikey": keys[0]} if keys else {}

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        if status == HTTPStatus.BAD_REQUEST and QUEUE_IS_FULL in _text(body):
            return ProviderError(
                Kind.TEMPORARY, "Make's queue for this webhook is full.", status, retry_after=_QUEUE_SECONDS
            )
        return super().translate(status, headers, body)

    def hand_over(self, body: dict[str, Any], headers: Mapping[str, str]) -> str:
        self.http.request("POST", self.path, json=body, headers=headers)
        return ""

    def probe(self) -> str:
        if not self.connection.secrets(WEBHOOK_SECRET):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{self.connection.slug}: the signing secret is missing")
        return "Make, without a call"


def _not_accepted(status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG001
    if _text(body).strip() == ACCEPTED:
        return None
    return ProviderError(Kind.MALFORMED, "Make gave another answer than Accepted", status, effect_possible=True)


def _text(body: Any) -> str:
    return body.lower() if isinstance(body, str) else ""
