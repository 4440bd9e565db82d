"""Jira Cloud's REST dialect: issues of one project or several, an index that lags, documents, workflows.

Taken from developer.atlassian.com/cloud/jira/platform/rest/v3 (api-group-issues, -issue-search, -myself, -permissions,
-user-search, -projects, -server-info), /rate-limiting, /search-and-reconcile, /basic-auth-for-rest-apis, and from
github.com/MrRefactoring/jira.js, which is generated from Atlassian's OpenAPI description. A wrong token is answered as an
anonymous visitor is, with ``X-Seraph-LoginReason: AUTHENTICATED_FAILED`` (github.com/MrRefactoring/jira.js/issues/418).
The old search is gone: 410 (developer.atlassian.com/changelog/#CHANGE-2046).
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, iso, route
from integrations.sandbox.store import Json, Row, Tx, term
from integrations.vendors.jira.sandbox import fields, search

PROJECT_ID, PROJECT_KEY = "10000", "ONB"
EPIC, TASK, SUBTASK = "10001", "10002", "10003"
ME = "5b10a2844c20165700ede21g"
_TYPES = (
    {"id": EPIC, "name": "Epic", "hierarchyLevel": 1, "subtask": False},
    {"id": TASK, "name": "Task", "hierarchyLevel": 0, "subtask": False},
    {"id": SUBTASK, "name": "Subtask", "hierarchyLevel": -1, "subtask": True},
)
#: ourselves, colleagues (one hides their address), and the implementation owner of the payload's documented example
_USERS = (
    {"id": ME, "displayName": "Firstvalue", "emailAddress": "firstvalue@sandbox.example", "active": True},
    {"id": "557058:ines", "displayName": "Ines Ortega", "emailAddress": "ines@sandbox.example", "active": True},
    {"id": "557058:noor", "displayName": "Noor Haddad", "active": True},
    {"id": "u_456", "displayName": "Kim Sato", "emailAddress": "kim@sandbox.example", "active": True},
)
_STATUSES = {
    "10000": ("To Do", "new"),
    "3": ("In Progress", "indeterminate"),
    "10002": ("Done", "done"),
    "10003": ("Won't do", "done"),
}
#: id -> (name, status that it leads to): each may be taken from any status
_TRANSITIONS = {"11": ("To Do", "10000"), "21": ("In Progress", "3"), "31": ("Done", "10002")}
_WONT_DO = {"41": ("Reject", "10003")}
_CATEGORY_IDS = {"undefined": 1, "new": 2, "done": 3, "indeterminate": 4}
_ISSUE_FIELDS = frozenset({"project", "issuetype", "summary", "description", "labels", "parent", "duedate", "assignee"})
_PERMISSIONS = frozenset(
    {"BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "ASSIGN_ISSUES", "SCHEDULE_ISSUES", "TRANSITION_ISSUES",
     "DELETE_ISSUES", "ASSIGNABLE_USER", "ADMINISTER"}
)  # fmt: skip
_NOT_SEEN = "Issue does not exist or you do not have permission to see it."
_FAILED_LOGIN = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
_RATE_LIMIT = 350
_LARGEST_META = 200


class Jira(Dialect):
    name = "jira"
    prefix = "/jira/rest"
    system = "delivery"
    base_path = "/jira"
    options = {"email": "firstvalue@sandbox.example", "project": PROJECT_KEY}
    #: an issue's number in its project is its id here
    page = re.compile(r"/jira/browse/[A-Z][A-Z0-9_]*-(?P<id>\d+)")
    counted = ("issues",)
    fixed_kinds = ("projects", "users")
    id_base = 20_000
    transient_refusals = (HTTPStatus.SERVICE_UNAVAILABLE,)
    always = frozenset(
        {
            "id", "key", "fields", "issues", "nextPageToken", "errorMessages", "errors", "issueTypes", "fieldId", "required",
            "hierarchyLevel", "subtask", "transitions", "to", "status", "statusCategory", "name", "permissions",
            "havePermission", "accountId", "displayName", "active", "summary", "parent", "properties", "firstvalue",
            "reference", *_PERMISSIONS,
        }
    )  # fmt: skip
    choices = frozenset({"deploymentType", "style", "projectTypeKey"})
    #: ``refused``: permissions that our user lacks, and fields that no screen has. A project may have ``required`` fields,
    #: ``wont_do`` (its workflow has a second way to be done) and ``issue_writes`` (of one issue: {"writes", "seconds"})
    defaults = {"search_lag": 0.0, "refused": []}

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:  # noqa: ARG002
        """Any pair of an address and a token is let in: a wrong one as an anonymous visitor."""
        return self._login(authorization) is not None

    @staticmethod
    def _login(authorization: str) -> tuple[str, str] | None:
        scheme, _, value = authorization.partition(" ")
        try:
            email, _, token = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return None
        return (email, token) if scheme.lower() == "basic" and email and token else None

    def handle(self, call: Call) -> Answer:
        login = self._login(call.headers.get("Authorization", "")) or ("", "")
        if login[1] not in call.settings["tokens"] or not call.tx.find(self.name, "users", "emailAddress", login[0]):
            return self._as_anonymous(call)
        if call.has_body and not call.says_json:
            return self.refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type")
        return super().handle(call)

    def _as_anonymous(self, call: Call) -> Answer:
        """Nothing of this site is public: there is nothing to be seen, and nothing may be written."""
        if call.path == "/api/3/search/jql":
            return Answer(HTTPStatus.OK, {"issues": [], "isLast": True}, dict(_FAILED_LOGIN))
        seen = call.method == "GET" and call.path.startswith(("/api/3/issue/", "/api/3/project/"))
        refused = self.refusal(HTTPStatus.NOT_FOUND if seen else HTTPStatus.UNAUTHORIZED, _NOT_SEEN)
        refused.headers |= _FAILED_LOGIN
        return refused

    def refusal(self, status: int, message: str) -> Answer:
        headers = {}
        match status:
            case HTTPStatus.UNAUTHORIZED:
                message = "Client must be authenticated to access this resource."
            case HTTPStatus.FORBIDDEN:
                message = message or "You do not have permission to do this."
            case HTTPStatus.TOO_MANY_REQUESTS:
                message = "Rate limit exceeded."
                headers = {"RateLimit-Reason": "jira-burst-based", "X-RateLimit-NearLimit": "true"}
        return Answer(status, {"errorMessages": [message], "errors": {}}, headers)

    def _invalid(self, **errors: str) -> Refused:
        return Refused(Answer(HTTPStatus.BAD_REQUEST, {"errorMessages": [], "errors": errors}))

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        limit = limit or _RATE_LIMIT
        at = datetime.fromtimestamp(time.time() + seconds, UTC)
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining if remaining >= 0 else limit - 1),
            "X-RateLimit-Reset": at.strftime("%Y-%m-%dT%H:%MZ"),
        }

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        kept = [each for each in (body.get("properties") or {}).values() if isinstance(each, dict)]
        return [("reference", term(each["reference"])) for each in kept if each.get("reference")]

    def preseed(self, tx: Tx) -> None:
        types = [dict(each) for each in _TYPES]
        self.seed(tx, "projects", {"id": PROJECT_ID, "key": PROJECT_KEY, "name": "Onboarding", "types": types})
        for user in _USERS:
            self.seed(tx, "users", dict(user))

    # -- what is there -------------------------------------------------------------------------------------------

    def _project(self, call: Call, id_or_key: str) -> Row:
        by_key = call.tx.find(self.name, "projects", "key", id_or_key)
        row = call.tx.get(self.name, "projects", id_or_key) or next(iter(by_key), None)
        if row is None:
            raise self.refuse(404, f"No project could be found with key '{id_or_key}'.")
        return row

    def _issue(self, call: Call, id_or_key: str) -> Row:
        """By id or key, a former one too: a moved issue is found under each."""
        row = call.tx.get(self.name, "issues", id_or_key)
        for field in ("key", "former_keys"):
            row = row or next(iter(call.tx.find(self.name, "issues", field, id_or_key)), None)
        if row is None:
            raise self.refuse(404, _NOT_SEEN)
        return row

    def _type(self, project: Row, type_id: str) -> Json | None:
        return next((dict(each) for each in project.body["types"] if each["id"] == type_id), None)

    def _user(self, call: Call, account_id: str) -> Json | None:
        row = call.tx.get(self.name, "users", account_id)
        return None if row is None else {"accountId": row.id, "accountType": "atlassian", **row.body}

    def _status(self, status_id: str) -> Json:
        name, category = _STATUSES[status_id]
        return {"id": status_id, "name": name, "statusCategory": {"id": _CATEGORY_IDS[category], "key": category}}

    def _named(self, row: Row) -> Json:
        return {"id": row.id, "key": row.body["key"], "self": f"{self.origin}{self.prefix}/api/3/issue/{row.id}"}

    def _fields(self, call: Call, row: Row, body: Json) -> Json:
        project = self._project(call, body["project"])
        parent = call.tx.get(self.name, "issues", str(body.get("parent") or ""))
        stamp = {"created": iso(row.created_at), "updated": iso(row.updated_at)}
        return {
            "summary": body["summary"],
            "description": body.get("description"),
            "labels": body.get("labels") or [],
            "duedate": body.get("duedate"),
            "assignee": self._user(call, str(body.get("assignee") or "")),
            "parent": parent and {**self._named(parent), "fields": {"summary": parent.body["summary"]}},
            "project": {"id": project.id, "key": project.body["key"], "name": project.body["name"]},
            "issuetype": self._type(project, body["type"]),
            "status": self._status(body.get("status") or "10000"),
            **{name: at.replace("Z", "+0000") for name, at in stamp.items()},
        }

    def _view(self, call: Call, row: Row, body: Json, names: list[str], properties: list[str]) -> Json:
        shown = self._fields(call, row, body)
        if not {"*all", "*navigable"} & set(names):
            shown = {name: value for name, value in shown.items() if name in names}
        shown = {name: value for name, value in shown.items() if name != "parent" or value}
        answer = {**self._named(row), "key": body["key"], "fields": shown}
        if properties:
            held = body.get("properties") or {}
            answer["properties"] = {name: held[name] for name in properties if name in held}
        return answer

    def _needs(self, call: Call, permission: str) -> None:
        if permission in call.settings["refused"]:
            raise self.refuse(403, "")

    # -- us, people, the site ------------------------------------------------------------------------------------

    @route("GET", "/api/3/myself")
    def myself(self, call: Call) -> Answer:
        return Answer(200, self._user(call, ME))

    @route("GET", "/api/3/serverInfo")
    def server_info(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"baseUrl": f"{self.origin}{self.base_path}", "deploymentType": "Cloud"})

    @route("GET", "/api/3/mypermissions")
    def my_permissions(self, call: Call) -> Answer:
        asked = [each for each in call.query.get("permissions", "").split(",") if each]
        if not asked:
            raise self.refuse(400, "The 'permissions' query parameter is required.")
        if unknown := sorted(set(asked) - _PERMISSIONS):
            raise self.refuse(400, f"Unrecognized permission: {unknown[0]}")
        self._project(call, call.query.get("projectKey", ""))
        forbidden = call.settings["refused"]
        told = {each: {"key": each, "type": "PROJECT", "havePermission": each not in forbidden} for each in asked}
        return Answer(200, {"permissions": told})

    @route("GET", "/api/3/user/assignable/search")
    def assignable(self, call: Call) -> Answer:
        """By the exact account id, or by the beginning of a name or address; privacy hides addresses, not people."""
        self._project(call, call.query.get("project", ""))
        wanted, account_id = term(call.query.get("query", "")), call.query.get("accountId", "")
        if not wanted and not account_id:
            raise self.refuse(400, "Either 'query' or 'accountId' is required.")

        def is_meant(row: Row) -> bool:
            if account_id:
                return row.id == account_id
            return any(term(row.body.get(each) or "").startswith(wanted) for each in ("displayName", "emailAddress"))

        rows = [row for row in call.tx.rows(self.name, "users") if row.body.get("active") and is_meant(row)]
        return Answer(200, [self._user(call, row.id) for row in rows])

    @route("GET", "/api/3/project/{project}")
    def project(self, call: Call, id_or_key: str) -> Answer:
        row = self._project(call, id_or_key)
        plain = {"archived": False, "style": "classic", "simplified": False, "projectTypeKey": "business"}
        return Answer(200, {**plain, **row.body, "id": row.id})

    # -- create metadata -----------------------------------------------------------------------------------------

    @route("GET", "/api/3/issue/createmeta/{project}/issuetypes")
    def issue_types(self, call: Call, id_or_key: str) -> Answer:
        return self._meta_page(call, "issueTypes", self._project(call, id_or_key).body["types"])

    @route("GET", "/api/3/issue/createmeta/{project}/issuetypes/{type}")
    def type_fields(self, call: Call, id_or_key: str, type_id: str) -> Answer:
        project = self._project(call, id_or_key)
        issue_type = self._type(project, type_id)
        if issue_type is None:
            raise self.refuse(404, f"Issue type with id '{type_id}' does not exist.")
        needed = {"project", "issuetype", "summary", *project.body.get("required", [])}
        names = sorted((_ISSUE_FIELDS | needed) - set(call.settings["refused"]))
        own = [{"fieldId": each, "key": each, "name": each, "required": each in needed} for each in names]
        return self._meta_page(call, "fields", [{**each, "hasDefaultValue": False} for each in own])

    def _meta_page(self, call: Call, name: str, listed: list[Json]) -> Answer:
        start, size = (int(call.query.get(each, usual)) for each, usual in (("startAt", "0"), ("maxResults", "50")))
        size = min(size, _LARGEST_META)
        shown = {"startAt": start, "maxResults": size, "total": len(listed)}
        return Answer(200, {**shown, name: listed[start : start + size]})

    # -- searching -----------------------------------------------------------------------------------------------

    @route("POST", "/api/3/search/jql")
    def search(self, call: Call) -> Answer:
        jql, reconcile = str(call.body.get("jql") or ""), [str(each) for each in call.body.get("reconcileIssues") or []]
        names, properties = call.body.get("fields", ["id"]), call.body.get("properties") or []
        if not isinstance(names, list) or len(reconcile) > search.MOST_RECONCILED:
            raise self.refuse(400, "Invalid request payload. Refer to the REST API documentation and try again.")
        if len(properties) > search.MOST_PROPERTIES:
            raise self.refuse(400, f"Only up to {search.MOST_PROPERTIES} properties can be requested.")
        try:
            restrictions = search.clauses(jql)
            start = search.after(jql, call.body["nextPageToken"]) if call.body.get("nextPageToken") else 0
        except ValueError as problem:
            raise self.refuse(400, str(problem)) from None
        rows = call.tx.rows(self.name, "issues")
        others = [*rows, *call.tx.rows(self.name, "projects")]
        named = {row.id: {term(row.body["key"])} for row in others}
        found = [
            (row, body)
            for row, body in search.indexed(call, rows, reconcile)
            if search.matches(row.id, body, restrictions, named)
        ]
        size = min(int(call.body.get("maxResults", search.LARGEST_PAGE)), search.LARGEST_PAGE)
        shown = found[start : start + size]
        answer: Json = {"issues": [self._hit(call, *each, names, properties) for each in shown]}
        answer["isLast"] = start + size >= len(found)
        if not answer["isLast"]:
            answer["nextPageToken"] = search.token(jql, start + size)
        return Answer(200, answer)

    def _hit(self, call: Call, row: Row, body: Json, names: list[str], properties: list[str]) -> Json:
        """An id alone, unless fields or properties are asked for."""
        if names == ["id"] and not properties:
            return {"id": row.id}
        return self._view(call, row, body, names, properties)

    @route("GET", "/api/3/search")
    @route("POST", "/api/3/search")
    @route("GET", "/api/2/search")
    @route("POST", "/api/2/search")
    def old_search(self, call: Call) -> Answer:  # noqa: ARG002
        told = "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."
        return self.refusal(HTTPStatus.GONE, told)

    # -- issues --------------------------------------------------------------------------------------------------

    @route("POST", "/api/3/issue")
    def create(self, call: Call) -> Answer:
        self._needs(call, "CREATE_ISSUES")
        given = self._given(call)
        project, issue_type = self._place(call, given)
        if project.body.get("archived"):
            raise self._invalid(project="valid project is required")
        errors = {each: f"{each} is required." for each in project.body.get("required", []) if not given.get(each)}
        body = {"project": project.id, "type": issue_type["id"], "status": "10000"}
        body |= self._checked(call, {"summary": None, **given}, errors, issue_type)
        body["properties"] = {each["key"]: each["value"] for each in call.body.get("properties") or []}
        if issue_type["subtask"] and not body.get("parent"):
            raise self._invalid(parent="Issue type is a sub-task but parent issue key or id not specified.")
        number = call.tx.new_id(self.name, "issues", self.id_base)
        body["key"] = f"{project.body['key']}-{number}"
        return Answer(201, self._named(self.add(call.tx, "issues", body, row_id=number, lag=call.lag)))

    def _given(self, call: Call) -> Json:
        if unknown := sorted(set(call.body) - {"fields", "update", "properties", "transition", "historyMetadata"}):
            raise self.refuse(400, f'Unrecognized field "{unknown[0]}"')
        return dict(call.body.get("fields") or {})

    def _place(self, call: Call, given: Json) -> tuple[Row, Json]:
        """The project and the type. Refused with Jira's words where there is no such one."""
        at = given.get("project") or {}
        try:
            project = self._project(call, str(at.get("id") or at.get("key") or ""))
        except Refused:
            raise self._invalid(project="valid project is required") from None
        issue_type = self._type(project, str((given.get("issuetype") or {}).get("id") or ""))
        if issue_type is None:
            raise self._invalid(issuetype="Specify a valid issue type")
        return project, issue_type

    def _checked(self, call: Call, given: Json, errors: dict[str, str], issue_type: Json) -> Json:
        """The fields as they are kept; all that is wrong is told at once."""
        body: Json = {}
        for name, value in given.items():
            if name not in _ISSUE_FIELDS or name in call.settings["refused"]:
                told = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
                errors[name] = told
            elif name in ("assignee", "parent"):
                body[name] = self._tied(call, name, value, errors, issue_type)
            elif told := fields.problem(name, value):
                errors[name] = told
            elif name not in ("project", "issuetype"):
                body[name] = value
        if errors:
            raise self._invalid(**errors)
        return body

    def _tied(self, call: Call, name: str, value: Any, errors: dict[str, str], issue_type: Json) -> str | None:
        """The id of the person or the issue that is meant."""
        if value is None:
            return None
        if name == "assignee":
            account_id = str(value.get("accountId") or value.get("id") or "")
            user = self._user(call, account_id)
            if user is None or not user["active"]:
                errors[name] = f"User '{account_id}' cannot be assigned issues."
            return account_id
        try:
            parent = self._issue(call, str(value.get("id") or value.get("key") or ""))
        except Refused:
            errors[name] = "Could not find issue by id or key."
            return None
        of = self._type(self._project(call, parent.body["project"]), parent.body["type"]) or {}
        if of.get("hierarchyLevel") != issue_type["hierarchyLevel"] + 1:
            errors["parentId"] = "Given parent work item does not belong to appropriate hierarchy."
        return parent.id

    @route("GET", "/api/3/issue/{issue}")
    def issue(self, call: Call, id_or_key: str) -> Answer:
        row = self._issue(call, id_or_key)
        names = [each.strip() for each in call.query.get("fields", "*all").split(",")]
        properties = [each.strip() for each in call.query.get("properties", "").split(",") if each.strip()]
        return Answer(200, self._view(call, row, row.body, names, properties))

    @route("PUT", "/api/3/issue/{issue}")
    def edit(self, call: Call, id_or_key: str) -> Answer:
        row = self._issue(call, id_or_key)
        self._needs(call, "EDIT_ISSUES")
        issue_type = self._type(self._project(call, row.body["project"]), row.body["type"]) or {}
        self._write(call, row, self._checked(call, self._given(call), {}, issue_type))
        return Answer(204)

    def _write(self, call: Call, row: Row, changes: Json) -> None:
        """Refused where this one issue was written too often of late, whatever the others."""
        recent: list[float] = []
        if limit := self._project(call, row.body["project"]).body.get("issue_writes"):
            recent = [at for at in row.body.get("written", []) if at > call.tx.now - limit["seconds"]]
            if len(recent) >= limit["writes"]:
                answer = self.refusal(HTTPStatus.TOO_MANY_REQUESTS, "")
                answer.headers |= {"RateLimit-Reason": "jira-per-issue-on-write", "Retry-After": str(limit["seconds"])}
                raise Refused(answer)
        kept = {**row.body, **changes, **({"written": [*recent, call.tx.now]} if limit else {})}
        call.tx.update(row, kept, lag=call.lag)

    @route("DELETE", "/api/3/issue/{issue}")
    def delete(self, call: Call, id_or_key: str) -> Answer:
        row = self._issue(call, id_or_key)
        self._needs(call, "DELETE_ISSUES")
        children = call.tx.find(self.name, "issues", "parent", row.id)
        project = self._project(call, row.body["project"])
        subtasks = [each for each in children if (self._type(project, each.body["type"]) or {}).get("subtask")]
        if subtasks and call.query.get("deleteSubtasks") != "true":
            told = f"The issue '{row.body['key']}' has subtasks. You must specify the 'deleteSubtasks' parameter to delete it."
            raise self.refuse(400, told)
        for each in children:
            if each in subtasks:
                call.tx.archive(each)
            else:
                call.tx.update(each, {**each.body, "parent": None}, lag=call.lag)
        call.tx.archive(row)
        return Answer(204)

    # -- the workflow --------------------------------------------------------------------------------------------

    def _transitions(self, call: Call, row: Row) -> dict[str, tuple[str, str]]:
        wont_do = self._project(call, row.body["project"]).body.get("wont_do")
        return {**_TRANSITIONS, **(_WONT_DO if wont_do else {})}

    @route("GET", "/api/3/issue/{issue}/transitions")
    def transitions(self, call: Call, id_or_key: str) -> Answer:
        row = self._issue(call, id_or_key)
        may = "TRANSITION_ISSUES" not in call.settings["refused"]
        listed = self._transitions(call, row).items() if may else []
        told = [{"id": each, "name": name, "to": self._status(to)} for each, (name, to) in listed]
        return Answer(200, {"transitions": told})

    @route("POST", "/api/3/issue/{issue}/transitions")
    def transition(self, call: Call, id_or_key: str) -> Answer:
        row = self._issue(call, id_or_key)
        wanted = str((call.body.get("transition") or {}).get("id") or "")
        if "TRANSITION_ISSUES" in call.settings["refused"] or wanted not in self._transitions(call, row):
            raise self.refuse(400, f"Transition id '{wanted}' is not valid for this issue.")
        self._write(call, row, {"status": self._transitions(call, row)[wanted][1]})
        return Answer(204)
