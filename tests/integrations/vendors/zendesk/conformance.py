"""Zendesk's objects, for the conformance suite."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import SupportOrganization, SupportTicket, SupportUser, VendorObject
from integrations.errors import Kind
from tests.integrations.vendors.conformance import Bench, Case

DOMAIN = "acme-logistics.com"
EMAIL = f"jordan@{DOMAIN}"
DATABASE_COLLISION = {409: Kind.TEMPORARY}
"""Zendesk's 409 is a collision in its database, which passes by itself."""


def organization(_: Bench, name: str) -> SupportOrganization:
    return SupportOrganization(name=name, domains=[DOMAIN])


def user(bench: Bench, name: str) -> SupportUser:
    within = bench.create(organization(bench, "Acme Logistics"), "firstvalue:the-users-organization")
    return SupportUser(name=name, email=EMAIL, organization_id=within)


def ticket(bench: Bench, name: str) -> SupportTicket:
    within = bench.create(organization(bench, "Acme Logistics"), "firstvalue:the-users-organization")
    requester = SupportUser(name="Jordan Lee", email=EMAIL, organization_id=within)
    bench.create(requester, "firstvalue:user:the-requester")
    return SupportTicket(
        subject=name, body="A new customer.", organization_id=within, requester=EMAIL, tags=["onboarding"]
    )


def organization_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, SupportOrganization)
    return MatchKey("reference", reference), MatchKey("name", made.name, DOMAIN)


def user_keys(made: VendorObject, _: str) -> Sequence[MatchKey]:
    assert isinstance(made, SupportUser)
    return (MatchKey("email", made.email, within=made.organization_id),)


def ticket_keys(_: VendorObject, reference: str) -> Sequence[MatchKey]:
    return (MatchKey("reference", reference),)


def organization_of(bench: Bench) -> tuple[str, str]:
    (held,) = bench.bodies("organizations")
    return "organization", held


CASES = [
    Case(
        "zendesk", "organization", "organizations", organization, organization_keys,
        change=SupportOrganization(name="Acme Renamed"),
        shows=lambda body: body["name"] == "Acme Renamed",
        error_kinds=DATABASE_COLLISION,
    ),
    Case(
        "zendesk", "user", "users", user, user_keys,
        change=SupportUser(name="Jordan Roe"),
        shows=lambda body: body["name"] == "Jordan Roe",
        ties=organization_of,
        error_kinds=DATABASE_COLLISION,
    ),
    Case(
        "zendesk", "ticket", "tickets", ticket, ticket_keys,
        change=SupportTicket(subject="Onboarding: Acme Renamed"),
        shows=lambda body: body["subject"] == "Onboarding: Acme Renamed",
        error_kinds=DATABASE_COLLISION,
    ),
]  # fmt: skip
