"""What people may do to a run. Workers, console, REST and commands all come through here: lock, check, move, audit."""

from onboarding.services.base import Refused
from onboarding.services.data import dismiss_change, fix
from onboarding.services.matches import also_linked, choose_match, unlink
from onboarding.services.replaying import Effect, replay, replay_preview, retry_preview, skip_preview
from onboarding.services.runs import cancel, hold, keep, readmit, receive_event, resume, rollback
from onboarding.services.steps import (
    connection_restored,
    flag_slow_step,
    force_rollback,
    resend,
    retry_step,
    skip_step,
)
from onboarding.services.undoing import Verdict, rollback_preview

__all__ = [
    "Effect",
    "Refused",
    "Verdict",
    "also_linked",
    "cancel",
    "choose_match",
    "connection_restored",
    "dismiss_change",
    "fix",
    "flag_slow_step",
    "force_rollback",
    "hold",
    "keep",
    "readmit",
    "receive_event",
    "replay",
    "replay_preview",
    "resend",
    "resume",
    "retry_preview",
    "retry_step",
    "rollback",
    "rollback_preview",
    "skip_preview",
    "skip_step",
    "unlink",
]
