"""What people do to runs and steps, with or without a ticket: console and REST both come through ``perform``."""

from collections.abc import Sequence

from exceptions_queue.roles import Actor
from exceptions_queue.runs.declaration import Confirmation, Endpoint, RunAction, Target
from exceptions_queue.tickets import forms
from exceptions_queue.tickets.actions import NotAllowed
from exceptions_queue.tickets.declaration import Data, Permission
from exceptions_queue.tickets.handling import ALL_GROUPS
from exceptions_queue.tickets.resolving import REPLAY_RUN, ROLLBACK_RUN, SKIP_STEP
from exceptions_queue.welcome import schedule as welcome
from onboarding import services
from onboarding.enums import StepState
from onboarding.services import availability

HOLD_RUN = Permission("onboarding.hold_run", granted=ALL_GROUPS)


def perform(action: RunAction, target: Target, actor: Actor, data: Data) -> None:
    """Do one action. Raises ``NotAllowed``, or ``Refused`` where it makes no sense now or the data is wrong."""
    if not action.allows(actor, target):
        raise NotAllowed(f"{actor.name} may not {action.label.lower()} here.")
    action.service(target, actor, data)


# --- Services


def _reason(actor: Actor, data: Data) -> str:
    """The console's form asks for one; the API may do without."""
    return data.get("reason") or f"Asked for through the API by {actor.name}."


def _hold(target: Target, actor: Actor, data: Data) -> None:
    services.hold(target.run.pk, actor=actor.name, reason=_reason(actor, data))


def _resume(target: Target, actor: Actor, _data: Data) -> None:
    services.resume(target.run.pk, actor=actor.name)


def _cancel(target: Target, actor: Actor, data: Data) -> None:
    services.cancel(target.run.pk, actor=actor.name, reason=_reason(actor, data))


def _join(target: Target, actor: Actor, data: Data) -> None:
    services.join(target.run.pk, data["into"], actor=actor.name, reason=_reason(actor, data))


def _replay(target: Target, actor: Actor, data: Data) -> None:
    services.replay(target.run.pk, target.the_step.key, actor=actor.name, seen=data["seen"])


def _roll_back(target: Target, actor: Actor, data: Data) -> None:
    services.rollback(target.run.pk, actor=actor.name, reason=_reason(actor, data), seen=data.get("seen"))


def _skip(target: Target, actor: Actor, data: Data) -> None:
    services.skip_as_shown(target.the_step.pk, actor=actor.name, reason=data["reason"], seen=data["seen"])


def _unlink(target: Target, actor: Actor, data: Data) -> None:
    services.unlink(target.the_step.pk, actor=actor.name, reason=data["reason"], item=target.item)


def _resend(target: Target, actor: Actor, _data: Data) -> None:
    services.resend(target.the_step.pk, actor=actor.name)


def _stop_welcome(target: Target, actor: Actor, data: Data) -> None:
    welcome.stop_by_person(target.run.pk, actor=actor.name, reason=data["reason"])


def _resume_welcome(target: Target, actor: Actor, data: Data) -> None:
    welcome.resume_by_person(target.run.pk, actor=actor.name, reason=data["reason"])


# --- Whether it is offered


def _was_tried(target: Target) -> bool:
    return target.the_step.position > 0 and target.the_step.state != StepState.PENDING


def _goes_on(target: Target) -> bool:
    """What a rollback is stuck at is skipped from its ticket, which says what that means."""
    return target.run.may_advance


def _of_same_customer(target: Target) -> Sequence[str]:
    """What it may be joined into."""
    found = services.join_candidates(target.run)
    listed = ", ".join(f"{run} (from {run.origin_name or run.event_source})" for run in found)
    return (f"Other onboardings of this customer: {listed}.",) if found else ()


def _linked_elsewhere(target: Target) -> Sequence[str]:
    others = services.also_linked(target.the_step, target.item)
    if not others:
        return ()
    return (
        f"Other runs are linked to it too and stay linked; check each and unlink it there as well: {', '.join(others)}.",
    )


HOLD = RunAction(
    "hold",
    "Hold",
    HOLD_RUN,
    _hold,
    lambda target: availability.hold(target.run),
    Confirmation(
        lambda target: f"Hold the onboarding of {target.customer}?",
        (
            "No step starts until somebody resumes the run. A call in progress is finished and recorded.",
            "The SLA clock keeps running.",
        ),
        "The run is on hold. No step starts until somebody resumes it.",
        "front_hand",
    ),
    forms.OPTIONAL_REASON,
    endpoint=Endpoint("Start no further step until the run is resumed", {"reason": "The customer asked us to wait."}),
)
RESUME = RunAction(
    "resume",
    "Resume",
    HOLD_RUN,
    _resume,
    lambda target: availability.resume(target.run),
    Confirmation(
        lambda target: f"Resume the onboarding of {target.customer}?",
        ("Steps that are ready start at once.",),
        "The run continues.",
        "play_arrow",
        is_skipped=True,
    ),
    endpoint=Endpoint("Resume a run on hold"),
)
CANCEL = RunAction(
    "cancel",
    "Cancel the run",
    Permission("onboarding.cancel_run", granted=frozenset({"finance", "leads"})),
    _cancel,
    lambda target: availability.cancel(target.run),
    Confirmation(
        lambda target: f"Cancel the onboarding of {target.customer}?",
        (
            "No further step runs, and the run's tickets are resolved. A cancelled run cannot be resumed.",
            "What was created at vendors stays as it is.",
        ),
        "The run is cancelled.",
        "cancel",
        is_dangerous=True,
    ),
    forms.OPTIONAL_REASON,
    endpoint=Endpoint("Cancel the run", {"reason": "The order was withdrawn."}),
)
JOIN = RunAction(
    "join",
    "Join into another",
    Permission("onboarding.join_runs", granted=frozenset({"revenue-operations", "leads"})),
    _join,
    lambda target: availability.join(target.run),
    Confirmation(
        lambda target: f"Join this onboarding of {target.customer} into another?",
        (
            "For one order that two sources have started. The other run takes over this one's events, and data that it lacks.",
            "This run is cancelled, and its tickets are resolved.",
            "What this run created at vendors stays there; a ticket lists what the other one does not use.",
        ),
        "The run is joined into the other one, and cancelled.",
        "merge",
        is_dangerous=True,
        warns=_of_same_customer,
    ),
    forms.JOIN,
    endpoint=Endpoint(
        "Join the run into another of the same order", {"into": "pay_12345", "reason": "Both are of order 1001."}
    ),
)
REPLAY = RunAction(
    "replay",
    "Replay from here",
    REPLAY_RUN,
    _replay,
    lambda target: availability.replay(target.run),
    Confirmation(
        lambda target: f"Replay from “{target.title}”?",
        ("This step and those after it run again. Nothing that exists is created twice.",),
        "The run is replayed from that step; its progress is below.",
        "replay",
    ),
    of_step=True,
    preview=lambda target: services.replay_preview(target.run.pk, target.the_step.key),
    is_useful=_was_tried,
)
ROLLBACK = RunAction(
    "rollback",
    "Roll back",
    ROLLBACK_RUN,
    _roll_back,
    lambda target: availability.rollback(target.run),
    Confirmation(
        lambda target: f"Roll back the onboarding of {target.customer}?",
        (
            "What this run created is removed in reverse order; what it only found, and what another run uses, stays.",
            "This ends the onboarding permanently. Objects that somebody changed since are decided in a ticket.",
        ),
        "The rollback has started; the steps show its progress.",
        "undo",
        is_dangerous=True,
    ),
    forms.OPTIONAL_REASON,
    preview=lambda target: services.rollback_preview(target.run.pk),
    endpoint=Endpoint("Remove what the run created and nobody else uses", {"reason": "The payment was refunded."}),
)
SKIP = RunAction(
    "skip",
    "Skip this step",
    SKIP_STEP,
    _skip,
    lambda target: availability.skip(target.run, target.the_step),
    Confirmation(
        lambda target: f"Skip “{target.title}”?",
        (
            "The step is skipped permanently in this run, and the steps after it continue.",
            "Skip it only if somebody has done it manually, or if this customer does not need it.",
        ),
        "The step is skipped.",
        "skip_next",
    ),
    forms.REASON,
    of_step=True,
    preview=lambda target: services.skip_preview(target.the_step.pk),
    is_useful=_goes_on,
)
UNLINK = RunAction(
    "unlink",
    "Unlink",
    Permission("onboarding.unlink_object", granted=frozenset({"revenue-operations", "leads"})),
    _unlink,
    lambda target: availability.unlink(target.run, target.the_step, target.mapping),
    Confirmation(
        lambda target: f"Unlink the wrong match of “{target.title}”?",
        (
            "The object stays at the vendor; Firstvalue will not link it for this customer again.",
            "It then looks up the right one, and dependent steps run again. Another match is shown to a person.",
            "What this run associated with the wrong object (such as its contact or note) stays associated: remove that manually.",
        ),
        "It is unlinked. The step looks up the right one.",
        "link_off",
        is_dangerous=True,
        warns=_linked_elsewhere,
    ),
    forms.REASON,
    of_step=True,
)
RESEND = RunAction(
    "resend",
    "Send again",
    Permission("onboarding.resend_welcome", granted=frozenset({"sales-ops", "support-ops", "leads"})),
    _resend,
    lambda target: availability.resend(target.run, target.the_step),
    Confirmation(
        lambda target: f"Send the welcome to {target.customer} again?",
        ("The customer gets the mail a second time. A sent mail cannot be undone.",),
        "It is sent again.",
        "forward_to_inbox",
    ),
    of_step=True,
)
STOP_WELCOME = RunAction(
    "stop-welcome",
    "Stop the welcome mails",
    HOLD_RUN,
    _stop_welcome,
    lambda target: welcome.stop_obstacle(target.run),
    Confirmation(
        lambda target: f"Stop the welcome mails to {target.customer}?",
        (
            "None of those that are still scheduled is sent, until somebody resumes them.",
            "The onboarding itself goes on.",
        ),
        "The welcome mails are stopped.",
        "unsubscribe",
    ),
    forms.REASON,
)
RESUME_WELCOME = RunAction(
    "resume-welcome",
    "Resume the welcome mails",
    HOLD_RUN,
    _resume_welcome,
    lambda target: welcome.resume_obstacle(target.run),
    Confirmation(
        lambda target: f"Resume the welcome mails to {target.customer}?",
        ("Those that were stopped are scheduled again, later by the business days that have passed since.",),
        "The welcome mails are scheduled again.",
        "schedule_send",
    ),
    forms.REASON,
)
_DECLARED = (
    *(HOLD, RESUME, CANCEL, JOIN, REPLAY, ROLLBACK, SKIP, UNLINK, RESEND),
    *(STOP_WELCOME, RESUME_WELCOME),
)
ACTIONS = {action.name: action for action in _DECLARED}
"""By name, in the order in which they are offered."""
