"""What people do to tickets from the console: every change is a POST that ends in ``actions.perform``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest

from exceptions_queue import actions
from exceptions_queue.actions import Actor, NotAllowed
from exceptions_queue.admin import looks, ticket_page, timeline, words
from exceptions_queue.admin.changes import shown_version
from exceptions_queue.admin.ticket_forms import AssignForm, FixForm, LinkForm, NoteForm, ReasonForm, SnoozeForm
from exceptions_queue.admin.ticket_page import SEE_PERSONAL
from exceptions_queue.models import Ticket
from onboarding.models import OnboardingTransaction
from onboarding.payload import catalogue
from onboarding.payload.schema import get
from onboarding.services import Outdated, Refused
from onboarding.words import Category


@dataclass(frozen=True)
class Done:
    """How a POST ended. ``forms`` are shown again with what was entered; after a 302 the browser is sent back to the page."""

    forms: dict[str, Any]
    status: int = 302
    typed: tuple[tuple[str, str], ...] = ()
    """What was typed into fields that the page has no more: label and text."""


def act(request: HttpRequest, user: User, ticket: Ticket, name: str) -> Done:
    """Do it, and say in messages what came of it."""
    form, data = _READERS[name](request, user, ticket)
    if form is not None and not form.is_valid():
        # A form that cannot be read yet must not tell somebody without permission more than "no".
        if not actions.ACTIONS[name].allows(Actor.of(user), ticket):
            messages.error(request, f"You may not do this to this ticket ({actions.ACTIONS[name].label.lower()}).")
            return Done({}, 403, _typed(request, ticket))
        return Done({name: form}, 422, _typed(request, ticket, form))
    if isinstance(form, FixForm) and (lost := _typed(request, ticket, form)):
        told = _by_others(ticket, user) or "These fields are not asked for any more."
        messages.warning(request, f"Not done: what is asked for has changed since you opened the page. {told}")
        return Done({name: form.after_conflict(ticket)}, 409, lost)
    try:
        fresh = actions.perform(ticket.pk, name, Actor.of(user), **data())
    except NotAllowed as refusal:
        messages.error(request, str(refusal))
        return Done({}, 403, _typed(request, ticket))
    except Outdated as refusal:
        messages.warning(request, f"Not done: {refusal} {_by_others(ticket, user)}".strip())
        if isinstance(form, FixForm):
            form = form.after_conflict(ticket_page.load(ticket.pk))
            form.take(str(refusal), refusal.problems)
        return Done({name: form} if form else {}, 409, _typed(request, ticket, form))
    except Refused as refusal:
        if refusal.problems and isinstance(form, FixForm):
            form.take(str(refusal), refusal.problems)
            return Done({name: form}, 422)
        if refusal.problems and isinstance(form, LinkForm):
            form.add_error("external_id", str(refusal))
            return Done({name: form}, 422)
        messages.warning(request, f"Not done: {refusal} {_by_others(ticket, user)}".strip())
        is_shown = form is not None and Ticket.objects.get(pk=ticket.pk).is_open
        typed = _typed(request, ticket, form if is_shown else None)
        return Done({name: form}, 409, typed) if is_shown or typed else Done({}, 302)
    _tell(request, name, fresh)
    return Done({}, 302)


UNTYPED = frozenset({"csrfmiddlewaretoken", "seen", "version", "shown_status", "shown_as", "candidate", "create"}) | {
    *("with_dependents", "queue", "owner", "minutes")
}
"""What a form sends besides what a person typed."""
LABELS = {"text": "Note", "reason": "Reason", "external_id": "Its id at the vendor"}


def _typed(request: HttpRequest, ticket: Ticket, form: Any = None) -> tuple[tuple[str, str], ...]:
    """What a person typed, but for what ``form`` shows again and what is the run's data by now."""
    if "shown_status" in request.POST and form is None and "create" not in request.POST:
        return ()  # a candidate's button
    fields = form.fields if form is not None else {}
    content = OnboardingTransaction.objects.get(pk=ticket.transaction_id).payload if ticket.transaction_id else {}
    found = []
    for name, value in request.POST.items():
        if name in UNTYPED or name in fields or not str(value).strip():
            continue
        if name in catalogue.BY_PATH and str(get(content, name, default="")) == str(value).strip():
            continue
        label = catalogue.label(name) if name in catalogue.BY_PATH else LABELS.get(name, "")
        if label:
            found.append((label, str(value)))
    return tuple(found)


def _by_others(ticket: Ticket, user: User) -> str:
    return timeline.latest_by_others(ticket, user)


Read = tuple[Any, Callable[[], dict[str, Any]]]


def _fix(request: HttpRequest, user: User, ticket: Ticket) -> Read:
    if not ticket.is_open:
        return None, lambda: {"fields": {}}  # the service says that it is resolved already
    assert ticket.transaction  # noqa: S101  (a connection's ticket has no fields, and its service refuses)
    version, content = shown_version(ticket.transaction, request.POST)
    form = FixForm(ticket, request.POST, see_personal=user.has_perm(SEE_PERSONAL), content=content)
    return form, lambda: {"fields": form.answers, "confirmed": form.confirmed, "version": version}


def _choose(request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    chosen, create = request.POST.get("external_id", ""), request.POST.get("create") == "true"
    shown = request.POST.getlist("candidate") if "shown_status" in request.POST else None
    return None, lambda: {
        "external_id": chosen,
        "create": create,
        "candidates": shown,
        "shown_status": request.POST.get("shown_status"),
    }


def _link(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = LinkForm(request.POST)
    return (form if ticket.is_open else None), lambda: {
        "external_id": request.POST.get("external_id", ""),
        "shown_status": request.POST.get("shown_status"),
    }


def _assign(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = AssignForm(ticket, request.POST)
    return form, lambda: {
        "queue": form.cleaned_data["queue"],
        "owner": form.cleaned_data["owner"],
        "shown_as": request.POST.get("shown_as"),
    }


def _replay(request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    return None, lambda: {"seen": request.POST.get("seen", "")}


def _snooze(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    if request.POST.get("minutes") == "0":
        return None, lambda: {"minutes": 0}
    form = SnoozeForm(request.POST)
    return (form if ticket.is_open else None), lambda: {
        "minutes": form.cleaned_data["minutes"],
        "reason": form.cleaned_data["reason"],
    }


def _roll_back(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    """The run's own page asks first, with a preview; only a stuck object is taken back from here."""
    form = ReasonForm(request.POST) if ticket.category != Category.ROLLBACK_FAILED else None
    seen = request.POST.get("seen", "")
    return (form if ticket.is_open else None), lambda: {"reason": request.POST.get("reason", ""), "seen": seen}


def _skip(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = ReasonForm(request.POST)
    seen = request.POST.get("seen", "")
    return (form if ticket.is_open else None), lambda: {"reason": request.POST.get("reason", ""), "seen": seen}


def _note(request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    form = NoteForm("note", request.POST)
    return form, lambda: {"text": form.cleaned_data["text"]}


def _done(request: HttpRequest, _user: User, ticket: Ticket) -> Read:
    form = NoteForm("done", request.POST)
    return (form if ticket.is_open else None), lambda: {"text": request.POST.get("text", "")}


def _plain(_request: HttpRequest, _user: User, _ticket: Ticket) -> Read:
    return None, dict


_READERS: dict[str, Callable[[HttpRequest, User, Ticket], Read]] = {
    "fix": _fix,
    "choose-match": _choose,
    "retry": _plain,
    "link-object": _link,
    "replay": _replay,
    "skip": _skip,
    "rollback": _roll_back,
    "assign": _assign,
    "snooze": _snooze,
    "note": _note,
    "done": _done,
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
        case "skip":
            kept, skipped = "The run stays as it is.", "The step is skipped. What comes after it goes on."
            messages.success(request, skipped if ticket.step else kept)
        case "assign":
            messages.success(
                request,
                f"Assigned to {', '.join(filter(None, (ticket.get_queue_display(), looks.person(ticket.owner))))}.",
            )
        case "snooze":
            messages.success(request, _snoozed(ticket))
        case _:
            messages.success(request, "The note is kept." if ticket.is_open else "The note is kept, the ticket closed.")


def _snoozed(ticket: Ticket) -> str:
    if ticket.snoozed_until is None:
        return "It is taken up again."
    return f"Put aside until {ticket.snoozed_until:%H:%M} UTC ({looks.when(ticket.snoozed_until)})."
