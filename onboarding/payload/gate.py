"""The required-fields gate: nothing is provisioned from a payload that a person would have to ask about."""

from dataclasses import asdict, dataclass
from typing import Any

from onboarding.payload import catalogue
from onboarding.payload.plausibility import implausible
from onboarding.payload.schema import get


@dataclass(frozen=True)
class Problem:
    """One field that must be mended, and why."""

    path: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def problems(content: dict[str, Any]) -> list[Problem]:
    """What is missing or implausible, in the catalogue's order; empty where provisioning may start."""
    found = [problem for field in catalogue.FIELDS if field.required and (problem := _check(content, field))]
    if get(content, "customer.no_domain", default=False) is True:
        found = [problem for problem in found if problem.path != "customer.domain"]
        # Without a domain the customer is matched by exact legal name and billing email.
        if problem := _check(content, catalogue.entry("commercial.billing_email")):
            found.append(problem)
    kickoff = [_check(content, catalogue.entry(path)) for path in ("kickoff.start_date", "kickoff.urgency")]
    if all(kickoff):
        start, urgency = kickoff
        given = start if get(content, "kickoff.start_date") else urgency
        reason = "is missing" if given is None or given.reason == "is missing" else given.reason
        found.append(Problem("kickoff.start_date", f"{reason} (a date or an urgency is needed)"))
    return found


def _check(content: dict[str, Any], field: catalogue.Field) -> Problem | None:
    value = get(content, field.path)
    if not isinstance(value, str) or not value.strip():
        return Problem(field.path, "is missing")
    reason = implausible(value, field.type)
    return Problem(field.path, reason) if reason else None
