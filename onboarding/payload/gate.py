"""The required-fields gate: nothing is provisioned from a payload that a person would have to ask about."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from onboarding.models import OnboardingTransaction, PayloadSnapshot
from onboarding.payload import catalogue
from onboarding.payload.plausibility import implausible, unusable
from onboarding.payload.schema import get

MISSING = "is missing"


@dataclass(frozen=True)
class Problem:
    """One field that must be fixed, and why."""

    path: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def problems_of(run: OnboardingTransaction, content: dict[str, Any] | None = None) -> list[Problem]:
    """The problems of the run's data, or of ``content`` in its place; what people have confirmed is none."""
    content = run.payload if content is None else content
    return problems(content, still_confirmed(run.snapshot, content))


def still_confirmed(snapshot: PayloadSnapshot, content: dict[str, Any]) -> frozenset[str]:
    """The paths that a person has confirmed, as far as ``content`` says the same there as the snapshot."""
    return frozenset(path for path in snapshot.confirmed if get(content, path) == get(snapshot.content, path))


def problems(content: dict[str, Any], confirmed: Collection[str] = frozenset()) -> list[Problem]:
    """What is missing or implausible, in the catalogue's order; empty where provisioning may start.

    ``confirmed``: paths whose value a person stands by, whatever it looks like.
    """
    found = [problem for field in catalogue.FIELDS if field.required and (problem := _check(content, field, confirmed))]
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
    if not isinstance(value, str) or not value.strip():
        return Problem(field.path, MISSING)
    reason = (unusable if field.path in confirmed else implausible)(value, field.type)
    return Problem(field.path, reason) if reason else None
