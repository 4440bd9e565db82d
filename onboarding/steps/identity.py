"""Identity steps: the customer's group, and its users, who are members of it."""

from integrations.connectors.base import Connector, MatchKey
from integrations.connectors.objects import IdentityGroup, IdentityUser
from integrations.enums import System
from onboarding.steps.base import CustomerHandler, EnsureHandler, Facts, bounded
from onboarding.steps.people import READS, people
from onboarding.steps.registry import register


@register
class Group(CustomerHandler):
    name = "identity.group"
    system = System.IDENTITY
    title = "find or create the identity group"
    makes, kind = IdentityGroup, IdentityGroup.KIND
    paths = {"name": "customer.legal_name"}
    reads = ("customer.legal_name", "customer.domain", "customer.no_domain", "commercial.billing_email")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        name = facts.get("customer.legal_name")
        return [MatchKey("reference", reference, name), MatchKey("name", name)]

    def wanted(self, facts: Facts) -> IdentityGroup:
        return IdentityGroup(name=facts.get("customer.legal_name"))


@register
class Users(EnsureHandler):
    """The people who sign in: the contact, and everybody under ``users`` with an address; one an item."""

    name = "identity.users"
    system = System.IDENTITY
    title = "find or create the identity users"
    makes, kind = IdentityUser, IdentityUser.KIND
    makes_several = True
    shared = True
    needs = ("identity.group",)
    reads = READS

    def items(self, facts: Facts) -> list[str]:
        return list(people(facts))

    def label(self, facts: Facts) -> str:
        return self._person(facts)["email"]

    def match_key(self, facts: Facts) -> str:
        return bounded(f"email:{self._person(facts)['email']}")

    def reference(self, facts: Facts) -> str:
        return f"firstvalue:user:{facts.item}"

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        email = self._person(facts)["email"]
        return [MatchKey("reference", reference, email), MatchKey("email", email)]

    def wanted(self, facts: Facts) -> IdentityUser:
        person = self._person(facts)
        first, _, last = person["name"].partition(" ")
        return IdentityUser(email=person["email"], name=person["name"], first_name=first, last_name=last.strip())

    def path_of(self, field: str) -> str:  # noqa: ARG002
        """Whatever it is of a user, it is fixed in the list of users."""
        return "users"

    def associate(self, connector: Connector, external_id: str, facts: Facts) -> None:
        connector.associate("user", external_id, "group", facts.related["identity.group"])

    def _person(self, facts: Facts) -> dict[str, str]:
        return people(facts)[facts.item]
