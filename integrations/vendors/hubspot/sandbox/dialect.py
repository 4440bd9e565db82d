"""HubSpot's CRM v3/v4 dialect, as far as an onboarding needs it.

Taken from HubSpot's published OpenAPI specs (github.com/HubSpot/HubSpot-public-api-spec-collection), its guides to search, owners
and errors (developers.hubspot.com/docs/api-reference), and no connector. The manners that hurt are kept: search lags behind
writes, companies are not deduplicated by domain, a batch is taken or refused as a whole, only the properties that were asked for
are told, what the spec requires is required, and a record that was merged away answers as another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, closing_reference, iso, key_of, route
from integrations.sandbox.store import Json, Row, Tx, term
from integrations.vendors.hubspot.sandbox import errors, merges, properties
from integrations.vendors.hubspot.sandbox import search as searches

_DATED = re.compile(r"^/crm/objects/\d{4}-\d{2}/")
_TYPE_IDS = {
    "0-1": "contacts",
    "0-2": "companies",
    "0-3": "deals",
    "0-46": "notes",
    "0-27": "tasks",
    "0-8": "line_items",
}
_TYPES = ("companies", "contacts", "deals", "notes", "tasks", "line_items")
#: what is told of an object where nobody names its properties (the search guide's table)
_SHOWN = {
    "companies": ("name", "domain", "createdate", "hs_lastmodifieddate", "hs_object_id"),
    "contacts": ("firstname", "lastname", "email", "createdate", "lastmodifieddate", "hs_object_id"),
    "deals": (
        "dealname", "amount", "closedate", "pipeline", "dealstage", "createdate", "hs_lastmodifieddate", "hs_object_id",
    ),
    "notes": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
    "tasks": ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
    "line_items": ("name", "price", "quantity", "createdate", "hs_lastmodifieddate", "hs_object_id"),
}  # fmt: skip
_LINK_TYPES = {
    ("contacts", "companies"): 279, ("companies", "contacts"): 280, ("deals", "companies"): 341,
    ("companies", "deals"): 342, ("deals", "contacts"): 3, ("contacts", "deals"): 4, ("notes", "companies"): 190,
    ("companies", "notes"): 189, ("notes", "contacts"): 202, ("contacts", "notes"): 201, ("notes", "deals"): 214,
    ("deals", "notes"): 213, ("tasks", "companies"): 192, ("companies", "tasks"): 191, ("tasks", "contacts"): 204,
    ("contacts", "tasks"): 203, ("tasks", "deals"): 216, ("deals", "tasks"): 215,
    ("line_items", "deals"): 20, ("deals", "line_items"): 19,
}  # fmt: skip
_CHANGED = ("hs_lastmodifieddate", "lastmodifieddate")
_DEAL_PROPERTIES = ("firstvalue_onboarding_status", "firstvalue_transaction_id", "firstvalue_implementation_owner")
_TAG = re.compile(r"<[^<>]*>")
_ASSOCIATIONS_PAGE = 500
_OWNERS_PAGE, _LARGEST_OWNERS_PAGE = 100, 500
_LARGEST_BATCH = 100
_POLICY_REQUESTS, _POLICY_SECONDS = 190, 10.0
_USER_IDS = 9_000_000
#: the owners of a new account. HubSpot's ids are numbers; these are the ones of the sample customers.
_OWNERS = (("u_789", "Sam", "Sales"), ("u_1", "Noor", "Haddad"))


class HubSpot(Dialect):
    name = "hubspot"
    prefix = base_path = "/hubspot"
    system = "crm"
    page = re.compile(r"/hubspot/contacts/[^/]+/record/(?P<type>0-\d+)/(?P<id>[^/]+)")
    page_types = {"0-1": "contacts", "0-2": "companies", "0-3": "deals", "0-46": "notes"}
    counted = _TYPES
    fixed_kinds = ("owners",)
    id_base = 20_100_000_000
    #: ``search_limit``: HubSpot allows five searches a second, whatever else is allowed
    defaults = {"search_lag": 2.0, "search_limit": None}
    sends_retry_after = False
    transient_refusals = (423, 477)
    always = frozenset(
        {
            "id", "properties", "results", "paging", "next", "after", "toObjectId", "associations", "companies", "status",
            "portalId", "name", "domain", "hs_additional_domains", "email", "dealname", "hs_note_body", "hs_task_body",
            "hs_task_subject",
            "firstvalue_reference",
        }
    )  # fmt: skip
    choices = frozenset({"status", "accountType", "type"})

    def handle(self, call: Call) -> Answer:
        # The dated prefix beside which v3 is filed as legacy.
        return super().handle(replace(call, path=_DATED.sub("/crm/v3/objects/", call.path)))

    # -- shapes --------------------------------------------------------------------------------------------------

    def refusal(self, status: int, message: str) -> Answer:
        return errors.refusal(status, message)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:
        limit, seconds = (limit, seconds) if limit else (_POLICY_REQUESTS, _POLICY_SECONDS)
        return {
            "X-HubSpot-RateLimit-Max": str(limit),
            "X-HubSpot-RateLimit-Remaining": str(remaining if remaining >= 0 else limit - 1),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(round(seconds * 1000)),
        }

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        match kind:
            case "companies":
                others = [("domain", term(each)) for each in merges.values(body.get("hs_additional_domains"))]
                return [*key_of(body, "domain", "name"), *others, *key_of(body, "firstvalue_reference")]
            case "contacts":
                return key_of(body, "email")
            case "deals":
                # By the transaction too: an account without the unique property still gets one deal a transaction.
                return key_of(body, "firstvalue_reference") + key_of(body, "firstvalue_transaction_id")
            case "line_items":
                return key_of(body, "firstvalue_reference")
            case _:
                return closing_reference(_TAG.sub(" ", str(body.get("hs_note_body") or body.get("hs_task_body") or "")))

    def preseed(self, tx: Tx) -> None:
        for owner_id, first, last in _OWNERS:
            email = f"{first}.{last}@firstvalue.example".lower()
            tx.insert(
                self.name,
                "owners",
                owner_id,
                {"email": email, "firstName": first, "lastName": last},
                lag=0,
                seeded=True,
            )
        for kind in ("companies", "deals", "line_items"):
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

    def _view(self, tx: Tx, row: Row, body: Json, names: Iterable[str] = ()) -> Json:
        """``names`` alone, as far as there are such properties; a filled one that nobody named stays untold."""
        wanted, known = [name for name in names if name] or _SHOWN[row.kind], properties.names(tx, row.kind)
        changed = dict.fromkeys(_CHANGED, iso(row.updated_at))
        told = {name: changed.get(name) or body.get(name) for name in wanted if name in known}
        stamps = {"createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at)}
        return {"id": row.id, "properties": told, **stamps, "archived": False}

    def _written(self, tx: Tx, row: Row, given: Json) -> Json:
        """What the answer to a write tells: what was written, and the stamps."""
        stamps = [name for name in _SHOWN[row.kind] if "date" in name and name != "closedate"]
        return self._view(tx, row, row.body, [*given, *stamps, "hs_object_id"])

    # -- account, owners, properties -----------------------------------------------------------------------------

    @route("GET", "/account-info/v3/details")
    def account(self, call: Call) -> Answer:  # noqa: ARG002
        hosting = {"dataHostingLocation": "na1", "uiDomain": "app.hubspot.com"}
        money = {"companyCurrency": "EUR", "additionalCurrencies": []}
        clock = {"timeZone": "UTC", "utcOffset": "+00:00", "utcOffsetMilliseconds": 0}
        return Answer(200, {"portalId": 14_000_001, "accountType": "DEVELOPER_TEST", **hosting, **money, **clock})

    @route("GET", "/crm/v3/owners")
    @route("GET", "/crm/v3/owners/")
    def owners(self, call: Call) -> Answer:
        """Archived ones, who were deactivated, only where they are asked for."""
        wanted, archived = call.query.get("email"), call.query.get("archived", "false") == "true"
        rows = [row for row in call.tx.rows(self.name, "owners") if bool(row.body.get("archived")) is archived]
        if wanted is not None:
            rows = [row for row in rows if term(row.body.get("email") or "") == term(wanted)]
        limit, after = call.query.get("limit", ""), call.query.get("after", "0")
        size = min(int(limit) or 1, _LARGEST_OWNERS_PAGE) if limit.isdecimal() else _OWNERS_PAGE
        return Answer(200, _page([_owner(row) for row in rows], int(after) if after.isdecimal() else 0, size))

    @route("GET", "/crm/v3/owners/{id}")
    def owner(self, call: Call, owner_id: str) -> Answer:
        by, archived = call.query.get("idProperty", "id"), call.query.get("archived", "false") == "true"
        if by not in ("id", "userId"):
            raise self.refuse(400, "idProperty must be id or userId")
        told = [_owner(row) for row in call.tx.rows(self.name, "owners")]
        found = [each for each in told if str(each[by]) == owner_id and each["archived"] is archived]
        if not found:
            raise self.refuse(404, "resource not found")
        return Answer(200, found[0])

    @route("GET", "/crm/v3/properties/{type}/{name}")
    def property_details(self, call: Call, kind: str, name: str) -> Answer:
        kind = self._kind(kind)
        custom = call.tx.get(self.name, "properties", f"{kind}/{name}")
        if custom is not None:
            return Answer(200, custom.body)
        if name not in properties.standard_names(kind):
            raise self.refuse(404, f"Property {name} does not exist")
        return Answer(200, properties.described(kind, name))

    @route("POST", "/crm/v3/properties/{type}")
    def create_property(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        if missing := properties.missing_of_property(call.body):
            raise self.refuse(400, f"Invalid input JSON: some required fields were not set: {missing}")
        name = call.body["name"]
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
        """Its answers say nothing of the rate limit."""
        kind = self._kind(kind)
        if limit := call.settings["search_limit"]:
            used, _ = call.tx.spend(f"{self.name}/search", float(limit["seconds"]))
            if used > int(limit["requests"]):
                return replace(errors.rate_limited("SECONDLY"), shows_rate_limit=False)
        wanted = searches.parsed(call.tx, kind, call.body)
        found = wanted.found(call.tx, kind, call.lag)
        page = _page(found, wanted.after, wanted.limit)
        results = [self._view(call.tx, row, shown, wanted.properties) for row, shown in page["results"]]
        return Answer(200, {"total": len(found), **page, "results": results}, shows_rate_limit=False)

    @route("POST", "/crm/v3/objects/{type}/batch/upsert")
    def upsert(self, call: Call, kind: str) -> Answer:
        """All or none: partial answers are for batch creates with an ``objectWriteTraceId`` (HubSpot's page on errors)."""
        kind = self._kind(kind)
        inputs = self._inputs(call)
        unique = properties.unique_names(call.tx, kind)
        keys = [(each.get("idProperty"), term(each.get("id") or "")) for each in inputs]
        if any(name not in unique for name, _ in keys):
            raise self.refuse(400, f"Unable to perform update/upsert by non-unique {_type_id(kind)} property")
        if any(not value for _, value in keys):
            raise self.refuse(400, "Invalid input JSON: id must not be empty")
        if len(set(keys)) < len(keys):
            raise self.refuse(400, "Duplicate IDs found in batch input")
        results = []
        for each in inputs:
            given = {**each["properties"], each["idProperty"]: each["id"]}
            found = next(iter(properties.holders(call.tx, kind, each["idProperty"], each["id"])), None)
            row = self._rewrite(call, found, given) if found else self._create(call, kind, given)
            results.append({**self._written(call.tx, row, given), "new": found is None})
        return Answer(200, _batch(call.tx, results))

    @route("POST", "/crm/v3/objects/{type}/batch/read")
    def read_batch(self, call: Call, kind: str) -> Answer:
        """In no order that could be relied on. A record that was merged away is not found under its old id."""
        kind = self._kind(kind)
        if missing := [name for name in ("properties", "propertiesWithHistory") if name not in call.body]:
            raise self.refuse(400, f"Invalid input JSON: some required fields were not set: {missing}")
        ids = list(dict.fromkeys(str(each["id"]) for each in self._inputs(call)))
        rows = {each: call.tx.get(self.name, kind, each) for each in reversed(ids)}
        names = call.body["properties"]
        results = [self._view(call.tx, row, row.body, names) for row in rows.values() if row]
        gone = [each for each in ids if rows[each] is None]
        if not gone:
            return Answer(200, _batch(call.tx, results))
        message = (
            f"Could not get some {kind.upper()} objects, they may be deleted or not exist. Check that ids are valid."
        )
        error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": gone}}
        return Answer(207, {**_batch(call.tx, results), "numErrors": 1, "errors": [error]})

    @route("POST", "/crm/v3/objects/{type}/merge")
    def merge(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        rows = [call.tx.get(self.name, kind, str(call.body[name])) for name in ("primaryObjectId", "objectIdToMerge")]
        if rows[0] is None or rows[1] is None or rows[0].seq == rows[1].seq:
            raise self.refuse(400, "Unable to merge: two objects are needed")
        survivor = merges.merge(call.tx, rows[0], rows[1], _TYPES, lag=call.lag)
        return Answer(200, self._view(call.tx, survivor, survivor.body))

    @route("POST", "/crm/v3/objects/{type}")
    def create(self, call: Call, kind: str) -> Answer:
        kind = self._kind(kind)
        if missing := [name for name in ("properties", "associations") if name not in call.body]:
            raise self.refuse(400, f"Invalid input JSON: some required fields were not set: {missing}")
        given = call.body["properties"]
        row = self._create(call, kind, given)
        for each in call.body["associations"]:
            self._associate(call.tx, row, each)
        return Answer(201, self._written(call.tx, row, given))

    @route("GET", "/crm/v3/objects/{type}/{id}")
    def read(self, call: Call, kind: str, row_id: str) -> Answer:
        names = call.query.get("properties", "").split(",")
        if call.query.get("archived", "false") == "true":
            return self._read_archived(call, self._kind(kind), row_id, names)
        row = self._row(call, kind, row_id)
        view = self._view(call.tx, row, row.body, names)
        kinds = [self._kind(each) for each in call.query.get("associations", "").split(",") if each]
        linked = {to_kind: call.tx.linked(self.name, row.kind, row.id, to_kind) for to_kind in kinds}
        if any(linked.values()):
            view["associations"] = {
                to_kind: {"results": [{"id": each, "type": f"{row.kind}_to_{to_kind}"} for each in ids]}
                for to_kind, ids in linked.items()
                if ids
            }
        return Answer(200, view)

    def _read_archived(self, call: Call, kind: str, row_id: str, names: Iterable[str]) -> Answer:
        row = call.tx.archived(self.name, kind, row_id)
        if row is None:
            raise self.refuse(404, "resource not found")
        view = self._view(call.tx, row, row.body, names)
        return Answer(200, {**view, "archived": True, "archivedAt": view["updatedAt"]})

    @route("PATCH", "/crm/v3/objects/{type}/{id}")
    def change(self, call: Call, kind: str, row_id: str) -> Answer:
        row = self._row(call, kind, row_id)
        given = call.body["properties"]
        row = self._rewrite(call, row, given)
        return Answer(200, self._written(call.tx, row, given))

    @route("DELETE", "/crm/v3/objects/{type}/{id}")
    def archive(self, call: Call, kind: str, row_id: str) -> Answer:
        # HubSpot answers 204 for what is archived already, too. The old id of a merged record is the survivor's.
        row = merges.survivor_of(call.tx, self._kind(kind), row_id)
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
        return Answer(200, _batch(call.tx, results))

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
        told = [{"toObjectId": each, "associationTypes": [label]} for each in found]
        return Answer(200, _page(told, int(after) if after.isdecimal() else 0, size))

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
            row = merges.survivor_of(call.tx, kind, row_id)
        else:
            if by not in properties.unique_names(call.tx, kind):
                raise self.refuse(400, f"{by} is not a unique identifier property")
            row = next(iter(properties.holders(call.tx, kind, by, row_id)), None)
        if row is None:
            raise self.refuse(404, "resource not found")
        return row

    def _inputs(self, call: Call) -> list[Json]:
        inputs = call.body.get("inputs")
        if not isinstance(inputs, list) or not 0 < len(inputs) <= _LARGEST_BATCH:
            raise self.refuse(400, f"inputs must hold 1 to {_LARGEST_BATCH} objects")
        return inputs

    def _check(self, tx: Tx, kind: str, given: Json, own: Row | None = None) -> None:
        """Raises Refused, as HubSpot would, for properties that it does not take."""
        if found := list(properties.problems(tx, kind, given)):
            raise Refused(errors.invalid(found))
        for name, other in properties.conflicts(tx, kind, given, own):
            if name == "email":
                raise self.refuse(HTTPStatus.CONFLICT, f"Contact already exists. Existing ID: {other.id}")
            at = f"objectTypeId={_type_id(kind)}, objectId={own.id if own else 0}, propertyName={name}, value={given[name]}"
            message = f"Cannot set PropertyValueCoordinates{{{at}}}. {other.id} already has that value."
            raise Refused(errors.invalid([("CONFLICTING_UNIQUE_VALUE", name, message)]))

    def _create(self, call: Call, kind: str, given: Json) -> Row:
        self._check(call.tx, kind, given)
        if wanted := properties.nameless(kind, given):
            raise self.refuse(400, f"Error creating {kind.upper()}. At least one property must be set: {list(wanted)}")
        if kind in ("notes", "tasks") and not given.get("hs_timestamp"):
            raise self.refuse(
                400, f"Error creating {kind.upper()[:-1]}. Some required properties were not set: [hs_timestamp]"
            )
        return self._write_new(call.tx, kind, given, lag=call.lag)

    def _write_new(
        self, tx: Tx, kind: str, given: Json, *, row_id: str | None = None, lag: float = 0, seeded: bool = False
    ) -> Row:
        row_id = str(row_id or tx.new_id(self.name, kind, self.id_base))
        now = iso(tx.now)
        stamps = {"hs_object_id": row_id, "hs_createdate" if kind in ("notes", "tasks") else "createdate": now}
        return self.add(
            tx, kind, {**properties.stored(given, {}, now), **stamps}, row_id=row_id, lag=lag, seeded=seeded
        )

    def _rewrite(self, call: Call, row: Row, given: Json) -> Row:
        self._check(call.tx, row.kind, given, own=row)
        written = properties.stored(given, row.body, iso(call.tx.now))
        return call.tx.update(row, {**row.body, **written}, lag=call.lag)


def _page(found: list[Any], start: int, size: int) -> Json:
    """One page; how the next is asked for where there is one."""
    answer: Json = {"results": found[start : start + size]}
    if start + size < len(found):
        answer["paging"] = {"next": {"after": str(start + size)}}
    return answer


def _batch(tx: Tx, results: list[Json]) -> Json:
    now = iso(tx.now)
    return {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}


def _type_id(kind: str) -> str:
    return next(type_id for type_id, name in _TYPE_IDS.items() if name == kind)


def _owner(row: Row) -> Json:
    """``id`` owns records; the user's id, which is another, does not, and is gone with a deactivated user."""
    archived, user = bool(row.body.get("archived")), row.body.get("userId") or _USER_IDS + row.seq
    told = {name: row.body.get(name, "") for name in ("email", "firstName", "lastName")}
    ids = {"id": row.id, "userId": None if archived else user, "userIdIncludingInactive": user}
    stamps = {"createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at), "archived": archived}
    return {**told, **ids, "type": row.body.get("type", "PERSON"), "teams": row.body.get("teams", []), **stamps}


def _link_spec(kind: str, to_kind: str) -> Json:
    type_id = _LINK_TYPES.get((kind, to_kind), 0)
    return {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}
