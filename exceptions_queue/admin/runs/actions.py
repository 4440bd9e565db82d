"""What people do to a run from its page, with or without a ticket.

Each action asks first (a GET, which changes nothing) and is done by a POST, with its permission checked both times. Whether it
makes sense is the services' to decide; the page only leaves out what surely does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

from exceptions_queue import roles
from exceptions_queue.admin.tickets import texts
from exceptions_queue.admin.tickets.forms import ReasonForm
from exceptions_queue.admin.ui import timeline
from exceptions_queue.admin.ui.effects import shown_effects
from exceptions_queue.tickets import naming
from onboarding import services
from onboarding.enums import Status, StepState
from onboarding.models import ObjectMapping, OnboardingTransaction, Step
from onboarding.services import Effect, Refused, confirmation
from onboarding.steps.registry import HANDLERS

TEMPLATE = "admin/onboarding/onboardingtransaction/action.html"
LONGEST_REASON = 500


@dataclass(frozen=True)
class Target:
    """What an action is done to: the run, and where it is about a step, that step and the item of its object."""

    run: OnboardingTransaction
    step: Step | None = None
    item: str = ""
    seen: str = ""
    """The fingerprint of the preview that is confirmed."""

    @property
    def title(self) -> str:
        return naming.title(self.step.uses) if self.step else ""

    @property
    def the_step(self) -> Step:
        if self.step is None:
            raise Http404("This action needs a step.")
        return self.step


@dataclass(frozen=True)
class RunAction:
    """``asks`` is the confirmation's question, ``tells`` what will happen, ``done`` the message afterwards."""

    name: str
    permission: str
    label: str
    icon: str
    perform: Callable[[Target, str, str], None]
    """With the target, who does it, and the reason."""
    offered: Callable[[Target], bool]
    asks: Callable[[Target], str]
    tells: Sequence[str]
    done: str
    of_step: bool = False
    needs_reason: bool = False
    danger: bool = False
    preview: Callable[[Target], Sequence[Effect]] | None = None
    """What it would do, step by step or object by object: exactly that is confirmed. Raises ``Refused``."""

    warns: Callable[[Target], Sequence[str]] = lambda _: ()
    """What is told besides, as things stand for this target."""

    def is_allowed(self, user: Any, target: Target) -> bool:
        if not isinstance(user, User):
            return False
        return roles.may(user, f"onboarding.{self.permission}", target.step or target.run)


@dataclass(frozen=True)
class Button:
    """A link to the confirmation; what needs none (resume) is a form of its own."""

    label: str
    icon: str
    url: str
    danger: bool = False
    straight: bool = False
    """Done at once by a POST."""


def _customer(target: Target) -> str:
    return target.run.customer_name or target.run.onboarding_transaction_id


def _goes_on(target: Target) -> bool:
    return target.run.may_advance


def _may_be_redone(target: Target) -> bool:
    return target.run.may_advance or target.run.status == Status.COMPLETE


def _may_go_back(target: Target) -> bool:
    return target.run.status not in (Status.ROLLING_BACK, Status.ROLLED_BACK)


def _replay_preview(target: Target) -> Sequence[Effect]:
    return services.replay_preview(target.run.pk, target.the_step.key)


def _rollback_preview(target: Target) -> Sequence[Effect]:
    return services.rollback_preview(target.run.pk)


def _skip_preview(target: Target) -> Sequence[Effect]:
    return services.skip_preview(target.the_step.pk)


def _was_tried(target: Target) -> bool:
    return target.step is not None and target.step.position > 0 and target.step.state != StepState.PENDING


def _was_sent(target: Target) -> bool:
    return HANDLERS[target.the_step.uses].irrevocable and target.the_step.state == StepState.SUCCEEDED


def _has_match(target: Target) -> bool:
    """What this run created is no match of anybody's; taking that back is a rollback."""
    matched = target.the_step.mappings.filter(item=target.item, created_by_us=False)
    return _may_be_redone(target) and matched.exists()


def _linked_elsewhere(target: Target) -> Sequence[str]:
    others = services.also_linked(target.the_step, target.item)
    if not others:
        return ()
    return (
        f"Other runs are linked to it too and stay linked; check each and unlink it there as well: {', '.join(others)}.",
    )


_ALL = (
    RunAction(
        "hold",
        "hold_run",
        "Hold",
        "front_hand",
        lambda target, actor, reason: services.hold(target.run.pk, actor=actor, reason=reason),
        lambda target: _goes_on(target) and target.run.held_at is None,
        lambda target: f"Hold the onboarding of {_customer(target)}?",
        (
            "No step starts until somebody resumes the run. A call in progress is finished and recorded.",
            "The SLA clock keeps running.",
        ),
        "The run is on hold. No step starts until somebody resumes it.",
        needs_reason=True,
    ),
    RunAction(
        "resume",
        "hold_run",
        "Resume",
        "play_arrow",
        lambda target, actor, reason: services.resume(target.run.pk, actor=actor),  # noqa: ARG005
        lambda target: _goes_on(target) and target.run.held_at is not None,
        lambda target: f"Resume the onboarding of {_customer(target)}?",
        ("Steps that are ready start at once.",),
        "The run continues.",
    ),
    RunAction(
        "cancel",
        "cancel_run",
        "Cancel the run",
        "cancel",
        lambda target, actor, reason: services.cancel(target.run.pk, actor=actor, reason=reason),
        _goes_on,
        lambda target: f"Cancel the onboarding of {_customer(target)}?",
        (
            "No further step runs, and the run's tickets are resolved. A cancelled run cannot be resumed.",
            "What was created at vendors stays as it is.",
        ),
        "The run is cancelled.",
        needs_reason=True,
        danger=True,
    ),
    RunAction(
        "replay",
        "replay_run",
        "Replay from here",
        "replay",
        lambda target, actor, reason: services.replay(  # noqa: ARG005
            target.run.pk, target.the_step.key, actor=actor, seen=target.seen
        ),
        lambda target: _may_be_redone(target) and _was_tried(target),
        lambda target: f"Replay from “{target.title}”?",
        ("This step and those after it run again. Nothing that exists is created twice.",),
        "The run is replayed from that step; its progress is below.",
        of_step=True,
        preview=_replay_preview,
    ),
    RunAction(
        "rollback",
        "rollback_run",
        "Roll back",
        "undo",
        lambda target, actor, reason: services.rollback(target.run.pk, actor=actor, reason=reason, seen=target.seen),
        _may_go_back,
        lambda target: f"Roll back the onboarding of {_customer(target)}?",
        (
            "What this run created is removed in reverse order; what it only found, and what another run uses, stays.",
            "This ends the onboarding permanently. Objects that somebody changed since are decided in a ticket.",
        ),
        "The rollback has started; the steps show its progress.",
        needs_reason=True,
        danger=True,
        preview=_rollback_preview,
    ),
    RunAction(
        "skip",
        "skip_step",
        "Skip this step",
        "skip_next",
        lambda target, actor, reason: services.skip_as_shown(
            target.the_step.pk, actor=actor, reason=reason, seen=target.seen
        ),
        lambda target: _goes_on(target) and target.step is not None and not target.step.is_done,
        lambda target: f"Skip “{target.title}”?",
        (
            "The step is skipped permanently in this run, and the steps after it continue.",
            "Skip it only if somebody has done it manually, or if this customer does not need it.",
        ),
        "The step is skipped.",
        of_step=True,
        needs_reason=True,
        preview=_skip_preview,
    ),
    RunAction(
        "unlink",
        "unlink_object",
        "Unlink",
        "link_off",
        lambda target, actor, reason: services.unlink(target.the_step.pk, actor=actor, reason=reason, item=target.item),
        _has_match,
        lambda target: f"Unlink the wrong match of “{target.title}”?",
        (
            "The object stays at the vendor; Firstvalue will not link it for this customer again.",
            "It then looks up the right one, and dependent steps run again. Another match is shown to a person.",
            "What this run associated with the wrong object (such as its contact or note) stays associated: remove that manually.",
        ),
        "It is unlinked. The step looks up the right one.",
        warns=_linked_elsewhere,
        of_step=True,
        needs_reason=True,
        danger=True,
    ),
    RunAction(
        "resend",
        "resend_welcome",
        "Send again",
        "forward_to_inbox",
        lambda target, actor, reason: services.resend(target.the_step.pk, actor=actor),  # noqa: ARG005
        lambda target: _was_sent(target) and target.run.held_at is None and _may_be_redone(target),
        lambda target: f"Send the welcome to {_customer(target)} again?",
        ("The customer gets the mail a second time. A sent mail cannot be undone.",),
        "It is sent again.",
        of_step=True,
    ),
)
ACTIONS = {action.name: action for action in _ALL}


# --- Buttons


def for_run(run: OnboardingTransaction, user: User) -> list[Button]:
    return [
        _button(action, Target(run))
        for action in _ALL
        if not action.of_step and action.offered(Target(run)) and action.is_allowed(user, Target(run))
    ]


def for_step(run: OnboardingTransaction, step: Step, mappings: Sequence[ObjectMapping], user: User) -> list[Button]:
    """Asks the database nothing: the page has the step's mappings and open tickets already."""
    target = Target(run, step)
    plain = [
        _button(action, target)
        for action in _ALL
        if action.of_step and action.name != "unlink" and action.offered(target) and action.is_allowed(user, target)
    ]
    if not _may_be_redone(target) or not ACTIONS["unlink"].is_allowed(user, target):
        return plain
    return plain + [
        _button(ACTIONS["unlink"], Target(run, step, mapping.item), more=mapping.external_id if mapping.item else "")
        for mapping in mappings
        if not mapping.created_by_us and not mapping.item.startswith(ObjectMapping.FORMER)
    ]


def _button(action: RunAction, target: Target, *, more: str = "") -> Button:
    label = f"{action.label} {more}".strip()
    return Button(label, action.icon, address(action, target), action.danger, straight=action.name == "resume")


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
        if not action.is_allowed(request.user, target):
            raise PermissionDenied
        if request.method != "POST":
            return self._ask(request, action, target)
        return self._do(request, action, target)

    def _do(self, request: HttpRequest, action: RunAction, target: Target) -> HttpResponse:
        form = ReasonForm(request.POST) if action.needs_reason else None
        if form is not None and not form.is_valid():
            return self._ask(request, action, target, form=form, status=422)
        try:
            action.perform(target, request.user.get_username(), form.cleaned_data["reason"] if form else "")
        except Refused as refusal:
            messages.warning(
                request, f"Not done: {refusal} {timeline.latest_by_others(target.run, request.user)}".strip()
            )
            if form is None and not action.preview:
                return HttpResponseRedirect(_back(target))
            return self._ask(request, action, _fresh(target), form=form, status=409)
        messages.success(request, action.done)
        if OnboardingTransaction.objects.filter(pk=target.run.pk, held_at__isnull=False).exists():
            messages.info(request, "The run is on hold: no step starts until somebody resumes it.")
        return HttpResponseRedirect(_back(target))

    def _ask(
        self,
        request: HttpRequest,
        action: RunAction,
        target: Target,
        *,
        form: ReasonForm | None = None,
        status: int = 200,
    ) -> HttpResponse:
        effects: Sequence[Effect] = []
        impossible = ""
        if not action.offered(target):
            impossible = f"Not possible now: {action.label.lower()}."
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
            trail=[(_customer(target), _back(target)), (f"{action.label}: {target.title}".removesuffix(": "), "")],
            title=action.asks(target),
            action=action,
            tells=[*action.tells, *action.warns(target)],
            run=target.run,
            step_title=target.title,
            item=target.item,
            item_name=_item_name(target, request),
            form=(form or ReasonForm()) if action.needs_reason else None,
            impossible=impossible,
            effects=shown_effects(effects),
            seen=confirmation.of_preview(effects) if action.preview else "",
            back=_back(target),
            own_url=address(action, target),
            news=timeline.latest_entry_by_others(target.run, request.user),
        )
        return TemplateResponse(request, TEMPLATE, shown, status=status)


def _target(run: OnboardingTransaction, step: int | None, request: HttpRequest) -> Target:
    seen = request.POST.get("seen", "")
    if step is None:
        return Target(run, seen=seen)
    found = run.steps.select_related("connection").filter(pk=step).first()
    if found is None:
        raise Http404("There is no such step.")
    return Target(run, found, request.POST.get("item", request.GET.get("item", "")), seen)


def _fresh(target: Target) -> Target:
    """As it stands after something was refused: somebody else may have acted."""
    step = target.step and Step.objects.select_related("connection").get(pk=target.step.pk)
    return replace(target, run=OnboardingTransaction.objects.get(pk=target.run.pk), step=step)


def _item_name(target: Target, request: HttpRequest) -> str:
    if not target.item:
        return ""
    may_see = request.user.has_perm("onboarding.see_personal_data")
    return texts.item_name(target.the_step, target.item, target.run.payload, may_see=may_see)


def _back(target: Target) -> str:
    url = reverse("admin:onboarding_onboardingtransaction_change", args=[target.run.pk])
    return f"{url}#step-{target.step.key}" if target.step else url
