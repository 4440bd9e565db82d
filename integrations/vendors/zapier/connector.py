"""Zapier (workflow): a step is handed over to a catch hook of “Webhooks by Zapier”.

help.zapier.com/hc/en-us/articles/8496288690317 (triggering Zaps from webhooks), help.zapier.com/hc/en-us/articles/29972220283789
(limits: 429; a 200 may be worked on minutes later), community.zapier.com/code-webhooks-52/how-to-output-ok-in-response-to-catch-
hook-13867 (the answer is always the same success and cannot be changed; silent mode empties it). So a success says that the
message was stored, and nothing of the Zap: one that is off answers so, too. Only its report, or the deadline, tells. The 410 of a
hook that is gone is not confirmed by these pages.
"""

from collections.abc import Mapping
from typing import Any, Literal

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Secret
from integrations.connectors.workflow.connector import WorkflowConnector, signing_secret
from integrations.errors import Kind, ProviderError


class Caught(VendorAnswer):
    status: Literal["success"]


class Zapier(WorkflowConnector):
    provider = "zapier"
    hosts = ("hooks.zapier.com",)
    default_base_url = "https://hooks.zapier.com"
    secrets = (
        Secret(
            name=TOKEN,
            label="Catch hook",
            help="What stands after /hooks/catch/ in the Zap's address, such as 1234567/abc123 (or the whole of it).",
        ),
        signing_secret(),
    )
    probes = "that the hook's address and the signing secret are stored; nothing is called, as that would start the Zap"
    hook_path = "/hooks/catch/"
    rate_limit_seconds = 30.0
    gone = "Zapier has no hook at this address any more: enter the address of the Zap's catch hook."

    @property
    def path(self) -> str:
        return f"{super().path}/"

    def hand_over(self, body: dict[str, Any], headers: Mapping[str, str]) -> str:
        self.http.request("POST", self.path, json=body, headers=headers, expect=Caught)
        return ""

    def probe(self) -> str:
        if not self.connection.secrets(WEBHOOK_SECRET):
            raise ProviderError(Kind.NOT_CONFIGURED, f"{self.connection.slug}: the signing secret is missing")
        return "Zapier, without a call"
