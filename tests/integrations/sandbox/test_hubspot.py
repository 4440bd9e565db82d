"""The HubSpot stand-in keeps HubSpot's manners."""

import json

import pytest

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor
from tests.integrations.sandbox.hubspot_client import (
    COMPANIES,
    CONTACTS,
    DEALS,
    NOTES,
    PROPERTY,
    companies,
    create,
    found,
    new,
    upsert,
)


def test_a_created_company_reads_back_at_once(hubspot: Vendor):
    company = create(hubspot, name="Acme", domain="acme.com")
    read = hubspot.get(f"{COMPANIES}/{company}", properties="domain,industry").json()
    assert company.isdecimal()
    assert read["properties"]["domain"] == "acme.com"
    assert read["properties"]["industry"] is None
    assert read["archived"] is False


def test_companies_are_not_deduplicated_by_domain(hubspot: Vendor):
    assert create(hubspot, domain="acme.com") != create(hubspot, domain="acme.com")


def test_a_contact_is_unique_by_email(hubspot: Vendor):
    contact = create(hubspot, CONTACTS, email="Jordan@Acme.com")
    answer = hubspot.post(CONTACTS, new(email="jordan@acme.com"))
    assert answer.status_code == 409
    assert answer.json()["message"] == f"Contact already exists. Existing ID: {contact}"


def test_a_contact_reads_by_email(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", search_lag="never")
    contact = create(hubspot, CONTACTS, email="jordan@acme.com")
    assert hubspot.get(f"{CONTACTS}/Jordan@acme.com", idProperty="email").json()["id"] == contact


def test_an_escaped_value_in_a_path_is_what_it_stands_for(hubspot: Vendor):
    company = create(hubspot, name="Acme", firstvalue_reference="ref/1")
    assert hubspot.get(f"{COMPANIES}/ref%2F1", idProperty="firstvalue_reference").json()["id"] == company


def test_the_dated_prefix_serves_the_same_objects(hubspot: Vendor):
    company = create(hubspot, name="Acme")
    assert hubspot.get(f"/crm/objects/2026-03/companies/{company}").json()["id"] == company


def test_a_unique_value_names_its_holder(hubspot: Vendor):
    company = create(hubspot, name="Acme", firstvalue_reference="ref-1")
    answer = hubspot.post(COMPANIES, new(name="Acme", firstvalue_reference="ref-1"))
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"
    assert company in answer.json()["message"]


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"favourite_colour": "red"}, "PROPERTY_DOESNT_EXIST"),
        ({"email": "jordan at acme"}, "INVALID_EMAIL"),
        ({"lifecyclestage": "delighted"}, "INVALID_OPTION"),
        ({"hs_object_id": "7"}, "READ_ONLY_VALUE"),
        ({"hubspot_owner_id": "404"}, "INVALID_OWNER_ID"),
    ],
)
def test_a_value_it_does_not_take_is_a_validation_error(hubspot: Vendor, properties: dict[str, str], code: str):
    answer = hubspot.post(CONTACTS, new(**properties))
    body = answer.json()
    assert answer.status_code == 400
    assert (body["status"], body["category"]) == ("error", "VALIDATION_ERROR")
    assert set(body) >= {"message", "correlationId", "errors"}
    assert body["errors"][0]["code"] == code
    assert body["errors"][0]["context"] == {"propertyName": list(properties)}


def test_an_upsert_creates_once_and_then_updates(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", search_lag="never")
    first = upsert(hubspot, ("firstvalue_reference", "ref-1", {"name": "Acme"}))
    second = upsert(hubspot, ("firstvalue_reference", "ref-1", {"name": "Acme Logistics"}))
    assert (first.status_code, second.status_code) == (200, 200)
    one, two = first.json()["results"][0], second.json()["results"][0]
    assert first.json()["status"] == "COMPLETE"
    assert (one["new"], two["new"]) == (True, False)
    assert one["id"] == two["id"]
    assert two["properties"]["name"] == "Acme Logistics"
    assert set(two) >= {"createdAt", "updatedAt", "archived"}


def test_an_upsert_is_refused_as_a_whole(hubspot: Vendor, control: SandboxControl):
    answer = upsert(hubspot, ("email", "a@acme.com", {}), ("email", "nonsense", {}), path=CONTACTS)
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["errors"][0]["code"] == "INVALID_EMAIL"
    assert control.counts()["vendors"]["hubspot"]["contacts"]["total"] == 0


def test_an_upsert_refuses_a_property_that_is_not_unique(hubspot: Vendor):
    answer = upsert(hubspot, ("domain", "acme.com", {"name": "Acme"}))
    assert answer.status_code == 400
    assert "Unable to perform update/upsert by non-unique 0-2 property" in answer.json()["message"]


def test_a_registered_unique_property_serves_upserts(hubspot: Vendor):
    assert hubspot.get("/crm/v3/properties/companies/our_ref").status_code == 404
    body = {"name": "our_ref", "hasUniqueValue": True}
    assert hubspot.post("/crm/v3/properties/companies", body).status_code == 400
    created = hubspot.post("/crm/v3/properties/companies", {**PROPERTY, **body})
    assert created.status_code == 201
    assert hubspot.get("/crm/v3/properties/companies/our_ref").json()["hasUniqueValue"] is True
    assert upsert(hubspot, ("our_ref", "1", {"name": "Acme"})).json()["results"][0]["new"] is True


def test_an_archived_company_vanishes(hubspot: Vendor):
    company = create(hubspot, domain="acme.com", firstvalue_reference="ref-1")
    assert hubspot("DELETE", f"{COMPANIES}/{company}").status_code == 204
    assert hubspot.get(f"{COMPANIES}/{company}").status_code == 404
    assert hubspot.get(f"{COMPANIES}/ref-1", idProperty="firstvalue_reference").status_code == 404
    assert found(hubspot, {"domain": "acme.com"}) == []


def test_an_association_shows_from_both_sides(hubspot: Vendor):
    company, contact = create(hubspot, domain="acme.com"), create(hubspot, CONTACTS, email="a@acme.com")
    path = f"/crm/v4/objects/contacts/{contact}/associations/default/companies/{company}"
    assert hubspot("PUT", path).status_code == 200
    for one, to, other in (
        (f"contacts/{contact}", "companies", company),
        (f"companies/{company}", "contacts", contact),
    ):
        results = hubspot.get(f"/crm/v4/objects/{one}/associations/{to}").json()["results"]
        assert [each["toObjectId"] for each in results] == [other]
        assert results[0]["associationTypes"][0]["typeId"] in (279, 280)


def test_an_association_in_the_create_takes_effect_or_nothing_does(hubspot: Vendor, control: SandboxControl):
    company = create(hubspot, domain="acme.com")

    def body(email: str, to: str) -> dict:
        types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]
        return {"properties": {"email": email}, "associations": [{"to": {"id": to}, "types": types}]}

    contact = hubspot.post(CONTACTS, body("a@acme.com", company)).json()["id"]
    assert hubspot.post(CONTACTS, body("b@acme.com", "404")).status_code == 400
    results = hubspot.get(f"/crm/v4/objects/companies/{company}/associations/contacts").json()["results"]
    assert [each["toObjectId"] for each in results] == [contact]
    assert control.counts()["vendors"]["hubspot"]["contacts"]["total"] == 1


def test_the_owner_of_a_deal_is_found(hubspot: Vendor, control: SandboxControl):
    (owner,) = control.seed("hubspot", "owners", [{"id": "789", "email": "kim@us.com", "firstName": "Kim"}])
    (company,) = control.seed("hubspot", "companies", [{"domain": "acme.com"}])
    deal = {"dealname": "Acme", "hubspot_owner_id": owner, "associations": {"companies": [company]}}
    (deal_id,) = control.seed("hubspot", "deals", [deal])
    read = hubspot.get(f"/crm/v3/objects/0-3/{deal_id}", properties="hubspot_owner_id", associations="companies").json()
    assert read["properties"]["hubspot_owner_id"] == owner
    assert read["associations"]["companies"]["results"][0]["id"] == company
    assert hubspot.get(f"/crm/v3/owners/{owner}").json()["firstName"] == "Kim"
    assert hubspot.get("/crm/v3/owners", email="kim@us.com").json()["results"][0]["id"] == owner
    assert found(hubspot, {"dealname": "Acme"}, path="/crm/v3/objects/deals") == [deal_id]


def test_a_create_needs_its_associations_though_there_be_none(hubspot: Vendor):
    assert hubspot.post(COMPANIES, {"properties": {"name": "Acme"}}).status_code == 400


@pytest.mark.parametrize(("path", "properties"), [(COMPANIES, {"phone": "1"}), (CONTACTS, {"phone": "1"})])
def test_a_new_object_needs_a_name(hubspot: Vendor, path: str, properties: dict[str, str]):
    assert hubspot.post(path, new(**properties)).status_code == 400


def test_a_merged_company_answers_as_the_survivor(hubspot: Vendor):
    one = create(hubspot, name="Acme", domain="acme.com")
    two = create(hubspot, name="Acme IO", domain="acme.io", country="DE", firstvalue_reference="ref-2")
    contact = create(hubspot, CONTACTS, email="a@acme.io")
    hubspot("PUT", f"/crm/v4/objects/companies/{two}/associations/default/contacts/{contact}")
    merged = hubspot.post(f"{COMPANIES}/merge", {"primaryObjectId": one, "objectIdToMerge": two})
    assert (merged.status_code, merged.json()["id"]) == (200, one)
    read = hubspot.get(
        f"{COMPANIES}/{two}", properties="domain,country,hs_additional_domains,hs_merged_object_ids"
    ).json()
    assert read["id"] == one
    assert read["properties"] == {
        "domain": "acme.com", "country": "DE", "hs_additional_domains": "acme.io", "hs_merged_object_ids": two,
    }  # fmt: skip
    assert found(hubspot, {"domain": "acme.io"}) == []
    batch = hubspot.post(
        f"{COMPANIES}/batch/read", {"inputs": [{"id": two}], "properties": [], "propertiesWithHistory": []}
    )
    assert (batch.status_code, batch.json()["results"]) == (207, [])
    results = hubspot.get(f"/crm/v4/objects/companies/{one}/associations/contacts").json()["results"]
    assert [each["toObjectId"] for each in results] == [contact]


def test_an_archived_company_is_read_where_it_is_asked_for(hubspot: Vendor):
    company = create(hubspot, domain="acme.com")
    assert hubspot.get(f"{COMPANIES}/{company}", archived="true").status_code == 404
    hubspot("DELETE", f"{COMPANIES}/{company}")
    read = hubspot.get(f"{COMPANIES}/{company}", archived="true").json()
    assert read["archived"] is True
    assert read["archivedAt"]


def test_a_deactivated_owner_is_listed_only_where_asked_for_and_owns_nothing_new(
    hubspot: Vendor, control: SandboxControl
):
    control.seed("hubspot", "owners", [{"id": "7", "email": "kim@us.com", "userId": 70, "archived": True}])
    assert hubspot.get("/crm/v3/owners/7").status_code == 404
    assert "7" not in [each["id"] for each in hubspot.get("/crm/v3/owners").json()["results"]]
    (told,) = hubspot.get("/crm/v3/owners", archived="true").json()["results"]
    assert (told["userId"], told["userIdIncludingInactive"], told["archived"]) == (None, 70, True)
    answer = hubspot.post(COMPANIES, new(name="Acme", hubspot_owner_id="7"))
    assert answer.json()["errors"][0]["code"] == "INVALID_OWNER_ID"


def test_a_user_is_no_owner(hubspot: Vendor, control: SandboxControl):
    control.seed("hubspot", "owners", [{"id": "7", "email": "kim@us.com", "userId": 70}])
    assert hubspot.get("/crm/v3/owners/70", idProperty="userId").json()["id"] == "7"
    assert hubspot.post(COMPANIES, new(name="Acme", hubspot_owner_id="70")).status_code == 400
    assert hubspot.post(COMPANIES, new(name="Acme", hubspot_owner_id="7")).status_code == 201


def test_a_won_deal_says_so_whatever_its_stage_is_called(hubspot: Vendor):
    deal = create(hubspot, DEALS, dealname="Acme", dealstage="closedwon")
    path = f"{DEALS}/{deal}"
    assert hubspot.get(path, properties="hs_is_closed_won").json()["properties"] == {"hs_is_closed_won": "true"}
    hubspot("PATCH", path, {"properties": {"dealstage": "closedlost"}})
    assert hubspot.get(path, properties="hs_is_closed_won").json()["properties"] == {"hs_is_closed_won": "false"}


@pytest.mark.parametrize(("status", "retry_after"), [(423, None), (477, "86400")])
def test_transient_refusal_has_hubspots_shape(
    hubspot: Vendor, control: SandboxControl, status: int, retry_after: str | None
):
    control.add_fault("hubspot", "error_before", status=status)
    answer = hubspot.post(COMPANIES, new(name="Acme"))
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)
    assert (answer.json()["status"], companies(control)) == ("error", 0)
    control.clear_faults()
    control.add_fault("hubspot", "error_before", status=status, retry_after=3)
    assert hubspot.post(COMPANIES, new(name="Acme")).headers["Retry-After"] == "3"


@pytest.mark.parametrize("status", [502, 504, 521, 524])
def test_gateway_errors_of_hubspot_are_not_json(hubspot: Vendor, control: SandboxControl, status: int):
    control.add_fault("hubspot", "error_before", status=status)
    assert "html" in hubspot.get("/account-info/v3/details").headers["Content-Type"]


def test_a_company_under_an_additional_domain_of_another_is_a_duplicate(hubspot: Vendor, control: SandboxControl):
    control.seed("hubspot", "companies", [{"name": "Acme", "domain": "acme.com", "hs_additional_domains": "acme.io"}])
    create(hubspot, name="Acme", domain="acme.io")
    assert control.duplicates() == 1


def test_every_answer_has_rate_limit_headers(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", rate_limit={"requests": 1, "seconds": 60})
    first, second = hubspot.get("/account-info/v3/details"), hubspot.get("/account-info/v3/details")
    assert first.headers["X-HubSpot-RateLimit-Max"] == "1"
    assert first.headers["X-HubSpot-RateLimit-Remaining"] == "0"
    assert first.headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "60000"
    assert second.status_code == 429
    assert (second.json()["errorType"], second.json()["policyName"]) == ("RATE_LIMIT", "TEN_SECONDLY_ROLLING")
    assert "Retry-After" not in second.headers


def test_a_body_that_is_not_json_is_a_400(hubspot: Vendor):
    answer = hubspot("POST", COMPANIES, data=b"{nonsense")
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_a_body_beyond_five_megabytes_is_a_413(hubspot: Vendor):
    answer = hubspot.session.post(
        hubspot.base + COMPANIES, headers={"Content-Length": str(6 * 1024 * 1024)}, data=b"", timeout=10
    )
    assert answer.status_code == 413


def test_a_wrong_token_is_hubspots_own_401(hubspot: Vendor, control: SandboxControl):
    control.set_tokens("hubspot", ["another"])
    answer = hubspot.get("/account-info/v3/details")
    assert answer.status_code == 401
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"
    control.set_tokens("hubspot", ["another", "sandbox-hubspot-token"])
    assert hubspot.get("/account-info/v3/details").status_code == 200


def test_a_nested_value_is_refused(hubspot: Vendor):
    answer = hubspot.post(COMPANIES, new(name={"first": "Acme"}))
    assert answer.status_code == 400
    assert json.loads(answer.text)["errors"][0]["code"] == "INVALID_VALUE"


def test_a_second_deal_of_one_transaction_is_a_duplicate(hubspot: Vendor, control: SandboxControl):
    create(hubspot, DEALS, firstvalue_reference="pay_1", firstvalue_transaction_id="pay_1")
    create(hubspot, DEALS, dealname="Another", firstvalue_transaction_id="pay_2")
    assert control.duplicates() == 0
    assert hubspot.post(DEALS, new(firstvalue_reference="pay_1")).status_code == 400
    create(hubspot, DEALS, firstvalue_transaction_id="pay_1")
    assert control.duplicates() == 1


def test_a_second_note_of_one_reference_is_a_duplicate(hubspot: Vendor, control: SandboxControl):
    for body in ("<p>Brief [1]</p><p>Reference: [pay_1]</p>", "<p>Reference: [pay_2]</p>", "Manual", "Manual"):
        create(hubspot, NOTES, hs_timestamp="1700000000000", hs_note_body=body)
    assert control.duplicates() == 0
    create(hubspot, NOTES, hs_timestamp="2026-11-22T10:00:00Z", hs_note_body="Changed<p>Reference: [pay_1]</p>")
    assert control.duplicates() == 1


def test_a_note_needs_a_time_and_fits_its_size(hubspot: Vendor):
    for properties in ({}, {"hs_timestamp": "soon"}, {"hs_timestamp": "1", "hs_note_body": "x" * 65_537}):
        assert hubspot.post(NOTES, new(**{"hs_note_body": "A", **properties})).status_code == 400


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"amount": "a lot"}, "INVALID_INTEGER"),
        ({"dealstage": "won"}, "INVALID_OPTION"),
        ({"firstvalue_status": "new"}, "PROPERTY_DOESNT_EXIST"),
    ],
)
def test_a_deal_keeps_to_its_properties(hubspot: Vendor, properties: dict[str, str], code: str):
    answer = hubspot.post(DEALS, new(**properties))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)


def test_a_batch_reads_what_is_there(hubspot: Vendor):
    notes = [create(hubspot, NOTES, hs_timestamp="1", hs_note_body=body) for body in ("A", "B")]
    query = {
        "properties": ["hs_note_body"],
        "propertiesWithHistory": [],
        "inputs": [{"id": each} for each in [*notes, "404"]],
    }
    answer = hubspot.post(f"{NOTES}/batch/read", query)
    body = answer.json()
    assert sorted(each["properties"]["hs_note_body"] for each in body["results"]) == ["A", "B"]
    assert (answer.status_code, body["errors"][0]["category"]) == (207, "OBJECT_NOT_FOUND")
    assert body["errors"][0]["context"] == {"ids": ["404"]}
    query["inputs"].pop()
    assert hubspot.post(f"{NOTES}/batch/read", query).status_code == 200
    del query["propertiesWithHistory"]
    assert hubspot.post(f"{NOTES}/batch/read", query).status_code == 400


def test_associations_page(hubspot: Vendor, control: SandboxControl):
    company = create(hubspot, domain="acme.com")
    seeds = [{"hs_note_body": "A", "associations": {"companies": [company]}} for _ in range(3)]
    notes = control.seed("hubspot", "notes", seeds)
    path = f"/crm/v4/objects/companies/{company}/associations/notes"
    first = hubspot.get(path, limit=2).json()
    second = hubspot.get(path, limit=2, after=first["paging"]["next"]["after"]).json()
    assert sorted(each["toObjectId"] for each in first["results"] + second["results"]) == sorted(notes)
    assert "paging" not in second


def test_a_removed_property_is_gone_and_its_name_is_free(hubspot: Vendor):
    path = "/crm/v3/properties/deals"
    assert hubspot("DELETE", f"{path}/firstvalue_reference").status_code == 204
    assert hubspot("DELETE", f"{path}/firstvalue_reference").status_code == 404
    assert hubspot.post(DEALS, new(firstvalue_reference="pay_1")).status_code == 400
    assert hubspot.post(path, {**PROPERTY, "name": "firstvalue_reference", "hasUniqueValue": True}).status_code == 201
