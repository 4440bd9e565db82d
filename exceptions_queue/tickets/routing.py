"""Who owns an exception: always a queue, and a person where the CRM's owner is one of ours."""

import hashlib
import re

from django.contrib.auth.models import User

from exceptions_queue.models import CrmOwner
from exceptions_queue.tickets import catalogue
from exceptions_queue.tickets.catalogue_entry import SALES, Failure
from onboarding.enums import Topic
from onboarding.models import OnboardingTransaction


def queue_for(
    category: str, system: str, problems: list[dict[str, str]], step_queue: str = "", topic: str = Topic.NONE
) -> str:
    """The queue's slug, by the catalogue's rule. A playbook step may name a queue for what no other rule decides."""
    return catalogue.entry_of(category, topic).queue.queue(Failure(system, problems, step_queue))


def owner_for(queue: str, run: OnboardingTransaction | None) -> User | None:
    """The deal's owner, for what sales is asked; nobody in particular elsewhere."""
    if run is None or queue != SALES or not run.crm_owner_id:
        return None
    link = CrmOwner.objects.select_related("user").filter(crm_owner_id=run.crm_owner_id, user__is_active=True).first()
    return link.user if link else None


def fingerprint(system: str, step: str, category: str, status: int | None, message: str) -> str:
    """What tickets of one cause have in common: system, step, category, status and the message without its particulars."""
    normal = re.sub(r"[“\"'‘][^”\"'’]*[”\"'’]|\S*[@\d]\S*", "#", message).casefold()
    return hashlib.sha256("|".join([system, step, category, str(status or ""), normal]).encode()).hexdigest()[:32]
