"""Writing the next version of a run's payload."""

from collections.abc import Iterable, Mapping
from typing import Any

from integrations import clock
from integrations.domains import same_address
from onboarding import audit, working_set
from onboarding.models import OnboardingTransaction, PayloadSnapshot
from onboarding.origins import Origin
from onboarding.payload.gate import still_confirmed
from onboarding.payload.plausibility import customer_domain
from onboarding.payload.schema import declared, get, paths


def write_snapshot(
    run: OnboardingTransaction,
    content: dict[str, Any],
    *,
    origin: Origin,
    actor: str,
    changed: Iterable[str] | None = None,
    provenance: Mapping[str, Origin] | None = None,
    confirmed: Iterable[str] = (),
) -> PayloadSnapshot:
    """Store ``content`` as the next version; the caller holds the run locked.

    ``changed`` are the paths that ``origin`` set (default: all); ``provenance`` names another origin for some of them.
    ``confirmed`` are paths whose value a person has just confirmed; what was confirmed before: ``still_confirmed``.
    """
    before = run.snapshot if run.snapshot_version else None
    changed = list(paths(content) if changed is None else changed)
    snapshot = PayloadSnapshot(
        transaction=run,
        version=run.snapshot_version + 1,
        content=content,
        provenance={
            **(before.provenance if before else {}),
            **dict.fromkeys(changed, origin.as_dict()),
            **{path: each.as_dict() for path, each in (provenance or {}).items()},
        },
        origin=origin.kind,
        origin_name=origin.name,
        source=origin.label,
        confirmed=sorted({*confirmed, *(still_confirmed(before, content) if before else ())}),
        actor=actor,
        created_at=clock.now(),
    )
    working_set.of(run).insert(snapshot)
    run.keep_snapshot(snapshot)
    run.note_made("snapshots", snapshot)
    _copy_for_lists(run, content)
    audit.record(
        run,
        "onboarding.payload.versioned",
        actor=actor,
        data={"version": snapshot.version, "origin": origin.as_dict(), "paths": declared(changed)},
    )
    return snapshot


def _copy_for_lists(run: OnboardingTransaction, content: dict[str, Any]) -> None:
    def text(path: str, limit: int) -> str:
        return str(get(content, path))[:limit]

    run.customer_name = text("customer.legal_name", 255)
    run.domain = customer_domain(content)[:255]
    run.contact_name = text("customer.primary_contact.name", 255)
    run.contact_email = same_address(str(get(content, "customer.primary_contact.email")))[:254]
    run.plan_sku = text("commercial.plan_sku", 100)
    run.segment = text("customer.segment", 64)
    run.crm_owner_id = text("ownership.crm_owner_id", 100)
    run.implementation_owner_id = text("ownership.implementation_owner_id", 100)
