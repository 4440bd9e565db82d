"""Jira's objects, for the conformance suite."""

from collections.abc import Mapping, Sequence
from typing import Any

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import DeliveryProject, DeliveryTask, VendorObject
from integrations.vendors.jira.connector import _label
from integrations.vendors.jira.sandbox.dialect import EPIC, PROJECT_ID
from integrations.vendors.jira.sandbox.fields import plain
from tests.integrations.vendors.conformance import REFERENCE, Bench, Case


def project(_: Bench, name: str) -> DeliveryProject:
    return DeliveryProject(name=name, start_date="2026-12-01")


def task(bench: Bench, name: str) -> DeliveryTask:
    within = bench.create(project(bench, "Acme Logistics"), "pay_of_the_project")
    return DeliveryTask(name=name, project_id=within, notes="See the brief", due_on="2026-12-01", assignee="u_456")


def task_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, DeliveryTask)
    return MatchKey("reference", reference, within=made.project_id), MatchKey("name", made.name, within=made.project_id)


def labelled(number: int) -> Mapping[str, Any]:
    """Another customer's issue onto which somebody has copied our label."""
    about = {"key": f"ONB-{number + 1}", "project": PROJECT_ID, "type": EPIC, "summary": f"Other {number}"}
    return {**about, "labels": [_label(REFERENCE)], "properties": {"firstvalue": {"reference": f"pay_{number}"}}}


CASES = [
    Case(
        "jira", "project", "issues", project, lambda _, reference: [MatchKey("reference", reference)],
        change=DeliveryProject(notes="The brief"),
        shows=lambda body: "The brief" in plain(body.get("description") or {}),
        others=labelled,
    ),
    Case(
        "jira", "task", "issues", task, task_keys,
        change=DeliveryTask(completed=True),
        shows=lambda body: body["status"] == "10002",
        others=labelled,
    ),
]  # fmt: skip
