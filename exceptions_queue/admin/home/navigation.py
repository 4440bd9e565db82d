"""The sidebar: what this person may see, where they landed first."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse

from exceptions_queue.admin.sandbox.views import USE, is_here
from exceptions_queue.admin.tickets.filters import of_my_queues
from exceptions_queue.models import Ticket

Item = dict[str, Any]
SANDBOX = "sandbox"
"""The one entry that is no list of a model's; only where there is a sandbox."""
_MENU: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "Work",
        (
            ("Queue", "inbox", "exceptions_queue_ticket", "exceptions_queue.view_ticket"),
            ("Runs", "route", "onboarding_onboardingtransaction", "onboarding.view_onboardingtransaction"),
            ("Welcome mails", "schedule_send", "onboarding_scheduledmail", "onboarding.view_scheduledmail"),
            ("Connections", "cable", "integrations_connection", "integrations.view_connection"),
            ("Sandbox", "science", SANDBOX, USE),
        ),
    ),
    (
        "Set-up",
        (
            ("CRM owners", "badge", "exceptions_queue_crmowner", "exceptions_queue.view_crmowner"),
            (
                "Implementation owners",
                "engineering",
                "onboarding_implementationowner",
                "onboarding.view_implementationowner",
            ),
            ("Prices", "sell", "onboarding_planprice", "onboarding.view_planprice"),
            ("Queues", "groups", "exceptions_queue_queue", "exceptions_queue.view_queue"),
            (
                "Webhook endpoints",
                "webhook",
                "integrations_webhookendpoint",
                "integrations.view_webhookendpoint",
            ),
            ("API keys", "key", "onboarding_apikey", "onboarding.view_apikey"),
            ("Users", "person", "auth_user", "auth.view_user"),
            ("Groups", "group", "auth_group", "auth.view_group"),
        ),
    ),
    (
        "Evidence",
        (
            ("Inbound events", "move_to_inbox", "integrations_inboundevent", "integrations.view_inboundevent"),
            ("Unmatched events", "link_off", "onboarding_unmatchedevent", "onboarding.view_unmatchedevent"),
            ("API calls", "swap_horiz", "integrations_apicall", "integrations.view_apicall"),
            ("Audit", "history", "onboarding_auditentry", "onboarding.view_auditentry"),
            ("Alerts", "notifications", "exceptions_queue_alert", "exceptions_queue.view_alert"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """UNFOLD["SIDEBAR"]["navigation"]."""
    user = request.user
    home = {"title": "Home", "icon": "home", "link": reverse("admin:index")}
    groups: list[dict[str, Any]] = [{"separator": False, "items": [home]}]
    for title, entries in _MENU:
        items = [
            _item(label, icon, name, request)
            for label, icon, name, codename in entries
            if user.has_perm(codename) and (name != SANDBOX or is_here())
        ]
        if items:
            groups.append({"title": title, "separator": bool(groups), "items": items})
    return groups


def _item(label: str, icon: str, name: str, request: HttpRequest) -> Item:
    link = reverse(SANDBOX if name == SANDBOX else f"admin:{name}_changelist")
    item: Item = {"title": label, "icon": icon, "link": link}
    if name == "exceptions_queue_ticket" and isinstance(request.user, User):
        waiting = of_my_queues(Ticket.objects.unresolved(), request.user).count()
        # Unfold takes a badge for an import path first, so a plain number goes in as text.
        item |= {"badge": str(waiting) if waiting else "", "badge_variant": "primary"}
    return item


def demo_logins(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001 (a context processor)
    """The demo's logins, for the login page; none anywhere else."""
    return {"demo_logins": settings.DEMO_LOGINS}
