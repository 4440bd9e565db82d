"""HubSpot: companies by reference, domain or name and billing email; contacts by email; owners of deals and domains."""

import json
import time

import pytest

from integrations.connections import services as connections
from integrations.connectors.base import CreateSafety, CrmConnector, Found, MatchKey
from integrations.connectors.objects import CrmAccount, CrmContact, Deal
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from tests.integrations.sandbox.conftest import Vendor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
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
    made = [crm(hubspot).create(CrmAccount.of(ACME), REFERENCE).external_id for _ in range(2)]
    assert made[0] == made[1]
    assert ids(crm(hubspot).find("company", MatchKey("reference", REFERENCE))) == made[:1]
    assert crm(hubspot).find("company", MatchKey("domain", "acme.com")) == []
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["total"] == 1


def test_creates_are_as_safe_as_the_reference_property_makes_them(hubspot):
    assert crm(hubspot).kind("company").safety is CreateSafety.UNIQUE_UPSERT
    without = crm(hubspot, reference_property="").kind("company")
    assert (without.safety, without.search_lag) == (CreateSafety.NEITHER, 20.0)
    assert crm(hubspot).find("company", MatchKey("reference", REFERENCE)) == []
    assert crm(hubspot).create(CrmAccount.of(ACME), REFERENCE) != crm(hubspot).create(CrmAccount.of(ACME), REFERENCE)


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
    company = crm(hubspot).create(CrmAccount.of(ACME), REFERENCE).external_id
    params = {"email": "jordan@acme.com", "first_name": "Jordan", "last_name": "Lee"}
    contact = crm(hubspot).create(CrmContact.of(params), "").external_id
    assert refused(lambda: crm(hubspot).create(CrmContact.of(params), "")).kind is Kind.CONFLICT
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
    error = refused(lambda: crm(hubspot).create(CrmContact(email="nonsense"), ""))
    assert (error.kind, error.effect_possible) == (Kind.INVALID, False)
    assert [(each.name, each.field) for each in error.fields] == [("email", "email")]


def test_refused_values_refuse_the_batch(hubspot):
    error = refused(lambda: crm(hubspot).create(CrmAccount.of(ACME | {"name": {"not": "text"}}), REFERENCE))
    assert (error.kind, error.http_status) == (Kind.INVALID, 400)
    assert [each.field for each in error.fields] == ["name"]


def test_unreadable_answer_to_a_create_is_indeterminate(hubspot, sandbox):
    sandbox.add_fault("hubspot", "wrong_shape", count=1)
    error = refused(lambda: crm(hubspot).create(CrmAccount.of(ACME), REFERENCE))
    assert (error.kind, error.effect_possible) == (Kind.MALFORMED, True)
    assert crm(hubspot).find("company", MatchKey("reference", REFERENCE))


def test_the_owner_comes_from_the_deal_else_from_the_domain(hubspot, sandbox):
    sandbox.seed("hubspot", "owners", [{"id": each} for each in "123"])
    deal, unowned = sandbox.seed("hubspot", "deals", [{"dealname": "A", "hubspot_owner_id": "1"}, {"dealname": "B"}])
    companies = [{"domain": "acme.com", "hubspot_owner_id": "2"}, {"domain": "acme.com"}]
    sandbox.seed("hubspot", "companies", companies)
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id=deal).owner_id == "1"
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id=unowned).owner_id == "2"
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id="404").owner_id == "2"
    sandbox.seed("hubspot", "companies", [{"domain": "acme.com", "hubspot_owner_id": "3"}])
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id="").owner_id == ""


def test_a_customer_is_known_by_every_domain_of_their_company(hubspot, sandbox):
    (made,) = sandbox.seed(
        "hubspot", "companies", [{"name": "Acme", "domain": "acme.com", "hs_additional_domains": "Acme.io;my-acme.de"}]
    )
    for domain in ("acme.com", "acme.io", "my-acme.de"):
        (found,) = crm(hubspot).find("company", MatchKey("domain", domain))
        assert (found.external_id, found.evidence["other domains"]) == (made, "Acme.io;my-acme.de")
    for part in ("acme.de", "io", "acme"):
        assert crm(hubspot).find("company", MatchKey("domain", part)) == []


def test_a_company_on_an_additional_domain_and_one_on_its_own_are_two(hubspot, sandbox):
    seeds = [{"name": "Acme", "domain": "acme.com", "hs_additional_domains": "acme.io"}, {"domain": "acme.io"}]
    made = sandbox.seed("hubspot", "companies", seeds)
    assert ids(crm(hubspot).find("company", MatchKey("domain", "acme.io"))) == made


def test_similar_domain_does_not_hide_a_company(hubspot, sandbox):
    parts = [{"name": "Other", "hs_additional_domains": f"x{number}-acme.io"} for number in range(150)]
    sandbox.seed("hubspot", "companies", parts)
    (made,) = sandbox.seed("hubspot", "companies", [{"name": "Acme", "hs_additional_domains": "acme.io"}])
    assert ids(crm(hubspot).find("company", MatchKey("domain", "acme.io"))) == [made]


def test_owner_is_found_by_an_additional_domain(hubspot, sandbox):
    seed = {"domain": "acme.com", "hs_additional_domains": "acme.io", "hubspot_owner_id": "u_1"}
    sandbox.seed("hubspot", "companies", [seed])
    assert crm(hubspot).lookup_owner(domain="acme.io", deal_id="").owner_id == "u_1"


def test_deactivated_owner_is_refused_by_name(hubspot, sandbox):
    sandbox.seed("hubspot", "owners", [{"id": "7", "archived": True}])
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "A", "hubspot_owner_id": "7"}])
    told = crm(hubspot).lookup_owner(domain="acme.com", deal_id=deal)
    assert (told.owner_id, told.note) == (
        "", f"HubSpot was asked: the deal {deal} belongs to 7, who is deactivated there."
    )  # fmt: skip
    seeds = [{"domain": "acme.com", "hubspot_owner_id": "7"}, {"domain": "acme.com", "hubspot_owner_id": "u_1"}]
    sandbox.seed("hubspot", "companies", seeds[:1])
    assert "the company on acme.com belongs to 7" in crm(hubspot).lookup_owner(domain="acme.com", deal_id="").note
    sandbox.seed("hubspot", "companies", seeds[1:])
    assert crm(hubspot).lookup_owner(domain="acme.com", deal_id=deal).owner_id == "u_1"


def test_unknown_hubspot_owner_is_a_field_to_fix(hubspot):
    error = refused(lambda: crm(hubspot).create(CrmAccount.of(ACME | {"owner_id": "404"}), REFERENCE))
    assert (error.kind, [each.field for each in error.fields]) == (Kind.INVALID, ["owner_id"])


@pytest.mark.parametrize(
    ("status", "asked", "wait", "whole_account"),
    [(423, None, 2.0, False), (423, 1, 2.0, False), (477, None, 86_400.0, True), (477, 7_200, 7_200.0, True)],
)
def test_transient_refusal_is_waited_out(hubspot, sandbox, status, asked, wait, whole_account):
    sandbox.add_fault("hubspot", "error_before", status=status, retry_after=asked)
    error = refused(lambda: crm(hubspot).create(CrmAccount.of(ACME), REFERENCE))
    assert (error.kind, error.retry_after, error.whole_account) == (Kind.TEMPORARY, wait, whole_account)
    assert not error.effect_possible


@pytest.mark.parametrize("status", [502, 503, 504, 521, 523, 524])
def test_gateway_errors_of_hubspot_pause_a_few_seconds(hubspot, sandbox, status):
    sandbox.add_fault("hubspot", "error_before", status=status)
    error = refused(lambda: crm(hubspot).create(CrmAccount.of(ACME), REFERENCE))
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.SERVER, 3.0, True)


def test_searches_over_their_own_limit_wait_a_second(hubspot, sandbox):
    sandbox.configure("hubspot", search_limit={"requests": 1, "seconds": 60})
    crm(hubspot).find("company", MatchKey("domain", "acme.com"))
    error = refused(lambda: crm(hubspot).find("company", MatchKey("domain", "acme.com")))
    assert (error.kind, error.retry_after) == (Kind.RATE_LIMIT, 1.0)


def test_an_archived_record_is_gone_and_can_still_be_named(hubspot, sandbox):
    made = crm(hubspot).create(CrmAccount.of(ACME), REFERENCE).external_id
    assert crm(hubspot).archived("company", made) is None
    crm(hubspot).undo("company", made)
    assert crm(hubspot).get("company", made) is None
    assert crm(hubspot).archived("company", made).label == "Acme"


def merge(sandbox, kind, survivor, other):
    """As somebody at HubSpot would."""
    vendor = Vendor(sandbox.base_url, "hubspot")
    body = {"primaryObjectId": survivor, "objectIdToMerge": other}
    vendor.post(f"/crm/v3/objects/{kind}/merge", body).raise_for_status()
    vendor.session.close()


def test_a_merged_record_answers_with_the_survivors_id(hubspot, sandbox):
    survivor, other = sandbox.seed("hubspot", "companies", [{"domain": "acme.com"}, {"domain": "acme.io"}])
    merge(sandbox, "companies", survivor, other)
    assert crm(hubspot).get("company", other).external_id == survivor
    assert ids(crm(hubspot).find("company", MatchKey("domain", "acme.io"))) == [survivor]


def test_update_of_a_merged_record_fails(hubspot, sandbox):
    survivor, other = sandbox.seed("hubspot", "deals", [{"dealname": "A"}, {"dealname": "B"}])
    merge(sandbox, "deals", survivor, other)
    error = refused(lambda: crm(hubspot).update(other, Deal(onboarding_status="complete")))
    assert error.kind is Kind.CONFLICT
    assert f"has merged the deal {other} into {survivor}" in error.message


def test_a_contact_with_a_taken_address_names_who_has_it(hubspot, sandbox):
    (made,) = sandbox.seed("hubspot", "contacts", [{"email": "a@acme.com", "hs_additional_emails": "jordan@acme.com"}])
    error = refused(lambda: crm(hubspot).create(CrmContact(email="jordan@acme.com"), ""))
    assert (error.kind, error.existing_id, error.existing_by) == (Kind.CONFLICT, made, "email")


def test_creates_say_that_there_is_nothing_to_associate(hubspot, sandbox):
    made = crm(hubspot, reference_property="").create(CrmAccount.of(ACME), REFERENCE).external_id
    assert crm(hubspot).get("company", made)
    assert json.loads(sandbox.requests("hubspot")[0]["body"])["associations"] == []


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
    there = crm(hubspot, portal_id="7", ui_domain="app-eu1.hubspot.com")
    assert there._url("company", "5") == "https://app-eu1.hubspot.com/contacts/7/record/0-2/5"
    assert "evil" not in crm(hubspot, portal_id="7", ui_domain="evil.example/app.hubspot.com")._url("company", "5")


def test_a_probe_tells_where_the_accounts_pages_are(hubspot):
    assert crm(hubspot).find("company", MatchKey("domain", "acme.com")) == []
    made = crm(hubspot).create(CrmAccount.of(ACME), REFERENCE)
    assert made.url == ""
    assert connections.probe(hubspot).ok
    stored = Connection.objects.get(pk=hubspot.pk)
    assert (stored.options["portal_id"], stored.options["ui_domain"]) == ("14000001", "app.hubspot.com")
    (found,) = crm(stored).find("company", MatchKey("domain", "acme.com"))
    assert found.url == f"{hubspot.base_url}/contacts/14000001/record/0-2/{made.external_id}"


def test_probe_corrects_the_portal_and_keeps_other_options(hubspot):
    Connection.objects.filter(pk=hubspot.pk).update(options={"portal_id": "7", "deal_stage": "closedwon"})
    assert connections.probe(Connection.objects.get(pk=hubspot.pk)).ok
    stored = Connection.objects.get(pk=hubspot.pk)
    assert (stored.options["portal_id"], stored.options["deal_stage"]) == ("14000001", "closedwon")
