"""The required-fields gate: nothing is provisioned from a payload that a person would have to ask about."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from onboarding.models import PayloadSnapshot
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.plausibility import implausible, unusable
from onboarding.payload.schema import get

MISSING = "is missing"
_NOT_TEXTS = (Type.FLAG, Type.NUMBER, Type.WHOLE, Type.LIST, Type.PEOPLE, Type.STRUCTURE)
"""Types whose values the schema has checked already."""


@dataclass(frozen=True)
class Problem:
    """One field that must be fixed, and why."""

    path: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


CONFIRMED_WITH: dict[str, frozenset[str]] = {}
"""Path -> what else a person looks at to confirm a plausible value there, as the handlers declare (``confirmable``)."""


def still_confirmed(snapshot: PayloadSnapshot, content: dict[str, Any]) -> frozenset[str]:
    """The paths that a person has confirmed, as far as ``content`` says the same as the snapshot of all that this was about."""
    return same_confirmed(snapshot.confirmed, snapshot.content, content)


def same_confirmed(confirmed: Collection[str], before: dict[str, Any], content: dict[str, Any]) -> frozenset[str]:
    """Those of the paths, confirmed as ``before`` was the data, that stay so with ``content``."""
    return frozenset(
        path for path in confirmed if all(get(content, each) == get(before, each) for each in _about(path, before))
    )


def _about(path: str, content: dict[str, Any]) -> Collection[str]:
    """What a confirmation of ``path`` is about: where it looks like a placeholder, that alone."""
    besides = CONFIRMED_WITH.get(path)
    return (path,) if not besides or _check(content, catalogue.entry(path), ()) else {path, *besides}


def problems(
    content: dict[str, Any], confirmed: Collection[str] = frozenset(), *, also: Collection[str] = ()
) -> list[Problem]:
    """What is missing or implausible, in the catalogue's order; empty where provisioning may start.

    ``confirmed``: paths whose value a person stands by, whatever it looks like. ``also``: paths that are required here beyond what
    every run needs.
    """
    needed = [field for field in catalogue.FIELDS if field.required or field.path in also]
    found = [problem for field in needed if (problem := _check(content, field, confirmed))]
    if get(content, "customer.no_domain", default=False) is True:
        found = [problem for problem in found if problem.path != "customer.domain"]
        # Without a domain the customer is matched by exact legal name and billing email.
        if problem := _check(content, catalogue.entry("commercial.billing_email"), confirmed):
            found.append(problem)
    kickoff = [_check(content, catalogue.entry(path), confirmed) for path in ("kickoff.start_date", "kickoff.urgency")]
    if all(kickoff):
        start, urgency = kickoff
        given = start if get(content, "kickoff.start_date") else urgency
        reason = MISSING if given is None or given.reason == MISSING else given.reason
        found.append(Problem("kickoff.start_date", f"{reason} (a date or an urgency is needed)"))
    return found


def _check(content: dict[str, Any], field: catalogue.Field, confirmed: Collection[str]) -> Problem | None:
    value = get(content, field.path)
    if field.type in _NOT_TEXTS:
        return Problem(field.path, MISSING) if value in ("", None, [], {}) else None
    if not isinstance(value, str) or not value.strip():
        return Problem(field.path, MISSING)
    reason = (unusable if field.path in confirmed else implausible)(value, field.type)
    return Problem(field.path, reason) if reason else None
