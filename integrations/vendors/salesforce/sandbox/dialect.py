"""Salesforce's REST API, as far as an onboarding needs it.

Taken from the REST API's guide (developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest: dome_upsert, dome_query,
errorcodes, headers_duplicaterules, headers_api_usage), the object reference and the SOQL reference, and no connector. The
manners that hurt are kept: errors are a list, too many calls are a 403 that names no wait, sessions end without notice, an
upsert on a field that several records have is a 300, a duplicate rule refuses what a unique field would take, a deleted
account takes its contacts and opportunities along, and a merged one is a deleted one.

Settings: ``rotates`` (refresh tokens), ``session_epoch`` (another number ends all sessions), ``query_page`` (rows a page, at
most), ``duplicate_rules`` (objects whose rule is active), ``racing_upserts`` (so many upserts do not see what is there, as if
it were being written at that moment), ``fields`` ("Account.Name" -> changes to a field; null: the org, or our user, does not
have it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from http import HTTPStatus
from typing import Any

from integrations.sandbox.dialect import Answer, Call, Dialect, Refused, closing_reference, iso, key_of, route
from integrations.sandbox.store import Json, Row, Tx
from integrations.vendors.salesforce.sandbox import errors, oauth, soql
from integrations.vendors.salesforce.sandbox.errors import refuse
from integrations.vendors.salesforce.sandbox.schema import (
    FIELDS,
    PREFIXES,
    REFERENCE,
    WRITABLE,
    Field,
    described,
    full_id,
    new_id,
)

_VERSIONED = re.compile(r"/services/data/v(\d{2})\.0(/.*)")
_OLDEST, _NEWEST = 31, 68
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
_DAILY_LIMIT = 15_000
_SMALLEST_PAGE, _LARGEST_PAGE = 200, 2_000
_BELONG_TO_ACCOUNT = ("Contact", "Opportunity", "Task")
#: the users of a new org: (number, name, active)
_USERS = ((1, "Sam Sales", True), (2, "Noor Haddad", True), (3, "Gone Owner", False))


class Salesforce(Dialect):
    name = "salesforce"
    prefix = base_path = "/salesforce"
    system = "crm"
    options = {"client_id": oauth.CLIENT_ID, "currency": "EUR"}
    page = re.compile(r"/salesforce/lightning/r/(?P<kind>Account|Contact|Opportunity|Task)/(?P<id>[^/]+)/view")
    counted = WRITABLE
    fixed_kinds = ("User",)
    id_base = 1_000
    defaults = {
        "search_lag": 0.0, "rotates": True, "session_epoch": 0, "query_page": _SMALLEST_PAGE, "duplicate_rules": [],
        "racing_upserts": 0, "fields": {},
    }  # fmt: skip
    own_settings = frozenset(defaults) - {"search_lag"}
    sends_retry_after = False
    always = frozenset(
        {
            "access_token",
            "id",
            "Id",
            "success",
            "records",
            "done",
            "nextRecordsUrl",
            "fields",
            "name",
            "Description",
            "Name",
            "externalId",
            "unique",
            "updateable",
        }
    )
    choices = frozenset({"token_type", "StageName", "Status", "type"})

    def accepts(self, tx: Tx, authorization: str, tokens: Sequence[str]) -> bool:
        """A session's token; the token endpoint takes requests without one."""
        if not authorization:
            return True
        access = authorization.partition("Bearer ")[2].strip()
        return oauth.is_good(self, tx, access, tokens, self.settings(tx)["session_epoch"])

    def handle(self, call: Call) -> Answer:
        if call.path == "/services/oauth2/token":
            return super().handle(call)
        if not call.headers.get("Authorization"):
            return self.refusal(HTTPStatus.UNAUTHORIZED, "")
        versioned = _VERSIONED.fullmatch(call.path)
        if versioned is None or not _OLDEST <= int(versioned[1]) <= _NEWEST:
            return self.refusal(HTTPStatus.NOT_FOUND, "")
        if call.method in ("POST", "PATCH") and not call.says_json:
            return self.refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "")
        return super().handle(replace(call, path=versioned[2]))

    # -- shapes --------------------------------------------------------------------------------------------------

    def refusal(self, status: int, message: str) -> Answer:
        return errors.refusal(status, message)

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        used = limit - remaining if limit else 1
        return {"Sforce-Limit-Info": f"api-usage={used}/{limit or _DAILY_LIMIT}"}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:
        match kind:
            case "Account":
                return key_of(body, "Website", "Name") + key_of(body, REFERENCE)
            case "Contact":
                return key_of(body, "Email")
            case "Opportunity":
                return key_of(body, REFERENCE) + key_of(body, "Firstvalue_Transaction_Id__c")
        return closing_reference(str(body.get("Description") or ""))

    def preseed(self, tx: Tx) -> None:
        oauth.preseed(self, tx)
        for number, name, active in _USERS:
            body = {"Name": name, "Email": f"{name.replace(' ', '.').lower()}@firstvalue.example", "IsActive": active}
            tx.insert(self.name, "User", new_id("User", str(number)), body, lag=0, seeded=True)
        org = {"Name": "Firstvalue Sandbox"}
        tx.insert(self.name, "Organization", new_id("Organization", "1"), org, lag=0, seeded=True)

    def seed(self, tx: Tx, kind: str, given: Json) -> str:
        """``IsDeleted`` puts it, or the one that has this id, into the recycle bin; with ``MasterRecordId`` as merged away."""
        body = {name: value for name, value in given.items() if name not in ("id", "IsDeleted")}
        there = tx.get(self.name, kind, str(given.get("id")))
        row = (
            tx.update(there, {**there.body, **body}, lag=0)
            if there
            else self.add(tx, kind, body, row_id=given.get("id"), seeded=True)
        )
        if given.get("IsDeleted"):
            tx.archive(row)
        return row.id

    def add(
        self, tx: Tx, kind: str, body: Json, *, row_id: str | None = None, lag: float = 0.0, seeded: bool = False
    ) -> Row:
        chosen = row_id or new_id(kind, tx.new_id(self.name, kind, self.id_base))
        return super().add(tx, kind, body, row_id=chosen, lag=lag, seeded=seeded)

    def _fields(self, call: Call, kind: str) -> dict[str, Field]:
        """Those of the org. Raises ``Refused`` for an object that it does not have."""
        if kind not in FIELDS:
            raise self.refuse(404, "The requested resource does not exist")
        changes: Json = {
            name.partition(".")[2]: change
            for name, change in call.settings["fields"].items()
            if name.startswith(f"{kind}.")
        }
        there = {name: each for name, each in FIELDS[kind].items() if changes.get(name, {}) is not None}
        return {name: replace(each, **changes.get(name, {})) for name, each in there.items()}

    def _whole(self, row: Row, *, deleted: bool = False) -> Json:
        stamps = {"CreatedDate": _stamp(row.created_at), "LastModifiedDate": _stamp(row.updated_at)}
        stamps["SystemModstamp"] = stamps["LastModifiedDate"]
        stage = str(row.body.get("StageName", ""))
        derived = (
            {"IsClosed": stage.startswith("Closed"), "IsWon": stage == "Closed Won"}
            if row.kind == "Opportunity"
            else {}
        )
        return {**row.body, **derived, "Id": row.id, "IsDeleted": deleted, **stamps}

    def _view(self, call: Call, kind: str, whole: Json, names: Iterable[str]) -> Json:
        known = self._fields(call, kind)
        if unknown := [name for name in names if name not in known]:
            raise refuse("INVALID_FIELD", f"No such column '{unknown[0]}' on entity '{kind}'.")
        attributes = {"type": kind, "url": f"/services/data/v62.0/sobjects/{kind}/{whole['Id']}"}
        return {"attributes": attributes, **{name: whole.get(name) for name in names}}

    # -- sign-in, queries ----------------------------------------------------------------------------------------

    @route("POST", "/services/oauth2/token")
    def token(self, call: Call) -> Answer:
        return oauth.token(self, call)

    @route("GET", "/limits")
    def limits(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(200, {"DailyApiRequests": {"Max": _DAILY_LIMIT, "Remaining": _DAILY_LIMIT - 1}})

    @route("GET", "/query")
    def query(self, call: Call) -> Answer:
        return self._page(call, call.query.get("q", ""), 0, deleted=False)

    @route("GET", "/queryAll")
    def query_all(self, call: Call) -> Answer:
        """Deleted rows too."""
        return self._page(call, call.query.get("q", ""), 0, deleted=True)

    @route("GET", "/query/{cursor}")
    def more(self, call: Call, cursor: str) -> Answer:
        query_id, _, offset = cursor.rpartition("-")
        row = call.tx.get(self.name, "Cursor", query_id)
        if row is None or not offset.isdecimal():
            raise refuse("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(call, row.body["q"], int(offset), deleted=row.body["deleted"])

    def _page(self, call: Call, text: str, start: int, *, deleted: bool) -> Answer:
        query = soql.parsed(text)
        found = self._found(call, query, deleted=deleted)
        size = _page_size(call)
        shown = [self._view(call, query.type, each, query.fields) for each in found[start : start + size]]
        answer: Json = {"totalSize": len(found), "done": start + size >= len(found), "records": shown}
        if not answer["done"]:
            cursor = f"0r8{call.tx.new_id(self.name, 'Cursor', 0).zfill(15)}"
            call.tx.insert(self.name, "Cursor", cursor, {"q": text, "deleted": deleted}, lag=0)
            answer["nextRecordsUrl"] = f"/services/data/v62.0/query/{cursor}-{start + size}"
        return Answer(200, answer)

    def _found(self, call: Call, query: soql.Query, *, deleted: bool) -> list[Json]:
        known = FIELDS.get(query.type)
        if known is None:
            raise refuse("INVALID_TYPE", f"sObject type '{query.type}' is not supported.")
        known = self._fields(call, query.type)
        for name in query.names:
            if name not in known:
                raise refuse("INVALID_FIELD", f"No such column '{name}' on entity '{query.type}'.")
        where = [self._checked(each, known[each.field]) for each in query.where]
        rows = [self._whole(row) for row in call.tx.rows(self.name, query.type)]
        if deleted:
            ids = call.tx.db.execute(
                "SELECT id FROM objects WHERE vendor = ? AND kind = ? AND archived", (self.name, query.type)
            ).fetchall()
            gone = [call.tx.archived(self.name, query.type, each[0]) for each in ids]
            rows += [self._whole(row, deleted=True) for row in gone if row]
        found = [each for each in rows if all(comparison.holds(each) for comparison in where)]
        found = query.ordered(found)
        return found if query.limit is None else found[: query.limit]

    def _checked(self, comparison: soql.Comparison, field: Field) -> soql.Comparison:
        if not field.filterable:
            message = f"field '{comparison.field}' can not be filtered in a query call"
            raise refuse("INVALID_FIELD", message)
        if field.kind not in ("id", "reference") or comparison.value is None:
            return comparison
        many = isinstance(comparison.value, list)
        ids = [full_id(str(each)) for each in (comparison.value if many else [comparison.value])]
        if not all(ids):
            raise refuse("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {comparison.value}")
        return replace(comparison, value=ids if many else ids[0])

    # -- records -------------------------------------------------------------------------------------------------

    @route("GET", "/sobjects/{type}/describe")
    def describe(self, call: Call, kind: str) -> Answer:
        return Answer(200, described(kind, self._fields(call, kind)))

    @route("POST", "/sobjects/{type}")
    def create(self, call: Call, kind: str) -> Answer:
        row = self._write(call, kind, None, call.body)
        return Answer(201, {"id": row.id, "success": True, "errors": []})

    @route("GET", "/sobjects/{type}/{id}")
    def retrieve(self, call: Call, kind: str, row_id: str) -> Answer:
        known = self._fields(call, kind)
        names = call.query["fields"].split(",") if "fields" in call.query else list(known)
        return Answer(200, self._view(call, kind, self._whole(self._row(call, kind, row_id)), names))

    @route("PATCH", "/sobjects/{type}/{id}")
    def change(self, call: Call, kind: str, row_id: str) -> Answer:
        self._write(call, kind, self._row(call, kind, row_id), call.body)
        return Answer(204)

    @route("DELETE", "/sobjects/{type}/{id}")
    def delete(self, call: Call, kind: str, row_id: str) -> Answer:
        """Into the recycle bin; what belongs to an account goes with it."""
        row = self._row(call, kind, row_id)
        if kind == "Account":
            for other in _BELONG_TO_ACCOUNT:
                for each in call.tx.rows(self.name, other):
                    if each.body.get("AccountId") == row.id:
                        call.tx.archive(each)
        call.tx.archive(row)
        return Answer(204)

    @route("PATCH", "/sobjects/{type}/{field}/{value}")
    def upsert(self, call: Call, kind: str, name: str, value: str) -> Answer:
        field = self._fields(call, kind).get(name)
        if field is None or not field.external_id:
            raise self.refuse(404, f"Provided external ID field does not exist or is not accessible: {name}")
        if name in call.body:
            raise refuse("INVALID_FIELD", f"The {name} field should not be specified in the sobject data.")
        there = call.tx.find(self.name, kind, name, value)
        if there and call.settings["racing_upserts"]:
            call.tx.change_settings(self.name, {"racing_upserts": call.settings["racing_upserts"] - 1})
            there = []
        if len(there) > 1:
            return Answer(300, [f"/services/data/v62.0/sobjects/{kind}/{row.id}" for row in there])
        created = not there
        try:
            row = self._write(call, kind, there[0] if there else None, {**call.body, name: value})
        except Refused as refused:
            return refused.answer  # nothing was written but the setting
        done = {"id": row.id, "success": True, "errors": [], "created": created}
        return Answer(201 if created else 200, done)

    def _row(self, call: Call, kind: str, row_id: str) -> Row:
        self._fields(call, kind)
        wanted = full_id(row_id)
        if not wanted:
            raise self.refuse(404, f"Provided external ID field does not exist or is not accessible: {row_id}")
        row = call.tx.get(self.name, kind, wanted)
        if row is not None:
            return row
        if call.tx.archived(self.name, kind, wanted):
            raise refuse("ENTITY_IS_DELETED", "entity is deleted", [], status=404)
        raise self.refuse(404, "The requested resource does not exist")

    def _write(self, call: Call, kind: str, row: Row | None, given: Json) -> Row:
        if kind not in WRITABLE:
            raise self.refuse(404, "The requested resource does not exist")
        known = self._fields(call, kind)
        values = {name: self._value(call, kind, name, value, known) for name, value in given.items()}
        body = {**(row.body if row else {"OwnerId": new_id("User", "1")}), **values}
        missing = [name for name, each in known.items() if each.required and body.get(name) is None]
        if missing:
            raise refuse("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)
        for name, each in known.items():
            self._check_unique(call, kind, row, name, body.get(name) if each.unique and name in values else None)
        if row is None:
            self._check_duplicates(call, kind, body)
        if kind == "Opportunity" and row is not None and body["StageName"] != row.body.get("StageName"):
            body["LastStageChangeDate"] = _stamp(call.tx.now)
        if kind == "Task" and "WhatId" in values:
            body["AccountId"] = self._account_of(call, body["WhatId"])
        return self.add(call.tx, kind, body) if row is None else call.tx.update(row, body, lag=0)

    def _value(self, call: Call, kind: str, name: str, value: Any, known: dict[str, Field]) -> Any:
        field = known.get(name)
        if field is None:
            raise refuse("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
        if not field.writable:
            message = f"Unable to create/update fields: {name}. Please check the security settings of this field"
            raise refuse("INVALID_FIELD_FOR_INSERT_UPDATE", message, [name])
        if value is None or value == "":
            return None
        match field.kind:
            case "currency":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise refuse("JSON_PARSER_ERROR", f"Cannot deserialize instance of currency from {value!r}")
                return value
            case "boolean":
                return bool(value)
        if not isinstance(value, str):
            raise refuse("JSON_PARSER_ERROR", f"Cannot deserialize instance of {field.kind} from {value!r}")
        return self._text(call, name, value.strip(), field)

    def _text(self, call: Call, name: str, value: str, field: Field) -> str | None:
        if field.kind == "reference":
            return self._reference(call, name, value, field)
        if len(value) > field.length:
            message = f"{name}: data value too large: {value[:80]} (max length={field.length})"
            raise refuse("STRING_TOO_LONG", message, [name])
        if field.kind == "email" and not _EMAIL.fullmatch(value):
            raise refuse("INVALID_EMAIL_ADDRESS", f"{name}: invalid email address: {value}", [name])
        if field.values and value not in field.values:
            message = f"{name}: bad value for restricted picklist field: {value}"
            raise refuse("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, [name])
        if field.kind == "date":
            date.fromisoformat(value)
        return value or None

    def _reference(self, call: Call, name: str, value: str, field: Field) -> str:
        wanted = full_id(value)
        if not wanted:
            raise refuse("MALFORMED_ID", f"{name}: id value of incorrect type: {value}", [name])
        kind = next((each for each in field.refers_to if PREFIXES[each] == wanted[:3]), None)
        if kind is None:
            raise refuse("FIELD_INTEGRITY_EXCEPTION", f"{name}: id value of incorrect type: {value}", [name])
        row = call.tx.get(self.name, kind, wanted)
        if row is None:
            if call.tx.archived(self.name, kind, wanted):
                raise refuse("ENTITY_IS_DELETED", "entity is deleted", [])
            raise refuse("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [])
        if name == "OwnerId" and not row.body["IsActive"]:
            message = "operation performed with inactive user"
            raise refuse("INACTIVE_OWNER_OR_USER", f"{message} [{wanted}] as owner of record", [])
        return wanted

    def _check_unique(self, call: Call, kind: str, row: Row | None, name: str, value: Any) -> None:
        holders = call.tx.find(self.name, kind, name, value) if value else []
        other = next((each for each in holders if row is None or each.seq != row.seq), None)
        if other is not None:
            message = f"duplicate value found: {name} duplicates value on record with id: {other.id[:15]}"
            raise refuse("DUPLICATE_VALUE", message, [])

    def _check_duplicates(self, call: Call, kind: str, body: Json) -> None:
        """An active rule refuses a namesake, or whoever has the email, unless the header allows it."""
        allows = "allowsave=true" in call.headers.get("Sforce-Duplicate-Rule-Header", "").replace(" ", "").lower()
        name = {"Account": "Name", "Contact": "Email"}.get(kind)
        if kind not in call.settings["duplicate_rules"] or allows or name is None or not body.get(name):
            return
        if same := call.tx.find(self.name, kind, name, body[name]):
            matches = [
                {"matchConfidence": 100.0, "record": {"attributes": {"type": kind}, "Id": row.id}} for row in same
            ]
            results = [
                {"entityType": kind, "matchRecords": matches, "rule": f"Standard_{kind}_Match_Rule", "success": True}
            ]
            rule = {"allowSave": True, "duplicateRule": f"Standard_{kind}_Duplicate_Rule", "matchResults": results}
            raise refuse("DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=rule)

    def _account_of(self, call: Call, what: str | None) -> str | None:
        """As the object reference says of a task's ``AccountId``."""
        deal = call.tx.get(self.name, "Opportunity", what or "")
        return deal.body.get("AccountId") if deal else what


def _page_size(call: Call) -> int:
    asked = re.search(r"batchSize=(\d+)", call.headers.get("Sforce-Query-Options", ""))
    wanted = int(asked[1]) if asked else _LARGEST_PAGE
    return min(max(wanted, _SMALLEST_PAGE), _LARGEST_PAGE, int(call.settings["query_page"]))


def _stamp(at: float) -> str:
    """Salesforce writes the zone as +0000."""
    return iso(at).replace("Z", "+0000")
