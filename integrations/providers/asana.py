"""Asana (delivery): one project a run, made from a template.

Sources: Asana's OpenAPI spec (github.com/Asana/openapi), developers.asana.com/reference/instantiateproject,
/docs/pagination, /docs/errors, /docs/rate-limits.

Instantiating a template is a job, and nothing is idempotent: the reference stands at the end of the project's name, and
the team's projects are listed to find it (Asana's search is for paid plans, and lags).
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from pydantic import BaseModel, Field

from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http import segment
from integrations.providers.base import Created, CreateSafety, Found, HttpConnector, JobAccepted, MatchKey, ObjectKind

_FIELDS = "name,permalink_url,created_at"
_MOST_PAGES = 50
_PATHS = {"name": "customer.legal_name", "requested_dates": "kickoff.start_date"}
_INVALID = frozenset({400, 422})


class _Project(BaseModel):
    gid: str = Field(min_length=1)
    name: str = ""
    permalink_url: str = ""
    created_at: str = ""


class _OneProject(BaseModel):
    data: _Project


class _NextPage(BaseModel):
    offset: str


class _Projects(BaseModel):
    data: list[_Project]
    next_page: _NextPage | None = None


class _Job(BaseModel):
    gid: str = Field(min_length=1)
    status: str
    new_project: _Project | None = None


class _OneJob(BaseModel):
    data: _Job


class _Named(BaseModel):
    gid: str
    name: str


class _OneNamed(BaseModel):
    data: _Named


class Asana(HttpConnector):
    provider = "asana"
    systems = frozenset({"delivery"})
    hosts = ("app.asana.com",)
    default_base_url = "https://app.asana.com/api/1.0"
    option_names = ("template_gid", "team_gid", "workspace_gid", "start_date_gid", "search_lag")
    required_options = ("template_gid", "team_gid")

    def kind(self, name: str) -> ObjectKind:
        if name != "project":
            raise ValueError(f"asana has no {name}")
        return ObjectKind(CreateSafety.NEITHER, self.seconds("search_lag", 5.0))

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        if (kind, key.name) != ("project", "reference") or not key.value:
            return []
        return [_found(each) for each in self._projects() if each.name.endswith(f"[{key.value}]")]

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        found = self.read(f"/projects/{segment(external_id)}", _OneProject, params={"opt_fields": _FIELDS})
        return _found(found.data) if found else None

    def create(self, kind: str, params: dict[str, Any], reference: str) -> JobAccepted:  # noqa: ARG002
        data: dict[str, Any] = {"name": f"{params['name']} [{reference}]", "team": self.option("team_gid")}
        if (start := params.get("start_date")) and (gid := self.option("start_date_gid")):
            data["requested_dates"] = [{"gid": gid, "value": start}]
        path = f"/project_templates/{segment(self.option('template_gid'))}/instantiateProject"
        try:
            return JobAccepted(self.http.request("POST", path, json={"data": data}, expect=_OneJob).data.data.gid)
        except ProviderError as error:
            self._explain(error, "template_gid")

    def poll(self, kind: str, job_id: str) -> Created | None:  # noqa: ARG002
        params = {"opt_fields": "status,new_project.name,new_project.permalink_url"}
        job = self.http.request("GET", f"/jobs/{segment(job_id)}", params=params, expect=_OneJob).data.data
        if job.status == "failed":
            raise ProviderError(Kind.JOB_FAILED, "Asana could not make the project from its template")
        if job.status != "succeeded":
            return None
        if job.new_project is None:
            raise ProviderError(
                Kind.MALFORMED, "Asana's job succeeded without naming its project", effect_possible=True
            )
        return Created(job.new_project.gid, _url(job.new_project))

    def probe(self) -> str:
        who = self.http.request("GET", "/users/me", expect=_OneNamed).data.data
        names = {}
        for option, kind in (("template_gid", "project_templates"), ("team_gid", "teams")):
            try:
                path = f"/{kind}/{segment(self.option(option))}"
                names[option] = self.http.request("GET", path, expect=_OneNamed).data.data.name
            except ProviderError as error:
                self._explain(error, option)
        return f"Asana user {who.name}, template {names['template_gid']}, team {names['team_gid']}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        listed = body.get("errors") if isinstance(body, dict) else None
        if status not in _INVALID or not isinstance(listed, list):
            return None
        reasons = [str(each["message"]) for each in listed if isinstance(each, dict) and each.get("message")]
        fields = []
        for reason in reasons:
            name, colon, _ = reason.partition(":")
            name = name.strip() if colon and name.replace("_", "").isalnum() else ""
            fields.append(FieldProblem(name, reason, _PATHS.get(name, "")))
        return ProviderError(
            Kind.INVALID, f"Asana did not accept the values: {'; '.join(reasons)}", status, fields=fields
        )

    def _projects(self) -> Iterator[_Project]:
        """All projects of the team. Archived ones too: a finished onboarding is not made again."""
        params = {"team": self.option("team_gid"), "opt_fields": _FIELDS, "limit": 100}
        for _ in range(_MOST_PAGES):
            try:
                page = self.http.request("GET", "/projects", params=params, expect=_Projects).data
            except ProviderError as error:
                self._explain(error, "team_gid")
            yield from page.data
            if page.next_page is None:
                return
            params["offset"] = page.next_page.offset
        message = (
            f"The Asana team has over {_MOST_PAGES * 100} projects, too many to look through: use a team for onboarding"
        )
        raise ProviderError(Kind.NOT_CONFIGURED, message)

    def _explain(self, error: ProviderError, option: str) -> NoReturn:
        """What an unknown id of our own configuration means."""
        if error.kind is not Kind.NOT_FOUND:
            raise error
        message = f"Asana does not know {self.option(option)!r}, or hides it from us: check the option {option}"
        raise ProviderError(Kind.NOT_CONFIGURED, message, error.http_status) from None


def _found(project: _Project) -> Found:
    evidence = {"created": project.created_at} if project.created_at else {}
    return Found(project.gid, project.name, _url(project), evidence)


def _url(project: _Project) -> str:
    return project.permalink_url or f"https://app.asana.com/0/{project.gid}/list"
