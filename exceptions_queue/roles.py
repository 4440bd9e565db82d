"""The groups and what each may do. Made after every migration, so that a fresh database has them."""

from typing import Any

from django.contrib.auth.models import Group, Permission, User

from exceptions_queue.models import Queue, Ticket
from onboarding.queues import QUEUES

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
    "finance": (*EVERYBODY, "view_unmatchedevent", "start_run", "cancel_run", "rollback_run", "skip_step", "apply_change"),
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


def queues_of(user: User) -> set[str]:
    return {name for name in user.groups.values_list("name", flat=True) if name in QUEUES}


def may(user: User, codename: str, ticket: Ticket) -> bool:
    """Whether this person may do this to this ticket: by permission, and because it is theirs, their queue's, or they lead.

    ``codename``: of this app, or with another's label before it.
    """
    if not user.is_active or not user.has_perm(codename if "." in codename else f"exceptions_queue.{codename}"):
        return False
    if user.is_superuser or ticket.owner_id == user.pk:
        return True
    mine = queues_of(user)
    return LEADS in mine or ticket.queue in mine
