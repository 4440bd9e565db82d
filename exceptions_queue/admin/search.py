"""One search box: runs by customer, email, domain, payment id or an object's id at a vendor."""

from django.db.models import Q, QuerySet

from integrations.domains import same_address
from onboarding.ids import comparable
from onboarding.models import CorrelationKey, ObjectMapping, OnboardingTransaction
from onboarding.payload.plausibility import normal_domain


def runs_matching(term: str) -> QuerySet[OnboardingTransaction]:
    """Ids by their beginning, names by any part. Sub-queries instead of joins: no run appears twice."""
    term = term.strip()
    host = normal_domain(term.rpartition("@")[2])
    found = (
        Q(onboarding_transaction_id__startswith=term)
        | Q(id_key__startswith=comparable(term))
        | Q(contact_email__startswith=same_address(term))
        | Q(customer_name__icontains=term)
        | Q(
            pk__in=CorrelationKey.objects.filter(
                Q(value__startswith=term) | Q(value__startswith=comparable(term))
            ).values("transaction")
        )
        | Q(pk__in=ObjectMapping.objects.filter(external_id__startswith=term).values("transaction"))
    )
    if host and "@" not in term:
        found |= Q(domain__startswith=host)
    return OnboardingTransaction.objects.filter(found)
