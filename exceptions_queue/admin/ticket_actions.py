"""What people do to tickets from the console: every change is a POST that ends in ``actions.perform``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest

from exceptions_queue import actions
from exceptions_queue.actions import Actor, NotAllowed
from exceptions_queue.admin import looks, words
from exceptions_queue.admin.ticket_forms import AssignForm, FixForm, LinkForm, NoteForm, ReasonForm
from exceptions_queue.admin.ticket_page import SEE_PERSONAL
from exceptions_queue.models import Ticket
from onboarding.payload import catalogue
from onboarding.services import Refused
from onboarding.words import Category


@dataclass(frozen=True)
class Done:
    """How a POST ended. ``forms`` are shown again with what was entered; without any the browser is sent back to the page."""

    forms: dict[str, Any]
    status: int = 302


def act(request: HttpRequest, user: User, ticket: Ticket, name: str) -> Done:
    """Do it, and say in messages what came of it."""
    form, data = _READERS[name](request, user, ticket)
    if form is not None and not form.is_valid():
        # A form that cannot be read yet must not tell somebody without permission more than "no".
        if not actions.ACTIONS[name].allows(Actor.of(user), ticket):
            messages.error(request, f"You may not do this to this ticket ({actions.ACTIONS[name].label.lower()}).")
            return Done({}, 403)
        return Done({name: form}, 422)
    try:
        fresh = actions.perform(ticket.pk, name, Actor.of(user), **data())
    except NotAllowed as refusal:
        messages.error(request, str(refusal))
        return Done({}, 403)
    except Refused as refusal:
        if refusal.problems and isinstance(form, FixForm):
            form.take(str(refusal), refusal.problems)
            return Done({name: form}, 422)
        if refusal.problems and isinstance(form, LinkForm):
            form.add_error("external_id", str(refusal))
            return Done({name: form}, 422)
        messages.warning(request, f"Not done: {refusal}")
        return Done({}, 302)
    _tell(request, name, fresh)
    return Done({}, 302)


Read = tuple[Any, Callable[[], dict[str, Any]]]


def _fix(request: HttpRequest, user: User, ticket: Ticket) -> Read:
    if not ticket.is_open:
        return None, lambda: {"fields": {}}  # the service says that it is resolved already
    form = FixForm(ticket, request.POST, see_personal=user.has_perm(SEE_PERSONAL))
    return form, lambda: {"fields": form.answers}


def _choose(request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    chosen, create = request.POST.get("external_id", ""), request.POST.get("create") == "true"
    return None, lambda: {"external_id": chosen, "create": create}


def _link(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = LinkForm(request.POST)
    return (form if ticket.is_open else None), lambda: {"external_id": request.POST.get("external_id", "")}


def _assign(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = AssignForm(ticket, request.POST)
    return form, lambda: {"queue": form.cleaned_data["queue"], "owner": form.cleaned_data["owner"]}


def _roll_back(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    """The run's own page asks first, with a preview; only a stuck object is taken back from here."""
    form = ReasonForm(request.POST) if ticket.category != Category.ROLLBACK_FAILED else None
    return (form if ticket.is_open else None), lambda: {"reason": request.POST.get("reason", "")}


def _skip(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = ReasonForm(request.POST)
    along = request.POST.get("with_dependents") == "true"
    return (form if ticket.is_open else None), lambda: {
        "reason": request.POST.get("reason", ""),
        "with_dependents": along,
    }


def _note(request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    form = NoteForm(request.POST)
    return form, lambda: {"text": form.cleaned_data["text"]}


def _plain(_request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    return None, dict


_READERS: dict[str, Callable[[HttpRequest, User, Ticket], Read]] = {
    "fix": _fix,
    "choose-match": _choose,
    "retry": _plain,
    "link-object": _link,
    "replay": _plain,
    "skip": _skip,
    "rollback": _roll_back,
    "assign": _assign,
    "note": _note,
}


def knows(name: str) -> bool:
    return name in _READERS and name in actions.ACTIONS


def _kept_back(name: str, ticket: Ticket) -> str:
    """What to say where it is done, and something else keeps the step or the run from going on; empty where nothing does."""
    on_hold = ticket.transaction is not None and ticket.transaction.held_at is not None
    match name:
        case "fix" | "choose-match" | "link-object" | "retry" if held_up := words.held_up(ticket):
            return held_up if name == "retry" else f"Saved. {held_up}"
        case "fix" if on_hold and ticket.step is None and not ticket.is_open:
            return "Saved. The data is complete; the run is on hold until somebody resumes it."
        case "skip" if on_hold and ticket.step:
            return "The step is skipped. The run is on hold until somebody resumes it."
    return ""


def _tell(request: HttpRequest, name: str, ticket: Ticket) -> None:
    if waits := _kept_back(name, ticket):
        messages.info(request, waits)
        return
    match name:
        case "fix" if ticket.is_open and ticket.step is None and ticket.problems:
            missing = catalogue.labels(problem["path"] for problem in ticket.problems if problem.get("path"))
            messages.info(request, f"Saved. Still missing: {missing}.")
        case "fix" if ticket.step is None:
            messages.success(
                request, "Saved. The data is complete, and the onboarding goes on by itself; watch its steps below."
            )
        case "fix":
            messages.success(request, "Saved. The step is tried again with the new data.")
        case "choose-match" | "link-object":
            messages.success(request, "Your choice is kept for this customer. The step goes on with it.")
        case "retry":
            messages.success(request, "It is tried again now. The ticket closes by itself when the step has passed.")
        case "replay":
            messages.success(request, "This step and those after it are done again; what exists is not made twice.")
        case "rollback":
            messages.success(request, "It is being taken back now.")
        case "skip" if ticket.step is None:
            messages.success(request, "The run stays as it is.")
        case "skip":
            messages.success(request, "The step is skipped. What comes after it goes on.")
        case "assign":
            messages.success(
                request,
                f"Assigned to {', '.join(filter(None, (ticket.get_queue_display(), looks.person(ticket.owner))))}.",
            )
        case _:
            messages.success(request, "The note is kept.")
