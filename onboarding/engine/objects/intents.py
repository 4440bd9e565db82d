"""What an intent is once its holder has told how the step ended."""

from datetime import datetime, timedelta

from onboarding.engine.outcomes import Broken, Ensured, Failed, Outcome, Waiting
from onboarding.enums import IntentState, WaitsFor
from onboarding.models import Intent

JOB_TIMEOUT = timedelta(minutes=10)
"""A vendor's job that has not ended by then counts as lost."""


def move_intent(intent: Intent, outcome: Outcome, made: Ensured | None, now: datetime) -> None:
    """``made``: the object, whatever failed after it. The caller saves the intent."""
    indeterminate = intent.indeterminate_since is not None
    match outcome:
        case _ if made:
            intent.state = IntentState.DONE
        case Waiting(waits_for=WaitsFor.JOB, job_id=job_id) if job_id:
            intent.state, intent.job_id, intent.job_started_at = IntentState.ACCEPTED, job_id, now
        case Waiting(job_lost=True):
            intent.state, intent.job_id, intent.indeterminate_since = IntentState.INDETERMINATE, "", now
        case Failed(sent=True, indeterminate=True, error=error):
            intent.indeterminate_since = now if error.effect_possible else intent.indeterminate_since
        case Failed(sent=True, error=error):
            intent.state = IntentState.INDETERMINATE if error.effect_possible else IntentState.NO_EFFECT
            intent.indeterminate_since = now if error.effect_possible else None
        case Failed(job_ended=True):
            intent.state = IntentState.NO_EFFECT
        case Broken() if intent.state == IntentState.INDETERMINATE:
            intent.indeterminate_since = now
        case _ if intent.state == IntentState.INDETERMINATE and not indeterminate:
            intent.state = IntentState.NO_EFFECT  # the holder itself says that it sent nothing
