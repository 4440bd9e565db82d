"""One action on many tickets: the ids are frozen when the confirmation is shown, and every ticket gets a result of its own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from exceptions_queue import roles
from exceptions_queue.admin.tickets.forms import DeclaredForm
from exceptions_queue.admin.ui import badges
from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from exceptions_queue.tickets.actions import NotAllowed
from exceptions_queue.tickets.declaration import Action, Data
from onboarding.services import Refused

AT_MOST = 500
TEMPLATE = "admin/exceptions_queue/ticket/bulk.html"
SUBJECTS = ("transaction", "step", "connection", "mapping__transaction", "mapping__step")
"""What a ticket's name is made of."""


@dataclass(frozen=True)
class Result:
    ticket: Ticket | None
    name: str
    done: bool
    message: str


def may(user: Any, action: Action) -> bool:
    """Whether somebody may do it to any ticket; to which, each ticket's own check says."""
    return roles.may(user, action.permission.codename, None)


def chosen(action: Action) -> Callable[[Any, HttpRequest, QuerySet[Ticket]], HttpResponse]:
    """What the list calls with the tickets that were chosen in it."""

    def ask(model_admin: Any, request: HttpRequest, queryset: QuerySet[Ticket]) -> HttpResponse:
        return confirm(model_admin, request, queryset, action)

    return ask


def confirm(model_admin: Any, request: HttpRequest, queryset: QuerySet[Ticket], action: Action) -> HttpResponse:
    """To which tickets it would be done, each by its id; nothing is changed yet."""
    count = queryset.count()
    found = list(queryset.select_related(*SUBJECTS, "step__connection", "change_request", "owner")[:AT_MOST])
    actor = _actor(request)
    able = [t for t in found if t.is_open and action.is_offered(t) and action.allows(actor, t)]
    return _page(
        model_admin,
        request,
        action,
        able=_named(able),
        unable=_named(ticket for ticket in found if ticket not in able),
        left_out=count - len(found),
        form=_form(action),
    )


def perform(model_admin: Any, request: HttpRequest, action: Action) -> HttpResponse:
    """Do it to exactly the tickets that were confirmed."""
    pks = list(dict.fromkeys(int(pk) for pk in request.POST.getlist("ticket") if pk.isdecimal() and len(pk) < 19))  # noqa: PLR2004
    actor = _actor(request)
    if not pks or len(pks) > AT_MOST:
        messages.warning(request, f"Not done: choose 1 to {AT_MOST} tickets.")
        return HttpResponseRedirect(reverse("admin:exceptions_queue_ticket_changelist"))
    form = _form(action, request.POST)
    if form is not None and not form.is_valid():
        able = Ticket.objects.filter(pk__in=pks).select_related(*SUBJECTS)
        return _page(model_admin, request, action, status=422, able=_named(able), form=form)
    data = form.cleaned_data if form else {}
    results = [_one(action, pk, actor, data) for pk in pks]
    done = sum(result.done for result in results)
    return _page(model_admin, request, action, results=results, done=done)


def _named(tickets: Iterable[Ticket]) -> list[tuple[Ticket, SafeString]]:
    """Each with what it asks: of one category there may be several topics about the same run."""
    return [(ticket, badges.category(ticket)) for ticket in tickets]


def _page(model_admin: Any, request: HttpRequest, action: Action, *, status: int = 200, **shown: Any) -> HttpResponse:
    title = f"{action.label} selected tickets"
    context = model_admin.page_context(
        request, trail=[(title, "")], title=title, action=action, at_most=AT_MOST, **shown
    )
    return TemplateResponse(request, TEMPLATE, context, status=status)


def _form(action: Action, data: Any = None) -> DeclaredForm | None:
    return DeclaredForm(action.form, data, name=action.name) if action.form.asks else None


def _actor(request: HttpRequest) -> Actor:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return Actor.of(request.user)


def _one(action: Action, pk: int, actor: Actor, data: Data) -> Result:
    each = action.bulk.each if action.bulk else "is done"
    try:
        ticket = actions.perform(pk, action.name, actor, **data)
    except Ticket.DoesNotExist:
        return Result(None, f"Ticket {pk}", False, "is gone")
    except (NotAllowed, Refused) as refusal:
        ticket = Ticket.objects.select_related(*SUBJECTS).get(pk=pk)
        return Result(ticket, ticket.subject_name, False, str(refusal))
    told = action.done_message(ticket)
    return Result(ticket, ticket.subject_name, True, each if told.finished else told.text)
