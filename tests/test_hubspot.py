"""HubSpot: companies by reference, domain or name and billing email; contacts by email; owners of deals and domains."""

import time

import pytest

from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.providers import connector
from integrations.providers.base import CreateSafety, CrmConnector, Found, MatchKey

pytestmark = pytest.mark.django_db(transaction=True)
REFERENCE = "firstvalue:domain:acme.com"
ACME = {"name": "Acme", "domain": "acme.com", "country": "DE"}


def crm(connection: Connection, **options: str) -> CrmConnector:
    connection.options |= options
    made = connector(connection, subject="step:1", deadline=time.monotonic() + 20)
    assert isinstance(made, CrmConnector)
    return made


def ids(found: list[Found]) -> list[str]:
    return [each.external_id for each in found]


def refused(call) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def test_a_company_is_created_once_a_reference_and_found_by_it_at_once(hubspot, sandbox):
    sandbox.configure("hubspot", search_lag="never")
    made = [crm(hubspot).create("company", ACME, REFERENCE).external_id for _ in range(2)]
    assert made[0] == made[1]
    assert ids(crm(hubspot).find("company", MatchKey("reference", REFERENCE))) == made[:1]
    assert crm(hubspot).find("company", MatchKey("domain", "acme.com")) == []
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["total"] == 1


def test_creates_are_as_safe_as_the_reference_property_makes_them(hubspot):
    assert crm(hubspot).kind("company").safety is CreateSafety.UNIQUE_UPSERT
    without = crm(hubspot, reference_property="").kind("company")
    assert (without.safety, without.search_lag) == (CreateSafety.NEITHER, 20.0)
    assert crm(hubspot).find("company", MatchKey("reference", REFERENCE)) == []
    assert crm(hubspot).create("company", ACME, REFERENCE) != crm(hubspot).create("company", ACME, REFERENCE)


def test_companies_on_a_domain_come_with_what_tells_them_apart(hubspot, sandbox):
    seeds = [{"name": "Acme", "domain": "acme.com", "city": city} for city in ("Berlin", "Paris")]
    made = sandbox.seed("hubspot", "companies", [*seeds, {"name": "Other", "domain": "other.com"}])
    found = crm(hubspot, portal_id="7").find("company", MatchKey("domain", "acme.com"))
    assert ids(found) == made[:2]
    assert [each.evidence["city"] for each in found] == ["Berlin", "Paris"]
    assert found[0].url == f"{hubspot.base_url}/contacts/7/record/0-2/{made[0]}"


def test_without_a_domain_the_name_counts_only_with_the_billing_contact(hubspot, sandbox):
    acme, namesake = sandbox.seed("hubspot", "companies", [{"name": "ACME  Logistics"}, {"name": "Acme Logistics"}])
    contact = {"email": "billing@acme.com", "associations": {"companies": [acme]}}
    sandbox.seed("hubspot", "contacts", [contact])
    key = MatchKey("name+billing-email", "Acme Logistics", "billing@acme.com")
    assert ids(crm(hubspot).find("company", key)) == [acme]
    assert namesake not in ids(crm(hubspot).find("company", key))
    assert crm(hubspot).find("company", MatchKey("name+billing-email", "Acme Logistics", "no@acme.com")) == []


def test_a_contact_is_unique_by_email_and_tied_to_its_company(hubspot, sandbox):
    company = crm(hubspot).create("company", ACME, REFERENCE).external_id
    params = {"email": "jordan@acme.com", "first_name": "Jordan", "last_name": "Lee"}
    contact = crm(hubspot).create("contact", params, "").external_id
    assert refused(lambda: crm(hubspot).create("contact", params, "")).kind is Kind.CONFLICT
    for _ in range(2):
        crm(hubspot).associate("contact", contact, "company", company)
    found = crm(hubspot).find("contact", MatchKey("email", "jordan@acme.com"))
    assert [(each.external_id, each.label) for each in found] == [(contact, "Jordan Lee")]
    by_name = MatchKey("name+billing-email", "acme", "jordan@acme.com")
    assert ids(crm(hubspot).find("company", by_name)) == [company]


def test_what_is_not_there_is_none(hubspot):
    assert crm(hubspot).get("company", "404") is None
    assert crm(hubspot).find("contact", MatchKey("email", "nobody@acme.com")) == []


def test_refused_values_name_our_fields(hubspot):
    error = refused(lambda: crm(hubspot).create("contact", {"email": "nonsense"}, ""))
    assert (error.kind, error.effect_possible) == (Kind.INVALID, False)
    assert [(each.name, each.path) for each in error.fields] == [("email", "customer.primary_contact.email")]


def test_refused_values_inside_a_batch_are_errors_too(hubspot):
    error = refused(lambda: crm(hubspot).create("company", ACME | {"name": {"not": "text"}}, REFERENCE))
    assert (error.kind, error.http_status) == (Kind.INVALID, 207)
    assert [each.path for each in error.fields] == ["customer.legal_name"]


def test_an_unintelligible_answer_to_a_create_leaves_the_outcome_unknown(hubspot, sandbox):
    sandbox.add_fault("hubspot", "wrong_shape", count=1)
    error = refused(lambda: crm(hubspot).create("company", ACME, REFERENCE))
    assert (error.kind, error.effect_possible) == (Kind.MALFORMED, True)
    assert crm(hubspot).find("company", MatchKey("reference", REFERENCE))


def test_the_owner_comes_from_the_deal_else_from_the_domain(hubspot, sandbox):
    deal, unowned = sandbox.seed("hubspot", "deals", [{"dealname": "A", "hubspot_owner_id": "1"}, {"dealname": "B"}])
    companies = [{"domain": "acme.com", "hubspot_owner_id": "2"}, {"domain": "acme.com"}]
    sandbox.seed("hubspot", "companies", companies)
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id=deal).owner_id == "1"
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id=unowned).owner_id == "2"
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id="404").owner_id == "2"
    sandbox.seed("hubspot", "companies", [{"domain": "acme.com", "hubspot_owner_id": "3"}])
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id="").owner_id == ""


def test_a_used_up_day_is_not_waited_for(hubspot):
    translate = crm(hubspot).translate
    daily, rolling = (translate(429, {}, {"policyName": name}) for name in ("DAILY", "TEN_SECONDLY_ROLLING"))
    assert (daily.kind, daily.stop_and_queue) == (Kind.RATE_LIMIT, True)
    assert (rolling.retry_after, rolling.stop_and_queue) == (10.0, False)


def test_the_probe_says_who_we_are_or_what_is_missing(hubspot):
    assert crm(hubspot).probe() == "HubSpot portal 14000001 DEVELOPER_TEST"
    for name, fault in (("no_such_property", "is missing"), ("city", "does not require unique values")):
        error = refused(crm(hubspot, reference_property=name).probe)
        assert error.kind is Kind.NOT_CONFIGURED
        assert f"{name!r} {fault}: create it" in error.message
    assert crm(hubspot, reference_property="").probe()


@pytest.mark.parametrize("base_url", ["https://api.hubapi.com", "https://api-eu1.hubapi.com"])
def test_a_production_account_has_its_pages_at_hubspots_own_address(hubspot, base_url):
    hubspot.base_url = base_url
    assert crm(hubspot, portal_id="7")._url("company", "5") == "https://app.hubspot.com/contacts/7/record/0-2/5"
