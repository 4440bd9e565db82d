"""HubSpot (CRM): companies and contacts.

Sources: HubSpot's published OpenAPI specs (github.com/HubSpot/HubSpot-public-api-spec-collection, CRM Objects and
Associations v4) and developers.hubspot.com/docs/api-reference/error-handling.

With a *reference property* (a company property with "Require unique values") a company is created by batch upsert on it
and read back by it, both at once consistent. Without one, only search is left, which lags behind writes, and HubSpot
does not keep API clients from creating a second company on one domain. Contacts are unique by email either way.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.http import segment
from integrations.providers.base import Created, CreateSafety, CrmConnector, Found, MatchKey, ObjectKind, OwnerFacts

_TYPES = {"company": "companies", "contact": "contacts"}
_TYPE_IDS = {"company": "0-2", "contact": "0-1"}
_PROPERTIES = {
    "company": "name,domain,city,hubspot_owner_id,createdate,num_associated_contacts",
    "contact": "email,firstname,lastname,hubspot_owner_id,createdate",
}
_EVIDENCE = {
    "domain": "domain", "email": "email", "city": "city", "hubspot_owner_id": "owner", "createdate": "created",
    "num_associated_contacts": "contacts",
}  # fmt: skip
_PARAMS = {
    "name": "name", "domain": "domain", "country": "country", "city": "city", "owner_id": "hubspot_owner_id",
    "email": "email", "first_name": "firstname", "last_name": "lastname",
}  # fmt: skip
_PATHS = {
    "name": "customer.legal_name", "domain": "customer.domain", "country": "customer.country",
    "hubspot_owner_id": "ownership.crm_owner_id", "email": "customer.primary_contact.email",
    "firstname": "customer.primary_contact.name", "lastname": "customer.primary_contact.name",
}  # fmt: skip
_TAKEN = "CONFLICTING_UNIQUE_VALUE"
_PAGE = 100
_MOST_COMPANIES = 30
_LOCKED = 423
_ROLLING_SECONDS = 10.0


class _Linked(BaseModel):
    id: str


class _Links(BaseModel):
    results: list[_Linked] = []


class _Object(BaseModel):
    id: str = Field(min_length=1)
    properties: dict[str, str | None]
    associations: dict[str, _Links] = {}


class _Page(BaseModel):
    total: int
    results: list[_Object]


class _Upserted(BaseModel):
    results: list[_Object]
    errors: list[dict[str, Any]] = []


class _Associated(BaseModel):
    status: str


class _Account(BaseModel):
    portalId: int  # noqa: N815 (HubSpot's name)
    accountType: str = ""  # noqa: N815


class _Property(BaseModel):
    name: str
    hasUniqueValue: bool = False  # noqa: N815


class HubSpot(CrmConnector):
    provider = "hubspot"
    systems = frozenset({"crm"})
    hosts = ("api.hubapi.com", "api-eu1.hubapi.com")
    default_base_url = "https://api.hubapi.com"
    option_names = ("prefix", "reference_property", "portal_id", "search_lag")

    @property
    def _reference_property(self) -> str:
        return self.option("reference_property", "firstvalue_reference")

    def _path(self, kind: str, *more: object) -> str:
        # "/crm/v3" is filed as legacy beside "/crm/objects/2026-03": either may be given.
        prefix = "/" + self.option("prefix", "/crm/v3").strip("/")
        objects = prefix if "/objects" in prefix else f"{prefix}/objects"
        return "/".join([objects, _TYPES.get(kind, kind), *(segment(each) for each in more)])

    def kind(self, name: str) -> ObjectKind:
        if name == "contact" or (name == "company" and self._reference_property):
            return ObjectKind(CreateSafety.UNIQUE_UPSERT)
        if name == "company":
            return ObjectKind(CreateSafety.NEITHER, self.seconds("search_lag", 20.0))
        raise ValueError(f"hubspot has no {name}")

    # --- Reading ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: MatchKey) -> list[Found]:
        match kind, key.name:
            case "company", "reference" if self._reference_property:
                return self._by_unique(kind, self._reference_property, key.value)
            case "company", "domain":
                return [self._found(kind, each) for each in self._on_domain(key.value)]
            case "company", "name+billing-email":
                return self._by_name_and_email(key.value, key.extra)
            case "contact", "email":
                return self._by_unique(kind, "email", key.value)
        return []

    def get(self, kind: str, external_id: str) -> Found | None:
        found = self.read(self._path(kind, external_id), _Object, params={"properties": _PROPERTIES[kind]})
        return self._found(kind, found) if found else None

    def _by_unique(self, kind: str, name: str, value: str) -> list[Found]:
        """Reads by a unique property: consistent at once, unlike search."""
        if not value.strip():
            return []
        params = {"idProperty": name, "properties": _PROPERTIES[kind]}
        found = self.read(self._path(kind, value), _Object, params=params)
        return [self._found(kind, found)] if found else []

    def _on_domain(self, domain: str) -> list[_Object]:
        query = {
            "filterGroups": [{"filters": [{"propertyName": "domain", "operator": "EQ", "value": domain}]}],
            "properties": _PROPERTIES["company"].split(","),
            "limit": _PAGE,
            "after": "0",
            "sorts": [],
        }
        return self.http.request(
            "POST", self._path("company", "search"), json=query, expect=_Page, reads=True
        ).data.results

    def _by_name_and_email(self, name: str, email: str) -> list[Found]:
        if not (name.strip() and email.strip()):
            return []
        params = {"idProperty": "email", "associations": "companies"}
        contact = self.read(self._path("contact", email), _Object, params=params)
        linked = contact.associations.get("companies", _Links()).results if contact else []
        ids = list(dict.fromkeys(each.id for each in linked))
        if len(ids) > _MOST_COMPANIES:
            message = f"The billing contact belongs to {len(ids)} companies: too many to tell which is this customer's"
            raise ProviderError(Kind.INVALID, message)
        companies = (self.get("company", each) for each in ids)
        return [each for each in companies if each and _same_name(each.label, name)]

    def _found(self, kind: str, made: _Object) -> Found:
        values = {name: value for name, value in made.properties.items() if value}
        if kind == "company":
            label = values.get("name", "")
        else:
            label = " ".join(values[part] for part in ("firstname", "lastname") if part in values)
        evidence = {shown: values[name] for name, shown in _EVIDENCE.items() if name in values}
        return Found(made.id, label or evidence.get("email", made.id), self._url(kind, made.id), evidence)

    def _url(self, kind: str, external_id: str) -> str:
        portal = self.option("portal_id")
        return f"https://app.hubspot.com/contacts/{portal}/record/{_TYPE_IDS[kind]}/{external_id}" if portal else ""

    def lookup_owner(self, *, domain: str, deal_id: str) -> OwnerFacts:
        if deal_id and (owner := self._deal_owner(deal_id)):
            return OwnerFacts(owner, deal_id, f"hubspot:deal {deal_id}")
        if domain:
            owners = {each.properties.get("hubspot_owner_id") for each in self._on_domain(domain)} - {None, ""}
            if len(owners) == 1:
                return OwnerFacts(str(owners.pop()), "", f"hubspot:company on {domain}")
        return OwnerFacts()

    def _deal_owner(self, deal_id: str) -> str:
        try:
            deal = self.read(self._path("deals", deal_id), _Object, params={"properties": "hubspot_owner_id"})
        except ProviderError as error:
            if error.kind is Kind.INVALID:  # not an id of HubSpot's
                return ""
            raise
        return (deal.properties.get("hubspot_owner_id") or "") if deal else ""

    # --- Writing ----------------------------------------------------------------------------------------------------

    def create(self, kind: str, params: dict[str, Any], reference: str) -> Created:
        properties = {_PARAMS[name]: value for name, value in params.items() if name in _PARAMS and value}
        if kind == "company" and self._reference_property:
            made = self._upsert(properties, reference)
        else:
            made = self.http.request("POST", self._path(kind), json={"properties": properties}, expect=_Object).data
        return Created(made.id, self._url(kind, made.id))

    def _upsert(self, properties: dict[str, Any], reference: str) -> _Object:
        name = self._reference_property
        given = {"id": reference, "idProperty": name, "properties": {**properties, name: reference}}
        path = f"{self._path('company')}/batch/upsert"
        answer = self.http.request("POST", path, json={"inputs": [given]}, expect=_Upserted, ok=(200, 201, 207))
        if answer.data.results:
            return answer.data.results[0]
        if answer.data.errors:
            raise _invalid(answer.data.errors[0], answer.status)
        raise ProviderError(
            Kind.MALFORMED, "HubSpot gave neither a result nor an error", answer.status, effect_possible=True
        )

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:
        one, other = (f"{_TYPES[of]}/{segment(each)}" for of, each in ((kind, external_id), (to_kind, to_id)))
        (left, left_id), (right, right_id) = one.split("/"), other.split("/")
        path = f"/crm/v4/objects/{left}/{left_id}/associations/default/{right}/{right_id}"
        self.http.request("PUT", path, expect=_Associated)

    # --- Health and errors ------------------------------------------------------------------------------------------

    def probe(self) -> str:
        account = self.http.request("GET", "/account-info/v3/details", expect=_Account).data
        if name := self._reference_property:
            found = self.read(f"/crm/v3/properties/companies/{segment(name)}", _Property)
            if found is None or not found.hasUniqueValue:
                fault = "is missing" if found is None else "does not require unique values"
                raise ProviderError(
                    Kind.NOT_CONFIGURED,
                    f"HubSpot's company property {name!r} {fault}: create it as single-line text with "
                    "'Require unique values', name another one in the option reference_property, or empty that option",
                )
        return f"HubSpot portal {account.portalId} {account.accountType}".strip()

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        if not isinstance(body, dict):
            return None
        if status == 429:  # noqa: PLR2004
            daily = body.get("policyName") == "DAILY"
            message = "HubSpot's daily limit of calls is used up" if daily else "HubSpot asks us to slow down"
            wait = None if daily or "Retry-After" in headers else _ROLLING_SECONDS
            return ProviderError(Kind.RATE_LIMIT, message, status, retry_after=wait, stop_and_queue=daily)
        if status == _LOCKED:  # "wait at least 2 seconds between requests"
            return ProviderError(Kind.SERVER, "HubSpot has locked this record for now", status, retry_after=2.0)
        return _invalid(body, status) if status == 400 else None  # noqa: PLR2004


def _invalid(body: dict[str, Any], status: int) -> ProviderError:
    """A refusal of values. ``body`` is an error answer, or one entry of a 207's ``errors``."""
    fields, codes = [], set()
    for name, reason, code in _details(body):
        fields.append(FieldProblem(name, reason, _PATHS.get(name, "")))
        codes.add(code)
    taken = _TAKEN in codes or body.get("category") == "CONFLICT"
    message = "; ".join(each.reason for each in fields) or str(body.get("message", "no reason given"))
    return ProviderError(
        Kind.CONFLICT if taken else Kind.INVALID, f"HubSpot did not accept the values: {message}", status, fields=fields
    )


def _details(body: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(property, reason, code). Older answers carry them as JSON inside the message only."""
    listed = [each for each in body.get("errors") or [] if isinstance(each, dict)]
    if not listed:
        _, _, tail = str(body.get("message", "")).partition("[")
        try:
            listed = [each for each in json.loads(f"[{tail}") if isinstance(each, dict)] if tail else []
        except (ValueError, RecursionError):
            listed = []
    for each in listed:
        context = each.get("context")
        context = context if isinstance(context, dict) else {}
        names = context.get("propertyName") or each.get("name") or ""
        name = names[0] if isinstance(names, list) and names else names
        yield str(name), str(each.get("message", "")), str(each.get("code") or each.get("error") or "")


def _same_name(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
