"""Writing the next version of a run's payload."""

from collections.abc import Iterable
from typing import Any

from integrations import clock
from onboarding import audit
from onboarding.models import OnboardingTransaction, PayloadSnapshot
from onboarding.payload.plausibility import customer_domain
from onboarding.payload.schema import declared, get, paths


def write_snapshot(
    run: OnboardingTransaction,
    content: dict[str, Any],
    *,
    source: str,
    actor: str,
    changed: Iterable[str] | None = None,
    provenance: dict[str, str] | None = None,
) -> PayloadSnapshot:
    """Store ``content`` as the next version; the caller holds the run locked and saves it.

    ``changed`` are the paths that ``source`` set (default: all); ``provenance`` names another source for some of them.
    """
    before = run.snapshots.order_by("-version").first()
    changed = list(paths(content) if changed is None else changed)
    snapshot = PayloadSnapshot(
        transaction=run,
        version=run.snapshot_version + 1,
        content=content,
        provenance={**(before.provenance if before else {}), **dict.fromkeys(changed, source), **(provenance or {})},
        source=source,
        actor=actor,
        created_at=clock.now(),
    )
    snapshot.save(force_insert=True)
    run.snapshot_version = snapshot.version
    _copy_for_lists(run, content)
    audit.record(
        run,
        "onboarding.payload.versioned",
        actor=actor,
        data={"version": snapshot.version, "source": source, "paths": declared(changed)},
    )
    return snapshot


def _copy_for_lists(run: OnboardingTransaction, content: dict[str, Any]) -> None:
    def text(path: str, limit: int) -> str:
        return str(get(content, path))[:limit]

    run.customer_name = text("customer.legal_name", 255)
    run.domain = customer_domain(content)[:255]
    run.contact_name = text("customer.primary_contact.name", 255)
    run.contact_email = text("customer.primary_contact.email", 254).lower()
    run.plan_sku = text("commercial.plan_sku", 100)
    run.segment = text("customer.segment", 64)
    run.crm_owner_id = text("ownership.crm_owner_id", 100)
    run.implementation_owner_id = text("ownership.implementation_owner_id", 100)
