"""Asana's objects, for the conformance suite."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import DeliveryProject, DeliveryTask, VendorObject
from integrations.errors import Kind
from integrations.vendors.asana.sandbox.dialect import TEAM_GID
from tests.integrations.vendors.conformance import Bench, Case


def project(_: Bench, name: str) -> DeliveryProject:
    return DeliveryProject(name=name, start_date="2026-12-01")


def task(bench: Bench, name: str) -> DeliveryTask:
    within = bench.create(project(bench, "Acme Logistics"), "pay_of_the_project")
    return DeliveryTask(name=name, project_id=within, notes="See the brief", due_on="2026-12-01", assignee="u_456")


def task_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, DeliveryTask)
    return MatchKey("reference", reference, within=made.project_id), MatchKey("name", made.name, within=made.project_id)


CASES = [
    Case(
        "asana", "project", "projects", project, lambda _, reference: [MatchKey("reference", reference)],
        change=DeliveryProject(notes="The brief"),
        shows=lambda body: "The brief" in body.get("notes", ""),
        error_kinds={404: Kind.NOT_CONFIGURED},  # of the template that is named in the options
        others=lambda number: {"name": f"Other {number} [pay_{number}]", "team": {"gid": TEAM_GID}},
    ),
    Case(
        "asana", "task", "tasks", task, task_keys,
        change=DeliveryTask(completed=True),
        shows=lambda body: body["completed"] is True,
    ),
]  # fmt: skip
