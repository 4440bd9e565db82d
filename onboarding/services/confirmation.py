"""What a person confirms: the preview as it was shown, recognised by a fingerprint of it and of nothing else."""

from collections.abc import Iterable
from typing import Any, Protocol

from django.utils.crypto import salted_hmac

from onboarding.models import OnboardingTransaction
from onboarding.payload.gate import Problem
from onboarding.payload.schema import get
from onboarding.services.base import Refused


class Previewed(Protocol):
    """One line of a preview."""

    @property
    def confirmed_facts(self) -> tuple[str, ...]:
        """What would be done, and to what."""


class Outdated(Refused):
    """What was confirmed is not what would be done now; nothing was done."""


def fingerprint(*shown: Any) -> str:
    """Keyed, because what is shown may hold personal data and the fingerprint goes to everybody who sees the form."""
    return salted_hmac("onboarding.confirmation", repr(shown), algorithm="sha256").hexdigest()


def of_preview(lines: Iterable[Previewed]) -> str:
    return fingerprint([line.confirmed_facts for line in lines])


def check(seen: str | None, now: str) -> None:
    """Raises ``Outdated`` where a person confirmed something else; None means that no preview was shown."""
    if seen is not None and seen != now:
        raise Outdated("what would be done has changed since the preview.")


def check_unchanged(run: OnboardingTransaction, paths: Iterable[str], *, version: int | None) -> None:
    """That nobody changed these fields since the ``version`` of the data that the person was shown; None checks nothing.

    Raises ``Outdated`` with a problem for each field that somebody did change.
    """
    if version is None or version == run.snapshot_version:
        return
    snapshots = list(run.snapshots.filter(version__gte=version).order_by("version"))
    if not snapshots or snapshots[0].version != version:
        return
    shown, *later = snapshots
    problems = []
    for path in paths:
        value, by = get(shown.content, path, default=None), ""
        for snapshot in later:
            if (newer := get(snapshot.content, path, default=None)) != value:
                value, by = newer, snapshot.actor
        if by and value != get(shown.content, path, default=None):
            problems.append(
                Problem(path, f"{by} changed this since you opened the page; save again to replace that value")
            )
    if problems:
        raise Outdated("Somebody else changed the same data since you opened the page.", problems)
