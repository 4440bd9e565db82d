"""n8n's dialect: production and test addresses of Webhook nodes, and what n8n answers before and after a flow is started.

Taken from docs.n8n.io/integrations/builtin/core-nodes/n8n-nodes-base.webhook (with its pages “workflow development” and “common
issues”) and from n8n's source: packages/cli/src/errors/response-errors/webhook-not-found.error.ts, response-helper.ts, and the
Webhook node (nodes-base/nodes/Webhook), whose header authentication answers 403 ``Authorization data is wrong!``.
"""

from __future__ import annotations

from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, route
from integrations.sandbox.store import Json, Tx

WORKFLOW = "kQ3vSandboxFlow01"
_TEST_HINT = (
    "Click the 'Execute workflow' button on the canvas, then try again. (In test mode, the webhook only works for one call "
    "after you click this button)"
)
_PRODUCTION_HINT = (
    "The workflow must be active for a production URL to run successfully. You can activate the workflow using the toggle in "
    "the top-right of the editor. Note that unlike test URL calls, production URL calls aren't shown on the canvas (only in the "
    "executions list)"
)


class N8n(Dialect):
    name = "n8n"
    prefix = "/n8n"
    system = "workflow"
    base_path = "/n8n"
    secrets = {"webhook_secret": "whsec_c2FuZGJveC1zaWduaW5nLXNlY3JldC0wMQ=="}
    counted = ("hand-overs",)
    id_base = 230
    sends_retry_after = False
    #: ``active``: whether the flow is; ``respond``: ``immediately`` or ``execution`` (by a “Respond to Webhook” node);
    #: ``header_auth``: ``Name: value`` that the node asks for
    defaults = {"search_lag": 0.0, "active": True, "respond": "immediately", "header_auth": ""}
    own_settings = frozenset({"active", "respond", "header_auth"})
    always = frozenset({"message", "executionId", "workflowId"})

    def accepts(self, tx: Tx, authorization: str, tokens: Any) -> bool:  # noqa: ARG002
        """What proves the caller is the address, and what its node asks for."""
        return True

    def refusal(self, status: int, message: str) -> Answer:
        return Answer(status, {"code": status if status < 500 else 0, "message": message or "Unknown error"})  # noqa: PLR2004

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("hand-over", str(body["data"].get("hand_over", "")))]

    def preseed(self, tx: Tx) -> None:
        """A new account has the one flow, which its settings tell of."""

    @route("POST", "/webhook/{path}")
    def production(self, call: Call, path: str) -> Answer:
        if path not in call.settings["tokens"] or not call.settings["active"]:
            return _not_registered(call, path, _PRODUCTION_HINT)
        name, _, value = str(call.settings["header_auth"]).partition(": ")
        if name and call.headers.get(name) != value:
            return Answer(403, {"code": 403, "message": "Authorization data is wrong!"})
        execution = call.tx.new_id(self.name, "executions", self.id_base)
        told = {"webhook_id": call.headers.get("webhook-id"), "execution": execution}
        self.add(call.tx, "hand-overs", {**call.body, **told}, row_id=_row_id(self.name, call))
        if call.settings["respond"] == "execution":
            return Answer(200, {"executionId": execution, "workflowId": WORKFLOW})
        return Answer(200, {"message": "Workflow was started"})

    @route("DELETE", "/webhook/{path}")
    def another_method(self, call: Call, path: str) -> Answer:
        if path not in call.settings["tokens"] or not call.settings["active"]:
            return _not_registered(call, path, _PRODUCTION_HINT)
        said = f"This webhook is not registered for {call.method} requests. Did you mean to make a POST request?"
        return Answer(404, {"code": 404, "message": said})

    @route("POST", "/webhook-test/{path}")
    def test(self, call: Call, path: str) -> Answer:
        """Nobody has an editor open."""
        return _not_registered(call, path, _TEST_HINT)


def _not_registered(call: Call, path: str, hint: str) -> Answer:
    said = f'The requested webhook "{call.method} {path}" is not registered.'
    return Answer(404, {"code": 404, "message": said, "hint": hint})


def _row_id(vendor: str, call: Call) -> str | None:
    """By the message's id, of the first one: n8n does not look at it, and starts the flow again for a second one."""
    known = call.headers.get("webhook-id") or ""
    return known if known and call.tx.get(vendor, "hand-overs", known) is None else None
