"""The permission matrix: the groups, and what each may do.

What an action needs, and who has it, stands in the action's declaration; here is the rest: what people see and set up. Groups are
made after every migration, so that a fresh database has them.
"""

from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import Permission as Row
from django.contrib.contenttypes.models import ContentType

from exceptions_queue.models import Queue, Ticket
from exceptions_queue.runs.actions import ACTIONS as RUN_ACTIONS
from exceptions_queue.tickets.actions import ACTIONS
from exceptions_queue.tickets.declaration import Permission
from onboarding.queues import QUEUES

EVERYBODY = (
    "view_ticket",
    "view_ticketnote",
    "view_onboardingtransaction",
    "view_step",
    "view_slaclock",
    "view_scheduledmail",
)
BESIDES_ACTIONS: dict[str, tuple[str, ...]] = {
    "sales-ops": (*EVERYBODY, "see_personal_data", "start_run", "apply_change"),
    "support-ops": (*EVERYBODY, "see_personal_data"),
    "revenue-operations": (
        *EVERYBODY, "see_personal_data",
        "view_connection", "add_connection", "change_connection", "test_connection", "enter_credentials", "use_sandbox",
        "view_webhookendpoint", "operate_webhookendpoint",
        "view_apicall", "view_inboundevent", "view_unmatchedevent",
        "view_planprice", "add_planprice", "change_planprice", "delete_planprice",
        "view_crmowner", "add_crmowner", "change_crmowner", "delete_crmowner", "view_auditentry",
        "view_implementationowner", "add_implementationowner", "change_implementationowner", "delete_implementationowner",
        "start_run", "apply_change",
    ),
    "finance": (*EVERYBODY, "view_unmatchedevent", "start_run", "apply_change"),
    "leads": (
        *EVERYBODY, "see_personal_data", "view_auditentry", "view_unmatchedevent", "view_queue", "change_queue", "view_alert",
        "view_crmowner", "add_crmowner", "change_crmowner", "delete_crmowner",
        "view_implementationowner", "add_implementationowner", "change_implementationowner", "delete_implementationowner",
        "use_sandbox", "start_run", "apply_change",
    ),
}  # fmt: skip


def of_actions() -> dict[str, Permission]:
    """The actions' permissions by codename; several actions may need the same one."""
    declared = [action.permission for action in ACTIONS.values()] + [each.permission for each in RUN_ACTIONS.values()]
    return {permission.codename: permission for permission in declared}


def matrix() -> dict[str, frozenset[str]]:
    """Group: the codenames that it has, without the app's label."""
    granted = of_actions().values()
    return {
        group: frozenset(besides) | {each.codename.rpartition(".")[2] for each in granted if group in each.granted}
        for group, besides in BESIDES_ACTIONS.items()
    }


def establish(**_: Any) -> None:
    """Create the groups, their permissions and the queues. Permissions that an administrator added to a group stay."""
    ticket = ContentType.objects.get_for_model(Ticket)
    for each in of_actions().values():
        if each.is_own:
            Row.objects.get_or_create(content_type=ticket, codename=each.codename, defaults={"name": each.name})
    codenames = matrix()
    for slug in QUEUES:
        Queue.objects.get_or_create(slug=slug)
        group, _created = Group.objects.get_or_create(name=slug)
        group.permissions.add(*Row.objects.filter(codename__in=codenames[slug]))
