"""n8n (workflow): a step is handed over to the production address of a Webhook node.

docs.n8n.io/integrations/builtin/core-nodes/n8n-nodes-base.webhook (production and test address, when it responds, header
authentication); the refusals are those of n8n's source (github.com/n8n-io/n8n, packages/cli/src/errors/response-errors/
webhook-not-found.error.ts and response-helper.ts). Responding immediately it says ``Workflow was started`` and no more; with a
“Respond to Webhook” node it may tell the execution and the workflow, of which the address for people follows.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

from pydantic import Field, model_validator

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.options import TOKEN, Option, Secret
from integrations.connectors.workflow.connector import WorkflowConnector, signing_secret
from integrations.errors import Kind, ProviderError
from integrations.http.client import segment
from integrations.models import Connection

AUTH_VALUE = "auth_value"
STARTED = "Workflow was started"
_ANOTHER_METHOD = "is not registered for"


class Started(VendorAnswer):
    message: str = ""
    execution_id: str | None = Field(None, alias="executionId")
    workflow_id: str | None = Field(None, alias="workflowId")

    @model_validator(mode="after")
    def _says_so(self) -> Self:
        if self.message != STARTED and not self.execution_id:
            raise ValueError("it does not say that the workflow was started")
        return self


class Refusal(VendorAnswer):
    message: str


class N8n(WorkflowConnector):
    provider = "n8n"
    hosts = ("*",)
    secrets = (
        Secret(
            name=TOKEN,
            label="Webhook's path",
            help="What stands after /webhook/ in the production URL of the flow's Webhook node (or the whole of it).",
        ),
        signing_secret(),
        Secret(
            name=AUTH_VALUE,
            label="Value of the authentication header",
            help="Only where the Webhook node asks for header authentication.",
            required=False,
        ),
    )
    options = (
        Option(
            name="auth_header",
            label="Name of the authentication header",
            help="As in n8n's credential for header authentication.",
            default="Authorization",
            pattern=r"[A-Za-z0-9-]{1,64}",
            allowed="a header's name",
        ),
    )
    probes = "that an active flow listens at the address; the flow is not started"
    hook_path = "/webhook/"
    gone = "n8n has no active flow at this address: activate the flow, or enter its production address."

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        values = connection.secrets(AUTH_VALUE)
        name = str(connection.options.get("auth_header") or "Authorization")
        return {name: values[0]} if values else {}

    def hand_over(self, body: dict[str, Any], headers: Mapping[str, str]) -> str:
        told = self.http.request("POST", self.path, json=body, headers=headers, expect=Started).data
        if not (told.execution_id and told.workflow_id):
            return ""
        where = f"/workflow/{segment(told.workflow_id)}/executions/{segment(told.execution_id)}"
        return f"{self.connection.base_url}{where}"

    def probe(self) -> str:
        """n8n refuses a method that the node does not take, and says there whether it takes another one."""
        refused = self.http.request("DELETE", self.path, reads=True, ok=(HTTPStatus.NOT_FOUND,), expect=Refusal).data
        if _ANOTHER_METHOD not in refused.message:
            raise ProviderError(Kind.AUTH, self.gone, HTTPStatus.NOT_FOUND)
        return "n8n, an active flow"
