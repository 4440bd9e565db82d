"""Who implements a new run: by territory, segment and free capacity, from the editable table."""

from django.db.models import Count, QuerySet

from onboarding import audit
from onboarding.enums import OriginKind
from onboarding.models import ImplementationOwner, OnboardingTransaction
from onboarding.origins import Origin
from onboarding.payload.schema import get, with_value
from onboarding.payload.snapshots import write_snapshot

PATH = "ownership.implementation_owner_id"
RULE = "implementation owners"
"""Statuses in which nobody implements anything for a run any more."""


def assign(run: OnboardingTransaction) -> None:
    """Give the run an implementation owner where its payload names none. The caller holds the run locked.

    Capacity is a soft limit: whoever is full is passed over while somebody who fits is free; where all are full, the one
    with the smallest share of work over capacity gets it, and the audit trail says so. Nobody who fits: nobody is assigned.
    """
    content = run.payload
    if get(content, PATH):
        return
    # Locked in one order, so that two runs at the same moment do not both take the last free place.
    people = list(ImplementationOwner.objects.select_for_update(no_key=True).filter(active=True).order_by("pk"))
    territory, segment = get(content, "customer.territory"), get(content, "customer.segment")
    fitting = [person for person in people if person.serves(territory=territory, segment=segment)]
    if not fitting:
        return
    load = _load([person.external_id for person in fitting])
    chosen = min(fitting, key=lambda person: (load.get(person.external_id, 0) / person.capacity, person.pk))
    taken = load.get(chosen.external_id, 0)
    assigned = with_value(content, PATH, chosen.external_id)
    write_snapshot(run, assigned, origin=Origin(OriginKind.RULE, RULE), actor=audit.SYSTEM, changed=[PATH])
    audit.record(
        run,
        "onboarding.owner.assigned",
        data={"owner": chosen.external_id, "open": taken + 1, "capacity": chosen.capacity},
    )


def occupying() -> QuerySet[OnboardingTransaction]:
    """The runs that take up their owner's capacity: neither complete nor cancelled."""
    return OnboardingTransaction.objects.under_way()


def _load(ids: list[str]) -> dict[str, int]:
    """Open onboardings by owner."""
    counted = (
        occupying()
        .filter(implementation_owner_id__in=ids)
        .order_by()
        .values("implementation_owner_id")
        .annotate(n=Count("pk"))
    )
    return {row["implementation_owner_id"]: row["n"] for row in counted}
