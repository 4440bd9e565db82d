"""Zendesk (support): the customer's organization.

Sources: developer.zendesk.com/api-reference/ticketing: organizations/organizations (create or update matches id or
external_id, never the name; external ids ignore case; names are unique, though two POSTs in a race can both get one),
introduction/errors, introduction/rate-limits, introduction/security-and-auth (email/token).

There is no lookup by domain. A namesake counts as this customer's only if it lists the customer's domain.
"""

import base64
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http import segment
from integrations.models import Connection
from integrations.providers.base import Created, CreateSafety, Found, HttpConnector, MatchKey, ObjectKind

_PATHS = {"name": "customer.legal_name", "domain_names": "customer.domain"}
_TRUE = frozenset({"1", "true", "yes"})


class _Organization(BaseModel):
    id: int
    name: str
    external_id: str | None = None
    domain_names: list[str] = []
    created_at: str = ""


class _OneOrganization(BaseModel):
    organization: _Organization


class _Organizations(BaseModel):
    organizations: list[_Organization]


class _User(BaseModel):
    id: int | None
    name: str = ""
    role: str = ""


class _OneUser(BaseModel):
    user: _User


class Zendesk(HttpConnector):
    provider = "zendesk"
    systems = frozenset({"support"})
    hosts = ("*.zendesk.com",)
    default_base_url = ""
    option_names = ("email", "shared_tickets", "search_lag")

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:
        """An OAuth token, or with the option ``email`` an API token of that user."""
        if email := connection.options.get("email"):
            pair = base64.b64encode(f"{email}/token:{token}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return HttpConnector.auth_headers(connection, token)

    def kind(self, name: str) -> ObjectKind:
        if name != "organization":
            raise ValueError(f"zendesk has no {name}")
        return ObjectKind(CreateSafety.UNIQUE_UPSERT, self.seconds("search_lag", 0.0))

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        if kind != "organization" or not key.value.strip():
            return []
        match key.name:
            case "reference":
                listed = self._search({"external_id": key.value})
                return [self._found(each) for each in listed if _plain(each.external_id or "") == _plain(key.value)]
            case "name":
                listed = self._search({"name": key.value})
                namesakes = [each for each in listed if _plain(each.name) == _plain(key.value)]
                return [self._found(each, conclusive=_lists(each, key.extra)) for each in namesakes]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        found = self.read(f"/api/v2/organizations/{segment(external_id)}", _OneOrganization)
        return self._found(found.organization) if found else None

    def create(self, kind: str, params: dict[str, Any], reference: str) -> Created:  # noqa: ARG002
        given: dict[str, Any] = {"name": params["name"], "external_id": reference}
        if domains := params.get("domains"):
            given["domain_names"] = domains
        if self.option("shared_tickets").lower() in _TRUE:
            given["shared_tickets"] = True
        path = "/api/v2/organizations/create_or_update"
        made = self.http.request("POST", path, json={"organization": given}, expect=_OneOrganization).data.organization
        return Created(str(made.id), self._url(made.id))

    def probe(self) -> str:
        # Without valid credentials this may be a 200 about an anonymous user.
        user = self.http.request("GET", "/api/v2/users/me", expect=_OneUser).data.user
        if user.id is None:
            raise ProviderError(Kind.AUTH, "Zendesk takes us for an anonymous visitor: check the token", 401)
        return f"Zendesk user {user.name} ({user.role})"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        if not isinstance(body, dict):
            return None
        if body.get("error") == "TooManyJobs":
            message = "Zendesk has too many jobs of ours queued"
            return ProviderError(Kind.RATE_LIMIT, message, status, stop_and_queue=True)
        return _invalid(body, status) if status == 422 else None  # noqa: PLR2004

    def _search(self, params: dict[str, str]) -> list[_Organization]:
        return self.http.request(
            "GET", "/api/v2/organizations/search", params=params, expect=_Organizations
        ).data.organizations

    def _found(self, made: _Organization, *, conclusive: bool = True) -> Found:
        evidence = {
            "domains": ", ".join(made.domain_names),
            "external id": made.external_id or "",
            "created": made.created_at,
        }
        shown = {name: value for name, value in evidence.items() if value}
        return Found(str(made.id), made.name, self._url(made.id), shown, conclusive)

    def _url(self, organization_id: int) -> str:
        return f"{self.connection.base_url.rstrip('/')}/agent/organizations/{organization_id}"


def _invalid(body: dict[str, Any], status: int) -> ProviderError:
    details = body.get("details")
    details = details if isinstance(details, dict) else {}
    fields, taken = [], False
    for name, problems in details.items():
        for each in problems if isinstance(problems, list) else []:
            reason = str(each.get("description", "")) if isinstance(each, dict) else str(each)
            fields.append(FieldProblem(str(name), reason, _PATHS.get(str(name), "")))
            taken = taken or (
                isinstance(each, dict) and each.get("error") == "DuplicateValue" and name in ("name", "external_id")
            )
    message = "; ".join(each.reason for each in fields) or str(
        body.get("description") or body.get("error") or "no reason given"
    )
    return ProviderError(
        Kind.CONFLICT if taken else Kind.INVALID, f"Zendesk did not accept the values: {message}", status, fields=fields
    )


def _lists(organization: _Organization, domain: str) -> bool:
    return bool(domain) and _plain(domain) in {_plain(each) for each in organization.domain_names}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
