"""The groups and what each may do, and the one rule for who may do what to which object.

Groups are made after every migration, so that a fresh database has them.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Prefetch, Q

from exceptions_queue.models import UNRESOLVED, Queue, Ticket
from integrations.models import Connection
from onboarding.models import OnboardingTransaction, Step
from onboarding.queues import QUEUES
from onboarding.words import Category, Scope

EVERYBODY = (
    "view_ticket",
    "view_ticketnote",
    "view_onboardingtransaction",
    "view_step",
    "view_slaclock",
    "note_ticket",
    "snooze_ticket",
    "retry_ticket",
)
ROLES: dict[str, tuple[str, ...]] = {
    "sales-ops": (
        *EVERYBODY, "fix_ticket", "choose_match_ticket", "see_personal_data", "start_run", "hold_run", "resend_welcome",
        "apply_change",
    ),
    "support-ops": (
        *EVERYBODY, "fix_ticket", "choose_match_ticket", "link_object_ticket", "see_personal_data", "hold_run", "replay_run",
        "skip_step", "resend_welcome",
    ),
    "revenue-operations": (
        *EVERYBODY, "fix_ticket", "choose_match_ticket", "link_object_ticket", "assign_ticket", "see_personal_data",
        "view_connection", "add_connection", "change_connection", "test_connection", "enter_credentials", "use_sandbox",
        "view_apicall", "view_inboundevent", "view_unmatchedevent",
        "view_planprice", "add_planprice", "change_planprice", "delete_planprice",
        "view_crmowner", "add_crmowner", "change_crmowner", "delete_crmowner", "view_auditentry",
        "view_implementationowner", "add_implementationowner", "change_implementationowner", "delete_implementationowner",
        "start_run", "hold_run", "replay_run", "skip_step", "unlink_object", "rollback_run", "apply_change",
    ),
    "finance": (
        *EVERYBODY, "view_unmatchedevent", "start_run", "hold_run", "cancel_run", "rollback_run", "skip_step", "apply_change",
    ),
    "leads": (
        *EVERYBODY, "fix_ticket", "choose_match_ticket", "assign_ticket", "see_personal_data", "view_auditentry",
        "view_unmatchedevent", "view_queue",
        "change_queue", "view_alert", "view_crmowner", "add_crmowner", "change_crmowner", "delete_crmowner",
        "view_implementationowner", "add_implementationowner", "change_implementationowner", "delete_implementationowner",
        "use_sandbox", "start_run", "hold_run", "cancel_run", "rollback_run", "replay_run", "skip_step", "unlink_object",
        "resend_welcome", "apply_change",
    ),
}  # fmt: skip
LEADS = "leads"


def establish(**_: Any) -> None:
    """Create the groups, their permissions and the queues. Permissions that an administrator added to a group stay."""
    for slug in QUEUES:
        Queue.objects.get_or_create(slug=slug)
        group, _created = Group.objects.get_or_create(name=slug)
        group.permissions.add(*Permission.objects.filter(codename__in=ROLES[slug]))


Subject = Ticket | OnboardingTransaction | Step | Connection | None
APPLY_CHANGE = "onboarding.apply_change"
DECISIONS = (Category.APPROVAL_OVERDUE,)
"""What a run's own ticket is about when the run as a whole is in the hands of the ticket's owners."""
ABOUT_DATA = (*DECISIONS, Category.MISSING_DATA)


def may(who: User | Scope, permission: str, subject: Subject) -> bool:
    """Whether somebody may do this to this object: the one rule of the ticket, the run's page, bulk actions, links and the API.

    A person needs the permission. What an open ticket is about is besides in the hands of the ticket's owner, its queue and the
    leads: a ticket itself; a step or a connection that has one; a run that somebody is to decide about, and the data of a run that
    somebody was asked for. The rest of a run follows the permission alone. An API key with the scope ``operate`` may do everything,
    one with another scope none of it.

    ``permission``: a codename of this app, or of another with that app's label before it. ``subject``: None for what concerns no
    object that there is yet, such as starting a run.
    """
    if isinstance(who, Scope):
        return who == Scope.OPERATE
    full = permission if "." in permission else f"exceptions_queue.{permission}"
    if not who.is_active or not who.has_perm(full):
        return False
    if who.is_superuser or (ticket := _holding(full, subject)) is None:
        return True
    return is_of(who, ticket)


def may_all(who: User | Scope, permission: str, subjects: Iterable[Subject]) -> bool:
    return all(may(who, permission, subject) for subject in subjects)


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
    return Prefetch("tickets", queryset=Ticket.objects.filter(status__in=UNRESOLVED), to_attr="open_tickets")


def decisions(permission: str = "") -> Q:
    """The tickets in whose hands a run as a whole is. Whoever may apply changes may decide about one that was asked for."""
    return Q(
        step=None,
        change_request=None,
        category__in=ABOUT_DATA if permission == APPLY_CHANGE else DECISIONS,
        status__in=UNRESOLVED,
    )


def _holding(permission: str, subject: Subject) -> Ticket | None:
    """The ticket in whose owners' hands the subject is."""
    match subject:
        case Ticket():
            return subject
        case Step():
            known: list[Ticket] | None = getattr(subject, "open_tickets", None)
            found = list(subject.tickets.filter(status__in=UNRESOLVED)) if known is None else known
            return found[0] if found else None
        case Connection():
            return subject.tickets.filter(status__in=UNRESOLVED).first()
        case OnboardingTransaction():
            return subject.tickets.filter(decisions(permission)).first()
    return None
