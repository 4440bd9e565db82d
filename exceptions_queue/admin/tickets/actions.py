"""What people do to tickets from the console: every change is a POST that ends in ``actions.perform``."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest

from exceptions_queue.admin.tickets import cards
from exceptions_queue.admin.tickets import page as ticket_page
from exceptions_queue.admin.tickets.forms import FixForm
from exceptions_queue.admin.ui import timeline
from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions, naming
from exceptions_queue.tickets.actions import NotAllowed
from exceptions_queue.tickets.declaration import Action
from onboarding.models import OnboardingTransaction
from onboarding.payload import catalogue
from onboarding.payload.schema import get
from onboarding.services import Outdated, Refused


@dataclass(frozen=True)
class Done:
    """How a POST ended. ``forms`` are shown again with what was entered; after a 302 the browser is sent back to the page."""

    forms: dict[str, Any]
    status: int = 302
    typed: tuple[tuple[str, str], ...] = ()
    """What was typed into fields that the page has no more: label and text."""


def act(request: HttpRequest, user: User, ticket: Ticket, action: Action) -> Done:
    """Do it, and say in messages what came of it."""
    sent = cards.sent(action, ticket, user, request.POST)
    form, name = sent.form, action.name
    typed = _Typed(request, ticket, action)
    if form is not None and not form.is_valid():
        # A form that cannot be read yet must not tell somebody without permission more than "no".
        if not action.allows(Actor.of(user), ticket):
            messages.error(request, f"You may not do this to this ticket ({action.label.lower()}).")
            return Done({}, 403, typed.but_for(None))
        return Done({name: form}, 422, typed.but_for(form))
    if isinstance(form, FixForm) and (lost := typed.but_for(form)):
        why = _by_others(ticket, user) or "These fields are not needed any more."
        messages.warning(request, f"Not done: what is asked for has changed since you opened the page. {why}")
        return Done({name: form.after_conflict(ticket)}, 409, lost)
    try:
        fresh = actions.perform(ticket.pk, name, Actor.of(user), **sent.data)
    except NotAllowed as refusal:
        messages.error(request, str(refusal))
        return Done({}, 403, typed.but_for(None))
    except Outdated as refusal:
        messages.warning(request, f"Not done: {refusal} {_by_others(ticket, user)}".strip())
        if isinstance(form, FixForm):
            form = form.after_conflict(ticket_page.load(ticket.pk))
            form.take(str(refusal), refusal.problems)
        return Done({name: form} if form else {}, 409, typed.but_for(form))
    except Refused as refusal:
        if refusal.problems and form is not None and form.take(str(refusal), refusal.problems):
            return Done({name: form}, 422)
        messages.warning(request, f"Not done: {refusal} {_by_others(ticket, user)}".strip())
        is_shown = form is not None and Ticket.objects.get(pk=ticket.pk).is_open
        lost = typed.but_for(form if is_shown else None)
        return Done({name: form}, 409, lost) if is_shown or lost else Done({}, 302)
    told = action.done_message(fresh)
    (messages.success if told.finished else messages.info)(request, told.text)
    return Done({}, 302)


@dataclass(frozen=True)
class _Typed:
    request: HttpRequest
    ticket: Ticket
    action: Action

    def but_for(self, form: Any) -> tuple[tuple[str, str], ...]:
        """What a person typed, but for what ``form`` shows again and what is the run's data by now."""
        ticket, asked = self.ticket, {each.name: each.label for each in self.action.form.fields if each.is_typed}
        fields = form.fields if form is not None else {}
        content = OnboardingTransaction.objects.get(pk=ticket.transaction_id).payload if ticket.transaction_id else {}
        found = []
        for name, value in self.request.POST.items():
            if name in fields or not str(value).strip():
                continue
            if name in catalogue.BY_PATH:
                if str(get(content, name, default="")) != str(value).strip():
                    found.append((catalogue.label(name), str(value)))
            elif name in asked:
                found.append((asked[name].format(**naming.values(ticket)), str(value)))
        return tuple(found)


def _by_others(ticket: Ticket, user: User) -> str:
    return timeline.latest_by_others(ticket, user)
