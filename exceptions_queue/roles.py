"""Who acts, and the one rule for who may do what to which object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Prefetch, Q

from exceptions_queue.models import Ticket, is_unresolved
from integrations.models import Connection
from onboarding import audit
from onboarding.api.authentication import Caller
from onboarding.enums import Category, Scope
from onboarding.models import OnboardingTransaction, Step
from onboarding.queues import QUEUES

LEADS = "leads"


Subject = Ticket | OnboardingTransaction | Step | Connection | None
APPLY_CHANGE = "onboarding.apply_change"
SEE_PERSONAL = "onboarding.see_personal_data"
DECISIONS = (Category.APPROVAL_OVERDUE,)
"""What a run's own ticket is about when the run as a whole is in the hands of the ticket's owners."""
ABOUT_DATA = (*DECISIONS, Category.MISSING_DATA)


@dataclass(frozen=True)
class SystemGrant:
    """What Firstvalue itself does: everything, and only where code says so by handing this over."""


Grant = User | Scope | SystemGrant


@dataclass(frozen=True)
class Actor:
    """Who acts, as audit entries name them, and what allows it: a person, an API key's scope, or the system's own grant."""

    name: str
    grant: Grant

    @classmethod
    def of(cls, who: User | Caller) -> "Actor":
        if isinstance(who, Caller):
            return cls(who.actor, who.scope)
        return cls(who.get_username(), who)

    @classmethod
    def system(cls, name: str = audit.SYSTEM) -> "Actor":
        return cls(name, SystemGrant())

    @property
    def is_person(self) -> bool:
        return isinstance(self.grant, User)

    def may(self, permission: str, *subjects: Subject) -> bool:
        return all(may(self.grant, permission, subject) for subject in subjects)


def may(grant: Grant | AnonymousUser | None, permission: str, subject: Subject) -> bool:
    """Whether this grant allows it for this object: the one rule of the ticket, the run's page, bulk actions, links and the API.

    A person needs the permission. What an open ticket is about is besides in the hands of the ticket's owner, its queue and the
    leads: a ticket itself; a step or a connection that has one; a run that somebody is to decide about, and the data of a run that
    somebody was asked for. The rest of a run follows the permission alone. An API key with the scope ``operate`` may do everything,
    one with another scope none of it. Nobody and nothing else is allowed anything.

    ``permission``: a codename of this app, or of another with that app's label before it. ``subject``: None for what concerns no
    object that there is yet, such as starting a run.
    """
    match grant:
        case SystemGrant():
            return True
        case Scope():
            return grant == Scope.OPERATE
        case User():
            return _person_may(grant, permission, subject)
    return False


def _person_may(user: User, permission: str, subject: Subject) -> bool:
    full = permission if "." in permission else f"exceptions_queue.{permission}"
    if not user.is_active or not user.has_perm(full):
        return False
    if user.is_superuser:
        return True
    holding = _holding(full, subject)
    return not holding or any(is_of(user, ticket) for ticket in holding)


def is_of(user: User, ticket: Ticket) -> bool:
    """Whether the ticket is this person's to work on: given to them, their queue's, or they lead."""
    if user.is_superuser or ticket.owner_id == user.pk:
        return True
    queues = queues_of(user)
    return LEADS in queues or ticket.queue in queues


def of(user: User) -> Q:
    """The same as a condition on tickets."""
    queues = queues_of(user)
    if user.is_superuser or LEADS in queues:
        return Q()
    return Q(queue__in=queues) | Q(owner=user)


def queues_of(user: User) -> set[str]:
    """Asked once for each request's user, as Django does with permissions."""
    known: set[str] | None = getattr(user, "_queues", None)
    if known is None:
        known = {name for name in user.groups.values_list("name", flat=True) if name in QUEUES}
        user._queues = known  # type: ignore[attr-defined]
    return known


def with_tickets() -> "Prefetch[str, Any, str]":
    """For a list of steps, so that ``may`` asks nothing more for each of them."""
    return Prefetch("tickets", queryset=Ticket.objects.unresolved(), to_attr="open_tickets")


def decisions(permission: str = "") -> Q:
    """The tickets in whose hands a run as a whole is. Whoever may apply changes may decide about one that was asked for."""
    return is_unresolved() & Q(
        step=None,
        change_request=None,
        category__in=ABOUT_DATA if permission == APPLY_CHANGE else DECISIONS,
    )


def _holding(permission: str, subject: Subject) -> Sequence[Ticket]:
    """The open tickets in whose owners' hands the subject is: each of them may act, where there are several topics."""
    match subject:
        case Ticket():
            return [subject]
        case Step():
            known: list[Ticket] | None = getattr(subject, "open_tickets", None)
            return list(subject.tickets.unresolved()) if known is None else known
        case Connection():
            return list(subject.tickets.unresolved())
        case OnboardingTransaction():
            return list(subject.tickets.filter(decisions(permission)))
    return []
