"""Change requests: what they would make of the data, and recording one."""

from collections.abc import Iterable
from typing import Any

from integrations import clock
from onboarding import audit
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.models.transaction import ChangeRequests
from onboarding.origins import Origin
from onboarding.payload.schema import declared, digest, get, with_values
from onboarding.signals import change_decided, change_requested


def with_changes(content: dict[str, Any], proposed: dict[str, Any], some: Iterable[str]) -> dict[str, Any]:
    """``content`` with the values of ``proposed`` at these paths, and without them where it has none there."""
    return with_values(content, {path: get(proposed, path, default=None) for path in some})


def changed_by(request: ChangeRequest, content: dict[str, Any]) -> list[str]:
    """The paths at which applying it would change ``content``: some may have come true meanwhile."""
    return [
        path for path in request.paths if get(content, path, default=None) != get(request.proposed, path, default=None)
    ]


def of_origin(run: OnboardingTransaction, origin: Origin) -> ChangeRequests:
    return run.change_requests.filter(origin=origin.kind, origin_name=origin.name, source=origin.label)


def record(
    run: OnboardingTransaction,
    proposed: dict[str, Any],
    some: list[str],
    *,
    origin: Origin,
    actor: str,
    supersedes: bool = False,
    confirmed: Iterable[str] = (),
) -> ChangeRequest:
    """Record a new one. The caller holds the run locked.

    ``supersedes``: open ones of this source are out of date, as it has told something newer. ``confirmed``: see a snapshot's.
    """
    now = clock.now()
    if supersedes:
        for older in of_origin(run, origin).open():
            older.supersede(at=now)
            older.save()
            audit.record(run, "onboarding.change.superseded", actor=actor, data={"request": older.pk})
            change_decided.send(ChangeRequest, request=older, by_hand=[])
    request = ChangeRequest.objects.create(
        transaction=run,
        origin=origin.kind,
        origin_name=origin.name,
        source=origin.label,
        proposed=proposed,
        digest=digest(proposed),
        paths=some,
        confirmed=sorted(confirmed),
        created_at=now,
    )
    data = {"request": request.pk, "origin": origin.as_dict(), "paths": declared(some)}
    audit.record(run, "onboarding.change.requested", actor=actor, data=data)
    change_requested.send(ChangeRequest, request=request)
    return request
