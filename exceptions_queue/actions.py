"""The one door for what people do to tickets: console and REST both come through ``perform``.

Each action checks the permission on the object, then calls down into onboarding or integrations, which lock, move and audit.
A ticket closes only when its subject has passed; no action closes it, but "done" of what a person does at a vendor by hand.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction as db

from exceptions_queue import alerts, roles, sla, tickets
from exceptions_queue.models import Ticket, TicketNote, TicketStatus
from integrations import breaker, clock
from onboarding import audit, services
from onboarding.api.authentication import Caller
from onboarding.engine.locks import lock_run, retried
from onboarding.intake import events
from onboarding.models import OnboardingTransaction
from onboarding.payload.gate import Problem
from onboarding.queues import QUEUES
from onboarding.services import Outdated, Refused, confirmation
from onboarding.words import Category, Scope, Status

_ID = re.compile(r"[^\s/\\?#%,]{1,255}")
"""One segment of a vendor's path, which no vendor's ids are more than."""
LONGEST_SNOOZE = 24 * 60
"""Minutes."""
ID_SHAPE = "give the id alone, without blanks, slashes or the rest of an address."


class NotAllowed(Exception):
    """The actor may not do this to this ticket."""


@dataclass(frozen=True)
class Actor:
    """Who acts: a person, or without one an API key with its scope."""

    name: str
    user: User | None = None
    scope: Scope = Scope.OPERATE

    @classmethod
    def of(cls, who: User | Caller) -> "Actor":
        if isinstance(who, Caller):
            return cls(who.actor, scope=who.scope)
        return cls(who.get_username(), who)

    def may(self, permission: str, *subjects: roles.Subject) -> bool:
        return roles.may_all(self.user or self.scope, permission, subjects)


Subjects = Callable[[Ticket, dict[str, Any]], Sequence[roles.Subject]]


def _itself(ticket: Ticket, _data: dict[str, Any]) -> Sequence[roles.Subject]:
    return [ticket]


@dataclass(frozen=True)
class Action:
    """``offered`` says whether it makes sense for a ticket now; ``permission`` is a codename of this app.

    ``subjects``: what it is done to, where that is not the ticket alone: who may do it is decided by all of them.
    """

    name: str
    label: str
    permission: str
    offered: Callable[[Ticket], bool]
    do: Callable[[Ticket, Actor, dict[str, Any]], None]
    subjects: Subjects = _itself

    def allows(self, actor: Actor, ticket: Ticket, data: dict[str, Any] | None = None) -> bool:
        if actor.user is None:
            return actor.may(self.permission, ticket)  # a key's scope decides, and lists must not ask for each row
        return actor.may(self.permission, *self.subjects(ticket, data or {}))


def perform(ticket_pk: int, name: str, actor: Actor, **data: Any) -> Ticket:
    """Do one action.

    Raises ``NotAllowed``, ``Refused`` (it makes no sense now, or the data is wrong) or ``Ticket.DoesNotExist``.
    """
    ticket = Ticket.objects.select_related("transaction", "step", "connection", "change_request", "owner").get(
        pk=ticket_pk
    )
    action = ACTIONS[name]
    if not action.allows(actor, ticket, data):
        raise NotAllowed(f"{actor.name} may not {action.label.lower()} on this ticket.")
    if not ticket.is_open and name != "note":
        raise Refused("This ticket is resolved already.")
    if not action.offered(ticket):
        raise Refused(f"“{action.label}” is not possible for this ticket.")
    action.do(ticket, actor, data)
    return Ticket.objects.get(pk=ticket_pk)


def available(ticket: Ticket, actor: Actor) -> list[Action]:
    """What this actor may do to this ticket now, in the order of ``ACTIONS``."""
    if not ticket.is_open:
        return []
    return [action for action in ACTIONS.values() if action.offered(ticket) and action.allows(actor, ticket)]


def _retry(ticket: Ticket, actor: Actor, _data: dict[str, Any]) -> None:
    if ticket.step_id:
        services.retry_step(ticket.step_id, actor=actor.name)
    elif ticket.connection_id and ticket.category == Category.SERVER_ERROR:
        if not breaker.probe_soon(ticket.connection_id):
            raise Refused("The connection is being tried already.")
        facts = {"connection": str(ticket.connection)}
        audit.record_elsewhere("integrations.breaker.probe-requested", actor=actor.name, data=facts)
    elif ticket.connection_id:
        events.retry_failed(ticket.connection_id, actor=actor.name)
    elif ticket.transaction_id:
        services.readmit(ticket.transaction_id, actor=actor.name)


def _fix(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    fields = data.get("fields")
    if not isinstance(fields, dict):
        raise Refused("Give the fields as {path: value}.")
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    services.fix(
        ticket.transaction_id,
        fields,
        actor=actor.name,
        step_pk=ticket.step_id,
        confirmed=frozenset(data.get("confirmed", ())),
        version=data.get("version"),
    )


def question_of(ticket: Ticket) -> str:
    """The fingerprint of what a person is asked to decide on the ticket's own page, where no preview stands beside it."""
    return confirmation.fingerprint(ticket.pk, ticket.category, ticket.message)


def _check_undecided(ticket: Ticket, data: dict[str, Any]) -> None:
    """A choice is refused where somebody else made one since this person was shown the ticket waiting for it."""
    if data.get("shown_status") == TicketStatus.OPEN and ticket.status == TicketStatus.RETRYING:
        raise Outdated("this ticket was decided since you looked; it is being tried again.")


def _choose_match(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
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
    services.choose_match(ticket.step_id, external_id=external_id, actor=actor.name, seen=data.get("candidates"))


def _link_object(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
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


def _replay(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    from_step = data.get("from_step") or _own_step(ticket)
    services.replay(ticket.transaction_id, from_step, actor=actor.name, seen=data.get("seen"))


def _own_step(ticket: Ticket) -> str:
    if ticket.step is None:
        raise Refused("Name the step to replay from.", [Problem("from_step", "is missing")])
    return ticket.step.key


def _skip(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    assert ticket.step_id  # noqa: S101  (offered only then)
    reason = str(data.get("reason") or "")
    if (seen := data.get("seen")) is not None:
        services.skip_as_shown(ticket.step_id, actor=actor.name, reason=reason, seen=seen)
        return
    services.skip_step(
        ticket.step_id,
        actor=actor.name,
        reason=reason,
        with_dependents=data.get("with_dependents") is True,
    )


def _roll_back(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    """The whole run; or where its rollback is stuck at an object that was changed since, that one all the same."""
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    if ticket.category == Category.ROLLBACK_FAILED and ticket.step_id:
        confirmation.check(data.get("seen"), question_of(ticket))
        services.force_rollback(ticket.step_id, actor=actor.name)
    else:
        reason = str(data.get("reason") or f"Decided on ticket {ticket.pk}.")
        services.rollback(ticket.transaction_id, actor=actor.name, reason=reason)


def _skip_or_keep(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    if ticket.step_id:
        _skip(ticket, actor, data)
    elif ticket.transaction_id:
        confirmation.check(data.get("seen"), question_of(ticket))
        services.keep(ticket.transaction_id, actor=actor.name, reason=str(data.get("reason") or ""))


def preview(ticket: Ticket, name: str, *, from_step: str = "") -> Sequence[services.Effect]:
    """What an action would do to the run's steps, without doing it. Raises ``Refused``."""
    if ticket.transaction_id is None:
        raise Refused("A connection's ticket has no steps.")
    if name == "rollback":
        return services.rollback_preview(ticket.transaction_id)
    if name == "replay":
        return services.replay_preview(ticket.transaction_id, from_step or _own_step(ticket))
    if ticket.step_id is None:
        raise Refused("The run has not begun; it starts with its first step once it may.")
    if name == "skip":
        return services.skip_preview(ticket.step_id)
    return [services.retry_preview(ticket.step_id)]


def assigned_as(ticket: Ticket) -> str:
    return f"{ticket.queue}:{ticket.owner_id or ''}"


@retried
def _assign(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    """Give the ticket to a queue, a person or both; what is not named stays, and an empty ``owner`` means nobody in particular."""
    queue = data.get("queue") or ticket.queue
    owner = data["owner"] if "owner" in data else ticket.owner and ticket.owner.get_username()
    if queue not in QUEUES:
        raise Refused(f"There is no queue {queue}.", [Problem("queue", "does not exist")])
    user = None
    if owner and not (user := User.objects.filter(username=owner, is_active=True).first()):
        raise Refused(f"There is no active user {owner}.", [Problem("owner", "does not exist")])
    with db.atomic():
        run = lock_run(ticket.transaction_id) if ticket.transaction_id else None
        fresh = Ticket.objects.select_for_update(no_key=True).get(pk=ticket.pk)
        if data.get("shown_as") not in (None, assigned_as(fresh)):
            raise Outdated("somebody assigned it since you looked.")
        fresh.queue, fresh.owner = queue, user
        fresh.save()
        alerts.queue_late(fresh)
        _audit(
            run, "exceptions.ticket.assigned", actor, {"ticket": ticket.pk, "queue": queue, "owner": str(user or "")}
        )


@retried
def _note(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    text = data.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > 4000 or "\x00" in text:  # noqa: PLR2004
        raise Refused("Give a text of 1 to 4000 characters.", [Problem("text", "must be a text")])
    with db.atomic():
        run = lock_run(ticket.transaction_id) if ticket.transaction_id else None
        note = TicketNote.objects.create(ticket=ticket, author=actor.name, text=text.strip(), at=clock.now())
        _audit(run, "exceptions.ticket.noted", actor, {"ticket": ticket.pk, "note": note.pk})


@retried
def _done(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    """What no step writes was written at the vendor: the note says what was done, and the ticket closes."""
    text = data.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > 4000 or "\x00" in text:  # noqa: PLR2004
        raise Refused("Say what was done, in 1 to 4000 characters.", [Problem("text", "must be a text")])
    assert ticket.transaction_id  # noqa: S101  (offered only then)
    with db.atomic():
        run = lock_run(ticket.transaction_id)
        note = TicketNote.objects.create(ticket=ticket, author=actor.name, text=text.strip(), at=clock.now())
        _audit(run, "exceptions.ticket.noted", actor, {"ticket": ticket.pk, "note": note.pk})
        tickets.resolve(Ticket.objects.filter(pk=ticket.pk), resolution=f"{actor.name} did it by hand.")
        if ticket.change_request:
            sla.meet_change(ticket.change_request, at=clock.now())
        run.save()


@retried
def _snooze(ticket: Ticket, actor: Actor, data: dict[str, Any]) -> None:
    """Put the ticket aside for some minutes, at the longest until its clock is due; 0 takes it up again."""
    minutes = data.get("minutes")
    if isinstance(minutes, bool) or not isinstance(minutes, int) or not 0 <= minutes <= LONGEST_SNOOZE:
        raise Refused(f"Give 0 to {LONGEST_SNOOZE} minutes.", [Problem("minutes", f"must be 0 to {LONGEST_SNOOZE}")])
    reason = services.given_reason(str(data.get("reason") or "")) if minutes else ""
    with db.atomic():
        run = lock_run(ticket.transaction_id) if ticket.transaction_id else None
        fresh = Ticket.objects.select_for_update(no_key=True).get(pk=ticket.pk)
        if not fresh.is_open:
            raise Refused("This ticket is resolved already.")
        now = clock.now()
        fresh.wake()
        if minutes:
            until = now + timedelta(minutes=minutes)
            if fresh.sla_due and now < fresh.sla_due < until:
                until = fresh.sla_due
            fresh.snoozed_until, fresh.snoozed_by, fresh.snooze_reason = until, actor.name[:150], reason
        fresh.save()
        name = "exceptions.ticket.snoozed" if minutes else "exceptions.ticket.woken"
        _audit(run, name, actor, {"ticket": ticket.pk, **({"minutes": minutes} if minutes else {})})


def _audit(run: OnboardingTransaction | None, name: str, actor: Actor, facts: dict[str, Any]) -> None:
    if run:
        audit.record(run, name, actor=actor.name, data=facts)
    else:
        audit.record_elsewhere(name, actor=actor.name, data=facts)


def _whole_run(ticket: Ticket, _data: dict[str, Any]) -> Sequence[roles.Subject]:
    """Rolling back is done to the run, whichever ticket it is asked for on; forcing it is done to the one step."""
    return [ticket if ticket.category == Category.ROLLBACK_FAILED else ticket.transaction or ticket]


def _replayed(ticket: Ticket, data: dict[str, Any]) -> Sequence[roles.Subject]:
    """The step to replay from may have a ticket of its own."""
    key = data.get("from_step")
    if ticket.transaction is None or not key or (ticket.step and ticket.step.key == key):
        return [ticket]
    return [ticket, *ticket.transaction.steps.filter(key=str(key))]


def _left_out(ticket: Ticket, data: dict[str, Any]) -> Sequence[roles.Subject]:
    if ticket.step is None or ticket.transaction is None or data.get("with_dependents") is not True:
        return [ticket]
    return [ticket, *services.dependents(ticket.transaction, ticket.step)]


def _has_step(ticket: Ticket) -> bool:
    return ticket.step_id is not None


def _may_skip(ticket: Ticket) -> bool:
    if ticket.change_request_id:
        return False
    return _has_step(ticket) or ticket.category == Category.APPROVAL_OVERDUE


def _may_roll_back(ticket: Ticket) -> bool:
    run = ticket.transaction
    if run is None or ticket.change_request_id:
        return False
    return ticket.category == Category.ROLLBACK_FAILED or run.status not in (Status.ROLLING_BACK, Status.ROLLED_BACK)


def _may_replay(ticket: Ticket) -> bool:
    rolling_back = ticket.transaction is not None and ticket.transaction.is_rolling_back
    return _has_step(ticket) and _may_retry(ticket) and not rolling_back


def _may_retry(ticket: Ticket) -> bool:
    if ticket.category in (Category.MISSING_DATA, Category.AMBIGUOUS_MATCH, Category.APPROVAL_OVERDUE):
        return False  # without an answer it would only fail in the same way
    if ticket.change_request_id:
        return False
    return ticket.connection_id is None or ticket.category != Category.AUTH_ERROR


def _may_fix(ticket: Ticket) -> bool:
    return ticket.transaction_id is not None and any(problem.get("path") for problem in ticket.problems)


def _may_choose(ticket: Ticket) -> bool:
    return _has_step(ticket) and ticket.category in (Category.AMBIGUOUS_MATCH, Category.UNKNOWN_OUTCOME)


def _may_link(ticket: Ticket) -> bool:
    """A person may know the object whatever the failure, unless the account itself cannot be reached."""
    return _has_step(ticket) and ticket.category not in (Category.AUTH_ERROR, Category.NOT_CONFIGURED)


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("fix", "Save and retry", "fix_ticket", _may_fix, _fix),
        Action("done", "Done by hand", "note_ticket", lambda ticket: ticket.is_by_hand, _done),
        Action("choose-match", "Choose", "choose_match_ticket", _may_choose, _choose_match),
        Action("retry", "Retry", "retry_ticket", _may_retry, _retry),
        Action("link-object", "Link an object", "link_object_ticket", _may_link, _link_object),
        Action("replay", "Replay from a step", "onboarding.replay_run", _may_replay, _replay, _replayed),
        Action("skip", "Skip the step", "onboarding.skip_step", _may_skip, _skip_or_keep, _left_out),
        Action("rollback", "Roll back", "onboarding.rollback_run", _may_roll_back, _roll_back, _whole_run),
        Action("assign", "Assign", "assign_ticket", lambda _: True, _assign),
        Action("snooze", "Put aside", "snooze_ticket", lambda _: True, _snooze),
        Action("note", "Add a note", "note_ticket", lambda _: True, _note),
    )
}
