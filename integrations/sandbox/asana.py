"""Asana's REST dialect: projects come from a template through a job, and nothing is idempotent.

Taken from Asana's published OpenAPI spec (github.com/Asana/openapi) and its errors and rate limits pages
(developers.asana.com/docs/errors, /docs/rate-limits).
"""

from __future__ import annotations

import uuid
from datetime import date
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from .dialect import Answer, Call, Dialect, as_seconds, closing_reference, iso, route
from .store import Json, Row, Tx

TEMPLATE_GID = "1200000000000001"
TEAM_GID = "1100000000000001"
_WORKSPACE = {"gid": "1000000000000001", "resource_type": "workspace", "name": "Firstvalue sandbox"}
_RESOURCES = {
    "projects": "project", "tasks": "task", "jobs": "job", "project_templates": "project_template", "teams": "team",
    "users": "user",
}  # fmt: skip
_ME = "1000000000000002"
#: who may be assigned a task: ourselves, a colleague, and the implementation owner of the payload's documented example
_USERS = (
    {"gid": _ME, "name": "Firstvalue", "email": "firstvalue@sandbox.example"},
    {"gid": "1000000000000003", "name": "Ines Ortega", "email": "ines@sandbox.example"},
    {"gid": "u_456", "name": "Kim Sato", "email": "kim@sandbox.example"},
)
_PAGE, _LARGEST_PAGE = 50, 100


class Asana(Dialect):
    name = "asana"
    prefix = "/asana/api/1.0"
    counted = ("projects", "tasks")
    furniture = ("project_templates", "teams", "users")
    id_base = 1_200_000_000_100_000
    #: ``job_outcome`` is fixed when the job is accepted: "succeeded" or "failed"
    defaults = {"search_lag": 0.0, "job_seconds": 0.5, "job_outcome": "succeeded"}

    def refusal(self, status: int, message: str) -> Answer:
        match status:
            case HTTPStatus.UNAUTHORIZED:
                message = "Not Authorized"
            case HTTPStatus.FORBIDDEN:
                message = "You do not have access to this resource."
            case HTTPStatus.TOO_MANY_REQUESTS:
                message = "You have made too many requests recently. Please, be chill."
        error = {"message": message, "help": "For more information on API status codes, see developers.asana.com"}
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            error["phrase"] = f"6 sad squid snuggle softly {uuid.uuid4().hex[:8]}"
        return Answer(status, {"errors": [error]})

    def pace_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        if kind == "projects" and body.get("name"):
            return [("name", str(body["name"]))]
        external = (body.get("external") or {}).get("gid")
        keys = [("external.gid", str(external))] if external else []
        ours = closing_reference(str(body.get("notes") or ""))
        return keys + [(f"{name} in {gid}", value) for gid in body.get("projects") or [] for name, value in ours]

    def preseed(self, tx: Tx) -> None:
        dates = [{"gid": "1", "name": "Start Date", "description": "The day of the kickoff"}]
        team = {"gid": TEAM_GID, "resource_type": "team", "name": "Implementation"}
        self.seed(tx, "teams", {"gid": TEAM_GID, "name": "Implementation"})
        template = {"gid": TEMPLATE_GID, "name": "Onboarding", "team": team, "requested_dates": dates}
        self.seed(tx, "project_templates", template)
        for user in _USERS:
            self.seed(tx, "users", dict(user))

    def _view(self, row: Row, body: Json | None = None) -> Json:
        stamps: Json = {}
        if row.kind in self.counted:
            link = f"{self.origin}/asana/0/{row.id}"
            stamps = {"created_at": iso(row.created_at), "modified_at": iso(row.updated_at), "permalink_url": link}
        return {"gid": row.id, "resource_type": _RESOURCES[row.kind], **(body or row.body), **stamps}

    def _row(self, call: Call, kind: str, gid: str) -> Row:
        if kind == "tasks" and gid.startswith("external:"):
            row = next(iter(call.tx.find(self.name, kind, "external.gid", gid.removeprefix("external:"))), None)
        else:
            row = call.tx.get(self.name, kind, gid)
        if row is None or (kind == "projects" and call.tx.searchable(row, self._job_lag(call)) is None):
            raise self.refuse(404, f"{_RESOURCES[kind]}: Unknown object: {gid}")
        return row

    @staticmethod
    def _data(call: Call) -> Json:
        data = call.body.get("data")
        if not isinstance(data, dict):
            raise TypeError("Could not parse request data: expected an object under 'data'")
        return data

    @staticmethod
    def _job_lag(call: Call) -> float:
        return as_seconds(call.settings["job_seconds"])

    def _listing_lag(self, call: Call) -> float:
        """A project is listed when its job has succeeded, and no sooner than the index has it."""
        return max(call.lag, self._job_lag(call))

    @staticmethod
    def _one(status: int, data: Any) -> Answer:
        return Answer(status, {"data": data})

    # -- furniture -----------------------------------------------------------------------------------------------

    @route("GET", "/users/me")
    def me(self, call: Call) -> Answer:  # noqa: ARG002
        return self._one(200, {**_USERS[0], "resource_type": "user", "workspaces": [_WORKSPACE]})

    @route("GET", "/users/{gid}")
    def user(self, call: Call, gid: str) -> Answer:
        return self._one(200, self._view(self._row(call, "users", gid)))

    @route("GET", "/teams/{gid}")
    def team(self, call: Call, gid: str) -> Answer:
        return self._one(200, self._view(self._row(call, "teams", gid)))

    @route("GET", "/project_templates/{gid}")
    def template(self, call: Call, gid: str) -> Answer:
        return self._one(200, self._view(self._row(call, "project_templates", gid)))

    # -- projects ------------------------------------------------------------------------------------------------

    @route("POST", "/project_templates/{gid}/instantiateProject")
    def instantiate(self, call: Call, gid: str) -> Answer:
        template, data = self._row(call, "project_templates", gid), self._data(call)
        name, team = data.get("name"), str(data.get("team") or template.body.get("team", {}).get("gid"))
        if not isinstance(name, str) or not name.strip():
            raise self.refuse(400, "name: Missing input")
        if call.tx.get(self.name, "teams", team) is None:
            raise self.refuse(400, f"team: Not a recognized ID: {team}")
        known = {str(each["gid"]) for each in template.body.get("requested_dates", [])}
        given = {str(each["gid"]): each.get("value") for each in data.get("requested_dates") or []}
        if unknown := set(given) - known:
            raise self.refuse(400, f"requested_dates: Not a recognized ID: {', '.join(sorted(unknown))}")
        if data.get("is_strict") and not all(given.get(each) for each in known):
            raise self.refuse(422, "requested_dates: is_strict needs a value for every date variable")
        lag, outcome = self._job_lag(call), str(call.settings["job_outcome"])
        new_project = None
        if outcome == "succeeded":
            body: Json = {"name": name, "team": {"gid": team}, "archived": False, "created_from_template": {"gid": gid}}
            body["start_on"] = given.get("1")
            new_project = self.add(call.tx, "projects", body, lag=self._listing_lag(call)).id
        project = new_project and {"gid": new_project, "resource_type": "project", "name": name}
        job = self.add(call.tx, "jobs", {"outcome": outcome, "new_project": project}, lag=lag)
        return self._one(201, self._job(call, job))

    @route("GET", "/jobs/{gid}")
    def job(self, call: Call, gid: str) -> Answer:
        return self._one(200, self._job(call, self._row(call, "jobs", gid)))

    def _job(self, call: Call, row: Row) -> Json:
        done = call.tx.searchable(row, self._job_lag(call)) is not None
        status = row.body["outcome"] if done else "in_progress"
        shown = {"resource_subtype": "project_template_instantiate_project", "status": status}
        return self._view(row, {**shown, "new_project": row.body["new_project"] if done else None})

    @route("GET", "/projects")
    def projects(self, call: Call) -> Answer:
        if "team" not in call.query:
            raise self.refuse(400, "You should specify one of workspace, team")
        team = self._row(call, "teams", call.query["team"])
        return self._listed(call, "projects", "team.gid", team.id, self._listing_lag(call))

    @route("GET", "/projects/{gid}")
    def project(self, call: Call, gid: str) -> Answer:
        return self._one(200, self._view(self._row(call, "projects", gid)))

    @route("PUT", "/projects/{gid}")
    def change_project(self, call: Call, gid: str) -> Answer:
        row = self._row(call, "projects", gid)
        return self._one(200, self._view(call.tx.update(row, {**row.body, **self._data(call)}, lag=call.lag)))

    @route("DELETE", "/projects/{gid}")
    def delete_project(self, call: Call, gid: str) -> Answer:
        project = self._row(call, "projects", gid)
        for task in call.tx.find(self.name, "tasks", "projects", project.id):
            others = [each for each in task.body["projects"] if each != project.id]
            if others or task.body.get("assignee"):  # what is somebody's, or elsewhere too, stays
                call.tx.update(task, {**task.body, "projects": others}, lag=call.lag)
            else:
                call.tx.archive(task)
        call.tx.archive(project)
        return self._one(200, {})

    # -- tasks ---------------------------------------------------------------------------------------------------

    @route("POST", "/tasks")
    def create_task(self, call: Call) -> Answer:
        data = self._data(call)
        projects = [str(gid) for gid in data.get("projects") or []]
        if not (projects or data.get("workspace") or data.get("parent")):
            raise self.refuse(400, "You should specify one of workspace, parent, projects")
        for gid in projects:
            if call.tx.get(self.name, "projects", gid) is None:
                raise self.refuse(400, f"projects: Not a recognized ID: {gid}")
        body = {"completed": False, "notes": "", **self._checked(call, data), "projects": projects}
        return self._one(201, self._task(self.add(call.tx, "tasks", body, lag=call.lag)))

    @route("GET", "/tasks")
    def tasks(self, call: Call) -> Answer:
        project = self._row(call, "projects", call.query.get("project", ""))
        return self._listed(call, "tasks", "projects", project.id, call.lag)

    @route("GET", "/tasks/{gid}")
    def task(self, call: Call, gid: str) -> Answer:
        return self._one(200, self._task(self._row(call, "tasks", gid)))

    @route("PUT", "/tasks/{gid}")
    def change_task(self, call: Call, gid: str) -> Answer:
        row, data = self._row(call, "tasks", gid), self._checked(call, self._data(call))
        if data.get("completed") and row.body.get("completed"):
            data.pop("completed_at", None)
        return self._one(200, self._task(call.tx.update(row, {**row.body, **data}, lag=call.lag)))

    @route("DELETE", "/tasks/{gid}")
    def delete_task(self, call: Call, gid: str) -> Answer:
        call.tx.archive(self._row(call, "tasks", gid))
        return self._one(200, {})

    def _checked(self, call: Call, data: Json) -> Json:
        """A task's values as they are stored: the assignee as a user, and when it was completed."""
        data = dict(data)
        if data.get("due_on") and not _is_date(data["due_on"]):
            raise self.refuse(400, f"due_on: Invalid date: {data['due_on']}")
        if data.get("assignee"):
            wanted = _ME if data["assignee"] == "me" else str(data["assignee"])
            by_email = call.tx.find(self.name, "users", "email", wanted)
            user = call.tx.get(self.name, "users", wanted) or next(iter(by_email), None)
            if user is None:
                raise self.refuse(400, f"assignee: Not a recognized ID: {wanted}")
            data["assignee"] = {"gid": user.id, "resource_type": "user", "name": user.body.get("name", "")}
        if "completed" in data:
            data["completed_at"] = iso(call.tx.now) if data["completed"] else None
        return data

    def _task(self, row: Row, body: Json | None = None) -> Json:
        body = body or row.body
        projects = [{"gid": gid, "resource_type": "project"} for gid in body.get("projects", [])]
        return self._view(row, {**body, "projects": projects})

    def _listed(self, call: Call, kind: str, field: str, value: str, lag: float) -> Answer:
        limit, after = call.page(size=_PAGE, largest=_LARGEST_PAGE)
        rows = call.tx.page(self.name, kind, field, value, lag=lag, limit=limit + 1, after=after)
        view = self._task if kind == "tasks" else self._view
        page = [view(row, call.tx.searchable(row, lag)) for row in rows[:limit]]
        following = None
        if len(rows) > limit:
            offset = str(rows[limit - 1].seq)
            query = urlencode({**call.query, "limit": limit, "offset": offset})
            path = f"{call.path}?{query}"
            uri = f"http://{call.headers.get('Host', '')}{self.prefix}{path}"
            following = {"offset": offset, "path": path, "uri": uri}
        return Answer(200, {"data": page, "next_page": following})


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False
