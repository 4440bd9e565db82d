"""Actions that lead on: data, a choice, another try, another way, or the end of the run.

None of them closes the ticket, but "done" of what a person does at a vendor by hand: it closes when its subject has passed.
"""

import re
from collections.abc import Sequence

from exceptions_queue import roles
from exceptions_queue.models import Ticket, TicketStatus
from exceptions_queue.roles import Actor
from exceptions_queue.sla import clocks as sla
from exceptions_queue.tickets import forms, lifecycle, naming
from exceptions_queue.tickets.approving import open_approval
from exceptions_queue.tickets.declaration import (
    Action,
    Bulk,
    Card,
    Data,
    DoneMessage,
    Permission,
    Place,
    Preview,
    Shown,
)
from exceptions_queue.tickets.handling import ALL_GROUPS, NOTE_TICKET, add_note, given_text
from integrations import clock
from integrations.connections import breaker
from onboarding import audit, services
from onboarding.engine.locks import locked_run_if_any, retried
from onboarding.enums import Category, Status, Topic
from onboarding.intake import events
from onboarding.payload import catalogue as fields
from onboarding.payload.gate import Problem
from onboarding.services import Effect, Outdated, Refused, confirmation

_ID = re.compile(r"[^\s/\\?#%,]{1,255}")
"""One segment of a vendor's path, which no vendor's ids are more than."""
ID_SHAPE = "give the id alone, without blanks, slashes or the rest of an address."
DATA_GROUPS = frozenset({"sales-ops", "support-ops", "revenue-operations", "leads"})
CHOICE_KEPT = "Your choice is saved for this customer. The step continues with it."
ON_HOLD = "The run is on hold until somebody resumes it."


# --- The data ---------------------------------------------------------------------------------------------------------


def fix(ticket: Ticket, actor: Actor, data: Data) -> None:
    given = data.get("fields")
    if not isinstance(given, dict):
        raise Refused("Give the fields as {path: value}.")
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    if ticket.topic == Topic.MAIL and ticket.mapping:
        services.correct_and_resend(
            ticket.mapping.step_id,
            given,
            actor=actor.name,
            confirmed=frozenset(data.get("confirmed", ())),
            version=data.get("version"),
        )
        return
    services.fix(
        ticket.transaction_id,
        given,
        actor=actor.name,
        step_pk=ticket.step_id,
        confirmed=frozenset(data.get("confirmed", ())),
        version=data.get("version"),
    )


def names_fields(ticket: Ticket) -> bool:
    return ticket.transaction_id is not None and any(problem.get("path") for problem in ticket.problems)


def _fixed(ticket: Ticket) -> DoneMessage:
    if held_up := naming.held_up(ticket):
        return DoneMessage(f"Saved. {held_up}", finished=False)
    if ticket.step is not None:
        return DoneMessage("Saved. The step is retried with the new data.")
    if ticket.topic == Topic.MAIL:
        return DoneMessage("Saved. The mail is sent again, to the corrected address.")
    if ticket.is_open and ticket.problems:
        missing = fields.labels(problem["path"] for problem in ticket.problems if problem.get("path"))
        return DoneMessage(f"Saved. Still missing: {missing}.", finished=False)
    if not ticket.is_open and _is_on_hold(ticket):
        return DoneMessage(f"Saved. The data is complete; {naming.lowered(ON_HOLD)}", finished=False)
    return DoneMessage("Saved. The data is complete and the onboarding continues; its steps are below.")


def _is_on_hold(ticket: Ticket) -> bool:
    return ticket.transaction is not None and ticket.transaction.held_at is not None


# --- Which object -----------------------------------------------------------------------------------------------------


def _check_undecided(ticket: Ticket, data: Data) -> None:
    """A choice is refused where somebody else made one since this person was shown the ticket waiting for it."""
    if data.get("shown_status") == TicketStatus.OPEN and ticket.status == TicketStatus.RETRYING:
        raise Outdated("this ticket was decided since you opened it; it is being retried.")


def choose_match(ticket: Ticket, actor: Actor, data: Data) -> None:
    _check_undecided(ticket, data)
    external_id, create = data.get("external_id") or "", data.get("create") is True
    if bool(external_id) == create:
        raise Refused("Give either external_id or create: true.")
    offered = {candidate["external_id"] for candidate in ticket.candidates}
    if external_id and external_id not in offered:
        raise Refused(
            f"{external_id} is not among the candidates.", [Problem("external_id", "is not among the candidates")]
        )
    assert ticket.step_id  # noqa: S101  (offered only then)
    services.choose_match(ticket.step_id, external_id=external_id, actor=actor.name, seen=data.get("candidate"))


def link_object(ticket: Ticket, actor: Actor, data: Data) -> None:
    _check_undecided(ticket, data)
    external_id = data.get("external_id")
    if not isinstance(external_id, str) or not external_id.strip():
        raise Refused("Give the object's id at the vendor.", [Problem("external_id", "is missing")])
    # A batch is linked by several ids with commas between.
    external_id = ",".join(part.strip() for part in external_id.split(","))
    if not all(_ID.fullmatch(part) and part.isprintable() and part.strip(".") for part in external_id.split(",")):
        raise Refused(f"This is no id of an object: {ID_SHAPE}", [Problem("external_id", ID_SHAPE)])
    assert ticket.step_id  # noqa: S101  (offered only then)
    services.choose_match(ticket.step_id, external_id=external_id, actor=actor.name)


def has_step(ticket: Ticket) -> bool:
    return ticket.step_id is not None


def _chosen(ticket: Ticket) -> DoneMessage:
    if held_up := naming.held_up(ticket):
        return DoneMessage(f"Saved. {held_up}", finished=False)
    return DoneMessage(CHOICE_KEPT)


# --- Again ------------------------------------------------------------------------------------------------------------


def retry(ticket: Ticket, actor: Actor, _data: Data) -> None:
    if ticket.step_id:
        services.retry_step(ticket.step_id, actor=actor.name)
    elif ticket.connection_id and ticket.category == Category.SERVER_ERROR:
        if not breaker.probe_soon(ticket.connection_id):
            raise Refused("The connection is already being probed.")
        facts = {"connection": str(ticket.connection)}
        audit.record_global("integrations.breaker.probe-requested", actor=actor.name, data=facts)
    elif ticket.connection_id:
        events.retry_failed(ticket.connection_id, actor=actor.name)
    elif ticket.transaction_id:
        services.recheck_gate(ticket.transaction_id, actor=actor.name)


def may_retry(ticket: Ticket) -> bool:
    """A connection whose credentials are refused is tried by entering new ones; an open question is answered."""
    if ticket.topic == Topic.APPROVAL and open_approval(ticket):
        return False
    return ticket.change_request_id is None and not (ticket.connection_id and ticket.category == Category.AUTH_ERROR)


def _retry_preview(ticket: Ticket, _data: Data) -> Sequence[Effect]:
    return [services.retry_preview(_own_step_pk(ticket))]


def _retried(ticket: Ticket) -> DoneMessage:
    if ticket.topic == Topic.APPROVAL:
        return DoneMessage("It is asked again, about the data as it is now.")
    if held_up := naming.held_up(ticket):
        return DoneMessage(held_up, finished=False)
    return DoneMessage("It is retried now. The ticket closes automatically when the step has passed.")


def replay(ticket: Ticket, actor: Actor, data: Data) -> None:
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    from_step = data.get("from_step") or _own_step(ticket)
    services.replay(ticket.transaction_id, from_step, actor=actor.name, seen=data.get("seen"))


def may_replay(ticket: Ticket) -> bool:
    rolling_back = ticket.transaction is not None and ticket.transaction.is_rolling_back
    return has_step(ticket) and may_retry(ticket) and not rolling_back


def _replay_preview(ticket: Ticket, data: Data) -> Sequence[Effect]:
    assert ticket.transaction_id  # noqa: S101  (a run's tickets alone are previewed)
    return services.replay_preview(ticket.transaction_id, data.get("from_step") or _own_step(ticket))


def _own_step(ticket: Ticket) -> str:
    if ticket.step is None:
        raise Refused("Name the step to replay from.", [Problem("from_step", "is missing")])
    return ticket.step.key


def _own_step_pk(ticket: Ticket) -> int:
    if ticket.topic == Topic.MAIL and ticket.mapping:
        return ticket.mapping.step_id
    if ticket.step_id is None:
        raise Refused("The run has not started yet; it starts with its first step.")
    return ticket.step_id


def _replayed(ticket: Ticket, data: Data) -> Sequence[roles.Subject]:
    """The step to replay from may have a ticket of its own."""
    key = data.get("from_step")
    if ticket.transaction is None or not key or (ticket.step and ticket.step.key == key):
        return [ticket]
    return [ticket, *ticket.transaction.steps.filter(key=str(key))]


# --- Another way ------------------------------------------------------------------------------------------------------


def question_of(ticket: Ticket) -> str:
    """The fingerprint of what a person is asked to decide on the ticket's own page, where no preview stands beside it."""
    return confirmation.fingerprint(ticket.pk, ticket.category, ticket.message)


def skip_or_keep(ticket: Ticket, actor: Actor, data: Data) -> None:
    """Skip the step; where the run as a whole is asked about, keep it."""
    reason, seen = str(data.get("reason") or ""), data.get("seen")
    if ticket.step_id and seen is not None:
        services.skip_as_shown(ticket.step_id, actor=actor.name, reason=reason, seen=seen)
    elif ticket.step_id:
        dependents = data.get("with_dependents") is True
        services.skip_step(ticket.step_id, actor=actor.name, reason=reason, with_dependents=dependents)
    elif ticket.transaction_id:
        confirmation.check(seen, question_of(ticket))
        services.keep(ticket.transaction_id, actor=actor.name, reason=reason, topic=Topic(ticket.topic))


def may_skip(ticket: Ticket) -> bool:
    return not ticket.change_request_id and (has_step(ticket) or ticket.category == Category.APPROVAL_OVERDUE)


def _skip_preview(ticket: Ticket, _data: Data) -> Sequence[Effect]:
    return services.skip_preview(_own_step_pk(ticket))


def _skip_seen(ticket: Ticket, preview: Preview) -> str:
    return confirmation.of_preview(preview) if ticket.step else question_of(ticket)


def _left_out(ticket: Ticket, data: Data) -> Sequence[roles.Subject]:
    if ticket.step is None or ticket.transaction is None or data.get("with_dependents") is not True:
        return [ticket]
    return [ticket, *services.dependents(ticket.transaction, ticket.step)]


def _skipped(ticket: Ticket) -> DoneMessage:
    if ticket.step is None:
        if _is_on_hold(ticket):
            return DoneMessage("Saved. The run stays on hold until its other question is answered.", finished=False)
        return DoneMessage("The run stays as it is.")
    if _is_on_hold(ticket):
        return DoneMessage(f"The step is skipped. {ON_HOLD}", finished=False)
    return DoneMessage("The step is skipped. The steps after it continue.")


def roll_back(ticket: Ticket, actor: Actor, data: Data) -> None:
    """The whole run; or where its rollback is stuck at an object that was changed since, that one all the same."""
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    if is_forced(ticket):
        assert ticket.step_id  # noqa: S101  (as is_forced says)
        confirmation.check(data.get("seen"), question_of(ticket))
        services.force_rollback(ticket.step_id, actor=actor.name)
    else:
        reason = str(data.get("reason") or f"Decided on ticket {ticket.pk}.")
        services.rollback(ticket.transaction_id, actor=actor.name, reason=reason)


def is_forced(ticket: Ticket) -> bool:
    """The rollback is under way already, and it is this step's object that is removed all the same."""
    return ticket.category == Category.ROLLBACK_FAILED and has_step(ticket)


def may_roll_back(ticket: Ticket) -> bool:
    run = ticket.transaction
    if run is None or ticket.change_request_id:
        return False
    return ticket.category == Category.ROLLBACK_FAILED or run.status not in (Status.ROLLING_BACK, Status.ROLLED_BACK)


def _rollback_preview(ticket: Ticket, _data: Data) -> Sequence[Effect]:
    assert ticket.transaction_id  # noqa: S101  (a run's tickets alone are previewed)
    return services.rollback_preview(ticket.transaction_id)


def _whole_run(ticket: Ticket, _data: Data) -> Sequence[roles.Subject]:
    """Rolling back is done to the run, whichever ticket it is asked for on; forcing it is done to the one step."""
    return [ticket if ticket.category == Category.ROLLBACK_FAILED else ticket.transaction or ticket]


@retried
def done_by_hand(ticket: Ticket, actor: Actor, data: Data) -> None:
    """What nothing here does or notices was done, at a vendor say: the note says what, and the ticket closes."""
    text = given_text(data, "Say what was done, in")
    with locked_run_if_any(ticket.transaction_id) as run:
        add_note(ticket, actor, run, text)
        lifecycle.resolve(Ticket.objects.filter(pk=ticket.pk), resolution=f"{actor.name} did it manually.")
        if ticket.change_request:
            sla.meet_change(ticket.change_request, at=clock.now())


REPLAY_RUN = Permission("onboarding.replay_run", granted=frozenset({"support-ops", "revenue-operations", "leads"}))
SKIP_STEP = Permission(
    "onboarding.skip_step", granted=frozenset({"support-ops", "revenue-operations", "finance", "leads"})
)
ROLLBACK_RUN = Permission("onboarding.rollback_run", granted=frozenset({"revenue-operations", "finance", "leads"}))
SHOWN_STATUS = Shown("shown_status", lambda ticket, _: ticket.status)

FIX = Action(
    "fix",
    "Save and retry",
    Permission("fix_ticket", "Can fix missing data, then retry", DATA_GROUPS),
    fix,
    names_fields,
    forms.FIX,
    is_remedy=True,
    summary="Provide missing or wrong data, then retry",
    example={"fields": {"customer.domain": "acme-logistics.com", "commercial.term": "annual"}},
    card=Card("Fill in what is missing", button="Save and retry", is_primary=True),
    preview=_retry_preview,
    shown=(Shown("version", lambda ticket, _: ticket.transaction.snapshot_version if ticket.transaction else ""),),
    done_message=_fixed,
)
DONE = Action(
    "done",
    "Done by hand",
    NOTE_TICKET,
    done_by_hand,
    lambda ticket: ticket.is_by_hand,
    forms.DONE,
    summary="Report that a change was made manually",
    example={"text": "Changed the name in the CRM."},
    card=Card("Done by hand", "{message}", "Done: close the ticket", is_primary=True),
    done_message=lambda _: DoneMessage("The note is saved, the ticket closed."),
)
CHOOSE_MATCH = Action(
    "choose-match",
    "Choose",
    Permission("choose_match_ticket", "Can choose among matches", DATA_GROUPS),
    choose_match,
    has_step,
    forms.CHOOSE_MATCH,
    is_remedy=True,
    summary="Choose among several matches",
    example={"external_id": "5501"},
    shown=(
        SHOWN_STATUS,
        Shown("candidate", lambda ticket, _: [each["external_id"] for each in ticket.candidates], many=True),
    ),
    done_message=_chosen,
)
RETRY = Action(
    "retry",
    "Retry",
    Permission("retry_ticket", "Can retry", ALL_GROUPS),
    retry,
    may_retry,
    is_remedy=True,
    summary="Retry now",
    preview=_retry_preview,
    card=Card(
        "Retry",
        "What was already done is recognised and not repeated. The ticket closes automatically once {subject} has passed.",
        "Retry now",
        is_primary=True,
        is_last=True,
    ),
    bulk=Bulk(
        "retried",
        "is retried now",
        "A ticket closes automatically when its step has passed.",
        "They need an answer before a retry can help, belong to another queue, or are resolved.",
    ),
    done_message=_retried,
)
LINK_OBJECT = Action(
    "link-object",
    "Link an object",
    Permission("link_object_ticket", "Can link an object by its id", frozenset({"support-ops", "revenue-operations"})),
    link_object,
    has_step,
    forms.LINK_OBJECT,
    is_remedy=True,
    summary="Link a vendor object by its id",
    example={"external_id": "5501"},
    card=Card("Link another {object}", button="Link it"),
    shown=(SHOWN_STATUS,),
    done_message=_chosen,
)
REPLAY = Action(
    "replay",
    "Replay from a step",
    REPLAY_RUN,
    replay,
    may_replay,
    forms.REPLAY,
    is_remedy=True,
    summary="Replay a step and everything after it",
    example={"from_step": "crm.account"},
    subjects=_replayed,
    preview=_replay_preview,
    place=Place.OTHER,
    card=Card("Replay from this step", shows_preview=True),
    shown=(Shown("seen", lambda _, preview: confirmation.of_preview(preview), absent=""),),
    done_message=lambda _: DoneMessage("This step and those after it run again; what exists is not created twice."),
)
SKIP = Action(
    "skip",
    "Skip the step",
    SKIP_STEP,
    skip_or_keep,
    may_skip,
    forms.SKIP,
    is_remedy=True,
    summary="Skip the step",
    example={"reason": "Done by hand."},
    subjects=_left_out,
    preview=_skip_preview,
    place=Place.OTHER,
    card=Card("Skip this step", shows_preview=True),
    shown=(Shown("seen", _skip_seen, absent=""),),
    done_message=_skipped,
)
ROLLBACK = Action(
    "rollback",
    "Roll back",
    ROLLBACK_RUN,
    roll_back,
    may_roll_back,
    forms.OPTIONAL_REASON,
    is_remedy=True,
    summary="Roll the run back",
    example={"reason": "The customer withdrew."},
    subjects=_whole_run,
    preview=_rollback_preview,
    place=Place.OTHER,
    shown=(Shown("seen", lambda ticket, _: question_of(ticket), absent=""),),
    asks=lambda ticket: not is_forced(ticket),
    done_message=lambda _: DoneMessage("It is being removed now."),
)
RESOLVING = (FIX, DONE, CHOOSE_MATCH, RETRY, LINK_OBJECT, REPLAY, SKIP, ROLLBACK)
