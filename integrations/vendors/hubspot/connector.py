"""HubSpot (CRM): companies, contacts, deals with their line items, notes, and success plans as tasks.

Sources: see ``schemas``; notes: developers.hubspot.com/docs/api-reference/crm-notes-v3/guide (``hs_timestamp`` is
required, a body holds 65,536 characters); tasks: .../crm-tasks-v3/guide (``hs_timestamp`` is when one is due); line items:
.../crm-line-items-v3/guide (one belongs to one deal alone); a deal's pipeline and stage: .../crm-deals-v3/guide.

With a *reference property* (a property of companies, deals and line items with "Require unique values") they are created by batch
upsert on it and read back by it, both at once consistent. Without one, only search is left, which lags behind writes, and
HubSpot does not keep API clients from creating a second company on one domain. Contacts are unique by email either way.
Notes and tasks have nothing unique: our reference stands at the end of the text, and an account's are read to find it.

Deleting is archiving: whoever may do so can restore the record within 90 days (.../crm/objects/companies/delete-company,
knowledge.hubspot.com/records/restore-deleted-records). ``updatedAt`` is the property ``hs_lastmodifieddate`` (of contacts
``lastmodifieddate``): the "most recent timestamp of any property update", HubSpot's own properties included. So it moves
too when HubSpot counts a new contact, deal or note of the record.

A customer is known by every domain that stands at their company: ``domain``, and ``hs_additional_domains`` separated by
semicolons (knowledge.hubspot.com/records/add-multiple-domain-names-to-a-company-record). Merged records answer under both ids
as the one that survived, which holds what both held (knowledge.hubspot.com/records/merge-records): the id in an answer is
compared with the one that was asked for. Owners are told from users, and deactivated ones by ``archived``
(.../crm-owners-v3/guide).
"""

import html
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar
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
from integrations.connectors.objects import CrmAccount, CrmNote, Deal, DealLine, SuccessPlan, VendorObject
from integrations.connectors.options import Option
from integrations.connectors.reference_text import has_mark, mark, mark_of, text_of
from integrations.errors import Kind, ProviderError, TemporaryRefusal
from integrations.http.client import segment
from integrations.vendors.hubspot import declared
from integrations.vendors.hubspot.schemas import (
    BODIES,
    DEAL_PLACE,
    DEAL_PROPERTIES,
    EVIDENCE,
    LINKS,
    SHOWN,
    TYPE_IDS,
    TYPES,
    Account,
    Associated,
    Batch,
    Links,
    Owner,
    Page,
    Property,
    Record,
    Targets,
    is_gone,
    properties_of,
    refusal,
    taken,
)

_PAGE = 100
_NEW_TASK = {"hs_task_status": "NOT_STARTED", "hs_task_type": "TODO", "hs_task_priority": "MEDIUM"}
_ASSOCIATIONS_PAGE = 500
_MOST_COMPANIES = 30
_MOST_ON_A_DOMAIN = 1_000
_MOST_NOTES = 2_000
_WAITS = {"TEN_SECONDLY_ROLLING": 10.0, "SECONDLY": 1.0}
"""Seconds after a 429 without Retry-After, by its policy; ``SECONDLY`` is the one of searches."""
_PAUSE = 3.0
"""Seconds: "pause your requests for a few seconds, then retry"."""
_PAUSES = frozenset({502, 503, 504, 521, 523, 524})
_WEB = re.compile(r"app(-[a-z0-9]+)?\.hubspot\.com")


class HubSpot(CrmConnector):
    provider = "hubspot"
    systems = frozenset({"crm"})
    hosts = ("api.hubapi.com", "api-eu1.hubapi.com")
    default_base_url = "https://api.hubapi.com"
    knows_people = True
    kinds = declared.KINDS
    options: ClassVar[tuple[Option, ...]] = declared.OPTIONS
    probes = "the token, the portal, the reference property and its uniqueness, the deals' custom properties"
    # developers.hubspot.com/docs/api-reference/error-handling: a lock lasts 2 s; a migration up to 24 h, as its Retry-After says.
    temporary = (TemporaryRefusal(423, wait=2.0), TemporaryRefusal(477, wait=60.0, whole_account=True))

    def _reference_property(self, kind: str) -> str:
        """The unique property that carries our reference; empty where this kind has none."""
        if kind in ("company", "line-item") or (kind == "deal" and self._has_deal_properties):
            return self.option("reference_property")
        return ""

    @property
    def _has_deal_properties(self) -> bool:
        return self.flag("deal_properties")

    def path(self, kind: str, *more: object) -> str:
        # "/crm/v3" is filed as legacy beside "/crm/objects/2026-03": either may be given.
        prefix = "/" + self.option("prefix").strip("/")
        objects = prefix if "/objects" in prefix else f"{prefix}/objects"
        return "/".join([objects, TYPES[kind], *(segment(each) for each in more)])

    def kind(self, name: str) -> ObjectKind:
        if name in (CrmAccount.KIND, Deal.KIND, DealLine.KIND) and not self._reference_property(name):
            return ObjectKind(CreateSafety.NEITHER, self.seconds("search_lag"))
        return super().kind(name)

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        match kind, key.name:
            case "company" | "deal" | "line-item", "reference" if name := self._reference_property(kind):
                return self._by_unique(kind, name, key.value)
            case "company", "domain":
                return [self._found(kind, each) for each in self._on_domain(key.value)]
            case "company", "name+billing-email":
                return self._by_name_and_email(key.value, key.extra)
            case "contact", "email":
                return self._by_unique(kind, "email", key.value)
            case "deal", "id":
                deal = self._deal(key.value)
                return [self._found(kind, deal)] if deal else []
            case "note" | "success-plan", "reference" if key.value.strip() and key.within:
                return [self._found(kind, each, key.within) for each in self._marked(kind, key.value, key.within)]
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        if not external_id.strip().isdecimal():
            return None  # HubSpot's ids are numbers
        params = {"properties": SHOWN[kind]} | ({"associations": "companies"} if kind in BODIES else {})
        found = self.read(self.path(kind, external_id), Record, params=params)
        if found is None:
            return None
        linked = found.associations.get("companies", Links()).results
        return self._found(kind, found, linked[0].id if linked else "")

    def archived(self, kind: str, external_id: str) -> Found | None:
        params = {"properties": SHOWN[kind], "archived": "true"}
        found = self.read(self.path(kind, external_id), Record, params=params)
        return self._found(kind, found) if found else None

    def _by_unique(self, kind: str, name: str, value: str) -> list[Found]:
        """Reads by a unique property: consistent at once, unlike search."""
        if not value.strip():
            return []
        params = {"idProperty": name, "properties": SHOWN[kind]}
        found = self.read(self.path(kind, value), Record, params=params)
        return [self._found(kind, found)] if found else []

    def _on_domain(self, domain: str) -> list[Record]:
        """Companies that have it as their own domain or among their additional ones.

        ``CONTAINS_TOKEN`` matches parts too (``acme.de`` in ``my-acme.de``): what it finds is compared whole.
        """
        has = [("domain", "EQ"), ("hs_additional_domains", "CONTAINS_TOKEN")]
        query: dict[str, Any] = {
            "filterGroups": [
                {"filters": [{"propertyName": name, "operator": operator, "value": domain}]} for name, operator in has
            ],
            "properties": SHOWN["company"].split(","),
            "limit": _PAGE,
            "after": "0",
            "sorts": [],
        }
        found: list[Record] = []
        for _ in range(_MOST_ON_A_DOMAIN // _PAGE):
            page = self.http.request("POST", self.path("company", "search"), json=query, expect=Page, reads=True).data
            found += [each for each in page.results if domain.strip().lower() in _domains(each)]
            if page.paging is None or page.paging.next is None:
                return found
            query["after"] = page.paging.next.after
        message = (
            f"Over {_MOST_ON_A_DOMAIN} HubSpot companies may be on {domain}: too many to tell which is this customer's"
        )
        raise ProviderError(Kind.INVALID, message)

    def _by_name_and_email(self, name: str, email: str) -> list[Found]:
        if not (name.strip() and email.strip()):
            return []
        params = {"idProperty": "email", "associations": "companies"}
        contact = self.read(self.path("contact", email), Record, params=params)
        linked = contact.associations.get("companies", Links()).results if contact else []
        ids = list(dict.fromkeys(each.id for each in linked))
        if len(ids) > _MOST_COMPANIES:
            message = f"The billing contact belongs to {len(ids)} companies: too many to tell which is this customer's"
            raise ProviderError(Kind.INVALID, message)
        companies = (self.get("company", each) for each in ids)
        return [each for each in companies if each and _same_name(each.label, name)]

    def _deal(self, deal_id: str) -> Record | None:
        """None as well for what is no id of HubSpot's: deal ids come from people and other systems."""
        if not (deal_id.isascii() and deal_id.isdecimal()):
            return None
        try:
            return self.read(self.path("deal", deal_id), Record, params={"properties": SHOWN["deal"]})
        except ProviderError as error:
            if error.kind is Kind.INVALID:
                return None
            raise

    def _marked(self, kind: str, reference: str, company_id: str) -> list[Record]:
        """The account's notes, or tasks, that carry our reference. Read through its associations: search would lag."""
        ids = self._ids_at(kind, company_id)
        found = []
        for start in range(0, len(ids), _PAGE):
            inputs = [{"id": each} for each in ids[start : start + _PAGE]]
            query = {"inputs": inputs, "properties": SHOWN[kind].split(","), "propertiesWithHistory": []}
            path = f"{self.path(kind)}/batch/read"
            answer = self.http.request("POST", path, json=query, expect=Batch, ok=(200, 207), reads=True)
            for error in answer.data.errors:
                if not is_gone(error):  # what could not be read may be ours
                    raise refusal(error, answer.status)
            found += [each for each in answer.data.results if has_mark(text_of(each.value(BODIES[kind])), reference)]
        return found

    def _ids_at(self, kind: str, company_id: str) -> list[str]:
        path = f"/crm/v4/objects/companies/{segment(company_id)}/associations/{TYPES[kind]}"
        params: dict[str, Any] = {"limit": _ASSOCIATIONS_PAGE}
        ids: list[str] = []
        for _ in range(_MOST_NOTES // _ASSOCIATIONS_PAGE):
            page = self.read(path, Targets, params=params)
            ids += [str(each.toObjectId) for each in page.results] if page else []
            if page is None or page.paging is None or page.paging.next is None:
                return list(dict.fromkeys(ids))
            params["after"] = page.paging.next.after
        message = (
            f"The HubSpot company {company_id} has over {_MOST_NOTES} {TYPES[kind]}, too many to look through for ours"
        )
        raise ProviderError(Kind.INVALID, message)

    def _found(self, kind: str, made: Record, company_id: str = "") -> Found:
        values = {name: value for name, value in made.properties.items() if value}
        match kind:
            case "company" | "line-item":
                label = values.get("name", "")
            case "deal":
                label = values.get("dealname", "")
            case "success-plan":
                label = values.get("hs_task_subject", "")
            case "note":
                label = f"Note of {values.get('hs_timestamp', '')[:10] or 'unknown date'}"
            case _:
                label = " ".join(values[part] for part in ("firstname", "lastname") if part in values)
        evidence = {shown: values[name] for name, shown in EVIDENCE.items() if name in values}
        url = self._url("company", company_id) if kind in BODIES else self._url(kind, made.id)
        return Found(made.id, label or evidence.get("email", made.id), url, evidence, changed_at=moment(made.updatedAt))

    def page(self, kind: str, external_id: str) -> str:
        return self._url(kind, external_id)

    def _url(self, kind: str, external_id: str) -> str:
        """The page of a record. A note, or a task, has none of its own: it stands on its account's."""
        portal, place = self.option("portal_id"), self.option("ui_domain")
        if not (portal and external_id) or kind not in TYPE_IDS:
            return ""
        own = self.connection.base_url.rstrip("/")
        # An account that answers elsewhere, such as the sandbox, has its pages there too.
        at_hubspot = urlsplit(own).hostname in (None, *self.hosts)
        web = f"https://{place if _WEB.fullmatch(place) else 'app.hubspot.com'}" if at_hubspot else own
        return f"{web}/contacts/{portal}/record/{TYPE_IDS[kind]}/{external_id}"

    def lookup_owner(self, *, domain: str, deal_id: str) -> OwnerFacts:
        gone = ""
        deal = self._deal(deal_id)
        if deal and (owner := deal.value("hubspot_owner_id")):
            if self._is_active(owner):
                return OwnerFacts(owner, deal_id, f"hubspot:deal {deal_id}")
            gone = f"the deal {deal_id} belongs to {owner}"
        if domain:
            owners = {each.value("hubspot_owner_id") for each in self._on_domain(domain)} - {""}
            active = {owner for owner in owners if self._is_active(owner)}
            if len(active) == 1:
                return OwnerFacts(active.pop(), "", f"hubspot:company on {domain}")
            if owners and not active:
                gone = gone or f"the company on {domain} belongs to {', '.join(sorted(owners))}"
        return OwnerFacts(note=f"HubSpot was asked: {gone}, who is deactivated there." if gone else "")

    def person(self, external_id: str) -> str | None:
        """An owner by id. Deactivated ones stay in what they owned, and are told only where they are asked for."""
        found = self.read(f"/crm/v3/owners/{segment(external_id)}", Owner)
        return found.name if found else None

    def _is_active(self, owner_id: str) -> bool:
        return self.person(owner_id) is not None

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, wanted: VendorObject, reference: str) -> Created:
        kind = wanted.kind
        if isinstance(wanted, CrmNote | SuccessPlan):
            return self._create_marked(wanted, reference)
        given = self._properties(wanted)
        if isinstance(wanted, Deal):
            given |= {name: value for option, name in DEAL_PLACE.items() if (value := self.option(option))}
        if name := self._reference_property(kind):
            made = self._upsert(kind, given, name, reference)
        else:
            content = {"properties": given, "associations": []}
            made = self.http.request("POST", self.path(kind), json=content, expect=Record).data
        return Created(made.id, self._url(kind, made.id))

    def update(self, external_id: str, wanted: VendorObject) -> None:
        """A note, or a task, keeps its reference."""
        kind, given = wanted.kind, self._properties(wanted)
        if (body := BODIES.get(kind, "")) in given:
            path = self.path(kind, external_id)
            now = self.http.request("GET", path, params={"properties": body}, expect=Record).data.value(body)
            given[body] += _closing(mark_of(text_of(now)))
        if given:
            content = {"properties": given}
            changed = self.http.request("PATCH", self.path(kind, external_id), json=content, expect=Record).data
            if changed.id != external_id:
                message = (
                    f"HubSpot has merged the {kind} {external_id} into {changed.id}, which was changed in its place. Replay from "
                    f"the step that found the {kind}, and say which one it is"
                )
                raise ProviderError(Kind.CONFLICT, message)

    def _properties(self, wanted: VendorObject) -> dict[str, Any]:
        """Raises ``TypeError`` for a kind that HubSpot does not have."""
        if wanted.kind not in TYPES:
            raise TypeError(f"hubspot has no {wanted.kind}")
        left_out = DEAL_PROPERTIES if isinstance(wanted, Deal) and not self._has_deal_properties else {}
        given = properties_of(wanted, without=left_out)
        if isinstance(wanted, SuccessPlan):
            if "hubspot_owner_id" in given:
                given["hubspot_owner_id"] = self.option("success_owner") or given["hubspot_owner_id"]
            if wanted.due_on:
                given["hs_timestamp"] = f"{wanted.due_on}T12:00:00Z"  # the same day wherever it is looked at
        return given

    def _create_marked(self, wanted: CrmNote | SuccessPlan, reference: str) -> Created:
        given, body = self._properties(wanted), BODIES[wanted.kind]
        given[body] = given.get(body, "") + _closing(mark(reference))
        if isinstance(wanted, SuccessPlan):
            given |= _NEW_TASK
            given.setdefault("hs_timestamp", clock.now().isoformat(timespec="seconds"))
        links = [
            {
                "to": {"id": external_id},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}],
            }
            for field, type_id in LINKS[wanted.kind].items()
            if (external_id := getattr(wanted, field))
        ]
        content = {"properties": given, "associations": links}
        made = self.http.request("POST", self.path(wanted.kind), json=content, expect=Record).data
        return Created(made.id, self._url("company", wanted.company_id))

    def _upsert(self, kind: str, properties: dict[str, Any], name: str, reference: str) -> Record:
        given = {"id": reference, "idProperty": name, "properties": {**properties, name: reference}}
        path = f"{self.path(kind)}/batch/upsert"
        answer = self.http.request("POST", path, json={"inputs": [given]}, expect=Batch, ok=(200, 201, 207))
        if answer.data.results:
            return answer.data.results[0]
        if answer.data.errors:
            raise refusal(answer.data.errors[0], answer.status)
        raise ProviderError(
            Kind.MALFORMED, "HubSpot gave neither a result nor an error", answer.status, effect_possible=True
        )

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        one, other = (f"{TYPES[of]}/{segment(each)}" for of, each in ((kind, external_id), (to_kind, to_id)))
        self.http.request("PUT", f"/crm/v4/objects/{one}/associations/default/{other}", expect=Associated)

    def undo(self, kind: str, external_id: str) -> None:
        """Archives it. HubSpot answers 204 for what is archived already as well."""
        if not self.reversible(kind):
            super().undo(kind, external_id)
        self.delete(kind, external_id, self.path(kind, external_id), ok=(204,))

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        account = self.http.request("GET", "/account-info/v3/details", expect=Account).data
        if name := self._reference_property("company"):
            found = self._property("company", name)
            if found is None or not found.hasUniqueValue:
                fault = "is missing" if found is None else "does not require unique values"
                raise ProviderError(
                    Kind.NOT_CONFIGURED,
                    f"HubSpot's company property {name!r} {fault}: create it as single-line text with "
                    "'Require unique values', name another one in the option reference_property, or empty that option",
                )
        if self._has_deal_properties:
            self._check_deals()
        self.learned = {"portal_id": str(account.portalId), "ui_domain": account.uiDomain}
        return f"HubSpot portal {account.portalId} {account.accountType}".strip()

    def _check_deals(self) -> None:
        """Names everything that deals lack, so that one visit to HubSpot's settings fixes it."""
        unique = self._reference_property("deal")
        faults = []
        for name in filter(None, (unique, *DEAL_PROPERTIES.values())):
            found = self._property("deal", name)
            if found is None:
                faults.append(f"{name!r} is missing")
            elif name == unique and not found.hasUniqueValue:
                faults.append(f"{name!r} does not require unique values")
        if faults:
            how = f", {unique!r} with 'Require unique values'" if unique else ""
            message = (
                f"HubSpot's deal properties: {', '.join(faults)}. Create them as single-line text{how}, "
                "or set the option deal_properties to off"
            )
            raise ProviderError(Kind.NOT_CONFIGURED, message)

    def _property(self, kind: str, name: str) -> Property | None:
        return self.read(f"/crm/v3/properties/{TYPES[kind]}/{segment(name)}", Property)

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        if status in _PAUSES:
            return ProviderError(Kind.SERVER, "HubSpot does not answer for now", status, retry_after=_PAUSE)
        if not isinstance(body, dict):
            return None
        match status:
            case HTTPStatus.TOO_MANY_REQUESTS:
                return _rate_limited(str(body.get("policyName", "")), headers)
            case HTTPStatus.CONFLICT:
                return taken(body, status)
            case HTTPStatus.BAD_REQUEST:
                return refusal(body, status)
        return None


def _rate_limited(policy: str, headers: Mapping[str, str]) -> ProviderError:
    daily = policy == "DAILY"
    message = "HubSpot's daily limit of calls is used up" if daily else "HubSpot asks us to slow down"
    wait = None if daily or "Retry-After" in headers else _WAITS.get(policy, _WAITS["TEN_SECONDLY_ROLLING"])
    return ProviderError(Kind.RATE_LIMIT, message, HTTPStatus.TOO_MANY_REQUESTS, retry_after=wait, stop_and_queue=daily)


def _domains(company: Record) -> set[str]:
    listed = f"{company.value('domain')};{company.value('hs_additional_domains')}".split(";")
    return {each.strip().lower() for each in listed} - {""}


def _closing(reference: str) -> str:
    """The last paragraph of a note, which HubSpot shows as HTML."""
    return f"<p>{html.escape(reference)}</p>" if reference else ""


def _same_name(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
