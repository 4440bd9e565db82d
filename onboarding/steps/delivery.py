"""Delivery steps: the onboarding project."""

from typing import Any

from integrations.providers.base import MatchKey
from integrations.words import System
from onboarding.payload.schema import get
from onboarding.steps.base import Content, EnsureHandler
from onboarding.steps.registry import register


@register
class Project(EnsureHandler):
    """One project a run, made from the connection's template."""

    name = "delivery.project"
    system = System.DELIVERY
    title = "create the delivery project"
    kind = "project"
    needs = ("crm.account",)  # a project without an account is what the duplicate audit looks for
    reads = ("customer.legal_name", "kickoff.start_date")

    def match_key(self, content: Content, run_id: str) -> str:  # noqa: ARG002
        return f"run:{run_id}"

    def reference(self, content: Content, run_id: str) -> str:  # noqa: ARG002
        return run_id

    def keys(self, content: Content, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return [MatchKey("reference", reference)]

    def params(self, content: Content, related: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002
        params = {"name": f"{get(content, 'customer.legal_name')} onboarding"}
        if start := get(content, "kickoff.start_date"):
            params["start_date"] = start
        return params
