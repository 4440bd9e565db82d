"""Retrying many tickets: the ids are frozen when the confirmation is shown, and every ticket gets a result of its own."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from exceptions_queue import actions
from exceptions_queue.actions import Actor, NotAllowed
from exceptions_queue.admin import words
from exceptions_queue.models import Ticket
from onboarding.services import Refused

AT_MOST = 500
TEMPLATE = "admin/exceptions_queue/ticket/bulk.html"


@dataclass(frozen=True)
class Result:
    ticket: Ticket | None
    name: str
    done: bool
    message: str


def confirm(model_admin: Any, request: HttpRequest, queryset: QuerySet[Ticket]) -> HttpResponse:
    """What would be retried, each ticket by its id; nothing is changed yet."""
    count = queryset.count()
    chosen = list(queryset.select_related("transaction", "step__connection", "connection", "owner")[:AT_MOST])
    actor = Actor.of(request.user) if isinstance(request.user, User) else None
    able = [
        t
        for t in chosen
        if actor and t.is_open and actions.ACTIONS["retry"].offered(t) and actions.ACTIONS["retry"].allows(actor, t)
    ]
    unable = [ticket for ticket in chosen if ticket not in able]
    shown = model_admin.page_context(
        request,
        trail=[("Retry selected tickets", "")],
        title="Retry selected tickets",
        able=able,
        unable=unable,
        left_out=count - len(chosen),
        at_most=AT_MOST,
    )
    return TemplateResponse(request, TEMPLATE, shown)


def retry(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Retry exactly the tickets that were confirmed."""
    pks = list(dict.fromkeys(int(pk) for pk in request.POST.getlist("ticket") if pk.isdecimal() and len(pk) < 19))  # noqa: PLR2004
    if not isinstance(request.user, User):
        raise PermissionDenied
    if not pks or len(pks) > AT_MOST:
        messages.warning(request, f"Not done: choose 1 to {AT_MOST} tickets.")
        return HttpResponseRedirect(reverse("admin:exceptions_queue_ticket_changelist"))
    actor = Actor.of(request.user)
    results = [_one(pk, actor) for pk in pks]
    shown = model_admin.page_context(
        request,
        trail=[("Retried tickets", "")],
        title="Retried tickets",
        results=results,
        done=sum(result.done for result in results),
    )
    return TemplateResponse(request, TEMPLATE, shown)


def _one(pk: int, actor: Actor) -> Result:
    try:
        ticket = actions.perform(pk, "retry", actor)
    except Ticket.DoesNotExist:
        return Result(None, f"Ticket {pk}", False, "is gone")
    except (NotAllowed, Refused) as refusal:
        ticket = Ticket.objects.select_related("transaction", "step", "connection").get(pk=pk)
        return Result(ticket, ticket.subject_name, False, str(refusal))
    return Result(ticket, ticket.subject_name, True, words.held_up(ticket) or "is tried again now")
