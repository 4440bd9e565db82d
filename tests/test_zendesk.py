"""Zendesk: organizations by our external id, and namesakes told apart by their domains."""

import time

import pytest

from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.providers import connector
from integrations.providers.base import Connector, CreateSafety, MatchKey
from integrations.providers.zendesk import Zendesk

pytestmark = pytest.mark.django_db(transaction=True)
ACME = {"name": "Acme", "domains": ["acme.com"]}
REFERENCE = "firstvalue:domain:acme.com"


def support(connection: Connection) -> Connector:
    return connector(connection, subject="step:1", deadline=time.monotonic() + 20)


def refused(call) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def test_an_organization_is_created_once_a_reference(zendesk, sandbox):
    made = [support(zendesk).create("organization", ACME, REFERENCE) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].url.endswith(f"/agent/organizations/{made[0].external_id}")
    (found,) = support(zendesk).find("organization", MatchKey("reference", REFERENCE.upper()))
    assert (found.external_id, found.conclusive) == (made[0].external_id, True)
    assert support(zendesk).get("organization", found.external_id) == found
    assert support(zendesk).kind("organization").safety is CreateSafety.UNIQUE_UPSERT


@pytest.mark.parametrize(("domain", "conclusive"), [("acme.com", True), ("other.com", False), ("", False)])
def test_a_namesake_counts_only_with_the_customers_domain(zendesk, sandbox, domain, conclusive):
    sandbox.seed("zendesk", "organizations", [{"name": "Acme", "domain_names": ["acme.com", "acme.de"]}])
    (found,) = support(zendesk).find("organization", MatchKey("name", "ACME", domain))
    assert found.conclusive is conclusive
    assert found.evidence["domains"] == "acme.com, acme.de"


def test_there_is_no_lookup_by_domain(zendesk, sandbox):
    sandbox.seed("zendesk", "organizations", [{"name": "Acme", "domain_names": ["acme.com"]}])
    assert support(zendesk).find("organization", MatchKey("domain", "acme.com")) == []


def test_a_taken_name_is_a_conflict(zendesk, sandbox):
    sandbox.seed("zendesk", "organizations", [{"name": "Acme"}])
    error = refused(lambda: support(zendesk).create("organization", ACME, REFERENCE))
    assert (error.kind, error.effect_possible) == (Kind.CONFLICT, False)
    assert [each.path for each in error.fields] == ["customer.legal_name"]


def test_other_refused_values_name_our_fields(zendesk):
    error = refused(lambda: support(zendesk).create("organization", {"name": ""}, REFERENCE))
    assert error.kind is Kind.INVALID
    assert [(each.name, each.path) for each in error.fields] == [("name", "customer.legal_name")]


def test_a_rate_limit_may_come_as_plain_text(zendesk, sandbox):
    sandbox.add_fault("zendesk", "rate_limit", retry_after=3)
    error = refused(lambda: support(zendesk).get("organization", "1"))
    assert (error.kind, error.retry_after, error.stop_and_queue) == (Kind.RATE_LIMIT, 3.0, False)


def test_too_many_jobs_are_not_waited_for(zendesk):
    error = support(zendesk).translate(429, {}, {"error": "TooManyJobs"})
    assert (error.kind, error.stop_and_queue) == (Kind.RATE_LIMIT, True)


def test_what_is_not_there_is_none(zendesk):
    assert support(zendesk).get("organization", "404") is None


def test_an_api_token_goes_with_its_users_email(zendesk):
    assert Zendesk.auth_headers(zendesk, "abc") == {"Authorization": "Bearer abc"}
    zendesk.options = {"email": "ops@acme.com"}
    assert Zendesk.auth_headers(zendesk, "abc") == {"Authorization": "Basic b3BzQGFjbWUuY29tL3Rva2VuOmFiYw=="}


def test_the_probe_says_who_we_are(zendesk):
    assert support(zendesk).probe() == "Zendesk user Firstvalue (admin)"
