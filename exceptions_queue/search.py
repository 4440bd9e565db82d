"""Finding runs by what is at hand: a customer, a contact, a domain, the id of a payment or a vendor's object, a ticket's number."""

import re

from django.db.models import Q, QuerySet

from exceptions_queue.models import Ticket
from integrations.domains import same_address
from onboarding.ids import comparable
from onboarding.models import CorrelationKey, ObjectMapping, OnboardingTransaction
from onboarding.payload.plausibility import normal_domain

SHORTEST_END = 4
"""Characters of an id's end, below which too much would be found by it."""
_NUMBER = re.compile(r"#(\d{1,18})")
AT = "@"


def runs_matching(term: str, *, sees_personal: bool) -> QuerySet[OnboardingTransaction]:
    """Ids by their beginning or their end, names by any part. Sub-queries instead of joins: no run appears twice."""
    term = term.strip()
    if (number := ticket_number(term)) is not None:
        return OnboardingTransaction.objects.filter(pk__in=Ticket.objects.filter(pk=number).values("transaction"))
    host = normal_domain(term.rpartition(AT)[2])
    keys, objects = CorrelationKey.objects.all(), ObjectMapping.objects.all()
    if not sees_personal:
        # An id that is somebody's address is shown hidden, so it must not be found out letter by letter either.
        keys, objects = keys.exclude(value__contains=AT), objects.exclude(external_id__contains=AT)
    found = (
        _id("onboarding_transaction_id", term)
        | _id("id_key", comparable(term))
        | person_matching(term, sees_personal=sees_personal)
        | Q(customer_name__icontains=term)
        | Q(pk__in=keys.filter(_id("value", term) | _id("value", comparable(term))).values("transaction"))
        | Q(pk__in=objects.filter(_id("external_id", term)).values("transaction"))
    )
    if host and AT not in term:
        found |= Q(domain__startswith=host)
    return OnboardingTransaction.objects.filter(found)


def person_matching(term: str, *, sees_personal: bool) -> Q:
    """Runs by their contact: by a part for those who may see personal data.

    Others find the whole address that they were given and no less: otherwise one letter after the other would spell it out.
    """
    if not sees_personal:
        return Q(contact_email=same_address(term))
    return Q(contact_email__icontains=same_address(term)) | Q(contact_name__icontains=term)


def ticket_number(term: str) -> int | None:
    """``#3`` is ticket 3."""
    found = _NUMBER.fullmatch(term.strip())
    return int(found[1]) if found else None


def _id(name: str, term: str) -> Q:
    whole = Q(**{f"{name}__startswith": term})
    return whole | Q(**{f"{name}__endswith": term}) if len(term) >= SHORTEST_END else whole
