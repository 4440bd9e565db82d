"""The actions on a ticket's page: each a card with its form, made from the action's declaration."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.auth.models import User
from django.http import QueryDict
from django.template.loader import select_template
from django.urls import reverse

from exceptions_queue.admin.runs.changes import shown_version
from exceptions_queue.admin.tickets.forms import DeclaredForm, FixForm
from exceptions_queue.admin.ui.effects import shown_effects
from exceptions_queue.models import Ticket
from exceptions_queue.roles import SEE_PERSONAL, Actor
from exceptions_queue.tickets import actions, naming
from exceptions_queue.tickets.declaration import Action, Data, Place, Preview
from exceptions_queue.tickets.forms import Field, Kind
from onboarding.services import Refused

TEMPLATES = "admin/exceptions_queue/ticket"


@dataclass(frozen=True)
class ActionCard:
    """One action as the page shows it. ``hidden``: name and value of what the form sends of what was shown."""

    action: Action
    title: str
    text: str
    button: str
    url: str
    template: str
    form: Any = None
    hidden: list[tuple[str, Any]] = field(default_factory=list)
    preview: Preview = ()
    is_main: bool = False

    @property
    def effects(self) -> list[dict[str, Any]]:
        return shown_effects(self.preview)


def cards(ticket: Ticket, user: User, *, message: str, bound: Mapping[str, Any] | None = None) -> dict[str, ActionCard]:
    """What this person may do to the ticket now, by the action's name. ``bound``: forms to show again with what was entered."""
    offered = actions.available(ticket, Actor.of(user))
    values = {**naming.values(ticket), "message": message}
    shown = [_card(action, ticket, user, values, (bound or {}).get(action.name)) for action in offered]
    shown.sort(key=lambda card: card.action.card.is_last)
    first = next((card for card in shown if card.action.card.is_primary), None)
    return {card.action.name: replace(card, is_main=card is first) for card in shown}


def placed(shown: Mapping[str, ActionCard], place: Place) -> list[ActionCard]:
    return [card for card in shown.values() if card.action.place is place]


def _card(action: Action, ticket: Ticket, user: User, values: Mapping[str, str], form: Any) -> ActionCard:
    preview = _preview(action, ticket) if action.card.shows_preview else ()
    return ActionCard(
        action,
        (action.card.title or action.label).format(**values),
        action.card.text.format(**values),
        (action.card.button or action.label).format(**values),
        url(ticket, action.name),
        str(select_template([f"{TEMPLATES}/actions/{action.name}.html", f"{TEMPLATES}/action.html"]).template.name),
        form or _blank(action, ticket, user),
        _hidden(action, ticket, preview),
        preview,
    )


def url(ticket: Ticket, name: str) -> str:
    return reverse("admin:exceptions_queue_ticket_act", args=[ticket.pk, name])


def _preview(action: Action, ticket: Ticket) -> Preview:
    """Nothing where it cannot be done now (a worker is at the step, the run was cancelled)."""
    try:
        return actions.preview(ticket, action.name)
    except Refused:
        return []


def _hidden(action: Action, ticket: Ticket, preview: Preview) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for shown in action.shown:
        value = shown.value(ticket, preview)
        found += [(shown.name, each) for each in (value if shown.many else [value])]
    return found


def _asks_for_payload(action: Action) -> bool:
    return any(each.kind is Kind.PAYLOAD for each in action.form.fields)


def _blank(action: Action, ticket: Ticket, user: User) -> FixForm | DeclaredForm | None:
    if _asks_for_payload(action):
        return FixForm(ticket, see_personal=user.has_perm(SEE_PERSONAL))
    if not action.form.asks or not action.asks(ticket):
        return None
    return DeclaredForm(action.form, name=action.name, initial=action.initial(ticket), values=naming.values(ticket))


# --- What was sent ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What a person sent: ``form`` is None where there is none to be filled in, or the ticket does not take it any more."""

    form: FixForm | DeclaredForm | None
    raw: Data

    @property
    def data(self) -> Data:
        """For the action, once the form is valid."""
        if isinstance(self.form, FixForm):
            return {**self.raw, "fields": self.form.answers, "confirmed": self.form.confirmed}
        return {**self.raw, **(self.form.cleaned_data if self.form else {})}


def sent(action: Action, ticket: Ticket, user: User, posted: QueryDict) -> Sent:
    raw = _raw(action, posted)
    takes = ticket.is_open or action.when_resolved
    if action.direct and all(posted.get(name) == str(value) for name, value in action.direct.items()):
        return Sent(None, {**raw, **action.direct})
    if _asks_for_payload(action):
        if not takes or ticket.transaction is None:
            return Sent(None, {**raw, "fields": {}})
        version, content = shown_version(ticket.transaction, posted)
        see_personal = user.has_perm(SEE_PERSONAL)
        return Sent(FixForm(ticket, posted, see_personal=see_personal, content=content), {**raw, "version": version})
    if not takes or not action.form.asks or not action.asks(ticket):
        return Sent(None, raw)
    values = naming.values(ticket)
    return Sent(DeclaredForm(action.form, posted, name=action.name, values=values), raw)


def _raw(action: Action, posted: QueryDict) -> Data:
    """What was shown, and the fields that a template of the action's own sends."""
    is_shown = any(each.name in posted for each in action.shown)
    shown: Data = {
        each.name: (posted.getlist(each.name) if is_shown else None)
        if each.many
        else posted.get(each.name, each.absent)
        for each in action.shown
    }
    return {each.name: _value(each, posted) for each in action.form.fields if not each.label} | shown


def _value(asked: Field, posted: QueryDict) -> Any:
    value = posted.get(asked.name, "")
    return value == "true" if asked.kind is Kind.FLAG else value
