"""Zendesk: organizations by our external id, namesakes told apart by their domains, and users by their email."""

import json
import time

import pytest

from integrations.connectors.base import Connector, CreateSafety, MatchKey
from integrations.connectors.objects import SupportOrganization, SupportTicket, SupportUser
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.vendors.zendesk.connector import Zendesk
from tests.integrations.sandbox.conftest import Vendor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
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
    return support(zendesk).create(SupportOrganization.of(ACME), REFERENCE).external_id


def user(connection, organization, reference="firstvalue:user:1", **more):
    given = {**JORDAN, "organization_id": organization, **more}
    return support(connection).create(SupportUser.of(given), reference)


def in_organization(organization):
    return MatchKey("email", "Jordan@Acme.com", within=organization)


def organization_of(sandbox):
    (body,) = (each["body"] for each in sandbox.objects("zendesk", "users"))
    return str(body.get("organization_id") or "")


def test_an_organization_is_created_once_a_reference(zendesk, sandbox):
    made = [support(zendesk).create(SupportOrganization.of(ACME), REFERENCE) for _ in range(2)]
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
    error = refused(lambda: support(zendesk).create(SupportOrganization.of(ACME), REFERENCE))
    assert (error.kind, error.effect_possible) == (Kind.CONFLICT, False)
    assert [(each.name, each.field) for each in error.fields] == [("name", "")]
    assert "link that one by its id" in str(error)


def test_a_new_organization_beside_a_namesake_gets_the_name_for_that_case(zendesk, sandbox):
    sandbox.seed("zendesk", "organizations", [{"name": "Acme"}])
    given = {**ACME, "name_if_taken": "Acme (acme.com)"}
    made = [support(zendesk).create(SupportOrganization.of(given), REFERENCE) for _ in range(2)]
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
    error = refused(lambda: support(zendesk).create(SupportOrganization(name=""), REFERENCE))
    assert error.kind is Kind.INVALID
    assert [(each.name, each.field) for each in error.fields] == [("name", "name")]


def test_a_rate_limit_may_come_as_plain_text(zendesk, sandbox):
    sandbox.add_fault("zendesk", "rate_limit", retry_after=3)
    error = refused(lambda: support(zendesk).get("organization", "1"))
    assert (error.kind, error.retry_after, error.stop_and_queue) == (Kind.RATE_LIMIT, 3.0, False)


def test_too_many_jobs_are_not_waited_for(zendesk):
    error = support(zendesk).translate(429, {}, {"error": "TooManyJobs"})
    assert (error.kind, error.stop_and_queue) == (Kind.RATE_LIMIT, True)


def test_what_is_not_there_is_none(zendesk):
    for name in ("404", "Novo Nordisk A/S", ".."):
        assert support(zendesk).get("organization", name) is None
        assert support(zendesk).get("user", name) is None


def test_an_api_token_goes_with_its_users_email(zendesk):
    assert Zendesk.auth_headers(zendesk, "abc") == {"Authorization": "Bearer abc"}
    zendesk.options = {"email": "ops@acme.com"}
    assert Zendesk.auth_headers(zendesk, "abc") == {"Authorization": "Basic b3BzQGFjbWUuY29tL3Rva2VuOmFiYw=="}


def test_an_api_token_does_everything_that_an_oauth_token_does(zendesk, sandbox):
    zendesk.options = {"email": "firstvalue@sandbox.example"}
    assert support(zendesk).probe() == "Zendesk user Firstvalue (admin)"
    acme = support(zendesk).create(SupportOrganization.of(ACME), REFERENCE).external_id
    jordan = user(zendesk, acme).external_id
    support(zendesk).update(jordan, SupportUser(name="Jordan Roe"))
    assert [each.label for each in support(zendesk).find("user", in_organization(acme))] == ["Jordan Roe"]
    support(zendesk).undo("user", jordan)
    support(zendesk).undo("organization", acme)
    assert left(sandbox) == (0, 0)
    zendesk.options = {"email": "nobody@sandbox.example"}
    assert refused(support(zendesk).probe).kind is Kind.AUTH


@pytest.mark.parametrize("asked", [None, 7])
def test_a_conflict_in_zendesks_database_is_waited_out(zendesk, sandbox, asked):
    sandbox.add_fault("zendesk", "error_before", status=409, retry_after=asked, count=1)
    error = refused(lambda: support(zendesk).create(SupportOrganization.of(ACME), REFERENCE))
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.TEMPORARY, asked or 1.0, False)
    assert support(zendesk).create(SupportOrganization.of(ACME), REFERENCE)


def test_other_conflict_is_not_transient(zendesk):
    assert not any(each.covers(409, {"error": "UpdateConflict"}) for each in Zendesk.temporary)


def test_a_busy_database_of_zendesks_says_how_long_to_wait(zendesk, sandbox):
    sandbox.add_fault("zendesk", "error_before", status=503, retry_after=7, count=1)
    error = refused(lambda: support(zendesk).create(SupportOrganization.of(ACME), REFERENCE))
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.SERVER, 7.0, True)


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


def test_suspended_user_is_found_but_inactive(zendesk, sandbox, acme):
    (jordan,) = sandbox.seed("zendesk", "users", [{**JORDAN, "suspended": True, "organization_id": int(acme)}])
    (found,) = support(zendesk).find("user", in_organization(acme))
    assert (found.external_id, found.inactive, found.evidence["state"]) == (jordan, "suspended", "suspended")
    assert support(zendesk).get("user", jordan) == found


def test_create_or_update_of_a_suspended_user_fails(zendesk, sandbox, acme):
    sandbox.seed("zendesk", "users", [{**JORDAN, "suspended": True}])
    error = refused(lambda: user(zendesk, acme))
    assert (error.kind, [each.name for each in error.fields]) == (Kind.INVALID, ["suspended"])
    assert "has suspended the user" in error.message


def test_a_deleted_user_can_still_be_named(zendesk, sandbox, acme):
    jordan = user(zendesk, acme).external_id
    assert support(zendesk).archived("user", jordan) is None
    somebody(sandbox, "DELETE", f"/users/{jordan}")
    assert support(zendesk).get("user", jordan) is None
    assert support(zendesk).archived("user", jordan).inactive == "deleted"
    assert support(zendesk).archived("user", "404") is None
    assert support(zendesk).archived("organization", acme) is None


def test_a_user_is_found_by_each_of_their_addresses(zendesk, sandbox, acme):
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": "Other"}])
    lee = {"name": "Lee", "email": "lee@acme.com", "secondary_emails": ["jordan@acme.com"]}
    (made,) = sandbox.seed("zendesk", "users", [{**lee, "organization_id": int(other)}])
    (found,) = support(zendesk).find("user", in_organization(acme))
    assert (found.external_id, found.conclusive) == (made, False)
    assert support(zendesk).find("user", MatchKey("email", "jordan@acme.org", within=acme)) == []


def test_a_user_joins_an_organization_only_from_none(zendesk, sandbox, acme):
    (jordan,) = sandbox.seed("zendesk", "users", [JORDAN])
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": "Other"}])
    for _ in range(2):
        support(zendesk).associate("user", jordan, "organization", acme)
    assert organization_of(sandbox) == acme
    error = refused(lambda: support(zendesk).associate("user", jordan, "organization", other))
    assert (error.kind, [each.name for each in error.fields]) == (Kind.INVALID, ["organization_id"])
    assert f"belongs to organization {acme}, not {other}" in error.message
    assert organization_of(sandbox) == acme
    assert len([each for each in sandbox.requests("zendesk") if each["method"] == "PUT"]) == 1
    gone = refused(lambda: support(zendesk).associate("user", "404", "organization", acme))
    assert gone.kind is Kind.NOT_FOUND


def test_users_and_organizations_change(zendesk, sandbox, acme):
    jordan = user(zendesk, acme).external_id
    for _ in range(2):
        support(zendesk).update(jordan, SupportUser(name="Jordan Roe", email="other@acme.com"))
        support(zendesk).update(acme, SupportOrganization(name="", domains=["acme.com", "acme.de"]))
    found = support(zendesk).get("user", jordan)
    assert (found.label, found.evidence["email"]) == ("Jordan Roe", "jordan@acme.com")
    organization = support(zendesk).get("organization", acme)
    assert (organization.label, organization.evidence["domains"]) == ("Acme", "acme.com, acme.de")


@pytest.mark.parametrize(
    ("given", "name"),
    [({"email": "nonsense"}, "email"), ({"name": ""}, "name"), ({"organization_id": "404"}, "organization")],
)
def test_a_refused_user_names_the_field(zendesk, acme, given, name):
    error = refused(lambda: user(zendesk, acme, **given))
    assert (error.kind, [each.name for each in error.fields]) == (Kind.INVALID, [name])


def test_a_merged_organization_answers_with_the_one_that_is_left(zendesk, sandbox, acme):
    winner, gone = sandbox.seed("zendesk", "organizations", [{"name": "Acme Group"}, {"name": "Acme Old"}])
    somebody(sandbox, "POST", f"/organizations/{acme}/merge", {"organization_merge": {"winner_id": int(winner)}})
    somebody(sandbox, "DELETE", f"/organizations/{gone}")
    left = support(zendesk).get("organization", acme)
    assert (left.external_id, left.label, left.evidence["domains"]) == (winner, "Acme Group", "acme.com")
    assert support(zendesk).get("organization", winner) == left
    assert support(zendesk).get("organization", gone) is None
    sandbox.add_fault("zendesk", "forbidden", path="*/merges")
    assert support(zendesk).get("organization", acme) is None


def test_an_entitlement_keeps_other_tags_and_names_a_field_that_is_not_there(zendesk, sandbox, acme):
    somebody(sandbox, "PUT", f"/organizations/{acme}", {"organization": {"tags": ["vip", "plan-pro"]}})
    wanted = SupportOrganization(tags=["Plan-Enterprise"], former_tags=["plan-pro", "plan-starter"], sla_tier="premium")
    for _ in range(2):
        support(zendesk).update(acme, wanted)
    (body,) = [each["body"] for each in sandbox.objects("zendesk", "organizations")]
    assert [each.lower() for each in body["tags"]] == ["vip", "plan-enterprise"]
    assert body["organization_fields"]["sla_tier"] == "premium"
    support(zendesk).update(acme, SupportOrganization(tags=[], former_tags=["plan-enterprise"]))
    (body,) = [each["body"] for each in sandbox.objects("zendesk", "organizations")]
    assert body["tags"] == ["vip"]
    zendesk.options = {"sla_tier_field": "tier"}
    error = refused(lambda: support(zendesk).update(acme, wanted))
    assert (error.kind, [each.name for each in error.fields]) == (Kind.INVALID, ["tier"])
    zendesk.options = {}
    error = refused(lambda: support(zendesk).update(acme, SupportOrganization(sla_tier="platinum")))
    assert (error.kind, [each.name for each in error.fields]) == (Kind.INVALID, ["sla_tier"])


def test_a_ticket_is_made_once_also_after_it_was_deleted(zendesk, sandbox, acme):
    user(zendesk, acme)
    wanted = SupportTicket(subject="Hello", organization_id=acme, requester=JORDAN["email"], tags=["Onboarding"])
    first = support(zendesk).create(wanted, REFERENCE)
    assert support(zendesk).create(wanted, REFERENCE) == first
    support(zendesk).undo("ticket", first.external_id)
    again = [support(zendesk).create(wanted, REFERENCE) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != first
    assert first.url.endswith(f"/agent/tickets/{first.external_id}")
    (body,) = [each["body"] for each in sandbox.objects("zendesk", "tickets")]
    assert (body["is_public"], body["tags"]) == (False, ["onboarding"])


# --- Undo -----------------------------------------------------------------------------------------------------------


def somebody(sandbox, method, path, body=None):
    """As an agent in Zendesk would."""
    vendor = Vendor(sandbox.base_url, "zendesk")
    answer = vendor(method, path, body)
    answer.raise_for_status()
    vendor.session.close()
    return answer


def left(sandbox):
    counted = sandbox.counts()["vendors"]["zendesk"]
    return counted["organizations"]["total"], counted["users"]["total"]


def test_undo_deletes_a_user_and_their_organization_however_often(zendesk, sandbox, acme):
    made = {"user": user(zendesk, acme).external_id, "organization": acme}
    for kind, remaining in (("user", (1, 0)), ("organization", (0, 0))):
        assert support(zendesk).reversible(kind)
        for _ in range(2):
            support(zendesk).undo(kind, made[kind])
            assert support(zendesk).get(kind, made[kind]) is None
            assert left(sandbox) == remaining
    assert support(zendesk).find("user", in_organization(acme)) == []


def test_a_deleted_user_is_still_readable_and_gone_nevertheless(zendesk, sandbox, acme):
    jordan = user(zendesk, acme).external_id
    somebody(sandbox, "DELETE", f"/users/{jordan}")
    assert somebody(sandbox, "GET", f"/users/{jordan}").json()["user"]["active"] is False
    assert support(zendesk).get("user", jordan) is None
    sandbox.add_fault("zendesk", "error_before", method="DELETE", status=422, count=1)
    support(zendesk).undo("user", jordan)
    assert user(zendesk, acme).external_id != jordan


def test_a_user_whom_we_only_matched_outlives_our_organization(zendesk, sandbox, acme):
    (jordan,) = sandbox.seed("zendesk", "users", [JORDAN])
    support(zendesk).associate("user", jordan, "organization", acme)
    support(zendesk).undo("organization", acme)
    assert left(sandbox) == (0, 1)
    assert organization_of(sandbox) == ""


def test_undo_of_a_missing_object_succeeds(zendesk, sandbox, acme):
    support(zendesk).undo("organization", "404")
    support(zendesk).undo("user", "404")
    assert left(sandbox) == (1, 0)


def test_a_user_with_an_open_ticket_stays_until_it_is_closed(zendesk, sandbox, acme):
    jordan = user(zendesk, acme).external_id
    content = {"requester_id": int(jordan), "comment": {"body": "Help"}}
    ticket = somebody(sandbox, "POST", "/tickets", {"ticket": content}).json()["ticket"]["id"]
    error = refused(lambda: support(zendesk).undo("user", jordan))
    assert (error.kind, error.fields) == (Kind.INVALID, [])
    reason = "Zendesk did not accept this: User: is the requester of a ticket that is not closed"
    assert error.message == f"The user {jordan} could not be deleted: {reason}"
    somebody(sandbox, "PUT", f"/tickets/{ticket}", {"ticket": {"status": "closed"}})
    support(zendesk).undo("user", jordan)
    assert left(sandbox) == (1, 0)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, Kind.FORBIDDEN, "Zendesk does not allow this: You do not have access to this page."),
        (422, Kind.INVALID, "Zendesk did not accept this: Something went wrong"),
    ],
)
def test_a_refused_undo_says_what_stays_and_why(zendesk, sandbox, acme, status, kind, words):
    sandbox.add_fault("zendesk", "error_before", method="DELETE", status=status, count=1)
    error = refused(lambda: support(zendesk).undo("organization", acme))
    assert (error.kind, error.effect_possible) == (kind, False)
    assert error.message == f"The organization {acme} could not be deleted: {words}"
    assert left(sandbox) == (1, 0)


@pytest.mark.parametrize("fault", ["error_after", "reset_after", "wrong_shape", "malformed"])
@pytest.mark.parametrize("kind", ["organization", "user"])
def test_undo_with_a_lost_answer_can_be_repeated(zendesk, sandbox, acme, kind, fault):
    made = {"organization": acme, "user": user(zendesk, acme).external_id}[kind]
    sandbox.add_fault("zendesk", fault, method="DELETE", count=1)
    assert refused(lambda: support(zendesk).undo(kind, made)).effect_possible
    support(zendesk).undo(kind, made)
    assert left(sandbox) == {"organization": (0, 1), "user": (1, 0)}[kind]


def test_undo_of_an_irreversible_kind_is_a_programming_error(zendesk):
    assert not support(zendesk).reversible("macro")
    with pytest.raises(TypeError, match="zendesk cannot undo a macro"):
        support(zendesk).undo("macro", "1")


def test_a_change_by_somebody_else_shows(zendesk, sandbox, acme):
    for kind, made in (("organization", acme), ("user", user(zendesk, acme).external_id)):
        before = support(zendesk).get(kind, made)
        assert before.changed_at.tzinfo
        assert support(zendesk).get(kind, made) == before
        somebody(sandbox, "PUT", f"/{kind}s/{made}", {kind: {"notes": "Called them."}})
        assert support(zendesk).get(kind, made).changed_at > before.changed_at
