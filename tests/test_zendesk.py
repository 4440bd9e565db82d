"""Zendesk: organizations by our external id, namesakes told apart by their domains, and users by their email."""

import json
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
JORDAN = {"name": "Jordan Lee", "email": "jordan@acme.com"}


def support(connection: Connection) -> Connector:
    return connector(connection, subject="step:1", deadline=time.monotonic() + 20)


def refused(call) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


@pytest.fixture
def acme(zendesk):
    return support(zendesk).create("organization", ACME, REFERENCE).external_id


def user(connection, organization, reference="firstvalue:user:1", **more):
    given = {**JORDAN, "organization_id": organization, **more}
    return support(connection).create("user", given, reference)


def in_organization(organization):
    return MatchKey("email", "Jordan@Acme.com", within=organization)


def organization_of(sandbox):
    (body,) = (each["body"] for each in sandbox.objects("zendesk", "users"))
    return str(body.get("organization_id") or "")


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
    assert [(each.name, each.path) for each in error.fields] == [("name", "")]
    assert "link that one by its id" in str(error)


def test_a_new_organization_beside_a_namesake_gets_the_name_for_that_case(zendesk, sandbox):
    sandbox.seed("zendesk", "organizations", [{"name": "Acme"}])
    given = {**ACME, "name_if_taken": "Acme (acme.com)"}
    made = [support(zendesk).create("organization", given, REFERENCE) for _ in range(2)]
    assert made[0] == made[1]
    names = [each["body"]["name"] for each in sandbox.objects("zendesk", "organizations")]
    assert names == ["Acme", "Acme (acme.com)"]


def test_a_namesake_comes_with_what_a_person_needs_to_judge_it(zendesk, sandbox):
    (acme,) = sandbox.seed("zendesk", "organizations", [{"name": "Acme"}])
    sandbox.seed("zendesk", "users", [{"name": "Jo", "email": "jo@acme.com", "organization_id": int(acme)}])
    (found,) = support(zendesk).find("organization", MatchKey("name", "Acme", "acme.com"))
    told = {"domains": "none", "external id": "none", "users": "1", "tickets": "0"}
    assert found.evidence.items() >= told.items()


def test_a_namesake_is_asked_about_also_where_its_users_cannot_be_counted(zendesk, sandbox):
    sandbox.seed("zendesk", "organizations", [{"name": "Acme"}])
    sandbox.add_fault("zendesk", "forbidden", path="*/related")
    (found,) = support(zendesk).find("organization", MatchKey("name", "Acme", "acme.com"))
    assert "users" not in found.evidence


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


def test_a_user_is_created_once_an_email_without_a_mail_to_them(zendesk, sandbox, acme):
    made = [user(zendesk, acme) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].url.endswith(f"/agent/users/{made[0].external_id}")
    (found,) = support(zendesk).find("user", in_organization(acme))
    assert (found.external_id, found.label, found.conclusive) == (made[0].external_id, "Jordan Lee", True)
    assert support(zendesk).get("user", found.external_id) == found
    assert support(zendesk).kind("user").safety is CreateSafety.UNIQUE_UPSERT
    sent = [json.loads(each["body"])["user"] for each in sandbox.requests("zendesk") if "users/create" in each["path"]]
    told = {"skip_verify_email": True, "role": "end-user", "external_id": "firstvalue:user:1"}
    assert all(each.items() >= told.items() for each in sent)
    assert len(sent) == 2


def test_only_the_exact_email_counts(zendesk, sandbox, acme):
    sandbox.seed("zendesk", "users", [{"name": "J", "email": "jordan@acme.com.au"}])
    assert support(zendesk).find("user", in_organization(acme)) == []
    assert support(zendesk).find("user", MatchKey("email", "", within=acme)) == []
    assert support(zendesk).get("user", "404") is None


@pytest.mark.parametrize(
    ("of", "role", "conclusive"),
    [
        ("nobody", "end-user", True),
        ("acme", "end-user", True),
        ("other", "end-user", False),
        ("nobody", "agent", False),
    ],
)
def test_somebody_elses_user_and_an_agent_are_left_to_a_person(zendesk, sandbox, acme, of, role, conclusive):
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": "Other"}])
    organization = {"nobody": None, "acme": int(acme), "other": int(other)}[of]
    sandbox.seed("zendesk", "users", [{**JORDAN, "organization_id": organization, "role": role}])
    (found,) = support(zendesk).find("user", in_organization(acme))
    assert found.conclusive is conclusive


def test_a_user_joins_an_organization_only_from_none(zendesk, sandbox, acme):
    (jordan,) = sandbox.seed("zendesk", "users", [JORDAN])
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": "Other"}])
    for _ in range(2):
        support(zendesk).associate("user", jordan, "organization", acme)
    assert organization_of(sandbox) == acme
    error = refused(lambda: support(zendesk).associate("user", jordan, "organization", other))
    assert (error.kind, [each.path for each in error.fields]) == (Kind.INVALID, ["users"])
    assert f"belongs to organization {acme}, not {other}" in error.message
    assert organization_of(sandbox) == acme
    assert len([each for each in sandbox.requests("zendesk") if each["method"] == "PUT"]) == 1
    gone = refused(lambda: support(zendesk).associate("user", "404", "organization", acme))
    assert gone.kind is Kind.NOT_FOUND


def test_users_and_organizations_change(zendesk, sandbox, acme):
    jordan = user(zendesk, acme).external_id
    for _ in range(2):
        support(zendesk).update("user", jordan, {"name": "Jordan Roe", "email": "other@acme.com"})
        support(zendesk).update("organization", acme, {"name": "", "domains": ["acme.com", "acme.de"]})
    found = support(zendesk).get("user", jordan)
    assert (found.label, found.evidence["email"]) == ("Jordan Roe", "jordan@acme.com")
    organization = support(zendesk).get("organization", acme)
    assert (organization.label, organization.evidence["domains"]) == ("Acme", "acme.com, acme.de")


@pytest.mark.parametrize("given", [{"email": "nonsense"}, {"name": ""}, {"organization_id": "404"}])
def test_a_refused_user_is_mended_among_the_users(zendesk, acme, given):
    error = refused(lambda: user(zendesk, acme, **given))
    assert (error.kind, [each.path for each in error.fields]) == (Kind.INVALID, ["users"])
