"""Asana (delivery): one project a run, made from a template, and tasks in it.

Sources: Asana's OpenAPI spec (github.com/Asana/openapi), developers.asana.com/reference/instantiateproject, /reference/createtask,
/reference/gettasks, /reference/deleteproject, /reference/deletetask, /docs/pagination, /docs/errors, /docs/rate-limits.

Instantiating a template is a job, and nothing is idempotent: the reference stands at the end of the project's name, and
the team's projects are listed to find it (Asana's search is for paid plans, and lags): by the team's memberships
(/reference/getmemberships), and where those are refused by the ``team`` filter of projects, which is deprecated. In a task
it is the notes' last line, and the project's tasks are listed.

A template with date variables is refused without ``requested_dates``. The kickoff's date goes into one of them, and Asana
fills the others with the day of the call (``is_strict`` false).

Asana documents no refusal that passes by itself but 429 and the statuses from 500 (/docs/errors), which are such anywhere.

A deleted task can be recovered from our user's trash for 30 days. With a project go only its tasks that are nobody's and
in no other project (forum.asana.com/t/100480): undo its tasks first. ``modified_at`` "does not currently reflect any
changes in associations such as tasks or comments".
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import Field

from integrations import clock
from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import (
    Capability,
    Created,
    CreateSafety,
    Found,
    HttpConnector,
    JobAccepted,
    MatchKey,
    moment,
)
from integrations.connectors.objects import DeliveryProject, DeliveryTask, VendorObject
from integrations.connectors.options import TOKEN_SECRET, WEBHOOK_SECRET, Option, OptionType
from integrations.connectors.reference_text import has_mark, mark, mark_of, with_part
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http.client import segment
from integrations.models import Connection
from integrations.vendors.asana import webhook as hooks

_FIELDS = "name,permalink_url,created_at,modified_at"
_PROJECT_FIELDS = f"{_FIELDS},archived"
_TASK_FIELDS = f"{_FIELDS},notes,due_on,completed,completed_at,assignee.name"
_DATES = "name,requested_dates.name"
_TASK_FIELDS_SENT = ("name", "notes", "due_on", "assignee", "completed")
_PAGE = 100
_MOST_PAGES = 50
_OUR_FIELDS = {each: each for each in _TASK_FIELDS_SENT} | {"requested_dates": "start_date"}
"""Asana's name of a field -> ours."""
_INVALID = frozenset({400, 422})
_START_DATE = "1"
"""In every template the date variable that is the project's start (schema DateVariableRequest)."""
_NO_MEMBERSHIPS = frozenset({Kind.INVALID, Kind.FORBIDDEN, Kind.NOT_FOUND})
_TOO_MANY_PROJECTS = (
    f"The Asana team has over {_MOST_PAGES * _PAGE} projects, too many to look through: use a team for onboarding"
)
_COLLECTIONS = {"project": "projects", "task": "tasks"}
_REFERENCE = re.compile(r"\[[^\[\]]+\]\Z")
"""As it stands at the end of a project's name."""


class _Project(VendorAnswer):
    gid: str = Field(min_length=1)
    name: str = ""
    notes: str = ""
    permalink_url: str = ""
    created_at: str = ""
    modified_at: str | None = None
    archived: bool = False


class _OneProject(VendorAnswer):
    data: _Project


class _NextPage(VendorAnswer):
    offset: str


class _Projects(VendorAnswer):
    data: list[_Project]
    next_page: _NextPage | None = None


class _Membership(VendorAnswer):
    parent: _Project


class _Memberships(VendorAnswer):
    data: list[_Membership]
    next_page: _NextPage | None = None


class _Hook(VendorAnswer):
    gid: str = Field(min_length=1)


class _OneHook(VendorAnswer):
    data: _Hook


class _Assignee(VendorAnswer):
    gid: str
    name: str = ""


class _Task(VendorAnswer):
    gid: str = Field(min_length=1)
    name: str = ""
    notes: str = ""
    permalink_url: str = ""
    created_at: str = ""
    modified_at: str | None = None
    due_on: str | None = None
    completed: bool = False
    completed_at: str | None = None
    assignee: _Assignee | None = None


class _OneTask(VendorAnswer):
    data: _Task


class _Tasks(VendorAnswer):
    data: list[_Task]
    next_page: _NextPage | None = None


_List = TypeVar("_List", _Projects, _Memberships, _Tasks)


class _Job(VendorAnswer):
    gid: str = Field(min_length=1)
    status: str
    new_project: _Project | None = None


class _OneJob(VendorAnswer):
    data: _Job


class _Emptied(VendorAnswer):
    """What a DELETE answers: an empty data record."""

    data: dict[str, Any]


class _Named(VendorAnswer):
    gid: str
    name: str


class _OneNamed(VendorAnswer):
    data: _Named


class _Template(_Named):
    requested_dates: list[_Named] = []
    """The days that it wants when it is instantiated."""


class _OneTemplate(VendorAnswer):
    data: _Template


class Asana(HttpConnector):
    provider = "asana"
    systems = frozenset({"delivery"})
    hosts = ("app.asana.com",)
    default_base_url = "https://app.asana.com/api/1.0"
    knows_people = True
    kinds = (
        Capability(
            kind=DeliveryProject.KIND,
            safety=CreateSafety.NEITHER,
            search_lag_option="search_lag",
            rollback="deleted, with those of its tasks that have no assignee and are in no other project",
        ),
        Capability(
            kind=DeliveryTask.KIND,
            safety=CreateSafety.NEITHER,
            search_lag_option="search_lag",
            rollback="deleted; recoverable from our user's trash for 30 days",
        ),
    )
    options = (
        Option(
            name="template_gid",
            label="Project template",
            help="Id of the template that projects are made from.",
            required=True,
        ),
        Option(name="team_gid", label="Team", help="Id of the team that projects are made in.", required=True),
        Option(name="workspace_gid", label="Workspace", help="Not needed; kept for connections that have it."),
        Option(
            name="start_date_gid",
            label="Date variable of the kickoff",
            help="Id of the template's date variable that takes the kickoff's date; 1 is the project's start date.",
            default=_START_DATE,
        ),
        Option(
            name="search_lag",
            label="Search lag",
            help="How long a list may miss what was just written.",
            type=OptionType.SECONDS,
            default="5",
        ),
    )
    probes = "the token's user, the template and its date variables, the team"
    secrets = (TOKEN_SECRET, hooks.TEXT)
    webhook = hooks.AsanaWebhook()
    watches = True

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        if not key.value.strip():
            return []
        match kind, key.name:
            case "project", "reference":
                listed = {each.gid: None for each in self._projects() if each.name.endswith(f"[{key.value}]")}
                return [there for gid in listed if (there := self.get(kind, gid))]
            case "task", "reference" if key.within:
                return [_found_task(each) for each in self._tasks(key.within) if has_mark(each.notes, key.value)]
            case "task", "name" if key.within:
                return [_found_task(each) for each in self._tasks(key.within) if _plain(each.name) == _plain(key.value)]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        if not external_id.strip().isdecimal():
            return None  # Asana's gids are numbers; asked for anything else it answers 400 and not 404
        if kind == "task":
            task = self.read(f"/tasks/{segment(external_id)}", _OneTask, params={"opt_fields": _TASK_FIELDS})
            return _found_task(task.data) if task else None
        found = self.read(f"/projects/{segment(external_id)}", _OneProject, params={"opt_fields": _PROJECT_FIELDS})
        return _found(found.data) if found else None

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:
        match wanted:
            case DeliveryTask():
                return self._create_task(wanted, reference)
            case DeliveryProject():
                return self._create_project(wanted, reference)
        raise TypeError(f"asana has no {wanted.kind}")

    def _create_project(self, wanted: DeliveryProject, reference: str) -> JobAccepted:
        data: dict[str, Any] = {"name": f"{wanted.name} [{reference}]", "team": self.option("team_gid")}
        gid = wanted.template or self.option("template_gid")
        if dates := self._template(gid).requested_dates:
            # Without a kickoff date (an urgency is enough) the project begins on the day it is made: Asana wants a date.
            start = wanted.start_date or clock.now().date().isoformat()
            data["requested_dates"] = [{"gid": self._start_date(dates), "value": start}]
        path = f"/project_templates/{segment(gid)}/instantiateProject"
        try:
            return JobAccepted(self.http.request("POST", path, json={"data": data}, expect=_OneJob).data.data.gid)
        except ProviderError as error:
            self._explain_template(error, gid)

    def _template(self, gid: str) -> _Template:
        path = f"/project_templates/{segment(gid)}"
        try:
            return self.http.request("GET", path, params={"opt_fields": _DATES}, expect=_OneTemplate).data.data
        except ProviderError as error:
            self._explain_template(error, gid)

    def _explain_template(self, error: ProviderError, gid: str) -> NoReturn:
        if gid == self.option("template_gid"):
            self._explain(error, "template_gid")
        if error.kind is not Kind.NOT_FOUND:
            raise error
        message = (
            f"Asana does not know the template {gid!r}, or hides it from us: check the playbook's table of templates"
        )
        raise ProviderError(Kind.NOT_CONFIGURED, message, error.http_status) from None

    def _start_date(self, wanted: list[_Named]) -> str:
        """The date variable that takes the kickoff's date. Raises ``ProviderError(NOT_CONFIGURED)`` where it cannot be told."""
        gid = self.option("start_date_gid")
        if gid in {each.gid for each in wanted}:
            return gid
        named = ", ".join(f"{each.gid} ({each.name})" for each in wanted)
        message = (
            f"Asana's template wants dates, and none of them is {gid!r}: enter the one of the kickoff's date into the option "
            f"start_date_gid. It has {named}"
        )
        raise ProviderError(Kind.NOT_CONFIGURED, message)

    def _create_task(self, wanted: DeliveryTask, reference: str) -> Created:
        data = _task_data(wanted) | {"projects": [wanted.project_id]}
        data["notes"] = _closed(data.get("notes", ""), mark(reference))
        query = {"opt_fields": _FIELDS}
        made = self.http.request("POST", "/tasks", params=query, json={"data": data}, expect=_OneTask).data.data
        return Created(made.gid, _url(made))

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A task's name, notes, due date, assignee and completion; a project's name and notes.

        A task keeps the reference in its notes, a project in its name; a project that people named anew keeps their name. In a
        project's notes only our own part is replaced: the template's stays.
        """
        if isinstance(wanted, DeliveryTask):
            path, data = f"/tasks/{segment(external_id)}", _task_data(wanted)
            if "notes" in data:
                now = self.http.request("GET", path, params={"opt_fields": "notes"}, expect=_OneTask).data.data
                data["notes"] = _closed(data["notes"], mark_of(now.notes))
            if data:
                self.http.request("PUT", path, json={"data": data}, expect=_OneTask)
        elif isinstance(wanted, DeliveryProject):
            if wanted.notes or wanted.name:
                self._update_project(external_id, wanted)
        else:
            super().update(external_id, wanted)

    def undo(self, kind: str, external_id: str) -> None:
        """Deletes it. Of a project's tasks those that have an assignee stay: they are undone on their own."""
        if not self.reversible(kind):
            super().undo(kind, external_id)
        path = f"/{_COLLECTIONS[kind]}/{segment(external_id)}"
        self.delete(kind, external_id, path, ok=(200,), expect=_Emptied)

    def _update_project(self, external_id: str, wanted: DeliveryProject) -> None:
        path = f"/projects/{segment(external_id)}"
        project = self.http.request("GET", path, params={"opt_fields": "name,notes"}, expect=_OneProject).data.data
        data = {}
        if wanted.notes:
            data["notes"] = with_part(project.notes, wanted.notes)
        if wanted.name and (reference := _REFERENCE.search(project.name)):
            data["name"] = f"{wanted.name} {reference[0]}"
        if data:
            self.http.request("PUT", path, json={"data": data}, expect=_OneProject)

    def poll(self, kind: str, job_id: str) -> Created | None:
        params = {"opt_fields": "status,new_project"}
        job = self.http.request("GET", f"/jobs/{segment(job_id)}", params=params, expect=_OneJob).data.data
        if job.status == "failed":
            raise ProviderError(Kind.JOB_FAILED, "Asana could not make the project from its template")
        if job.status != "succeeded":
            return None
        if job.new_project is None:
            raise ProviderError(
                Kind.MALFORMED, "Asana's job succeeded without naming its project", effect_possible=True
            )
        there = self.get(kind, job.new_project.gid)  # a job names its project, and not where people see it
        return Created(job.new_project.gid, there.url if there else _url(job.new_project))

    def watch(self, kind: str, external_id: str) -> str:  # noqa: ARG002
        """Asana asks our webhook for its consent before this has an answer. https://developers.asana.com/reference/createwebhook"""
        target = hooks.address(self.connection.slug, self.connection.secrets(WEBHOOK_SECRET)[0], external_id)
        data = {"resource": external_id, "target": target, "filters": hooks.FILTERS}
        return self.http.request("POST", "/webhooks", json={"data": data}, expect=_OneHook).data.data.gid

    def unwatch(self, watch: str) -> None:
        self.delete("webhook", watch, f"/webhooks/{segment(watch)}", ok=(200,), expect=_Emptied)

    @classmethod
    def forget_watch(cls, connection: Connection, external_id: str) -> None:
        """Asana deletes a webhook that is refused for a day."""
        connection.secret_rows.filter(name=hooks.secret_name(external_id)).delete()

    def person(self, external_id: str) -> str | None:
        """By gid or email address. https://developers.asana.com/reference/getuser"""
        try:
            found = self.read(f"/users/{segment(external_id)}", _OneNamed)
        except ProviderError as error:
            if error.kind is not Kind.INVALID:
                raise
            return None  # neither a gid nor an address
        return found.data.name if found else None

    def probe(self) -> str:
        who = self.http.request("GET", "/users/me", expect=_OneNamed).data.data
        template = self._template(self.option("template_gid"))
        try:
            path = f"/teams/{segment(self.option('team_gid'))}"
            team = self.http.request("GET", path, expect=_OneNamed).data.data.name
        except ProviderError as error:
            self._explain(error, "team_gid")
        return f"Asana user {who.name}, template {template.name}{self._told_dates(template)}, team {team}"

    def _told_dates(self, template: _Template) -> str:
        """What becomes of the template's dates, for people. Raises ``ProviderError(NOT_CONFIGURED)`` as ``_start_date``."""
        if not template.requested_dates:
            return ""
        start = self._start_date(template.requested_dates)
        ours = next(each.name for each in template.requested_dates if each.gid == start)
        others = [each.name for each in template.requested_dates if each.gid != start]
        left = f", Asana fills {' and '.join(others)}" if others else ""
        return f" (its {ours} is the kickoff's{left})"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        listed = body.get("errors") if isinstance(body, dict) else None
        if status not in _INVALID or not isinstance(listed, list):
            return None
        reasons = [str(each["message"]) for each in listed if isinstance(each, dict) and each.get("message")]
        fields = []
        for reason in reasons:
            name, colon, _ = reason.partition(":")
            name = name.strip() if colon and name.replace("_", "").isalnum() else ""
            fields.append(FieldProblem(name, reason, _OUR_FIELDS.get(name, "")))
        return ProviderError(Kind.INVALID, f"Asana did not accept this: {'; '.join(reasons)}", status, fields=fields)

    def _projects(self) -> Iterator[_Project]:
        """All projects of the team, as far as their names. Archived ones too: a finished onboarding is not made again."""
        try:
            yield from self._by_membership()
        except ProviderError as error:
            if error.kind not in _NO_MEMBERSHIPS:
                raise
            yield from self._by_team_filter()

    def _by_membership(self) -> Iterator[_Project]:
        query = {
            "member": self.option("team_gid"),
            "resource_subtype": "project_membership",
            "opt_fields": "parent.name",
        }
        for page in self._pages("/memberships", _Memberships, query, _TOO_MANY_PROJECTS):
            yield from (each.parent for each in page.data)

    def _by_team_filter(self) -> Iterator[_Project]:
        query = {"team": self.option("team_gid"), "opt_fields": "name"}
        try:
            for page in self._pages("/projects", _Projects, query, _TOO_MANY_PROJECTS):
                yield from page.data
        except ProviderError as error:
            self._explain(error, "team_gid")

    def _tasks(self, project_id: str) -> Iterator[_Task]:
        """All tasks of the project, completed ones too. Raises ``ProviderError(NOT_FOUND)`` for an unknown project."""
        message = f"The Asana project {project_id} has over {_MOST_PAGES * _PAGE} tasks, too many to look through"
        for page in self._pages("/tasks", _Tasks, {"project": project_id, "opt_fields": _TASK_FIELDS}, message):
            yield from page.data

    def _pages(self, path: str, expect: type[_List], query: dict[str, Any], too_many: str) -> Iterator[_List]:
        params = {**query, "limit": _PAGE}
        for _ in range(_MOST_PAGES):
            page = self.http.request("GET", path, params=params, expect=expect).data
            yield page
            if page.next_page is None:
                return
            params["offset"] = page.next_page.offset
        raise ProviderError(Kind.NOT_CONFIGURED, too_many)

    def _explain(self, error: ProviderError, option: str) -> NoReturn:
        """What an unknown id of our own configuration means."""
        if error.kind is not Kind.NOT_FOUND:
            raise error
        message = f"Asana does not know {self.option(option)!r}, or hides it from us: check the option {option}"
        raise ProviderError(Kind.NOT_CONFIGURED, message, error.http_status) from None


def _found(project: _Project) -> Found:
    state = "archived" if project.archived else ""
    evidence = {"created": project.created_at, "state": state}
    shown = {name: value for name, value in evidence.items() if value}
    changed_at = moment(project.modified_at)
    return Found(project.gid, project.name, _url(project), shown, changed_at=changed_at, inactive=state)


def _found_task(task: _Task) -> Found:
    evidence = {
        "due": task.due_on,
        "assignee": task.assignee and (task.assignee.name or task.assignee.gid),
        "completed": task.completed_at,
        "created": task.created_at,
    }
    shown = {name: value for name, value in evidence.items() if value}
    changed_at = moment(task.modified_at)
    return Found(task.gid, task.name, _url(task), shown, done=task.completed, changed_at=changed_at)


def _task_data(wanted: DeliveryTask) -> dict[str, Any]:
    return {name: value for name, value in wanted.given().items() if name in _TASK_FIELDS_SENT}


def _closed(notes: str, reference: str) -> str:
    """Notes with the reference as their last line."""
    return "\n\n".join(part for part in (notes.rstrip(), reference) if part)


def _url(made: _Project | _Task) -> str:
    if made.permalink_url:
        return made.permalink_url
    return (
        f"https://app.asana.com/0/{made.gid}/list"
        if isinstance(made, _Project)
        else f"https://app.asana.com/0/0/{made.gid}"
    )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
