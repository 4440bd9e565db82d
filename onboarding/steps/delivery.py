"""Delivery steps: the onboarding project, its standard tasks, and the handover brief in it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from integrations.config_files import nearest
from integrations.connectors.base import MatchKey
from integrations.connectors.objects import DeliveryProject, DeliveryTask
from integrations.enums import System
from onboarding.payload.schema import is_date
from onboarding.steps.base import LONGEST_ITEM, Facts, RunHandler, UpdateHandler
from onboarding.steps.registry import register
from onboarding.steps.tables import Table
from onboarding.steps.texts import handover_brief

M = TypeVar("M", bound=BaseModel)
Words = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
"""One text, or a list of them."""


class _Template(BaseModel):
    """A row: for which plans and segments it holds (an empty one holds for all), and the template's id at the vendor."""

    model_config = ConfigDict(extra="forbid")
    plan: Words = []
    segment: Words = []
    template: str = Field(min_length=1, max_length=64)

    def holds(self, plan: str, segment: str) -> bool:
        given = ((self.plan, plan), (self.segment, segment))
        return all(not named or value.casefold() in {each.casefold() for each in named} for named, value in given)


class _Templates(BaseModel):
    model_config = ConfigDict(extra="forbid")
    templates: list[_Template] = Field(default=[], max_length=500)


@register
class Project(RunHandler):
    """One project a run, made from a template: of the playbook's table (``with.templates``) the first row that fits, else the
    connection's own.
    """

    name = "delivery.project"
    system = System.DELIVERY
    title = "create the delivery project"
    makes, kind = DeliveryProject, DeliveryProject.KIND
    paths = {"name": "customer.legal_name", "start_date": "kickoff.start_date"}
    needs = ("crm.account",)  # a project without an account is what the duplicate audit looks for
    reads = ("customer.legal_name", "kickoff.start_date")  # plan and segment matter once: a project keeps its template

    def check_options(self, options: Mapping[str, Any]) -> None:
        _checked(_Templates, options)

    def reference(self, facts: Facts) -> str:
        return facts.run_id

    def wanted(self, facts: Facts) -> DeliveryProject:
        start = facts.get("kickoff.start_date")
        name = f"{facts.get('customer.legal_name')} onboarding"
        return DeliveryProject(name=name, start_date=start if is_date(start) else "", template=_template(facts))

    def state(self, facts: Facts) -> dict[str, Any]:
        """Without template and date, which only matters to what the template brings: both are used when the project is made."""
        return replace(self.wanted(facts), start_date="", template="").given()


def _template(facts: Facts) -> str:
    plan, segment = (str(facts.get(path)).strip() for path in ("commercial.plan_sku", "customer.segment"))
    rows = _Templates.model_validate(dict(facts.options)).templates
    return next((row.template for row in rows if row.holds(plan, segment)), "")


def _checked(shape: type[M], options: Mapping[str, Any]) -> M:
    """Raises ``ValueError``, in words for whoever wrote the playbook."""
    try:
        return shape.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'with'}: {first['msg']}") from None


class _Task(BaseModel):
    """A standard task: its name, and its due date in days after the kickoff."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=LONGEST_ITEM)
    due_days: int | None = Field(None, ge=0, le=3650)


class _Tasks(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tasks: list[_Task] = Field(min_length=1, max_length=100)


@register
class Tasks(RunHandler):
    """The playbook's standard tasks (``with.tasks``), one an item. One that the template brought already is linked."""

    name = "delivery.tasks"
    system = System.DELIVERY
    title = "put the standard tasks into the project"
    makes, kind = DeliveryTask, DeliveryTask.KIND
    paths = {"due_on": "kickoff.start_date"}
    makes_several = True
    needs = ("delivery.project",)
    reads = ("kickoff.start_date",)

    def check_options(self, options: Mapping[str, Any]) -> None:
        names = [task.name for task in _checked(_Tasks, options).tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the task “{twice[0]}” is listed twice")

    def items(self, facts: Facts) -> list[str]:
        return [task["name"] for task in facts.options["tasks"]]

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        project = facts.related["delivery.project"]
        return [MatchKey("reference", reference, within=project), MatchKey("name", facts.item, within=project)]

    def wanted(self, facts: Facts) -> DeliveryTask:
        days = next(task.get("due_days") for task in facts.options["tasks"] if task["name"] == facts.item)
        start, due_on = facts.get("kickoff.start_date"), ""
        if days is not None and is_date(start):
            due_on = (date.fromisoformat(start) + timedelta(days=days)).isoformat()
        return DeliveryTask(name=facts.item, project_id=facts.related["delivery.project"], due_on=due_on)


class HandoverOptions(Table):
    leaves_out: tuple[str, ...] = ()
    """Payload paths that the project's brief does not have: a change of them is then no change of the project."""


@register
class Handover(UpdateHandler):
    """The brief in the project's description, with the way to the CRM's account and note."""

    name = "delivery.handover"
    system = System.DELIVERY
    title = "link the handover brief into the project"
    target = "delivery.project"
    kind = DeliveryProject.KIND
    needs = ("delivery.project", "crm.note")
    ties_to = ("crm.account",)
    reads = handover_brief.READS

    def check_options(self, options: Mapping[str, Any]) -> None:
        for path in HandoverOptions.of(options).leaves_out:
            if path not in self.reads:
                raise ValueError(f"leaves_out: {path} is no part of the brief{nearest(path, self.reads)}")

    def wanted(self, facts: Facts) -> DeliveryProject:
        leaves_out = facts.options.get("leaves_out", ())
        where = [
            f"{label}: {facts.links.get(name) or facts.related[name]}"
            for label, name in (("CRM account", "crm.account"), ("Handover note in the CRM", "crm.note"))
            if name in facts.related
        ]
        return DeliveryProject(notes="\n".join(["Handover brief", handover_brief.text(facts, leaves_out), "", *where]))
