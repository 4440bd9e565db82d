"""Salesforce (CRM): accounts, contacts, opportunities, notes as completed tasks, and success plans as open ones.

Sources: see ``schemas``, ``session`` and ``soql``; upserts by an external id:
developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_upsert.htm; pages of a query: .../dome_query.htm; a
task's ``AccountId``, which Salesforce sets from ``WhatId``: .../object_reference/sforce_api_objects_task.htm.

With a *reference field* (a custom text field marked as External ID and Unique) accounts, contacts and opportunities are
created by upsert on it; External ID alone lets two racing upserts both insert. Queries are consistent at once. Neither a
domain nor an email is unique at Salesforce, so that a contact found by email may be one of several.

Notes are tasks, not ``ContentNote``: that has no field for our reference, and is tied to the account by a second write. Our
reference stands at the end of a task's description, and an account's tasks are read to find it.

A contact and an opportunity belong to one account. One that belongs to another already is left there, and a person decides.
Deleting an account deletes what belongs to it, so that an account with contacts or opportunities is not deleted.

Merged records: the loser is deleted, and its ``MasterRecordId`` names the one that stays. A 15 character id names the same
record as the 18 character one.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from integrations import clock
from integrations.connectors.base import (
    Created,
    CreateSafety,
    CrmConnector,
    Found,
    MatchKey,
    ObjectKind,
    OwnerFacts,
    moment,
)
from integrations.connectors.objects import CrmAccount, CrmNote, Deal, SuccessPlan, VendorObject
from integrations.connectors.reference_text import has_mark, mark, mark_of
from integrations.errors import Kind, ProviderError
from integrations.http.client import segment
from integrations.models import Connection
from integrations.vendors.salesforce.declared import KINDS, OPTIONS, SECRETS
from integrations.vendors.salesforce.schemas import (
    DEAL_FIELDS,
    EVIDENCE,
    MERGED,
    SHOWN,
    TYPES,
    Column,
    Described,
    Page,
    Record,
    Rows,
    Saved,
    fields_of,
    is_id,
    refusal,
    same,
)
from integrations.vendors.salesforce.session import SalesforceHttp
from integrations.vendors.salesforce.soql import any_of, containing, literal

P = TypeVar("P", bound=Page)
_MOST_ROWS = 5_000
_MOST_ACCOUNTS = 30
_MOST_MERGES = 10
_BREAK = re.compile(r"<br\s*/?>|</(?:p|div|li|h\d)>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_TASKS = (CrmNote.KIND, SuccessPlan.KIND)
_SUBJECT = "Handover brief"
_MANY = "MANY"
"""The option ``currency`` of an org that has several."""


class Salesforce(CrmConnector):
    provider = "salesforce"
    systems = frozenset({"crm"})
    hosts = ("*.my.salesforce.com",)
    knows_people = True
    kinds, options, secrets = KINDS, OPTIONS, SECRETS
    probes = "signing in, the org, the reference field and that it is unique, the opportunities' custom fields"
    http: SalesforceHttp

    @classmethod
    def on(
        cls, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
    ) -> Self:
        made = super().on(connection, subject=subject, deadline=deadline, before_write=before_write)
        http = SalesforceHttp(connection, subject=subject, deadline=deadline, before_write=before_write)
        return type(made)(connection, http)

    def _reference_field(self, kind: str) -> str:
        """The unique field that carries our reference; empty where this kind has none."""
        return "" if kind in _TASKS else self.option("reference_field")

    def _data(self, *more: object) -> str:
        return "/".join([f"/services/data/{self.option('api_version')}", *(segment(each) for each in more)])

    def path(self, kind: str, *more: object) -> str:
        return self._data("sobjects", TYPES[kind], *more)

    def kind(self, name: str) -> ObjectKind:
        declared = super().kind(name)
        return declared if self._reference_field(name) else ObjectKind(CreateSafety.NEITHER)

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        if not key.value.strip():
            return []
        match kind, key.name:
            case "company" | "contact" | "deal", "reference" if field := self._reference_field(kind):
                return self._all(kind, self._rows(kind, f"{field} = {literal(key.value)}"))
            case "company", "domain":
                return self._all(kind, self._on_domain(key.value))
            case "company", "name+billing-email":
                return self._by_name_and_email(key.value, key.extra)
            case "contact", "email":
                return self._all(kind, self._rows(kind, f"Email = {literal(key.value)}"))
            case "deal", "id":
                deal = self._record(kind, key.value)
                return [self._found(kind, deal)] if deal else []
            case "note" | "success-plan", "reference" if is_id(key.within):
                tasks = self._rows(kind, f"AccountId = {literal(key.within)}")
                return self._all(kind, (each for each in tasks if has_mark(each.Description, key.value)))
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        """Merged records are told as the one that stays, under its id."""
        for _ in range(_MOST_MERGES):
            if record := self._record(kind, external_id):
                return self._found(kind, record, external_id)
            external_id = self._master(kind, external_id)
            if not external_id:
                break
        return None

    def archived(self, kind: str, external_id: str) -> Found | None:
        gone = self._deleted(kind, external_id)
        return self._found(kind, gone, external_id) if gone and not gone.MasterRecordId else None

    def _record(self, kind: str, external_id: str) -> Record | None:
        wanted = external_id.strip()
        if not (wanted.isascii() and wanted.isalnum()):
            return None  # Salesforce's ids are letters and digits: ids of deals come from people and other systems
        try:
            return self.read(self.path(kind, wanted), Record, params={"fields": ",".join(SHOWN[kind])})
        except ProviderError as error:
            if error.kind is Kind.INVALID and not is_id(wanted):
                return None
            raise

    def _deleted(self, kind: str, external_id: str) -> Record | None:
        if not is_id(external_id.strip()):
            return None
        merged = ["MasterRecordId"] if kind in MERGED else []
        where = f"Id = {literal(external_id.strip())} AND IsDeleted = true"
        return next(iter(self._rows(kind, where, more=merged, resource="queryAll")), None)

    def _master(self, kind: str, external_id: str) -> str:
        gone = self._deleted(kind, external_id) if kind in MERGED else None
        return gone.MasterRecordId if gone else ""

    def _rows(
        self, kind: str, where: str, *, more: Iterable[str] = (), resource: str = "query", most: int = _MOST_ROWS
    ) -> list[Record]:
        """All rows, page by page. Raises ``ProviderError(INVALID)`` where there are over ``most``."""
        query = f"SELECT {', '.join([*SHOWN[kind], *more])} FROM {TYPES[kind]} WHERE {where}"  # noqa: S608 (literals)
        found: list[Record] = []
        for page in self.pages(query, Rows, resource=resource):
            found += page.records
            if len(found) > most:
                break
        if len(found) > most:
            message = f"Over {most} Salesforce {TYPES[kind]} records match: too many to tell which is this customer's"
            raise ProviderError(Kind.INVALID, message)
        return found

    def pages(self, query: str, expect: type[P], *, resource: str = "query") -> Iterator[P]:
        """What a query finds, page by page."""
        page = self.http.request("GET", self._data(resource), params={"q": query}, expect=expect).data
        yield page
        while not page.done:
            if not page.nextRecordsUrl.startswith("/services/data/"):
                raise ProviderError(Kind.MALFORMED, "Salesforce named no next page of a query that has one")
            page = self.http.request("GET", page.nextRecordsUrl, expect=expect).data
            yield page

    def _on_domain(self, domain: str) -> list[Record]:
        """Accounts whose website is on it. ``LIKE`` finds parts too: hosts are compared whole."""
        wanted = domain.strip().lower()
        return [
            each
            for each in self._rows("company", f"Website LIKE {containing(wanted)}")
            if _host(each.Website) in (wanted, f"www.{wanted}")
        ]

    def _by_name_and_email(self, name: str, email: str) -> list[Found]:
        if not email.strip():
            return []
        contacts = self._rows("contact", f"Email = {literal(email)}")
        ids = list(dict.fromkeys(each.AccountId for each in contacts if each.AccountId))
        if len(ids) > _MOST_ACCOUNTS:
            message = f"The billing contact belongs to {len(ids)} accounts: too many to tell which is this customer's"
            raise ProviderError(Kind.INVALID, message)
        accounts = self._rows("company", f"Id IN {any_of(ids)}") if ids else []
        return self._all("company", (each for each in accounts if _same_name(each.Name, name)))

    def _all(self, kind: str, records: Iterable[Record]) -> list[Found]:
        return [self._found(kind, each) for each in records]

    def _found(self, kind: str, record: Record, asked: str = "") -> Found:
        """Under the id that was ``asked`` for, where that is another way to write the record's own."""
        external_id = asked if same(asked, record.Id) else record.Id
        match kind:
            case "note" | "success-plan":
                label = f"{record.Subject or 'Task'} of {record.ActivityDate or 'unknown date'}"
            case "contact":
                label = " ".join(part for part in (record.FirstName, record.LastName) if part)
            case _:
                label = record.Name
        evidence = {shown: value for name, shown in EVIDENCE.items() if (value := record.value(name))}
        shown = label or record.Email or record.Id
        return Found(
            external_id, shown, self._url(kind, record.Id), evidence, changed_at=moment(record.LastModifiedDate)
        )

    def page(self, kind: str, external_id: str) -> str:
        return self._url(kind, external_id) if is_id(external_id) else ""

    def _url(self, kind: str, external_id: str) -> str:
        return f"{self.connection.base_url}/lightning/r/{TYPES[kind]}/{external_id}/view"

    def lookup_owner(self, *, domain: str, deal_id: str) -> OwnerFacts:
        gone = ""
        deal = self._record("deal", deal_id)
        if deal and deal.OwnerId:
            if self.person(deal.OwnerId):
                return OwnerFacts(deal.OwnerId, deal_id, f"salesforce:opportunity {deal_id}")
            gone = f"the opportunity {deal_id} belongs to {deal.OwnerId}"
        if domain:
            owners = {each.OwnerId for each in self._on_domain(domain)} - {""}
            active = {owner for owner in owners if self.person(owner)}
            if len(active) == 1:
                return OwnerFacts(active.pop(), "", f"salesforce:account on {domain}")
            if owners and not active:
                gone = gone or f"the account on {domain} belongs to {', '.join(sorted(owners))}"
        return OwnerFacts(note=f"Salesforce was asked: {gone}, who is no active user there." if gone else "")

    def person(self, external_id: str) -> str | None:
        """A user by id. What belongs to a queue belongs to nobody."""
        if not is_id(external_id.strip()):
            return None
        path = self._data("sobjects", "User", external_id)
        found = self.read(path, Record, params={"fields": "Id,Name,IsActive"})
        return (found.Name or found.Id) if found and found.IsActive else None

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        given = self._fields(wanted)
        if isinstance(wanted, Deal):
            given |= {"StageName": self.option("deal_stage"), "CloseDate": clock.now().date().isoformat()}
        if isinstance(wanted, CrmNote):
            given |= {
                "Subject": _SUBJECT,
                "Status": self.option("note_status"),
                "WhatId": wanted.company_id,
                "Description": _text(wanted.body, mark(reference)),
            }
        if isinstance(wanted, SuccessPlan):
            given |= {
                "Status": self.option("success_status"),
                "WhatId": wanted.company_id,
                "Description": _text(wanted.body, mark(reference)),
            }
        kind = wanted.kind
        if field := self._reference_field(kind):
            made = self._upsert(kind, given, field, reference)
        else:
            made = self.http.request("POST", self.path(kind), json=given, expect=Saved).data.id
        return Created(made, self._url(kind, made))

    def _upsert(self, kind: str, given: dict[str, Any], field: str, reference: str) -> str:
        """Of two that race the loser is refused by the unique field, and then writes into what the other has made."""
        path = self.path(kind, field, reference)
        try:
            saved = self.http.request("PATCH", path, json=given, expect=Saved)
        except ProviderError as error:
            if error.existing_by != "reference":
                raise
            saved = self.http.request("PATCH", path, json=given, expect=Saved)
        return str(saved.data.id)

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A note, or a success plan, keeps its reference."""
        kind, given = wanted.kind, self._fields(wanted)
        if isinstance(wanted, CrmNote | SuccessPlan) and wanted.body:
            path, params = self.path(kind, external_id), {"fields": "Id,Description"}
            now = self.http.request("GET", path, params=params, expect=Record).data.Description
            given["Description"] = _text(wanted.body, mark_of(now))
        if not given:
            return
        try:
            self.http.request("PATCH", self.path(kind, external_id), json=given, ok=(200, 204))
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND and (master := self._master(kind, external_id)):
                message = (
                    f"Salesforce has merged the {kind} {external_id} into {master}. Replay from the step that found the {kind}, "
                    "and say which one it is"
                )
                raise ProviderError(Kind.CONFLICT, message, error.http_status) from error
            raise

    def _fields(self, wanted: VendorObject) -> dict[str, Any]:
        """Raises ``TypeError`` for a kind that Salesforce does not have."""
        if wanted.kind not in TYPES:
            raise TypeError(f"salesforce has no {wanted.kind}")
        given = fields_of(wanted)
        match wanted:
            case CrmAccount(country=country) if country and (field := self.option("country_field")):
                given[field] = country
            case CrmNote(at=at) if moved := moment(at):
                given["ActivityDate"] = moved.date().isoformat()
            case SuccessPlan() if "OwnerId" in given:
                given["OwnerId"] = self.option("success_owner") or given["OwnerId"]
            case Deal():
                given |= self._amount(wanted)
                if not self.flag("deal_fields"):
                    given = {name: value for name, value in given.items() if name not in DEAL_FIELDS.values()}
        return given

    def _amount(self, wanted: Deal) -> dict[str, Any]:
        """A number in another currency than the org's would be a false one."""
        ours, given = self.option("currency").strip().upper(), wanted.given()
        if "amount" not in given or not ours or ours not in (_MANY, wanted.currency.upper()):
            return {}
        several = {"CurrencyIsoCode": wanted.currency.upper()} if ours == _MANY and wanted.currency else {}
        # Salesforce keeps amounts as doubles, and takes them as JSON numbers.
        return {"Amount": float(Decimal(str(given["amount"])))} | several

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        """An account's own record stays where it is: a task belongs to one record, so that a note is at its account alone."""
        if kind in _TASKS and to_kind == Deal.KIND:
            return
        if to_kind != CrmAccount.KIND:
            super().associate(kind, external_id, to_kind, to_id)
        name = "WhatId" if kind in _TASKS else "AccountId"
        path = self.path(kind, external_id)
        now = self.http.request("GET", path, params={"fields": f"Id,{name}"}, expect=Record).data.value(name)
        if same(now, to_id):
            return
        if now and kind not in _TASKS:
            message = (
                f"The {kind} {external_id} belongs to the account {now} at Salesforce, not to {to_id}: move it there, or say which "
                f"{kind} it is"
            )
            raise ProviderError(Kind.CONFLICT, message)
        self.http.request("PATCH", path, json={name: to_id}, ok=(200, 204))

    def undo(self, kind: str, external_id: str) -> None:
        """Into the recycle bin. An account takes all that belongs to it along, so that one which is in use stays."""
        if not self.reversible(kind):
            super().undo(kind, external_id)
        if kind == CrmAccount.KIND and (held := self._belongings(external_id)):
            message = f"The account {external_id} has {held} at Salesforce, which would be deleted with it"
            raise ProviderError(Kind.CONFLICT, message)
        self.delete(kind, external_id, self.path(kind, external_id), ok=(204,))

    def _belongings(self, account_id: str) -> str:
        if not is_id(account_id):
            return ""
        where = f"AccountId = {literal(account_id)} LIMIT 1"
        there = {"contacts": self._rows("contact", where), "opportunities": self._rows("deal", where)}
        return " and ".join(name for name, rows in there.items() if rows)

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        params = {"q": "SELECT Id, Name FROM Organization"}
        orgs = self.http.request("GET", self._data("query"), params=params, expect=Rows).data.records
        self._check_fields()
        return f"Salesforce org {orgs[0].Name} ({orgs[0].Id})" if orgs else "Salesforce"

    def _check_fields(self) -> None:
        """Names everything that is missing, so that one visit to Salesforce's setup fixes it."""
        reference, faults = self.option("reference_field"), []
        for kind in ("company", "contact", "deal"):
            custom = DEAL_FIELDS.values() if kind == "deal" and self.flag("deal_fields") else ()
            if not reference and not custom:
                continue
            described = self.http.request("GET", self.path(kind, "describe"), expect=Described).data
            columns = {each.name: each for each in described.fields}
            faults += [
                f"{TYPES[kind]}.{name} {fault}"
                for name in filter(None, (reference, *custom))
                if (fault := _fault(columns.get(name), unique=name == reference))
            ]
        if faults:
            message = (
                f"Salesforce's fields: {', '.join(faults)}. Create them as text, {reference or 'none'} as External ID and "
                "Unique, and let our user edit them; or change this connection's options reference_field and deal_fields"
            )
            raise ProviderError(Kind.NOT_CONFIGURED, message)

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        return refusal(status, headers, body, self.option("reference_field"))


def _fault(column: Column | None, *, unique: bool) -> str:
    if column is None:
        return "is missing, or hidden from our user"
    if unique and not (column.externalId and column.unique):
        return "is not External ID and Unique"
    return "" if column.updateable else "cannot be edited by our user"


def _text(markup: str, closing: str) -> str:
    """HTML as the plain text of a task's description, with our reference as its last line."""
    lines = html.unescape(_TAG.sub("", _BREAK.sub("\n", markup))).split("\n")
    return "\n".join([*(line.strip() for line in lines), closing]).strip()


def _host(website: str) -> str:
    try:
        return urlsplit(website if "//" in website else f"//{website}").hostname or ""
    except ValueError:
        return ""


def _same_name(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
