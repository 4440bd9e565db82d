"""Salesforce's objects, answers and refusals: typed, and in our words.

Sources: the REST API's guide (developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest: dome_upsert, errorcodes,
headers_duplicaterules), the object reference (.../object_reference: Account, Contact, Opportunity, Task), the errors' codes
in the WSDL as jsforce has them (github.com/jsforce/jsforce, src/http-api.ts: the 401s that no new session changes), the message
of ``DUPLICATE_VALUE`` (an issue of go-salesforce), that of ``DUPLICATES_DETECTED`` (an issue of forrest).
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import Field

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.objects import VendorObject
from integrations.errors import FieldProblem, Kind, ProviderError

TYPES = {"company": "Account", "contact": "Contact", "deal": "Opportunity", "note": "Task", "success-plan": "Task"}
SHOWN = {
    "company": ("Id", "Name", "Website", "BillingCity", "OwnerId", "CreatedDate", "LastModifiedDate"),
    "contact": ("Id", "FirstName", "LastName", "Email", "AccountId", "OwnerId", "CreatedDate", "LastModifiedDate"),
    "deal": (
        *("Id", "Name", "StageName", "CloseDate", "Amount", "AccountId", "OwnerId", "CreatedDate"),
        "LastModifiedDate",
    ),
    "note": ("Id", "Subject", "Description", "ActivityDate", "WhatId", "AccountId", "LastModifiedDate"),
    "success-plan": (
        *("Id", "Subject", "Description", "ActivityDate", "WhatId", "AccountId", "OwnerId"),
        "LastModifiedDate",
    ),
}
EVIDENCE = {
    "Website": "website", "Email": "email", "BillingCity": "city", "Amount": "amount", "StageName": "stage",
    "CloseDate": "close date", "AccountId": "account", "OwnerId": "owner", "CreatedDate": "created",
}  # fmt: skip
MERGED = frozenset({"company", "contact"})
"""Kinds that Salesforce merges: the loser is deleted, and ``MasterRecordId`` names the one that stays."""
DEAL_FIELDS = {
    "onboarding_status": "Firstvalue_Onboarding_Status__c", "transaction_id": "Firstvalue_Transaction_Id__c",
    "implementation_owner": "Firstvalue_Implementation_Owner__c",
}  # fmt: skip
"""Custom fields of opportunities: the ones that a company makes for us."""
_FIELDS = {
    "company": {"name": "Name", "domain": "Website", "owner_id": "OwnerId"},
    "contact": {"email": "Email", "first_name": "FirstName", "last_name": "LastName"},
    "deal": {"name": "Name", "owner_id": "OwnerId", **DEAL_FIELDS},
    "note": {},
    "success-plan": {"name": "Subject", "due_on": "ActivityDate", "owner_id": "OwnerId"},
}
_OUR_FIELDS = {name: field for names in _FIELDS.values() for field, name in names.items()} | {
    "Amount": "amount", "CurrencyIsoCode": "currency", "Description": "body",
    "BillingCountry": "country", "BillingCountryCode": "country",
}  # fmt: skip
"""Field at Salesforce -> the field of ours that it holds."""
_FROM_OPTIONS = {"StageName": "deal_stage", "CurrencyIsoCode": "currency", "Status": "note_status"}
"""What we were told to send, and no customer's order says."""
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_HOLDER = re.compile(r"duplicate value found: (\w+) duplicates value on record with id: (\w+)")
_HOPELESS = ("This session is not valid for use with the REST API", "not attached to Agent")
_NO_FIELD = re.compile(r"No such column '([^']+)'")
_USED = re.compile(r"api-usage=(\d+)/(\d+)")
CONCURRENT_WAIT = 10.0
DAILY_WAIT = 900.0
"""Seconds. Salesforce sends no Retry-After: calls of the last 24 hours count, so that some pass again before a day is over."""
LOCK_WAIT = 2.0


class SessionExpired(ProviderError):
    """The access token is no longer good, and nothing was done: a new one may be asked for."""


class Record(VendorAnswer):
    """A row, with the fields that were asked for."""

    Id: str = Field(min_length=1)
    Name: str = ""
    FirstName: str = ""
    LastName: str = ""
    Email: str = ""
    Website: str = ""
    BillingCity: str = ""
    StageName: str = ""
    CloseDate: str = ""
    Amount: str = ""
    Subject: str = ""
    Description: str = ""
    ActivityDate: str = ""
    WhatId: str = ""
    AccountId: str = ""
    OwnerId: str = ""
    MasterRecordId: str = ""
    IsDeleted: bool = False
    IsActive: bool = True
    CreatedDate: str = ""
    LastModifiedDate: str = ""

    def value(self, name: str) -> str:
        return str(getattr(self, name))


class Page(VendorAnswer):
    """One page of what a query found."""

    done: bool
    nextRecordsUrl: str = ""  # noqa: N815


class Rows(Page):
    records: list[Record]


class Saved(VendorAnswer):
    id: str = Field(min_length=1)
    success: bool


class Column(VendorAnswer):
    name: str
    externalId: bool = False  # noqa: N815
    unique: bool = False
    updateable: bool = False


class Described(VendorAnswer):
    fields: list[Column]


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def same(one: str, other: str) -> bool:
    """Whether two ids name one record: the last three of 18 characters only repeat the case of the others."""
    return is_id(one) and is_id(other) and one[:15] == other[:15]


def fields_of(wanted: VendorObject) -> dict[str, Any]:
    """The fields that ``wanted`` fills. What is empty says nothing: it is left out, and blanks no field."""
    names = _FIELDS[wanted.kind]
    return {names[name]: value for name, value in wanted.given().items() if name in names}


def refusal(status: int, headers: Mapping[str, str], body: Any, reference_field: str) -> ProviderError | None:
    """The errors of the REST API are a list, that of the token endpoint an object; None for what is neither."""
    if status == HTTPStatus.MULTIPLE_CHOICES:
        message = "Several Salesforce records carry this reference: merge them there, or say which one it is"
        return ProviderError(Kind.CONFLICT, message, status)
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        return _sign_in(body, status)
    first = body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else None
    if first is None:
        return None
    code, message = str(first.get("errorCode", "")), str(first.get("message") or "no reason given")
    match code:
        case "INVALID_SESSION_ID":
            is_curable = not any(each in message for each in _HOPELESS)
            told = f"Salesforce refused our session: {message}"
            return (SessionExpired if is_curable else ProviderError)(Kind.AUTH, told, status)
        case "REQUEST_LIMIT_EXCEEDED":
            return _rate_limited(headers, message, status)
        case "UNABLE_TO_LOCK_ROW":
            told = "Somebody else changes this record at Salesforce now"
            return ProviderError(Kind.TEMPORARY, told, status, retry_after=LOCK_WAIT)
        case "ENTITY_IS_DELETED":
            return ProviderError(Kind.NOT_FOUND, f"Salesforce does not have this any more: {message}", status)
        case "DUPLICATES_DETECTED":
            return _duplicates(first, message, status)
        case "DUPLICATE_VALUE":
            return _taken(first, message, status, reference_field)
    return _values(list(_listed(body)), status) if status == HTTPStatus.BAD_REQUEST else None


def _sign_in(body: dict[str, Any], status: int) -> ProviderError | None:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    why = str(body.get("error_description") or body["error"])
    if body["error"] == "rate_limit_exceeded":
        message = f"Salesforce asks us to sign in less often: {why}"
        return ProviderError(Kind.RATE_LIMIT, message, status, retry_after=CONCURRENT_WAIT)
    return ProviderError(Kind.AUTH, f"Salesforce refused to sign us in: {why} ({body['error']})", status)


def _rate_limited(headers: Mapping[str, str], message: str, status: int) -> ProviderError:
    used = _USED.search(headers.get("Sforce-Limit-Info", ""))
    daily = "TotalRequests" in message or (used is not None and int(used[1]) >= int(used[2]))
    told = (
        "Salesforce's calls of 24 hours are used up"
        if daily
        else f"Salesforce asks us to send fewer calls at once: {message}"
    )
    wait = DAILY_WAIT if daily else CONCURRENT_WAIT
    return ProviderError(Kind.RATE_LIMIT, told, status, retry_after=wait)


def _duplicates(first: dict[str, Any], message: str, status: int) -> ProviderError:
    """A duplicate rule of the org's: whether the record is this customer's is for a person to say."""
    ids = list(dict.fromkeys(_candidates(first.get("duplicateResult"))))
    named = f" ({', '.join(ids[:10])})" if ids else ""
    told = f"A duplicate rule at Salesforce refuses it: {message}{named}"
    return ProviderError(Kind.CONFLICT, told, status, existing_id=ids[0] if len(ids) == 1 else "")


def _candidates(result: Any) -> Iterator[str]:
    for match in _dicts(result, "matchResults"):
        for each in _dicts(match, "matchRecords"):
            record = each.get("record")
            if isinstance(record, dict) and is_id(str(record.get("Id") or "")):
                yield str(record["Id"])


def _dicts(parent: Any, name: str) -> list[dict[str, Any]]:
    listed = parent.get(name) if isinstance(parent, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _taken(first: dict[str, Any], message: str, status: int, reference_field: str) -> ProviderError:
    found = _HOLDER.search(message)
    field, holder = (found[1], found[2]) if found else ("", "")
    by = "reference" if reference_field and field == reference_field else ""
    fields = [] if by else list(_problems(first))
    told = f"Salesforce has a record with this value: {message}"
    existing = holder if is_id(holder) else ""
    return ProviderError(Kind.CONFLICT, told, status, existing_id=existing, existing_by=by, fields=fields)


def _values(errors: list[dict[str, Any]], status: int) -> ProviderError:
    """A refusal of values. An org's own rule (``FIELD_CUSTOM_VALIDATION_EXCEPTION``) is told in its words."""
    fields = [problem for each in errors for problem in _problems(each)]
    reasons = "; ".join(str(each.get("message", "")) for each in errors)
    if any(each.get("errorCode") == "INVALID_FIELD" for each in errors):
        told = f"Salesforce has no such field, or not for us: {reasons}. Create it there, or check this connection's options"
        return ProviderError(Kind.NOT_CONFIGURED, told, status, fields=fields)
    told = f"Salesforce did not accept this: {reasons}"
    if fields and all(each.name in _FROM_OPTIONS for each in fields):
        told = f"{told}. Check the option {', '.join(_FROM_OPTIONS[each.name] for each in fields)}"
        return ProviderError(Kind.NOT_CONFIGURED, told, status, fields=fields)
    return ProviderError(Kind.INVALID, told, status, fields=fields)


def _problems(error: dict[str, Any]) -> Iterator[FieldProblem]:
    reason = str(error.get("message", ""))
    listed = error.get("fields")
    names = [str(each) for each in listed] if isinstance(listed, list) else []
    if not names and (found := _NO_FIELD.search(reason)):
        names = [found[1]]
    if not names and error.get("errorCode") == "INACTIVE_OWNER_OR_USER":
        names = ["OwnerId"]
    for name in names:
        yield FieldProblem(name, reason, _OUR_FIELDS.get(name, ""))


def _listed(body: Any) -> Iterator[dict[str, Any]]:
    yield from (each for each in body if isinstance(each, dict))
