"""HubSpot: one deal a reference, kept up to date, and the handover brief as a note of the account."""

import pytest

from integrations.connectors.base import CreateSafety, MatchKey
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal
from integrations.errors import Kind
from integrations.models import ApiCall
from tests.integrations.sandbox.conftest import Vendor
from tests.integrations.sandbox.test_hubspot import PROPERTY
from tests.integrations.vendors.hubspot.test_connector import ACME, REFERENCE, crm, ids, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
CUSTOM = ("firstvalue_onboarding_status", "firstvalue_transaction_id", "firstvalue_implementation_owner")
DEAL = {
    "name": "Acme: pro, annual", "amount": 12000, "currency": "EUR", "owner_id": "u_789", "onboarding_status": "queued",
    "transaction_id": "pay_1", "implementation_owner": "u_456",
}  # fmt: skip
BRIEF = {"body": "<p>Why they bought: reports</p>", "at": "2026-11-22T10:00:00Z"}


@pytest.fixture
def company(hubspot):
    return crm(hubspot).create(CrmAccount.of(ACME), REFERENCE).external_id


def held(sandbox, kind):
    return [each["body"] for each in sandbox.objects("hubspot", kind)]


def note(connection, company, reference="pay_1", **more):
    return crm(connection).create(CrmNote.of({**BRIEF, "company_id": company, **more}), reference).external_id


def brief(reference, company):
    return MatchKey("reference", reference, within=company)


# --- Deals ----------------------------------------------------------------------------------------------------------


def test_a_deal_is_created_once_a_reference_with_all_that_we_know(hubspot, sandbox):
    sandbox.configure("hubspot", search_lag="never")
    made = [crm(hubspot, portal_id="7", deal_stage="closedwon").create(Deal.of(DEAL), "pay_1") for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].url == f"{hubspot.base_url}/contacts/7/record/0-3/{made[0].external_id}"
    assert ids(crm(hubspot).find("deal", MatchKey("reference", "pay_1"))) == [made[0].external_id]
    (deal,) = held(sandbox, "deals")
    values = ("Acme: pro, annual", "12000", "EUR", "u_789", "queued", "pay_1", "u_456", "closedwon")
    names = ("dealname", "amount", "deal_currency_code", "hubspot_owner_id", *CUSTOM, "dealstage")
    assert tuple(deal[name] for name in names) == values


def test_a_deal_is_found_by_its_id_and_nonsense_is_no_id(hubspot, sandbox):
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme", "amount": "12000"}])
    (found,) = crm(hubspot).find("deal", MatchKey("id", deal))
    assert (found.external_id, found.label, found.evidence["amount"]) == (deal, "Acme", "12000")
    assert crm(hubspot).get("deal", deal) == found
    for wrong in ("404", "D-1", "..", ""):
        assert crm(hubspot).find("deal", MatchKey("id", wrong)) == []


def test_a_deals_properties_change_and_what_is_empty_stays(hubspot, sandbox):
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme", "hubspot_owner_id": "1"}])
    for _ in range(2):
        crm(hubspot).update(deal, Deal(onboarding_status="complete", owner_id="", amount=0))
    crm(hubspot).update(deal, Deal(owner_id=""))
    (body,) = held(sandbox, "deals")
    shown = (body["firstvalue_onboarding_status"], body["hubspot_owner_id"], body["amount"], body["dealname"])
    assert shown == ("complete", "1", "0", "Acme")
    assert len([each for each in sandbox.requests("hubspot") if each["method"] == "PATCH"]) == 2
    assert refused(lambda: crm(hubspot).update("404", Deal(name="A"))).kind is Kind.NOT_FOUND


def test_companies_and_contacts_change_too(hubspot, sandbox, company):
    contact = crm(hubspot).create(CrmContact(email="jordan@acme.com"), "").external_id
    crm(hubspot).update(company, CrmAccount(name="Acme Logistics"))
    crm(hubspot).update(contact, CrmContact(last_name="Lee"))
    assert crm(hubspot).get("company", company).label == "Acme Logistics"
    assert crm(hubspot).get("contact", contact).label == "Lee"


def test_a_deal_is_tied_to_its_account_and_contact(hubspot, company):
    contact = crm(hubspot).create(CrmContact(email="jordan@acme.com"), "").external_id
    deal = crm(hubspot).create(Deal.of(DEAL), "pay_1").external_id
    for _ in range(2):
        crm(hubspot).associate("deal", deal, "company", company)
        crm(hubspot).associate("deal", deal, "contact", contact)
    assert refused(lambda: crm(hubspot).associate("deal", deal, "company", "404")).kind is Kind.NOT_FOUND


def test_an_account_without_our_properties_still_gets_deals(hubspot, sandbox):
    assert crm(hubspot).kind("deal").safety is CreateSafety.UNIQUE_UPSERT
    without = crm(hubspot, deal_properties="off")
    assert (without.kind("deal").safety, without.kind("deal").search_lag) == (CreateSafety.NEITHER, 20.0)
    assert without.kind("company").safety is CreateSafety.UNIQUE_UPSERT
    deal = without.create(Deal.of(DEAL), "pay_1").external_id
    without.update(deal, Deal(onboarding_status="complete", name="Acme"))
    assert without.find("deal", MatchKey("reference", "pay_1")) == []
    (body,) = held(sandbox, "deals")
    assert body["dealname"] == "Acme"
    assert not {*CUSTOM, "firstvalue_reference"} & set(body)


def test_refused_values_of_a_deal_name_our_fields(hubspot):
    error = refused(lambda: crm(hubspot).create(Deal.of(DEAL | {"amount": "a lot"}), "pay_1"))
    assert (error.kind, [each.field for each in error.fields]) == (Kind.INVALID, ["amount"])


def test_a_stage_that_hubspot_does_not_have_is_our_configuration(hubspot):
    error = refused(lambda: crm(hubspot, deal_stage="won").create(Deal.of(DEAL), "pay_1"))
    assert error.kind is Kind.NOT_CONFIGURED
    assert "deal_stage" in error.message


def test_the_probe_names_each_property_that_deals_lack(hubspot, sandbox):
    vendor = Vendor(sandbox.base_url, "hubspot")
    for kind, is_unique in (("companies", True), ("deals", False)):
        given = {**PROPERTY, "name": "our_ref", "hasUniqueValue": is_unique}
        vendor.post(f"/crm/v3/properties/{kind}", given).raise_for_status()
    for name in CUSTOM[1:]:
        vendor("DELETE", f"/crm/v3/properties/deals/{name}")
    vendor.session.close()
    error = refused(crm(hubspot, reference_property="our_ref").probe)
    assert error.kind is Kind.NOT_CONFIGURED
    assert "'our_ref' does not require unique values" in error.message
    assert [name for name in CUSTOM if f"'{name}' is missing" in error.message] == list(CUSTOM[1:])
    assert "set the option deal_properties to off" in error.message
    missing = refused(lambda: crm(hubspot, reference_property="").create(Deal.of(DEAL), "pay_1"))
    assert missing.kind is Kind.NOT_CONFIGURED
    assert CUSTOM[1] in missing.message
    assert crm(hubspot, deal_properties="off").probe()


# --- Notes ----------------------------------------------------------------------------------------------------------


def test_a_note_stands_on_its_account_and_deal_and_is_found_by_its_reference(hubspot, sandbox, company):
    deal = crm(hubspot).create(Deal.of(DEAL), "pay_1").external_id
    connector = crm(hubspot, portal_id="7")
    made = connector.create(CrmNote.of({**BRIEF, "company_id": company, "deal_id": deal}), "pay_1")
    note(hubspot, company, "pay_10")
    (found,) = connector.find("note", brief("pay_1", company))
    assert found.external_id == made.external_id
    assert found.url == made.url == f"{hubspot.base_url}/contacts/7/record/0-2/{company}"
    assert found.label == "Note of 2026-11-22"
    assert connector.get("note", made.external_id) == found
    assert held(sandbox, "notes")[0]["hs_note_body"].endswith("<p>Reference: [pay_1]</p>")
    assert crm(hubspot).find("note", MatchKey("reference", "pay_1")) == []
    assert crm(hubspot).find("note", brief("pay_1", "404")) == []
    kind = crm(hubspot, search_lag="9").kind("note")
    assert (kind.safety, kind.search_lag) == (CreateSafety.NEITHER, 9.0)


def test_a_note_is_looked_for_on_every_page(hubspot, sandbox, company):
    seeds = [{"hs_note_body": f"call {number}", "associations": {"companies": [company]}} for number in range(610)]
    sandbox.seed("hubspot", "notes", seeds)
    made = note(hubspot, company)
    assert ids(crm(hubspot).find("note", brief("pay_1", company))) == [made]


def test_a_rewritten_note_keeps_its_reference(hubspot, sandbox, company):
    made = note(hubspot, company, "a&b")
    for _ in range(2):
        crm(hubspot).update(made, CrmNote(body="<p>Risks: none</p>"))
    assert held(sandbox, "notes")[0]["hs_note_body"] == "<p>Risks: none</p><p>Reference: [a&amp;b]</p>"
    assert ids(crm(hubspot).find("note", brief("a&b", company))) == [made]


def test_a_note_is_refused_whole_where_its_account_is_gone(hubspot, sandbox):
    assert refused(lambda: note(hubspot, "404")).kind is Kind.INVALID
    assert held(sandbox, "notes") == []


def test_too_long_a_brief_names_our_field(hubspot, company):
    error = refused(lambda: note(hubspot, company, body="x" * 70_000))
    assert (error.kind, [each.field for each in error.fields]) == (Kind.INVALID, ["body"])


def test_the_text_of_notes_stays_out_of_the_records_of_calls(hubspot, company):
    note(hubspot, company)
    crm(hubspot).find("note", brief("pay_1", company))
    assert ApiCall.objects.filter(path__contains="notes").count() == 3
    assert "Why they bought" not in str(list(ApiCall.objects.values_list("request", "response")))
