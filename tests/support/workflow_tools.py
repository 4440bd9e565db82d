"""The workflow tools in the sandbox: their connections, what they were handed over, and the reports that their flows send."""

import json
from typing import Any

from django.http import HttpResponse

from integrations.connections.services import set_connection
from integrations.connectors.declaration import load, vendors
from integrations.inbound import standard_webhooks
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from tests.support.webhooks import latest, now, post, settle


def secret_of(tool: str) -> str:
    return str(load(vendors()[tool].stand_in).secrets["webhook_secret"])


def connect(tool: str, sandbox: SandboxControl, *, slug: str = "", **more: str) -> Connection:
    """``more``: further secrets."""
    secrets = {"token": f"sandbox-{tool}-token", "webhook_secret": secret_of(tool), **more}
    return set_connection(
        slug or tool,
        system="workflow",
        provider=tool,
        base_url=f"{sandbox.base_url}/{tool}",
        environment="sandbox",
        secrets={name: [value] for name, value in secrets.items()},
        actor="tests",
    )


def handed_over(tool: str, sandbox: SandboxControl) -> list[dict[str, Any]]:
    """What the tool has taken, in order."""
    return [each["body"] for each in sandbox.objects(tool, "hand-overs")]


def report(
    tool: str,
    hand_over: str,
    type_: str = "workflow.succeeded",
    *,
    secret: str = "",
    at: int | None = None,
    message_id: str = "msg_1",
    slug: str = "",
    **data: Any,
) -> HttpResponse:
    """The flow's report, as it arrives; nothing is processed yet."""
    body = json.dumps({"type": type_, "data": {"hand_over": hand_over, **data}}).encode()
    sent_at = now() if at is None else at
    headers = standard_webhooks.sign(body, id=message_id, at=sent_at, secrets=[secret or secret_of(tool)])
    return post(slug or tool, body, headers)


def reported(tool: str, hand_over: str, type_: str = "workflow.succeeded", **given: Any) -> InboundEvent:
    """The report is taken and processed."""
    assert report(tool, hand_over, type_, **given).status_code == 200
    settle()
    return latest()
