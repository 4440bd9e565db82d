"""Jira Cloud (delivery): an epic a run in one project, and its tasks as the epic's children.

Sources: developer.atlassian.com/cloud/jira/platform/rest/v3 (api-group-issues, -issue-search, -myself, -permissions,
-user-search, -projects), /search-and-reconcile, /rate-limiting, /basic-auth-for-rest-apis, /apis/document/structure;
support.atlassian.com/jira-software-cloud/docs/jql-fields; github.com/MrRefactoring/jira.js (from Atlassian's OpenAPI).

An epic, and not a project, a customer: creating projects needs the global permission "Administer Jira" and takes up keys and
names that must be unique on the whole site, and a deleted project's remain taken while it is in the bin.

Nothing is idempotent or unique. The reference is in an issue property, which is exact, and which no search of ours covers
(only an app's own properties are indexed); a label that is made from it finds the issue. Both are part of the create. The search
is "not read-after-write consistent by default": seconds, at times minutes, and ``reconcileIssues`` helps only with ids that are
known (jira.atlassian.com/browse/JRACLOUD-96208, github.com/port-labs/ocean/issues/2765). Reading an issue by its id is
consistent: what a search finds is read again before it is believed. A page may be short without being the last; the last has no
token (github.com/bobmatnyc/trusty-tools/issues/6981).

An issue that was moved keeps its id and is found by it ("check for moved issues"). Types and fields are named by id, as their
names are translated and free; "done" is a status's category for the same reason.

With a wrong or expired token Jira may answer as to an anonymous visitor, 200 or 404, and says so only in the header
``X-Seraph-LoginReason`` (github.com/MrRefactoring/jira.js/issues/418): taken for "not there" it would make a duplicate.

There is no documented sign that an issue is archived: it can be read, and a change is refused.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from integrations import clock
from integrations.connectors.base import Capability, Created, CreateSafety, Found, HttpConnector, MatchKey, moment
from integrations.connectors.objects import DeliveryProject, DeliveryTask, VendorObject
from integrations.connectors.options import TOKEN, WEBHOOK_SECRET, Option, OptionType, Secret
from integrations.domains import same_address
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http.client import segment
from integrations.models import Connection
from integrations.vendors.jira import adf, schemas
from integrations.vendors.jira.schemas import PROPERTY, Issue, IssueType
from integrations.vendors.jira.webhook import JiraWebhook

_API = "/rest/api/3"
_SHOWN = "summary,status,duedate,assignee,created,updated,parent"
_PAGE = 50
_MOST_PAGES = 40
_LARGEST_META = 200
_EPIC_LEVEL, _TASK_LEVEL = 1, 0
_OUR_FIELDS = {"summary": "name", "description": "notes", "duedate": "due_on", "assignee": "assignee"}
"""Jira's id of a field -> ours."""
_EPIC_FIELDS = frozenset({"project", "issuetype", "summary", "description", "labels"})
_TASK_FIELDS = _EPIC_FIELDS | {"parent", "duedate", "assignee"}
_REPORTER = "reporter"
"""Often a required field: Jira fills it with our user."""
_PERMISSIONS = (
    "BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "ASSIGN_ISSUES", "SCHEDULE_ISSUES", "TRANSITION_ISSUES", "DELETE_ISSUES",
)  # fmt: skip
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*-[0-9]+")
_ANONYMOUS = "AUTHENTICATED_FAILED"
_PER_ISSUE = "jira-per-issue-on-write"
_NOT_ON_SCREEN = "not on the appropriate screen"


class Jira(HttpConnector):
    provider = "jira"
    systems = frozenset({"delivery"})
    hosts = ("*.atlassian.net", "api.atlassian.com")
    knows_people = True
    kinds = (
        Capability(
            kind=DeliveryProject.KIND,
            safety=CreateSafety.NEITHER,
            search_lag_option="search_lag",
            rollback="the epic is deleted for good; issues in it that are not ours stay, without a parent",
        ),
        Capability(
            kind=DeliveryTask.KIND,
            safety=CreateSafety.NEITHER,
            search_lag_option="search_lag",
            rollback="deleted for good; refused while it has sub-tasks",
        ),
    )
    secrets = (
        Secret(
            name=TOKEN,
            label="API token",
            help="Of the user that is named in the option email; id.atlassian.com, Security, API tokens. It expires.",
        ),
        Secret(
            name=WEBHOOK_SECRET,
            label="Webhook's secret",
            help="Of the webhook that an administrator registers under System, WebHooks. Without one, tasks are polled.",
            required=False,
        ),
    )
    webhook = JiraWebhook()
    options = (
        Option(
            name="email",
            label="User's email address",
            help="Of the user or service account whose API token it is.",
            required=True,
        ),
        Option(
            name="project",
            label="Project key",
            help="Of the project in which epics and tasks are made, such as ONB.",
            required=True,
        ),
        Option(
            name="epic_type",
            label="Type of the epic",
            help="Id or name of the issue type one level above tasks. Empty: the project's only one of that level.",
        ),
        Option(
            name="task_type",
            label="Type of the tasks",
            help="Id or name of the issue type. Empty: the one named Task, or the project's only standard type.",
        ),
        Option(
            name="done_status",
            label="Status of a completed task",
            help="Id or name. Needed only where the workflow leads to several statuses that count as done.",
        ),
        Option(
            name="site_url",
            label="Site's address",
            help="Such as https://YOU.atlassian.net, for links. Learnt when the connection is tested.",
        ),
        Option(
            name="search_lag",
            label="Search lag",
            help="How long a search may miss what was just written; Atlassian says seconds, at times minutes.",
            type=OptionType.SECONDS,
            default="120",
        ),
    )
    probes = "the token's user, the project, its issue types and their fields, our permissions in it"

    def __init__(self, connection: Connection, http: Any) -> None:
        super().__init__(connection, http)
        http.denies = _unless_signed_in

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:
        pair = f"{connection.options.get('email') or ''}:{token}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        """By reference, and a task by its name too: among the children of its epic."""
        if not key.value.strip() or (kind == DeliveryTask.KIND and not key.within):
            return []
        match kind, key.name:
            case "project" | "task", "reference":
                return self._by_reference(key)
            case "task", "name":
                return [self._found(each) for each in self._children(key.within) if _same_name(each, key.value)]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        """By id. Also by key, which is what people see: the answer has the id, so that whoever entered the key is asked."""
        issue = self._issue(external_id)
        return self._found(issue) if issue else None

    def _by_reference(self, key: MatchKey) -> list[Found]:
        """What carries our label and our property. A label alone may have been copied: then a person decides."""
        hits = list(self._search(f'labels = "{_label(key.value)}"'))
        named = [each.id for each in hits if each.reference in (None, key.value)]
        issues = [issue for issue_id in dict.fromkeys(named) if (issue := self._issue(issue_id))]
        if key.within:
            issues = [each for each in issues if each.fields.parent and each.fields.parent.id == key.within]
        exact = [each for each in issues if each.reference == key.value]
        labelled = [each for each in issues if each.reference is None]
        return [self._found(each) for each in exact] or [self._found(each, conclusive=False) for each in labelled]

    def _children(self, epic_id: str) -> Iterator[Issue]:
        """As they are now. Raises ``ProviderError(NOT_FOUND)`` for an unknown epic."""
        epic = self._issue(epic_id)
        if epic is None:
            raise ProviderError(Kind.NOT_FOUND, f"Jira has no issue {epic_id}, or hides it from us")
        for hit in self._search(f'parent = "{epic.key}"'):
            if issue := self._issue(hit.id):
                yield issue

    def _issue(self, id_or_key: str) -> schemas.OneIssue | None:
        wanted = id_or_key.strip()
        if not (wanted.isascii() and wanted.isdecimal()) and not _KEY.fullmatch(wanted):
            return None
        params = {"fields": _SHOWN, "properties": PROPERTY}
        return self.read(f"{_API}/issue/{segment(wanted)}", schemas.OneIssue, params=params)

    def _search(self, jql: str) -> Iterator[Issue]:
        asked: dict[str, Any] = {"jql": jql, "fields": ["summary"], "properties": [PROPERTY], "maxResults": _PAGE}
        for _ in range(_MOST_PAGES):
            answer = self.http.request("POST", f"{_API}/search/jql", json=asked, expect=schemas.Issues, reads=True).data
            yield from answer.issues
            if not answer.nextPageToken or answer.nextPageToken == asked.get("nextPageToken"):
                return
            asked["nextPageToken"] = answer.nextPageToken
        raise ProviderError(
            Kind.NOT_CONFIGURED, f"Over {_MOST_PAGES * _PAGE} Jira issues match {jql}: too many to look at"
        )

    def _found(self, issue: Issue, *, conclusive: bool = True) -> Found:
        fields = issue.fields
        evidence = {
            "key": issue.key,
            "status": fields.status and fields.status.name,
            "due": fields.duedate,
            "assignee": fields.assignee and (fields.assignee.displayName or fields.assignee.accountId),
            "created": fields.created,
        }
        shown = {name: value for name, value in evidence.items() if value}
        return Found(
            issue.id,
            fields.summary,
            self._url(issue.key),
            shown,
            conclusive=conclusive,
            done=issue.is_done,
            changed_at=moment(fields.updated),
        )

    def _url(self, key: str) -> str:
        site = self.option("site_url") or self.connection.base_url
        return f"{site.rstrip('/')}/browse/{key}"

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        """One call: label and property go with it. A new task is open, whatever ``completed`` says."""
        match wanted:
            case DeliveryTask():
                fields = self._fields(wanted) | {"parent": {"id": wanted.project_id}}
                issue_type = self._type_id("task_type", _TASK_LEVEL)
            case DeliveryProject(template=template) if template:
                raise ProviderError(
                    Kind.NOT_CONFIGURED,
                    f"The playbook names the template {template!r}, and epics at Jira have none: leave its templates out, and list "
                    "the tasks in delivery.tasks, one such step a plan or segment",
                )
            case DeliveryProject():
                fields, issue_type = self._fields(wanted), self._type_id("epic_type", _EPIC_LEVEL)
            case _:
                raise TypeError(f"jira has no {wanted.kind}")
        fields |= {
            "project": {"key": self.option("project")},
            "issuetype": {"id": issue_type},
            "labels": [_label(reference)],
        }
        body = {"fields": fields, "properties": [{"key": PROPERTY, "value": {"reference": reference}}]}
        made = self.http.request("POST", f"{_API}/issue", json=body, expect=schemas.Created).data
        return Created(made.id, self._url(made.key))

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A task's name, notes, due date, assignee and completion; an epic's name, and of its description our own part."""
        match wanted:
            case DeliveryTask():
                fields = self._fields(wanted)
            case DeliveryProject():
                fields = self._fields(wanted)
                if wanted.notes:
                    fields["description"] = adf.with_part(self._description(external_id), wanted.notes)
            case _:
                super().update(external_id, wanted)
        if fields:
            self.http.request("PUT", self._path(external_id), json={"fields": fields}, ok=(204,))
        if isinstance(wanted, DeliveryTask) and wanted.completed is not None:
            self._complete(external_id, done=wanted.completed)

    def undo(self, kind: str, external_id: str) -> None:
        """Deletes it. Sub-tasks are other people's work: Jira refuses to delete what has them, and a person decides."""
        if not self.reversible(kind):
            super().undo(kind, external_id)
        self.delete(kind, external_id, self._path(external_id), ok=(204,))

    @staticmethod
    def _path(external_id: str) -> str:
        return f"{_API}/issue/{segment(external_id)}"

    def _fields(self, wanted: DeliveryProject | DeliveryTask) -> dict[str, Any]:
        """What it says, under Jira's ids. A summary is one line."""
        fields: dict[str, Any] = {}
        if wanted.name:
            fields["summary"] = " ".join(wanted.name.split())
        if wanted.notes:
            fields["description"] = adf.document(wanted.notes)
        if isinstance(wanted, DeliveryTask):
            if wanted.due_on:
                fields["duedate"] = wanted.due_on
            if wanted.assignee:
                fields["assignee"] = {"accountId": self._account_id(wanted.assignee)}
        return fields

    def _description(self, external_id: str) -> dict[str, Any] | None:
        params = {"fields": "description"}
        issue = self.http.request("GET", self._path(external_id), params=params, expect=schemas.OneIssue).data
        return issue.fields.description

    def _complete(self, external_id: str, *, done: bool) -> None:
        path = self._path(external_id)
        issue = self.http.request("GET", path, params={"fields": "status"}, expect=schemas.OneIssue).data
        if issue.is_done is done:
            return
        listed = self.http.request("GET", f"{path}/transitions", expect=schemas.Transitions).data.transitions
        chosen = self._transition([each for each in listed if each.to.is_done is done], issue, done=done)
        body = {"transition": {"id": chosen.id}}
        self.http.request("POST", f"{path}/transitions", json=body, ok=(204,))

    def _transition(self, ways: list[schemas.Transition], issue: Issue, *, done: bool) -> schemas.Transition:
        """Raises ``ProviderError`` where there is none, or which one of several is not for us to choose."""
        state = "done" if done else "open"
        if not ways:
            raise ProviderError(
                Kind.INVALID, f"Jira's workflow offers us no way for {issue.key} to become {state}: move it there"
            )
        if not done:
            return next((each for each in ways if each.to.statusCategory.key == "new"), ways[0])
        wanted = self.option("done_status")
        if wanted:
            ways = [each for each in ways if wanted.casefold() in (each.to.id, each.to.name.casefold())]
        if len({each.to.id for each in ways}) == 1:
            return ways[0]
        named = ", ".join(f"{each.to.id} ({each.to.name})" for each in ways) or f"not {wanted!r}"
        message = f"Enter the status of a completed task into the option done_status: Jira's workflow leads to {named}"
        raise ProviderError(Kind.NOT_CONFIGURED, message)

    # --- Types and people -------------------------------------------------------------------------------------------

    def _type_id(self, option: str, level: int) -> str:
        chosen = self.option(option).strip()
        return chosen if chosen.isdecimal() else self._type(option, level).id

    def _type(self, option: str, level: int) -> IssueType:
        """The issue type that is meant. Raises ``ProviderError(NOT_CONFIGURED)`` where that cannot be told."""
        wanted = self.option(option).strip().casefold()
        listed = [each for each in self._types() if each.hierarchyLevel == level and not each.subtask]
        meant = [each for each in listed if wanted in (each.id, each.name.casefold())] if wanted else listed
        if not wanted and len(meant) > 1:
            meant = [each for each in listed if each.name.casefold() == "task"]
        if len(meant) == 1:
            return meant[0]
        named = ", ".join(f"{each.id} ({each.name})" for each in listed) or "none of that level"
        message = f"Enter the issue type into the option {option}: Jira's project {self.option('project')} has {named}"
        raise ProviderError(Kind.NOT_CONFIGURED, message)

    def _types(self) -> list[IssueType]:
        path = f"{_API}/issue/createmeta/{segment(self.option('project'))}/issuetypes"
        types = self.read(path, schemas.IssueTypes, params={"maxResults": _LARGEST_META})
        if types is None:
            raise self._no_project()
        return types.issueTypes

    def _no_project(self) -> ProviderError:
        message = (
            f"Jira does not know the project {self.option('project')!r}, or hides it from us: check the option project"
        )
        return ProviderError(Kind.NOT_CONFIGURED, message)

    def person(self, external_id: str) -> str | None:
        """By account id or email address. An address that its owner hides cannot be looked up."""
        user = self._assignable(external_id)
        return (user.displayName or user.accountId) if user else None

    def _assignable(self, who: str) -> schemas.User | None:
        """Who can be given the project's issues. Raises ``ProviderError(NOT_CONFIGURED)`` without the project."""
        by = {"query": who} if "@" in who else {"accountId": who}
        path = f"{_API}/user/assignable/search"
        found = self.read(path, schemas.Users, params={"project": self.option("project"), **by})
        if found is None:
            raise self._no_project()
        meant = [each for each in found.root if each.active and _is_meant(each, who)]
        return meant[0] if len(meant) == 1 else None

    def _account_id(self, who: str) -> str:
        if "@" not in who:
            return who
        user = self._assignable(who)
        if user is None:
            reason = f"Jira shows nobody with the address {who} who can be assigned issues: enter their account id"
            problem = FieldProblem("assignee", reason, "assignee")
            raise ProviderError(Kind.INVALID, reason, fields=[problem])
        return user.accountId

    # --- The connection ---------------------------------------------------------------------------------------------

    def probe(self) -> str:
        me = self.http.request("GET", f"{_API}/myself", expect=schemas.Me).data
        project = self.read(f"{_API}/project/{segment(self.option('project'))}", schemas.Project)
        if project is None:
            raise self._no_project()
        if project.archived:
            raise ProviderError(Kind.NOT_CONFIGURED, f"Jira's project {project.key} is archived")
        self._check_permissions()
        epic, task = self._type("epic_type", _EPIC_LEVEL), self._type("task_type", _TASK_LEVEL)
        self._check_fields(epic, _EPIC_FIELDS)
        self._check_fields(task, _TASK_FIELDS)
        info = self.http.request("GET", f"{_API}/serverInfo", expect=schemas.ServerInfo).data
        self.learned = {"site_url": info.baseUrl}
        return f"Jira user {me.displayName or me.accountId}, project {project.name or project.key} ({epic.name}, {task.name})"

    def _check_permissions(self) -> None:
        params = {"projectKey": self.option("project"), "permissions": ",".join(_PERMISSIONS)}
        path = f"{_API}/mypermissions"
        told = self.http.request("GET", path, params=params, expect=schemas.Permissions).data.permissions
        lacking = [each for each in _PERMISSIONS if each not in told or not told[each].havePermission]
        if lacking:
            named = ", ".join(each.replace("_", " ").lower() for each in lacking)
            raise ProviderError(Kind.FORBIDDEN, f"Our Jira user lacks permissions in {self.option('project')}: {named}")

    def _check_fields(self, of: IssueType, ours: frozenset[str]) -> None:
        """Whether the create screen has what we write, and asks for nothing else."""
        path = f"{_API}/issue/createmeta/{segment(self.option('project'))}/issuetypes/{segment(of.id)}"
        params = {"maxResults": _LARGEST_META}
        listed = self.http.request("GET", path, params=params, expect=schemas.FieldsMeta).data.fields
        absent = sorted(ours - {each.fieldId for each in listed})
        needed = [each for each in listed if each.required and not each.hasDefaultValue]
        others = [each.name or each.fieldId for each in needed if each.fieldId not in ours | {_REPORTER}]
        if absent or others:
            told = [f"lacks {', '.join(absent)}"] * bool(absent) + [f"requires {', '.join(others)}"] * bool(others)
            message = f"The create screen of {of.name} in Jira's project {self.option('project')} {' and '.join(told)}"
            raise ProviderError(Kind.NOT_CONFIGURED, message)

    # --- Refusals ---------------------------------------------------------------------------------------------------

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        if denied := _unless_signed_in(status, headers, body):
            return denied
        match status:
            case 429:
                return _limited(headers)
            case 400:
                return _invalid(body)
        return None


def _unless_signed_in(status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG001
    if headers.get("X-Seraph-LoginReason", "").strip().upper() != _ANONYMOUS:
        return None
    return ProviderError(Kind.AUTH, "Jira refused our credentials and answered as to an anonymous visitor", status)


def _limited(headers: Mapping[str, str]) -> ProviderError:
    """``Retry-After`` rules where it is there; some answers have only the time of the limit's end, without seconds."""
    end = moment(headers.get("X-RateLimit-Reset"))
    wait = max((end - clock.now()).total_seconds(), 1.0) if end and not headers.get("Retry-After") else None
    if headers.get("RateLimit-Reason") == _PER_ISSUE:
        return ProviderError(Kind.TEMPORARY, "Jira asks us to write less often to this issue", 429, retry_after=wait)
    return ProviderError(Kind.RATE_LIMIT, "Jira asks us to slow down", 429, retry_after=wait)


def _invalid(body: Any) -> ProviderError | None:
    if not isinstance(body, dict):
        return None
    messages, errors = body.get("errorMessages"), body.get("errors")
    named = {str(name): str(reason) for name, reason in errors.items()} if isinstance(errors, dict) else {}
    general = [str(each) for each in messages] if isinstance(messages, list) else []
    if not general and not named:
        return None
    told = "; ".join([*general, *named.values()])
    if off_screen := [name for name, reason in named.items() if _NOT_ON_SCREEN in reason]:
        message = f"Jira's screens lack a field that we write ({', '.join(off_screen)}): {told}"
        return ProviderError(Kind.NOT_CONFIGURED, message, 400)
    fields = [FieldProblem(name, reason, _OUR_FIELDS.get(name, "")) for name, reason in named.items()]
    return ProviderError(Kind.INVALID, f"Jira did not accept this: {told}", 400, fields=fields)


def _label(reference: str) -> str:
    """Without spaces and in one case: labels have none of the former, and a search ignores the latter."""
    return f"fv-{hashlib.sha256(reference.encode()).hexdigest()[:32]}"


def _same_name(issue: Issue, name: str) -> bool:
    return " ".join(issue.fields.summary.split()).casefold() == " ".join(name.split()).casefold()


def _is_meant(user: schemas.User, who: str) -> bool:
    """A look-up by address finds whoever's address or name begins like it."""
    return same_address(user.emailAddress or "") == same_address(who) if "@" in who else user.accountId == who
