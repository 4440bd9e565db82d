"""What people may do to a run. Workers, console, REST and commands all come through here: lock, check, move, audit."""

from onboarding.engine.planning import Effect
from onboarding.services import availability, confirmation
from onboarding.services.base import Refused, given_reason
from onboarding.services.changes import (
    apply_change,
    change_fingerprint,
    change_preview,
    reject_change,
    request_change,
)
from onboarding.services.confirmation import Outdated
from onboarding.services.data import fix
from onboarding.services.findings import keep_finding
from onboarding.services.joining import join, join_candidates
from onboarding.services.mails import correct_and_resend
from onboarding.services.matches import also_linked, choose_match, unlink
from onboarding.services.owners import correct_owner
from onboarding.services.replay import replay, replay_preview, retry_preview, skip_as_shown, skip_preview
from onboarding.services.rollback_preview import rollback_preview
from onboarding.services.runs import cancel, hold, keep, receive_event, recheck_gate, resume, rollback
from onboarding.services.steps import (
    connection_restored,
    decide_approval,
    dependents,
    flag_slow_step,
    force_rollback,
    resend,
    retry_step,
    skip_step,
)

__all__ = [
    "Effect",
    "Outdated",
    "Refused",
    "also_linked",
    "apply_change",
    "availability",
    "cancel",
    "change_fingerprint",
    "change_preview",
    "choose_match",
    "confirmation",
    "connection_restored",
    "correct_and_resend",
    "correct_owner",
    "decide_approval",
    "dependents",
    "fix",
    "flag_slow_step",
    "force_rollback",
    "given_reason",
    "hold",
    "join",
    "join_candidates",
    "keep",
    "keep_finding",
    "receive_event",
    "recheck_gate",
    "reject_change",
    "replay",
    "replay_preview",
    "request_change",
    "resend",
    "resume",
    "retry_preview",
    "retry_step",
    "rollback",
    "rollback_preview",
    "skip_as_shown",
    "skip_preview",
    "skip_step",
    "unlink",
]
