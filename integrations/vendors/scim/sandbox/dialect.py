"""A SCIM 2.0 server that is as strict as the standard lets it be.

Taken from RFC 7643 (schemas) and RFC 7644 (3.1 media types, 3.3 create, 3.4.2 list, 3.4.2.4 paging, 3.5.1 PUT, 3.5.2 PATCH,
3.6 DELETE, 3.12 errors, 3.14 versions, 4 configuration). The setting ``differs`` names what servers are known to do otherwise:
github.com/okta/okta-developer-docs (reference/scim/scim-20) and
learn.microsoft.com/entra/identity/app-provisioning/entra-id-scim-api-reference.
"""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, iso, key_of, route
from integrations.sandbox.store import Json, Row, Tx
from integrations.vendors.scim.sandbox.filters import clauses, condition
from integrations.vendors.scim.sandbox.patching import patched
from integrations.vendors.scim.sandbox.schemas import MESSAGES, REQUIRED, URNS, Invalid, checked

NO_EXTERNAL_ID_FILTER, NO_CONFIG, CURSORS = "no-external-id-filter", "no-config", "cursors"
NUMERIC_STATUS, NO_CONTENT, NOT_FOUND_WHEN_EMPTY = "numeric-status", "no-content", "not-found-when-empty"
FIXED_EXTERNAL_ID, OKTA, ENTRA = "fixed-external-id", "okta", "entra"
LARGEST_PAGE = 40
_FILTERS = {"Users": ["id", "externalId", "userName", "displayName"], "Groups": ["id", "externalId", "displayName"]}
_MEDIA = ("application/scim+json", "application/json")


class _Scim(Answer):
    def payload(self) -> tuple[str, bytes]:
        content_type, content = super().payload()
        return ("application/scim+json" if self.raw is None and content_type else content_type), content


class Scim(Dialect):
    name = "scim"
    prefix = "/scim/v2"
    system = "identity"
    base_path = "/scim/v2"
    counted = ("Users", "Groups")
    id_base = 7_000_000
    defaults = {"search_lag": 0.0, "differs": []}
    #: RFC 7643, 3.1, 4.1 and 4.2, RFC 7644, 3.4.2: required; or given by us
    always = frozenset(
        {"schemas", "id", "externalId", "userName", "displayName", "totalResults", "Resources", "patch", "supported"}
    )
    choices = frozenset({"type", "resourceType"})

    def handle(self, call: Call) -> Answer:
        if call.method in ("POST", "PUT", "PATCH"):
            media = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if media not in _MEDIA:
                return self.refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {' or '.join(_MEDIA)}")
        try:
            return super().handle(call)
        except Invalid as problem:
            # By ``Refused``, so that nothing of the request stays.
            raise self.refuse_as(call, 400, problem.detail, problem.scim_type) from None

    def refusal(self, status: int, message: str) -> Answer:
        headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
        detail = message or HTTPStatus(status).phrase
        return _Scim(status, {"schemas": [f"{MESSAGES}Error"], "status": str(int(status)), "detail": detail}, headers)

    def refuse_as(self, call: Call, status: int, message: str, scim_type: str = "") -> Refused:
        refused = self.refuse(status, message)
        body = refused.answer.body
        if scim_type:
            body["scimType"] = scim_type
        if NUMERIC_STATUS in call.settings["differs"]:
            body["status"] = int(status)
        return refused

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        """The standard knows none."""
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        return key_of(body, "userName" if kind == "Users" else "externalId")

    def preseed(self, tx: Tx) -> None:
        """A new server has neither users nor groups."""

    # -- what it supports ----------------------------------------------------------------------------------------

    @route("GET", "/ServiceProviderConfig")
    def config(self, call: Call) -> Answer:
        if NO_CONFIG in call.settings["differs"]:
            raise self.refuse_as(call, 404, "")
        schemas = ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"]
        supports = {name: {"supported": False} for name in ("changePassword", "sort")}
        body = {
            "schemas": schemas,
            "patch": {"supported": True},
            "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": LARGEST_PAGE},
            "etag": {"supported": True},
            "authenticationSchemes": [{"type": "oauthbearertoken", "name": "Bearer", "description": "A bearer token"}],
            **supports,
        }
        return _Scim(200, body)

    # -- resources -----------------------------------------------------------------------------------------------

    @route("GET", "/{resource}")
    def listed(self, call: Call, resource: str) -> Answer:
        """Indexes lag; reads by id do not."""
        self._known(call, resource)
        text = call.query.get("filter")
        is_meant = condition(clauses(text, self._filters(call, resource))) if text is not None else lambda _: True
        shown = [
            row
            for row in call.tx.rows(self.name, resource)
            if (body := call.tx.searchable(row, call.lag)) is not None and is_meant(body | {"id": row.id})
        ]
        count = min(max(self._number(call, "count", LARGEST_PAGE), 0), LARGEST_PAGE)
        if CURSORS in call.settings["differs"]:
            return self._by_cursor(call, shown, count)
        if not shown and NOT_FOUND_WHEN_EMPTY in call.settings["differs"]:
            raise self.refuse_as(call, 404, "Nothing matches")
        start = max(self._number(call, "startIndex", 1), 1)
        page = [self._view(call, row) for row in shown[start - 1 : start - 1 + count]]
        body = {
            "schemas": [f"{MESSAGES}ListResponse"],
            "totalResults": len(shown),
            "startIndex": start,
            "itemsPerPage": len(page),
        }
        return _Scim(200, body | ({"Resources": page} if page else {}))

    def _by_cursor(self, call: Call, shown: list[Row], count: int) -> Answer:
        """As Entra's server pages: by cursor alone, without a total, and with a name in lower case."""
        if "startIndex" in call.query:
            raise Invalid("invalidValue", "Paging by index is not supported")
        start = self._number(call, "cursor", 0)
        body = {
            "schemas": [f"{MESSAGES}ListResponse"],
            "itemsPerPage": count,
            "resources": [self._view(call, row) for row in shown[start : start + count]],
        }
        return _Scim(200, body | ({"nextCursor": str(start + count)} if start + count < len(shown) else {}))

    @route("POST", "/{resource}")
    def create(self, call: Call, resource: str) -> Answer:
        self._known(call, resource)
        body = self._whole(call, resource)
        self._refuse_taken(call, resource, body)
        row = self.add(call.tx, resource, body, lag=call.lag)
        return self._one(call, row, HTTPStatus.CREATED)

    @route("GET", "/{resource}/{id}")
    def one(self, call: Call, resource: str, row_id: str) -> Answer:
        return self._one(call, self._row(call, resource, row_id))

    @route("PUT", "/{resource}/{id}")
    def put(self, call: Call, resource: str, row_id: str) -> Answer:
        """What the body does not have is cleared."""
        row = self._row(call, resource, row_id)
        return self._save(call, row, self._whole(call, resource))

    @route("PATCH", "/{resource}/{id}")
    def patch(self, call: Call, resource: str, row_id: str) -> Answer:
        row, differs = self._row(call, resource, row_id), call.settings["differs"]
        form = next((each for each in (OKTA, ENTRA) if each in differs), "standard")
        body = patched(resource, row.body, call.body, form)
        if FIXED_EXTERNAL_ID in differs and body.get("externalId") != row.body.get("externalId"):
            raise Invalid("mutability", "Attribute externalId cannot be changed")
        return self._save(call, row, body)

    @route("DELETE", "/{resource}/{id}")
    def delete(self, call: Call, resource: str, row_id: str) -> Answer:
        row = self._row(call, resource, row_id)
        call.tx.archive(row)
        for group in call.tx.rows(self.name, "Groups") if resource == "Users" else ():
            members = group.body.get("members", [])
            left = [each for each in members if each["value"] != row_id]
            if left != members:
                call.tx.update(group, group.body | {"members": left}, lag=call.lag)
        return Answer(HTTPStatus.NO_CONTENT)

    # -- what they share -----------------------------------------------------------------------------------------

    def _known(self, call: Call, resource: str) -> None:
        if resource not in URNS:
            raise self.refuse_as(call, 404, f"No {resource} here")

    def _filters(self, call: Call, resource: str) -> list[str]:
        without = ("externalId",) if NO_EXTERNAL_ID_FILTER in call.settings["differs"] else ()
        return [each for each in _FILTERS[resource] if each not in without]

    @staticmethod
    def _number(call: Call, name: str, usual: int) -> int:
        try:
            return int(call.query.get(name, usual))
        except ValueError:
            raise Invalid("invalidValue", f"{name} must be an integer") from None

    def _row(self, call: Call, resource: str, row_id: str) -> Row:
        self._known(call, resource)
        row = call.tx.get(self.name, resource, row_id)
        if row is None:
            raise self.refuse_as(call, 404, f"Resource {row_id} not found")
        wanted = call.headers.get("If-Match")
        if call.method != "GET" and wanted not in (None, "*", self._version(row)):
            raise self.refuse_as(call, 412, "The resource has changed")
        return row

    def _whole(self, call: Call, resource: str) -> Json:
        given = call.body
        schemas = next((value for name, value in given.items() if name.lower() == "schemas"), None)
        if not isinstance(schemas, list) or URNS[resource] not in schemas:
            raise Invalid("invalidSyntax", f"schemas must have {URNS[resource]}")
        body = checked(resource, given)
        name = REQUIRED[resource]
        if not str(body.get(name) or "").strip():
            raise Invalid("invalidValue", f"Attribute {name} is required")
        return ({"active": True} if resource == "Users" else {}) | body

    def _save(self, call: Call, row: Row, body: Json) -> Answer:
        self._refuse_taken(call, row.kind, body, row)
        saved = call.tx.update(row, body, lag=call.lag) if body != row.body else row
        if call.method == "PATCH" and NO_CONTENT in call.settings["differs"]:
            return Answer(HTTPStatus.NO_CONTENT)
        return self._one(call, saved)

    def _refuse_taken(self, call: Call, resource: str, body: Json, row: Row | None = None) -> None:
        """User names are unique, those of deactivated users too; names of groups and external ids are not. Members exist."""
        if resource == "Users":
            held = call.tx.find(self.name, resource, "userName", body["userName"])
            if any(row is None or each.seq != row.seq for each in held):
                raise self.refuse_as(call, 409, "Attribute userName is already in use", "uniqueness")
        for member in body.get("members", []):
            if not call.tx.get(self.name, "Users", str(member.get("value"))):
                raise Invalid("invalidValue", f"Member {member.get('value')} does not exist")

    def _one(self, call: Call, row: Row, status: int = HTTPStatus.OK) -> Answer:
        body = self._view(call, row)
        headers = {"ETag": self._version(row), "Location": body["meta"]["location"]}
        return _Scim(status, body, headers)

    def _view(self, call: Call, row: Row) -> Json:
        hidden = {each.strip().lower() for each in call.query.get("excludedAttributes", "").split(",")} | {"password"}
        meta = {
            "resourceType": row.kind.removesuffix("s"),
            "created": iso(row.created_at),
            "lastModified": iso(row.updated_at),
            "location": f"{self.origin}{self.prefix}/{row.kind}/{row.id}",
            "version": self._version(row),
        }
        shown = {name: value for name, value in row.body.items() if name.lower() not in hidden}
        return {"schemas": [URNS[row.kind]], "id": row.id, **shown, "meta": meta}

    @staticmethod
    def _version(row: Row) -> str:
        text = json.dumps([row.body, row.updated_at], sort_keys=True)
        return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
