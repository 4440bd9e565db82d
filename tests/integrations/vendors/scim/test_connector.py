"""SCIM: what servers do differently, and what becomes of users whom somebody deactivated."""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.connectors.base import Connector, MatchKey
from integrations.connectors.objects import IdentityGroup, IdentityUser
from integrations.errors import Kind, ProviderError
from integrations.sandbox.control import SandboxControl
from integrations.vendors.scim import patches
from integrations.vendors.scim.schemas import Page, User
from tests.integrations.vendors.conformance import Bench

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
REFERENCE = "firstvalue:user:1"
JORDAN = IdentityUser(email="jordan@acme.com", name="Jordan Lee", first_name="Jordan", last_name="Lee")
ACME = IdentityGroup(name="Acme")
GROUP_REFERENCE = "firstvalue:domain:acme.com"


@pytest.fixture
def bench(sandbox: SandboxControl) -> Bench:
    return Bench("scim", sandbox)


def with_options(bench: Bench, **options: str) -> Connector:
    bench.connection.options = options
    bench.connection.save()
    return bench.connector()


def differs(bench: Bench, *names: str) -> None:
    bench.sandbox.configure("scim", differs=list(names))


def refused(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def ids(bench: Bench, kind: str, *key: str) -> list[str]:
    return [each.external_id for each in bench.connector().find(kind, MatchKey(*key))]


def life(bench: Bench, **options: str) -> None:
    """A user and a group from the create to the undo, with the members between them."""
    here = with_options(bench, **options)
    group = bench.create(ACME, GROUP_REFERENCE)
    made = bench.create(JORDAN, REFERENCE)
    assert (
        ids(bench, "user", "reference", REFERENCE, JORDAN.email) == ids(bench, "user", "email", JORDAN.email) == [made]
    )
    assert ids(bench, "group", "reference", GROUP_REFERENCE, ACME.name) == [group]
    here.update(made, IdentityUser(name="Jordan Roe", last_name="Roe"))
    body = bench.bodies("Users")[made]
    assert (body["displayName"], body["name"]) == ("Jordan Roe", {"givenName": "Jordan", "familyName": "Roe"})
    other = bench.create(IdentityUser(email="sam@acme.com"), "firstvalue:user:2")
    for each in (made, other, made):
        here.associate("user", each, "group", group)
    assert bench.bodies("Groups")[group]["members"] == [{"value": made}, {"value": other}]
    here.update(group, IdentityGroup(former_members=[made]))
    assert bench.bodies("Groups")[group]["members"] == [{"value": other}]
    here.undo("user", made)
    assert bench.bodies("Users")[made]["active"] is False
    assert ids(bench, "user", "email", JORDAN.email) == []
    assert bench.create(JORDAN, REFERENCE) == made
    assert bench.bodies("Users")[made]["active"] is True
    here.undo("group", group)
    assert bench.bodies("Groups") == {}


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ((), {}),
        (("okta", "numeric-status", "not-found-when-empty"), {"patch_form": "okta"}),
        (("entra", "cursors", "no-content"), {"patch_form": "entra"}),
        (("no-external-id-filter", "no-content", "no-config"), {}),
    ],
    ids=lambda given: "-".join(given) or "standard",
)
def test_servers_that_differ_are_served_alike(bench: Bench, names: tuple[str, ...], options: dict[str, str]) -> None:
    differs(bench, *names)
    life(bench, **options)
    assert bench.connector().probe().startswith("SCIM server 127.0.0.1 with ")


def test_another_form_of_patch_is_refused_and_nothing_changes(bench: Bench) -> None:
    made = bench.create(JORDAN, REFERENCE)
    before = bench.bodies("Users")[made]
    for name, form in (("entra", "standard"), ("okta", "entra")):
        differs(bench, name)
        error = refused(lambda form=form: with_options(bench, patch_form=form).undo("user", made))  # type: ignore[misc]
        assert error.kind is Kind.INVALID
        assert made in error.message
        assert bench.bodies("Users")[made] == before


def test_a_server_that_keeps_external_ids_fixed_leaves_the_user_to_a_person(bench: Bench) -> None:
    made = bench.create(JORDAN, REFERENCE)
    differs(bench, "fixed-external-id")
    bench.connector().undo("user", made)
    body = bench.bodies("Users")[made]
    assert (body["active"], body["externalId"]) == (False, REFERENCE)
    (found,) = bench.connector().find("user", MatchKey("reference", REFERENCE))
    assert found.inactive == "deactivated"
    error = refused(lambda: bench.create(JORDAN, REFERENCE))
    assert (error.kind, error.existing_id) == (Kind.CONFLICT, made)
    assert bench.bodies("Users")[made]["active"] is False


def test_a_user_whom_somebody_deactivated_is_inactive_and_stays_so(bench: Bench) -> None:
    (seeded,) = bench.sandbox.seed(
        "scim", "Users", [{"userName": "Jordan@acme.com", "active": False, "externalId": "x:deactivated"}]
    )
    (found,) = bench.connector().find("user", MatchKey("email", JORDAN.email))
    assert (found.external_id, found.inactive) == (seeded, "deactivated")
    assert bench.connector().get("user", seeded) is not None
    bench.connector().undo("user", seeded)
    error = refused(lambda: bench.create(JORDAN, REFERENCE))
    assert (error.kind, error.existing_id, error.existing_by) == (Kind.CONFLICT, seeded, "email")
    assert "Jordan@acme.com" in error.message
    body = bench.bodies("Users")[seeded]
    assert (body["active"], body["externalId"]) == (False, "x:deactivated")


def test_another_clients_external_id_is_never_overwritten(bench: Bench) -> None:
    (seeded,) = bench.sandbox.seed("scim", "Users", [{"userName": JORDAN.email, "active": True, "externalId": "hr-1"}])
    bench.connector().undo("user", seeded)
    body = bench.bodies("Users")[seeded]
    assert (body["active"], body["externalId"]) == (False, "hr-1")


@pytest.mark.parametrize(
    ("emails", "conclusive"),
    [([], True), (["JORDAN@acme.com"], True), (["x@acme.com", "jordan@acme.com"], True), (["x@acme.com"], False)],
)
def test_a_user_of_that_name_with_other_addresses_is_for_a_person(
    bench: Bench, emails: list[str], conclusive: bool
) -> None:
    seed = {"userName": JORDAN.email, "active": True, "emails": [{"value": each} for each in emails]}
    bench.sandbox.seed("scim", "Users", [seed])
    (found,) = bench.connector().find("user", MatchKey("email", JORDAN.email))
    assert found.conclusive is conclusive
    assert refused(lambda: bench.create(JORDAN, REFERENCE)).existing_by == ("email" if conclusive else "")


def test_many_namesakes_are_read_to_the_end(bench: Bench) -> None:
    for names in ([], ["cursors"]):
        bench.sandbox.reset()
        seeded = bench.sandbox.seed("scim", "Groups", [{"displayName": "ACME"}] * 230)
        bench.sandbox.configure("scim", differs=names)
        assert sorted(ids(bench, "group", "name", "Acme")) == sorted(seeded)


def test_members_come_in_batches(bench: Bench) -> None:
    people = [{"userName": f"user-{number}@acme.com", "active": True} for number in range(230)]
    seeded = bench.sandbox.seed("scim", "Users", people)
    group = bench.create(ACME, GROUP_REFERENCE)
    bench.connector().update(group, IdentityGroup(members=seeded))
    assert [each["value"] for each in bench.bodies("Groups")[group]["members"]] == seeded
    sent = [each for each in bench.sandbox.requests("scim") if each["method"] == "PATCH"]
    assert [each["body"].count('"value": "') for each in sent] == [100, 100, 30]
    with pytest.raises(ValueError, match="members"):
        bench.create(IdentityGroup(name="Beta", members=seeded[:1]))


def test_a_refused_attribute_names_our_field(bench: Bench) -> None:
    error = refused(lambda: bench.create(IdentityUser(email=" ", name="Jordan"), REFERENCE))
    assert (error.kind, [each.field for each in error.fields]) == (Kind.INVALID, ["email"])


def test_a_filter_is_spelled_in_one_way_and_percent_encoded(bench: Bench) -> None:
    ids(bench, "user", "email", 'a"b\\c+d@acme.com')
    (asked,) = bench.sandbox.requests("scim")
    assert "filter=userName%20eq%20%22a%5C%22b%5C%5Cc%2Bd%40acme.com%22" in asked["path"]
    assert asked["user_agent"]


def test_a_group_that_is_gone_takes_no_members(bench: Bench) -> None:
    made = bench.create(JORDAN, REFERENCE)
    assert refused(lambda: bench.connector().associate("user", made, "group", "404")).kind is Kind.NOT_FOUND


@pytest.mark.parametrize(
    ("given", "active"),
    [({"active": "False"}, False), ({"ACTIVE": "true"}, True), ({"Active": None}, True), ({}, True), ({"active": False}, False)],
)  # fmt: skip
def test_booleans_may_be_text_and_names_of_any_case(given: dict[str, Any], active: bool) -> None:
    page = Page[User].model_validate({"resources": [{"ID": 7, "username": "a", **given}]})
    assert [(each.id, each.active) for each in page.resources] == [("7", active)]


def test_entras_form_says_booleans_as_text() -> None:
    assert patches.replace({"active": False, "name.givenName": "A"}, "entra")["Operations"] == [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Replace", "path": "name.givenName", "value": "A"},
    ]
    okta = patches.replace({"active": False, "name.givenName": "A"}, "okta")["Operations"]
    assert okta == [{"op": "replace", "value": {"active": False, "name": {"givenName": "A"}}}]


def test_what_has_no_end_is_not_taken_for_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.vendors.scim.connector.MOST_PAGES", 2)
    bench.sandbox.seed("scim", "Groups", [{"displayName": "Acme"}] * 90)
    assert refused(lambda: ids(bench, "group", "name", "Acme")).kind is Kind.MALFORMED
