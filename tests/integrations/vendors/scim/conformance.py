"""SCIM's objects, for the conformance suite."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import IdentityGroup, IdentityUser, VendorObject
from tests.integrations.vendors.conformance import Bench, Case

EMAIL = "jordan@acme-logistics.com"


def group(_: Bench, name: str) -> IdentityGroup:
    return IdentityGroup(name=name)


def user(_: Bench, name: str) -> IdentityUser:
    first, _, last = name.partition(" ")
    return IdentityUser(email=EMAIL, name=name, first_name=first, last_name=last)


def group_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, IdentityGroup)
    return MatchKey("reference", reference, made.name), MatchKey("name", made.name)


def user_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, IdentityUser)
    return MatchKey("reference", reference, made.email), MatchKey("email", made.email)


def a_group(bench: Bench) -> tuple[str, str]:
    return "group", bench.create(IdentityGroup(name="Acme Logistics"), "firstvalue:the-users-group")


CASES = [
    Case(
        "scim", "group", "Groups", group, group_keys,
        change=IdentityGroup(name="Acme Renamed"),
        shows=lambda body: body["displayName"] == "Acme Renamed",
        others=lambda number: {"displayName": f"Acme Logistics {number}", "externalId": f"other:{number}"},
    ),
    Case(
        "scim", "user", "Users", user, user_keys,
        change=IdentityUser(name="Jordan Roe"),
        shows=lambda body: body["displayName"] == "Jordan Roe",
        ties=a_group,
        others=lambda number: {"userName": f"other-{number}@acme-logistics.com", "externalId": f"other:{number}"},
        is_kept=lambda body: body["active"],
    ),
]  # fmt: skip
