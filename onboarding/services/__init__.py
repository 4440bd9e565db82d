"""What people may do to a run. Workers, console, REST and commands all come through here: lock, check, move, audit."""

from onboarding.services.base import Refused
from onboarding.services.data import dismiss_change, fix
from onboarding.services.matches import choose_match, unlink
from onboarding.services.replaying import Effect, replay, replay_preview, retry_preview, skip_preview
from onboarding.services.runs import cancel, hold, readmit, receive_event, resume
from onboarding.services.steps import connection_restored, flag_slow_step, resend, retry_step, skip_step

__all__ = [
    "Effect",
    "Refused",
    "cancel",
    "choose_match",
    "connection_restored",
    "dismiss_change",
    "fix",
    "flag_slow_step",
    "hold",
    "readmit",
    "receive_event",
    "replay",
    "replay_preview",
    "resend",
    "resume",
    "retry_preview",
    "retry_step",
    "skip_preview",
    "skip_step",
    "unlink",
]
