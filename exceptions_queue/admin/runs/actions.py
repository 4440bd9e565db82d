"""What people do to a run from its page, with or without a ticket.

Each action asks first (a GET, which changes nothing) and is done by a POST, with its permission checked both times. Whether it
makes sense is the services' to decide; the page only leaves out what surely does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from exceptions_queue.admin.tickets import texts
from exceptions_queue.admin.tickets.forms import DeclaredForm
from exceptions_queue.admin.ui import timeline
from exceptions_queue.admin.ui.effects import shown_effects
from exceptions_queue.roles import Actor
from exceptions_queue.runs.actions import ACTIONS, UNLINK, perform
from exceptions_queue.runs.declaration import RunAction, Target
from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.services import Effect, Refused, confirmation

TEMPLATE = "admin/onboarding/onboardingtransaction/action.html"


@dataclass(frozen=True)
class Button:
    """A link to the confirmation; what needs none (resume) is a form of its own."""

    label: str
    icon: str
    url: str
    danger: bool = False
    straight: bool = False
    """Done at once by a POST."""


# --- Buttons


def for_run(run: OnboardingTransaction, user: User) -> list[Button]:
    return [
        _button(action, Target(run))
        for action in ACTIONS.values()
        if not action.of_step and action.is_offered(Target(run)) and action.allows(Actor.of(user), Target(run))
    ]


def for_step(run: OnboardingTransaction, step: Step, mappings: Sequence[ObjectMapping], user: User) -> list[Button]:
    """Asks the database nothing: the page has the step's mappings and open tickets already."""
    actor = Actor.of(user)
    objects = [Target(run, step, mapping, mapping.item) for mapping in mappings]
    return [
        _button(action, target)
        for action in ACTIONS.values()
        if action.of_step and action.allows(actor, Target(run, step))
        for target in (objects if action is UNLINK else [Target(run, step)])
        if action.is_offered(target)
    ]


def _button(action: RunAction, target: Target) -> Button:
    more = target.mapping.external_id if target.mapping and target.item else ""
    how = action.confirmation
    label = f"{action.label} {more}".strip()
    return Button(label, how.icon, address(action, target), how.is_dangerous, straight=how.is_skipped)


def address(action: RunAction, target: Target) -> str:
    if target.step is None:
        return reverse("admin:onboarding_run_act", args=[target.run.pk, action.name])
    url = reverse("admin:onboarding_step_act", args=[target.run.pk, target.step.pk, action.name])
    return f"{url}?{urlencode({'item': target.item})}" if target.item else url


# --- The views


class Views:
    """The run admin's action pages. ``admin`` is the RunAdmin: it says who may see the run, and dresses the page."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin

    def urls(self) -> list[URLPattern]:
        wrap = self.admin.admin_site.admin_view
        return [
            path("<int:pk>/act/<slug:name>/", wrap(self.act), name="onboarding_run_act"),
            path("<int:pk>/steps/<int:step>/<slug:name>/", wrap(self.act), name="onboarding_step_act"),
        ]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def act(self, request: HttpRequest, pk: int, name: str, step: int | None = None) -> HttpResponse:
        run = self.admin.find_run(request, pk)
        action = ACTIONS.get(name)
        if action is None or action.of_step != (step is not None):
            raise Http404("There is no such action.")
        target = _target(run, step, request)
        if not isinstance(request.user, User) or not action.allows(Actor.of(request.user), target):
            raise PermissionDenied
        if request.method != "POST":
            return self._ask(request, action, target)
        return self._do(request, action, target, Actor.of(request.user))

    def _do(self, request: HttpRequest, action: RunAction, target: Target, actor: Actor) -> HttpResponse:
        form = _form(action, request.POST)
        if form is not None and not form.is_valid():
            return self._ask(request, action, target, form=form, status=422)
        try:
            entered = form.cleaned_data if form else {}
            perform(action, target, actor, {**entered, "seen": request.POST.get("seen", "")})
        except Refused as refusal:
            messages.warning(
                request, f"Not done: {refusal} {timeline.latest_by_others(target.run, request.user)}".strip()
            )
            if form is None and not action.preview:
                return HttpResponseRedirect(_back(target))
            return self._ask(request, action, _fresh(target), form=form, status=409)
        messages.success(request, action.confirmation.done)
        if OnboardingTransaction.objects.filter(pk=target.run.pk, held_at__isnull=False).exists():
            messages.info(request, "The run is on hold: no step starts until somebody resumes it.")
        return HttpResponseRedirect(_back(target))

    def _ask(
        self,
        request: HttpRequest,
        action: RunAction,
        target: Target,
        *,
        form: DeclaredForm | None = None,
        status: int = 200,
    ) -> HttpResponse:
        effects: Sequence[Effect] = []
        impossible = ""
        if (obstacle := action.obstacle(target)) or not action.is_useful(target):
            # After a refusal the message above the page says why.
            why = obstacle if obstacle and form is None else f"{action.label.lower()}."
            impossible = f"Not possible now: {why}"
        elif action.preview:
            try:
                effects = action.preview(target)
            except Refused as refusal:
                impossible = f"Not possible: {refusal}"
        if impossible and form is None:
            messages.warning(request, impossible)
            return HttpResponseRedirect(_back(target))
        shown = self.admin.page_context(
            request,
            trail=[(target.customer, _back(target)), (f"{action.label}: {target.title}".removesuffix(": "), "")],
            title=action.confirmation.asks(target),
            action=action,
            tells=[*action.confirmation.tells, *action.confirmation.warns(target)],
            run=target.run,
            step_title=target.title,
            item=target.item,
            item_name=_item_name(target, request),
            form=form or _form(action),
            impossible=impossible,
            effects=shown_effects(effects),
            seen=confirmation.of_preview(effects) if action.preview else "",
            back=_back(target),
            own_url=address(action, target),
            news=timeline.latest_entry_by_others(target.run, request.user),
        )
        return TemplateResponse(request, TEMPLATE, shown, status=status)


def _target(run: OnboardingTransaction, step: int | None, request: HttpRequest) -> Target:
    if step is None:
        return Target(run)
    found = run.steps.select_related("connection").filter(pk=step).first()
    if found is None:
        raise Http404("There is no such step.")
    item = request.POST.get("item", request.GET.get("item", ""))
    return Target(run, found, found.mappings.filter(item=item).first(), item)


def _fresh(target: Target) -> Target:
    """As it stands after something was refused: somebody else may have acted."""
    step = target.step and Step.objects.select_related("connection").get(pk=target.step.pk)
    mapping = step.mappings.filter(item=target.item).first() if step else None
    return Target(OnboardingTransaction.objects.get(pk=target.run.pk), step, mapping, target.item)


def _form(action: RunAction, data: Any = None) -> DeclaredForm | None:
    return DeclaredForm(action.form, data, name="reason") if action.form.asks else None


def _item_name(target: Target, request: HttpRequest) -> str:
    if not target.item:
        return ""
    may_see = request.user.has_perm("onboarding.see_personal_data")
    return texts.item_name(target.the_step, target.item, target.run.payload, may_see=may_see)


def _back(target: Target) -> str:
    url = reverse("admin:onboarding_onboardingtransaction_change", args=[target.run.pk])
    return f"{url}#step-{target.step.key}" if target.step else url
