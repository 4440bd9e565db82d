"""Change requests: what they would make of the data, and recording one."""

from collections.abc import Iterable
from typing import Any

from integrations import clock
from onboarding import audit
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import declared, digest, get, with_value
from onboarding.signals import change_decided, change_requested
from onboarding.words import ChangeStatus

BY_PERSON = "person:"
LONGEST_SOURCE = 64


def with_changes(content: dict[str, Any], proposed: dict[str, Any], some: Iterable[str]) -> dict[str, Any]:
    """``content`` with the values of ``proposed`` at these paths, and without them where it has none there."""
    for path in some:
        content = with_value(content, path, get(proposed, path, default=None))
    return content


def changed_by(request: ChangeRequest, content: dict[str, Any]) -> list[str]:
    """The paths at which applying it would change ``content``: some may have come true meanwhile."""
    return [
        path for path in request.paths if get(content, path, default=None) != get(request.proposed, path, default=None)
    ]


def record(
    run: OnboardingTransaction,
    proposed: dict[str, Any],
    some: list[str],
    *,
    source: str,
    actor: str,
    supersedes: bool = False,
) -> ChangeRequest:
    """Record a new one. The caller holds the run locked and saves it.

    ``supersedes``: open ones of this source are out of date, as it has told something newer.
    """
    now = clock.now()
    if supersedes:
        for older in run.change_requests.filter(source=source, status=ChangeStatus.OPEN):
            older.supersede(at=now)
            older.save()
            audit.record(run, "onboarding.change.superseded", actor=actor, data={"request": older.pk})
            change_decided.send(ChangeRequest, request=older, by_hand=[])
    request = ChangeRequest.objects.create(
        transaction=run, source=source, proposed=proposed, digest=digest(proposed), paths=some, created_at=now
    )
    data = {"request": request.pk, "source": source, "paths": declared(some)}
    audit.record(run, "onboarding.change.requested", actor=actor, data=data)
    change_requested.send(ChangeRequest, request=request)
    run.save()
    return request
