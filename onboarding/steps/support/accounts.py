"""Support steps: the customer's organization at the help desk, and its users."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from integrations.connectors.base import Connector, MatchKey
from integrations.connectors.objects import SupportOrganization, SupportUser, SupportUserItem, SupportUsers
from integrations.enums import System
from onboarding.models import MatchChoice
from onboarding.payload.plausibility import customer_domain
from onboarding.steps.base import CustomerHandler, EnsureHandler, Facts, bounded
from onboarding.steps.people import READS, people
from onboarding.steps.registry import register
from onboarding.steps.tables import Table


@register
class Organization(CustomerHandler):
    name = "support.organization"
    system = System.SUPPORT
    title = "find or create the support organization"
    makes, kind = SupportOrganization, SupportOrganization.KIND
    paths = {"name": "customer.legal_name", "domains": "customer.domain"}
    reads = ("customer.legal_name", "customer.domain", "customer.no_domain", "commercial.billing_email")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        # The help desk keeps names unique, so a namesake is found here or met as a conflict; its domain decides whose it is.
        name, domain = facts.get("customer.legal_name"), customer_domain(facts.content)
        return [MatchKey("reference", reference), MatchKey("name", name, domain)]

    def wanted(self, facts: Facts) -> SupportOrganization:
        wanted = self._as_it_is(facts)
        return replace(wanted, name_if_taken=self.name_if_taken(facts)) if self._is_to_be_new(facts) else wanted

    def name_if_taken(self, facts: Facts) -> str:
        apart = customer_domain(facts.content) or facts.get("commercial.billing_email")
        return f"{facts.get('customer.legal_name')} ({apart or facts.run_id})"

    def _is_to_be_new(self, facts: Facts) -> bool:
        """A person has seen who holds the name, and said that it is another customer."""
        chosen = MatchChoice.objects.filter(kind=self.kind, match_key=self.match_key(facts))
        return chosen.filter(external_id="", connection__system=self.system).exists()

    def state(self, facts: Facts) -> dict[str, Any]:
        """Without the name for when its own is taken: that is for making it."""
        return self._as_it_is(facts).given()

    @staticmethod
    def _as_it_is(facts: Facts) -> SupportOrganization:
        domain = customer_domain(facts.content)
        return SupportOrganization(name=facts.get("customer.legal_name"), domains=[domain] if domain else [])

    def changes(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """With the domains that are the customer's no more: others that somebody listed at the help desk stay."""
        changed = super().changes(before, now)
        return changed | {"former_domains": before.get("domains", [])} if "domains" in changed else changed


class UsersOptions(Table):
    bulk_from: Annotated[int, Field(ge=2)] | None = None
    """So many people, or more, are made by the help desk's bulk jobs; None: each by itself, however many."""


@register
class Users(EnsureHandler):
    """The people who may ask for help: the contact, and everybody under ``users`` with an address; one an item.

    In bulk there is one call for up to ``most_at_once`` of them: each was looked for before, one search a person.
    """

    name = "support.users"
    system = System.SUPPORT
    title = "find or create the support users"
    makes, kind = SupportUser, SupportUser.KIND
    makes_several = True
    shared = True
    needs = ("support.organization",)
    reads = READS
    most_at_once = 25

    def check_options(self, options: Mapping[str, Any]) -> None:
        UsersOptions.of(options)

    def items(self, facts: Facts) -> list[str]:
        return [""] if self._is_in_bulk(facts) else list(people(facts))

    def parts(self, facts: Facts) -> list[str] | None:
        return list(people(facts)) if self._is_in_bulk(facts) else None

    @staticmethod
    def _is_in_bulk(facts: Facts) -> bool:
        bulk_from = facts.options.get("bulk_from")
        return bulk_from is not None and len(people(facts)) >= bulk_from

    def label(self, facts: Facts) -> str:
        return self._person(facts)["email"] if facts.item else ""

    def match_key(self, facts: Facts) -> str:
        return bounded(f"email:{self._person(facts)['email']}" if facts.item else f"users:{facts.run_id}")

    def reference(self, facts: Facts) -> str:
        return f"firstvalue:user:{facts.item}" if facts.item else bounded(f"firstvalue:users:{facts.run_id}")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        if not facts.item:
            return []
        organization = facts.related["support.organization"]
        by_email = MatchKey("email", self._person(facts)["email"], within=organization)
        # The references of many are looked for at once; of one the address says as much.
        return (
            [MatchKey("reference", reference, within=organization), by_email] if self._is_in_bulk(facts) else [by_email]
        )

    def wanted(self, facts: Facts) -> SupportUser | SupportUsers:
        organization = facts.related["support.organization"]
        if not facts.item:
            items = [self._item(replace(facts, item=key)) for key in people(facts)]
            return SupportUsers(organization_id=organization, items=items)
        person = self._person(facts)
        return SupportUser(name=person["name"], email=person["email"], organization_id=organization)

    def restored(self, params: Mapping[str, Any]) -> SupportUser | SupportUsers:
        return SupportUsers.of(params) if "items" in params else SupportUser.of(params)

    def part_params(self, facts: Facts) -> dict[str, Any]:
        return dict(self._item(facts))

    def _item(self, facts: Facts) -> SupportUserItem:
        person = self._person(facts)
        return {"key": facts.item, "reference": self.reference(facts), "name": person["name"], "email": person["email"]}

    def path_of(self, field: str) -> str:  # noqa: ARG002
        """Whatever it is of a user, it is fixed in the list of users."""
        return "users"

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        connector.associate("user", external_id, "organization", facts.related["support.organization"])

    def _person(self, facts: Facts) -> dict[str, str]:
        return people(facts)[facts.item]
