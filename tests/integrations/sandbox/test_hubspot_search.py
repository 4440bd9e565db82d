"""The HubSpot stand-in searches as HubSpot does: what is found, when, and how much of it is told."""

from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor, until
from tests.integrations.sandbox.hubspot_client import COMPANIES, create, found, search


def test_search_needs_all_five_keys(hubspot: Vendor):
    answer = hubspot.post(f"{COMPANIES}/search", {"filterGroups": []})
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_filters_narrow_within_a_group_and_groups_widen(hubspot: Vendor):
    one = create(hubspot, name="Acme", domain="acme.com", country="DE")
    two = create(hubspot, name="Acme", domain="acme.de")
    three = create(hubspot, name="Other", domain="other.com")
    assert found(hubspot, {"name": "acme"}) == [one, two]
    assert found(hubspot, {"name": "Acme", "country": "DE"}) == [one]
    assert found(hubspot, {"domain": "acme.de"}, {"domain": "other.com"}) == [two, three]


def test_search_pages(hubspot: Vendor):
    created = [create(hubspot, name="Acme") for _ in range(3)]
    first = search(hubspot, {"name": "Acme"}, limit=2)
    second = search(hubspot, {"name": "Acme"}, limit=2, after=first["paging"]["next"]["after"])
    assert first["total"] == 3
    assert [each["id"] for each in first["results"] + second["results"]] == created
    assert "paging" not in second


def test_search_never_sees_a_write_while_it_lags_for_ever(hubspot: Vendor, control: SandboxControl):
    old = create(hubspot, domain="old.com")
    control.configure("hubspot", search_lag="never")
    create(hubspot, domain="new.com")
    assert found(hubspot, {"domain": "old.com"}, {"domain": "new.com"}) == [old]


def test_search_sees_a_write_after_the_lag(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", search_lag=0.3)
    company = create(hubspot, domain="acme.com")
    assert found(hubspot, {"domain": "acme.com"}) == []
    assert until(lambda: found(hubspot, {"domain": "acme.com"})) == [company]


def test_lowered_lag_shows_pending_writes(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", search_lag="never")
    company = create(hubspot, domain="acme.com")
    control.configure("hubspot", search_lag=0)
    assert found(hubspot, {"domain": "acme.com"}) == [company]


def test_search_shows_the_old_values_of_a_changed_company(hubspot: Vendor, control: SandboxControl):
    company = create(hubspot, domain="old.com")
    control.configure("hubspot", search_lag="never")
    assert hubspot("PATCH", f"{COMPANIES}/{company}", {"properties": {"domain": "new.com"}}).status_code == 200
    assert found(hubspot, {"domain": "old.com"}) == [company]
    assert found(hubspot, {"domain": "new.com"}) == []
    control.configure("hubspot", search_lag=0)
    assert found(hubspot, {"domain": "old.com"}) == []
    assert found(hubspot, {"domain": "new.com"}) == [company]


def test_seeded_objects_are_found_whatever_the_lag(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", search_lag="never")
    assert found(hubspot, {"domain": "acme.com"}) == []
    assert control.seed("hubspot", "companies", [{"domain": "acme.com"}]) == found(hubspot, {"domain": "acme.com"})


def test_only_what_was_asked_for_is_told(hubspot: Vendor):
    company = create(hubspot, name="Acme", domain="acme.com", country="DE")
    defaults = {"name", "domain", "createdate", "hs_lastmodifieddate", "hs_object_id"}
    assert set(hubspot.get(f"{COMPANIES}/{company}").json()["properties"]) == defaults
    read = hubspot.get(f"{COMPANIES}/{company}", properties="country,colour").json()
    assert read["properties"] == {"country": "DE"}
    assert search(hubspot, {"domain": "acme.com"})["results"][0]["properties"] == {"name": "Acme"}
    changed = hubspot("PATCH", f"{COMPANIES}/{company}", {"properties": {"city": "Bonn"}}).json()["properties"]
    assert "city" in changed
    assert "country" not in changed


def test_an_additional_domain_is_found_by_its_tokens(hubspot: Vendor):
    company = create(hubspot, name="Acme", domain="acme.com", hs_additional_domains="acme.io;my-acme.de")
    create(hubspot, name="Other", domain="acme.io.example")

    def by_token(value: str) -> list[str]:
        given = {"propertyName": "hs_additional_domains", "operator": "CONTAINS_TOKEN", "value": value}
        body = {"filterGroups": [{"filters": [given]}], "properties": [], "limit": 10, "after": "0", "sorts": []}
        return [each["id"] for each in hubspot.post(f"{COMPANIES}/search", body).json()["results"]]

    assert by_token("acme.io") == by_token("my-acme.de") == by_token("*.de") == [company]
    assert by_token("acme.de") == [company]  # a part of my-acme.de: whoever asks compares
    assert by_token("acme.com") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"filterGroups": [{"filters": []}] * 6},
        {"filterGroups": [{"filters": [{"propertyName": "name", "operator": "HAS_PROPERTY"}] * 7}]},
        {"filterGroups": [{"filters": [{"propertyName": "name", "operator": "HAS_PROPERTY"}] * 5}] * 4},
        {"filterGroups": [{"filters": [{"propertyName": "colour", "operator": "HAS_PROPERTY"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "name", "operator": "LIKE", "value": "a"}]}]},
        {"limit": 201},
        {"limit": 200, "after": "9900"},
        {"sorts": ["name", "domain"]},
    ],
)
def test_a_search_keeps_to_its_limits(hubspot: Vendor, changes: dict[str, Any]):
    body = {"filterGroups": [], "properties": [], "limit": 10, "after": "0", "sorts": []}
    assert hubspot.post(f"{COMPANIES}/search", body).status_code == 200
    answer = hubspot.post(f"{COMPANIES}/search", {**body, **changes})
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


def test_values_of_in_are_compared_as_they_are(hubspot: Vendor):
    company = create(hubspot, name="Acme", domain="acme.com")

    def among(value: str) -> list[str]:
        given = {"propertyName": "domain", "operator": "IN", "values": [value]}
        body = {"filterGroups": [{"filters": [given]}], "properties": [], "limit": 10, "after": "0", "sorts": []}
        return [each["id"] for each in hubspot.post(f"{COMPANIES}/search", body).json()["results"]]

    assert among("acme.com") == [company]
    assert among("Acme.com") == []


def test_searches_have_a_limit_of_their_own_and_tell_nothing_of_it(hubspot: Vendor, control: SandboxControl):
    control.configure("hubspot", search_limit={"requests": 1, "seconds": 60})
    body = {"filterGroups": [], "properties": [], "limit": 10, "after": "0", "sorts": []}
    first, second = hubspot.post(f"{COMPANIES}/search", body), hubspot.post(f"{COMPANIES}/search", body)
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["policyName"] == "SECONDLY"
    assert not [name for name in {**first.headers, **second.headers} if "RateLimit" in name]
    assert hubspot.get("/account-info/v3/details").status_code == 200
