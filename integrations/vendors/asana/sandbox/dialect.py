"""Asana's REST dialect: projects come from a template through a job, nothing is idempotent, and lists are compact.

Taken from Asana's published OpenAPI spec (github.com/Asana/openapi, defs/asana_oas.yaml) and its pages on input and
output options, pagination, errors and rate limits (developers.asana.com/docs). The tokens are personal access tokens,
so what needs OAuth (``external``) is refused.
"""

from __future__ import annotations

import base64
import re
import uuid
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, as_seconds, closing_reference, iso, route
from integrations.sandbox.store import Json, Row, Tx
from integrations.vendors.asana.sandbox import webhooks
from integrations.vendors.asana.sandbox.fields import (
    INSTANTIATE_FIELDS,
    PROJECT_FIELDS,
    TASK_FIELDS,
    TASK_ONCE_FIELDS,
    as_asked,
    compact,
    complete,
)

TEMPLATE_GID = "1200000000000001"
TEAM_GID = "1100000000000001"
_WORKSPACE = {"gid": "1000000000000001", "resource_type": "workspace", "name": "Firstvalue sandbox"}
_RESOURCES = {
    "projects": "project", "tasks": "task", "jobs": "job", "project_templates": "project_template", "teams": "team",
    "users": "user", "webhooks": "webhook",
}  # fmt: skip
_ME = "1000000000000002"
#: who may be assigned a task: ourselves, a colleague, and the implementation owner of the payload's documented example
_USERS = (
    {"gid": _ME, "name": "Firstvalue", "email": "firstvalue@sandbox.example"},
    {"gid": "1000000000000003", "name": "Ines Ortega", "email": "ines@sandbox.example"},
    {"gid": "u_456", "name": "Kim Sato", "email": "kim@sandbox.example"},
)
_LARGEST_PAGE = 100
_START, _DUE = "1", "2"
"""The date variables whose gids are the same in every template: the project's start and due date."""


class Asana(Dialect):
    name = "asana"
    prefix = base_path = "/asana/api/1.0"
    system = "delivery"
    options = {"template_gid": TEMPLATE_GID, "team_gid": TEAM_GID}
    page = re.compile(r"/asana/0/(?:\d+/)?(?P<id>(?!list$)[^/]+)(?:/list)?")
    counted = ("projects", "tasks")
    fixed_kinds = ("project_templates", "teams", "users")
    id_base = 1_200_000_000_100_000
    transient_refusals = (HTTPStatus.SERVICE_UNAVAILABLE,)
    always = frozenset(
        {"data", "gid", "name", "notes", "parent", "status", "new_project", "requested_dates", "next_page", "offset"}
    )
    choices = frozenset({"resource_type", "resource_subtype"})
    #: ``job_outcome`` is fixed when the job is accepted: "succeeded" or "failed"
    defaults = {"search_lag": 0.0, "job_seconds": 0.5, "job_outcome": "succeeded"}

    def handle(self, call: Call) -> Answer:
        if call.has_body and not call.says_json:
            return self.refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json")
        return super().handle(call)

    def refusal(self, status: int, message: str) -> Answer:
        match status:
            case HTTPStatus.UNAUTHORIZED:
                message = "Not Authorized"
            case HTTPStatus.FORBIDDEN:
                message = "You do not have access to this resource."
            case HTTPStatus.TOO_MANY_REQUESTS:
                message = "You have made too many requests recently. Please, be chill."
        return self._error(status, message)

    @staticmethod
    def _error(status: int, message: str) -> Answer:
        error = {"message": message, "help": "For more information on API status codes, see developers.asana.com"}
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            error["phrase"] = f"6 sad squid snuggle softly {uuid.uuid4().hex[:8]}"
        return Answer(status, {"errors": [error]})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        if kind == "projects" and body.get("name"):
            return [("name", str(body["name"]))]
        ours = closing_reference(str(body.get("notes") or ""))
        return [(f"{name} in {gid}", value) for gid in body.get("projects") or [] for name, value in ours]

    def preseed(self, tx: Tx) -> None:
        dates = [{"gid": _START, "name": "Start Date", "description": "The day of the kickoff"}]
        team = {"gid": TEAM_GID, "resource_type": "team", "name": "Implementation"}
        self.seed(tx, "teams", {"gid": TEAM_GID, "name": "Implementation"})
        template = {"gid": TEMPLATE_GID, "name": "Onboarding", "team": team, "requested_dates": dates}
        self.seed(tx, "project_templates", template)
        for user in _USERS:
            self.seed(tx, "users", dict(user))

    # -- what is shown -------------------------------------------------------------------------------------------

    def _record(self, call: Call, row: Row, body: Json | None = None) -> Json:
        """Everything that there is to know of an object; what is shown of it depends on ``opt_fields``."""
        body = row.body if body is None else body
        record: Json = {"gid": row.id, "resource_type": _RESOURCES[row.kind], **body}
        if row.kind in self.counted:
            link = f"{self.origin}/asana/0/{row.id}"
            stamps = {"created_at": iso(row.created_at), "modified_at": iso(row.updated_at)}
            record |= {"workspace": _WORKSPACE, "permalink_url": link, **stamps}
        if row.kind == "projects":
            plain = {"archived": False, "completed": False, "notes": "", "start_on": None, "due_on": None}
            record = {**plain, **record, "team": self._compact_of(call, "teams", (body.get("team") or {}).get("gid"))}
        elif row.kind == "tasks":
            assignee = self._compact_of(call, "users", (body.get("assignee") or {}).get("gid"))
            projects = [self._compact_of(call, "projects", gid) for gid in body.get("projects") or []]
            kept = {"resource_subtype": "default_task", "completed": False, "completed_at": None, "due_on": None}
            record = {**kept, "notes": "", **record, "assignee": assignee, "projects": projects}
        elif row.kind == "users":
            record["workspaces"] = [_WORKSPACE]
        return record

    def _compact_of(self, call: Call, kind: str, gid: str | None) -> Json | None:
        row = call.tx.get(self.name, kind, gid) if gid else None
        return None if row is None else {"gid": row.id, "resource_type": _RESOURCES[kind], "name": row.body.get("name")}

    def _one(self, call: Call, status: int, record: Json) -> Answer:
        """A single object: the complete record, or exactly what ``opt_fields`` lists."""
        asked = self._asked(call)
        return Answer(status, {"data": complete(record) if asked is None else as_asked(record, asked)})

    @staticmethod
    def _asked(call: Call) -> list[str] | None:
        """The paths of ``opt_fields``, or of ``options.fields`` in a body; None where nothing was said."""
        listed = call.query.get("opt_fields", "").split(",") if "opt_fields" in call.query else None
        fields = listed if listed is not None else (call.body.get("options") or {}).get("fields")
        return None if fields is None else [str(each).strip() for each in fields if str(each).strip()]

    # -- what is taken -------------------------------------------------------------------------------------------

    def _takes(self, call: Call, *names: str) -> None:
        """Refuse query parameters that the method does not document."""
        known = {*names, "opt_fields", "opt_pretty"}
        if unknown := sorted(set(call.query) - known):
            raise self.refuse(400, f"{unknown[0]}: Unrecognized request parameter")

    def _data(self, call: Call, fields: frozenset[str]) -> Json:
        """The body's ``data``. Refuses members that the method does not take."""
        data = call.body.get("data")
        if not isinstance(data, dict):
            raise TypeError("Could not parse request data: expected an object under 'data'")
        if set(data) & {"external"}:
            raise self._needs_oauth()
        if unknown := sorted(set(data) - fields):
            raise self.refuse(400, f"{unknown[0]}: Unrecognized field")
        return dict(data)

    def _needs_oauth(self) -> Refused:
        return Refused(self._error(403, "external: You must use OAuth to read or write external data"))

    def _row(self, call: Call, kind: str, gid: str) -> Row:
        if kind == "tasks" and gid.startswith("external:"):
            raise self._needs_oauth()
        row = call.tx.get(self.name, kind, gid)
        if row is None and not gid.isdecimal():
            raise self.refuse(400, f"{_RESOURCES[kind]}: Not a recognized ID: {gid}")
        if row is None or (kind == "projects" and call.tx.searchable(row, self._job_lag(call)) is None):
            raise self.refuse(404, f"{_RESOURCES[kind]}: Unknown object: {gid}")
        return row

    @staticmethod
    def _job_lag(call: Call) -> float:
        return as_seconds(call.settings["job_seconds"])

    def _listing_lag(self, call: Call) -> float:
        """A project is listed when its job has succeeded, and no sooner than the index has it."""
        return max(call.lag, self._job_lag(call))

    def _day(self, field: str, value: object) -> str:
        """A calendar date, YYYY-MM-DD."""
        try:
            if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
                return value
        except ValueError:
            pass
        raise self.refuse(400, f"{field}: Invalid date: {value}")

    # -- furniture -----------------------------------------------------------------------------------------------

    @route("GET", "/users/{gid}")
    def user(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        row = self._known_user(call, gid)
        return self._one(call, 200, self._record(call, row or self._row(call, "users", gid)))

    def _known_user(self, call: Call, who: str) -> Row | None:
        """By gid, by email, or "me"."""
        wanted = _ME if who == "me" else who
        by_email = call.tx.find(self.name, "users", "email", wanted)
        return call.tx.get(self.name, "users", wanted) or next(iter(by_email), None)

    @route("GET", "/teams/{gid}")
    def team(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        return self._one(call, 200, self._record(call, self._row(call, "teams", gid)))

    @route("GET", "/project_templates/{gid}")
    def template(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        record: Json = {"requested_dates": [], "requested_roles": []}
        return self._one(call, 200, record | self._record(call, self._row(call, "project_templates", gid)))

    # -- projects ------------------------------------------------------------------------------------------------

    @route("POST", "/project_templates/{gid}/instantiateProject")
    def instantiate(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        template, data = self._row(call, "project_templates", gid), self._data(call, INSTANTIATE_FIELDS)
        name, team = data.get("name"), str(data.get("team") or template.body.get("team", {}).get("gid"))
        if not isinstance(name, str) or not name.strip():
            raise self.refuse(400, "name: Missing input")
        if call.tx.get(self.name, "teams", team) is None:
            raise self.refuse(400, f"team: Not a recognized ID: {team}")
        given = self._dates(call, template, data)
        lag, outcome = self._job_lag(call), str(call.settings["job_outcome"])
        new_project = None
        if outcome == "succeeded":
            body: Json = {"name": name, "team": {"gid": team}, "archived": False, "created_from_template": {"gid": gid}}
            body |= {"start_on": given.get(_START), "due_on": given.get(_DUE)}
            new_project = self.add(call.tx, "projects", body, lag=self._listing_lag(call)).id
        project = new_project and {"gid": new_project, "resource_type": "project", "name": name}
        job = self.add(call.tx, "jobs", {"outcome": outcome, "new_project": project}, lag=lag)
        return self._one(call, 201, self._job(call, job))

    def _dates(self, call: Call, template: Row, data: Json) -> dict[str, str]:
        """The template's date variables with their days. Refuses a dated template that is given none."""
        known = [str(each["gid"]) for each in template.body.get("requested_dates") or []]
        given = {str(each["gid"]): each.get("value") for each in data.get("requested_dates") or []}
        if unknown := sorted(set(given) - set(known)):
            raise self.refuse(400, f"requested_dates: Not a recognized ID: {', '.join(unknown)}")
        if data.get("is_strict") and not all(given.get(each) for each in known):
            raise self.refuse(422, "requested_dates: is_strict needs a value for every date variable")
        if known and not given:
            raise self.refuse(400, "requested_dates: Missing input")
        today = datetime.fromtimestamp(call.tx.now, UTC).date().isoformat()
        return {each: self._day("requested_dates", given.get(each) or today) for each in known}

    @route("GET", "/jobs/{gid}")
    def job(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        return self._one(call, 200, self._job(call, self._row(call, "jobs", gid)))

    def _job(self, call: Call, row: Row) -> Json:
        done = call.tx.searchable(row, self._job_lag(call)) is not None
        status = row.body["outcome"] if done else "in_progress"
        shown = {"resource_subtype": "project_template_instantiate_project", "status": status}
        return self._record(call, row, {**shown, "new_project": row.body["new_project"] if done else None})

    @route("GET", "/projects")
    def projects(self, call: Call) -> Answer:
        self._takes(call, "workspace", "team", "archived", "limit", "offset")
        if "team" not in call.query:
            raise self.refuse(400, "team: Missing input")
        team = self._row(call, "teams", call.query["team"])
        answer = self._listed(call, "projects", "team.gid", team.id, self._listing_lag(call))
        answer.headers["Asana-Change"] = "name=deprecate_team_filter;affected=true"
        return answer

    @route("GET", "/memberships")
    def memberships(self, call: Call) -> Answer:
        """The projects that are shared with a team; other memberships have no part in an onboarding."""
        self._takes(call, "parent", "member", "resource_subtype", "limit", "offset")
        if "limit" not in call.query:  # newer endpoints want their pages asked for
            raise self.refuse(400, "limit: Missing input")
        if "parent" in call.query or call.query.get("resource_subtype") != "project_membership":
            raise self.refuse(400, "resource_subtype: must be project_membership where parent is absent")
        team = self._row(call, "teams", call.query.get("member", ""))
        return self._listed(call, "projects", "team.gid", team.id, self._listing_lag(call), self._membership)

    def _membership(self, call: Call, row: Row, body: Json | None = None) -> Json:
        project = self._record(call, row, body)
        return {
            "gid": f"9{row.id}",
            "resource_type": "membership",
            "resource_subtype": "project_membership",
            "access_level": "editor",
            "member": project["team"],
            "parent": {name: project[name] for name in ("gid", "resource_type", "name")},
        }

    @route("GET", "/projects/{gid}")
    def project(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        return self._one(call, 200, self._record(call, self._row(call, "projects", gid)))

    @route("PUT", "/projects/{gid}")
    def change_project(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        row, data = self._row(call, "projects", gid), self._data(call, PROJECT_FIELDS)
        for field in ("start_on", "due_on"):
            if data.get(field):
                data[field] = self._day(field, data[field])
        changed = call.tx.update(row, {**row.body, **data}, lag=call.lag)
        return self._one(call, 200, self._record(call, changed))

    @route("DELETE", "/projects/{gid}")
    def delete_project(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        project = self._row(call, "projects", gid)
        for task in call.tx.find(self.name, "tasks", "projects", project.id):
            others = [each for each in task.body["projects"] if each != project.id]
            if others or task.body.get("assignee"):  # what is somebody's, or elsewhere too, stays
                call.tx.update(task, {**task.body, "projects": others}, lag=call.lag)
            else:
                call.tx.archive(task)
        call.tx.archive(project)
        return Answer(200, {"data": {}})

    # -- tasks ---------------------------------------------------------------------------------------------------

    @route("POST", "/tasks")
    def create_task(self, call: Call) -> Answer:
        self._takes(call)
        data = self._data(call, TASK_FIELDS | TASK_ONCE_FIELDS)
        projects = [str(gid) for gid in data.get("projects") or []]
        if not (projects or data.get("workspace") or data.get("parent")):
            raise self.refuse(400, "You should specify one of workspace, parent, projects")
        for gid in projects:
            if call.tx.get(self.name, "projects", gid) is None:
                raise self.refuse(400, f"projects: Not a recognized ID: {gid}")
        body = {"completed": False, "notes": "", **self._checked(call, data), "projects": projects}
        return self._one(call, 201, self._record(call, self.add(call.tx, "tasks", body, lag=call.lag)))

    @route("GET", "/tasks")
    def tasks(self, call: Call) -> Answer:
        names = ("assignee", "project", "section", "workspace", "completed_since", "modified_since", "limit", "offset")
        self._takes(call, *names)
        if "project" not in call.query:
            raise self.refuse(400, "You should specify one of project, tag, section, user_task_list, or assignee")
        project = self._row(call, "projects", call.query["project"])
        return self._listed(call, "tasks", "projects", project.id, call.lag)

    @route("GET", "/tasks/{gid}")
    def task(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        return self._one(call, 200, self._record(call, self._row(call, "tasks", gid)))

    @route("PUT", "/tasks/{gid}")
    def change_task(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        row, data = self._row(call, "tasks", gid), self._checked(call, self._data(call, TASK_FIELDS))
        if data.get("completed") and row.body.get("completed"):
            data.pop("completed_at", None)
        changed = call.tx.update(row, {**row.body, **data}, lag=call.lag)
        return self._one(call, 200, self._record(call, changed))

    @route("DELETE", "/tasks/{gid}")
    def delete_task(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        call.tx.archive(self._row(call, "tasks", gid))
        return Answer(200, {"data": {}})

    def _checked(self, call: Call, data: Json) -> Json:
        """A task's values as they are stored: the assignee as a user, and when it was completed."""
        if data.get("due_on") and data.get("due_at"):
            raise self.refuse(400, "due_on: You may only set one of due_on and due_at")
        if data.get("due_on"):
            data["due_on"] = self._day("due_on", data["due_on"])
        if data.get("assignee"):
            user = self._known_user(call, str(data["assignee"]))
            if user is None:
                raise self.refuse(400, f"assignee: Not a recognized ID: {data['assignee']}")
            data["assignee"] = {"gid": user.id, "name": user.body.get("name", "")}
        if "completed" in data:
            data["completed_at"] = iso(call.tx.now) if data["completed"] else None
        return data

    # -- webhooks ------------------------------------------------------------------------------------------------

    @route("POST", "/webhooks")
    def establish(self, call: Call) -> Answer:
        """Webhooks are made for projects and tasks here. What they tell, the tests send."""
        self._takes(call)
        data = self._data(call, webhooks.FIELDS)
        if problem := webhooks.problem_of(data):
            raise self.refuse(400, problem)
        gid = str(data["resource"])
        about = call.tx.get(self.name, "tasks", gid) or self._row(call, "projects", gid)
        secret = webhooks.shake_hands(str(data["target"]))
        if not secret:
            raise self.refuse(400, "The remote server did not respond with the handshake secret.")
        row = self.add(call.tx, "webhooks", {**data, "secret": secret})
        return self._one(call, 201, self._webhook(row, about))

    @route("DELETE", "/webhooks/{gid}")
    def delete_webhook(self, call: Call, gid: str) -> Answer:
        self._takes(call)
        call.tx.archive(self._row(call, "webhooks", gid))
        return Answer(200, {"data": {}})

    @staticmethod
    def _webhook(row: Row, about: Row) -> Json:
        """Never with its secret."""
        resource = {"gid": about.id, "resource_type": _RESOURCES[about.kind], "name": about.body.get("name", "")}
        known = {name: row.body.get(name) for name in ("target", "filters")}
        return {"gid": row.id, "resource_type": "webhook", "active": True, "resource": resource, **known}

    # -- lists ---------------------------------------------------------------------------------------------------

    def _listed(self, call: Call, kind: str, field: str, value: str, lag: float, record: Any = None) -> Answer:
        """Compact records, or exactly what ``opt_fields`` lists. Without a limit the list is cut, and does not say so."""
        limit, after, asked = self._limit(call), self._offset(call), self._asked(call)
        show = record or self._record
        archived = call.query.get("archived")
        rows = call.tx.page(self.name, kind, field, value, lag=lag, limit=limit + 1, after=after)
        records = [show(call, row, call.tx.searchable(row, lag)) for row in rows[:limit]]
        if archived is not None:
            records = [each for each in records if each["archived"] == (archived == "true")]
        page = [compact(each) if asked is None else as_asked(each, asked) for each in records]
        if "limit" not in call.query:
            return Answer(200, {"data": page})
        return Answer(200, {"data": page, "next_page": self._following(call, rows, limit)})

    def _limit(self, call: Call) -> int:
        given = call.query.get("limit", str(_LARGEST_PAGE))
        if not given.isdecimal() or not 1 <= int(given) <= _LARGEST_PAGE:
            raise self.refuse(400, f"limit: Must be between 1 and {_LARGEST_PAGE}: {given}")
        return int(given)

    def _offset(self, call: Call) -> int:
        """Only a token that an earlier page gave is good."""
        token = call.query.get("offset")
        if token is None:
            return 0
        try:
            name, _, seq = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        except ValueError:
            name, seq = "", ""
        if name != call.path or not seq.isdecimal():
            raise self.refuse(400, "offset: Your pagination token is invalid.")
        return int(seq)

    def _following(self, call: Call, rows: list[Row], limit: int) -> Json | None:
        if len(rows) <= limit:
            return None
        offset = base64.urlsafe_b64encode(f"{call.path}:{rows[limit - 1].seq}".encode()).decode()
        path = f"{call.path}?{urlencode({**call.query, 'offset': offset})}"
        return {"offset": offset, "path": path, "uri": f"http://{call.headers.get('Host', '')}{self.prefix}{path}"}
