"""Names in place of ids wherever a person reads: of our people, of owners in the CRM and of implementation owners."""

from functools import cached_property

from django.contrib.auth.models import User
from django.db.models import F, Func, Value
from django.db.models.functions import Coalesce, Concat, NullIf

from exceptions_queue.models import CrmOwner
from onboarding.models import ImplementationOwner

MOST = 1000
CRM_OWNER, IMPLEMENTER = "ownership.crm_owner_id", "ownership.implementation_owner_id"


def full_name(prefix: str = "") -> Coalesce:
    """A user's name as a column of a list; the username where none is entered."""
    both = Func(Concat(F(f"{prefix}first_name"), Value(" "), F(f"{prefix}last_name")), function="TRIM")
    return Coalesce(NullIf(both, Value("")), F(f"{prefix}username"))


class Names:
    """For one page: each kind is read once, when it is first asked for. What is not known keeps its id."""

    @cached_property
    def people(self) -> dict[str, str]:
        return dict(User.objects.annotate(shown=full_name()).values_list("username", "shown")[:MOST])

    @cached_property
    def crm_owners(self) -> dict[str, str]:
        found = CrmOwner.objects.annotate(shown=full_name("user__"))
        return dict(found.values_list("crm_owner_id", "shown")[:MOST])

    @cached_property
    def implementers(self) -> dict[str, str]:
        return dict(ImplementationOwner.objects.values_list("external_id", "name")[:MOST])

    def person(self, username: str) -> str:
        return self.people.get(username, username) if username else ""

    def crm_owner(self, external_id: str) -> str:
        return self.crm_owners.get(external_id, external_id) if external_id else ""

    def implementer(self, external_id: str) -> str:
        return self.implementers.get(external_id, external_id) if external_id else ""

    def value(self, path: str, value: str) -> str:
        """A payload's value as people read it: an owner's name with the id that the payload has."""
        known = {CRM_OWNER: self.crm_owner, IMPLEMENTER: self.implementer}.get(path)
        name = known(value) if known else value
        return name if name == value else f"{name} ({value})"
