"""Correcting who implements: what waits for the right person goes on."""

from onboarding.engine.runs.owner_assignment import PATH, occupying
from onboarding.models import OnboardingTransaction, Step
from onboarding.payload.schema import get
from onboarding.services.base import Refused
from onboarding.services.data import fix


def correct_owner(former_id: str, right_id: str, *, actor: str) -> int:
    """Give the open runs of one implementation owner's id the other one; steps that were refused for it are tried again.

    Returns how many runs have the right id now. One run a transaction: a run that takes no data any more is left alone.
    """
    runs = occupying().filter(implementation_owner_id=former_id)
    corrected = 0
    for run in runs.order_by("pk"):
        if get(run.payload, PATH) != former_id:
            continue
        refused = _refused_step(run)
        try:
            fix(run.pk, {PATH: right_id}, actor=actor, step_pk=refused.pk if refused else None)
        except Refused:  # ended meanwhile, or it lacks something else: its own ticket asks for that
            continue
        corrected += 1
    return corrected


def _refused_step(run: OnboardingTransaction) -> Step | None:
    blocked = run.steps.blocked().order_by("position")
    return next((step for step in blocked if any(each.get("path") == PATH for each in step.problems)), None)
