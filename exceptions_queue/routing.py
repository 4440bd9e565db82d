"""Who owns an exception: always a queue, and a person where the CRM's owner is one of ours."""

import hashlib
import re

from django.contrib.auth.models import User

from exceptions_queue.models import CrmOwner
from integrations.words import System
from onboarding.models import OnboardingTransaction
from onboarding.payload import catalogue
from onboarding.queues import QUEUES
from onboarding.words import Category

ENGINEERING = "revenue-operations"


def queue_for(category: str, system: str, problems: list[dict[str, str]], step_queue: str = "") -> str:
    """The queue's slug.

    Credentials and set-up always go to engineering; data to whoever owns the field; support provisioning to support; a playbook
    step may name another queue for the rest.
    """
    if category in (Category.AUTH_ERROR, Category.NOT_CONFIGURED, Category.INTERNAL_ERROR):
        return ENGINEERING
    if category == Category.APPROVAL_OVERDUE:
        return "finance"
    if category == Category.MISSING_DATA or (category == Category.VALIDATION_ERROR and _paths(problems)):
        owners = [catalogue.BY_PATH[path].queue for path in _paths(problems) if path in catalogue.BY_PATH]
        return owners[0] if owners else "sales-ops"
    if step_queue in QUEUES:
        return step_queue
    if system == System.SUPPORT:
        return "support-ops"
    if category == Category.AMBIGUOUS_MATCH and system == System.CRM:
        return "sales-ops"
    return ENGINEERING


def owner_for(queue: str, run: OnboardingTransaction | None) -> User | None:
    """The deal's owner, for what sales is asked; nobody in particular elsewhere."""
    if run is None or queue != "sales-ops" or not run.crm_owner_id:
        return None
    link = CrmOwner.objects.select_related("user").filter(crm_owner_id=run.crm_owner_id, user__is_active=True).first()
    return link.user if link else None


def fingerprint(system: str, step: str, category: str, status: int | None, message: str) -> str:
    """What tickets of one cause have in common: system, step, category, status and the message without its particulars."""
    normal = re.sub(r"[“\"'‘][^”\"'’]*[”\"'’]|\S*[@\d]\S*", "#", message).casefold()
    return hashlib.sha256("|".join([system, step, category, str(status or ""), normal]).encode()).hexdigest()[:32]


def _paths(problems: list[dict[str, str]]) -> list[str]:
    return [path for problem in problems if (path := problem.get("path", ""))]
