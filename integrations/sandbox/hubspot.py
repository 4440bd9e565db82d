"""HubSpot's CRM v3/v4 dialect, as far as an onboarding needs it.

Taken from HubSpot's published OpenAPI specs (github.com/HubSpot/HubSpot-public-api-spec-collection) and its error
handling page (developers.hubspot.com/docs/api/error-handling). The manners that hurt are kept: search lags behind
writes, companies are not deduplicated by domain, contacts are unique by email.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from . import hubspot_properties as properties
from .dialect import Answer, Call, Dialect, closing_reference, iso, key_of, route
from .store import Json, Row, Tx, matches, term

_DATED = re.compile(r"^/crm/objects/\d{4}-\d{2}/")
_TYPE_IDS = {"0-1": "contacts", "0-2": "companies", "0-3": "deals", "0-46": "notes"}
_TYPES = ("companies", "contacts", "deals", "notes")
_SHOWN = {
    "companies": ("name", "domain"),
    "contacts": ("email", "firstname", "lastname"),
    "deals": ("dealname", "dealstage", "pipeline", "amount", "closedate"),
    "notes": ("hs_timestamp", "hs_note_body"),
}
_LINK_TYPES = {
    ("contacts", "companies"): 279, ("companies", "contacts"): 280, ("deals", "companies"): 341,
    ("companies", "deals"): 342, ("deals", "contacts"): 3, ("contacts", "deals"): 4, ("notes", "companies"): 190,
    ("companies", "notes"): 189, ("notes", "contacts"): 202, ("contacts", "notes"): 201, ("notes", "deals"): 214,
    ("deals", "notes"): 213,
}  # fmt: skip
#: what holds the time of the last change, where it is not hs_lastmodifieddate
_MODIFIED = {"contacts": "lastmodifieddate"}
_SEARCH_KEYS = ("filterGroups", "properties", "limit", "after", "sorts")
_DEAL_PROPERTIES = ("firstvalue_onboarding_status", "firstvalue_transaction_id", "firstvalue_implementation_owner")
_TAG = re.compile(r"<[^<>]*>")
_LARGEST_PAGE = 200
_ASSOCIATIONS_PAGE = 500
_LARGEST_BATCH = 100
_POLICY_REQUESTS, _POLICY_SECONDS = 190, 10.0


class HubSpot(Dialect):
    name = "hubspot"
    prefix = "/hubspot"
    counted = _TYPES
    furniture = ("owners",)
    id_base = 20_100_000_000
    defaults = {"search_lag": 2.0}
    sends_retry_after = False

    def handle(self, call: Call) -> Answer:
        # The dated prefix beside which v3 is filed as legacy.
        return super().handle(replace(call, path=_DATED.sub("/crm/v3/objects/", call.path)))

    # -- shapes --------------------------------------------------------------------------------------------------

    def refusal(self, status: int, message: str) -> Answer:
        body: Json = {"status": "error", "message": message, "correlationId": str(uuid.uuid4())}
        match status:
            case HTTPStatus.UNAUTHORIZED:
                body["message"] = "Authentication credentials not found, or they have expired."
                body["category"] = "INVALID_AUTHENTICATION"
            case HTTPStatus.FORBIDDEN:
                body["message"] = "This app hasn't been granted all required scopes to make this call."
                body["category"] = "MISSING_SCOPES"
            case HTTPStatus.TOO_MANY_REQUESTS:
                body["message"] = "You have reached your ten_secondly_rolling limit."
                body |= {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}
            case HTTPStatus.NOT_FOUND:
                body["category"] = "OBJECT_NOT_FOUND"
            case HTTPStatus.CONFLICT:
                body["category"] = "CONFLICT"
            case _ if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                body |= {"category": "VALIDATION_ERROR", "errors": [], "context": {}}
        return Answer(status, body)

    def pace_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        limit, seconds = (limit, seconds) if limit else (_POLICY_REQUESTS, _POLICY_SECONDS)
        return {
            "X-HubSpot-RateLimit-Max": str(limit),
            "X-HubSpot-RateLimit-Remaining": str(remaining if remaining >= 0 else limit - 1),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(round(seconds * 1000)),
        }

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        match kind:
            case "companies":
                return key_of(body, "domain", "name") + key_of(body, "firstvalue_reference")
            case "contacts":
                return key_of(body, "email")
            case "deals":
                # By the transaction too: an account without the unique property still gets one deal a transaction.
                return key_of(body, "firstvalue_reference") + key_of(body, "firstvalue_transaction_id")
            case _:
                return closing_reference(_TAG.sub(" ", str(body.get("hs_note_body") or "")))

    def preseed(self, tx: Tx) -> None:
        for kind in ("companies", "deals"):
            properties.register(tx, kind, {"name": "firstvalue_reference", "hasUniqueValue": True})
        for name in _DEAL_PROPERTIES:
            properties.register(tx, "deals", {"name": name})

    def seed(self, tx: Tx, kind: str, given: Json) -> str:
        if kind not in _TYPES:
            return super().seed(tx, kind, given)
        fields = given.get("properties") or {k: v for k, v in given.items() if k not in ("id", "associations")}
        row = self._write_new(tx, kind, fields, row_id=given.get("id"), seeded=True)
        for to_kind, ids in (given.get("associations") or {}).items():
            for to_id in ids:
                tx.link(self.name, kind, row.id, to_kind, str(to_id))
        return row.id

    def _view(self, row: Row, body: Json, names: Iterable[str] = ()) -> Json:
        wanted = [name for name in names if name] or (*_SHOWN[row.kind],)
        created, updated = iso(row.created_at), iso(row.updated_at)
        stamps = {_MODIFIED.get(row.kind, "hs_lastmodifieddate"): updated}
        shown = {name: body.get(name) for name in ("createdate", "hs_object_id", *wanted)} | stamps
        return {
            "id": row.id, "properties": shown, "createdAt": created, "updatedAt": updated, "archived": False,
        }  # fmt: skip

    # -- account, owners, properties -----------------------------------------------------------------------------

    @route("GET", "/account-info/v3/details")
    def account(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"portalId": 14_000_001, "accountType": "DEVELOPER_TEST", "timeZone": "UTC"})

    @route("GET", "/crm/v3/owners")
    @route("GET", "/crm/v3/owners/")
    def owners(self, call: Call) -> Answer:
        wanted = call.query.get("email")
        rows = call.tx.rows(self.name, "owners")
        results = [_owner(row) for row in rows if wanted is None or term(row.body.get("email")) == term(wanted)]
        return Answer(200, {"results": results})

    @route("GET", "/crm/v3/owners/{id}")
    def owner(self, call: Call, owner_id: str) -> Answer:
        row = call.tx.get(self.name, "owners", owner_id)
        if row is None:
            raise self.refuse(404, "resource not found")
        return Answer(200, _owner(row))

    @route("GET", "/crm/v3/properties/{type}/{name}")
    def property_details(self, call: Call, kind: str, name: str) -> Answer:
        kind = self._kind(kind)
        custom = call.tx.get(self.name, "properties", f"{kind}/{name}")
        if custom is not None:
            return Answer(200, custom.body)
        if name not in properties.standard_names(kind):
            raise self.refuse(404, f"Property {name} does not exist")
        return Answer(200, {"name": name, "hasUniqueValue": (kind, name) == ("contacts", "email"), "type": "string"})

    @route("POST", "/crm/v3/properties/{type}")
    def create_property(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        name = call.body.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise self.refuse(400, "Property names are lower-case letters, digits and underscores")
        if name in properties.standard_names(kind) or call.tx.get(self.name, "properties", f"{kind}/{name}"):
            raise self.refuse(409, f'A property named "{name}" already exists.')
        return Answer(201, properties.register(call.tx, kind, call.body))

    @route("DELETE", "/crm/v3/properties/{type}/{name}")
    def archive_property(self, call: Call, kind: str, name: str) -> Answer:
        row = call.tx.get(self.name, "properties", f"{self._kind(kind)}/{name}")
        if row is None:
            raise self.refuse(404, f"Property {name} does not exist")
        properties.remove(call.tx, row)
        return Answer(204)

    # -- objects -------------------------------------------------------------------------------------------------

    @route("POST", "/crm/v3/objects/{type}/search")
    def search(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        if missing := [key for key in _SEARCH_KEYS if key not in call.body]:
            raise self.refuse(400, f"Invalid input JSON: some required fields were not set: {missing}")
        groups = [_filters(group) for group in call.body["filterGroups"]]
        if None in groups:
            raise self.refuse(400, "There was a problem with the request: only EQ and IN filters are understood here.")
        limit, after = call.body["limit"], str(call.body["after"] or "0")
        if not isinstance(limit, int) or not 0 < limit <= _LARGEST_PAGE or not after.isdecimal():
            raise self.refuse(400, f"limit must be 1 to {_LARGEST_PAGE}, after a number in a string")
        found: dict[int, tuple[Row, Json]] = {}
        for group in groups or [[]]:
            for row in self._pool(call.tx, kind, group or []):
                shown = call.tx.searchable(row, call.lag)
                if shown is not None and all(
                    any(matches(shown, name, each) for each in values) for name, values in group or []
                ):
                    found[row.seq] = (row, shown)
        start = int(after)
        ordered = [found[seq] for seq in sorted(found)]
        results = [self._view(row, shown, call.body["properties"]) for row, shown in ordered[start : start + limit]]
        answer: Json = {"total": len(ordered), "results": results}
        if start + limit < len(ordered):
            answer["paging"] = {"next": {"after": str(start + limit)}}
        return Answer(200, answer)

    def _pool(self, tx: Tx, kind: str, group: list[tuple[str, list[Any]]]) -> Iterable[Row]:
        if not group:
            return tx.rows(self.name, kind)
        name, values = group[0]
        return [row for value in values for row in tx.candidates(self.name, kind, name, value)]

    @route("POST", "/crm/v3/objects/{type}/batch/upsert")
    def upsert(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        inputs = call.body.get("inputs")
        if not isinstance(inputs, list) or not 0 < len(inputs) <= _LARGEST_BATCH:
            raise self.refuse(400, f"inputs must hold 1 to {_LARGEST_BATCH} objects")
        unique = properties.unique_names(call.tx, kind)
        keys = [(each.get("idProperty"), term(each.get("id") or "")) for each in inputs]
        if any(name not in unique or not value for name, value in keys):
            raise self.refuse(400, "idProperty must be a unique-valued property, and id its value")
        if len(set(keys)) < len(keys):
            raise self.refuse(400, "Duplicate IDs found in batch input")
        results, errors = [], []
        for each in inputs:
            given = {**(each.get("properties") or {}), each["idProperty"]: each["id"]}
            found = call.tx.find(self.name, kind, each["idProperty"], each["id"])
            if problem := self._problem(call.tx, kind, given, own=found[0] if found else None):
                errors.append({**problem.body, "context": {"id": [each["id"]]}})
                continue
            row = self._rewrite(call, found[0], given) if found else self._write_new(call.tx, kind, given, lag=call.lag)
            results.append({**self._view(row, row.body, row.body), "new": not found})
        now = iso(call.tx.now)
        answer: Json = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if not errors:
            return Answer(200, answer)
        return Answer(207, {**answer, "numErrors": len(errors), "errors": errors})

    @route("POST", "/crm/v3/objects/{type}/batch/read")
    def read_batch(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        inputs, names = call.body.get("inputs"), call.body.get("properties")
        if not isinstance(inputs, list) or not 0 < len(inputs) <= _LARGEST_BATCH or not isinstance(names, list):
            raise self.refuse(400, f"inputs must hold 1 to {_LARGEST_BATCH} objects, properties their names")
        ids = list(dict.fromkeys(str(each["id"]) for each in inputs))
        rows = {each: call.tx.get(self.name, kind, each) for each in ids}
        now = iso(call.tx.now)
        results = [self._view(row, row.body, names) for row in rows.values() if row]
        answer: Json = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        gone = [each for each, row in rows.items() if row is None]
        if not gone:
            return Answer(200, answer)
        message = (
            f"Could not get some {kind.upper()} objects, they may be deleted or not exist. Check that ids are valid."
        )
        error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": gone}}
        return Answer(207, {**answer, "numErrors": 1, "errors": [error]})

    @route("POST", "/crm/v3/objects/{type}")
    def create(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        given = call.body.get("properties")
        if not isinstance(given, dict):
            raise self.refuse(400, "Invalid input JSON: properties must be an object")
        if problem := self._problem(call.tx, kind, given):
            return problem
        if kind == "notes" and not given.get("hs_timestamp"):
            raise self.refuse(400, "Error creating NOTE. Some required properties were not set: [hs_timestamp]")
        row = self._write_new(call.tx, kind, given, lag=call.lag)
        for each in call.body.get("associations") or []:
            self._associate(call.tx, row, each)
        return Answer(201, self._view(row, row.body, row.body))

    @route("GET", "/crm/v3/objects/{type}/{id}")
    def read(self, call: Call, kind: str, row_id: str) -> Answer:
        row = self._row(call, kind, row_id)
        view = self._view(row, row.body, call.query.get("properties", "").split(","))
        kinds = [self._kind(each) for each in call.query.get("associations", "").split(",") if each]
        linked = {to_kind: call.tx.linked(self.name, row.kind, row.id, to_kind) for to_kind in kinds}
        if any(linked.values()):
            view["associations"] = {
                to_kind: {"results": [{"id": each, "type": f"{row.kind}_to_{to_kind}"} for each in ids]}
                for to_kind, ids in linked.items()
                if ids
            }
        return Answer(200, view)

    @route("PATCH", "/crm/v3/objects/{type}/{id}")
    def change(self, call: Call, kind: str, row_id: str) -> Answer:
        row = self._row(call, kind, row_id)
        given = call.body.get("properties")
        if not isinstance(given, dict):
            raise self.refuse(400, "Invalid input JSON: properties must be an object")
        if problem := self._problem(call.tx, row.kind, given, own=row):
            return problem
        row = self._rewrite(call, row, given)
        return Answer(200, self._view(row, row.body, row.body))

    @route("DELETE", "/crm/v3/objects/{type}/{id}")
    def archive(self, call: Call, kind: str, row_id: str) -> Answer:
        # HubSpot answers 204 for what is archived already, too.
        row = call.tx.get(self.name, self._kind(kind), row_id)
        if row is not None:
            call.tx.archive(row)
        return Answer(204)

    # -- associations --------------------------------------------------------------------------------------------

    @route("PUT", "/crm/v4/objects/{from}/{id}/associations/default/{to}/{id}")
    def associate(self, call: Call, kind: str, row_id: str, to_kind: str, to_id: str) -> Answer:
        row, other = self._row(call, kind, row_id), self._row(call, to_kind, to_id)
        call.tx.link(self.name, row.kind, row.id, other.kind, other.id)
        # HubSpot counts what is associated in properties of its own, and so the objects change.
        call.tx.touch(row)
        call.tx.touch(other)
        results = [
            {"from": {"id": one.id}, "to": {"id": two.id}, "associationSpec": _link_spec(one.kind, two.kind)}
            for one, two in ((row, other), (other, row))
        ]
        return Answer(200, {"status": "COMPLETE", "results": results})

    @route("DELETE", "/crm/v4/objects/{from}/{id}/associations/{to}/{id}")
    def dissociate(self, call: Call, kind: str, row_id: str, to_kind: str, to_id: str) -> Answer:
        call.tx.unlink(self.name, self._kind(kind), row_id, self._kind(to_kind), to_id)
        return Answer(204)

    @route("GET", "/crm/v4/objects/{from}/{id}/associations/{to}")
    def associations(self, call: Call, kind: str, row_id: str, to_kind: str) -> Answer:
        row, to_kind = self._row(call, kind, row_id), self._kind(to_kind)
        spec = _link_spec(row.kind, to_kind)
        label = {"category": spec["associationCategory"], "typeId": spec["associationTypeId"], "label": None}
        found = call.tx.linked(self.name, row.kind, row.id, to_kind)
        limit, after = call.query.get("limit", ""), call.query.get("after", "0")
        size = min(int(limit) or 1, _ASSOCIATIONS_PAGE) if limit.isdecimal() else _ASSOCIATIONS_PAGE
        start = int(after) if after.isdecimal() else 0
        page = found[start : start + size]
        answer: Json = {"results": [{"toObjectId": each, "associationTypes": [label]} for each in page]}
        if start + size < len(found):
            answer["paging"] = {"next": {"after": str(start + size)}}
        return Answer(200, answer)

    def _associate(self, tx: Tx, row: Row, given: Json) -> None:
        to_id = str((given.get("to") or {}).get("id"))
        type_ids = {each.get("associationTypeId") for each in given.get("types") or []}
        targets = [to for (kind, to), type_id in _LINK_TYPES.items() if kind == row.kind and type_id in type_ids]
        others = [tx.get(self.name, to, to_id) for to in targets]
        if not others or None in others:
            raise self.refuse(400, f"Object {row.kind} cannot be associated with {to_id}: no such object or type")
        for other in filter(None, others):
            tx.link(self.name, row.kind, row.id, other.kind, to_id)
            tx.touch(other)

    # -- rules ---------------------------------------------------------------------------------------------------

    def _kind(self, given: str) -> str:
        kind = _TYPE_IDS.get(given, given)
        if kind not in _TYPES:
            raise self.refuse(400, f"Unable to infer object type from: {given}")
        return kind

    def _row(self, call: Call, kind: str, row_id: str) -> Row:
        kind = self._kind(kind)
        by = call.query.get("idProperty")
        if by is None or by == "hs_object_id":
            row = call.tx.get(self.name, kind, row_id)
        else:
            if by not in properties.unique_names(call.tx, kind):
                raise self.refuse(400, f"{by} is not a unique identifier property")
            row = next(iter(call.tx.find(self.name, kind, by, row_id)), None)
        if row is None:
            raise self.refuse(404, "resource not found")
        return row

    def _problem(self, tx: Tx, kind: str, given: Json, own: Row | None = None) -> Answer | None:
        """Why HubSpot would not take these properties, if it would not."""
        if found := list(properties.problems(tx, kind, given)):
            return self._invalid(found)
        for name, other in properties.conflicts(tx, kind, given, own):
            if name == "email":
                return self.refusal(HTTPStatus.CONFLICT, f"Contact already exists. Existing ID: {other.id}")
            message = f"Cannot set {name} to {given[name]}. {other.id} already has that value."
            return self._invalid([("CONFLICTING_UNIQUE_VALUE", name, message)])
        return None

    def _invalid(self, found: list[tuple[str, str, str]]) -> Answer:
        details = [{"isValid": False, "message": text, "error": code, "name": name} for code, name, text in found]
        answer = self.refusal(400, f"Property values were not valid: {json.dumps(details)}")
        answer.body["errors"] = [
            {"message": text, "code": code, "context": {"propertyName": [name]}} for code, name, text in found
        ]
        return answer

    def _write_new(
        self, tx: Tx, kind: str, given: Json, *, row_id: str | None = None, lag: float = 0, seeded: bool = False
    ) -> Row:
        row_id = str(row_id or tx.new_id(self.name, kind, self.id_base))
        now = iso(tx.now)
        stamps = {"hs_object_id": row_id, "createdate": now}
        return self.add(tx, kind, {**properties.stored(given), **stamps}, row_id=row_id, lag=lag, seeded=seeded)

    def _rewrite(self, call: Call, row: Row, given: Json) -> Row:
        body = {**row.body, **properties.stored(given), "hs_object_id": row.id}
        return call.tx.update(row, body, lag=call.lag)


def _filters(group: Any) -> list[tuple[str, list[Any]]] | None:
    """A group's filters as (property, accepted values); None where one is not understood."""
    parsed = []
    for each in group.get("filters", []) if isinstance(group, dict) else []:
        match each:
            case {"propertyName": str(name), "operator": "EQ", "value": str() | int() | float() as value}:
                parsed.append((name, [value]))
            case {"propertyName": str(name), "operator": "IN", "values": list(values)}:
                parsed.append((name, values))
            case _:
                return None
    return parsed


def _owner(row: Row) -> Json:
    stamps = {"createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at), "archived": False}
    return {"id": row.id, "firstName": "", "lastName": "", **row.body, **stamps}


def _link_spec(kind: str, to_kind: str) -> Json:
    type_id = _LINK_TYPES.get((kind, to_kind), 0)
    return {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}
